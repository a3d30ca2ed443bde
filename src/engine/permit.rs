//! The permission to fetch.

use std::sync::Arc;

use super::backoff::{Backoff, Cause};
use super::compose;
use super::decision::Led;
use super::outcome::{Failure, Outcome, Response};
use super::policy::Policy;
use super::stats::Fetching;
use super::stored::Stored;
use super::verdict::Reason;
use super::{respond, siblings};
use crate::http::{Fields, date};
use crate::store::{Claim, Millis, Region};

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nobody waits for it: send none of the client's credentials.
    Refresh,
    /// A client waits for it.
    Fetch,
}

/// What becomes of the response to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is stored if it may be.
    Store,
    /// It is for this client alone; the store stays as it is.
    Discard,
    /// The host's condition says of the response itself that it is not to be stored, for whomever it came: as if the origin
    /// had said so.
    Refuse(Reason),
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
    /// Until when stale-if-error lets `entry` stand in (exclusive; 0 is never).
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
    pub(crate) siblings: bool,
    /// The tags of those that the validation names beside `entry`.
    pub(crate) named: Vec<Box<[u8]>>,
}

/// The permission to fetch a key, with what is known of the stale copy. Dropping it gives up: the place is free for the
/// next, nothing is remembered.
#[derive(Debug)]
pub struct Permit {
    pub(crate) region: Arc<Region>,
    pub(crate) claim: Claim,
    /// Boxed: permits travel inside verdicts, most of which have none.
    pub(crate) terms: Box<Terms>,
}

impl Permit {
    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.terms.purpose
    }

    /// Whether the origin is to be asked with `HEAD`.
    pub fn is_head(&self) -> bool {
        self.terms.method == ::http::Method::HEAD
    }

    /// How the client that leads this fetch comes to its answer if a new response is stored; for
    /// [`deliver`](super::Cache::deliver).
    pub fn led(&self) -> Led {
        match &*self.terms {
            Terms { forced: true, .. } => Led::Bypass,
            Terms { entry: Some(_), .. } => Led::Expired,
            _ => Led::Miss,
        }
    }

    /// The conditional fields to send to the origin: `If-None-Match`, `If-Modified-Since` (RFC 9111 §4.3.1). The client's own
    /// conditionals, `Range` and `If-Range` are never sent on a fetch.
    ///
    /// A synthesised `Last-Modified` is sent too (a 304 without validators is acceptable under §4.3.4 while no sibling
    /// is stored); a synthesised `ETag` never. Where other variants are named too, no date goes along: it is for a single
    /// stored response, and the origin would ignore it beside the tags (RFC 9110 §13.1.3).
    pub fn conditionals(&self, each: &mut dyn FnMut(&str, &[u8])) {
        let Some(entry) = self.validated() else {
            return;
        };
        if !self.terms.named.is_empty() {
            let others = self.terms.named.iter().map(|tag| &**tag);
            let tags: Vec<&[u8]> = std::iter::once(siblings::tag(entry))
                .chain(others)
                .collect();
            return each("If-None-Match", &tags.join(&b", "[..]));
        }
        if let Some(etag) = entry.head().etag(entry.object().meta()) {
            each("If-None-Match", etag);
        }
        if let Some(at) = compose::last_modified(entry) {
            each("If-Modified-Since", &at);
        } else if entry.synthesised() && !self.terms.siblings {
            let date = entry.since().min(entry.date());
            each("If-Modified-Since", &date::format(date));
        }
    }

    /// The stored response that the fetch is to validate or replace.
    pub fn entry(&self) -> Option<&Stored> {
        self.terms.entry.as_ref()
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

    /// The fields of the stored request that `Vary` names, to be sent on a refresh in place of the client's (§4.3.1). One
    /// that the stored request did not have is not given: the host sends none.
    pub fn stored_request_fields(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let Some(entry) = &self.terms.entry else {
            return;
        };
        for nominated in entry.head().nominated(entry.object().meta()) {
            if let Some(sent) = nominated.sent {
                each(nominated.name, sent);
            }
        }
    }

    /// The names of the request fields that `Vary` of the stored response nominates, present or not: the client's own
    /// lines of these names are not sent on a refresh.
    pub fn nominated_names(&self, each: &mut dyn FnMut(&[u8])) {
        if let Some(entry) = &self.terms.entry {
            for nominated in entry.head().nominated(entry.object().meta()) {
                each(nominated.name);
            }
        }
    }

    /// The copy that stale-if-error allows should this fetch fail or outlast the patience.
    pub fn stale(&self) -> Option<Stored> {
        let entry = self.terms.entry.as_ref();
        entry.filter(|_| self.terms.fallback_until > 0).cloned()
    }

    /// [`Permit::stale`] as of `now`: the window may have ended since the fetch began.
    pub fn stale_at(&self, now: Millis) -> Option<Stored> {
        self.stale().filter(|_| now < self.terms.fallback_until)
    }

    /// The host has learnt, now that there is a response, that it must not be stored: what came counts as uncacheable, for
    /// [`Reason::NoCacheCondition`] or [`Reason::Redirected`].
    pub fn keep_nothing(&mut self, reason: Reason) {
        if self.terms.keep == Keep::Store {
            self.terms.keep = Keep::Refuse(reason);
        }
    }

    /// The origin (or the host in its place) has answered. `req_fields` are those that were sent to it.
    pub fn respond(
        self,
        resp: &Response<'_>,
        req_fields: &dyn Fields,
        policy: &Policy,
        now: Millis,
    ) -> Outcome {
        let (region, fetching) = (Arc::clone(&self.region), self.fetching());
        let outcome = respond::respond(self, resp, req_fields, policy, now);
        fetching.answered(&region, &outcome, now);
        outcome
    }

    /// No answer came. `retry_after` is a pause that the origin asked for, in ms from now.
    pub fn fail(
        self,
        failure: Failure,
        retry_after: Option<Millis>,
        policy: &Policy,
        now: Millis,
    ) -> Outcome {
        let (region, fetching) = (Arc::clone(&self.region), self.fetching());
        let outcome = respond::fail(self, failure, retry_after, policy, now);
        fetching.answered(&region, &outcome, now);
        outcome
    }

    /// For the statistics.
    fn fetching(&self) -> Fetching {
        Fetching::new(self.terms.purpose, self.terms.began)
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
        super::pass::release_waiters(&self.region, self.claim.key(), now);
        self.claim.release();
    }

    /// Ends a fetch whose response may not be stored: the key is remembered, and those who wait pass.
    pub(crate) fn release_to_pass(self, why: Reason, now: Millis) {
        super::pass::remember(&self.region, self.claim.key(), why, now);
        self.claim.release();
    }

    /// Ends a fetch for a response that was not kept, for `reason`.
    pub(crate) fn end(self, reason: Reason, now: Millis) -> Outcome {
        let purpose = self.terms.purpose;
        self.release(now);
        match purpose {
            Purpose::Refresh => Outcome::Dropped(reason),
            Purpose::Fetch => Outcome::Relay(reason),
        }
    }
}
