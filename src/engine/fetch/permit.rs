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

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nobody waits for it: it carries no client's credentials.
    Refresh,
    /// A client waits for it.
    Fetch,
}

/// How the client that leads a fetch comes to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    /// Nothing had been stored.
    Miss,
    /// What was stored is replaced.
    Expired,
    /// The location's bypass condition held.
    Bypass,
    /// The stored response holds again.
    Revalidated,
    /// The fetch failed, and the stale copy stands in.
    Failed,
    /// The fetch took too long, and the stale copy stands in.
    Patience,
}

impl Led {
    /// The words for an answer from the store.
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

/// A stored response that may stand in for the origin's answer, within its window.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    pub(crate) stored: Stored,
    /// Exclusive.
    pub(crate) until: Millis,
}

impl StandIn {
    /// The copy, if its window is still open at `now`.
    pub(crate) fn at(&self, now: Millis) -> Option<&Stored> {
        (now < self.until).then_some(&self.stored)
    }
}

/// What becomes of the response to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is stored if it may be.
    Store,
    /// It is for this client alone; the store stays as it is.
    Discard,
}

/// What is known of a fetch beside its claim.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) purpose: Purpose,
    /// When it was permitted.
    pub(crate) began: Millis,
    pub(crate) method: ::http::Method,
    /// The stored response to be validated or replaced.
    pub(crate) entry: Option<Stored>,
    /// Until when stale-if-error lets `entry` stand in for the answer of the origin, for a client that waits (exclusive; 0 is never).
    pub(crate) fallback_until: Millis,
    /// Until when `entry` can be served to anyone, failing or not: it is then replaced by a whole body only.
    pub(crate) usable_until: Millis,
    /// The request has `Authorization`.
    pub(crate) authorised: bool,
    /// The location's bypass condition led here: what comes says nothing of what others get.
    pub(crate) forced: bool,
    /// The key is remembered as uncacheable, and this fetch tries whether it still is.
    pub(crate) probe: bool,
    pub(crate) keep: Keep,
    /// Send conditionals.
    pub(crate) revalidate: bool,
    /// The origin has answered with a 304 that did not fit, and is asked once more.
    pub(crate) asked_again: bool,
    /// Other variants of the key are stored.
    pub(crate) other_variants: bool,
    /// The tags of those that the validation names beside `entry`.
    pub(crate) named: Vec<Box<[u8]>>,
}

impl Terms {
    /// What may stand in for the answer of the origin.
    pub(crate) fn stand_in(&self) -> Option<StandIn> {
        let entry = self.entry.as_ref();
        let stored = entry.filter(|_| self.purpose == Purpose::Fetch)?.clone();
        Some(StandIn {
            stored,
            until: self.fallback_until,
        })
    }
}

/// The permission to fetch a key, with what is known of the stale copy. Dropping it gives up: the place is free for the
/// next, nothing is remembered.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) region: Arc<Region>,
    pub(crate) claim: Claim,
    /// Boxed: permits travel inside verdicts, most of which have none.
    pub(crate) terms: Box<Terms>,
}

impl Permit {
    /// How the client that leads comes to its answer if the origin sends a new response.
    pub(crate) fn led(&self) -> Led {
        match &*self.terms {
            Terms { forced: true, .. } => Led::Bypass,
            Terms { entry: Some(_), .. } => Led::Expired,
            _ => Led::Miss,
        }
    }

    /// The conditional fields to send to the origin: `If-None-Match`, `If-Modified-Since` (RFC 9111 §4.3.1).
    ///
    /// A synthesised `Last-Modified` is sent too (a 304 without validators is acceptable under §4.3.4 while no other variant
    /// is stored); a synthesised `ETag` never. Where other variants are named too, no date goes along: it is for a single
    /// stored response, and the origin would ignore it beside the tags (RFC 9110 §13.1.3).
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

    /// The entry, if this fetch validates it: only a whole body can be renewed, and only a 200 can be what a 304 stands for
    /// (RFC 9110 §15.4.5): a 404 would be renewed by the origin's 304 for the page that has come back.
    pub(crate) fn validated(&self) -> Option<&Stored> {
        let entry = self.terms.entry.as_ref().filter(|_| self.terms.revalidate);
        entry.filter(|entry| entry.status() == 200 && entry.is_complete())
    }

    /// The same permission, for asking once more without conditions.
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

    /// Ends a fetch that leaves nothing for those who wait: they are released all at once, to fetch for themselves.
    pub(crate) fn release(self, now: Millis) {
        hit_for_miss::release_waiters(&self.region, self.claim.key(), now);
        self.claim.release();
    }

    /// Ends a fetch whose response may not be stored: the key is remembered, and those who wait pass.
    pub(crate) fn release_to_pass(self, why: Unstored, now: Millis) {
        hit_for_miss::remember(&self.region, self.claim.key(), why, now);
        self.claim.release();
    }
}
