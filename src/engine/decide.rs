//! The decision: a request, what is stored, and now.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::answer::answer;
use super::backoff::pausing;
use super::client::Client;
use super::decision::{Decision, Fetch, Pass, Serve, Wait};
use super::pass::{self, Memory};
use super::permit::{Keep, Permit, Purpose, Terms};
use super::phase::{Phase, Windows, binds};
use super::policy::{Method, Policy, SECOND, Window};
use super::record::Flags;
use super::request::{Request, Turn};
use super::seen::Seen;
use super::stored::Stored;
use super::verdict::{Reason, Status};
use super::{variant, words};
use crate::http::ClientVerdict;
use crate::store::{Attempt, Busy, Claim, MarkerView, Millis, Object, Region};

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
}

/// A stored response that the request selects.
struct Found {
    stored: Stored,
    windows: Windows,
    siblings: bool,
}

/// What a lookup gave: a usable record, or what is known of the key without one.
struct Looked {
    found: Option<Found>,
    marker: MarkerView,
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
            region,
            req,
            policy,
            turn,
            now,
            seen,
        }
    }

    pub(crate) fn decide(&self) -> Decision {
        if !self.policy.methods.has(self.req.method) {
            return pass(None, Reason::Method);
        }
        if self.req.bypass {
            return self.bypass();
        }
        for _ in 0..TRIES {
            let decision = match self.lookup() {
                Err(Busy) => Some(pass(Some(Status::Miss), Reason::Busy)),
                Ok(Looked {
                    found: Some(found),
                    marker,
                    ..
                }) => self.found(found, &marker),
                Ok(looked) => self.absent(&looked),
            };
            if let Some(decision) = decision {
                return decision;
            }
        }
        pass(Some(Status::Miss), Reason::Busy)
    }

    /// With `bypass` the store is not asked; what comes is stored all the same, unless `no_cache` holds too (as in nginx).
    fn bypass(&self) -> Decision {
        if self.req.no_cache {
            return pass(Some(Status::Bypass), Reason::Bypass);
        }
        let claim = self.region.unclaimed(self.req.key);
        let terms = Terms {
            forced: true,
            ..self.terms(Purpose::Fetch)
        };
        self.fetch(claim, terms, Reason::Bypass)
    }

    fn lookup(&self) -> Result<Looked, Busy> {
        let (fields, policy) = (self.req.fields, self.policy);
        let mut select = |meta: &[u8]| variant::selects(meta, fields, policy);
        let looked = self.region.lookup(self.req.key, self.now, &mut select)?;
        let found = looked
            .object
            .and_then(|object| self.usable(object, looked.others > 0));
        Ok(Looked {
            found,
            marker: looked.marker,
            newest: looked.newest,
        })
    }

    /// The entry, unless it is damaged or has not been asked for so long that the zone wants it gone.
    fn usable(&self, object: Object, siblings: bool) -> Option<Found> {
        let stored = match Stored::new(object, self.policy) {
            Ok(stored) => stored,
            Err(damaged) => {
                self.region.remove(&damaged);
                return None;
            }
        };
        if let Some(inactive) = self.policy.inactive {
            let last = stored.object().word(words::ACCESS);
            if last.load(Relaxed).saturating_add(inactive) < self.now {
                self.region.remove(stored.object());
                return None;
            }
            last.store(self.now, Relaxed);
        }
        Some(Found {
            windows: Windows::of(stored.head(), self.policy),
            stored,
            siblings,
        })
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
        if self.is_due(&found) {
            if let Some(claim) = self.refresh_claim(&found) {
                return self.serve_and_refresh(found, claim, Status::Hit, Reason::RefreshAhead);
            }
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
            return serve(found, Reason::SwrBackoff);
        }
        if !self.policy.background_update || self.needs_credentials(&found) {
            return self.synchronous(found);
        }
        if !self.may_refresh(&found) {
            return serve(found, Reason::SwrBusy);
        }
        match self
            .region
            .claim_object(found.stored.object(), self.now, self.now + LEASE, false)
        {
            Attempt::Held { .. } => serve(found, Reason::SwrWindow),
            Attempt::Won(claim) => {
                if !found.stored.object().is_current() {
                    return None;
                }
                // A refresh may have failed between our look and our claim.
                if self.is_pausing(&found) {
                    return serve(found, Reason::SwrBackoff);
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
        match self
            .region
            .claim_object(object, self.now, self.now + LEASE, false)
        {
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
        // An entry that is validated at each use has nothing to share: to wait for another's answer would be in vain.
        let unshared = found.windows.end() <= found.stored.head().stored_at;
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
        found.windows.sie_until = 0;
        self.fetch_alone(Some(found), Reason::ClientRefused)
    }

    /// Nothing usable is stored.
    fn absent(&self, looked: &Looked) -> Option<Decision> {
        let miss = |reason| Some(pass(Some(Status::Miss), reason));
        let reason = match looked.newest {
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
        // What one visitor's credentials bring can seldom be shared, so nobody waits for it.
        if self.authorised() {
            return Some(self.fetch_alone(None, reason));
        }
        let memory = Memory::of(&looked.marker, self.now);
        match memory {
            Memory::Pass => return miss(Reason::HitForMiss),
            Memory::None if self.is_rare() => return miss(Reason::MinUses),
            Memory::None if self.alone(&looked.marker) => {
                return Some(self.fetch_alone(None, reason));
            }
            Memory::None | Memory::Probe => {}
        }
        let waits = memory == Memory::None && self.turn != Turn::TimedOut;
        match self.claim_absent(looked, waits) {
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

    fn claim_absent(&self, looked: &Looked, wait: bool) -> Asked {
        let sub = match &looked.newest {
            Some(sibling) => variant::sub_key(sibling.meta(), self.req.fields, self.policy),
            None => 0,
        };
        let attempt = self
            .region
            .claim_key(self.req.key, sub, self.now, self.now + LEASE, wait);
        let Ok(attempt) = attempt else {
            return Asked::Busy;
        };
        match self.or_one_more(attempt, sub) {
            // Another fetch may have ended between our look and our claim: then what it brought is there now.
            Asked::Mine(claim) => match self.lookup() {
                Ok(Looked { found: None, .. }) => Asked::Mine(claim),
                _ => Asked::Gone,
            },
            other => other,
        }
    }

    fn claim_entry(&self, found: &Found) -> Asked {
        let object = found.stored.object();
        let wait = self.turn != Turn::TimedOut;
        let attempt = self
            .region
            .claim_object(object, self.now, self.now + LEASE, wait);
        match self.or_one_more(attempt, object.id()) {
            Asked::Mine(_) if !object.is_current() => Asked::Gone,
            other => other,
        }
    }

    /// What an attempt came to. Where the fetch that holds the place is older than the lock's age, one more request is let
    /// through, and another one for each such age that passes. They take places of their own: the first fetch keeps its
    /// own, so that an origin slower than the lock's age still gets its answer stored.
    fn or_one_more(&self, attempt: Attempt, place: u64) -> Asked {
        let deadline = match attempt {
            Attempt::Won(claim) => return Asked::Mine(claim),
            Attempt::Held { deadline } if deadline <= self.now => return Asked::Busy,
            Attempt::Held { deadline } => deadline,
        };
        let age = self.now.saturating_sub(deadline.saturating_sub(LEASE));
        let turn = age / self.policy.lock_age.max(1);
        if turn == 0 {
            return Asked::Theirs;
        }
        let sub = xxh3_64_with_seed(&place.to_le_bytes(), turn);
        match self
            .region
            .claim_key(self.req.key, sub, self.now, self.now + LEASE, false)
        {
            Ok(Attempt::Won(claim)) => Asked::Mine(claim),
            _ => Asked::Theirs,
        }
    }

    /// The claim to refresh an entry in the background, if it is free.
    fn refresh_claim(&self, found: &Found) -> Option<Claim> {
        let object = found.stored.object();
        match self
            .region
            .claim_object(object, self.now, self.now + LEASE, false)
        {
            Attempt::Won(claim) if object.is_current() => Some(claim),
            _ => None,
        }
    }

    fn authorised(&self) -> bool {
        self.seen.has(Seen::AUTHORIZATION)
    }

    /// The entry answered a request with `Authorization`: a refresh, which has none, would be turned away.
    fn needs_credentials(&self, found: &Found) -> bool {
        found.stored.head().flags.has(Flags::BY_AUTHORISED)
    }

    fn is_pausing(&self, found: &Found) -> bool {
        pausing(found.stored.object().word(words::BACKOFF), self.now)
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
    fn is_rare(&self) -> bool {
        self.policy.min_uses > 1
            && self.turn == Turn::First
            && self.region.note_use(self.req.key, self.now) < self.policy.min_uses
    }

    fn keep(&self) -> Keep {
        match self.req.no_cache || self.client.no_store() {
            true => Keep::Discard,
            false => Keep::Store,
        }
    }

    /// The terms of a fetch for which nothing is stored.
    fn terms(&self, purpose: Purpose) -> Terms {
        Terms {
            purpose,
            method: match self.req.method {
                Method::Post => ::http::Method::POST,
                // A HEAD is answered from what a GET brings (RFC 9110 §9.3.2).
                _ => ::http::Method::GET,
            },
            entry: None,
            fallback_until: 0,
            usable_until: 0,
            authorised: self.authorised() && purpose == Purpose::Fetch,
            forced: false,
            probe: false,
            keep: self.keep(),
            revalidate: self.policy.revalidate,
            siblings: false,
        }
    }

    fn terms_for(&self, found: Found, purpose: Purpose) -> Terms {
        let fallback_until = self.fallback_until(&found);
        Terms {
            usable_until: found.windows.end().max(fallback_until),
            fallback_until,
            siblings: found.siblings,
            entry: Some(found.stored),
            ..self.terms(purpose)
        }
    }

    /// Until when the entry may stand in for an error: the window of origin or configuration, or the client's own
    /// (RFC 5861 §4), which `must-revalidate` and its kin forbid as well.
    fn fallback_until(&self, found: &Found) -> Millis {
        let head = found.stored.head();
        let own = match self.client.stale_if_error() {
            0 => 0,
            _ if self.policy.sie == Window::Off
                || head.flags.has(Flags::S_MAXAGE)
                || binds(head) =>
            {
                0
            }
            window => head.fresh_until.saturating_add(window),
        };
        found.windows.sie_until.max(own)
    }

    fn fetch(&self, claim: Claim, terms: Terms, reason: Reason) -> Decision {
        let patience = self.policy.revalidate_timeout;
        let patience = patience.filter(|_| self.now < terms.fallback_until);
        Decision::Fetch(Fetch {
            permit: self.permit(claim, terms),
            reason,
            patience: patience.map(|time| self.now + time),
        })
    }

    fn fetch_for(&self, found: Found, claim: Claim, reason: Reason) -> Decision {
        self.fetch(claim, self.terms_for(found, Purpose::Fetch), reason)
    }

    /// A fetch that collides with no other.
    fn fetch_alone(&self, found: Option<Found>, reason: Reason) -> Decision {
        let claim = self.region.unclaimed(self.req.key);
        match found {
            Some(found) => self.fetch_for(found, claim, reason),
            None => self.fetch(claim, self.terms(Purpose::Fetch), reason),
        }
    }

    fn permit(&self, claim: Claim, terms: Terms) -> Permit {
        Permit {
            region: Arc::clone(self.region),
            claim,
            terms: Box::new(terms),
        }
    }

    fn wait(&self, patience: Millis) -> Decision {
        Decision::Wait(Wait {
            until: self.now + patience,
            reason: Reason::Collapsed,
        })
    }

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
        let stored = found.stored.clone();
        let permit = self.permit(claim, self.terms_for(found, Purpose::Refresh));
        Decision::Serve(self.served(stored, status, reason, Some(permit)))
    }

    fn served(
        &self,
        stored: Stored,
        status: Status,
        reason: Reason,
        refresh: Option<Permit>,
    ) -> Serve {
        Serve {
            answer: answer(&stored, self.req, self.seen),
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

/// What came of asking for a claim.
enum Asked {
    /// It is ours.
    Mine(Claim),
    /// Another fetches; if we asked to wait, we shall be rung.
    Theirs,
    /// What we looked at has been replaced: look again.
    Gone,
    /// The store could not tell.
    Busy,
}

fn pass(status: Option<Status>, reason: Reason) -> Decision {
    Decision::Pass(Pass { status, reason })
}
