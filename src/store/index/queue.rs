//! Queues of entries, linked through the entries by block number. The arena lock is held for all operations.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::Queue;

/// New entries, on probation.
pub(crate) const SMALL: u8 = 0;
/// Entries that were requested again.
pub(crate) const MAIN: u8 = 1;
/// Unlinked entries.
pub(crate) const LIMBO: u8 = 2;
/// In no queue.
pub(crate) const NONE: u8 = 3;

/// The queues of a region. The arena lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Queues<'a> {
    core: &'a Core,
}

impl<'a> Queues<'a> {
    pub(crate) fn of(core: &'a Core) -> Queues<'a> {
        Queues { core }
    }

    fn get(&self, queue: u8) -> Option<&'a Queue> {
        self.core.header().queues.get(queue as usize)
    }

    /// Adds an entry at the young end.
    pub(crate) fn push(&self, queue: u8, at: &EntryAt<'_>) {
        let Some(q) = self.get(queue) else {
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

    /// Removes an entry from its queue.
    pub(crate) fn pull(&self, at: &EntryAt<'_>) {
        let Some(q) = self.get(at.e.queue.load(Relaxed)) else {
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
        let head = self.get(queue)?.head.load(Relaxed);
        let oldest = self.core.entry(head);
        if oldest.is_none() && head != 0 {
            self.core.arena().poison();
        }
        oldest
    }

    /// The granules of a queue; bounded, so that arithmetic with a damaged count does not overflow.
    pub(crate) fn cost(&self, queue: u8) -> u64 {
        let queue = self.get(queue);
        queue.map_or(0, |q| q.cost.load(Relaxed).min(1 << 40))
    }

    /// The entries of a queue; at most as many as there can be.
    pub(crate) fn count(&self, queue: u8) -> u64 {
        let queue = self.get(queue);
        queue.map_or(0, |q| {
            q.count.load(Relaxed).min(u64::from(self.core.geometry.end))
        })
    }

    /// Updates the cost of an entry in its queue; one that is in none has no cost yet.
    pub(crate) fn set_cost(&self, at: &EntryAt<'_>, new: impl FnOnce() -> u32) {
        if let Some(q) = self.get(at.e.queue.load(Relaxed)) {
            let new = new();
            let old = at.e.cost.load(Relaxed);
            let cost = q.cost.load(Relaxed).wrapping_add(u64::from(new));
            q.cost.store(cost.saturating_sub(u64::from(old)), Relaxed);
            at.e.cost.store(new, Relaxed);
        }
    }

    /// Empties all queues, to be rebuilt.
    pub(crate) fn clear(&self) {
        for q in &self.core.header().queues {
            q.head.store(0, Relaxed);
            q.tail.store(0, Relaxed);
            q.count.store(0, Relaxed);
            q.cost.store(0, Relaxed);
        }
    }
}
