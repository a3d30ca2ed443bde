//! Purges: remove or age all objects that have a label, begin with a prefix, or are stored at all.
//!
//! | step | fetches that began before | what is stored already |
//! |---|---|---|
//! | begin: the purge gets a number and a line in the log | store nothing, or store an aged object | unchanged; keys purged by their whole name are removed |
//! | step, as often as needed | as above | found by a walk over the index, a part per step |
//! | done | as above | no longer found by lookups, or aged; a sweep frees what was removed |
//!
//! Every claim records the number of the last purge at the time it was taken, and every entry the one at the time it
//! was linked. When a fetch links its object, it reads the log from that number on; the walk skips what was linked
//! after the purge began. The log is a ring: a fetch that began before its oldest line stores nothing.
//!
//! The walk reads the filter of each bucket without its lock, and then examines only the buckets that may hold a match.
//! The bits of a filter are set before an entry is linked, and both linking and beginning a purge take the arena lock,
//! so the walk sees everything that was linked before the purge.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::store::error::Busy;
use crate::store::index::core::Core;
use crate::store::index::labels::{bits, holds, label_bits};
use crate::store::index::purge_log::{PurgeLog, Selector};
use crate::store::memory::block::{EntryAt, MARKER_ATTRIBUTES, REMOVED};
use crate::store::memory::layout::Millis;
use crate::store::memory::platform::AtomicU32;
use crate::store::process::wakeups::{Wakeups, take_waiters};
use crate::store::upkeep::membership::{Member, Shared};

/// Buckets that are examined together.
const TOGETHER: usize = 32;

/// What a purge selects: everything that matches any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Everything stored.
    pub all: bool,
    /// Whole keys, including all branches.
    pub keys: Vec<Box<[u8]>>,
    /// Stems of keys ([`Region::set_stem`](crate::store::Region::set_stem)): all keys with one of these stems.
    pub stems: Vec<Box<[u8]>>,
    /// Prefixes of keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// Labels of objects.
    pub labels: Vec<u64>,
}

/// What a purge does to the objects that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lookups don't find them any longer; readers keep them. Claims on them are void.
    Remove,
    /// [`Object::aged`](crate::store::Object::aged) returns the time of the purge. Lookups find them as before.
    Age,
}

/// A purge in progress. If it is dropped early, it has no effect on what it has not reached; fetches that began before
/// it remain affected.
#[derive(Debug)]
pub struct Purge {
    shared: Arc<Shared>,
    /// The bucket at which the walk continues.
    cursor: usize,
    work: Work,
}

/// What to select, what to do with it, and how much was done.
#[derive(Debug)]
struct Work {
    targets: Targets,
    effect: Effect,
    /// The number of its last line in the log.
    number: u64,
    now: Millis,
    /// The filter bits of each label.
    filters: Vec<u32>,
    purged: u64,
}

/// Removes all objects of a key and of its branches, and their markers, and voids the claims on them. Returns the
/// number of objects that lookups could find before.
pub(crate) fn remove_key(shared: &Shared, key: &[u8]) -> Result<u32, Busy> {
    let member = shared.member().ok_or(Busy)?;
    let mut guard = shared.arena_guard(member).ok_or(Busy)?;
    let hash = shared.core.hash_key.of_key(key);
    let _shard = guard.lock_shard(hash).ok_or(Busy)?;
    PurgeLog::of(guard.core).note_removed_key(hash);
    let of_key = guard.core.of_key(hash, key);
    let found = |at: &EntryAt<'_>| at.is_object() && at.is_current() && !at.is_derived();
    let was_found: Vec<bool> = of_key.iter().map(found).collect();
    let removed = of_key
        .iter()
        .zip(was_found)
        .filter(|(at, was_found)| guard.remove(at) && *was_found);
    Ok(removed.count() as u32)
}

impl Purge {
    /// See [`Region::purge`](crate::store::Region::purge).
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        targets: Targets,
        effect: Effect,
        now: Millis,
    ) -> Result<Purge, Busy> {
        let member = shared.member().ok_or(Busy)?;
        shared.core.advance_clock(now);
        let mut work = Work {
            filters: targets.labels.iter().map(|l| bits(*l)).collect(),
            // Zero means "never".
            now: now.max(1),
            effect,
            number: 0,
            purged: 0,
            targets,
        };
        {
            let guard = shared.arena_guard(member).ok_or(Busy)?;
            work.number = work.log(guard.core).ok_or(Busy)?;
        }
        work.purge_keys(shared, member)?;
        Ok(Purge {
            shared: Arc::clone(shared),
            cursor: 0,
            work,
        })
    }

    /// Continues over up to `places` places (see [`Region::places`](crate::store::Region::places)); returns true when
    /// the purge is done. An error loses nothing: call it again.
    pub fn step(&mut self, places: u32) -> Result<bool, Busy> {
        let (shared, work) = (&*self.shared, &mut self.work);
        let (core, member) = (&shared.core, shared.member().ok_or(Busy)?);
        let end = if work.walks() {
            core.geometry.buckets
        } else {
            0
        };
        let stop = self.cursor.saturating_add(places as usize).min(end);
        let mut found = Vec::with_capacity(TOGETHER);
        while self.cursor < stop {
            found.clear();
            let after = work.look_ahead(core, self.cursor..stop, &mut found);
            let after = after.ok_or(Busy)?;
            touch(core, &found);
            for bucket in &found {
                self.cursor = *bucket;
                work.walk(core, member, *bucket)?;
            }
            self.cursor = after;
        }
        Ok(self.cursor >= end)
    }

    /// The number of objects found so far.
    pub fn purged(&self) -> u64 {
        self.work.purged
    }
}

impl Work {
    fn walks(&self) -> bool {
        self.looks_at_keys() || !self.targets.labels.is_empty()
    }

    /// Whether each key has to be compared.
    fn looks_at_keys(&self) -> bool {
        let targets = &self.targets;
        targets.all || !targets.prefixes.is_empty() || !targets.stems.is_empty()
    }

    /// Collects buckets that may hold a match. Returns the bucket to continue from.
    fn look_ahead(
        &self,
        core: &Core,
        range: Range<usize>,
        found: &mut Vec<usize>,
    ) -> Option<usize> {
        let geometry = &core.geometry;
        let row = |at| {
            let row = core.memory.row::<AtomicU32>(at, geometry.buckets)?;
            Some(range.clone().zip(row.get(range.clone())?))
        };
        if self.looks_at_keys() {
            let taken = row(geometry.buckets_at)?.filter(|(_, head)| head.load(Relaxed) != 0);
            found.extend(taken.map(|(bucket, _)| bucket).take(TOGETHER));
        } else {
            let may_hold = |there: &AtomicU32| self.filters.iter().any(|bits| holds(there, *bits));
            let likely = row(geometry.filters_at)?.filter(|(_, f)| may_hold(f));
            found.extend(likely.map(|(bucket, _)| bucket).take(TOGETHER));
        }
        match found.last() {
            Some(last) if found.len() == TOGETHER => Some(last + 1),
            _ => Some(range.end),
        }
    }

    /// Writes the purge into the log. Returns its number: everything linked with a lower one is subject to it.
    fn log(&self, core: &Core) -> Option<u64> {
        let (log, targets) = (PurgeLog::of(core), &self.targets);
        let all = targets.all.then_some(Selector::All).into_iter();
        let stems = targets.stems.iter().map(|s| Selector::Stem(s));
        let prefixes = targets.prefixes.iter().map(|p| Selector::Prefix(p));
        let labels = targets.labels.iter().map(|l| Selector::Label(*l));
        let patterns = all.chain(stems).chain(prefixes).chain(labels);
        let aged_keys = match self.effect {
            Effect::Age => targets.keys.as_slice(),
            // These keys are recorded when they are removed.
            Effect::Remove => &[],
        };
        let keys = aged_keys.iter().map(|k| Selector::Key(k));
        let aged = match self.effect {
            Effect::Age => self.now,
            Effect::Remove => 0,
        };
        for pattern in patterns.chain(keys) {
            log.append(pattern, aged)?;
        }
        Some(log.last())
    }

    /// Whole keys are purged immediately.
    fn purge_keys(&mut self, shared: &Shared, member: &Member) -> Result<(), Busy> {
        let core = &shared.core;
        for key in std::mem::take(&mut self.targets.keys) {
            if self.effect == Effect::Remove {
                self.purged += u64::from(remove_key(shared, &key)?);
                continue;
            }
            let hash = core.hash_key.of_key(&key);
            let mut wakeups = core.wakeups(&member.local);
            let _shard = core.lock_shard(&member.local, hash).ok_or(Busy)?;
            for at in core.of_key(hash, &key) {
                self.take(core, &at, &mut wakeups);
            }
        }
        Ok(())
    }

    /// Purges the matches in a bucket, and recomputes the bucket's filter from what remains.
    fn walk(&mut self, core: &Core, member: &Member, bucket: usize) -> Result<(), Busy> {
        let mut wakeups = core.wakeups(&member.local);
        let _shard = core.lock_shard(&member.local, bucket as u64).ok_or(Busy)?;
        let mut bits = 0;
        core.walk::<()>(bucket, |at| {
            if self.finds(core, &at) {
                self.take(core, &at, &mut wakeups);
            }
            if at.is_current() {
                bits |= label_bits(&at);
            }
            ControlFlow::Continue(())
        });
        if let Some(filter) = core.filter(bucket) {
            filter.store(bits, Release);
        }
        Ok(())
    }

    fn finds(&self, core: &Core, at: &EntryAt<'_>) -> bool {
        at.e.purges.load(Relaxed) < self.number
            && (self.targets.all
                || at.labels().any(|l| self.targets.labels.contains(&l))
                || self
                    .targets
                    .prefixes
                    .iter()
                    .any(|p| at.key().starts_with(p))
                || self
                    .targets
                    .stems
                    .iter()
                    .any(|s| core.has_stem(at.key(), s)))
    }

    /// The shard is locked.
    fn take(&mut self, core: &Core, at: &EntryAt<'_>, wakeups: &mut Wakeups<'_>) {
        if !at.is_current() {
            return;
        }
        let e = at.e;
        match self.effect {
            Effect::Age if !at.is_object() => {}
            Effect::Age => {
                self.purged += u64::from(!at.is_derived());
                _ = e.aged.compare_exchange(0, self.now, Relaxed, Relaxed);
            }
            Effect::Remove => {
                if at.is_object() {
                    self.purged += u64::from(!at.is_derived());
                    // `dead_at` first: an entry that is flagged as removed while lookups still find it could never be
                    // replaced.
                    e.dead_at.store(0, Release);
                    e.flags.fetch_or(REMOVED, Release);
                    core.sweep_soon();
                } else {
                    let remembered = e.attributes.iter().take(MARKER_ATTRIBUTES);
                    remembered.for_each(|a| a.store(0, Relaxed));
                }
                e.lease.store(0, Release);
                wakeups.add(take_waiters(&e.waiters));
            }
        }
    }
}

/// Prefetches the first entries of several buckets, to hide the latency of memory. They are not read, as an entry may
/// just be written there.
fn touch(core: &Core, buckets: &[usize]) {
    let mut heads = [0; TOGETHER];
    for (bucket, head) in buckets.iter().zip(&mut heads) {
        *head = core.bucket(*bucket).map_or(0, |b| b.load(Relaxed));
    }
    for head in &heads[..buckets.len().min(TOGETHER)] {
        core.prefetch_entry(*head);
    }
}
