//! Leases: who may fetch, in one word of an entry.
//!
//! | lease word | meaning | transitions |
//! |---|---|---|
//! | 0 | free | `take`: -> own token and a new nonce |
//! | of a live process, before the deadline | held | its claim: -> 0 when it ends; a removal: -> 0 (void) |
//! | of a live process, at or after the deadline | held until another process wants it | as above, or `take` by another: taken over |
//! | of a dead process | abandoned | `take`: taken over; the reaper: -> 0 |
//!
//! Waiters are registered under the shard's lock while another process holds the lease, and taken out under it by the
//! process that ends the lease, so none is lost. When a process dies, all processes are woken.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::{Core, lease_word};
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::Millis;
use crate::store::process::local::Local;
use crate::store::process::table::pin_of;
use crate::store::process::wakeups::take_waiters;

/// The parameters of an attempt to take a lease.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) now: Millis,
    pub(crate) deadline: Millis,
    pub(crate) wait: bool,
}

/// The result: the lease word, or the deadline of the current holder.
pub(crate) type LeaseResult = Result<u64, Millis>;

/// The leases of one process.
#[derive(Clone, Copy)]
pub(crate) struct Leases<'a> {
    core: &'a Core,
    local: &'a Local,
}

impl<'a> Leases<'a> {
    pub(crate) fn of(core: &'a Core, local: &'a Local) -> Leases<'a> {
        Leases { core, local }
    }

    /// Takes the lease of an entry if it is free. The shard is locked.
    pub(crate) fn take(self, at: &EntryAt<'_>, ask: Ask) -> LeaseResult {
        if self.core.is_leased(at.e, ask.now) && !(ask.wait && self.ended_meanwhile(at, ask.now)) {
            return Err(at.e.deadline.load(Relaxed));
        }
        let lease = lease_word(
            self.local.token,
            self.core.next_number(&self.core.header().nonces),
        );
        at.e.lease.store(0, Release);
        self.set_deadline(at, ask.deadline);
        at.e.lease.store(lease, Release);
        Ok(lease)
    }

    /// Registers this process to be woken. Returns true if the lease has ended just now: a holder that did not get the
    /// shard's lock may have looked for waiters before we registered.
    fn ended_meanwhile(self, at: &EntryAt<'_>, now: Millis) -> bool {
        let (w, bit) = pin_of(self.local.slot());
        at.e.waiters[w].fetch_or(bit, AcqRel);
        // Pairs with the fence in `end`: either it sees our bit, or we see its end.
        fence(SeqCst);
        if self.core.is_leased(at.e, now) {
            return false;
        }
        at.e.waiters[w].fetch_and(!bit, AcqRel);
        true
    }

    fn set_deadline(self, at: &EntryAt<'_>, deadline: Millis) {
        at.e.deadline.store(deadline, Release);
        if !at.is_object() {
            at.e.dead_at.fetch_max(deadline, Relaxed);
        }
    }

    /// Moves the deadline of a lease, if it is still ours.
    pub(crate) fn extend(self, at: &EntryAt<'_>, lease: u64, deadline: Millis) {
        let Some(_shard) = self.core.lock_shard(self.local, at.e.hash.load(Relaxed)) else {
            return;
        };
        if at.e.lease.load(Acquire) == lease {
            self.set_deadline(at, deadline);
        }
    }

    /// Ends a lease if it is still ours, wakes its waiters, and removes a marker that remembers nothing.
    pub(crate) fn end(self, at: &EntryAt<'_>, lease: u64) {
        let hash = at.e.hash.load(Relaxed);
        let mut wakeups = self.core.wakeups(self.local);
        // Without the lock, if it was not acquired in time: a waiter that registers at this moment checks again.
        let shard = self.core.lock_shard(self.local, hash);
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
        if ended && !at.is_object() && at.e.born.load(Relaxed) <= self.core.clock() {
            self.drop_worthless(at);
        }
    }

    fn drop_worthless(self, at: &EntryAt<'_>) {
        let Ok(mut guard) = ArenaGuard::take(self.core, self.local) else {
            return;
        };
        let Some(_shard) = guard.lock_shard(at.e.hash.load(Relaxed)) else {
            return;
        };
        if guard.is_worthless(at) {
            guard.unlink(at);
        }
    }
}
