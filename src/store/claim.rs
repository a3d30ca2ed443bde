//! Claims: leases that say who may fetch.

use super::Millis;
use super::error::{NoSpace, Refused};
use super::fill::{Fill, NewObject};
use super::object::{Object, WORDS};

/// The answer to asking for a claim.
#[derive(Debug)]
pub enum Attempt {
    /// You have it.
    Won(Claim),
    /// Somebody else has it.
    Held {
        /// When it can be taken over at the latest. (`now` when the region was busy.)
        deadline: Millis,
    },
}

/// Permission to fetch. `Drop` releases it and rings the waiters. `Send`; holds no borrow.
#[derive(Debug)]
pub struct Claim {
    _todo: (),
}

impl Claim {
    /// Whether it is still held: not voided by a removal, not taken over after its deadline.
    pub fn is_valid(&self) -> bool {
        todo!()
    }
    /// The key it is for.
    pub fn key(&self) -> &[u8] {
        todo!()
    }
    /// Moves the deadline.
    pub fn extend(&self, _deadline: Millis) {
        todo!()
    }
    /// Begins to fill an object of the claim's key. With a known total all room is taken now.
    /// With [`Publish::Now`](super::Publish) the waiters are rung: they can read along.
    pub fn begin(self, _new: NewObject<'_>) -> Result<Fill, (Claim, NoSpace)> {
        todo!()
    }
    /// Swaps the head of `old` for a new one that shares its body, and ends the claim.
    pub fn renew(
        self,
        _old: &Object,
        _meta: &[u8],
        _words: [u64; WORDS],
        _dead_at: Millis,
        _now: Millis,
    ) -> Result<Object, Refused> {
        todo!()
    }
    /// Ends the claim and rings the waiters; the same as dropping it.
    pub fn release(self) {}
}
