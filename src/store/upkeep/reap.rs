//! Cleaning up after processes that died, and after ones that leave.
//!
//! A slot marked Dying counts for nothing at once: its leases are free, its fills are broken, its pins hold nothing.
//! The walk that takes these traces away, so that the slot can be used again, goes on in stints (`maintenance.rs`), under the arena
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
//! waits for rings its slot once more, which nobody minds: who has the slot next looks, and finds nothing.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::store::error::Busy;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::{Core, Mask, lease_owner, take_waiters};
use crate::store::index::pin::AT_ONCE;
use crate::store::index::queue::LIMBO;
use crate::store::memory::block::{BROKEN, EntryAt, GROWING};
use crate::store::memory::layout::UNLINKED;
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Member;
use crate::store::process::table::{Token, pin_of, slot_of};

/// Buckets cleaned under one hold of the arena lock.
const BATCH: usize = 256;
/// Buckets of a step.
const STEP: usize = 16;
/// Every process.
const ALL: Mask = [!UNLINKED, !UNLINKED];

/// How far cleaning up after one process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleaned {
    Some,
    OutOfTime,
    /// Its slot may be given to another.
    All,
}

impl Core {
    /// Marks dead processes and goes on cleaning up after them. Returns how many were newly found dead.
    pub(crate) fn reap(&self) -> u32 {
        let Some(member) = self.member() else {
            return 0;
        };
        let found = self.processes().find_dead();
        self.maintain_after(member, found);
        found
    }

    /// Rings everyone if some were just found dead, and goes on cleaning up.
    pub(crate) fn maintain_after(&self, member: &Member, found: u32) {
        if found > 0 {
            self.wake(member, ALL);
        }
        let _ = self.maintain(&mut self.budget());
        self.unpin_deferred(member, AT_ONCE);
    }

    /// Rings everyone for each of the dead once: whoever waits for something of theirs asks again and gets it. Who found one dead
    /// may have had no time to say so (it waited for a lock, or died itself).
    pub(crate) fn announce_deaths(&self, member: &Member) {
        let processes = self.processes();
        for dead in processes.dying().map(|slot| processes.token_in(slot)) {
            if !processes.has_reap_cursor(dead) {
                self.wake(member, ALL);
                processes.set_reap_cursor(dead, 0);
            }
        }
    }

    /// Goes on, for a stint, with cleaning the slot that this member has taken from a dead process; frees it at the end.
    pub(crate) fn clean_own_slot(&self, member: &Member) {
        let mut budget = self.budget();
        self.wake(member, ALL);
        // A repair that nobody else does is done to its end: what this one has seen of it goes with the slot.
        while let Ok(mut guard) = self.arena_guard_within(member, Some(&mut TimeBudget::whole())) {
            match guard.clean_some(member.token, &mut budget) {
                Ok(Cleaned::Some) => {}
                Ok(Cleaned::All) => {
                    drop(guard);
                    return self.processes().free(member.token);
                }
                Ok(Cleaned::OutOfTime) | Err(Busy) => return,
            }
        }
    }

    /// Ends what this process holds; gives its slot back unless handles remain.
    pub(crate) fn leave(&self) {
        let Some(member) = self.member() else { return };
        self.unpin_deferred(member, usize::MAX);
        for at in member.pinned().iter().filter_map(|b| self.entry(*b)) {
            self.give_up(member, &at);
        }
        self.forget_member();
        self.give_up_lead(member);
        if member.holds_nothing() {
            self.processes().free(member.token);
        }
    }

    /// Ends the lease and the fill of a process that lives; its pin stays.
    fn give_up(&self, member: &Member, at: &EntryAt<'_>) {
        if let Some((body, ..)) = self.body(at.body())
            && body.owner.load(Relaxed) == member.token
            && body.phase.load(Acquire) == GROWING
        {
            self.break_body(member, body);
            self.abandon(member, at);
        }
        let lease = at.e.lease.load(Acquire);
        if lease_owner(lease) == member.token {
            self.end_lease(member, at, lease);
        }
    }
}

impl<'a> ArenaGuard<'a> {
    /// Goes on with cleaning up after a dead process.
    pub(crate) fn clean_some(
        &mut self,
        token: Token,
        budget: &mut TimeBudget,
    ) -> Result<Cleaned, Busy> {
        let processes = self.core.processes();
        let buckets = self.core.geometry.buckets;
        let from = processes.reap_cursor(token);
        for bucket in from..buckets.min(from + BATCH) {
            self.clean_bucket(bucket, token, budget)?;
            processes.set_reap_cursor(token, bucket + 1);
            if (bucket + 1).is_multiple_of(STEP) && !budget.goes_on() {
                return Ok(Cleaned::OutOfTime);
            }
        }
        Ok(match processes.reap_cursor(token).checked_sub(buckets) {
            None => Cleaned::Some,
            Some(place) => self.clean_limbo(token, place, budget),
        })
    }

    fn clean_limbo(&mut self, token: Token, place: usize, budget: &mut TimeBudget) -> Cleaned {
        let mut left = match place {
            0 => self.queue_count(LIMBO) as usize,
            n => n - 1,
        };
        while let Some(at) = self.oldest(LIMBO).filter(|_| left > 0) {
            left -= 1;
            self.clean(&at, token);
            if !self.free_if_unpinned(&at) {
                self.pull(&at);
                self.push(LIMBO, &at);
            }
            if !budget.goes_on() {
                let place = self.core.geometry.buckets + 1 + left;
                self.core.processes().set_reap_cursor(token, place);
                return Cleaned::OutOfTime;
            }
        }
        self.free_shards_of(token);
        self.header().counts.reaped.fetch_add(1, Relaxed);
        self.wakeups.add(ALL);
        Cleaned::All
    }

    /// [`Busy`] when the shard was not to be had.
    fn clean_bucket(
        &mut self,
        bucket: usize,
        token: Token,
        budget: &mut TimeBudget,
    ) -> Result<(), Busy> {
        if self
            .core
            .bucket(bucket)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return Ok(());
        }
        let shard = self.lock_shard_within(bucket as u64, budget);
        let _shard = shard.ok_or(Busy)?;
        let mut entries = Vec::new();
        self.core.walk::<()>(bucket, |at| {
            entries.push(at);
            ControlFlow::Continue(())
        });
        entries.iter().for_each(|at| self.clean_linked(at, token));
        Ok(())
    }

    fn clean_linked(&mut self, at: &EntryAt<'a>, token: Token) {
        let broke = self.clean(at, token);
        if broke || (!at.is_object() && self.is_worthless(at)) {
            self.unlink(at);
        }
    }

    /// Takes away all traces of a process from an entry. True if the process was filling it.
    fn clean(&mut self, at: &EntryAt<'_>, token: Token) -> bool {
        let (w, bit) = pin_of(slot_of(token));
        at.e.pins[w].fetch_and(!bit, AcqRel);
        self.end_lease_of(at, token);
        at.e.waiters[w].fetch_and(!bit, AcqRel);
        let Some((body, ..)) = self.core.body(at.body()) else {
            return false;
        };
        body.waiters[w].fetch_and(!bit, AcqRel);
        self.break_body_of(at, token)
    }

    /// Whether what `owner` has is to go with `token`: it is the same process, or one that had the slot before and was
    /// not cleaned up after to the end, as the next one died at that.
    fn is_trace_of(&self, owner: Token, token: Token) -> bool {
        owner == token || (slot_of(owner) == slot_of(token) && self.core.processes().is_gone(owner))
    }

    fn end_lease_of(&mut self, at: &EntryAt<'_>, token: Token) {
        let lease = at.e.lease.load(Acquire);
        if lease != 0
            && self.is_trace_of(lease_owner(lease), token)
            && at
                .e
                .lease
                .compare_exchange(lease, 0, AcqRel, Relaxed)
                .is_ok()
        {
            self.wakeups.add(take_waiters(&at.e.waiters));
        }
    }

    fn break_body_of(&mut self, at: &EntryAt<'_>, token: Token) -> bool {
        let Some((body, ..)) = self.core.body(at.body()) else {
            return false;
        };
        // Another thread of a process that leaves may be completing it: what is complete stays so.
        if !self.is_trace_of(body.owner.load(Relaxed), token)
            || body
                .phase
                .compare_exchange(GROWING, BROKEN, AcqRel, Relaxed)
                .is_err()
        {
            return false;
        }
        // As in `wake_readers`: we see the watcher's bit, or it sees the phase.
        fence(SeqCst);
        self.wakeups.add(take_waiters(&body.waiters));
        true
    }

    /// A marker that nobody holds and that remembers nothing.
    pub(crate) fn is_worthless(&self, at: &EntryAt<'_>) -> bool {
        at.e.lease.load(Acquire) == 0 && at.e.born.load(Relaxed) <= self.core.clock()
    }

    fn free_shards_of(&self, token: Token) {
        let shards = 0..self.core.geometry.shards;
        for lock in shards.filter_map(|shard| self.core.shard(shard)) {
            let holder = lock.load(Acquire);
            if holder != 0 && self.is_trace_of(holder, token) {
                // Chains hold at every moment, so a shard's lock needs no repair.
                let _ = lock.compare_exchange(holder, 0, AcqRel, Relaxed);
            }
        }
    }
}
