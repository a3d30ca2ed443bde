//! Claims: leases that decide who may fetch.
//!
//! | claim | how it ends |
//! |---|---|
//! | on a marker or an object | released or dropped, or consumed by a fill or a renewal: waiters are woken |
//! | the same, no longer valid | voided by a removal, or taken over after its deadline: ending it has no effect |
//! | on nothing (`unclaimed`) | ends without an effect; a removal of the key voids it |

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::store::error::Refused;
use crate::store::handle::object::Object;
use crate::store::index::builder::{Builder, EntryParts};
use crate::store::index::checksum::{Checksums, Coverage};
use crate::store::index::core::Core;
use crate::store::index::lease::Ask;
use crate::store::index::purge_log::{PurgeLog, Stamp};
use crate::store::index::queue::MAIN;
use crate::store::memory::block::{ATTRIBUTES, COMPLETE, EntryAt, OBJECT};
use crate::store::memory::layout::Millis;
use crate::store::upkeep::membership::{Member, Shared};

/// The result of trying to take a claim.
#[derive(Debug)]
pub enum Attempt {
    /// The caller holds the claim.
    Won(Claim),
    /// Another request holds the claim.
    Held {
        /// The time at which it can be taken over at the latest (`now` if the region was busy).
        deadline: Millis,
    },
}

/// The permission to fetch. Dropping it releases it and wakes the waiters. `Send`; borrows nothing.
#[derive(Debug)]
pub struct Claim {
    pub(crate) shared: Arc<Shared>,
    /// When the claim was taken, in terms of the purge log.
    pub(crate) stamp: Stamp,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Lease { on: Object, lease: u64 },
    Nothing { key: Box<[u8]> },
}

/// A new head for an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewHead<'a> {
    /// Opaque bytes, passed to `select` in lookups.
    pub meta: &'a [u8],
    /// The labels by which purges find the object, at most [`MAX_LABELS`](crate::store::MAX_LABELS).
    pub labels: &'a [u64],
    /// The initial attributes of the object.
    pub attributes: [u64; ATTRIBUTES],
    /// The time from which on lookups no longer find the object (Unix time in ms).
    pub dead_at: Millis,
}

impl<'a> NewHead<'a> {
    /// Makes a head without labels.
    pub fn new(meta: &'a [u8], attributes: [u64; ATTRIBUTES], dead_at: Millis) -> NewHead<'a> {
        NewHead {
            meta,
            labels: &[],
            attributes,
            dead_at,
        }
    }

    /// The parts of the entry for an object of `key`.
    pub(crate) fn of_key(self, core: &Core, key: &'a [u8], born: Millis) -> EntryParts<'a> {
        EntryParts {
            kind: OBJECT,
            hash: core.hash_key.of_key(key),
            labels: self.labels,
            key,
            meta: self.meta,
            attributes: self.attributes,
            dead_at: self.dead_at,
            born,
        }
    }
}

/// Tries to take the lease of an entry. The shard is locked.
pub(crate) fn attempt(
    shared: &Arc<Shared>,
    member: &Member,
    at: &EntryAt<'_>,
    ask: Ask,
) -> Attempt {
    match shared.leases(member).take(at, ask) {
        Ok(lease) => {
            shared.pins(member).pin(at);
            Attempt::Won(Claim::leased(Object::pinned(shared, member, at), lease))
        }
        Err(deadline) => Attempt::Held { deadline },
    }
}

impl Claim {
    /// Makes a claim of a lease that was just taken. The shard is still locked.
    fn leased(on: Object, lease: u64) -> Claim {
        let log = PurgeLog::of(&on.shared.core);
        Claim {
            stamp: log.stamp(on.key()),
            shared: Arc::clone(&on.shared),
            hold: Hold::Lease { on, lease },
        }
    }

    pub(crate) fn on_nothing(shared: &Arc<Shared>, key: &[u8]) -> Claim {
        let log = PurgeLog::of(&shared.core);
        Claim {
            stamp: log.stamp(key),
            shared: Arc::clone(shared),
            hold: Hold::Nothing { key: key.into() },
        }
    }

    pub(crate) fn purge_log(&self) -> PurgeLog<'_> {
        PurgeLog::of(&self.shared.core)
    }

    /// Whether the claim is still held: neither voided by a removal nor taken over after its deadline.
    pub fn is_valid(&self) -> bool {
        let is_removed = |key| self.purge_log().is_key_removed(key, self.stamp);
        match &self.hold {
            Hold::Lease { on, lease } => {
                let at = on.at();
                // A removal ends the leases of the entries that it finds, but does not find those unlinked before.
                at.e.lease.load(Acquire) == *lease && (at.is_linked() || !is_removed(on.key()))
            }
            Hold::Nothing { key } => !is_removed(key),
        }
    }

    /// The key that the claim is for.
    pub fn key(&self) -> &[u8] {
        match &self.hold {
            Hold::Lease { on, .. } => on.key(),
            Hold::Nothing { key, .. } => key,
        }
    }

    /// Moves the deadline.
    pub fn extend(&self, deadline: Millis) {
        if let (Hold::Lease { on, lease, .. }, Some(member)) = (&self.hold, self.shared.member()) {
            self.shared
                .leases(member)
                .extend(&on.at(), *lease, deadline);
        }
    }

    /// The entry at which waiters are registered.
    pub(crate) fn place(&self) -> Option<&Object> {
        match &self.hold {
            Hold::Lease { on, .. } => Some(on),
            Hold::Nothing { .. } => None,
        }
    }

    /// Replaces the head of `old` by a new one that shares its body, and ends the claim.
    pub fn renew(self, old: &Object, new: NewHead<'_>, now: Millis) -> Result<Object, Refused> {
        self.swap_head(old, new, now)
    }

    pub(crate) fn swap_head(
        &self,
        old: &Object,
        new: NewHead<'_>,
        now: Millis,
    ) -> Result<Object, Refused> {
        let member = self.shared.member().ok_or(Refused::Busy)?;
        if !Arc::ptr_eq(&self.shared, &old.shared) || old.key() != self.key() {
            return Err(Refused::NotCurrent);
        }
        self.shared.core.advance_clock(now);
        // The guard is released before the handle is made, since dropping a handle may need the arena lock.
        let block = self.swap_entry(member, old, new, now)?;
        Object::adopt(&self.shared, member, block).ok_or(Refused::Busy)
    }

    fn swap_entry(
        &self,
        member: &Member,
        old: &Object,
        new: NewHead<'_>,
        now: Millis,
    ) -> Result<u32, Refused> {
        let mut guard = self.shared.arena_guard(member).ok_or(Refused::Busy)?;
        let old_at = old.at();
        let body = self
            .shared
            .core
            .body(old_at.body())
            .map(|(b, ..)| b)
            .ok_or(Refused::NotCurrent)?;
        if !old_at.is_current() || body.phase.load(Acquire) != COMPLETE {
            return Err(Refused::NotCurrent);
        }
        let head = new.of_key(guard.core, old.key(), now);
        let built = Builder::with(&mut guard).entry(&head, old_at.body());
        let at = built.ok_or(Refused::Full)?;
        body.refs.fetch_add(1, Relaxed);
        let shard = guard.lock_shard(head.hash);
        let refused = match shard {
            None => Some(Refused::Busy),
            Some(_)
                if !self.is_valid()
                    || !self.purge_log().admits_renewal(&at, &old_at, self.stamp) =>
            {
                Some(Refused::Voided)
            }
            Some(_) => None,
        };
        if let Some(refused) = refused {
            guard.discard(&at);
            return Err(refused);
        }
        Checksums::of(guard.core).write(&at, Coverage::Lasting);
        at.set_whole();
        at.e.freq.store(old_at.e.freq.load(Relaxed), Relaxed);
        let main = old_at.e.queue.load(Relaxed) == MAIN;
        guard.link(&at, main).ok_or(Refused::Busy)?;
        guard.unlink(&old_at);
        guard.header().counts.inserted.fetch_add(1, Relaxed);
        Ok(at.block)
    }

    /// Ends the claim and wakes the waiters, as dropping it does.
    pub fn release(self) {}
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Hold::Lease { on, lease, .. } = &self.hold else {
            return;
        };
        // A claim inherited by a forked child has no effect.
        if let Some(member) = self.shared.member().filter(|m| on.is_of(m)) {
            self.shared.leases(member).end(&on.at(), *lease);
        }
    }
}
