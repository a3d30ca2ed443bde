//! Repairs a region after a process died while it held the arena lock. Everything that the arena lock guards is rebuilt
//! from what is consistent at every moment: the sizes in the chain of blocks, the chains of the index, the pins, and
//! the links from entries to bodies and from extent to extent. What can't be reached from these is freed. A repair that
//! is interrupted is simply started over.
//!
//! A repair proceeds in turns, each under the arena lock; `maintenance.rs` decides which process does it and when. From
//! the first turn to the last, no other process gets an arena guard, so what the arena lock guards is changed by the
//! repair only. What other processes do between and during the turns needs no arena lock, and invalidates nothing that
//! a turn has found:
//!
//! | stage | what it finds and writes | what others may do meanwhile |
//! |---|---|---|
//! | blocks | where blocks begin | no process moves or makes a block |
//! | chains | which entries are linked; unlinks those that are incomplete or were being unlinked | lookups and leases take the shard's lock, as this stage does for each chain. No process links or unlinks, so what was found linked stays linked. A purge may flag a linked entry, which then stays, as without a repair, until a sweep |
//! | entries | which of the other entries are pinned, and what belongs to the entries that stay | no lookup finds an unlinked entry, so none is pinned anew. A process that unpins one finds it unlinked, and keeps its bit until the arena lock is available again (`index/pin.rs`), so what was found pinned stays pinned; if that process dies, reclaiming frees the entry later. Before the bits say that an entry is unlinked, it may be unpinned like a linked one: that happens either before the pins are examined, or sees the bits. Dead processes hold nothing, whatever their bits say; a process that takes the slot of a dead one has no handle before it has reclaimed the slot, which needs the arena lock |
//! | queues | puts the entries in order | no other process reads a queue |
//! | free | makes one block of adjacent blocks that don't stay | no process reaches these: no chain leads to them, and no pin holds them |
//!
//! Bodies: a writer fills space that it reserved before, and publishes and ends the body in words that the repair only
//! reads (`len`, `phase`) or does not need; it gets no more space meanwhile. Renewed heads share a body: its references
//! are counted anew from zero, and no other process reads the count. A repair does not touch the leases, waiters,
//! attributes and times of entries.
//!
//! If the repairing process dies, within a turn or between two, the next one finds blocks, chains, pins and links
//! consistent, as each of its writes leaves them so, and starts over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::error::Busy;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::Core;
use crate::store::index::queue::{LIMBO, MAIN, SMALL};
use crate::store::memory::bitset::{BitSet, shorten};
use crate::store::memory::block::{Block, Body, Entry, EntryAt, Kind, REMOVED};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::UNLINKED;
use crate::store::process::budget::TimeBudget;
use crate::store::process::wakeups::take_waiters;

/// The number of items per step: several are prefetched together to hide the latency of memory.
const TOGETHER: usize = if cfg!(feature = "crash-points") {
    4
} else {
    32
};
/// The size of the smallest entry in granules.
const ENTRY_GRANULES: usize = size_of::<Entry>() / GRANULE;
/// The number of entries that are sorted together.
const RUN: usize = 1024;

/// A repair in progress, with what it has found so far, in private memory.
pub(crate) struct Repair {
    /// The number of earlier repairs.
    number: u64,
    /// The beginnings of blocks.
    starts: BitSet,
    /// The linked entries; later also the pinned ones, and the bodies of both.
    kept: BitSet,
    entries: Vec<u32>,
    /// The ids and blocks of the entries that stay, in runs sorted by id.
    aged: Vec<(u64, u32)>,
    /// How many of these are in runs.
    sorted: usize,
    /// For each run: its least id, the position of that id, and the end of the run. Ids increase with time, so the
    /// queues are rebuilt in the order of age.
    runs: BinaryHeap<Reverse<(u64, usize, usize)>>,
    objects: u64,
    markers: u64,
    payload: u64,
    stage: Stage,
}

enum Stage {
    /// The next block.
    Blocks(u32),
    /// The next bucket.
    Chains(usize),
    /// The next one of the entries.
    Entries(usize),
    Queues,
    Free(Holes),
    GiveBack,
    Done,
}

/// How far the free blocks have been rebuilt.
#[derive(Default)]
struct Holes {
    at: u32,
    /// The beginning of the hole that lies before `at`.
    hole: Option<u32>,
    /// The size of the preceding block in granules.
    before: u32,
    used: u64,
}

impl Repair {
    pub(crate) fn new(guard: &ArenaGuard<'_>) -> Repair {
        let geometry = guard.core.geometry;
        let bits = || BitSet::new(geometry.arena, geometry.end);
        // An estimate; exceeding it would move the list, which takes some milliseconds.
        let entries = [SMALL, MAIN, LIMBO]
            .map(|q| guard.queues().count(q))
            .iter()
            .sum::<u64>();
        let most = (geometry.end - geometry.arena) as usize / ENTRY_GRANULES;
        let entries = Vec::with_capacity((entries as usize + RUN).min(most));
        Repair {
            stage: Stage::Blocks(geometry.arena),
            ..Repair::of_linked(guard, bits(), bits(), entries)
        }
    }

    /// A repair that knows all blocks, all entries, and which of these are linked.
    pub(crate) fn of_linked(
        guard: &ArenaGuard<'_>,
        starts: BitSet,
        linked: BitSet,
        entries: Vec<u32>,
    ) -> Repair {
        Repair {
            number: guard.header().counts.repairs.load(Relaxed),
            starts,
            kept: linked,
            entries,
            aged: Vec::new(),
            sorted: 0,
            runs: BinaryHeap::new(),
            objects: 0,
            markers: 0,
            payload: 0,
            stage: Stage::Entries(0),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Does one turn; returns true when all is done. [`Busy`] if a stopped process holds a shard (what was found so far
    /// remains valid), or if the blocks are inconsistent, which poisons the region.
    pub(crate) fn go_on(
        &mut self,
        guard: &mut ArenaGuard<'_>,
        budget: &mut TimeBudget,
    ) -> Result<bool, Busy> {
        loop {
            match &mut self.stage {
                Stage::Blocks(_) => self.find_blocks(guard)?,
                Stage::Chains(_) => self.repair_chains(guard, budget)?,
                Stage::Entries(_) => self.find_kept(guard),
                Stage::Queues => self.put_in_order(guard),
                Stage::Free(_) => self.free_rest(guard).ok_or(Busy)?,
                Stage::GiveBack => self.give_back(),
                Stage::Done => return Ok(true),
            }
            if !budget.goes_on() {
                return Ok(matches!(self.stage, Stage::Done));
            }
        }
    }

    fn find_blocks(&mut self, guard: &ArenaGuard<'_>) -> Result<(), Busy> {
        let Stage::Blocks(at) = &mut self.stage else {
            return Ok(());
        };
        for _ in 0..TOGETHER {
            match guard.arena().look(*at) {
                Some((_, Kind::End)) if *at == guard.core.geometry.end => {
                    self.stage = Stage::Chains(0);
                    return Ok(());
                }
                Some((size, kind)) if kind != Kind::End => {
                    self.starts.add(*at);
                    if kind == Kind::Entry {
                        self.entries.push(*at);
                    }
                    *at += size;
                }
                _ => {
                    guard.arena().poison();
                    return Err(Busy);
                }
            }
        }
        Ok(())
    }

    fn repair_chains(
        &mut self,
        guard: &ArenaGuard<'_>,
        budget: &mut TimeBudget,
    ) -> Result<(), Busy> {
        let Stage::Chains(next) = self.stage else {
            return Ok(());
        };
        let core = guard.core;
        let mut found = [(0, 0); TOGETHER];
        let (found, after) = taken_buckets(core, next, &mut found);
        found.iter().for_each(|(_, first)| {
            self.starts.prefetch(*first);
            self.kept.prefetch(*first);
        });
        found.iter().for_each(|(_, first)| {
            let body = core.entry(*first).map_or(0, |at| at.body());
            core.prefetch_body(body);
        });
        for (bucket, _) in found {
            self.stage = Stage::Chains(*bucket);
            let shard = guard.lock_shard_within(*bucket as u64, budget);
            let _shard = shard.ok_or(Busy)?;
            self.repair_chain(guard, *bucket);
        }
        self.stage = match after == core.geometry.buckets {
            true => Stage::Entries(0),
            false => Stage::Chains(after),
        };
        Ok(())
    }

    fn repair_chain(&mut self, guard: &ArenaGuard<'_>, bucket: usize) {
        let core = guard.core;
        let Some(mut link) = core.bucket(bucket) else {
            return;
        };
        loop {
            let next = link.load(Acquire);
            if next == 0 {
                return;
            }
            let entry = core.entry(next).filter(|at| {
                self.starts.has(next)
                    && !self.kept.has(next)
                    && core.bucket_of(at.e.hash.load(Relaxed)) == bucket
            });
            let Some(at) = entry else {
                link.store(0, Release);
                return;
            };
            let removed = at.e.flags.load(Relaxed) & REMOVED != 0;
            if removed || !at.is_linked() || !self.has_its_body(core, &at) {
                at.e.pins[0].fetch_or(UNLINKED, AcqRel);
                link.store(at.e.next.load(Relaxed), Release);
                continue;
            }
            at.e.pins[1].fetch_and(!UNLINKED, AcqRel);
            self.kept.add(next);
            link = &at.e.next;
        }
    }

    fn has_its_body(&self, core: &Core, at: &EntryAt<'_>) -> bool {
        !at.is_object() || (self.starts.has(at.body()) && core.body(at.body()).is_some())
    }

    /// Finds the entries that stay, with their bodies.
    fn find_kept(&mut self, guard: &mut ArenaGuard<'_>) {
        let Stage::Entries(next) = self.stage else {
            return;
        };
        let core = guard.core;
        if next == 0 {
            self.aged.reserve_exact(self.entries.len());
        }
        let stop = (next + TOGETHER).min(self.entries.len());
        let ahead = self.entries.iter().skip(stop).take(TOGETHER);
        ahead.for_each(|block| core.prefetch_entry(*block));
        for i in next..stop {
            if let Some(at) = core.entry(self.entries[i]) {
                self.classify(guard, &at);
            }
        }
        let whole_run = self.aged.len() - self.sorted >= RUN;
        let last = stop == self.entries.len();
        if whole_run || last {
            self.end_run();
        }
        self.stage = Stage::Entries(stop);
        if last {
            guard.queues().clear();
            self.stage = Stage::Queues;
        }
    }

    fn classify(&mut self, guard: &mut ArenaGuard<'_>, at: &EntryAt<'_>) {
        let is_linked = self.kept.has(at.block);
        if !is_linked {
            at.e.pins[0].fetch_or(UNLINKED, AcqRel);
            at.e.pins[1].fetch_or(UNLINKED, AcqRel);
            if guard.core.live_pins(at.e) == [0, 0] {
                guard.wakeups.add(take_waiters(&at.e.waiters));
                return;
            }
            self.kept.add(at.block);
        }
        self.objects += u64::from(is_linked && at.is_object());
        self.markers += u64::from(is_linked && !at.is_object());
        self.payload += at.head_len();
        if let Some((body, ..)) = guard.core.body(at.body()) {
            self.keep_body(guard.core, at.body(), body);
        }
        at.e.cost.store(guard.cost(at), Relaxed);
        self.aged.push((at.e.id.load(Relaxed), at.block));
    }

    fn keep_body(&mut self, core: &Core, block: u32, body: &Body) {
        if !self.kept.add(block) {
            body.refs.fetch_add(1, Relaxed);
            return;
        }
        body.refs.store(1, Relaxed);
        if body.era.load(Relaxed) != 0 {
            self.payload += body.len.load(Relaxed);
        }
        let mut link = &body.next;
        loop {
            let next = link.load(Acquire);
            match core.extent(next).filter(|_| self.starts.has(next)) {
                Some((extent, ..)) if self.kept.add(next) => link = &extent.next,
                _ => {
                    // No extent of this body: the body ends here.
                    if next != 0 {
                        link.store(0, Release);
                    }
                    return;
                }
            }
        }
    }

    fn end_run(&mut self) {
        let (from, end) = (self.sorted, self.aged.len());
        self.aged[from..].sort_unstable();
        if let Some((id, _)) = self.aged.get(from) {
            self.runs.push(Reverse((*id, from, end)));
        }
        self.sorted = end;
    }

    /// The block of the oldest entry that has not been returned yet.
    fn next_oldest(&mut self) -> Option<u32> {
        let Reverse((_, at, end)) = self.runs.pop()?;
        let (_, block) = self.aged[at];
        if at + 1 < end {
            self.runs.push(Reverse((self.aged[at + 1].0, at + 1, end)));
        }
        Some(block)
    }

    /// Adds entries to their queues, oldest first.
    fn put_in_order(&mut self, guard: &ArenaGuard<'_>) {
        let core = guard.core;
        let mut next = [0; TOGETHER];
        let mut count = 0;
        while let Some(block) = (count < TOGETHER).then(|| self.next_oldest()).flatten() {
            core.prefetch_entry(block);
            next[count] = block;
            count += 1;
        }
        for at in next[..count].iter().filter_map(|block| core.entry(*block)) {
            let queue = match (at.is_linked(), at.e.queue.load(Relaxed)) {
                (false, _) => LIMBO,
                (true, MAIN) => MAIN,
                (true, _) => SMALL,
            };
            guard.queues().push(queue, &at);
        }
        if self.runs.is_empty() {
            guard.arena().clear_lists();
            self.stage = Stage::Free(Holes {
                at: core.geometry.arena,
                ..Holes::default()
            });
        }
    }

    /// Frees the blocks that don't stay, and rebuilds the free lists.
    fn free_rest(&mut self, guard: &ArenaGuard<'_>) -> Option<()> {
        let Stage::Free(holes) = &mut self.stage else {
            return Some(());
        };
        let end = guard.core.geometry.end;
        for _ in 0..TOGETHER {
            if holes.at == end {
                holes.close(guard)?;
                holes.follow(guard)?;
                self.settle(guard);
                return Some(());
            }
            // Preferably not from its header, so that the header need not have been loaded before going on.
            let next = match self.starts.next(holes.at + 1) {
                Some(next) => next,
                None => holes.at + guard.arena().look(holes.at)?.0,
            };
            if self.kept.has(holes.at) {
                holes.close(guard)?;
                holes.follow(guard)?;
                holes.before = next - holes.at;
                holes.used += u64::from(holes.before);
            } else {
                holes.hole.get_or_insert(holes.at);
            }
            holes.at = next;
        }
        Some(())
    }

    /// Rebuilds the counters, last of all.
    fn settle(&mut self, guard: &ArenaGuard<'_>) {
        let Stage::Free(holes) = &self.stage else {
            return;
        };
        let header = guard.header();
        header.arena.used.store(holes.used, Relaxed);
        header.counts.objects.store(self.objects, Relaxed);
        header.counts.markers.store(self.markers, Relaxed);
        header.counts.payload.store(self.payload, Relaxed);
        header.soonest.store(0, Relaxed);
        let buckets = guard.core.geometry.buckets;
        guard.core.processes().clean_limbo_anew(buckets);
        self.stage = Stage::GiveBack;
    }

    /// Releases private memory in parts, since releasing all of it takes the system some milliseconds.
    fn give_back(&mut self) {
        let left = shorten(&mut self.aged)
            || shorten(&mut self.entries)
            || self.starts.shorten()
            || self.kept.shorten();
        if !left {
            self.stage = Stage::Done;
        }
    }
}

impl Holes {
    /// Makes the hole before `at` one free block.
    fn close(&mut self, guard: &ArenaGuard<'_>) -> Option<()> {
        let Some(hole) = self.hole.take() else {
            return Some(());
        };
        let (arena, size) = (guard.arena(), self.at - hole);
        let block = arena.block(hole)?;
        block.prev.store(self.before, Relaxed);
        block.word.store(Block::pack(size, Kind::Free), Release);
        self.before = size;
        arena.insert(hole, size)
    }

    /// Sets the size of the preceding block in the block at `at`.
    fn follow(&self, guard: &ArenaGuard<'_>) -> Option<()> {
        let prev = &guard.arena().block(self.at)?.prev;
        // Most are right already, and a page that is not written to is not written to the disk.
        if prev.load(Relaxed) != self.before {
            prev.store(self.before, Relaxed);
        }
        Some(())
    }
}

/// The next non-empty buckets from a bucket on, with their first entries (prefetched), and the bucket to continue from.
fn taken_buckets<'f>(
    core: &Core,
    from: usize,
    found: &'f mut [(usize, u32); TOGETHER],
) -> (&'f [(usize, u32)], usize) {
    let (mut count, mut after) = (0, from);
    // Limits the number of empty buckets per step too.
    for bucket in (from..core.geometry.buckets).take(16 * TOGETHER) {
        after = bucket + 1;
        let first = core.bucket(bucket).map_or(0, |b| b.load(Acquire));
        if first != 0 {
            core.prefetch_entry(first);
            found[count] = (bucket, first);
            count += 1;
            if count == TOGETHER {
                break;
            }
        }
    }
    (&found[..count], after)
}
