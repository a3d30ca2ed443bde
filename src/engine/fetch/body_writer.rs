//! A response on its way into the store.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::permit::{Permit, Purpose, Terms};
use crate::engine::backoff::{Backoff, Cause};
use crate::engine::hit_for_miss;
use crate::engine::phase::Windows;
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::compose::Composed;
use crate::engine::record::stored::Stored;
use crate::engine::record::{Flags, Head};
use crate::engine::record::{attributes, variant};
use crate::engine::verdict::{Failed, NotKept, Unstored};
use crate::http::Fields;
use crate::store::{
    ATTRIBUTES, Claim, Completeness, Cursor, Fill, Millis, NewHead, NewObject, NoSpace, Publish,
    Region, SupersededReason,
};
use std::sync::Arc;

/// How long a fill may take: its claim is extended to this when the header has come. A holder that dies loses it at once.
const FILL_LEASE: Millis = 600 * SECOND;

/// How long an entry is kept after its windows, to be validated rather than fetched anew: its lifetime over again, between
/// these. (Ten minutes is how long nginx keeps what nobody asks for.)
const KEEP_MIN: Millis = 600 * SECOND;
const KEEP_MAX: Millis = 24 * 3_600 * SECOND;

/// A response ready to be filled.
pub(crate) struct Draft {
    pub(crate) meta: Vec<u8>,
    pub(crate) labels: Vec<u64>,
    pub(crate) dead_at: Millis,
    total: Option<u64>,
    words: [u64; ATTRIBUTES],
    /// The origin sent no validator, and the cache makes one.
    hashed: bool,
    now: Millis,
}

impl Draft {
    /// Nothing if the response could never answer anyone.
    pub(crate) fn new(
        composed: Composed,
        total: Option<u64>,
        policy: &Policy,
        (now, wall): (Millis, Millis),
    ) -> Option<Draft> {
        let Composed { meta, labels } = composed;
        let head = Head::decode(&meta)?;
        let windows = Windows::of(&head, policy);
        let validator = !head.lacks_validators();
        // Only a 200 is ever validated.
        let validated = validator && policy.revalidate && head.status == 200;
        if !validated && windows.end() <= now {
            return None;
        }
        let mut words = [0; ATTRIBUTES];
        words[attributes::ACCESS] = now;
        words[attributes::SINCE] = wall.min(head.date);
        let grace = head.lifetime.clamp(KEEP_MIN, KEEP_MAX);
        Some(Draft {
            dead_at: windows.end().max(now).saturating_add(grace),
            hashed: policy.edge_revalidation && !validator && !head.flags.has(Flags::OF_HEAD),
            meta,
            labels,
            total: total.filter(|_| !head.flags.has(Flags::OF_HEAD)),
            words,
            now,
        })
    }
}

/// An object being filled. Dropping it breaks the body off, as [`BodyWriter::broken`] but with nothing remembered.
pub(crate) struct BodyWriter(Box<Progress>);

struct Progress {
    fill: Fill,
    region: Arc<Region>,
    terms: Box<Terms>,
    publish: Publish,
    hash: Option<Box<Xxh3>>,
    /// What a renewal of the entry would be, while the bytes are still those of the entry.
    same: Option<Box<Same>>,
    stored: Stored,
    backoff: Backoff,
}

/// The comparison with the bytes already stored.
struct Same {
    entry: Stored,
    at: Cursor,
    meta: Vec<u8>,
    labels: Vec<u64>,
    dead_at: Millis,
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter")
            .field("publish", &self.0.publish)
            .field("terms", &self.0.terms)
            .finish_non_exhaustive()
    }
}

/// What a completed fill has become.
#[derive(Debug)]
pub(crate) enum Finished {
    /// The entry of its key.
    New(Stored),
    /// The bytes were those already stored: the entry was renewed and keeps its body and synthesised validators. A client
    /// that led is told the same as for [`Finished::New`]: the origin did send a 200.
    Same(Stored),
    /// A purge or a newer fill came in between: complete, for those who have it, but in the store no more.
    Superseded(Stored),
    /// The body was not as long as announced.
    Broken,
}

impl BodyWriter {
    /// Begins to fill. Beside an entry that can still be served, the new object is seen only when it is whole; otherwise
    /// readers follow it from the first byte.
    pub(crate) fn begin(
        permit: Permit,
        draft: Draft,
        fields: &dyn Fields,
        policy: &Policy,
    ) -> Result<BodyWriter, (Permit, NoSpace)> {
        let Permit {
            region,
            claim,
            terms,
        } = permit;
        let twin = match terms.entry {
            Some(_) => None,
            None => twin(&region, claim.key(), fields, policy, draft.now),
        };
        let twin_until = |twin: &Stored| Windows::of(twin.head(), policy).end();
        let usable_until = twin.as_ref().map_or(terms.usable_until, twin_until);
        let publish = match terms.purpose {
            Purpose::Refresh => Publish::AtCommit,
            Purpose::Fetch if draft.now < usable_until => Publish::AtCommit,
            Purpose::Fetch => Publish::Now,
        };
        claim.extend(draft.now.saturating_add(FILL_LEASE));
        if terms.probe {
            hit_for_miss::forget(&region, claim.key());
        }
        let old = terms.entry.as_ref().or(twin.as_ref());
        let mut attributes = draft.words;
        let since = &mut attributes[attributes::SINCE];
        *since = (*since).max(old.map_or(0, told_until));
        let new = NewObject {
            meta: &draft.meta,
            labels: &draft.labels,
            total: draft.total,
            attributes,
            dead_at: draft.dead_at,
            publish,
            replaces: old.map(Stored::object),
            max_variants: policy.max_variants,
        };
        let fill = match Fill::begin(claim, new) {
            Ok(fill) => fill,
            Err((claim, why)) => {
                return Err((
                    Permit {
                        region,
                        claim,
                        terms,
                    },
                    why,
                ));
            }
        };
        let Ok(stored) = Stored::new(fill.object(), policy) else {
            let claim: Claim = fill.abort();
            return Err((
                Permit {
                    region,
                    claim,
                    terms,
                },
                NoSpace::Ended,
            ));
        };
        Ok(BodyWriter(Box::new(Progress {
            publish,
            hash: draft.hashed.then(|| Box::new(Xxh3::new())),
            same: Same::comparing(&terms, &stored, draft),
            stored,
            fill,
            region,
            terms,
            backoff: Backoff::of(policy),
        })))
    }

    /// Appends to the body. An error leaves what there is; the caller then calls [`BodyWriter::abandon`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.0.fill.write(bytes)?;
        if let Some(hash) = &mut self.0.hash {
            hash.update(bytes);
        }
        self.0.same = self.0.same.take().and_then(|same| same.goes_on(bytes));
        Ok(())
    }

    /// The bytes that the store has taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.0.fill.len()
    }

    /// The response being filled: to be delivered as it grows if [`BodyWriter::streaming`].
    pub(crate) fn stored(&self) -> Stored {
        self.0.stored.clone()
    }

    /// `true`: readers may follow the body as it grows. `false`: it fills beside a usable stale copy and is seen only when finished.
    pub(crate) fn streaming(&self) -> bool {
        self.0.publish == Publish::Now
    }

    /// Fills with the body of another stored response; nothing if there is no room for it.
    pub(crate) fn copy(mut self, other: &Stored, now: Millis) -> Option<Stored> {
        let mut at = Cursor::default();
        loop {
            let bytes = other.object().read(&mut at, usize::MAX);
            if bytes.is_empty() {
                return match self.finish(now) {
                    Finished::New(stored)
                    | Finished::Same(stored)
                    | Finished::Superseded(stored) => Some(stored),
                    Finished::Broken => None,
                };
            }
            if self.write(bytes).is_err() {
                self.abandon(NotKept::Unstored(Unstored::NoSpace), now);
                return None;
            }
        }
    }

    /// The body is complete.
    pub(crate) fn finish(self, now: Millis) -> Finished {
        if let Some(hash) = &self.0.hash {
            // Zero is "not known".
            self.0
                .fill
                .set_attribute(attributes::HASH, hash.digest().max(1));
        }
        let length = self.0.fill.len();
        match &self.0.same {
            Some(same) if same.entry.content_length() != Some(length) => self.finish_new(now),
            // The entry was too old to be kept beside: the new object inherits since when its bytes are known.
            Some(same) if self.streaming() => {
                let since = same.entry.word(attributes::SINCE);
                self.0.fill.set_attribute(attributes::SINCE, since);
                self.finish_new(now)
            }
            Some(_) => self.finish_same(now),
            None => self.finish_new(now),
        }
    }

    /// The bytes came back as they were: body and synthesised validators stay, so that browsers keep getting 304.
    fn finish_same(mut self, now: Millis) -> Finished {
        let Some(same) = self.0.same.take() else {
            return self.finish_new(now);
        };
        let words = same.entry.renewed_words();
        let Same {
            entry,
            meta,
            labels,
            dead_at,
            ..
        } = *same;
        let old = entry.object();
        let fill = self.0.fill;
        let head = NewHead {
            meta: &meta,
            labels: &labels,
            attributes: words,
            dead_at,
        };
        match fill.commit_as_renewal(old, head, now) {
            Ok(object) => Finished::Same(entry.with_object(object).unwrap_or(entry)),
            Err(_) => Finished::Superseded(entry),
        }
    }

    fn finish_new(self, now: Millis) -> Finished {
        if self.0.is_short() {
            self.0.break_off(now);
            return Finished::Broken;
        }
        let Progress { fill, stored, .. } = *self.0;
        match fill.commit(now) {
            Ok(object) => Finished::New(stored.with_object(object).unwrap_or(stored)),
            Err(superseded) if superseded.reason == SupersededReason::Incomplete => {
                Finished::Broken
            }
            Err(_) => Finished::Superseded(stored),
        }
    }

    /// The body broke off: counts as a failed fetch.
    pub(crate) fn broken(self, now: Millis) {
        self.0.break_off(now);
    }

    /// The host gives the fill up for the reason `why`. One that is too large is remembered to be passed by, and what it was to
    /// replace is over.
    pub(crate) fn abandon(self, why: NotKept, now: Millis) {
        let Progress { region, terms, .. } = &*self.0;
        if why != NotKept::Unstored(Unstored::TooLarge) {
            return hit_for_miss::release_waiters(region, self.0.key(), now);
        }
        if let Some(entry) = &terms.entry {
            region.remove(entry.object());
        }
        hit_for_miss::remember(region, self.0.key(), Unstored::TooLarge, now);
    }
}

impl Progress {
    fn key(&self) -> &[u8] {
        self.stored.object().key()
    }

    /// Fewer bytes came than were announced (RFC 9111 §3.3).
    fn is_short(&self) -> bool {
        let announced = self.stored.object().body().total;
        announced.is_some_and(|total| total != self.fill.len())
    }

    /// Remembers that the body broke off; those who wait are rung when the fill is dropped after this.
    fn break_off(&self, now: Millis) {
        hit_for_miss::release_waiters(&self.region, self.key(), now);
        if let Some(entry) = &self.terms.entry {
            let cause = Cause::Reason(Failed::BodyBroken.reason());
            self.backoff.failed(entry.object(), cause, None, now);
        }
    }
}

/// The first second of which no browser can have been told as the `Last-Modified` of these bytes: others in their place are not
/// the same as of then, be their `Date` of the same second or an older one.
fn told_until(old: &Stored) -> Millis {
    match old.head().lacks_validators() {
        true => (old.date() - old.date() % SECOND).saturating_add(SECOND),
        false => 0,
    }
}

/// What is stored for the same variant, where the fetch did not come from it.
fn twin(
    region: &Region,
    key: &[u8],
    fields: &dyn Fields,
    policy: &Policy,
    now: Millis,
) -> Option<Stored> {
    let found = region.lookup(key, now, &mut |meta| variant::selects(meta, fields, policy));
    found
        .ok()?
        .object
        .and_then(|object| Stored::new(object, policy).ok())
}

impl Same {
    /// Begins to compare, if the same bytes would renew the entry: neither has a validator of the origin's.
    fn comparing(terms: &Terms, new: &Stored, draft: Draft) -> Option<Box<Same>> {
        let entry = terms.entry.clone()?;
        let comparable = draft.hashed
            && entry.head().lacks_validators()
            && entry.status() == new.status()
            && entry.object().body().completeness == Completeness::Complete;
        let same = || Same {
            entry,
            at: Cursor::default(),
            meta: draft.meta,
            labels: draft.labels,
            dead_at: draft.dead_at,
        };
        comparable.then(|| Box::new(same()))
    }

    /// Goes on comparing, unless `bytes` are not what the entry has next.
    fn goes_on(mut self: Box<Same>, mut bytes: &[u8]) -> Option<Box<Same>> {
        while !bytes.is_empty() {
            let old = self.entry.object().read(&mut self.at, bytes.len());
            bytes = bytes.strip_prefix(old).filter(|_| !old.is_empty())?;
        }
        Some(self)
    }
}
