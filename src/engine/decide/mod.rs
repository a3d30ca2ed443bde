//! Decides what to do with a request, from what is stored and the time.

pub(crate) mod answer;
mod asking;
mod claiming;
mod client_control;
pub(crate) mod decision;
mod fetching;
mod head;
pub(crate) mod presence;
pub(crate) mod reply;

use std::ops::Deref;

use self::asking::{Mode, SelectedResponse, Unstored};
use self::claiming::{Claimed, Claims};
use self::fetching::Fetches;
use crate::engine::backoff::pausing;
use crate::engine::decide::answer::answer;
use crate::engine::decide::decision::{Decision, Pass, Serve, Wait};
use crate::engine::decide::presence::Presence;
use crate::engine::encode::Choosing;
use crate::engine::fetch::{Fetch, Keep, Purpose, Terms};
use crate::engine::hit_for_miss::{self, HitForMiss};
use crate::engine::phase::{Phase, binds};
use crate::engine::record::Flags;
use crate::engine::record::attributes;
use crate::engine::record::stored::Stored;
use crate::engine::request::Turn;
use crate::engine::stats::{self, Counter, RefreshEvent};
use crate::engine::verdict::{Asked, Passed, Reason, Status};
use crate::http::ClientVerdict;
use crate::store::{Attempt, Claim, MarkerView, Millis};

pub(crate) use self::asking::Asking;
pub(crate) use self::head::head_answered;

/// How often a decision starts over because what it looked up has been replaced concurrently.
const TRIES: u32 = 3;

/// The decision on one request.
pub(crate) struct Deciding<'a>(pub(crate) &'a Asking<'a>);

impl<'a> Deref for Deciding<'a> {
    type Target = Asking<'a>;

    #[inline]
    fn deref(&self) -> &Asking<'a> {
        self.0
    }
}

impl Deciding<'_> {
    fn claims(&self) -> Claims<'_> {
        Claims(self.0)
    }

    fn fetches(&self) -> Fetches<'_> {
        Fetches(self.0)
    }

    /// Makes the decision.
    pub(crate) fn decide(&self) -> Decision {
        if !self.policy.methods.has(self.req.method) {
            return pass(None, Passed::Method);
        }
        if self.presence.has(Presence::FOR_ORIGIN) {
            return pass(Some(Status::Bypass), Passed::Precondition);
        }
        if self.req.bypass {
            return self.bypass();
        }
        for _ in 0..TRIES {
            let Ok(looked) = self.lookup() else { break };
            let (marker, newest) = (looked.marker, looked.newest);
            let found = looked
                .object
                .and_then(|object| self.usable(object, looked.others > 0));
            let decision = match found {
                Some(found) => self.found(found, &marker),
                None => self.absent(&Unstored { marker, newest }),
            };
            if let Some(decision) = decision {
                return decision;
            }
        }
        pass(Some(Status::Miss), Passed::Busy)
    }

    /// A fetch of what is missing of `seen` for this client.
    pub(crate) fn rest_of(&self, seen: &Stored) -> Option<Fetch> {
        self.fetches().rest_of(seen)
    }

    /// The bypass condition holds: the store is not consulted. The response is stored nevertheless, unless `no_cache`
    /// holds too (as in nginx).
    fn bypass(&self) -> Decision {
        if self.req.no_cache {
            return pass(Some(Status::Bypass), Passed::Bypass);
        }
        if self.is_far_in() {
            return pass(Some(Status::Bypass), Passed::RangeOffset);
        }
        let claim = self.region.unclaimed(&self.key);
        let terms = Terms {
            forced: true,
            ..self.fetches().terms(Purpose::Fetch)
        };
        self.fetches().fetch(claim, terms, Asked::Bypass)
    }

    /// Decides for an entry. Returns `None` if the entry has been replaced in the meantime and has to be looked up
    /// again.
    fn found(&self, found: SelectedResponse, marker: &MarkerView) -> Option<Decision> {
        if self.authorised() && !found.stored.head().flags.has(Flags::FOR_AUTHORISED) {
            return Some(self.fetches().fetch_alone(None, Asked::Authorization));
        }
        let verdict = self.client.verdict(&found.stored, self.now);
        if matches!(
            verdict,
            ClientVerdict::NoCache | ClientVerdict::MaxAge | ClientVerdict::MinFresh
        ) {
            return Some(self.refused(found));
        }
        match found.windows.phase(self.now) {
            Phase::Fresh => Some(self.fresh(found)),
            Phase::Swr => self.updating(found),
            _ if verdict == ClientVerdict::AcceptsStale => {
                Some(self.serve(found, Status::Stale, Reason::MaxStale))
            }
            Phase::Sie => self.if_error(found, marker),
            Phase::TooOld => self.too_old(found, marker),
        }
    }

    fn fresh(&self, found: SelectedResponse) -> Decision {
        let claim = self
            .is_due(&found)
            .then(|| self.claims().refresh_claim(&found));
        match claim.flatten() {
            Some(claim) => self.serve_and_refresh(found, claim, Status::Hit, Asked::RefreshAhead),
            None => self.serve(found, Status::Hit, Reason::Fresh),
        }
    }

    /// Whether the entry is within the last `refresh_ahead` percent of its lifetime and may be refreshed.
    fn is_due(&self, found: &SelectedResponse) -> bool {
        let Some(percent) = self.policy.refresh_ahead else {
            return false;
        };
        let head = found.stored.head();
        let left = head.fresh_until.saturating_sub(self.now);
        left.saturating_mul(100) <= head.lifetime.saturating_mul(percent.into())
            && self.policy.background_update
            && self.may_refresh(found)
            && !self.is_pausing(found)
    }

    /// Stale inside stale-while-revalidate: served at once, whatever the origin does.
    fn updating(&self, found: SelectedResponse) -> Option<Decision> {
        let serve = |found, reason| Some(self.serve(found, Status::Updating, reason));
        if self.is_pausing(&found) {
            return Some(self.serve(found, Status::Stale, Reason::SwrBackoff));
        }
        if !self.policy.background_update || self.needs_credentials(&found) {
            return self.synchronous(found);
        }
        if !self.may_refresh(&found) {
            let mut serve = self.served(found.stored, Status::Updating, Reason::SwrBusy, None);
            serve.deferred = !self.req.may_refresh;
            if serve.deferred {
                self.count(RefreshEvent::Deferred);
            }
            return Some(Decision::Serve(serve));
        }
        match self.claims().claim_object(found.stored.object(), false) {
            Attempt::Held { .. } => serve(found, Reason::SwrWindow),
            Attempt::Won(claim) => {
                if !found.stored.object().is_current() {
                    return None;
                }
                // A refresh may have failed between the lookup and the claim.
                if self.is_pausing(&found) {
                    return Some(self.serve(found, Status::Stale, Reason::SwrBackoff));
                }
                Some(self.serve_and_refresh(found, claim, Status::Updating, Asked::SwrRefresh))
            }
        }
    }

    /// Synchronous mode: the first request waits for the origin, the others are served.
    fn synchronous(&self, found: SelectedResponse) -> Option<Decision> {
        let object = found.stored.object();
        let deaf = self.keep() == Keep::Discard || self.client.only_if_cached();
        if deaf || self.needs_credentials(&found) && !self.authorised() {
            return Some(self.serve(found, Status::Updating, Reason::SwrBusy));
        }
        match self.claims().claim_object(object, false) {
            Attempt::Won(_) if !object.is_current() => None,
            Attempt::Won(claim) => Some(self.fetches().fetch_for(found, claim, Asked::Synchronous)),
            Attempt::Held { .. } => Some(self.serve(found, Status::Updating, Reason::SwrWindow)),
        }
    }

    /// Stale inside stale-if-error only: one request asks the origin; a request that has waited long enough gets the
    /// stale response.
    fn if_error(&self, found: SelectedResponse, marker: &MarkerView) -> Option<Decision> {
        if self.is_pausing(&found) {
            return Some(self.serve(found, Status::Stale, Reason::SieBackoff));
        }
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        if self.alone(marker) {
            return Some(self.fetches().fetch_alone(Some(found), Asked::SieWindow));
        }
        match self.claims().claim_entry(&found) {
            Claimed::Mine(claim) => Some(self.fetches().fetch_for(found, claim, Asked::SieWindow)),
            Claimed::Gone => None,
            Claimed::Theirs if self.turn != Turn::TimedOut => {
                let patience = self
                    .policy
                    .revalidate_timeout
                    .unwrap_or(self.policy.lock_timeout);
                Some(self.wait(patience))
            }
            Claimed::Theirs if self.policy.revalidate_timeout.is_some() => {
                Some(self.serve(found, Status::Stale, Reason::SiePatience))
            }
            // Unlike a request without a stored response, this one is not passed: if its own fetch fails too, it can be
            // served stale.
            Claimed::Theirs | Claimed::Busy => {
                Some(self.fetches().fetch_alone(Some(found), Asked::SieWindow))
            }
        }
    }

    /// Outside all windows: the origin's answer counts, even an error.
    fn too_old(&self, found: SelectedResponse, marker: &MarkerView) -> Option<Decision> {
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        let reason = match found.stored.head().flags {
            flags if flags.has(Flags::NO_CACHE) => Asked::NoCache,
            _ if binds(found.stored.head()) => Asked::MustRevalidate,
            _ => Asked::Stale,
        };
        if self.is_far_in() {
            return Some(pass(Some(Status::Expired), Passed::RangeOffset));
        }
        // A response that is validated at each use can't be shared, so waiting for another request's fetch would be
        // futile.
        let unshared = found.stored.object().aged() == 0
            && found.windows.end() <= found.stored.head().stored_at;
        if unshared || self.alone(marker) {
            return Some(self.fetches().fetch_alone(Some(found), reason));
        }
        match self.claims().claim_entry(&found) {
            Claimed::Mine(claim) => Some(self.fetches().fetch_for(found, claim, reason)),
            Claimed::Gone => None,
            Claimed::Theirs if self.turn != Turn::TimedOut => {
                Some(self.wait(self.policy.lock_timeout))
            }
            Claimed::Theirs => Some(pass(Some(Status::Miss), Passed::LockTimeout)),
            Claimed::Busy => Some(self.fetches().fetch_alone(Some(found), reason)),
        }
    }

    /// The client requires a newer response than the stored one, which may be fresh: validate it for this client alone.
    fn refused(&self, found: SelectedResponse) -> Decision {
        if self.client.only_if_cached() {
            return Decision::GatewayTimeout(Reason::OnlyIfCached);
        }
        let mut found = found;
        (found.windows.swr_until, found.windows.sie_until) = (0, 0);
        self.fetches()
            .fetch_alone(Some(found), Asked::ClientRefused)
    }

    /// No usable response is stored.
    fn absent(&self, key: &Unstored) -> Option<Decision> {
        let miss = |reason| Some(pass(Some(Status::Miss), reason));
        let reason = match key.newest {
            Some(_) => Asked::VaryMiss,
            None => Asked::Absent,
        };
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        if self.req.no_cache {
            return miss(Passed::NoCacheCondition);
        }
        if self.client.no_store() {
            return miss(Passed::ClientNoStore);
        }
        if self.is_far_in() {
            return miss(Passed::RangeOffset);
        }
        // A response to credentials can rarely be shared, so no request waits for it.
        if self.authorised() {
            return Some(self.fetches().fetch_alone(None, reason));
        }
        let marked = HitForMiss::of(&key.marker, self.now);
        match marked {
            HitForMiss::Pass => return miss(Passed::HitForMiss),
            HitForMiss::None if self.is_rare(&key.marker) => return miss(Passed::MinUses),
            HitForMiss::None if self.alone(&key.marker) => {
                return Some(self.fetches().fetch_alone(None, reason));
            }
            HitForMiss::None | HitForMiss::Probe => {}
        }
        let waits = marked == HitForMiss::None && self.turn != Turn::TimedOut;
        match self.claims().claim_absent(key, waits) {
            Claimed::Mine(claim) => {
                let terms = Terms {
                    probe: marked == HitForMiss::Probe,
                    ..self.fetches().terms(Purpose::Fetch)
                };
                Some(self.fetches().fetch(claim, terms, reason))
            }
            Claimed::Gone => None,
            Claimed::Theirs if waits => Some(self.wait(self.policy.lock_timeout)),
            Claimed::Theirs if marked == HitForMiss::Probe => miss(Passed::HitForMiss),
            Claimed::Theirs => miss(Passed::LockTimeout),
            Claimed::Busy => miss(Passed::Busy),
        }
    }

    fn count(&self, event: RefreshEvent) {
        if !self.acts() {
            return;
        }
        stats::add(self.region, Counter::Refresh(event), 1);
    }

    /// Whether the entry is the response to a request with `Authorization`: the origin would reject a refresh, which
    /// carries none.
    fn needs_credentials(&self, found: &SelectedResponse) -> bool {
        found.stored.head().flags.has(Flags::BY_AUTHORISED)
    }

    fn is_pausing(&self, found: &SelectedResponse) -> bool {
        pausing(
            found.stored.object().attribute(attributes::BACKOFF),
            self.policy,
            self.now,
        )
    }

    fn may_refresh(&self, found: &SelectedResponse) -> bool {
        self.req.may_refresh
            && self.keep() == Keep::Store
            && !self.needs_credentials(found)
            && found.stored.is_complete()
    }

    /// Whether the request fetches for itself alone: it may not share, or it waited for a fetch that stored nothing.
    fn alone(&self, marker: &MarkerView) -> bool {
        !self.policy.lock
            || self.keep() == Keep::Discard
            || self.turn == Turn::Waited && hit_for_miss::released(marker, self.now)
    }

    /// Counts this request. Returns whether the key has been requested too rarely to be stored.
    fn is_rare(&self, marker: &MarkerView) -> bool {
        if self.policy.min_uses <= 1 || self.turn != Turn::First {
            return false;
        }
        let uses = match self.mode {
            Mode::Act => hit_for_miss::count_use(self.region, &self.key, self.now),
            Mode::Explain => hit_for_miss::uses(marker).saturating_add(1),
        };
        uses < self.policy.min_uses
    }

    fn wait(&self, patience: Millis) -> Decision {
        Decision::Wait(Wait {
            until: self.now + patience,
            reason: Reason::Collapsed,
        })
    }

    #[inline]
    fn serve(&self, found: SelectedResponse, status: Status, reason: Reason) -> Decision {
        Decision::Serve(self.served(found.stored, status, reason, None))
    }

    fn serve_and_refresh(
        &self,
        found: SelectedResponse,
        claim: Claim,
        status: Status,
        asked: Asked,
    ) -> Decision {
        self.count(RefreshEvent::Started);
        let stored = found.stored.clone();
        let permit = self
            .fetches()
            .permit(claim, self.fetches().terms_for(found, Purpose::Refresh));
        let refresh = Box::new(Fetch::new(permit, asked, None));
        Decision::Serve(self.served(stored, status, asked.reason(), Some(refresh)))
    }

    /// The stored response in the form that suits the client's `Accept-Encoding`. Kept out of the way of those without forms.
    #[inline(never)]
    fn in_form(&self, stored: Stored) -> Stored {
        let choosing = Choosing {
            region: self.region,
            queue: self.encoders,
            acts: self.acts(),
            req: self.req,
            policy: self.policy,
            presence: self.presence,
            now: self.now,
        };
        choosing.form_of(stored)
    }

    #[inline]
    fn served(
        &self,
        stored: Stored,
        status: Status,
        reason: Reason,
        refresh: Option<Box<Fetch>>,
    ) -> Serve {
        let (age, ttl) = (stored.age(self.now), stored.ttl(self.now));
        let stored = match self.policy.compress.is_empty() {
            true => stored,
            false => self.in_form(stored),
        };
        Serve {
            answer: answer(&stored, self.req, self.presence, self.policy),
            status,
            reason,
            age,
            ttl,
            collapsed: self.turn != Turn::First,
            deferred: false,
            refresh,
            object: stored,
        }
    }
}

fn pass(status: Option<Status>, reason: Passed) -> Decision {
    Decision::Pass(Pass { status, reason })
}
