//! Wakes waiting processes after the locks are released.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::store::memory::layout::{SLOTS, UNLINKED};
use crate::store::memory::platform::AtomicU64;
use crate::store::process::local::Local;
use crate::store::process::table::{Processes, pin_of};
use crate::store::process::wakers::WakerId;

/// A set of process slots, one bit each.
pub(crate) type Mask = [u64; 2];

/// All processes.
pub(crate) const EVERYONE: Mask = [!UNLINKED, !UNLINKED];

/// Takes the waiters out of a mask in the region.
pub(crate) fn take_waiters(waiters: &[AtomicU64; 2]) -> Mask {
    [waiters[0].swap(0, AcqRel), waiters[1].swap(0, AcqRel)]
}

/// Processes to be woken when this is dropped. Declare it before the locks that must be released first.
pub(crate) struct Wakeups<'a> {
    processes: Processes<'a>,
    local: &'a Local,
    mask: Mask,
}

impl<'a> Wakeups<'a> {
    pub(crate) fn new(processes: Processes<'a>, local: &'a Local) -> Wakeups<'a> {
        Wakeups {
            processes,
            local,
            mask: [0, 0],
        }
    }

    /// Wakes these processes now.
    pub(crate) fn now(processes: Processes<'a>, local: &'a Local, mask: Mask) {
        Wakeups {
            processes,
            local,
            mask,
        };
    }

    pub(crate) fn add(&mut self, mask: Mask) {
        self.mask[0] |= mask[0];
        self.mask[1] |= mask[1];
    }

    fn wake(&self) {
        let Some((wakers, _)) = &self.local.wakers else {
            return;
        };
        for slot in 0..SLOTS {
            let (w, bit) = pin_of(slot);
            if self.mask[w] & bit == 0 {
                continue;
            }
            let slot = &self.processes.header.slots[slot];
            let waker = slot.waker.load(Relaxed);
            if waker != 0 && slot.wakers.load(Relaxed) == wakers.id {
                wakers.wake(WakerId(waker - 1));
            }
        }
    }
}

impl Drop for Wakeups<'_> {
    fn drop(&mut self) {
        if self.mask != [0, 0] {
            self.wake();
        }
    }
}
