//! Queues of entries, threaded through the entries by block number. The arena lock is held for all of it.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::memory::block::EntryAt;

/// New entries, on probation.
pub(crate) const SMALL: u8 = 0;
/// Entries that were asked for again.
pub(crate) const MAIN: u8 = 1;
/// Entries that lookups can't find.
pub(crate) const LIMBO: u8 = 2;
/// In no queue.
pub(crate) const NONE: u8 = 3;

impl<'a> ArenaGuard<'a> {
    /// Puts an entry at the young end.
    pub(crate) fn push(&self, queue: u8, at: &EntryAt<'_>) {
        let Some(q) = self.header().queues.get(queue as usize) else {
            return;
        };
        let tail = q.tail.load(Relaxed);
        at.e.older.store(tail, Relaxed);
        at.e.newer.store(0, Relaxed);
        at.e.queue.store(queue, Relaxed);
        match self.core.entry(tail) {
            Some(old) => old.e.newer.store(at.block, Relaxed),
            None => q.head.store(at.block, Relaxed),
        }
        q.tail.store(at.block, Relaxed);
        q.count.fetch_add(1, Relaxed);
        q.cost
            .fetch_add(u64::from(at.e.cost.load(Relaxed)), Relaxed);
    }

    /// Takes an entry out of its queue.
    pub(crate) fn pull(&self, at: &EntryAt<'_>) {
        let Some(q) = self.header().queues.get(at.e.queue.load(Relaxed) as usize) else {
            return;
        };
        let (older, newer) = (at.e.older.load(Relaxed), at.e.newer.load(Relaxed));
        match self.core.entry(older) {
            Some(o) => o.e.newer.store(newer, Relaxed),
            None => q.head.store(newer, Relaxed),
        }
        match self.core.entry(newer) {
            Some(n) => n.e.older.store(older, Relaxed),
            None => q.tail.store(older, Relaxed),
        }
        at.e.queue.store(NONE, Relaxed);
        q.count
            .store(q.count.load(Relaxed).saturating_sub(1), Relaxed);
        q.cost.store(
            q.cost
                .load(Relaxed)
                .saturating_sub(u64::from(at.e.cost.load(Relaxed))),
            Relaxed,
        );
    }

    /// The oldest entry of a queue.
    pub(crate) fn oldest(&self, queue: u8) -> Option<EntryAt<'a>> {
        let head = self.header().queues.get(queue as usize)?.head.load(Relaxed);
        let oldest = self.core.entry(head);
        if oldest.is_none() && head != 0 {
            self.arena().poison();
        }
        oldest
    }

    /// Granules of a queue; bounded, so that a damaged count can be calculated with.
    pub(crate) fn queue_cost(&self, queue: u8) -> u64 {
        let queue = self.header().queues.get(queue as usize);
        queue.map_or(0, |q| q.cost.load(Relaxed).min(1 << 40))
    }

    /// Entries of a queue; not more than there can be.
    pub(crate) fn queue_count(&self, queue: u8) -> u64 {
        let queue = self.header().queues.get(queue as usize);
        queue.map_or(0, |q| {
            q.count.load(Relaxed).min(u64::from(self.core.geometry.end))
        })
    }
}
