//! Claims the lease to fetch: which request fetches, which ones wait, and when one more may fetch.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use std::ops::Deref;

use super::asking::{Asking, LEASE, Mode, SelectedResponse, Unstored};
use crate::engine::record::variant;
use crate::engine::request::Turn;
use crate::store::{Attempt, Busy, Claim, Millis, Object, Region};

/// The result of an attempt to claim.
pub(super) enum Claimed {
    /// This request holds the claim.
    Mine(Claim),
    /// Another request holds it. If this one asked to wait, it will be woken.
    Theirs,
    /// The entry has been replaced since it was looked up: look it up again.
    Gone,
    /// The store was busy.
    Busy,
}

/// The attempts of a request to claim.
pub(super) struct Claims<'a>(pub(super) &'a Asking<'a>);

impl<'a> Deref for Claims<'a> {
    type Target = Asking<'a>;

    fn deref(&self) -> &Asking<'a> {
        self.0
    }
}

impl Claims<'_> {
    /// Claims the refresh of an object. In an explanation, returns whether the claim would succeed.
    pub(super) fn claim_object(&self, object: &Object, wait: bool) -> Attempt {
        let deadline = self.now + LEASE;
        match self.mode {
            Mode::Act => self.region.claim_object(object, self.now, deadline, wait),
            Mode::Explain if object.is_claimed(self.now) => Attempt::Held { deadline },
            Mode::Explain => Attempt::Won(self.region.unclaimed(&self.key)),
        }
    }

    /// Claims the fetch of a key under which nothing is stored.
    fn claim_key(&self, sub: u64, wait: bool) -> Result<Attempt, Busy> {
        let (key, deadline) = (&*self.key, self.now + LEASE);
        match self.mode {
            Mode::Act => self.region.claim_key(key, sub, self.now, deadline, wait),
            Mode::Explain if is_being_fetched(self.region, key, self.now)? => {
                Ok(Attempt::Held { deadline })
            }
            Mode::Explain => Ok(Attempt::Won(self.region.unclaimed(key))),
        }
    }

    pub(super) fn claim_absent(&self, key: &Unstored, wait: bool) -> Claimed {
        let sub = match &key.newest {
            Some(other) => variant::sub_key(other.meta(), self.req.fields, self.policy),
            None => 0,
        };
        let attempt = self.claim_key(sub, wait);
        let Ok(attempt) = attempt else {
            return Claimed::Busy;
        };
        match self.or_one_more(attempt, sub) {
            // Another fetch may have ended between the lookup and the claim; what it stored is then there.
            Claimed::Mine(claim) => match self.is_still_absent() {
                true => Claimed::Mine(claim),
                false => Claimed::Gone,
            },
            claimed @ (Claimed::Theirs | Claimed::Gone | Claimed::Busy) => claimed,
        }
    }

    fn is_still_absent(&self) -> bool {
        let Ok(looked) = self.lookup() else {
            return false;
        };
        let found = looked.object.and_then(|object| self.usable(object, false));
        found.is_none()
    }

    pub(super) fn claim_entry(&self, found: &SelectedResponse) -> Claimed {
        let object = found.stored.object();
        let wait = self.turn != Turn::TimedOut;
        let attempt = self.claim_object(object, wait);
        match self.or_one_more(attempt, object.id()) {
            Claimed::Mine(_) if !object.is_current() => Claimed::Gone,
            claimed @ (Claimed::Mine(_) | Claimed::Theirs | Claimed::Gone | Claimed::Busy) => {
                claimed
            }
        }
    }

    /// Converts the result of an attempt. If the fetch that holds the claim is older than `lock_age`, one more request
    /// may fetch, and another one for each further `lock_age`. Each takes a claim of its own: the first fetch keeps its
    /// claim, so that the response of an origin slower than `lock_age` is still stored.
    pub(super) fn or_one_more(&self, attempt: Attempt, place: u64) -> Claimed {
        let deadline = match attempt {
            Attempt::Won(claim) => return Claimed::Mine(claim),
            Attempt::Held { deadline } if deadline <= self.now => return Claimed::Busy,
            Attempt::Held { deadline } => deadline,
        };
        let age = self.now.saturating_sub(deadline.saturating_sub(LEASE));
        let turn = age / self.policy.lock_age.max(1);
        if turn == 0 {
            return Claimed::Theirs;
        }
        let sub = xxh3_64_with_seed(&place.to_le_bytes(), turn);
        match self
            .region
            .claim_key(&self.key, sub, self.now, self.now + LEASE, false)
        {
            Ok(Attempt::Won(claim)) => Claimed::Mine(claim),
            // A store that is busy counts as one whose claim is held.
            Ok(Attempt::Held { .. }) | Err(Busy) => Claimed::Theirs,
        }
    }

    /// Claims the background refresh of an entry; `None` if the claim is held.
    pub(super) fn refresh_claim(&self, found: &SelectedResponse) -> Option<Claim> {
        let object = found.stored.object();
        match self.claim_object(object, false) {
            Attempt::Won(claim) if object.is_current() => Some(claim),
            Attempt::Won(_) | Attempt::Held { .. } => None,
        }
    }
}

/// Whether a key under which nothing is stored is being fetched.
fn is_being_fetched(region: &Region, key: &[u8], now: Millis) -> Result<bool, Busy> {
    let mut is = false;
    region.survey((region.place_of(key), 1), now, &mut |shown| {
        is |= !shown.is_object && shown.is_claimed && shown.key == key;
    })?;
    Ok(is)
}
