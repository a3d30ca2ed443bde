//! Applies the origin's answer to the store, and decides what the waiting client gets.

use super::body_writer::{BodyWriter, Draft};
use super::outcome::{Failure, Outcome, Response};
use super::outcomes::{self, Came, Fate, Known};
use super::permit::{Keep, Permit, Purpose};
use crate::engine::backoff::Cause;
use crate::engine::fetch::other_variants;
use crate::engine::hit_for_miss;
use crate::engine::phase::binds;
use crate::engine::policy::{Policy, UseStale};
use crate::engine::record::compose::{self, Composed, OwnLines, Parts};
use crate::engine::record::stored::Stored;
use crate::engine::record::{Flags, LineUse};
use crate::engine::storability::{self, Received, Storable};
use crate::engine::verdict::{Failed, NotKept, Unstored};
use crate::http::fields::{count, first, is};
use crate::http::freshen::{Freshen, StoredValidators, freshens, head_freshens};
use crate::http::{Comparison, Fields, retry_after};
use crate::store::{Millis, NewHead, NoSpace};

/// How a fetch failed: the reason, and whether stale-if-error covers it in this location.
struct FetchFault {
    reason: Failed,
    covered: bool,
}

/// Handles a response.
pub(crate) fn respond(
    permit: Permit,
    resp: &Response<'_>,
    req_fields: &dyn Fields,
    policy: &Policy,
    now: Millis,
) -> Outcome {
    if let Some(failure) = resp.from_failure {
        return fail(
            permit,
            failure,
            retry_after::parse(resp.received, resp.wall),
            policy,
            now,
        );
    }
    let answer = OriginAnswer {
        resp,
        req_fields,
        policy,
        now,
    };
    match resp.status {
        304 => answer.not_modified(permit),
        _ => answer.whole(permit),
    }
}

/// Handles the 200 to a HEAD for the entry: the entry is freshened or becomes stale, or stays as it is if the response
/// has nothing to compare (RFC 9111 §4.3.5). It is not removed: any client can send a HEAD, and no other client should
/// have to wait for it.
pub(crate) fn head(
    permit: Permit,
    resp: &Response<'_>,
    req_fields: &dyn Fields,
    policy: &Policy,
    now: Millis,
) {
    let Some(entry) = permit.terms.entry.clone().filter(Stored::is_complete) else {
        return;
    };
    let answer = OriginAnswer {
        resp,
        req_fields,
        policy,
        now,
    };
    let judged = compose::updated(&entry, LineUse::JUDGED, resp.received);
    let storable = answer.storability(&permit, &judged, resp.status);
    match (answer.agrees(&entry), storable) {
        (None, Ok(_)) => {}
        (Some(Freshen::Update), Ok(storable)) => {
            answer.renew(permit, entry, &storable, &judged);
        }
        _ => entry.object().age_from(now),
    }
}

/// Handles the lack of a response.
pub(crate) fn fail(
    permit: Permit,
    failure: Failure,
    retry_after: Option<Millis>,
    policy: &Policy,
    now: Millis,
) -> Outcome {
    let (reason, condition) = match failure {
        Failure::Error => (Failed::OriginError, UseStale::ERROR),
        Failure::Timeout => (Failed::OriginTimeout, UseStale::TIMEOUT),
        Failure::InvalidHeader => (Failed::OriginInvalid, UseStale::INVALID_HEADER),
        // Not the origin's fault: no pause follows, but the stale response is served.
        Failure::Aborted => (Failed::Aborted, UseStale::ERROR),
    };
    if failure != Failure::Aborted {
        permit.pause(Cause::Reason(reason.reason()), retry_after, policy, now);
    }
    let fault = FetchFault {
        reason,
        covered: policy.use_stale.has(condition),
    };
    match fallback(&permit, &fault, now) {
        Some(stale) => fall_back(permit, stale),
        None if is_cut_off(&permit, failure) => {
            permit.release(now);
            Outcome::GatewayTimeout
        }
        None => end(permit, NotKept::Failed(fault.reason), now),
    }
}

/// Ends a fetch whose response is not stored, for the reason `why`.
fn end(permit: Permit, why: NotKept, now: Millis) -> Outcome {
    permit.release(now);
    Outcome::NotKept(why)
}

/// Whether the origin is unreachable and requires that the stored response is validated: the client gets a 504 (RFC
/// 9111 §5.2.2.2; §5.2.2.4, §5.2.2.8 and §5.2.2.10 forbid the stale response too).
fn is_cut_off(permit: &Permit, failure: Failure) -> bool {
    let forbidden = |entry: &Stored| binds(entry.head()) || entry.head().flags.has(Flags::S_MAXAGE);
    matches!(failure, Failure::Error | Failure::Timeout)
        && permit.terms.purpose == Purpose::Fetch
        && permit.terms.entry.as_ref().is_some_and(forbidden)
}

fn fallback(permit: &Permit, fault: &FetchFault, now: Millis) -> Option<Stored> {
    let stand_in = permit.terms.stand_in().filter(|_| fault.covered);
    stand_in?.at(now).cloned()
}

fn fall_back(permit: Permit, stale: Stored) -> Outcome {
    permit.claim.release();
    Outcome::Stale(stale)
}

/// A response, with everything that its outcome depends on.
struct OriginAnswer<'a> {
    resp: &'a Response<'a>,
    req_fields: &'a dyn Fields,
    policy: &'a Policy,
    now: Millis,
}

/// The stored response that a 304 validates.
enum Named {
    /// The response that the fetch was to validate.
    Entry(Stored),
    /// Another variant, which the request named in addition.
    Variant(Stored),
}

impl Named {
    fn stored(&self) -> &Stored {
        match self {
            Named::Entry(stored) | Named::Variant(stored) => stored,
        }
    }
}

impl OriginAnswer<'_> {
    /// Handles any status but 304.
    fn whole(&self, permit: Permit) -> Outcome {
        let judged = self.storability_here(&permit, self.resp.received, self.resp.status);
        let came = Came::Response {
            status: self.resp.status,
            storable: judged.is_ok(),
        };
        match (self.fate(&permit, came, judged.as_ref().err()), judged) {
            (Fate::Replaced, Ok(storable)) => self.store(permit, &storable),
            (Fate::KeptAfterFailure, _) => self.failed(permit, Failed::OriginStatus),
            (_, Ok(_)) => end(permit, NotKept::Failed(Failed::OriginStatus), self.now),
            (fate, Err(reason)) => self.refused(permit, fate, reason),
        }
    }

    /// Handles a 304: the stored response is freshened with the new fields (RFC 9111 §4.3.4).
    fn not_modified(&self, permit: Permit) -> Outcome {
        let named = self.named(&permit);
        // `Date` and `Age` are not among the stored lines: the age is counted from the validation.
        let lines =
            |named: &Named| compose::updated(named.stored(), LineUse::JUDGED, self.resp.received);
        let judged = named.as_ref().map(lines).unwrap_or_default();
        let verdict = named
            .as_ref()
            .map(|named| self.storability_here(&permit, &judged, named.stored().status()));
        let came = Came::NotModified {
            fits: named.is_some(),
            storable: matches!(verdict, Some(Ok(_))),
        };
        let refused = verdict.as_ref().and_then(|verdict| verdict.as_ref().err());
        let fate = self.fate(&permit, came, refused);
        match (fate, named.zip(verdict)) {
            (Fate::AskedAgain, _) => Outcome::AskAgain(permit.again()),
            (Fate::Freshened, Some((Named::Entry(entry), Ok(storable)))) => {
                self.renew(permit, entry, &storable, &judged)
            }
            (Fate::Freshened, Some((Named::Variant(other), Ok(storable)))) => {
                self.switch(permit, other, &storable, &judged)
            }
            (_, Some((named, Err(why)))) => self.last_use(permit, named.stored().clone(), why),
            _ => self.failed(permit, Failed::ForeignValidator),
        }
    }

    fn fate(&self, permit: &Permit, came: Came, refused: Option<&Unstored>) -> Fate {
        let refresh = permit.terms.purpose == Purpose::Refresh;
        let known = Known {
            stored: permit.terms.entry.is_some(),
            usable: refresh || self.now < permit.terms.usable_until,
            // A POST is never sent twice.
            asked_again: permit.terms.asked_again || permit.terms.method == ::http::Method::POST,
            personal: self.is_personal(permit, refused),
        };
        outcomes::fate(came, known, self.policy)
    }

    /// Handles an answer that means a failure: a pause, and the stale response if there is one.
    fn failed(&self, permit: Permit, reason: Failed) -> Outcome {
        let covered = match reason {
            Failed::OriginStatus => self.policy.use_stale.covers_status(self.resp.status),
            _ => self.policy.use_stale.has(UseStale::INVALID_HEADER),
        };
        let retry_after = retry_after::parse(self.resp.received, self.resp.wall);
        let cause = match reason {
            Failed::OriginStatus => Cause::Status(self.resp.status),
            reason => Cause::Reason(reason.reason()),
        };
        permit.pause(cause, retry_after, self.policy, self.now);
        let fault = FetchFault { reason, covered };
        match fallback(&permit, &fault, self.now) {
            Some(stale) => fall_back(permit, stale),
            None => end(permit, NotKept::Failed(reason), self.now),
        }
    }

    /// As [`OriginAnswer::storability`], but with the host's objections to storing.
    fn storability_here(
        &self,
        permit: &Permit,
        fields: &dyn Fields,
        status: u16,
    ) -> Result<Storable, Unstored> {
        match (permit.terms.keep, self.resp.withheld) {
            (Keep::Discard, _) => Err(Unstored::NoCacheCondition),
            (Keep::Store, Some(withheld)) => Err(withheld.reason()),
            (Keep::Store, None) => self.storability(permit, fields, status),
        }
    }

    fn storability(
        &self,
        permit: &Permit,
        fields: &dyn Fields,
        status: u16,
    ) -> Result<Storable, Unstored> {
        storability::of(
            &Received {
                method: &permit.terms.method,
                status,
                own_redirect: self.resp.own_redirect,
                fields,
                authorised: permit.terms.authorised,
                request_time: self.resp.request_time,
                response_time: self.now,
                wall: self.resp.wall,
            },
            self.policy,
        )
    }

    /// Handles a response that may not or can't be stored.
    fn uncacheable(&self, permit: Permit, reason: Unstored) -> Outcome {
        let came = Came::Response {
            status: self.resp.status,
            storable: false,
        };
        let fate = self.fate(&permit, came, Some(&reason));
        self.refused(permit, fate, reason)
    }

    /// Handles a response that may not be stored.
    fn refused(&self, permit: Permit, fate: Fate, reason: Unstored) -> Outcome {
        if let (Fate::Removed | Fate::RemovedAndRemembered, Some(entry)) =
            (fate, &permit.terms.entry)
        {
            permit.region.remove(entry.object());
        }
        match fate {
            Fate::RemovedAndRemembered => permit.release_to_pass(reason, self.now),
            Fate::Freshened
            | Fate::AskedAgain
            | Fate::Replaced
            | Fate::KeptAfterFailure
            | Fate::Kept
            | Fate::Removed => permit.release(self.now),
        }
        Outcome::NotKept(NotKept::Unstored(reason))
    }

    /// Whether the response is not representative of what other clients get: the fetch was forced, the response was
    /// sent to `Authorization`, or denied for the lack of it.
    fn is_personal(&self, permit: &Permit, refused: Option<&Unstored>) -> bool {
        let guarded = |entry: &Stored| entry.head().flags.has(Flags::BY_AUTHORISED);
        let denied = matches!(self.resp.status, 401 | 403 | 407);
        permit.terms.forced
            || permit.terms.authorised
            || permit.terms.keep == Keep::Discard
            || refused == Some(&Unstored::Authorization)
            || denied && permit.terms.entry.as_ref().is_some_and(guarded)
    }

    /// The time now, by the cache's clock and by the wall clock.
    fn times(&self) -> (Millis, Millis) {
        (self.now, self.resp.wall)
    }

    fn store(&self, permit: Permit, storable: &Storable) -> Outcome {
        let parts = Parts {
            storable,
            shown: self.resp.store,
            judged: self.resp.received,
            kept: self.resp.kept,
            request: self.req_fields,
            origin: self.resp.origin,
        };
        let Some(composed) = compose::compose(&parts, self.policy) else {
            return self.uncacheable(permit, Unstored::HeaderTooLarge);
        };
        let draft = Draft::new(
            composed,
            self.resp.content_length,
            self.policy,
            self.times(),
        );
        let Some(draft) = draft else {
            return self.uncacheable(permit, Unstored::NoFreshness);
        };
        match BodyWriter::begin(permit, draft, self.req_fields, self.policy) {
            Ok(writer) => Outcome::Store(writer),
            Err((permit, NoSpace::TooLarge)) => self.uncacheable(permit, Unstored::TooLarge),
            Err((permit, _)) => {
                permit.pause(
                    Cause::Reason(Unstored::NoSpace.reason()),
                    None,
                    self.policy,
                    self.now,
                );
                end(permit, NotKept::Unstored(Unstored::NoSpace), self.now)
            }
        }
    }

    /// Returns the stored response that a 304 validates: the one whose tag is equal byte by byte, else one whose tag
    /// matches weakly, as the origin compared them (RFC 9110 §13.1.2).
    fn named(&self, permit: &Permit) -> Option<Named> {
        let entry = permit.validated()?;
        let by_tag = |how: Comparison| {
            let asked = (entry, &permit.terms.named[..]);
            other_variants::named(
                &permit.region,
                asked,
                (self.resp.received, how),
                self.policy,
                self.now,
            )
        };
        let fits = self.identifies(permit, entry);
        let is_own = |tag: &[u8]| (other_variants::tag(entry) == tag).then_some(());
        if fits && first(self.resp.received, "etag", is_own).is_some() {
            return Some(Named::Entry(entry.clone()));
        }
        if let Some(other) = by_tag(Comparison::Strong) {
            return Some(Named::Variant(other));
        }
        match fits {
            true => Some(Named::Entry(entry.clone())),
            false => by_tag(Comparison::Weak).map(Named::Variant),
        }
    }

    fn identifies(&self, permit: &Permit, entry: &Stored) -> bool {
        let last_modified = compose::last_modified(entry);
        let validators = StoredValidators {
            etag: entry.head().etag(entry.object().meta()),
            last_modified: last_modified.as_ref().map(|date| &date[..]),
            has_other_variants: permit.terms.other_variants,
        };
        match freshens(&validators, self.resp.received) {
            Freshen::Update => true,
            // If the request named a single response, by its tag or because no other is stored, the 304 means that one.
            Freshen::Unidentified => {
                permit.terms.named.is_empty()
                    && (validators.etag.is_some() || !permit.terms.other_variants)
            }
            Freshen::Differs => false,
        }
    }

    /// Compares the response to a HEAD with the stored response; `None` if it has no field to compare.
    fn agrees(&self, entry: &Stored) -> Option<Freshen> {
        let compared = ["etag", "last-modified", "content-length"];
        if entry.status() != self.resp.status {
            return Some(Freshen::Differs);
        }
        if compared
            .iter()
            .all(|name| count(self.resp.received, name) == 0)
        {
            return None;
        }
        let last_modified = compose::last_modified(entry);
        let validators = StoredValidators {
            etag: entry.head().etag(entry.object().meta()),
            last_modified: last_modified.as_ref().map(|date| &date[..]),
            has_other_variants: false,
        };
        let length = entry.content_length();
        Some(head_freshens(&validators, length, self.resp.received))
    }

    /// Handles a 304 that selects another variant for this request: that variant replaces the entry, with the fields of
    /// the 304 (§4.3.3). It also stays as it is for its own requests, which this 304 does not answer (§4.3.4).
    fn switch(
        &self,
        permit: Permit,
        other: Stored,
        storable: &Storable,
        judged: &OwnLines,
    ) -> Outcome {
        let draft = self.renewed_meta(&other, storable, judged);
        let draft = draft
            .and_then(|meta| Draft::new(meta, other.content_length(), self.policy, self.times()));
        let Some(draft) = draft else {
            return self.last_use(permit, other, Unstored::NoFreshness);
        };
        match BodyWriter::begin(permit, draft, self.req_fields, self.policy) {
            Ok(writer) => Outcome::Renewed(writer.copy(&other, self.now).unwrap_or(other)),
            Err((permit, _)) => {
                permit.release(self.now);
                Outcome::Renewed(other)
            }
        }
    }

    /// Handles a 304 after which the response may not be stored any longer: it answers this client and is removed.
    fn last_use(&self, permit: Permit, entry: Stored, reason: Unstored) -> Outcome {
        let purpose = permit.terms.purpose;
        let _ = self.uncacheable(permit, reason);
        match purpose {
            Purpose::Refresh => Outcome::NotKept(NotKept::Unstored(reason)),
            Purpose::Fetch => Outcome::Renewed(entry),
        }
    }

    /// The record of a stored response, with the fields of the 304.
    fn renewed_meta(
        &self,
        stored: &Stored,
        storable: &Storable,
        judged: &OwnLines,
    ) -> Option<Composed> {
        let shown = compose::updated(stored, LineUse::SHOWN, self.resp.store);
        let tags = compose::updated(stored, LineUse::TAGS, self.resp.received);
        let shown = with_tags(shown, tags, self.policy);
        let kept = self
            .resp
            .kept
            .map(|new| compose::updated(stored, LineUse::KEPT, new));
        let parts = Parts {
            storable,
            shown: &shown,
            judged,
            kept: kept.as_ref().map(|kept| kept as &dyn Fields),
            request: self.req_fields,
            origin: self.resp.origin,
        };
        compose::compose(&parts, self.policy)
    }

    fn renew(
        &self,
        permit: Permit,
        entry: Stored,
        storable: &Storable,
        judged: &OwnLines,
    ) -> Outcome {
        let composed = self.renewed_meta(&entry, storable, judged);
        let draft =
            composed.and_then(|composed| Draft::new(composed, None, self.policy, self.times()));
        let Some(draft) = draft else {
            return self.last_use(permit, entry, Unstored::NoFreshness);
        };
        let attributes = entry.renewed_attributes();
        let Permit {
            region,
            claim,
            terms,
        } = permit;
        if terms.probe {
            hit_for_miss::forget(&region, entry.object().key());
        }
        let head = NewHead {
            meta: &draft.meta,
            labels: &draft.labels,
            attributes,
            dead_at: draft.dead_at,
        };
        let renewed = claim.renew(entry.object(), head, self.now);
        // It was purged or replaced in the meantime; this client may still have the response that the origin has just
        // validated.
        let stored = renewed.ok().and_then(|object| entry.with_object(object));
        match terms.purpose {
            Purpose::Refresh if stored.is_none() => {
                Outcome::NotKept(NotKept::Unstored(Unstored::Superseded))
            }
            _ => Outcome::Renewed(stored.unwrap_or(entry)),
        }
    }
}

/// Replaces the tag fields in `shown` by those in `tags`, which hold the fields that clients do not get.
fn with_tags(mut shown: OwnLines, tags: OwnLines, policy: &Policy) -> OwnLines {
    let is_tag = |name: &[u8]| policy.tag_fields.iter().any(|field| is(name, field));
    shown.retain(|(name, _)| !is_tag(name));
    shown.extend(tags.into_iter().filter(|(name, _)| is_tag(name)));
    shown
}
