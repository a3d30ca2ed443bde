//! The decision: a request, what is stored, and now.

mod claiming;
mod fetching;
mod head;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::claiming::Asked;
use super::answer::answer;
use super::backoff::pausing;
use super::client::Client;
use super::decision::{Decision, Pass, Serve, Wait};
use super::fetch::{Fetch, Keep, Purpose, Terms};
use super::pass::{self, Memory};
use super::phase::{Phase, Windows, binds};
use super::policy::{CLOCKS_DIFFER, Method, Policy, SECOND};
use super::record::{Flags, Head};
use super::request::{Request, Turn};
use super::seen::Seen;
use super::stats::{self, Counter, RefreshEvent};
use super::stored::Stored;
use super::verdict::{Reason, Status};
use super::{key, variant, words};
use crate::http::{ClientVerdict, range};
use crate::store::{Attempt, Busy, Claim, Lookup, MarkerView, Millis, Object, Region};

/// How long a fetch has its place, should it neither end nor die: longer than any sane origin timeout. One that ends, or
/// whose process dies, frees it at once.
const LEASE: Millis = 120 * SECOND;

/// How often a decision starts over when what it found changed under its hands.
const TRIES: u32 = 3;

/// One request asking, with all that bears on the answer.
pub(crate) struct Asking<'a> {
    region: &'a Arc<Region>,
    req: &'a Request<'a>,
    policy: &'a Policy,
    turn: Turn,
    now: Millis,
    seen: Seen,
    client: Client,
    /// The request's key, or that of a `HEAD` that stays one.
    key: Cow<'a, [u8]>,
    mode: Mode,
}

/// Whether the answer is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is.
    Act,
    /// It is only asked what it would be: nothing is claimed, counted, remembered or removed.
    Explain,
}

/// A stored response that the request selects.
struct Found {
    stored: Stored,
    windows: Windows,
    siblings: bool,
}

/// What is known of a key of which nothing usable is stored for the request.
struct Unstored {
    marker: MarkerView,
    /// The most recent of its variants.
    newest: Option<Object>,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(
        region: &'a Arc<Region>,
        req: &'a Request<'a>,
        policy: &'a Policy,
        turn: Turn,
        now: Millis,
    ) -> Asking<'a> {
        let seen = Seen::of(req.fields);
        Asking {
            client: Client::of(req, policy, seen),
            key: match req.method {
                Method::Head if !policy.convert_head => key::of_head(req.key).into(),
                _ => req.key.into(),
            },
            region,
            req,
            policy,
            turn,
            now,
            seen,
            mode: Mode::Act,
        }
    }

    /// The same, to be told what would happen.
    pub(crate) fn explaining(self) -> Asking<'a> {
        Asking {
            mode: Mode::Explain,
            ..self
        }
    }

    pub(crate) fn decide(&self) -> Decision {
        if !self.policy.methods.has(self.req.method) {
            return pass(None, Reason::Method);
        }
        if self.seen.has(Seen::FOR_ORIGIN) {
            return pass(Some(Status::Bypass), Reason::Precondition);
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
        pass(Some(Status::Miss), Reason::Busy)
    }

    /// Whether the client wants a part so far into the response that the origin is to be asked for that alone.
    fn is_far_in(&self) -> bool {
        let begins_at = |most| range::begins_at_or_beyond(self.req.fields, most);
        self.seen.has(Seen::RANGE) && self.policy.max_range_offset.is_some_and(begins_at)
    }

    /// With `bypass` the store is not asked; what comes is stored all the same, unless `no_cache` holds too (as in nginx).
    fn bypass(&self) -> Decision {
        if self.req.no_cache {
            return pass(Some(Status::Bypass), Reason::Bypass);
        }
        if self.is_far_in() {
            return pass(Some(Status::Bypass), Reason::RangeOffset);
        }
        let claim = self.region.unclaimed(&self.key);
        let terms = Terms {
            forced: true,
            ..self.terms(Purpose::Fetch)
        };
        self.fetch(claim, terms, Reason::Bypass)
    }

    fn lookup(&self) -> Result<Lookup, Busy> {
        let (fields, policy) = (self.req.fields, self.policy);
        let mut select = |meta: &[u8]| variant::selects(meta, fields, policy);
        let mut looked = self.look(&mut select)?;
        // RFC 9111 §4: of several that match (the origin has changed what it varies by), the most recent by its `Date`, which
        // need not be the one that was stored last.
        while let Some(object) = looked.object.as_ref().filter(|_| looked.others > 0) {
            let Some(newer) = self.newer_than(object)? else {
                break;
            };
            looked = newer;
        }
        Ok(looked)
    }

    fn acts(&self) -> bool {
        self.mode == Mode::Act
    }

    fn look(&self, select: &mut dyn FnMut(&[u8]) -> bool) -> Result<Lookup, Busy> {
        match self.mode {
            Mode::Act => self.region.lookup(&self.key, self.now, select),
            Mode::Explain => self.region.peek(&self.key, self.now, select),
        }
    }

    /// What is stored for the request; nothing also if the store can't tell.
    fn selected(&self) -> Option<Found> {
        let looked = self.lookup().ok()?;
        let siblings = looked.others > 0;
        self.usable(looked.object?, siblings)
    }

    fn newer_than(&self, object: &Object) -> Result<Option<Lookup>, Busy> {
        let date = |meta: &[u8]| Head::decode(meta).map(|head| head.date);
        let than = date(object.meta());
        let mut select =
            |meta: &[u8]| date(meta) > than && variant::selects(meta, self.req.fields, self.policy);
        let looked = self.look(&mut select)?;
        Ok(Some(looked).filter(|looked| looked.object.is_some()))
    }

    /// The entry, unless it is damaged, will never be whole, or has not been asked for so long that the zone wants it gone.
    #[inline]
    fn usable(&self, object: Object, siblings: bool) -> Option<Found> {
        let stored = match Stored::new(object, self.policy) {
            Ok(stored) => stored,
            Err(damaged) => {
                if self.acts() {
                    self.region.drop_damaged(&damaged);
                }
                return None;
            }
        };
        if stored.object().filler_has_died() {
            if self.acts() {
                self.region.reap();
            }
            return None;
        }
        if let Some(inactive) = self.policy.inactive {
            let last = stored.object().attribute(words::ACCESS);
            if last.load(Relaxed).saturating_add(inactive) < self.now {
                if self.acts() && self.region.remove(stored.object()) {
                    stats::add(self.region, Counter::EvictedInactive, 1);
                }
                return None;
            }
            if self.acts() {
                last.store(self.now, Relaxed);
            }
        }
        let (stored, windows) = self.as_of_now(stored)?;
        Some(Found {
            windows,
            stored,
            siblings,
        })
    }

    /// The entry with its windows. What was stored later than now was so before the clock was set back: nobody knows how old it is,
    /// so that it is stale from now on.
    #[inline]
    fn as_of_now(&self, stored: Stored) -> Option<(Stored, Windows)> {
        let latest = self.now.saturating_add(CLOCKS_DIFFER);
        if stored.head().stored_at <= latest && stored.object().aged() <= latest {
            let windows = Windows::of(stored.head(), self.policy);
            return Some((stored, windows));
        }
        stored.object().age_from(self.now);
        let stored = stored.with_object(stored.object().clone())?;
        let windows = match stored.object().aged() <= latest {
            true => Windows::of(stored.head(), self.policy),
            // It was purged softly, nobody knows when.
            false => Windows::NONE,
        };
        Some((stored, windows))
    }

    /// The verdict on an entry; `None` if it was replaced meanwhile, and the request has to look again.
    fn found(&self, found: Found, marker: &MarkerView) -> Option<Decision> {
        if self.authorised() && !found.stored.head().flags.has(Flags::FOR_AUTHORISED) {
            return Some(self.fetch_alone(None, Reason::Authorization));
        }
        let verdict = self.client.judge(&found.stored, self.now);
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

    fn fresh(&self, found: Found) -> Decision {
        if self.is_due(&found)
            && let Some(claim) = self.refresh_claim(&found)
        {
            return self.serve_and_refresh(found, claim, Status::Hit, Reason::RefreshAhead);
        }
        self.serve(found, Status::Hit, Reason::Fresh)
    }

    /// Whether the entry is in the last part of its freshness, and may be refreshed.
    fn is_due(&self, found: &Found) -> bool {
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
    fn updating(&self, found: Found) -> Option<Decision> {
        let serve = |found, reason| Some(self.serve(found, Status::Updating, reason));
        if self.is_pausing(&found) {
            return Some(self.serve(found, Status::Stale, Reason::SwrBackoff));
        }
        if !self.policy.background_update || self.needs_credentials(&found) {
            return self.synchronous(found);
        }
        if !self.may_refresh(&found) {
            if !self.req.may_refresh {
                self.count(RefreshEvent::Deferred);
            }
            return serve(found, Reason::SwrBusy);
        }
        match self.claim_object(found.stored.object(), false) {
            Attempt::Held { .. } => serve(found, Reason::SwrWindow),
            Attempt::Won(claim) => {
                if !found.stored.object().is_current() {
                    return None;
                }
                // A refresh may have failed between our look and our claim.
                if self.is_pausing(&found) {
                    return Some(self.serve(found, Status::Stale, Reason::SwrBackoff));
                }
                Some(self.serve_and_refresh(found, claim, Status::Updating, Reason::SwrRefresh))
            }
        }
    }

    /// The legacy mode: the first request waits for the origin, the others are served.
    fn synchronous(&self, found: Found) -> Option<Decision> {
        let object = found.stored.object();
        let deaf = self.keep() == Keep::Discard || self.client.only_if_cached();
        if deaf || self.needs_credentials(&found) && !self.authorised() {
            return Some(self.serve(found, Status::Updating, Reason::SwrBusy));
        }
        match self.claim_object(object, false) {
            Attempt::Won(_) if !object.is_current() => None,
            Attempt::Won(claim) => Some(self.fetch_for(found, claim, Reason::Synchronous)),
            Attempt::Held { .. } => Some(self.serve(found, Status::Updating, Reason::SwrWindow)),
        }
    }

    /// Stale, and only stale-if-error covers it: the origin is asked, once; who can't wait any longer gets the copy.
    fn if_error(&self, found: Found, marker: &MarkerView) -> Option<Decision> {
        if self.is_pausing(&found) {
            return Some(self.serve(found, Status::Stale, Reason::SieBackoff));
        }
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        if self.alone(marker) {
            return Some(self.fetch_alone(Some(found), Reason::SieWindow));
        }
        match self.claim_entry(&found) {
            Asked::Mine(claim) => Some(self.fetch_for(found, claim, Reason::SieWindow)),
            Asked::Gone => None,
            Asked::Theirs if self.turn != Turn::TimedOut => {
                let patience = self
                    .policy
                    .revalidate_timeout
                    .unwrap_or(self.policy.lock_timeout);
                Some(self.wait(patience))
            }
            Asked::Theirs if self.policy.revalidate_timeout.is_some() => {
                Some(self.serve(found, Status::Stale, Reason::SiePatience))
            }
            // Not passed untouched as without a copy: should this one fail too, there is something better than an error.
            Asked::Theirs | Asked::Busy => Some(self.fetch_alone(Some(found), Reason::SieWindow)),
        }
    }

    /// No window covers the entry: what the origin says counts, an error too.
    fn too_old(&self, found: Found, marker: &MarkerView) -> Option<Decision> {
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        let reason = match found.stored.head().flags {
            flags if flags.has(Flags::NO_CACHE) => Reason::NoCache,
            _ if binds(found.stored.head()) => Reason::MustRevalidate,
            _ => Reason::Stale,
        };
        if self.is_far_in() {
            return Some(pass(Some(Status::Expired), Reason::RangeOffset));
        }
        // An entry that is validated at each use has nothing to share: to wait for another's answer would be in vain.
        let unshared = found.stored.object().aged() == 0
            && found.windows.end() <= found.stored.head().stored_at;
        if unshared || self.alone(marker) {
            return Some(self.fetch_alone(Some(found), reason));
        }
        match self.claim_entry(&found) {
            Asked::Mine(claim) => Some(self.fetch_for(found, claim, reason)),
            Asked::Gone => None,
            Asked::Theirs if self.turn != Turn::TimedOut => {
                Some(self.wait(self.policy.lock_timeout))
            }
            Asked::Theirs => Some(pass(Some(Status::Miss), Reason::LockTimeout)),
            Asked::Busy => Some(self.fetch_alone(Some(found), reason)),
        }
    }

    /// The client wants a newer response than the stored one, which may be fresh: asked for it alone, and validated.
    fn refused(&self, found: Found) -> Decision {
        if self.client.only_if_cached() {
            return Decision::GatewayTimeout(Reason::OnlyIfCached);
        }
        let mut found = found;
        (found.windows.swr_until, found.windows.sie_until) = (0, 0);
        self.fetch_alone(Some(found), Reason::ClientRefused)
    }

    /// Nothing usable is stored.
    fn absent(&self, key: &Unstored) -> Option<Decision> {
        let miss = |reason| Some(pass(Some(Status::Miss), reason));
        let reason = match key.newest {
            Some(_) => Reason::VaryMiss,
            None => Reason::Absent,
        };
        if self.client.only_if_cached() {
            return Some(Decision::GatewayTimeout(Reason::OnlyIfCached));
        }
        if self.req.no_cache {
            return miss(Reason::NoCacheCondition);
        }
        if self.client.no_store() {
            return miss(Reason::ClientNoStore);
        }
        if self.is_far_in() {
            return miss(Reason::RangeOffset);
        }
        // What one visitor's credentials bring can seldom be shared, so nobody waits for it.
        if self.authorised() {
            return Some(self.fetch_alone(None, reason));
        }
        let memory = Memory::of(&key.marker, self.now);
        match memory {
            Memory::Pass => return miss(Reason::HitForMiss),
            Memory::None if self.is_rare(&key.marker) => return miss(Reason::MinUses),
            Memory::None if self.alone(&key.marker) => {
                return Some(self.fetch_alone(None, reason));
            }
            Memory::None | Memory::Probe => {}
        }
        let waits = memory == Memory::None && self.turn != Turn::TimedOut;
        match self.claim_absent(key, waits) {
            Asked::Mine(claim) => {
                let terms = Terms {
                    probe: memory == Memory::Probe,
                    ..self.terms(Purpose::Fetch)
                };
                Some(self.fetch(claim, terms, reason))
            }
            Asked::Gone => None,
            Asked::Theirs if waits => Some(self.wait(self.policy.lock_timeout)),
            Asked::Theirs if memory == Memory::Probe => miss(Reason::HitForMiss),
            Asked::Theirs => miss(Reason::LockTimeout),
            Asked::Busy => miss(Reason::Busy),
        }
    }

    fn count(&self, event: RefreshEvent) {
        if !self.acts() {
            return;
        }
        stats::add(self.region, Counter::Refresh(event), 1);
    }

    fn authorised(&self) -> bool {
        self.seen.has(Seen::AUTHORIZATION)
    }

    /// The entry answered a request with `Authorization`: a refresh, which has none, would be turned away.
    fn needs_credentials(&self, found: &Found) -> bool {
        found.stored.head().flags.has(Flags::BY_AUTHORISED)
    }

    fn is_pausing(&self, found: &Found) -> bool {
        pausing(
            found.stored.object().attribute(words::BACKOFF),
            self.policy,
            self.now,
        )
    }

    fn may_refresh(&self, found: &Found) -> bool {
        self.req.may_refresh
            && self.keep() == Keep::Store
            && !self.needs_credentials(found)
            && found.stored.is_complete()
    }

    /// Whether the request fetches for itself: it is not to share, or has waited for a fetch that left nothing.
    fn alone(&self, marker: &MarkerView) -> bool {
        !self.policy.lock
            || self.keep() == Keep::Discard
            || self.turn == Turn::Waited && pass::released(marker, self.now)
    }

    /// Counts this request; whether there were too few to store the key.
    fn is_rare(&self, marker: &MarkerView) -> bool {
        if self.policy.min_uses <= 1 || self.turn != Turn::First {
            return false;
        }
        let uses = match self.mode {
            Mode::Act => pass::count_use(self.region, &self.key, self.now),
            Mode::Explain => pass::uses(marker).saturating_add(1),
        };
        uses < self.policy.min_uses
    }

    fn keep(&self) -> Keep {
        match self.req.no_cache || self.client.no_store() {
            true => Keep::Discard,
            false => Keep::Store,
        }
    }

    fn wait(&self, patience: Millis) -> Decision {
        Decision::Wait(Wait {
            until: self.now + patience,
            reason: Reason::Collapsed,
        })
    }

    #[inline]
    fn serve(&self, found: Found, status: Status, reason: Reason) -> Decision {
        Decision::Serve(self.served(found.stored, status, reason, None))
    }

    fn serve_and_refresh(
        &self,
        found: Found,
        claim: Claim,
        status: Status,
        reason: Reason,
    ) -> Decision {
        self.count(RefreshEvent::Started);
        let stored = found.stored.clone();
        let permit = self.permit(claim, self.terms_for(found, Purpose::Refresh));
        let refresh = Box::new(Fetch::new(permit, reason, None));
        Decision::Serve(self.served(stored, status, reason, Some(refresh)))
    }

    #[inline]
    fn served(
        &self,
        stored: Stored,
        status: Status,
        reason: Reason,
        refresh: Option<Box<Fetch>>,
    ) -> Serve {
        Serve {
            answer: answer(&stored, self.req, self.seen, self.policy),
            status,
            reason,
            age: stored.age(self.now),
            ttl: stored.ttl(self.now),
            collapsed: self.turn != Turn::First,
            refresh,
            object: stored,
        }
    }
}

fn pass(status: Option<Status>, reason: Reason) -> Decision {
    Decision::Pass(Pass { status, reason })
}
