//! The permission to fetch.

use std::sync::Arc;

use crate::engine::backoff::{Backoff, Cause};
use crate::engine::fetch::other_variants;
use crate::engine::hit_for_miss;
use crate::engine::policy::Policy;
use crate::engine::record::compose;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::{Reason, Status, Unstored};
use crate::http::date;
use crate::store::{Claim, Millis, Region};

/// The purpose of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A refresh, for which no client waits: it carries no client's credentials.
    Refresh,
    /// A fetch for which a client waits.
    Fetch,
}

/// How the leading client of a fetch gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    /// Nothing was stored before.
    Miss,
    /// The stored response is replaced.
    Expired,
    /// The location's bypass condition held.
    Bypass,
    /// The stored response has been validated.
    Revalidated,
    /// The fetch failed, and the stale response is served.
    Failed,
    /// The fetch took too long, and the stale response is served.
    Patience,
}

impl Led {
    /// The status and reason of an answer from the store.
    pub(crate) fn served(self) -> (Status, Reason) {
        match self {
            Led::Miss => (Status::Miss, Reason::Fetched),
            Led::Expired => (Status::Expired, Reason::Fetched),
            Led::Bypass => (Status::Bypass, Reason::Bypass),
            Led::Revalidated => (Status::Revalidated, Reason::NotModified),
            Led::Failed => (Status::Stale, Reason::SieFallback),
            Led::Patience => (Status::Stale, Reason::SiePatience),
        }
    }
}

/// A stored response that may be served in place of the origin's answer, within its window.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    pub(crate) stored: Stored,
    /// The end of the window (Unix time in ms, exclusive).
    pub(crate) until: Millis,
}

impl StandIn {
    /// Returns the stored response if its window is still open at `now`.
    pub(crate) fn at(&self, now: Millis) -> Option<&Stored> {
        (now < self.until).then_some(&self.stored)
    }
}

/// What happens to the response of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is stored, if it may be.
    Store,
    /// It is sent to this client alone; the store stays as it is.
    Discard,
}

/// What is known about a fetch, apart from its claim.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) purpose: Purpose,
    /// The time at which the fetch was permitted.
    pub(crate) began: Millis,
    pub(crate) method: ::http::Method,
    /// The stored response to be validated or replaced.
    pub(crate) entry: Option<Stored>,
    /// The time until which stale-if-error lets `entry` be served to a waiting client in place of the origin's answer
    /// (exclusive; 0 means never).
    pub(crate) fallback_until: Millis,
    /// The time until which `entry` can be served to some client, whether the origin fails or not: until then, only a
    /// complete body replaces it.
    pub(crate) usable_until: Millis,
    /// Whether the request has `Authorization`.
    pub(crate) authorised: bool,
    /// Whether the location's bypass condition caused the fetch: the response is not representative of what others get.
    pub(crate) forced: bool,
    /// Whether the key is remembered as uncacheable and this fetch probes whether it still is.
    pub(crate) probe: bool,
    pub(crate) keep: Keep,
    /// Whether to send conditional fields.
    pub(crate) revalidate: bool,
    /// Whether the origin has sent a 304 that does not match, and is asked again.
    pub(crate) asked_again: bool,
    /// Whether other variants of the key are stored.
    pub(crate) other_variants: bool,
    /// The response of which the client has the beginning, and of which the store takes no more.
    pub(crate) rest_of: Option<Stored>,
    /// The tags of the other variants that the validation names.
    pub(crate) named: Vec<Box<[u8]>>,
}

impl Terms {
    /// The stored response that may be served in place of the origin's answer.
    pub(crate) fn stand_in(&self) -> Option<StandIn> {
        let entry = self.entry.as_ref();
        let stored = entry.filter(|_| self.purpose == Purpose::Fetch)?.clone();
        Some(StandIn {
            stored,
            until: self.fallback_until,
        })
    }
}

/// The permission to fetch a key, with what is known about the stale response. Dropping it gives the fetch up: the
/// claim is free for the next request, and nothing is recorded.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) region: Arc<Region>,
    pub(crate) claim: Claim,
    /// Boxed, since permits are part of decisions, most of which have none.
    pub(crate) terms: Box<Terms>,
}

impl Permit {
    /// How the leading client gets its answer if the origin sends a new response.
    pub(crate) fn led(&self) -> Led {
        match &*self.terms {
            Terms { forced: true, .. } => Led::Bypass,
            Terms { entry: Some(_), .. } => Led::Expired,
            Terms { entry: None, .. } => Led::Miss,
        }
    }

    /// The conditional fields to send to the origin: `If-None-Match`, `If-Modified-Since` (RFC 9111 §4.3.1).
    ///
    /// A synthesised `Last-Modified` is sent too (§4.3.4 accepts a 304 without validators while no other variant is
    /// stored); a synthesised `ETag` never is. If other variants are named, no date is sent: it applies to a single
    /// stored response, and the origin would ignore it beside entity tags (RFC 9110 §13.1.3).
    pub(super) fn conditionals(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let Some(entry) = self.validated() else {
            return;
        };
        if !self.terms.named.is_empty() {
            let others = self.terms.named.iter().map(|tag| &**tag);
            let tags: Vec<&[u8]> = std::iter::once(other_variants::tag(entry))
                .chain(others)
                .collect();
            return each(b"If-None-Match", &tags.join(&b", "[..]));
        }
        if let Some(etag) = entry.head().etag(entry.object().meta()) {
            each(b"If-None-Match", etag);
        }
        if let Some(at) = compose::last_modified(entry) {
            each(b"If-Modified-Since", &at);
        } else if entry.synthesised() && !self.terms.other_variants {
            let date = entry.since().min(entry.date());
            each(b"If-Modified-Since", &date::format(date));
        }
    }

    /// The entry, if this fetch validates it: only a complete body can be renewed, and a 304 can only stand for a 200
    /// (RFC 9110 §15.4.5). A stored 404 would be freshened by the 304 for a page that exists again.
    pub(crate) fn validated(&self) -> Option<&Stored> {
        let entry = self.terms.entry.as_ref().filter(|_| self.terms.revalidate);
        entry.filter(|entry| entry.status() == 200 && entry.is_complete())
    }

    /// The same permission for a second request, without conditional fields.
    pub(crate) fn again(mut self) -> Permit {
        self.terms.asked_again = true;
        self.terms.revalidate = false;
        self
    }

    /// Starts the pause of the entry after a failure.
    pub(crate) fn pause(
        &self,
        cause: Cause,
        retry_after: Option<Millis>,
        policy: &Policy,
        now: Millis,
    ) {
        if let Some(entry) = &self.terms.entry {
            Backoff::of(policy).failed(entry.object(), cause, retry_after, now);
        }
    }

    /// Ends a fetch that stored nothing: all waiters are released at once and fetch for themselves.
    pub(crate) fn release(self, now: Millis) {
        hit_for_miss::release_waiters(&self.region, self.claim.key(), now);
        self.claim.release();
    }

    /// Ends a fetch whose response may not be stored: the key is remembered, and the waiters pass.
    pub(crate) fn release_to_pass(self, why: Unstored, now: Millis) {
        hit_for_miss::remember(&self.region, self.claim.key(), why, now);
        self.claim.release();
    }
}
