//! Cleaning up after processes that died, and after ones that leave.
//!
//! A slot marked Dying counts for nothing at once: its leases are free, its fills are broken, its pins hold nothing.
//! The walk that takes these traces away, so that the slot can be used again, goes on in turns (`maintenance.rs`), under the arena
//! lock, over all buckets and then over limbo. How far it has come is kept in the slot:
//!
//! | place | what is next |
//! |---|---|
//! | below the number of buckets | that bucket |
//! | the number of buckets | limbo, from its old end |
//! | one more, and `n` | the oldest `n` of limbo. What was visited and stays goes to the young end |
//!
//! What comes to limbo meanwhile has been cleaned in its bucket. A repair gives limbo another order: then it begins anew.
//!
//! A process that leaves has pinned all that it has a lease on or fills, so that the table of its pins leads to it. What it
//! waits for wakes its slot once more, which does no harm: the next process in the slot looks and finds nothing.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::store::error::Busy;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::lease_owner;
use crate::store::index::queue::LIMBO;
use crate::store::memory::block::{BROKEN, EntryAt, GROWING};
use crate::store::process::budget::TimeBudget;
use crate::store::process::table::{Token, pin_of, slot_of};
use crate::store::process::wakeups::{EVERYONE, take_waiters};

/// Buckets cleaned under one hold of the arena lock.
const BATCH: usize = 256;
/// Buckets of a step.
const STEP: usize = 16;

/// How far cleaning up after one process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleaned {
    Some,
    OutOfTime,
    /// Its slot may be given to another.
    All,
}

/// Cleans up after one process while it holds the arena lock.
pub(crate) struct Cleaner<'g, 'a> {
    guard: &'g mut ArenaGuard<'a>,
    token: Token,
}

impl<'g, 'a> Cleaner<'g, 'a> {
    pub(crate) fn new(guard: &'g mut ArenaGuard<'a>, token: Token) -> Cleaner<'g, 'a> {
        Cleaner { guard, token }
    }

    /// Goes on with cleaning up after a dead process.
    pub(crate) fn run(&mut self, budget: &mut TimeBudget) -> Result<Cleaned, Busy> {
        let processes = self.guard.core.processes();
        let buckets = self.guard.core.geometry.buckets;
        let from = processes.reap_cursor(self.token);
        for bucket in from..buckets.min(from + BATCH) {
            self.clean_bucket(bucket, budget)?;
            processes.set_reap_cursor(self.token, bucket + 1);
            if (bucket + 1) % STEP == 0 && !budget.goes_on() {
                return Ok(Cleaned::OutOfTime);
            }
        }
        Ok(
            match processes.reap_cursor(self.token).checked_sub(buckets) {
                None => Cleaned::Some,
                Some(place) => self.clean_limbo(place, budget),
            },
        )
    }

    fn clean_limbo(&mut self, place: usize, budget: &mut TimeBudget) -> Cleaned {
        let mut left = match place {
            0 => self.guard.queues().count(LIMBO) as usize,
            n => n - 1,
        };
        while let Some(at) = self.guard.queues().oldest(LIMBO).filter(|_| left > 0) {
            left -= 1;
            self.clean(&at);
            if !self.guard.free_if_unpinned(&at) {
                self.guard.queues().pull(&at);
                self.guard.queues().push(LIMBO, &at);
            }
            if !budget.goes_on() {
                let place = self.guard.core.geometry.buckets + 1 + left;
                self.guard
                    .core
                    .processes()
                    .set_reap_cursor(self.token, place);
                return Cleaned::OutOfTime;
            }
        }
        self.free_shards();
        self.guard.header().counts.reaped.fetch_add(1, Relaxed);
        self.guard.wakeups.add(EVERYONE);
        Cleaned::All
    }

    /// [`Busy`] when the shard could not be taken.
    fn clean_bucket(&mut self, bucket: usize, budget: &mut TimeBudget) -> Result<(), Busy> {
        if self
            .guard
            .core
            .bucket(bucket)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return Ok(());
        }
        let shard = self.guard.lock_shard_within(bucket as u64, budget);
        let _shard = shard.ok_or(Busy)?;
        let mut entries = Vec::new();
        self.guard.core.walk::<()>(bucket, |at| {
            entries.push(at);
            ControlFlow::Continue(())
        });
        entries.iter().for_each(|at| self.clean_linked(at));
        Ok(())
    }

    fn clean_linked(&mut self, at: &EntryAt<'a>) {
        let broke = self.clean(at);
        if broke || (!at.is_object() && self.guard.is_worthless(at)) {
            self.guard.unlink(at);
        }
    }

    /// Takes away all traces of a process from an entry. True if the process was filling it.
    fn clean(&mut self, at: &EntryAt<'_>) -> bool {
        let (w, bit) = pin_of(slot_of(self.token));
        at.e.pins[w].fetch_and(!bit, AcqRel);
        self.end_lease_of(at);
        at.e.waiters[w].fetch_and(!bit, AcqRel);
        let Some((body, ..)) = self.guard.core.body(at.body()) else {
            return false;
        };
        body.waiters[w].fetch_and(!bit, AcqRel);
        self.break_body_of(at)
    }

    /// Whether what `owner` has is to go with `token`: it is the same process, or one that had the slot before and was
    /// not cleaned up after to the end, as the next one died at that.
    fn is_trace(&self, owner: Token) -> bool {
        owner == self.token
            || (slot_of(owner) == slot_of(self.token) && self.guard.core.processes().is_gone(owner))
    }

    fn end_lease_of(&mut self, at: &EntryAt<'_>) {
        let lease = at.e.lease.load(Acquire);
        if lease != 0
            && self.is_trace(lease_owner(lease))
            && at
                .e
                .lease
                .compare_exchange(lease, 0, AcqRel, Relaxed)
                .is_ok()
        {
            self.guard.wakeups.add(take_waiters(&at.e.waiters));
        }
    }

    fn break_body_of(&mut self, at: &EntryAt<'_>) -> bool {
        let Some((body, ..)) = self.guard.core.body(at.body()) else {
            return false;
        };
        // Another thread of a process that leaves may be completing it: what is complete stays so.
        if !self.is_trace(body.owner.load(Relaxed))
            || body
                .phase
                .compare_exchange(GROWING, BROKEN, AcqRel, Relaxed)
                .is_err()
        {
            return false;
        }
        // As in `wake_readers`: we see the watcher's bit, or it sees the phase.
        fence(SeqCst);
        self.guard.wakeups.add(take_waiters(&body.waiters));
        true
    }

    fn free_shards(&self) {
        let shards = 0..self.guard.core.geometry.shards;
        for lock in shards.filter_map(|shard| self.guard.core.shard(shard)) {
            let holder = lock.load(Acquire);
            if holder != 0 && self.is_trace(holder) {
                // Chains hold at every moment, so a shard's lock needs no repair.
                let _ = lock.compare_exchange(holder, 0, AcqRel, Relaxed);
            }
        }
    }
}
