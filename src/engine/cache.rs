//! The cache as hosts hold it.

use std::fmt;
use std::sync::Arc;

use super::decide::presence::Presence;
use super::decide::{Asking, Deciding, head_answered};
use super::explain::{self, Explanation};
use super::fetch::{Aside, Delivery, Response};
use super::key::split;
use super::policy::{Invalidate, Policy};
use super::purge::{Removal, Selection};
use super::request::{Request, Turn};
use super::stats::{self, Answered, Counter, Listed, PurgedBy};
use crate::engine::decide::answer::answer;
use crate::engine::decide::decision::{Decision, Serve};
use crate::engine::purge::invalidation::Invalidation;
use crate::engine::purge::mode::PurgeMode;
use crate::engine::verdict::Status;
use crate::store::{Busy, Effect, Millis, Region, Targets};

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
        region.set_stem(|key| Some(split(key)?.0));
        Cache { region }
    }

    /// The region below.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// What to do with `req` at `now`. Never fails: where the cache can't do its part, the answer is a [`Pass`](super::Pass).
    pub fn decide(&self, req: &Request<'_>, policy: &Policy, turn: Turn, now: Millis) -> Decision {
        Deciding(&Asking::new(&self.region, req, policy, turn, now)).decide()
    }

    /// The delivery of what a fetch has brought, whatever its freshness, to a client that waited for it. A stale copy that was to stand in
    /// is not delivered after its window: how the client is told of that instead.
    pub fn deliver(
        &self,
        brought: &Delivery,
        req: &Request<'_>,
        policy: &Policy,
        now: Millis,
    ) -> Result<Serve, Aside> {
        if let Some(aside) = brought.is_over(now) {
            return Err(aside);
        }
        let object = &brought.object;
        Ok(Serve {
            answer: answer(object, req, Presence::of(req.fields), policy),
            object: object.clone(),
            status: brought.status,
            reason: brought.reason,
            age: object.age(now),
            ttl: object.ttl(now),
            collapsed: false,
            refresh: None,
        })
    }

    /// What [`Cache::decide`] would say, without its effects: nothing is counted, claimed, remembered or removed. A fetch in it is not
    /// to be carried out: it holds no place.
    pub fn peek(&self, req: &Request<'_>, policy: &Policy, now: Millis) -> Decision {
        let asking = Asking::new(&self.region, req, policy, Turn::First, now).explaining();
        Deciding(&asking).decide()
    }

    /// What would happen to `req` at `now`, and why. Nothing is fetched, counted, claimed, remembered or removed.
    pub fn explain(
        &self,
        req: &Request<'_>,
        policy: &Policy,
        now: Millis,
    ) -> Result<Explanation, Busy> {
        explain::explain(&self.region, self.peek(req, policy, now), req, policy, now)
    }

    /// Everything that is stored.
    pub fn list(&self, now: Millis) -> Result<Vec<Listed>, Busy> {
        stats::list(&self.region, now)
    }

    /// Counts a response to a client, once it is over.
    pub fn count(&self, answered: &Answered) {
        stats::count(&self.region, answered);
    }

    /// Counts bytes of a body that the store has given to a client, beside a response that was counted when it began.
    pub fn count_bytes(&self, status: Status, bytes: u64) {
        stats::count_bytes(&self.region, status, bytes);
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
        let asking = Asking::new(&self.region, req, policy, Turn::First, now);
        head_answered(&asking, resp);
    }

    /// Drops what is stored for a whole key, at once, with all of its branches. How many responses that were.
    pub fn remove(&self, key: &[u8]) -> Result<u32, Busy> {
        let removed = self.region.try_remove_key(key)?;
        stats::add(
            &self.region,
            Counter::Purges(PurgedBy::Url, PurgeMode::Hard),
            1,
        );
        stats::add(&self.region, Counter::Purged, removed.into());
        Ok(removed)
    }

    /// A purge: what was asked of the origin before its first step never comes to be served as if it were new. Call
    /// [`Removal::step`] until it is done; it then counts the responses it has found.
    pub fn purge(&self, what: Selection, how: PurgeMode, now: Millis) -> Removal {
        for by in what.kinds() {
            stats::add(&self.region, Counter::Purges(by, how), 1);
        }
        Removal::new(&self.region, what.targets(), how.effect(), now)
    }

    /// A request with a method that is not cached went through to the origin, which answered: an unsafe one that succeeded
    /// makes what is stored for its target invalid, and what the response names beside it (RFC 9111 §4.4), as far as
    /// [`Policy::invalidate`] says; whatever its status, the response may name groups that are (RFC 9875 §3). Call
    /// [`Removal::step`] until it is done.
    pub fn invalidate(
        &self,
        invalidation: &Invalidation<'_>,
        policy: &Policy,
        now: Millis,
    ) -> Removal {
        let mut targets = Targets {
            labels: invalidation.groups(),
            ..Targets::default()
        };
        let keys = invalidation.keys(policy.invalidate);
        let how = match policy.invalidate {
            Invalidate::Soft => PurgeMode::Soft,
            _ => PurgeMode::Hard,
        };
        if !keys.is_empty() || !targets.labels.is_empty() {
            stats::add(&self.region, Counter::Purges(PurgedBy::Write, how), 1);
        }
        if policy.invalidate == Invalidate::Soft {
            targets.keys = keys;
            return Removal::new(&self.region, targets, Effect::Age, now);
        }
        let mut removal = Removal::new(&self.region, targets, Effect::Remove, now);
        for key in keys {
            removal.drop_key(&key);
        }
        removal
    }
}
