//! The sweep: removes entries that have reached their `dead_at`, some buckets at a time.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::Millis;

/// Sweeps while the arena lock is held.
pub(crate) struct Sweep<'g, 'a> {
    guard: &'g mut ArenaGuard<'a>,
}

impl<'g, 'a> Sweep<'g, 'a> {
    pub(crate) fn with(guard: &'g mut ArenaGuard<'a>) -> Sweep<'g, 'a> {
        Sweep { guard }
    }

    /// Removes the dead entries in the next `buckets` buckets; returns the number removed.
    pub(crate) fn some(&mut self, now: Millis, buckets: u32) -> u32 {
        let mut dropped = 0;
        for _ in 0..buckets {
            dropped += self.next(now);
        }
        self.guard
            .header()
            .counts
            .expired
            .fetch_add(u64::from(dropped), Relaxed);
        dropped
    }

    fn next(&mut self, now: Millis) -> u32 {
        let header = self.guard.header();
        let cursor = header.sweep_cursor.load(Relaxed) as usize;
        if cursor >= self.guard.core.geometry.buckets {
            header
                .soonest
                .store(header.soonest_seen.swap(u64::MAX, Relaxed), Relaxed);
            header.sweep_cursor.store(0, Relaxed);
            return 0;
        }
        header.sweep_cursor.store(cursor as u64 + 1, Relaxed);
        if self
            .guard
            .core
            .bucket(cursor)
            .is_none_or(|b| b.load(Relaxed) == 0)
        {
            return 0;
        }
        self.bucket(cursor, now)
    }

    fn may_be_swept(&self, at: &EntryAt<'_>, now: Millis) -> bool {
        // A claimed marker stays, whatever the claim's deadline: its holder may still commit.
        let leased_until = if at.is_object() { now } else { 0 };
        self.guard.core.is_dead(at, now) && !self.guard.core.is_leased(at.e, leased_until)
    }

    fn bucket(&mut self, bucket: usize, now: Millis) -> u32 {
        let Some(_shard) = self
            .guard
            .core
            .lock_shard_soon(self.guard.local, bucket as u64)
        else {
            self.guard.header().soonest_seen.store(0, Relaxed);
            return 0;
        };
        let mut dead = Vec::new();
        let mut soonest = u64::MAX;
        self.guard.core.walk::<()>(bucket, |at| {
            if self.may_be_swept(&at, now) {
                dead.push(at);
            } else {
                soonest = soonest.min(at.e.dead_at.load(Relaxed));
            }
            ControlFlow::Continue(())
        });
        self.guard.header().soonest_seen.fetch_min(soonest, Relaxed);
        dead.iter().filter(|at| self.guard.unlink(at)).count() as u32
    }
}
