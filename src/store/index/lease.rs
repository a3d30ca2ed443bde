//! Leases: who may fetch, in one word of an entry.
//!
//! | lease word | meaning | who moves it on |
//! |---|---|---|
//! | 0 | free | `try_lease`: -> own token and a new nonce |
//! | of a live process, before the deadline | held | its claim: -> 0 when it ends; a removal: -> 0 (void) |
//! | of a live process, at or after the deadline | held until wanted | as above, or `try_lease` by another: taken over |
//! | of a process that is gone | abandoned | `try_lease`: taken over; the reaper: -> 0 |
//!
//! Waiters are registered under the shard's lock while the lease is held by another, and taken out under it by
//! whoever ends it, so none is forgotten. When a process dies, everyone is rung.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use crate::store::error::Busy;
use crate::store::index::core::{Core, lease_word, take_waiters};
use crate::store::memory::block::{EntryAt, SUB};
use crate::store::memory::layout::Millis;
use crate::store::process::local::Member;
use crate::store::process::table::pin_of;

/// What is asked of a lease.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) now: Millis,
    pub(crate) deadline: Millis,
    pub(crate) wait: bool,
}

/// The answer: the lease word, or the deadline of the one who has it.
pub(crate) type Answer = Result<u64, Millis>;

impl Core {
    /// Takes the lease of an entry, if it is to be had. The shard is locked.
    pub(crate) fn try_lease(&self, member: &Member, at: &EntryAt<'_>, ask: Ask) -> Answer {
        if self.is_leased(at.e, ask.now) && !(ask.wait && self.ended_meanwhile(member, at, ask.now))
        {
            return Err(at.e.deadline.load(Relaxed));
        }
        let lease = lease_word(member.token, self.next_number(&self.header().nonces));
        at.e.lease.store(0, Release);
        self.set_deadline(at, ask.deadline);
        at.e.lease.store(lease, Release);
        Ok(lease)
    }

    /// Registers this process to be rung. True if the lease has ended just now: its holder, which could not get the
    /// shard's lock, may have looked for waiters before we registered.
    fn ended_meanwhile(&self, member: &Member, at: &EntryAt<'_>, now: Millis) -> bool {
        let (w, bit) = pin_of(member.slot());
        at.e.waiters[w].fetch_or(bit, AcqRel);
        // Pairs with the fence in `end_lease`: it sees our bit, or we see its end.
        fence(SeqCst);
        if self.is_leased(at.e, now) {
            return false;
        }
        at.e.waiters[w].fetch_and(!bit, AcqRel);
        true
    }

    fn set_deadline(&self, at: &EntryAt<'_>, deadline: Millis) {
        at.e.deadline.store(deadline, Release);
        if !at.is_object() {
            at.e.dead_at.fetch_max(deadline, Relaxed);
        }
    }

    /// Moves the deadline of a lease that is still ours.
    pub(crate) fn extend_lease(
        &self,
        member: &Member,
        at: &EntryAt<'_>,
        lease: u64,
        deadline: Millis,
    ) {
        let Some(_shard) = self.lock_shard(member, at.e.hash.load(Relaxed)) else {
            return;
        };
        if at.e.lease.load(Acquire) == lease {
            self.set_deadline(at, deadline);
        }
    }

    /// Ends a lease if it is still ours, rings who waited for it, and drops a marker that remembers nothing.
    pub(crate) fn end_lease(&self, member: &Member, at: &EntryAt<'_>, lease: u64) {
        let hash = at.e.hash.load(Relaxed);
        let mut wakeups = self.wakeups(member);
        // Without the lock, if it was not to be had in time: a waiter that registers just now looks again.
        let shard = self.lock_shard(member, hash);
        let ended =
            at.e.lease
                .compare_exchange(lease, 0, AcqRel, Relaxed)
                .is_ok();
        if ended {
            fence(SeqCst);
            wakeups.add(take_waiters(&at.e.waiters));
        }
        drop(shard);
        drop(wakeups);
        if ended && !at.is_object() && at.e.born.load(Relaxed) <= self.clock() {
            self.drop_worthless(member, at);
        }
    }

    fn drop_worthless(&self, member: &Member, at: &EntryAt<'_>) {
        let Some(mut guard) = self.arena_guard(member) else {
            return;
        };
        let Some(_shard) = guard.lock_shard(at.e.hash.load(Relaxed)) else {
            return;
        };
        if guard.is_worthless(at) {
            guard.unlink(at);
        }
    }

    /// The linked marker of `(key, sub)`. The shard is locked.
    pub(crate) fn find_marker(&self, hash: u64, key: &[u8], sub: u64) -> Option<EntryAt<'_>> {
        self.walk(self.bucket_of(hash), |at| {
            let found = !at.is_object()
                && at.e.hash.load(Relaxed) == hash
                && at.e.attributes[SUB].load(Relaxed) == sub
                && at.key() == key;
            if found {
                ControlFlow::Break(at)
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Does something with the marker of `(key, sub)`, which is made if there is none; under the shard's lock.
    pub(crate) fn with_marker<T>(
        &self,
        member: &Member,
        (key, sub): (&[u8], u64),
        dead_at: Millis,
        act: impl FnOnce(&EntryAt<'_>) -> T,
    ) -> Result<T, Busy> {
        let hash = self.hash_key.hash(key);
        {
            let _shard = self.lock_shard(member, hash).ok_or(Busy)?;
            if let Some(at) = self.find_marker(hash, key, sub) {
                return Ok(act(&at));
            }
        }
        let mut guard = self.arena_guard(member).ok_or(Busy)?;
        let new = guard.make_marker(hash, key, sub, dead_at).ok_or(Busy)?;
        let Some(_shard) = guard.lock_shard(hash) else {
            guard.discard(&new);
            return Err(Busy);
        };
        // Another may have made it between the two locks.
        if let Some(at) = self.find_marker(hash, key, sub) {
            let answer = act(&at);
            guard.discard(&new);
            return Ok(answer);
        }
        if guard.link(&new, false).is_none() {
            guard.discard(&new);
            return Err(Busy);
        }
        let answer = act(&new);
        // It is linked and its shard is locked, so this only takes back the pin that it was made with.
        self.unpin(member, new.block);
        Ok(answer)
    }
}
