//! The cache as hosts hold it.

use std::fmt;
use std::sync::Arc;

use super::answer::answer;
use super::decide::Asking;
use super::decision::{Decision, Led, Serve};
use super::outcome::Response;
use super::policy::Policy;
use super::request::{Request, Turn};
use super::seen::Seen;
use super::stored::Stored;
use super::verdict::{Reason, Status};
use super::written::Written;
use crate::http::invalidation::invalidates;
use crate::store::{Effect, Millis, Purge, Region, Targets};

/// A cache: policy over one region. Cheap to clone; all methods may be called from any thread.
#[derive(Clone)]
pub struct Cache {
    region: Arc<Region>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache over `region`, which the caller has entered (see `Region::enter`).
    pub fn new(region: Arc<Region>) -> Cache {
        Cache { region }
    }

    /// The region below.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// What to do with `req` at `now`. Never fails: where the cache can't do its part, the answer is a [`Pass`](super::Pass).
    pub fn decide(&self, req: &Request<'_>, policy: &Policy, turn: Turn, now: Millis) -> Decision {
        Asking::new(&self.region, req, policy, turn, now).decide()
    }

    /// The delivery of what a fetch brought, whatever its freshness, to a client that waited for that fetch.
    pub fn deliver(
        &self,
        object: &Stored,
        req: &Request<'_>,
        _policy: &Policy,
        led: Led,
        now: Millis,
    ) -> Serve {
        let (status, reason) = match led {
            Led::Miss => (Status::Miss, Reason::Fetched),
            Led::Expired => (Status::Expired, Reason::Fetched),
            Led::Revalidated => (Status::Revalidated, Reason::NotModified),
            Led::Stale => (Status::Stale, Reason::SieFallback),
            Led::Patience => (Status::Stale, Reason::SiePatience),
            Led::Bypass => (Status::Bypass, Reason::Bypass),
        };
        Serve {
            answer: answer(object, req, Seen::of(req.fields)),
            object: object.clone(),
            status,
            reason,
            age: object.age(now),
            ttl: object.ttl(now),
            collapsed: false,
            refresh: None,
        }
    }

    /// A `HEAD` that was told to [pass](super::Pass) went through to the origin, which answered: a 200 brings the stored response
    /// that the request selects up to date, or makes it stale (RFC 9111 §4.3.5).
    ///
    /// It is left as it was where the response says nothing of what others get (a bypass or no-cache condition, credentials), has
    /// nothing to be compared by, or while a refresh is under way.
    pub fn head_answered(
        &self,
        req: &Request<'_>,
        resp: &Response<'_>,
        policy: &Policy,
        now: Millis,
    ) {
        Asking::new(&self.region, req, policy, Turn::First, now).head_answered(resp);
    }

    /// A request with a method that is not cached went through to the origin, which answered with `status`: an unsafe one
    /// that succeeded makes what is stored for its target invalid (RFC 9111 §4.4). Returns how many variants went.
    pub fn written_through(&self, key: &[u8], method: &[u8], status: u16) -> u32 {
        match ::http::Method::from_bytes(method) {
            Ok(method) if invalidates(&method, status) => self.invalidate(key),
            _ => 0,
        }
    }

    /// The same, and for what the response names beside the target.
    pub fn written(&self, written: &Written<'_>) -> u32 {
        let (method, status) = (written.method, written.status);
        let mut removed = self.written_through(written.key, method, status);
        if ::http::Method::from_bytes(method).is_ok_and(|method| invalidates(&method, status)) {
            written.each_named(&mut |key| removed += self.invalidate(key));
        }
        removed
    }

    /// Begins to purge the cache groups that the response to an unsafe request names as invalid, if it does (RFC 9875 §3,
    /// whatever its status). The host goes on with [`Purge::step`] until it is done.
    pub fn written_groups(&self, written: &Written<'_>, now: Millis) -> Option<Purge> {
        let labels = written.groups();
        let targets = Targets {
            labels,
            ..Targets::default()
        };
        let names_any = !targets.labels.is_empty();
        names_any
            .then(|| self.region.purge(targets, Effect::Remove, now).ok())
            .flatten()
    }

    /// Drops every variant of `key`; fills and refreshes under way come to nothing. For a response to an unsafe method that
    /// is no error (RFC 9111 §4.4). Returns how many were stored.
    pub fn invalidate(&self, key: &[u8]) -> u32 {
        self.region.remove_key(key)
    }
}
