//! Repair after a keeper died at its work: everything that the arena lock guards is made anew from what is true at
//! every moment: the sizes in the chain of blocks, the chains of the index, the pins, and the links from entries to
//! bodies and from extent to extent. What is not reached from there is freed. A repair that is cut short is just begun anew.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::entry::{Block, EntryAt, Kind, REMOVED};
use super::inner::take_waiters;
use super::keeper::Keeper;
use super::layout::UNLINKED;
use super::lock;
use super::queue::{LIMBO, MAIN, SMALL};

/// A set of granules, in private memory.
pub(crate) struct Marks {
    first: u32,
    bits: Vec<u64>,
}

impl Marks {
    pub(crate) fn new(first: u32, end: u32) -> Marks {
        Marks {
            first,
            bits: vec![0; (end - first) as usize / 64 + 1],
        }
    }
    /// Adds one; false if it was there or is out of range.
    pub(crate) fn add(&mut self, at: u32) -> bool {
        let i = at.wrapping_sub(self.first) as usize;
        let Some(word) = self.bits.get_mut(i / 64) else {
            return false;
        };
        let new = *word >> (i % 64) & 1 == 0;
        *word |= 1 << (i % 64);
        new
    }
    pub(crate) fn has(&self, at: u32) -> bool {
        let i = at.wrapping_sub(self.first) as usize;
        self.bits
            .get(i / 64)
            .is_some_and(|w| w >> (i % 64) & 1 == 1)
    }
}

impl<'a> Keeper<'a> {
    fn marks(&self) -> Marks {
        Marks::new(self.inner.geometry.arena, self.inner.geometry.end)
    }

    /// Visits all blocks in order; `None` when they do not fill the arena.
    pub(crate) fn each_block(&self, mut visit: impl FnMut(u32, u32, Kind)) -> Option<()> {
        let mut at = self.inner.geometry.arena;
        while at < self.inner.geometry.end {
            let (size, kind) = self.arena().look(at)?;
            if kind == Kind::End {
                return None;
            }
            visit(at, size, kind);
            at += size;
        }
        (at == self.inner.geometry.end && self.arena().look(at)?.1 == Kind::End).then_some(())
    }

    /// Makes everything anew. `None` when a shard is held by a process that is stopped (tried again by the next
    /// keeper), or when the blocks make no sense, which poisons the region.
    pub(crate) fn repair(&self) -> Option<()> {
        let mut starts = self.marks();
        let whole = self.each_block(|at, _, _| {
            starts.add(at);
        });
        if whole.is_none() {
            self.arena().poison();
            return None;
        }
        let linked = self.repair_chains(&starts)?;
        let kept = self.repair_entries(&starts, &linked);
        self.rebuild_free(&kept)?;
        self.header().counts.repairs.fetch_add(1, Relaxed);
        self.header().arena.dirty.store(0, Release);
        Some(())
    }

    fn repair_chains(&self, starts: &Marks) -> Option<Marks> {
        let mut linked = self.marks();
        let geometry = self.inner.geometry;
        for shard in 0..geometry.shards {
            let _guard = lock::acquire(
                self.inner.shard(shard)?,
                self.member,
                self.inner.processes(),
            )?;
            for bucket in (shard..geometry.buckets).step_by(geometry.shards) {
                self.repair_chain(bucket, starts, &mut linked)?;
            }
        }
        Some(linked)
    }

    fn repair_chain(&self, bucket: usize, starts: &Marks, linked: &mut Marks) -> Option<()> {
        let mut link = self.inner.bucket(bucket)?;
        loop {
            let next = link.load(Acquire);
            if next == 0 {
                return Some(());
            }
            let entry = self.inner.entry(next).filter(|at| {
                starts.has(next)
                    && !linked.has(next)
                    && self.inner.bucket_of(at.e.hash.load(Relaxed)) == bucket
            });
            let Some(at) = entry else {
                link.store(0, Release);
                return Some(());
            };
            let removed = at.e.flags.load(Relaxed) & REMOVED != 0;
            if removed || !at.is_linked() || !self.has_its_body(&at, starts) {
                at.e.pins[0].fetch_or(UNLINKED, AcqRel);
                link.store(at.e.next.load(Relaxed), Release);
                continue;
            }
            at.e.pins[1].fetch_and(!UNLINKED, AcqRel);
            linked.add(next);
            link = &at.e.next;
        }
    }

    fn has_its_body(&self, at: &EntryAt<'_>, starts: &Marks) -> bool {
        !at.is_object() || (starts.has(at.body()) && self.inner.body(at.body()).is_some())
    }

    /// Puts entries into their queues, counts the references of bodies; returns the blocks that stay.
    pub(crate) fn repair_entries(&self, starts: &Marks, linked: &Marks) -> Marks {
        let mut entries = Vec::new();
        let _ = self.each_block(|at, _, kind| {
            if kind == Kind::Entry {
                entries.extend(self.inner.entry(at));
            } else if let Some((body, ..)) = self.inner.body(at) {
                body.refs.store(0, Relaxed);
            }
        });
        // Ids rise with time: the queues come out in the order of age.
        entries.sort_by_cached_key(|at| at.e.id.load(Relaxed));
        self.reset_counts();
        let mut kept = self.marks();
        for at in &entries {
            let is_linked = linked.has(at.block);
            if !is_linked {
                at.e.pins[0].fetch_or(UNLINKED, AcqRel);
                at.e.pins[1].fetch_or(UNLINKED, AcqRel);
            }
            if is_linked || self.inner.live_pins(at.e) != [0, 0] {
                self.keep(at, is_linked, starts, &mut kept);
            } else {
                self.inner.ring(self.member, take_waiters(&at.e.waiters));
            }
        }
        kept
    }

    fn reset_counts(&self) {
        for q in &self.header().queues {
            q.head.store(0, Relaxed);
            q.tail.store(0, Relaxed);
            q.count.store(0, Relaxed);
            q.cost.store(0, Relaxed);
        }
        let counts = &self.header().counts;
        for count in [&counts.objects, &counts.markers, &counts.payload] {
            count.store(0, Relaxed);
        }
        self.header().soonest.store(0, Relaxed);
    }

    fn keep(&self, at: &EntryAt<'_>, is_linked: bool, starts: &Marks, kept: &mut Marks) {
        kept.add(at.block);
        let queue = match (is_linked, at.e.queue.load(Relaxed)) {
            (false, _) => LIMBO,
            (true, MAIN) => MAIN,
            (true, _) => SMALL,
        };
        self.push(queue, at);
        self.count_payload(at.head_len() as i64);
        let counts = &self.header().counts;
        match (is_linked, at.is_object()) {
            (true, true) => counts.objects.fetch_add(1, Relaxed),
            (true, false) => counts.markers.fetch_add(1, Relaxed),
            (false, _) => 0,
        };
        self.keep_body(at.body(), starts, kept);
        self.weigh(at);
    }

    fn keep_body(&self, block: u32, starts: &Marks, kept: &mut Marks) {
        let Some((body, ..)) = self.inner.body(block) else {
            return;
        };
        body.refs.fetch_add(1, Relaxed);
        if !kept.add(block) {
            return;
        }
        if body.era.load(Relaxed) != 0 {
            self.count_payload(body.len.load(Relaxed) as i64);
        }
        let mut link = &body.next;
        loop {
            let next = link.load(Acquire);
            match self.inner.extent(next).filter(|_| starts.has(next)) {
                Some((extent, ..)) if kept.add(next) => link = &extent.next,
                _ => {
                    // Nothing, or not an extent of ours: the body ends here.
                    link.store(0, Release);
                    return;
                }
            }
        }
    }

    /// Frees all blocks that do not stay, and makes the free lists anew.
    pub(crate) fn rebuild_free(&self, kept: &Marks) -> Option<()> {
        let arena = self.arena();
        arena.clear_lists();
        let (mut at, end) = (self.inner.geometry.arena, self.inner.geometry.end);
        let (mut before, mut used) = (0, 0);
        while at < end {
            let (mut size, _) = arena.look(at)?;
            let stays = kept.has(at);
            while !stays && at + size < end && !kept.has(at + size) {
                size += arena.look(at + size)?.0;
            }
            let block = arena.block(at)?;
            block.prev.store(before, Relaxed);
            if stays {
                used += u64::from(size);
            } else {
                block.word.store(Block::pack(size, Kind::Free), Release);
                arena.insert(at, size)?;
            }
            before = size;
            at += size;
        }
        arena.block(end)?.prev.store(before, Relaxed);
        self.header().arena.used.store(used, Relaxed);
        Some(())
    }
}
