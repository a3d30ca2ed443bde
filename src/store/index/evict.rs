//! Who goes when there is no room: the dead first, then S3-FIFO (Yang et al., SOSP 2023) by bytes.
//!
//! New entries go to the small queue, which gets about a tenth of the bytes; those asked for again before they reach
//! its old end go on to the main queue, the others leave a fingerprint and go. What comes back while its fingerprint
//! is remembered goes to the main queue at once. The main queue gives an entry one more round for each time it was asked for.
//! A hit only raises a small counter in the entry. A large entry has to be asked for more often to be kept.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::queue::{MAIN, SMALL};
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::Millis;

/// Hits that are counted; as in the S3-FIFO paper.
pub(crate) const MOST_HITS: u8 = 3;
/// The small queue's share: one in this many.
const SMALL_SHARE: u64 = 10;
/// Entries looked at for one eviction before hits no longer save one: bounds the time under the arena lock.
const SPARED: usize = 512;
/// Entries looked at for one eviction before it fails: bounds the time when all are pinned.
const LOOKED_AT: usize = 16 * 1024;
/// An entry above this part of the arena is large.
const LARGE_PART: u64 = 128;
/// Buckets swept for one eviction when something may be dead.
const SWEPT: u32 = 64;
/// Fingerprints are remembered for this many eighths of the number of entries.
const MEMORY: u16 = 8;

impl<'a> ArenaGuard<'a> {
    /// Frees something. False when nothing can be freed.
    pub(crate) fn evict(&mut self) -> bool {
        let now = self.core.clock();
        if self.header().soonest.load(Relaxed) <= now && self.sweep_some(now, SWEPT) > 0 {
            return true;
        }
        let most = 8 * (self.queue_count(SMALL) + self.queue_count(MAIN)) as usize;
        for looked in 0..LOOKED_AT.min(most) {
            let queue = self.next_queue();
            let Some(at) = self.oldest(queue) else {
                return false;
            };
            if self.evict_or_requeue(queue, &at, now, looked >= SPARED) {
                return true;
            }
        }
        false
    }

    fn next_queue(&self) -> u8 {
        let (small, main) = (self.queue_cost(SMALL), self.queue_cost(MAIN));
        let over = small * SMALL_SHARE > small + main;
        if self.queue_count(MAIN) == 0 || (over && self.queue_count(SMALL) > 0) {
            SMALL
        } else {
            MAIN
        }
    }

    fn evict_or_requeue(&mut self, queue: u8, at: &EntryAt<'a>, now: Millis, hard: bool) -> bool {
        let freq = at.e.freq.load(Relaxed);
        if !hard && !self.core.is_dead(at, now) && freq >= self.hits_needed(queue, at) {
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
        let arena = u64::from(self.core.geometry.end - self.core.geometry.arena);
        let large = u64::from(at.e.cost.load(Relaxed)) > arena / LARGE_PART;
        if queue == SMALL && large { 2 } else { 1 }
    }

    fn requeue(&mut self, at: &EntryAt<'_>) {
        self.pull(at);
        self.push(MAIN, at);
    }

    fn try_evict(&mut self, queue: u8, at: &EntryAt<'a>, now: Millis) -> bool {
        let hash = at.e.hash.load(Relaxed);
        let Some(_shard) = self.core.lock_shard_soon(self.member, hash) else {
            return false;
        };
        if self.core.live_pins(at.e) != [0, 0] || self.core.is_leased(at.e, now) {
            return false;
        }
        let counts = &self.header().counts;
        counts.evictions.fetch_add(1, Relaxed);
        counts
            .evicted_bytes
            .fetch_add(u64::from(at.e.cost.load(Relaxed)) * 16, Relaxed);
        if queue == SMALL && at.is_object() {
            self.remember(hash);
        }
        self.unlink(at)
    }

    fn ghost_time(&self) -> u16 {
        let entries = self.queue_count(SMALL) + self.queue_count(MAIN);
        (self.header().counts.evictions.load(Relaxed) / (entries / 8).max(1)) as u16
    }

    fn remember(&self, hash: u64) {
        if let Some(ghost) = self.core.ghost(hash) {
            ghost.store(
                fingerprint(hash) << 16 | u32::from(self.ghost_time()),
                Relaxed,
            );
        }
    }

    /// Whether an object of that hash was evicted from the small queue not long ago.
    pub(crate) fn remembers(&self, hash: u64) -> bool {
        let Some(ghost) = self.core.ghost(hash).map(|g| g.load(Relaxed)) else {
            return false;
        };
        let age = self.ghost_time().wrapping_sub(ghost as u16);
        ghost >> 16 == fingerprint(hash) && age <= MEMORY
    }

    /// Drops the dead among the next `buckets` buckets; returns how many were dropped.
    pub(crate) fn sweep_some(&mut self, now: Millis, buckets: u32) -> u32 {
        let mut dropped = 0;
        for _ in 0..buckets {
            dropped += self.sweep_next(now);
        }
        self.header()
            .counts
            .expired
            .fetch_add(u64::from(dropped), Relaxed);
        dropped
    }

    fn sweep_next(&mut self, now: Millis) -> u32 {
        let header = self.header();
        let cursor = header.sweep_cursor.load(Relaxed) as usize;
        if cursor >= self.core.geometry.buckets {
            header
                .soonest
                .store(header.soonest_seen.swap(u64::MAX, Relaxed), Relaxed);
            header.sweep_cursor.store(0, Relaxed);
            return 0;
        }
        header.sweep_cursor.store(cursor as u64 + 1, Relaxed);
        if self
            .core
            .bucket(cursor)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return 0;
        }
        self.sweep_bucket(cursor, now)
    }

    fn may_be_swept(&self, at: &EntryAt<'_>, now: Millis) -> bool {
        // A marker stays while there is a claim on it, whatever its deadline: its holder may still commit.
        let leased_until = if at.is_object() { now } else { 0 };
        self.core.is_dead(at, now) && !self.core.is_leased(at.e, leased_until)
    }

    fn sweep_bucket(&mut self, bucket: usize, now: Millis) -> u32 {
        let Some(_shard) = self.core.lock_shard_soon(self.member, bucket as u64) else {
            self.header().soonest_seen.store(0, Relaxed);
            return 0;
        };
        let mut dead = Vec::new();
        let mut soonest = u64::MAX;
        self.core.walk::<()>(bucket, |at| {
            if self.may_be_swept(&at, now) {
                dead.push(at);
            } else {
                soonest = soonest.min(at.e.dead_at.load(Relaxed));
            }
            ControlFlow::Continue(())
        });
        self.header().soonest_seen.fetch_min(soonest, Relaxed);
        dead.iter().filter(|at| self.unlink(at)).count() as u32
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash >> 48) as u32 | 1
}
