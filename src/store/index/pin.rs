//! Pins: one bit in the entry for each process, counted in private memory for the handles of one process.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::UNLINKED;
use crate::store::process::local::Member;
use crate::store::process::table::pin_of;

/// How many are unpinned in passing that could not be before.
pub(crate) const AT_ONCE: usize = 64;

impl Core {
    /// Pins an entry that is linked (its shard is locked) or that this process has pinned already.
    #[inline]
    pub(crate) fn pin(&self, member: &Member, at: &EntryAt<'_>) {
        let mut pins = member.pins(at.block);
        let count = pins.entry(at.block).or_insert(0);
        *count += 1;
        if *count == 1 {
            let (w, bit) = pin_of(member.slot());
            at.e.pins[w].fetch_or(bit, AcqRel);
        }
    }

    /// Counts one more handle to what this process has pinned already.
    pub(crate) fn pin_again(&self, member: &Member, block: u32) {
        *member.pins(block).entry(block).or_insert(0) += 1;
    }

    /// Gives back one handle.
    #[inline]
    pub(crate) fn unpin(&self, member: &Member, block: u32) {
        let mut pins = member.pins(block);
        match pins.get_mut(&block) {
            Some(count) if *count > 1 => {
                *count -= 1;
                return;
            }
            Some(_) => pins.remove(&block),
            None => return,
        };
        // The counts stay locked until the bit is cleared: another thread's pin comes before or after both.
        let Some(at) = self.entry(block) else { return };
        if !self.clear_if_linked(member, &at) {
            // No lookup can pin it any more, so nobody here counts it anew: the bit is ours alone.
            drop(pins);
            self.unpin_unlinked(member, block);
        }
    }

    /// Clears our bit unless the entry is unlinked at that instant.
    fn clear_if_linked(&self, member: &Member, at: &EntryAt<'_>) -> bool {
        let (w, bit) = pin_of(member.slot());
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

    /// Clears our bit in an unlinked entry, and frees the entry if that was the last; later, if the arena is busy.
    #[cold]
    fn unpin_unlinked(&self, member: &Member, block: u32) {
        if !self.try_unpin_unlinked(member, block) {
            member.deferred.lock().push(block);
        }
    }

    fn try_unpin_unlinked(&self, member: &Member, block: u32) -> bool {
        let Some(mut guard) = self.arena_guard(member) else {
            return false;
        };
        if let Some(at) = self.entry(block) {
            let (w, bit) = pin_of(member.slot());
            at.e.pins[w].fetch_and(!bit, AcqRel);
            guard.free_if_unpinned(&at);
        }
        true
    }

    /// Unpins what could not be unpinned before, up to so many.
    pub(crate) fn unpin_deferred(&self, member: &Member, most: usize) {
        for _ in 0..most {
            let Some(block) = member.deferred.lock().pop() else {
                return;
            };
            if !self.try_unpin_unlinked(member, block) {
                // The arena is still busy: it would be for the others, too.
                return member.deferred.lock().push(block);
            }
        }
    }

    /// Counts a hit.
    #[inline]
    pub(crate) fn count_hit(&self, at: &EntryAt<'_>) {
        let freq = at.e.freq.load(Relaxed);
        if freq < crate::store::index::evict::MOST_HITS {
            at.e.freq.store(freq + 1, Relaxed);
        }
    }
}
