//! The arena guard: proof that the arena lock is held. It links, unlinks and frees entries and bodies.
//!
//! If the holder dies, the region is repaired before there is another guard (`upkeep/repair.rs`). Within this file, the
//! order of stores therefore matters only to those that read without the arena lock: lookups, which see chains, pins
//! and phases.
//!
//! | the region | `take` | `take_dirty` |
//! |---|---|---|
//! | is consistent | a guard | a guard |
//! | was left by a holder that died | records that a repair is due; [`Unavailable::Dirty`] | records the same; a guard to repair with |
//! | has a repair due | [`Unavailable::Dirty`] | a guard to repair with |

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::error::Busy;
use crate::store::index::core::Core;
use crate::store::index::labels::note_labels;
use crate::store::index::purge_log::PurgeLog;
use crate::store::index::queue::{LIMBO, MAIN, Queues, SMALL};
use crate::store::memory::arena::Arena;
use crate::store::memory::block::{Body, EntryAt, Extent, REMOVED, granules};
use crate::store::memory::layout::{Header, UNLINKED};
use crate::store::memory::platform::yield_now;
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Local;
use crate::store::process::lock::{self, Guard};
use crate::store::process::table::pin_of;
use crate::store::process::wakeups::{Mask, Wakeups, take_waiters};

/// Why there is no guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// The lock was not acquired in time.
    Busy,
    /// A repair is due or in progress.
    Dirty,
}

/// The arena lock, held.
pub(crate) struct ArenaGuard<'a> {
    _lock: ArenaLock<'a>,
    /// Delivered after the lock is released: fields are dropped in this order.
    pub(crate) wakeups: Wakeups<'a>,
    pub(crate) core: &'a Core,
    pub(crate) local: &'a Local,
}

/// Releases the arena lock when dropped. During a panic, it records that a repair is due.
struct ArenaLock<'a> {
    header: &'a Header,
    _guard: Guard<'a>,
}

impl Drop for ArenaLock<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.header.arena.dirty.store(1, Relaxed);
        }
    }
}

impl<'a> ArenaGuard<'a> {
    /// Takes the arena lock of a region that needs no repair. Never repairs.
    pub(crate) fn take(core: &'a Core, local: &'a Local) -> Result<ArenaGuard<'a>, Unavailable> {
        // There is no use in waiting for the lock of a region that needs a repair.
        if core.is_dirty() {
            return Err(Unavailable::Dirty);
        }
        let guard = ArenaGuard::take_dirty(core, local).map_err(|Busy| Unavailable::Busy)?;
        if core.is_dirty() {
            return Err(Unavailable::Dirty);
        }
        Ok(guard)
    }

    /// Takes the arena lock even if a repair is due; for the process that repairs.
    pub(crate) fn take_dirty(core: &'a Core, local: &'a Local) -> Result<ArenaGuard<'a>, Busy> {
        let control = &core.header().arena;
        let guard = lock::acquire(&control.lock, local, core.processes()).ok_or(Busy)?;
        if guard.abandoned {
            control.dirty.store(1, Release);
            // The holder may have died during a repair: what that repair had found is no longer valid.
            control.leader.store(0, Release);
        }
        Ok(ArenaGuard {
            _lock: ArenaLock {
                header: core.header(),
                _guard: guard,
            },
            wakeups: core.wakeups(local),
            core,
            local,
        })
    }

    pub(crate) fn arena(&self) -> Arena<'a> {
        self.core.arena()
    }

    pub(crate) fn header(&self) -> &'a Header {
        self.core.header()
    }

    pub(crate) fn queues(&self) -> Queues<'a> {
        Queues::of(self.core)
    }

    pub(crate) fn lock_shard(&self, hash: u64) -> Option<Guard<'a>> {
        self.core.lock_shard(self.local, hash)
    }

    /// Like [`ArenaGuard::lock_shard`], within a time budget.
    pub(crate) fn lock_shard_within(
        &self,
        hash: u64,
        budget: &mut TimeBudget,
    ) -> Option<Guard<'a>> {
        loop {
            if let Some(guard) = self.core.lock_shard_soon(self.local, hash) {
                return Some(guard);
            }
            let holder = self.core.shard(self.core.bucket_of(hash))?.load(Relaxed);
            if holder != 0 && !self.core.processes().check(holder) && !budget.waits() {
                return None;
            }
            yield_now();
        }
    }

    /// Frees what the last piece of a body does not use.
    pub(crate) fn trim(&self, last: u32, used: usize) -> Option<()> {
        let (room, head) = match self.core.body(last) {
            Some((body, ..)) => (&body.room, size_of::<Body>()),
            None => (&self.core.extent(last)?.0.room, size_of::<Extent>()),
        };
        let used32 = u32::try_from(used)
            .ok()
            .filter(|u| *u <= room.load(Relaxed))?;
        room.store(used32, Release);
        self.arena().shrink(last, granules(head + used)?)
    }

    /// The granules of an entry and its body.
    pub(crate) fn cost(&self, at: &EntryAt<'_>) -> u32 {
        let size = |block| self.arena().look(block).map_or(0, |(size, _)| size);
        let mut cost = size(at.block);
        let mut next = at.body();
        if let Some((body, ..)) = self.core.body(next) {
            cost = cost.saturating_add(size(next));
            next = body.next.load(Acquire);
            let mut start = 0;
            while let Some((extent, ..)) = self.core.extent(next) {
                // Pieces are contiguous; a damaged chain ends here.
                let begins = extent.start.load(Relaxed);
                if begins <= start {
                    break;
                }
                start = begins;
                cost = cost.saturating_add(size(next));
                next = extent.next.load(Acquire);
            }
        }
        cost
    }

    /// Updates the cost of an entry in its queue.
    pub(crate) fn update_cost(&self, at: &EntryAt<'_>) {
        self.queues().set_cost(at, || self.cost(at));
    }

    /// Links an entry, so that lookups can find it. Its shard is locked.
    pub(crate) fn link(&mut self, at: &EntryAt<'_>, main: bool) -> Option<()> {
        let bucket = self
            .core
            .bucket(self.core.bucket_of(at.e.hash.load(Relaxed)))?;
        self.queues().pull(at);
        note_labels(self.core, at);
        at.e.purges.store(PurgeLog::of(self.core).last(), Relaxed);
        at.e.next.store(bucket.load(Relaxed), Relaxed);
        at.e.pins[1].fetch_and(!UNLINKED, AcqRel);
        at.e.pins[0].fetch_and(!UNLINKED, AcqRel);
        bucket.store(at.block, Release);
        self.queues().push(if main { MAIN } else { SMALL }, at);
        self.update_cost(at);
        let counts = &self.header().counts;
        let counter = if at.is_object() {
            &counts.objects
        } else {
            &counts.markers
        };
        counter.fetch_add(1, Relaxed);
        self.header()
            .soonest
            .fetch_min(at.e.dead_at.load(Relaxed), Relaxed);
        self.header()
            .soonest_seen
            .fetch_min(at.e.dead_at.load(Relaxed), Relaxed);
        Some(())
    }

    /// Unlinks an entry, and frees it unless it is pinned. Its shard is locked. Returns false if it was already
    /// unlinked.
    pub(crate) fn unlink(&mut self, at: &EntryAt<'_>) -> bool {
        if !at.is_linked() {
            return false;
        }
        at.e.pins[0].fetch_or(UNLINKED, AcqRel);
        at.e.pins[1].fetch_or(UNLINKED, AcqRel);
        self.unchain(at);
        self.queues().pull(at);
        let counts = &self.header().counts;
        let counter = if at.is_object() {
            &counts.objects
        } else {
            &counts.markers
        };
        counter.store(counter.load(Relaxed).saturating_sub(1), Relaxed);
        if !at.is_object() || !self.core.is_leased(at.e, 0) {
            self.wakeups.add(take_waiters(&at.e.waiters));
        }
        self.queues().push(LIMBO, at);
        self.free_if_unpinned(at);
        true
    }

    /// Like `unlink`, but marks the entry as removed explicitly, which voids the claims on it.
    pub(crate) fn remove(&mut self, at: &EntryAt<'_>) -> bool {
        if !at.is_linked() {
            return false;
        }
        at.e.flags.fetch_or(REMOVED, Relaxed);
        at.e.lease.store(0, Release);
        self.wakeups.add(take_waiters(&at.e.waiters));
        self.unlink(at)
    }

    fn unchain(&self, at: &EntryAt<'_>) {
        let Some(mut link) = self
            .core
            .bucket(self.core.bucket_of(at.e.hash.load(Relaxed)))
        else {
            return;
        };
        for _ in 0..1 << 20 {
            let next = link.load(Acquire);
            if next == at.block {
                link.store(at.e.next.load(Relaxed), Release);
                return;
            }
            match self.core.entry(next) {
                Some(entry) => link = &entry.e.next,
                None => return,
            }
        }
    }

    /// Frees an unlinked entry that no living process pins.
    pub(crate) fn free_if_unpinned(&mut self, at: &EntryAt<'_>) -> bool {
        if at.is_linked() || self.core.live_pins(at.e) != [0, 0] {
            return false;
        }
        self.wakeups.add(take_waiters(&at.e.waiters));
        self.queues().pull(at);
        self.count_payload(-(at.head_len() as i64));
        let body = at.body();
        // The entry is freed first: a repair finds a body without an entry, but not an entry without its body.
        let _ = self.arena().free(at.block);
        self.drop_body(body);
        true
    }

    /// Drops one reference to a body, and frees the body with the last one.
    pub(crate) fn drop_body(&mut self, block: u32) {
        let Some((body, ..)) = self.core.body(block) else {
            return;
        };
        let refs = body.refs.load(Relaxed);
        if refs > 1 {
            body.refs.store(refs - 1, Relaxed);
            return;
        }
        let waiting: Mask = take_waiters(&body.waiters);
        self.wakeups.add(waiting);
        if body.era.load(Relaxed) != 0 {
            self.count_payload(-(body.len.load(Relaxed) as i64));
        }
        let mut next = body.next.load(Acquire);
        let _ = self.arena().free(block);
        while let Some((extent, ..)) = self.core.extent(next) {
            let after = extent.next.load(Acquire);
            let _ = self.arena().free(next);
            next = after;
        }
    }

    /// Counts the bytes of a complete body, once; under the arena lock, so that the count stays right if a process
    /// dies.
    pub(crate) fn count_body(&self, block: u32) {
        let Some((body, ..)) = self.core.body(block) else {
            return;
        };
        if body.era.load(Relaxed) == 0 {
            body.era.store(self.header().era.load(Relaxed), Relaxed);
            self.count_payload(body.len.load(Relaxed) as i64);
        }
    }

    pub(crate) fn count_payload(&self, bytes: i64) {
        self.header()
            .counts
            .payload
            .fetch_add(bytes as u64, Relaxed);
    }

    /// Frees an entry that was just made and never linked.
    pub(crate) fn discard(&mut self, at: &EntryAt<'_>) {
        self.local.pins(at.block).remove(&at.block);
        let (w, bit) = pin_of(self.local.slot());
        at.e.pins[w].fetch_and(!bit, AcqRel);
        self.free_if_unpinned(at);
    }

    /// Unlinks the oldest objects of the key and its branches beyond `most`; all of them are in one bucket. The shard
    /// is locked.
    pub(crate) fn limit_variants(&mut self, newest: &EntryAt<'_>, most: u32) {
        let of_key = self.core.of_key(newest.e.hash.load(Relaxed), newest.key());
        let is_variant = |at: &&EntryAt<'_>| at.is_object() && !at.is_derived();
        let objects = of_key.iter().filter(is_variant);
        for at in objects.skip(most.max(1) as usize) {
            self.unlink(at);
            self.header().counts.variants.fetch_add(1, Relaxed);
        }
    }

    /// Whether a marker is not claimed and remembers nothing.
    pub(crate) fn is_worthless(&self, at: &EntryAt<'_>) -> bool {
        at.e.lease.load(Acquire) == 0 && at.e.born.load(Relaxed) <= self.core.clock()
    }
}
