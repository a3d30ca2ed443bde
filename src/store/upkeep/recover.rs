//! Taking a region from a file that nobody has in use, and sealing it at the end.
//!
//! Nothing is believed: the blocks must fill the arena, an object must have its sum and a body that is whole, and all
//! else is made anew. What does not fit is dropped. The bytes of bodies are read at their first lookup (`checksum.rs`).
//!
//! | the last process ended | the words of objects | what stays |
//! |---|---|---|
//! | well: it sealed the region | are summed | all objects |
//! | by a signal; the machine still runs | are as they were last written | all objects that were current |
//! | with the machine | are not known | nothing: the file is given up before this |

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::checksum::Scope;
use crate::store::index::core::Core;
use crate::store::index::evict::MOST_HITS;
use crate::store::memory::bitset::BitSet;
use crate::store::memory::block::{COMPLETE, EntryAt, Kind};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::{Header, UNLINKED};
use crate::store::process::budget::TimeBudget;
use crate::store::upkeep::repair::Repair;

/// What a recovery left and took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
}

/// Bodies that were looked at.
struct Bodies {
    starts: BitSet,
    whole: BitSet,
    broken: BitSet,
    /// Extents of whole bodies: none belongs to two.
    extents: BitSet,
}

impl Core {
    /// Takes over what is right in a region that no process is in; `None` when its blocks make no sense.
    pub(crate) fn recover(&self, sealed: Scope) -> Option<Recovered> {
        let header = self.header();
        header.arena.lock.store(0, Relaxed);
        header.arena.dirty.store(0, Relaxed);
        header.arena.leader.store(0, Relaxed);
        (0..self.geometry.shards)
            .filter_map(|s| self.shard(s))
            .for_each(|lock| lock.store(0, Relaxed));
        self.processes().clear();
        self.enter(None).ok()?;
        let recovered = self.arena_guard(self.member()?)?.recover(sealed);
        self.leave();
        recovered
    }

    /// Sums everything for a later start, if no other process is in the region. False if it did not come to that.
    pub(crate) fn seal(&self) -> bool {
        if !self.is_durable() || self.header().poisoned.load(Relaxed) != 0 {
            return false;
        }
        let alone = self.enter(None).is_ok() && {
            self.processes().find_dead();
            self.processes().live() == 1 && self.seal_entries().is_some()
        };
        self.leave();
        if !alone {
            return false;
        }
        self.header().clean.store(1, Relaxed);
        // Pairs with the fence in `Region::enter`: who came meanwhile takes the mark away, or we see it here.
        fence(SeqCst);
        if self.processes().live() > 0 {
            self.header().clean.store(0, Relaxed);
            return false;
        }
        true
    }

    /// Takes the seal away, also from the disk: pages of a sealed region that are written before would be believed.
    pub(crate) fn unseal(&self) -> io::Result<()> {
        self.header().clean.store(0, Relaxed);
        self.sync_header()
    }

    /// Waits until the header is on the disk.
    pub(crate) fn sync_header(&self) -> io::Result<()> {
        self.memory.sync(size_of::<Header>())
    }

    fn seal_entries(&self) -> Option<()> {
        let whole = &mut TimeBudget::whole();
        let guard = self.arena_guard_within(self.member()?, Some(whole)).ok()?;
        guard.each_block(|at, _, kind| {
            if kind == Kind::Entry
                && let Some(entry) = self.entry(at)
                && entry.is_object()
                && entry.is_linked()
            {
                self.write_checksum(&entry, Scope::Sealed);
            }
        })
    }
}

impl ArenaGuard<'_> {
    fn recover(&mut self, sealed: Scope) -> Option<Recovered> {
        let geometry = self.core.geometry;
        let bits = || BitSet::new(geometry.arena, geometry.end);
        let mut bodies = Bodies {
            starts: bits(),
            whole: bits(),
            broken: bits(),
            extents: bits(),
        };
        let mut entries = Vec::new();
        self.each_block(|at, _, kind| {
            bodies.starts.add(at);
            if kind == Kind::Entry {
                entries.extend(self.core.entry(at).map(|e| (e.e.id.load(Relaxed), at)));
            }
        })?;
        // A chain has the most recent first.
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
            if was_current && self.survives(&at, sealed, &mut bodies) {
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
        Repair::of_linked(self, bodies.starts, linked, entries)
            .go_on(self, &mut TimeBudget::whole())
            .ok()?;
        Some(recovered)
    }

    /// Puts an object back into its chain, held by nobody.
    fn revive(&self, at: &EntryAt<'_>) -> Option<()> {
        let e = at.e;
        let bucket = self
            .core
            .bucket(self.core.bucket_of(e.hash.load(Relaxed)))?;
        [&e.lease, &e.deadline]
            .into_iter()
            .chain(&e.pins)
            .chain(&e.waiters)
            .for_each(|w| w.store(0, Relaxed));
        // The purges before are done with.
        e.purges.store(0, Relaxed);
        e.freq.store(e.freq.load(Relaxed).min(MOST_HITS), Relaxed);
        self.core.write_checksum(at, Scope::Free);
        self.core.note_labels(at);
        e.next.store(bucket.load(Relaxed), Relaxed);
        bucket.store(at.block, Release);
        Some(())
    }

    fn start_anew(&self, latest: u64) {
        let header = self.header();
        // No handle, claim or purge is left that could be mistaken. What is not summed is not believed.
        header.ids.store(latest, Relaxed);
        header.nonces.store(0, Relaxed);
        header.purges.store(0, Relaxed);
        header.clock.store(0, Relaxed);
        header.sweep_cursor.store(0, Relaxed);
        header.soonest_seen.store(0, Relaxed);
        header.era.fetch_add(1, Relaxed);
    }

    fn survives(&self, at: &EntryAt<'_>, sealed: Scope, bodies: &mut Bodies) -> bool {
        let Some((body, ..)) = self.core.body(at.body()) else {
            return false;
        };
        let says = at.e.sum.load(Relaxed);
        let is = |attributes| says == self.core.entry_checksum(at, body, attributes);
        // Unsealed, it may be that the end was in the middle of sealing.
        let summed = is(Scope::Sealed) || (sealed == Scope::Free && is(Scope::Free));
        summed
            && self.core.hash_key.hash(at.key()) == at.e.hash.load(Relaxed)
            && self.is_whole(at.body(), bodies)
    }

    /// Whether a body is complete and its pieces are its own.
    fn is_whole(&self, block: u32, bodies: &mut Bodies) -> bool {
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

    fn has_its_pieces(&self, block: u32, bodies: &mut Bodies) -> Option<()> {
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
