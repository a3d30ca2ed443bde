//! Takes over a region from a file that is not in use, and seals it at the end.
//!
//! Nothing is trusted: the blocks must fill the arena, an object must have a matching checksum and a complete body, and
//! everything else is rebuilt. Objects that don't pass are dropped. The bytes of a body are verified at its first
//! lookup (`index/checksum.rs`).
//!
//! | the last process ended | the attributes of objects | what is kept |
//! |---|---|---|
//! | cleanly, and sealed the region | are covered by the checksum | all objects |
//! | by a signal; the machine still runs | are as they were last written | all objects that were current |
//! | with the machine | are unknown | nothing: the file was rejected before this |

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::checksum::{Checksums, Coverage};
use crate::store::index::core::Core;
use crate::store::index::evict::MOST_HITS;
use crate::store::index::labels::note_labels;
use crate::store::memory::bitset::BitSet;
use crate::store::memory::block::{COMPLETE, EntryAt, Kind};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::UNLINKED;
use crate::store::process::budget::TimeBudget;
use crate::store::upkeep::membership::Shared;
use crate::store::upkeep::repair::Repair;

/// What a recovery kept and dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
}

/// The bodies examined so far.
struct Bodies {
    starts: BitSet,
    whole: BitSet,
    broken: BitSet,
    /// The extents of complete bodies: none may belong to two bodies.
    extents: BitSet,
}

/// Takes over the intact objects of a region that no process is in; `None` if its blocks are inconsistent.
pub(crate) fn recover(shared: &Shared, sealed: Coverage) -> Option<Recovered> {
    let core = &shared.core;
    let header = core.header();
    header.arena.lock.store(0, Relaxed);
    header.arena.dirty.store(0, Relaxed);
    header.arena.leader.store(0, Relaxed);
    (0..core.geometry.shards)
        .filter_map(|s| core.shard(s))
        .for_each(|lock| lock.store(0, Relaxed));
    core.processes().clear();
    shared.join(None).ok()?;
    let recovered = {
        let mut guard = shared.arena_guard(shared.member()?)?;
        Recovery { core, sealed }.run(&mut guard)
    };
    shared.leave();
    recovered
}

/// The recovery of a region.
#[derive(Clone, Copy)]
struct Recovery<'a> {
    core: &'a Core,
    sealed: Coverage,
}

impl Recovery<'_> {
    fn run(self, guard: &mut ArenaGuard<'_>) -> Option<Recovered> {
        let geometry = self.core.geometry;
        let bits = || BitSet::new(geometry.arena, geometry.end);
        let mut bodies = Bodies {
            starts: bits(),
            whole: bits(),
            broken: bits(),
            extents: bits(),
        };
        let mut entries = Vec::new();
        self.core.arena().each_block(|at, _, kind| {
            bodies.starts.add(at);
            if kind == Kind::Entry {
                entries.extend(self.core.entry(at).map(|e| (e.e.id.load(Relaxed), at)));
            }
        })?;
        // A chain has the most recent entry first.
        entries.sort_unstable();
        for bucket in 0..geometry.buckets {
            self.core.bucket(bucket)?.store(0, Relaxed);
            self.core.filter(bucket)?.store(0, Relaxed);
        }
        let (mut linked, mut recovered) = (
            bits(),
            Recovered {
                kept: 0,
                dropped: 0,
            },
        );
        for (_, block) in &entries {
            let at = self.core.entry(*block)?;
            let was_current = at.is_object() && at.is_current();
            if was_current && self.survives(&at, &mut bodies) {
                self.revive(&at)?;
                linked.add(*block);
                recovered.kept += 1;
            } else {
                at.e.pins.iter().for_each(|p| p.store(UNLINKED, Relaxed));
                recovered.dropped += u64::from(was_current);
            }
        }
        let kept = entries.iter().filter(|(_, block)| linked.has(*block));
        self.start_anew(kept.map(|(id, _)| *id).max().unwrap_or(0));
        let entries = entries.iter().map(|(_, block)| *block).collect();
        Repair::of_linked(guard, bodies.starts, linked, entries)
            .go_on(guard, &mut TimeBudget::whole())
            .ok()?;
        Some(recovered)
    }

    /// Links an object into its chain again, with no holder.
    fn revive(self, at: &EntryAt<'_>) -> Option<()> {
        let e = at.e;
        let bucket = self
            .core
            .bucket(self.core.bucket_of(e.hash.load(Relaxed)))?;
        [&e.lease, &e.deadline]
            .into_iter()
            .chain(&e.pins)
            .chain(&e.waiters)
            .for_each(|w| w.store(0, Relaxed));
        // Earlier purges have had their effect.
        e.purges.store(0, Relaxed);
        e.freq.store(e.freq.load(Relaxed).min(MOST_HITS), Relaxed);
        Checksums::of(self.core).write(at, Coverage::Lasting);
        note_labels(self.core, at);
        e.next.store(bucket.load(Relaxed), Relaxed);
        bucket.store(at.block, Release);
        Some(())
    }

    fn start_anew(self, latest: u64) {
        let header = self.core.header();
        // No handle, claim or purge remains that could be confused. Values without a checksum are not trusted.
        header.ids.store(latest, Relaxed);
        header.nonces.store(0, Relaxed);
        header.purges.store(0, Relaxed);
        header.clock.store(0, Relaxed);
        header.sweep_cursor.store(0, Relaxed);
        header.soonest_seen.store(0, Relaxed);
        header.era.fetch_add(1, Relaxed);
    }

    fn survives(self, at: &EntryAt<'_>, bodies: &mut Bodies) -> bool {
        let Some((body, ..)) = self.core.body(at.body()) else {
            return false;
        };
        let says = at.e.sum.load(Relaxed);
        let is = |coverage| says == Checksums::of(self.core).of_entry(at, body, coverage);
        // Without the seal, the last process may have died while sealing.
        let summed =
            is(Coverage::Sealed) || (self.sealed == Coverage::Lasting && is(Coverage::Lasting));
        summed
            && self.core.hash_key.of_key(at.key()) == at.e.hash.load(Relaxed)
            && self.is_whole(at.body(), bodies)
    }

    /// Whether a body is complete and its pieces belong to it alone.
    fn is_whole(self, block: u32, bodies: &mut Bodies) -> bool {
        if bodies.whole.has(block) || bodies.broken.has(block) {
            return bodies.whole.has(block);
        }
        let whole = bodies.starts.has(block) && self.has_its_pieces(block, bodies).is_some();
        if whole {
            bodies.whole.add(block);
        } else {
            bodies.broken.add(block);
        }
        whole
    }

    fn has_its_pieces(self, block: u32, bodies: &mut Bodies) -> Option<()> {
        let (body, _, room) = self.core.body(block)?;
        let len = body.len.load(Relaxed);
        if body.phase.load(Acquire) != COMPLETE
            || body.total.load(Relaxed) != len
            || body.era.load(Relaxed) == 0
        {
            return None;
        }
        body.waiters.iter().for_each(|w| w.store(0, Relaxed));
        let (mut next, mut start) = (body.next.load(Relaxed), room as u64);
        while next != 0 {
            let (extent, _, room) = self.core.extent(next)?;
            let mine = bodies.starts.has(next) && bodies.extents.add(next);
            if !mine || extent.start.load(Relaxed) != start {
                return None;
            }
            start += room as u64;
            next = extent.next.load(Relaxed);
        }
        (start >= len && len <= self.core.memory.len() as u64 * GRANULE as u64).then_some(())
    }
}
