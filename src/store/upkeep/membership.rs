//! The membership of a process in a region, and what all its handles share.

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::error::{Busy, StoreError};
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::body::Bodies;
use crate::store::index::core::{Core, lease_owner};
use crate::store::index::lease::Leases;
use crate::store::index::pin::Pins;
use crate::store::memory::block::{EntryAt, GROWING};
use crate::store::memory::bytes::WipedPage;
use crate::store::memory::platform::Mutex;
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Local;
use crate::store::process::table::WakerRef;
use crate::store::process::wakers::{WakerId, Wakers};
use crate::store::process::wakeups::{EVERYONE, Wakeups};
use crate::store::upkeep::clean::{Cleaned, Cleaner};
use crate::store::upkeep::maintenance::{Maintenance, Progress};

/// The membership of a process in a region.
pub(crate) struct Member {
    pub(crate) local: Local,
    progress: Mutex<Progress>,
    /// The previous membership, kept for handles made during it.
    previous: *mut Member,
}

impl Member {
    fn new(local: Local) -> Member {
        Member {
            local,
            progress: Mutex::new(Progress::default()),
            previous: std::ptr::null_mut(),
        }
    }
}

/// What the handles of one process share: the region, and the process's membership in it.
pub(crate) struct Shared {
    pub(crate) core: Core,
    /// Holds a pointer to the current member; zero before `join`, and in a forked child.
    page: WipedPage,
    /// All members that this process has been, the last one first.
    members: AtomicPtr<Member>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.core.fmt(f)
    }
}

impl Shared {
    pub(crate) fn new(core: Core) -> Result<Shared, StoreError> {
        Ok(Shared {
            core,
            page: WipedPage::new()?,
            members: AtomicPtr::new(std::ptr::null_mut()),
        })
    }

    /// The membership of this process: `None` before `join`, after `leave`, and if the region is damaged.
    #[inline]
    pub(crate) fn member(&self) -> Option<&Member> {
        let at = self.page.word().load(Acquire) as *const Member;
        if self.core.is_poisoned() {
            return None;
        }
        // SAFETY: the word holds 0 or a pointer that `join` made from a box, which is freed only when `self` is
        // dropped.
        unsafe { at.as_ref() }
    }

    #[inline]
    pub(crate) fn is_current(&self, member: *const Member) -> bool {
        self.page.word().load(Relaxed) == member as u64
    }

    pub(crate) fn maintenance<'a>(&'a self, member: &'a Member) -> Maintenance<'a> {
        Maintenance {
            core: &self.core,
            local: &member.local,
            progress: &member.progress,
        }
    }

    /// See [`Maintenance::arena_guard`].
    pub(crate) fn arena_guard<'a>(&'a self, member: &'a Member) -> Option<ArenaGuard<'a>> {
        self.maintenance(member).arena_guard()
    }

    pub(crate) fn pins<'a>(&'a self, member: &'a Member) -> Pins<'a> {
        Pins::of(&self.core, &member.local)
    }

    pub(crate) fn leases<'a>(&'a self, member: &'a Member) -> Leases<'a> {
        Leases::of(&self.core, &member.local)
    }

    pub(crate) fn bodies<'a>(&'a self, member: &'a Member) -> Bodies<'a> {
        Bodies::of(&self.core, &member.local)
    }

    /// Makes a member current, unless another thread was faster.
    pub(crate) fn join(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<(), StoreError> {
        if self.member().is_some() {
            return Ok(());
        }
        let member = self.new_member(wakers)?;
        let token = member.local.token;
        let new = Box::into_raw(Box::new(member));
        if self
            .page
            .word()
            .compare_exchange(0, new as u64, AcqRel, Acquire)
            .is_err()
        {
            self.core.processes().free(token);
            // SAFETY: the box was made above and not shared.
            drop(unsafe { Box::from_raw(new) });
            return Ok(());
        }
        self.keep(new);
        Ok(())
    }

    fn new_member(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<Member, StoreError> {
        let waker = wakers
            .as_ref()
            .map_or(WakerRef::default(), |(wakers, id)| WakerRef {
                number: id.0 + 1,
                set: wakers.id,
            });
        if let Some(token) = self.core.processes().take(waker) {
            return Ok(Member::new(Local::new(token, wakers)));
        }
        let token = self.core.processes().take_from_dead(waker);
        let cleaner = Member::new(Local::new(token.ok_or(StoreError::NoSlot)?, wakers.clone()));
        self.clean_own_slot(&cleaner);
        // If it was reclaimed completely, the slot has already been freed.
        self.core.processes().give_up(cleaner.local.token);
        let token = self.core.processes().take(waker);
        Ok(Member::new(Local::new(
            token.ok_or(StoreError::NoSlotYet)?,
            wakers,
        )))
    }

    /// Continues, within a budget, reclaiming the slot that this member has taken from a dead process; frees it at the
    /// end.
    fn clean_own_slot(&self, member: &Member) {
        let token = member.local.token;
        let maintenance = self.maintenance(member);
        let mut budget = maintenance.budget();
        Wakeups::now(self.core.processes(), &member.local, EVERYONE);
        // A repair that no other process leads is completed: what this one has found of it is lost with the slot.
        while let Ok(mut guard) = maintenance.arena_guard_within(&mut TimeBudget::whole()) {
            match Cleaner::new(&mut guard, token).run(&mut budget) {
                Ok(Cleaned::Some) => {}
                Ok(Cleaned::All) => {
                    drop(guard);
                    return self.core.processes().free(token);
                }
                Ok(Cleaned::OutOfTime) | Err(Busy) => return,
            }
        }
    }

    fn keep(&self, new: *mut Member) {
        let mut old = self.members.load(Relaxed);
        loop {
            // SAFETY: `previous` is written here only, by the thread that made the member, and read in `drop` only.
            unsafe { (&raw mut (*new).previous).write(old) };
            match self.members.compare_exchange(old, new, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Ends the current membership.
    pub(crate) fn forget_member(&self) {
        self.page.word().store(0, Release);
    }

    /// Ends what this process holds; releases its slot unless handles remain.
    pub(crate) fn leave(&self) {
        let Some(member) = self.member() else { return };
        // A repair that is due comes first, since unpinning may have to free entries.
        drop(self.arena_guard(member));
        self.pins(member).retry_deferred(usize::MAX);
        let pinned = member.local.pinned();
        for at in pinned.iter().filter_map(|b| self.core.entry(*b)) {
            self.give_up(member, &at);
        }
        self.forget_member();
        self.maintenance(member).give_up_lead();
        if member.local.holds_nothing() {
            self.core.processes().free(member.local.token);
        }
    }

    /// Ends the lease and the fill of a live process; its pin stays.
    fn give_up(&self, member: &Member, at: &EntryAt<'_>) {
        let token = member.local.token;
        match self.core.body(at.body()) {
            Some((body, ..))
                if body.owner.load(Relaxed) == token && body.phase.load(Acquire) == GROWING =>
            {
                self.bodies(member).break_off(body);
                self.bodies(member).abandon(at);
            }
            _ => {}
        }
        let lease = at.e.lease.load(Acquire);
        if lease_owner(lease) == token {
            self.leases(member).end(at, lease);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.leave();
        let mut at = *self.members.get_mut();
        while !at.is_null() {
            // SAFETY: every member on the list came from a box, and no handle is left that could refer to it.
            let member = unsafe { Box::from_raw(at) };
            at = member.previous;
            // It may have left while handles were held; the last of them has now been dropped.
            self.core.processes().give_up_own(member.local.token);
        }
    }
}
