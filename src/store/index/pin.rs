//! Pins: one bit per process in the entry; the handles of a process are counted in its private memory.
//!
//! Unpinning never repairs. While a repair is due or the arena lock is taken, an unlinked entry keeps its pin and is
//! put on a list; this process works the list off when it does maintenance, begins a fill or sweeps.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::UNLINKED;
use crate::store::process::local::Local;
use crate::store::process::table::pin_of;

/// The maximum number of deferred unpins that are done in passing.
pub(crate) const AT_ONCE: usize = 64;

/// The pins of one process.
#[derive(Clone, Copy)]
pub(crate) struct Pins<'a> {
    core: &'a Core,
    local: &'a Local,
}

impl<'a> Pins<'a> {
    pub(crate) fn of(core: &'a Core, local: &'a Local) -> Pins<'a> {
        Pins { core, local }
    }

    /// Pins an entry that is linked (its shard is locked) or that this process has already pinned.
    #[inline]
    pub(crate) fn pin(self, at: &EntryAt<'_>) {
        let mut pins = self.local.pins(at.block);
        let count = pins.entry(at.block).or_insert(0);
        *count += 1;
        if *count == 1 {
            let (w, bit) = pin_of(self.local.slot());
            at.e.pins[w].fetch_or(bit, AcqRel);
        }
    }

    /// Counts another handle of an entry that this process has already pinned.
    pub(crate) fn pin_again(self, block: u32) {
        *self.local.pins(block).entry(block).or_insert(0) += 1;
    }

    /// Releases one handle.
    #[inline]
    pub(crate) fn unpin(self, block: u32) {
        let mut pins = self.local.pins(block);
        match pins.get_mut(&block) {
            Some(count) if *count > 1 => {
                *count -= 1;
                return;
            }
            Some(_) => pins.remove(&block),
            None => return,
        };
        // The counts stay locked until the bit is cleared, so that another thread's pin comes before or after both.
        let Some(at) = self.core.entry(block) else {
            return;
        };
        if !self.clear_if_linked(&at) {
            // No lookup can pin it any more, so no thread of this process counts it again: nothing else changes our
            // bit.
            drop(pins);
            self.unpin_unlinked(block);
        }
    }

    /// Clears our bit unless the entry is unlinked at that moment.
    fn clear_if_linked(self, at: &EntryAt<'_>) -> bool {
        let (w, bit) = pin_of(self.local.slot());
        let word = &at.e.pins[w];
        let mut seen = word.load(Acquire);
        while seen & UNLINKED == 0 {
            match word.compare_exchange_weak(seen, seen & !bit, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Clears our bit in an unlinked entry, and frees the entry if that was the last pin; deferred if the arena is
    /// busy.
    #[cold]
    fn unpin_unlinked(self, block: u32) {
        if !self.try_unpin_unlinked(block) {
            self.local.deferred.lock().push(block);
        }
    }

    fn try_unpin_unlinked(self, block: u32) -> bool {
        let Ok(mut guard) = ArenaGuard::take(self.core, self.local) else {
            return false;
        };
        if let Some(at) = self.core.entry(block) {
            let (w, bit) = pin_of(self.local.slot());
            at.e.pins[w].fetch_and(!bit, AcqRel);
            guard.free_if_unpinned(&at);
        }
        true
    }

    /// Retries up to `most` deferred unpins.
    pub(crate) fn retry_deferred(self, most: usize) {
        for _ in 0..most {
            let Some(block) = self.local.deferred.lock().pop() else {
                return;
            };
            if !self.try_unpin_unlinked(block) {
                // The arena is still busy, so the others would fail too.
                return self.local.deferred.lock().push(block);
            }
        }
    }
}
