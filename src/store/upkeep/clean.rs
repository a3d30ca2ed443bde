//! Reclaims what processes left that died, and what a leaving process still holds.
//!
//! A slot marked Dying is void at once: its leases are free, its fills are broken, its pins hold nothing. The walk that
//! removes these traces, so that the slot can be used again, proceeds in turns (`maintenance.rs`), under the arena
//! lock, over all buckets and then over limbo. The slot records how far it has come:
//!
//! | position | what is next |
//! |---|---|
//! | below the number of buckets | that bucket |
//! | the number of buckets | limbo, from its old end |
//! | the number of buckets + 1 + `n` | the oldest `n` of limbo; entries that were visited and stay go to the young end |
//!
//! An entry that enters limbo meanwhile was cleaned in its bucket. A repair changes the order of limbo, after which
//! limbo is walked from the beginning.
//!
//! A process that leaves has pinned everything that it leases or fills, so the table of its pins leads to all of it.
//! Whatever it waits for wakes its slot once more, which is harmless: the next process in the slot checks and finds
//! nothing.

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

/// Buckets cleaned per hold of the arena lock.
const BATCH: usize = 256;
/// Buckets per step.
const STEP: usize = 16;

/// How far reclaiming one process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleaned {
    Some,
    OutOfTime,
    /// All of it is done: its slot may be given to another process.
    All,
}

/// Reclaims what one process left, while the arena lock is held.
pub(crate) struct Cleaner<'g, 'a> {
    guard: &'g mut ArenaGuard<'a>,
    token: Token,
}

impl<'g, 'a> Cleaner<'g, 'a> {
    pub(crate) fn new(guard: &'g mut ArenaGuard<'a>, token: Token) -> Cleaner<'g, 'a> {
        Cleaner { guard, token }
    }

    /// Continues reclaiming what a dead process left.
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

    /// Cleans the entries of a bucket; [`Busy`] if the shard's lock was not acquired.
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

    /// Removes all traces of a process from an entry. Returns true if the process was filling it.
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

    /// Whether what `owner` holds is to be reclaimed with `token`: it is the same process, or an earlier one in the
    /// slot that was not reclaimed completely because the next one died meanwhile.
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
        // Another thread of a leaving process may be completing the body; a complete body stays complete.
        if !self.is_trace(body.owner.load(Relaxed))
            || body
                .phase
                .compare_exchange(GROWING, BROKEN, AcqRel, Relaxed)
                .is_err()
        {
            return false;
        }
        // As in `wake_readers`: either we see the watcher's bit, or it sees the phase.
        fence(SeqCst);
        self.guard.wakeups.add(take_waiters(&body.waiters));
        true
    }

    fn free_shards(&self) {
        let shards = 0..self.guard.core.geometry.shards;
        for lock in shards.filter_map(|shard| self.guard.core.shard(shard)) {
            let holder = lock.load(Acquire);
            if holder != 0 && self.is_trace(holder) {
                // Chains are consistent at every moment, so an abandoned shard lock needs no repair.
                let _ = lock.compare_exchange(holder, 0, AcqRel, Relaxed);
            }
        }
    }
}
