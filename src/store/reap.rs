//! Cleaning up after processes that died, and after ones that leave.
//!
//! A slot marked Dying counts for nothing at once: its leases are free, its fills are broken, its pins hold nothing.
//! The walk that takes these traces away, so that the slot can be used again, goes on in pieces, under the arena lock,
//! over all buckets and then over limbo.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use super::entry::{BROKEN, EntryAt, GROWING};
use super::inner::{Inner, Mask, lease_owner, take_waiters};
use super::keeper::Keeper;
use super::layout::UNLINKED;
use super::member::Member;
use super::process::{Token, pin_of, slot_of};
use super::queue::LIMBO;

/// Buckets cleaned under one hold of the arena lock.
const BATCH: usize = 256;
/// Batches in one call: bounds the time that a call takes.
const BATCHES: usize = 256;
/// Every process.
const ALL: Mask = [!UNLINKED, !UNLINKED];

impl Inner {
    /// Marks dead processes and goes on cleaning up after them. Returns how many were newly found dead.
    pub(crate) fn reap(&self) -> u32 {
        let Some(member) = self.member() else {
            return 0;
        };
        let found = self.processes().find_dead();
        self.clean_up_all(member, found);
        found
    }

    /// Rings everyone if some were just found dead, and goes on cleaning up.
    pub(crate) fn clean_up_all(&self, member: &Member, found: u32) {
        if found > 0 {
            // Whoever waits for something of the dead asks again and gets it.
            self.ring(member, ALL);
        }
        self.unpin_deferred(member);
        let mut batches = BATCHES;
        for slot in self.processes().dying() {
            self.clean_up(member, self.processes().token_in(slot), &mut batches);
        }
    }

    fn clean_up(&self, member: &Member, token: Token, batches: &mut usize) {
        while *batches > 0 {
            *batches -= 1;
            let Some(mut keeper) = self.keeper(member) else {
                return;
            };
            if keeper.clean_some(token) {
                return;
            }
        }
    }

    /// Takes away the traces of the dead process whose slot this member has taken. False when that was not possible.
    pub(crate) fn clean_up_before(&self, member: &Member, dead: Token) -> bool {
        let Some(mut keeper) = self.keeper(member) else {
            return false;
        };
        (0..self.geometry.buckets).all(|bucket| keeper.clean_bucket(bucket, dead)) && {
            keeper.clean_limbo(dead);
            keeper.free_shards_of(dead);
            keeper.ring.add(ALL);
            true
        }
    }

    /// Ends what this process holds; gives its slot back unless handles remain.
    pub(crate) fn leave(&self) {
        let Some(member) = self.member() else { return };
        self.unpin_deferred(member);
        // Claims and fills hold their entries: who holds nothing has none, and need not look for them.
        let ended = member.holds_nothing() || self.give_up(member);
        self.forget_member();
        if ended && member.holds_nothing() {
            self.processes().free(member.token);
        }
    }

    /// Ends the leases and fills of a process that lives; its pins stay. False if a lock was not to be had.
    fn give_up(&self, member: &Member) -> bool {
        let buckets = self.geometry.buckets;
        let of_linked = (0..buckets).step_by(BATCH).all(|from| {
            self.keeper(member).is_some_and(|mut keeper| {
                (from..buckets.min(from + BATCH)).all(|b| keeper.give_up_bucket(b, member.token))
            })
        });
        // Last of all, with what was unlinked meanwhile.
        of_linked
            && self
                .keeper(member)
                .map(|mut keeper| keeper.give_up_limbo(member.token))
                .is_some()
    }
}

impl<'a> Keeper<'a> {
    /// Cleans the next buckets of a dying slot. True when the slot has been freed.
    fn clean_some(&mut self, token: Token) -> bool {
        if self.inner.processes().token_in(slot_of(token)) != token
            || !self.inner.processes().dying().any(|s| s == slot_of(token))
        {
            return true;
        }
        let from = self.inner.processes().reap_cursor(token);
        if from == 0 {
            // Whoever found it dead may have had no time to say so (it waited for a lock, or died itself).
            self.ring.add(ALL);
        }
        let to = (from + BATCH).min(self.inner.geometry.buckets);
        for bucket in from..to {
            if !self.clean_bucket(bucket, token) {
                return true;
            }
            self.inner.processes().set_reap_cursor(token, bucket + 1);
        }
        to == self.inner.geometry.buckets && self.finish(token)
    }

    /// False when the shard was not to be had.
    fn clean_bucket(&mut self, bucket: usize, token: Token) -> bool {
        if self
            .inner
            .bucket(bucket)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return true;
        }
        let Some(_shard) = self.lock_shard(bucket as u64) else {
            return false;
        };
        let mut entries = Vec::new();
        self.inner.walk::<()>(bucket, |at| {
            entries.push(at);
            ControlFlow::Continue(())
        });
        entries.iter().for_each(|at| self.clean_linked(at, token));
        true
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
        let Some((body, ..)) = self.inner.body(at.body()) else {
            return false;
        };
        body.waiters[w].fetch_and(!bit, AcqRel);
        self.break_body_of(at, token)
    }

    /// Whether what `owner` has is to go with `token`: it is the same process, or one that had the slot before and was
    /// not cleaned up after to the end, as the next one died at that.
    fn is_trace_of(&self, owner: Token, token: Token) -> bool {
        owner == token
            || (slot_of(owner) == slot_of(token) && self.inner.processes().is_gone(owner))
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
            self.ring.add(take_waiters(&at.e.waiters));
        }
    }

    fn break_body_of(&mut self, at: &EntryAt<'_>, token: Token) -> bool {
        let Some((body, ..)) = self.inner.body(at.body()) else {
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
        // As in `ring_readers`: we see the watcher's bit, or it sees the phase.
        fence(SeqCst);
        self.ring.add(take_waiters(&body.waiters));
        true
    }

    /// A marker that nobody holds and that remembers nothing.
    pub(crate) fn is_worthless(&self, at: &EntryAt<'_>) -> bool {
        at.e.lease.load(Acquire) == 0 && at.e.born.load(Relaxed) <= self.inner.clock()
    }

    /// Visits limbo: `visit` may free the entry.
    fn each_in_limbo(&mut self, mut visit: impl FnMut(&mut Self, &EntryAt<'a>)) {
        let mut next = self.oldest(LIMBO);
        let mut steps = self.queue_count(LIMBO);
        while let Some(at) = next.filter(|_| steps > 0) {
            next = self.inner.entry(at.e.newer.load(Relaxed));
            steps -= 1;
            visit(self, &at);
        }
    }

    fn clean_limbo(&mut self, token: Token) {
        self.each_in_limbo(|k, at| {
            k.clean(at, token);
            k.free_if_unpinned(at);
        });
    }

    fn finish(&mut self, token: Token) -> bool {
        self.clean_limbo(token);
        self.free_shards_of(token);
        self.inner.processes().free(token);
        self.header().counts.reaped.fetch_add(1, Relaxed);
        self.ring.add(ALL);
        true
    }

    fn free_shards_of(&self, token: Token) {
        for shard in 0..self.inner.geometry.shards {
            if let Some(lock) = self.inner.shard(shard) {
                // Chains hold at every moment, so a shard's lock needs no repair.
                let _ = lock.compare_exchange(token, 0, AcqRel, Relaxed);
            }
        }
    }

    fn give_up_limbo(&mut self, token: Token) {
        self.each_in_limbo(|k, at| {
            k.end_lease_of(at, token);
            k.break_body_of(at, token);
        });
    }

    /// False when the shard was not to be had.
    fn give_up_bucket(&mut self, bucket: usize, token: Token) -> bool {
        if self
            .inner
            .bucket(bucket)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return true;
        }
        let Some(_shard) = self.lock_shard(bucket as u64) else {
            return false;
        };
        let mut entries = Vec::new();
        self.inner.walk::<()>(bucket, |at| {
            entries.push(at);
            ControlFlow::Continue(())
        });
        let (w, bit) = pin_of(slot_of(token));
        for at in &entries {
            self.end_lease_of(at, token);
            at.e.waiters[w].fetch_and(!bit, AcqRel);
            if let Some((body, ..)) = self.inner.body(at.body()) {
                body.waiters[w].fetch_and(!bit, AcqRel);
            }
            if self.break_body_of(at, token) {
                self.unlink(at);
            }
        }
        true
    }
}
