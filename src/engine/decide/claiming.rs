//! Asking for the place to fetch: who leads, who waits, who is let through beside.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Asking, Found, LEASE, Unstored};
use crate::engine::request::Turn;
use crate::engine::variant;
use crate::store::{Attempt, Claim};

/// What came of asking for a claim.
pub(super) enum Asked {
    /// It is ours.
    Mine(Claim),
    /// Another fetches; if we asked to wait, we shall be rung.
    Theirs,
    /// What we looked at has been replaced: look again.
    Gone,
    /// The store could not tell.
    Busy,
}

impl Asking<'_> {
    pub(super) fn claim_absent(&self, key: &Unstored, wait: bool) -> Asked {
        let sub = match &key.newest {
            Some(sibling) => variant::sub_key(sibling.meta(), self.req.fields, self.policy),
            None => 0,
        };
        let attempt = self
            .region
            .claim_key(&self.key, sub, self.now, self.now + LEASE, wait);
        let Ok(attempt) = attempt else {
            return Asked::Busy;
        };
        match self.or_one_more(attempt, sub) {
            // Another fetch may have ended between our look and our claim: then what it brought is there now.
            Asked::Mine(claim) => match self.is_still_absent() {
                true => Asked::Mine(claim),
                false => Asked::Gone,
            },
            other => other,
        }
    }

    fn is_still_absent(&self) -> bool {
        let Ok(looked) = self.lookup() else {
            return false;
        };
        let found = looked.object.and_then(|object| self.usable(object, false));
        found.is_none()
    }

    pub(super) fn claim_entry(&self, found: &Found) -> Asked {
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
    pub(super) fn or_one_more(&self, attempt: Attempt, place: u64) -> Asked {
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
            .claim_key(&self.key, sub, self.now, self.now + LEASE, false)
        {
            Ok(Attempt::Won(claim)) => Asked::Mine(claim),
            _ => Asked::Theirs,
        }
    }

    /// The claim to refresh an entry in the background, if it is free.
    pub(super) fn refresh_claim(&self, found: &Found) -> Option<Claim> {
        let object = found.stored.object();
        match self
            .region
            .claim_object(object, self.now, self.now + LEASE, false)
        {
            Attempt::Won(claim) if object.is_current() => Some(claim),
            _ => None,
        }
    }
}
