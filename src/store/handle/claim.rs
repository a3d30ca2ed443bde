//! Claims: leases that say who may fetch.
//!
//! | claim | how it ends |
//! |---|---|
//! | on a marker or an object | released or dropped, or consumed by a fill or a renewal: waiters are rung |
//! | the same, not valid any more | voided by a removal, or taken over after its deadline: ending it changes nothing |
//! | on nothing (`unclaimed`) | ends unnoticed; a removal of the key voids it |

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::store::error::{NoSpace, Refused};
use crate::store::handle::fill::{Fill, NewObject};
use crate::store::handle::object::Object;
use crate::store::index::checksum::Scope;
use crate::store::index::core::Core;
use crate::store::index::queue::MAIN;
use crate::store::memory::block::{ATTRIBUTES, COMPLETE};
use crate::store::memory::layout::Millis;

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
    pub(crate) core: Arc<Core>,
    /// The number of the last purge when it was made.
    pub(crate) purges: u64,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Lease { on: Object, lease: u64, epoch: u32 },
    Nothing { key: Box<[u8]>, epoch: u32 },
}

/// A new head for an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewHead<'a> {
    /// Opaque bytes, handed to `select` in lookups.
    pub meta: &'a [u8],
    /// Numbers by which purges find it, at most [`MAX_LABELS`](crate::store::MAX_LABELS).
    pub labels: &'a [u64],
    /// First values of the object's words.
    pub attributes: [u64; ATTRIBUTES],
    /// From when on it is of no use to anybody.
    pub dead_at: Millis,
}

impl<'a> NewHead<'a> {
    /// A head without labels.
    pub fn new(meta: &'a [u8], attributes: [u64; ATTRIBUTES], dead_at: Millis) -> NewHead<'a> {
        NewHead {
            meta,
            labels: &[],
            attributes,
            dead_at,
        }
    }
}

impl Claim {
    /// A claim by a lease that was just taken; the shard is still locked.
    pub(crate) fn leased(on: Object, lease: u64) -> Claim {
        let epoch = epoch(&on.core, on.key());
        Claim {
            core: Arc::clone(&on.core),
            purges: on.core.purges(),
            hold: Hold::Lease { on, lease, epoch },
        }
    }

    pub(crate) fn on_nothing(core: Arc<Core>, key: &[u8]) -> Claim {
        let epoch = epoch(&core, key);
        Claim {
            purges: core.purges(),
            core,
            hold: Hold::Nothing {
                key: key.into(),
                epoch,
            },
        }
    }

    /// Whether it is still held: not voided by a removal, not taken over after its deadline.
    pub fn is_valid(&self) -> bool {
        match &self.hold {
            Hold::Lease {
                on,
                lease,
                epoch: then,
            } => {
                let at = on.at();
                // A removal ends the leases of what it finds. What was unlinked before, it does not find.
                at.e.lease.load(Acquire) == *lease
                    && (at.is_linked() || epoch(&self.core, on.key()) == *then)
            }
            Hold::Nothing { key, epoch: then } => epoch(&self.core, key) == *then,
        }
    }

    /// The key it is for.
    pub fn key(&self) -> &[u8] {
        match &self.hold {
            Hold::Lease { on, .. } => on.key(),
            Hold::Nothing { key, .. } => key,
        }
    }

    /// Moves the deadline.
    pub fn extend(&self, deadline: Millis) {
        if let (Hold::Lease { on, lease, .. }, Some(member)) = (&self.hold, self.core.member()) {
            self.core.extend_lease(member, &on.at(), *lease, deadline);
        }
    }

    /// The entry that waiters wait at.
    pub(crate) fn place(&self) -> Option<&Object> {
        match &self.hold {
            Hold::Lease { on, .. } => Some(on),
            Hold::Nothing { .. } => None,
        }
    }

    /// Begins to fill an object of the claim's key. With a known total all room is taken now.
    /// With [`Publish::Now`](crate::store::Publish) the waiters are rung: they can read along.
    pub fn begin(self, new: NewObject<'_>) -> Result<Fill, (Claim, NoSpace)> {
        Fill::begin(self, &new)
    }

    /// Swaps the head of `old` for a new one that shares its body, and ends the claim.
    pub fn renew(self, old: &Object, new: NewHead<'_>, now: Millis) -> Result<Object, Refused> {
        self.swap_head(old, new, now)
    }

    pub(crate) fn swap_head(
        &self,
        old: &Object,
        new: NewHead<'_>,
        now: Millis,
    ) -> Result<Object, Refused> {
        let member = self.core.member().ok_or(Refused::Busy)?;
        if !Arc::ptr_eq(&self.core, &old.core) || old.key() != self.key() {
            return Err(Refused::NotCurrent);
        }
        self.core.advance_clock(now);
        // The keeper is gone when the handle is made: dropping a handle may need one.
        let block = self.swap_entry(member, old, new, now)?;
        Object::adopt(&self.core, member, block).ok_or(Refused::Busy)
    }

    fn swap_entry(
        &self,
        member: &crate::store::process::local::Member,
        old: &Object,
        new: NewHead<'_>,
        now: Millis,
    ) -> Result<u32, Refused> {
        let mut guard = self.core.arena_guard(member).ok_or(Refused::Busy)?;
        let old_at = old.at();
        let body = self
            .core
            .body(old_at.body())
            .map(|(b, ..)| b)
            .ok_or(Refused::NotCurrent)?;
        if !old_at.is_current() || body.phase.load(Acquire) != COMPLETE {
            return Err(Refused::NotCurrent);
        }
        let head = guard.object_head(old.key(), &new, now);
        let at = guard
            .make_entry(&head, old_at.body())
            .ok_or(Refused::Full)?;
        body.refs.fetch_add(1, Relaxed);
        let shard = guard.lock_shard(head.hash);
        let refused = match shard {
            None => Some(Refused::Busy),
            Some(_) if !self.is_valid() || !guard.admits_renewal(&at, &old_at, self.purges) => {
                Some(Refused::Voided)
            }
            Some(_) => None,
        };
        if let Some(refused) = refused {
            guard.discard(&at);
            return Err(refused);
        }
        self.core.write_checksum(&at, Scope::Free);
        at.set_whole();
        at.e.freq.store(old_at.e.freq.load(Relaxed), Relaxed);
        let main = old_at.e.queue.load(Relaxed) == MAIN;
        guard.link(&at, main).ok_or(Refused::Busy)?;
        guard.unlink(&old_at);
        guard.header().counts.inserted.fetch_add(1, Relaxed);
        Ok(at.block)
    }

    /// Ends the claim and rings the waiters; the same as dropping it.
    pub fn release(self) {}
}

fn epoch(core: &Core, key: &[u8]) -> u32 {
    core.epoch(core.hash_key.hash(key))
        .map_or(0, |e| e.load(Acquire))
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Hold::Lease { on, lease, .. } = &self.hold else {
            return;
        };
        // A handle inherited by a forked child ends nothing.
        if let Some(member) = self.core.member().filter(|m| on.is_of(m)) {
            self.core.end_lease(member, &on.at(), *lease);
        }
    }
}
