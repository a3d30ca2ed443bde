//! The cache as a host uses it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::decide::presence::Presence;
use super::decide::{Asking, Deciding, head_answered};
use super::explain::{self, Explanation};
use super::fetch::{Aside, Delivery, Fetch, Response};
use super::key::split;
use super::policy::{Invalidate, Policy};
use super::purge::{Removal, Selection};
use super::request::{Request, Turn};
use super::stats::{self, Answered, Counter, Listed, PurgedBy};
use crate::engine::decide::answer::answer;
use crate::engine::decide::decision::{Decision, Serve};
use crate::engine::encode::{Choosing, EncodeQueue};
use crate::engine::purge::invalidation::Invalidation;
use crate::engine::purge::mode::PurgeMode;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::Status;
use crate::store::{Busy, Effect, Millis, Region, Targets};

/// A cache: policies applied to one region. A clone refers to the same region and is cheap. Every method may be called
/// from any thread.
///
/// ```
/// use std::sync::Arc;
/// use swrcache::engine::{Cache, PurgeMode, Selection};
/// use swrcache::store::{Region, RegionOptions};
///
/// let region = Region::private(1 << 20, &RegionOptions::default())?;
/// region.enter(None)?;
/// let cache = Cache::new(Arc::new(region));
/// let what = Selection { tags: vec![b"news"[..].into()], ..Selection::default() };
/// let mut removal = cache.purge(what, PurgeMode::Soft, 1_700_000_000_000);
/// while !removal.step(1000)? {}
/// assert_eq!(removal.removed(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    region: Arc<Region>,
    encoders: Arc<OnceLock<EncodeQueue>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// Makes a cache over `region`, which the calling process has entered (see `Region::enter`).
    pub fn new(region: Arc<Region>) -> Cache {
        region.set_stem(|key| Some(split(key)?.0));
        Cache {
            region,
            encoders: Arc::default(),
        }
    }

    /// Has the cache, and its clones in this process, ask `queue` for the encoded forms that clients would take
    /// ([`Policy::compress`]). The first call counts. Without one, those that are stored already are served.
    pub fn encode_by(&self, queue: EncodeQueue) {
        _ = self.encoders.set(queue);
    }

    /// The region that the cache stores in.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Decides what to do with `req` at `now`. Never fails: if the cache can't decide (its region is busy, for
    /// example), the decision is a [`Pass`](super::Pass).
    pub fn decide(&self, req: &Request<'_>, policy: &Policy, turn: Turn, now: Millis) -> Decision {
        let asking = Asking::new(&self.region, req, policy, turn, now);
        Deciding(&asking.encoding_by(self.encoders.get())).decide()
    }

    /// Makes the answer for a client that waited for a fetch, from what the fetch stored, whatever its
    /// freshness. A stale response that is served in place of a failure is not delivered beyond its window;
    /// the error then tells what to report to the client.
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
        let presence = Presence::of(req.fields);
        let mut object = brought.object.clone();
        if !policy.compress.is_empty() {
            let choosing = Choosing {
                region: &self.region,
                queue: self.encoders.get(),
                acts: true,
                req,
                policy,
                presence,
                now,
            };
            object = choosing.form_of(object);
        }
        Ok(Serve {
            answer: answer(&object, req, presence, policy),
            status: brought.status,
            reason: brought.reason,
            age: object.age(now),
            ttl: object.ttl(now),
            object,
            collapsed: false,
            deferred: false,
            refresh: None,
        })
    }

    /// A fetch of what is missing of `seen`, which broke off under a client because the store took no more of it; `None`
    /// if it broke off for another reason. The response may not be stored, so every client asks for itself.
    pub fn rest_of(
        &self,
        seen: &Stored,
        req: &Request<'_>,
        policy: &Policy,
        now: Millis,
    ) -> Option<Fetch> {
        let asking = Asking::new(&self.region, req, policy, Turn::First, now);
        Deciding(&asking).rest_of(seen)
    }

    /// What [`Cache::decide`] would decide, without its effects: nothing is counted, claimed, remembered or
    /// removed. A fetch in it holds no claim and must not be run.
    pub fn peek(&self, req: &Request<'_>, policy: &Policy, now: Millis) -> Decision {
        let asking = Asking::new(&self.region, req, policy, Turn::First, now).explaining();
        Deciding(&asking).decide()
    }

    /// Explains what would happen to `req` at `now`, and why. It fetches, counts, claims, remembers and removes
    /// nothing.
    pub fn explain(
        &self,
        req: &Request<'_>,
        policy: &Policy,
        now: Millis,
    ) -> Result<Explanation, Busy> {
        explain::explain(&self.region, self.peek(req, policy, now), req, policy, now)
    }

    /// Lists every stored response.
    pub fn list(&self, now: Millis) -> Result<Vec<Listed>, Busy> {
        stats::list(&self.region, now)
    }

    /// Counts a response to a client. Call it once the response is over.
    pub fn count(&self, answered: &Answered) {
        stats::count(&self.region, answered);
    }

    /// Counts bytes of a body that were sent from the store, for a response that was counted when it began.
    pub fn count_bytes(&self, status: Status, bytes: u64) {
        stats::count_bytes(&self.region, status, bytes);
    }

    /// Takes note of the origin's answer to a `HEAD` that was [passed](super::Pass): a 200 freshens the stored response
    /// that the request selects, or makes it stale (RFC 9111 §4.3.5).
    ///
    /// The stored response stays as it is if the answer is not representative of what other clients get (a bypass or
    /// no-cache condition, credentials), if the answer has no field to compare, or while a refresh is in progress.
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

    /// Begins a purge. A response that the origin was asked for before the first step will not be served as if it were
    /// new. Call [`Removal::step`] until it is done; it counts the responses that it finds.
    pub fn purge(&self, what: Selection, how: PurgeMode, now: Millis) -> Removal {
        for by in what.kinds() {
            stats::add(&self.region, Counter::Purges(by, how), 1);
        }
        Removal::new(&self.region, what.targets(), how.effect(), now)
    }

    /// Takes note of the origin's answer to a request whose method is not cached. A successful unsafe request
    /// invalidates what is stored for its target and for the URIs that the response names (RFC 9111 §4.4), as far as
    /// [`Policy::invalidate`] says; a response of any status may invalidate cache groups (RFC 9875 §3). Call
    /// [`Removal::step`] on the result until it is done.
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
        let keys = invalidation.keys(policy);
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
