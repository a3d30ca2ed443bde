//! Chooses what to evict: dead entries first, then by S3-FIFO (Yang et al., SOSP 2023), weighted by bytes.
//!
//! A new entry enters the small queue, which holds about a tenth of the bytes. An entry that is requested again before
//! it reaches the queue's end moves to the main queue; any other is evicted and leaves a fingerprint (`ghosts.rs`). An
//! entry that returns while its fingerprint is remembered enters the main queue at once. At the end of the main queue,
//! an entry gets another round for each request. A hit only increments a small counter in the entry. A large entry has
//! to be requested more often to be kept, and so has a derived one (an encoded form), which can be made anew.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::ghosts::Ghosts;
use crate::store::index::queue::{MAIN, Queues, SMALL};
use crate::store::index::sweep::Sweep;
use crate::store::memory::block::EntryAt;
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::Millis;

/// The maximum of the hit counter, as in the S3-FIFO paper.
pub(crate) const MOST_HITS: u8 = 3;
/// The small queue's share of the bytes: one in this many.
const SMALL_SHARE: u64 = 10;
/// Entries examined per eviction before hits no longer spare an entry; bounds the time under the arena lock.
const SPARED: usize = 512;
/// Entries examined per eviction before it fails; bounds the time if all of them are pinned.
const LOOKED_AT: usize = 16 * 1024;
/// An entry larger than this fraction of the arena counts as large.
const LARGE_PART: u64 = 128;
/// Buckets swept per eviction if something may be dead.
const SWEPT: u32 = 64;

/// Counts a hit.
#[inline]
pub(crate) fn count_hit(at: &EntryAt<'_>) {
    let freq = at.e.freq.load(Relaxed);
    if freq < MOST_HITS {
        at.e.freq.store(freq + 1, Relaxed);
    }
}

/// Makes room while the arena lock is held.
pub(crate) struct Eviction<'g, 'a> {
    guard: &'g mut ArenaGuard<'a>,
}

impl<'g, 'a> Eviction<'g, 'a> {
    pub(crate) fn with(guard: &'g mut ArenaGuard<'a>) -> Eviction<'g, 'a> {
        Eviction { guard }
    }

    fn queues(&self) -> Queues<'a> {
        self.guard.queues()
    }

    /// Frees something. Returns false if nothing can be freed.
    pub(crate) fn make_room(&mut self) -> bool {
        let now = self.guard.core.clock();
        if self.guard.header().soonest.load(Relaxed) <= now && self.sweep(now) > 0 {
            return true;
        }
        let most = 8 * (self.queues().count(SMALL) + self.queues().count(MAIN)) as usize;
        for looked in 0..LOOKED_AT.min(most) {
            let queue = self.next_queue();
            let Some(at) = self.queues().oldest(queue) else {
                return false;
            };
            if self.evict_or_requeue(queue, &at, now, looked >= SPARED) {
                return true;
            }
        }
        false
    }

    fn sweep(&mut self, now: Millis) -> u32 {
        Sweep::with(self.guard).some(now, SWEPT)
    }

    fn next_queue(&self) -> u8 {
        let (small, main) = (self.queues().cost(SMALL), self.queues().cost(MAIN));
        let over = small * SMALL_SHARE > small + main;
        if self.queues().count(MAIN) == 0 || (over && self.queues().count(SMALL) > 0) {
            SMALL
        } else {
            MAIN
        }
    }

    fn evict_or_requeue(&mut self, queue: u8, at: &EntryAt<'a>, now: Millis, hard: bool) -> bool {
        let freq = at.e.freq.load(Relaxed);
        if !hard && !self.guard.core.is_dead(at, now) && freq >= self.hits_needed(queue, at) {
            let left = if queue == SMALL { 0 } else { freq - 1 };
            at.e.freq.store(left, Relaxed);
            self.requeue(at);
            return false;
        }
        self.try_evict(queue, at, now) || {
            self.requeue(at);
            false
        }
    }

    fn hits_needed(&self, queue: u8, at: &EntryAt<'_>) -> u8 {
        let arena = u64::from(self.guard.core.geometry.end - self.guard.core.geometry.arena);
        let large = u64::from(at.e.cost.load(Relaxed)) > arena / LARGE_PART;
        let derived = u8::from(at.is_derived());
        if queue == SMALL && large {
            2 + derived
        } else {
            1 + derived
        }
    }

    fn requeue(&mut self, at: &EntryAt<'_>) {
        self.queues().pull(at);
        self.queues().push(MAIN, at);
    }

    fn try_evict(&mut self, queue: u8, at: &EntryAt<'a>, now: Millis) -> bool {
        let hash = at.e.hash.load(Relaxed);
        let Some(_shard) = self.guard.core.lock_shard_soon(self.guard.local, hash) else {
            return false;
        };
        if self.guard.core.live_pins(at.e) != [0, 0] || self.guard.core.is_leased(at.e, now) {
            return false;
        }
        let counts = &self.guard.header().counts;
        counts.evictions.fetch_add(1, Relaxed);
        counts
            .evicted_bytes
            .fetch_add(u64::from(at.e.cost.load(Relaxed)) * GRANULE as u64, Relaxed);
        if queue == SMALL && at.is_object() && !at.is_derived() {
            Ghosts::of(self.guard.core).remember(hash);
        }
        self.guard.unlink(at)
    }
}
