//! Writes a response into the store.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::permit::{Permit, Purpose, Terms};
use crate::engine::backoff::{Backoff, Cause};
use crate::engine::hit_for_miss;
use crate::engine::phase::Windows;
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::compose::Composed;
use crate::engine::record::stored::Stored;
use crate::engine::record::{Flags, RecordHead};
use crate::engine::record::{attributes, variant};
use crate::engine::verdict::{Failed, NotKept, Unstored};
use crate::http::Fields;
use crate::store::{
    ATTRIBUTES, Claim, Completeness, Cursor, Fill, Millis, NewHead, NewObject, NoSpace, Publish,
    Region, SupersededReason,
};
use std::sync::Arc;

/// How long a fill may take: its claim is extended by this once the header has arrived. If the process that fills dies,
/// the claim is free at once.
const FILL_LEASE: Millis = 600 * SECOND;

/// How long an entry is kept after its windows, so that it can be validated rather than fetched anew: as long as its
/// lifetime, within these bounds. (nginx removes what has not been requested for ten minutes.)
const KEEP_MIN: Millis = 600 * SECOND;
const KEEP_MAX: Millis = 24 * 3_600 * SECOND;

/// A response ready to be stored.
pub(crate) struct Draft {
    pub(crate) meta: Vec<u8>,
    pub(crate) labels: Vec<u64>,
    pub(crate) dead_at: Millis,
    total: Option<u64>,
    attributes: [u64; ATTRIBUTES],
    /// The origin sent no validator, so the cache synthesises one from the body's hash.
    hashed: bool,
    now: Millis,
}

impl Draft {
    /// Prepares a response; `None` if it could never be used.
    pub(crate) fn new(
        composed: Composed,
        total: Option<u64>,
        policy: &Policy,
        (now, wall): (Millis, Millis),
    ) -> Option<Draft> {
        let Composed { meta, labels } = composed;
        let head = RecordHead::decode(&meta)?;
        let windows = Windows::of(&head, policy);
        let validator = !head.lacks_validators();
        // Only a 200 is validated.
        let validated = validator && policy.revalidate && head.status == 200;
        if !validated && windows.end() <= now {
            return None;
        }
        let mut attributes = [0; ATTRIBUTES];
        attributes[attributes::ACCESS] = now;
        attributes[attributes::SINCE] = wall.min(head.date);
        let grace = head.lifetime.clamp(KEEP_MIN, KEEP_MAX);
        Some(Draft {
            dead_at: windows.end().max(now).saturating_add(grace),
            hashed: policy.edge_revalidation && !validator && !head.flags.has(Flags::OF_HEAD),
            meta,
            labels,
            total: total.filter(|_| !head.flags.has(Flags::OF_HEAD)),
            attributes,
            now,
        })
    }
}

/// A response whose body is being stored. Dropping it ends the fill, as [`BodyWriter::broken`] does, but without
/// recording a failure.
pub(crate) struct BodyWriter(Box<Progress>);

struct Progress {
    fill: Fill,
    region: Arc<Region>,
    terms: Box<Terms>,
    publish: Publish,
    hash: Option<Box<Xxh3>>,
    /// How the entry would be renewed, as long as the body has been identical to the entry's.
    same: Option<Box<Same>>,
    stored: Stored,
    backoff: Backoff,
}

/// The comparison of the body with the stored one.
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

/// The result of a complete body.
#[derive(Debug)]
pub(crate) enum Finished {
    /// It is stored as the entry of its key.
    New(Stored),
    /// It was identical to the stored body: the entry was renewed, and keeps its body and synthesised validators. The
    /// leading client is told the same as for [`Finished::New`], as the origin sent a 200.
    Same(Stored),
    /// A purge or a newer fill came first: the response is complete for those who hold it, but no longer in the store.
    Superseded(Stored),
    /// The body's length differs from the announced one.
    Broken,
}

impl BodyWriter {
    /// Begins to store the response. If the stored entry can still be served, the new object is published once it is
    /// complete; otherwise readers follow it from the first byte.
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
        let mut attributes = draft.attributes;
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

    /// Appends to the body. On an error the object keeps what it has; the caller then calls [`BodyWriter::abandon`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.0.fill.write(bytes)?;
        if let Some(hash) = &mut self.0.hash {
            hash.update(bytes);
        }
        self.0.same = self.0.same.take().and_then(|same| same.goes_on(bytes));
        Ok(())
    }

    /// The number of bytes that the store has taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.0.fill.len()
    }

    /// The response being stored, which may be delivered while it grows if [`BodyWriter::streaming`].
    pub(crate) fn stored(&self) -> Stored {
        self.0.stored.clone()
    }

    /// Whether readers may follow the body while it grows. If not, it is stored beside a usable stale response and
    /// published once complete.
    pub(crate) fn streaming(&self) -> bool {
        self.0.publish == Publish::Now
    }

    /// Stores the body of another stored response; `None` if there is no room for it.
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

    /// Ends the fill: the body is complete.
    pub(crate) fn finish(self, now: Millis) -> Finished {
        if let Some(hash) = &self.0.hash {
            // Zero means that the hash is unknown.
            self.0
                .fill
                .set_attribute(attributes::HASH, hash.digest().max(1));
        }
        let length = self.0.fill.len();
        match &self.0.same {
            Some(same) if same.entry.content_length() != Some(length) => self.finish_new(now),
            // The old entry is no longer usable, so the new object replaces it, and inherits the time since which the
            // bytes have been the same.
            Some(same) if self.streaming() => {
                let since = same.entry.word(attributes::SINCE);
                self.0.fill.set_attribute(attributes::SINCE, since);
                self.finish_new(now)
            }
            Some(_) => self.finish_same(now),
            None => self.finish_new(now),
        }
    }

    /// Renews the entry: its body and synthesised validators stay, so that browsers continue to get 304.
    fn finish_same(mut self, now: Millis) -> Finished {
        let Some(same) = self.0.same.take() else {
            return self.finish_new(now);
        };
        let attributes = same.entry.renewed_attributes();
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
            attributes,
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

    /// Ends the fill because the body is incomplete, which counts as a failed fetch.
    pub(crate) fn broken(self, now: Millis) {
        self.0.break_off(now);
    }

    /// Ends the fill for the reason `why`, at the host's request. A response that is too large makes the key pass from
    /// now on, and removes the entry that it was to replace.
    pub(crate) fn abandon(self, why: NotKept, now: Millis) {
        let Progress { region, terms, .. } = &*self.0;
        if let NotKept::Unstored(_) = why {
            // Before the fill is dropped, which tells those who follow the body.
            let fault = attributes::FAULT;
            self.0.fill.set_attribute(fault, attributes::OUTGROWN);
        }
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

    /// Whether the body's length differs from the announced one (RFC 9111 §3.3).
    fn is_short(&self) -> bool {
        let announced = self.stored.object().body().total;
        announced.is_some_and(|total| total != self.fill.len())
    }

    /// Records that the body is incomplete. The waiters are woken when the fill is dropped afterwards.
    fn break_off(&self, now: Millis) {
        hit_for_miss::release_waiters(&self.region, self.key(), now);
        if let Some(entry) = &self.terms.entry {
            let cause = Cause::Reason(Failed::BodyBroken.reason());
            self.backoff.failed(entry.object(), cause, None, now);
        }
    }
}

/// The earliest time that no browser can have received as the `Last-Modified` of these bytes. Different bytes that
/// replace them count as modified at this time or later, even if their `Date` is in the same second or earlier.
fn told_until(old: &Stored) -> Millis {
    match old.head().lacks_validators() {
        true => (old.date() - old.date() % SECOND).saturating_add(SECOND),
        false => 0,
    }
}

/// Returns the stored response for the same variant, if the fetch was not begun for it.
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
    /// Begins the comparison, if an identical body would renew the entry: the origin sent no validator with either
    /// response.
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

    /// Continues the comparison, unless `bytes` differ from the next ones of the entry.
    fn goes_on(mut self: Box<Same>, mut bytes: &[u8]) -> Option<Box<Same>> {
        while !bytes.is_empty() {
            let old = self.entry.object().read(&mut self.at, bytes.len());
            bytes = bytes.strip_prefix(old).filter(|_| !old.is_empty())?;
        }
        Some(self)
    }
}
