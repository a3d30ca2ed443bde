//! Taking a region from a file that nobody has in use, and sealing it at the end.
//!
//! Nothing is believed: the blocks must fill the arena, an object must have its sum and a body that is whole, and all
//! else is made anew. What does not fit is dropped. The bytes of bodies are read at their first lookup (`sum.rs`).
//!
//! | the last process ended | the words of objects | what stays |
//! |---|---|---|
//! | well: it sealed the region | are summed | all objects |
//! | by a signal; the machine still runs | are as they were last written | all objects that were current |
//! | with the machine | are not known | nothing: the file is given up before this |

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use super::entry::{COMPLETE, EntryAt, Kind};
use super::evict::MOST_HITS;
use super::inner::Inner;
use super::keeper::Keeper;
use super::layout::{Header, UNLINKED};
use super::marks::Marks;
use super::memory::GRANULE;
use super::repair::Repair;
use super::stint::Stint;
use super::sum::Words;

/// What a recovery left and took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
}

/// Bodies that were looked at.
struct Bodies {
    starts: Marks,
    whole: Marks,
    broken: Marks,
    /// Extents of whole bodies: none belongs to two.
    extents: Marks,
}

impl Inner {
    /// Takes over what is right in a region that no process is in; `None` when its blocks make no sense.
    pub(crate) fn recover(&self, sealed: Words) -> Option<Recovered> {
        let header = self.header();
        header.arena.lock.store(0, Relaxed);
        header.arena.dirty.store(0, Relaxed);
        header.arena.mender.store(0, Relaxed);
        (0..self.geometry.shards)
            .filter_map(|s| self.shard(s))
            .for_each(|lock| lock.store(0, Relaxed));
        self.processes().clear();
        self.enter(None).ok()?;
        let recovered = self.keeper(self.member()?)?.recover(sealed);
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
        let whole = &mut Stint::whole();
        let keeper = self.keeper_within(self.member()?, Some(whole)).ok()?;
        keeper.each_block(|at, _, kind| {
            if kind == Kind::Entry
                && let Some(entry) = self.entry(at)
                && entry.is_object()
                && entry.is_linked()
            {
                self.sum_up(&entry, Words::Sealed);
            }
        })
    }
}

impl Keeper<'_> {
    fn recover(&mut self, sealed: Words) -> Option<Recovered> {
        let geometry = self.inner.geometry;
        let marks = || Marks::new(geometry.arena, geometry.end);
        let mut bodies = Bodies {
            starts: marks(),
            whole: marks(),
            broken: marks(),
            extents: marks(),
        };
        let mut entries = Vec::new();
        self.each_block(|at, _, kind| {
            bodies.starts.add(at);
            if kind == Kind::Entry {
                entries.extend(self.inner.entry(at).map(|e| (e.e.id.load(Relaxed), at)));
            }
        })?;
        // A chain has the most recent first.
        entries.sort_unstable();
        for bucket in 0..geometry.buckets {
            self.inner.bucket(bucket)?.store(0, Relaxed);
            self.inner.filter(bucket)?.store(0, Relaxed);
        }
        let (mut linked, mut recovered) = (
            marks(),
            Recovered {
                kept: 0,
                dropped: 0,
            },
        );
        for (_, block) in &entries {
            let at = self.inner.entry(*block)?;
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
            .go_on(self, &mut Stint::whole())
            .ok()?;
        Some(recovered)
    }

    /// Puts an object back into its chain, held by nobody.
    fn revive(&self, at: &EntryAt<'_>) -> Option<()> {
        let e = at.e;
        let bucket = self
            .inner
            .bucket(self.inner.bucket_of(e.hash.load(Relaxed)))?;
        [&e.lease, &e.deadline]
            .into_iter()
            .chain(&e.pins)
            .chain(&e.waiters)
            .for_each(|w| w.store(0, Relaxed));
        // The purges before are done with.
        e.purges.store(0, Relaxed);
        e.freq.store(e.freq.load(Relaxed).min(MOST_HITS), Relaxed);
        self.inner.sum_up(at, Words::Free);
        self.inner.note_labels(at);
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

    fn survives(&self, at: &EntryAt<'_>, sealed: Words, bodies: &mut Bodies) -> bool {
        let Some((body, ..)) = self.inner.body(at.body()) else {
            return false;
        };
        let says = at.e.sum.load(Relaxed);
        let is = |words| says == self.inner.entry_sum(at, body, words);
        // Unsealed, it may be that the end was in the middle of sealing.
        let summed = is(Words::Sealed) || (sealed == Words::Free && is(Words::Free));
        summed
            && self.inner.hash_key.hash(at.key()) == at.e.hash.load(Relaxed)
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
        let (body, _, room) = self.inner.body(block)?;
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
            let (extent, _, room) = self.inner.extent(next)?;
            let mine = bodies.starts.has(next) && bodies.extents.add(next);
            if !mine || extent.start.load(Relaxed) != start {
                return None;
            }
            start += room as u64;
            next = extent.next.load(Relaxed);
        }
        (start >= len && len <= self.inner.memory.len() as u64 * GRANULE as u64).then_some(())
    }
}
