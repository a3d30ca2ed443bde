//! Purges: making unfindable, or aging, all that bears a label, begins with a prefix, or is there at all.
//!
//! | step | fetches that began before | what is stored already |
//! |---|---|---|
//! | begin: the purge gets a number and a line in the log | come to nothing, or come in aged | as it was; what is asked for by its whole key is gone |
//! | step, as often as needed | as above | found by a walk over the index, a piece at a time |
//! | done | as above | gone for lookups, or aged; a sweep frees what is gone |
//!
//! Every claim knows the number of the last purge when it was made, and every entry that of the last one when it was
//! linked. A fetch reads the log from there on when it links what it brought; the walk passes by what was linked after
//! the purge began. The log is a ring: a fetch that it no longer reaches back to comes to nothing.
//!
//! The walk reads a filter of each bucket without its lock, and then only the buckets that may hold what it looks for.
//! A bit is set in a filter before an entry is linked, and linking takes the arena lock as beginning a purge does: what
//! was linked before the purge is seen.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::error::Busy;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::{Core, Wakeups, take_waiters};
use crate::store::memory::block::{EntryAt, NOTE, PASS_UNTIL, REMOVED, USES};
use crate::store::memory::layout::Millis;
use crate::store::memory::layout::PurgeRecord;
use crate::store::memory::platform::AtomicU32;
use crate::store::process::local::Member;
use crate::store::region::Region;

/// What a purge is for: everything that any of these finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// All that is stored.
    pub all: bool,
    /// Whole keys.
    pub keys: Vec<Box<[u8]>>,
    /// Keys less their tails: the last byte of a key, taken for a count, and as many words of four bytes before it.
    pub texts: Vec<Box<[u8]>>,
    /// Beginnings of keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// Labels that objects were given.
    pub labels: Vec<u64>,
}

/// What becomes of what a purge finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lookups don't find it any more; readers keep it. Claims on it are void.
    Remove,
    /// [`Object::aged`](crate::store::Object::aged) tells when the purge began. It can be found as before.
    Age,
}

/// A purge under way. It has no effect on what it has not walked to when it is dropped; what was fetched before it and is
/// not stored yet stays purged.
#[derive(Debug)]
pub struct Purge {
    core: Arc<Core>,
    /// Where the walk goes on.
    cursor: usize,
    work: Work,
}

/// What to look for, what to do with it, and how much was done.
#[derive(Debug)]
struct Work {
    targets: Targets,
    effect: Effect,
    /// Its last line in the log.
    number: u64,
    now: Millis,
    /// Bits of each label.
    filters: Vec<u32>,
    purged: u64,
}

/// What the log says of something that was fetched before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Untouched,
    Aged(Millis),
    Removed,
}

const KEY: u64 = 1;
const TEXT: u64 = 2;
const PREFIX: u64 = 3;
const LABEL: u64 = 4;
const ALL: u64 = 5;
/// Buckets that are looked at together.
const TOGETHER: usize = 32;
/// Bytes of a word of a key's tail.
const TAIL_WORD: usize = 4;
/// Bits of a record's `what` that name its kind; above them is a length.
const KIND_BITS: u32 = 8;

impl Region {
    /// Begins a purge: from now on nothing that was asked for before comes to be found as if it had not been purged. Call
    /// [`Purge::step`] until it is done.
    pub fn purge(&self, targets: Targets, effect: Effect, now: Millis) -> Result<Purge, Busy> {
        let member = self.core.member().ok_or(Busy)?;
        self.core.advance_clock(now);
        let mut work = Work {
            filters: targets.labels.iter().map(|l| bits(*l)).collect(),
            // Zero is "never".
            now: now.max(1),
            effect,
            number: 0,
            purged: 0,
            targets,
        };
        {
            let guard = self.core.arena_guard(member).ok_or(Busy)?;
            work.number = work.log(&guard).ok_or(Busy)?;
        }
        work.walk_keys(&self.core, member)?;
        Ok(Purge {
            core: Arc::clone(&self.core),
            cursor: 0,
            work,
        })
    }
}

impl Purge {
    /// Goes on over up to `places` places (see [`Region::places`]); true when it is done. On an error nothing is lost:
    /// call it again.
    pub fn step(&mut self, places: u32) -> Result<bool, Busy> {
        let (core, work) = (&self.core, &mut self.work);
        let member = core.member().ok_or(Busy)?;
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

    /// How many objects it has found so far.
    pub fn purged(&self) -> u64 {
        self.work.purged
    }
}

impl Work {
    fn walks(&self) -> bool {
        self.looks_at_keys() || !self.targets.labels.is_empty()
    }

    /// Whether each key has to be looked at.
    fn looks_at_keys(&self) -> bool {
        let targets = &self.targets;
        targets.all || !targets.prefixes.is_empty() || !targets.texts.is_empty()
    }

    /// Collects buckets that may hold something; where to go on after them.
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
            let may_hold = |there: u32| self.filters.iter().any(|bits| there & bits == *bits);
            let likely = row(geometry.filters_at)?.filter(|(_, f)| may_hold(f.load(Acquire)));
            found.extend(likely.map(|(bucket, _)| bucket).take(TOGETHER));
        }
        match found.last() {
            Some(last) if found.len() == TOGETHER => Some(last + 1),
            _ => Some(range.end),
        }
    }

    /// Writes what it is for into the log; its number, before which all that is linked is its affair.
    fn log(&self, guard: &ArenaGuard<'_>) -> Option<u64> {
        let (core, targets) = (guard.core, &self.targets);
        let hash = |bytes: &[u8]| core.hash_key.hash(bytes);
        let keys = targets.keys.iter().map(|k| (KEY, hash(k)));
        let by_start =
            |kind: u64, start: &[u8]| (kind | (start.len() as u64) << KIND_BITS, hash(start));
        let texts = targets.texts.iter().map(|t| by_start(TEXT, t));
        let prefixes = targets.prefixes.iter().map(|p| by_start(PREFIX, p));
        let labels = targets.labels.iter().map(|l| (LABEL, *l));
        let all = targets.all.then_some((ALL, 0)).into_iter();
        let last = &guard.header().purges;
        let aged = match self.effect {
            Effect::Age => self.now,
            Effect::Remove => 0,
        };
        for (what, hash) in all.chain(keys).chain(texts).chain(prefixes).chain(labels) {
            let number = last.load(Relaxed) + 1;
            let record = core.purge_record(number)?;
            record.what.store(what, Relaxed);
            record.hash.store(hash, Relaxed);
            record.aged.store(aged, Relaxed);
            record.number.store(number, Relaxed);
            last.store(number, Release);
        }
        Some(last.load(Relaxed))
    }

    fn walk_keys(&mut self, core: &Core, member: &Member) -> Result<(), Busy> {
        for key in std::mem::take(&mut self.targets.keys) {
            let hash = core.hash_key.hash(&key);
            let mut wakeups = core.wakeups(member);
            let _shard = core.lock_shard(member, hash).ok_or(Busy)?;
            core.walk::<()>(core.bucket_of(hash), |at| {
                if at.e.hash.load(Relaxed) == hash && at.key() == &*key {
                    self.take(core, &at, &mut wakeups);
                }
                ControlFlow::Continue(())
            });
        }
        Ok(())
    }

    /// Purges what it looks for in a bucket, and makes the bucket's filter anew from what stays.
    fn walk(&mut self, core: &Core, member: &Member, bucket: usize) -> Result<(), Busy> {
        let mut wakeups = core.wakeups(member);
        let _shard = core.lock_shard(member, bucket as u64).ok_or(Busy)?;
        let mut bits = 0;
        core.walk::<()>(bucket, |at| {
            if self.finds(&at) {
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

    fn finds(&self, at: &EntryAt<'_>) -> bool {
        at.e.purges.load(Relaxed) < self.number
            && (self.targets.all
                || at.labels().any(|l| self.targets.labels.contains(&l))
                || self
                    .targets
                    .prefixes
                    .iter()
                    .any(|p| at.key().starts_with(p))
                || self.targets.texts.iter().any(|t| text(at.key()) == Some(t)))
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
                self.purged += 1;
                _ = e.aged.compare_exchange(0, self.now, Relaxed, Relaxed);
            }
            Effect::Remove => {
                if at.is_object() {
                    self.purged += 1;
                    // Dead first: an object that can be found and is flagged could never be replaced.
                    e.dead_at.store(0, Release);
                    e.flags.fetch_or(REMOVED, Release);
                    let header = core.header();
                    header.soonest.store(0, Relaxed);
                    header.soonest_seen.store(0, Relaxed);
                } else {
                    [PASS_UNTIL, USES, NOTE]
                        .iter()
                        .for_each(|w| e.attributes[*w].store(0, Relaxed));
                }
                e.lease.store(0, Release);
                wakeups.add(take_waiters(&e.waiters));
            }
        }
    }
}

impl Core {
    /// The number of the last purge.
    pub(crate) fn purges(&self) -> u64 {
        self.header().purges.load(Acquire)
    }

    fn purge_record(&self, number: u64) -> Option<&PurgeRecord> {
        let at = number as usize & (self.geometry.purges - 1);
        self.memory
            .at(self.geometry.purges_at + at * size_of::<PurgeRecord>())
    }

    /// Notes the labels of an entry in the filter of its bucket, before it is linked.
    pub(crate) fn note_labels(&self, at: &EntryAt<'_>) {
        let bits = label_bits(at);
        if let Some(filter) = self.filter(self.bucket_of(at.e.hash.load(Relaxed)))
            && bits != 0
        {
            filter.fetch_or(bits, Release);
        }
    }
}

impl ArenaGuard<'_> {
    /// What was fetched when purge number `then` was the last one is about to be linked: it comes in aged if it was aged since,
    /// and not at all (false) if it was removed.
    pub(crate) fn admits(&self, at: &EntryAt<'_>, then: u64) -> bool {
        match self.past(at, then) {
            Past::Untouched => true,
            Past::Aged(when) => {
                at.e.aged.store(when, Relaxed);
                true
            }
            Past::Removed => false,
        }
    }

    /// As [`ArenaGuard::admits`], for a new head of `old`: a label that only the old one bears counts, too, as it is not to be found
    /// any more.
    pub(crate) fn admits_renewal(&self, at: &EntryAt<'_>, old: &EntryAt<'_>, then: u64) -> bool {
        match (self.admits(at, then), self.past(old, then)) {
            (false, _) | (_, Past::Removed) => false,
            (true, Past::Untouched) => true,
            (true, Past::Aged(when)) => {
                let aged = at.e.aged.load(Relaxed);
                at.e.aged
                    .store(if aged == 0 { when } else { aged.min(when) }, Relaxed);
                true
            }
        }
    }

    fn past(&self, at: &EntryAt<'_>, then: u64) -> Past {
        let last = self.core.purges();
        // The oldest line may be half overwritten by one who died at it.
        if last.saturating_sub(then) >= self.core.geometry.purges as u64 {
            return Past::Removed;
        }
        let mut past = Past::Untouched;
        for number in then + 1..=last {
            match self.core.purge_record(number) {
                Some(record) if record.number.load(Relaxed) == number => {
                    let aged = record.aged.load(Relaxed);
                    match self.is_found_by(at, record) {
                        true if aged == 0 => return Past::Removed,
                        true if past == Past::Untouched => past = Past::Aged(aged),
                        _ => {}
                    }
                }
                _ => return Past::Removed,
            }
        }
        past
    }

    fn is_found_by(&self, at: &EntryAt<'_>, record: &PurgeRecord) -> bool {
        let (what, hash) = (record.what.load(Relaxed), record.hash.load(Relaxed));
        let key_hash = |key: &[u8]| self.core.hash_key.hash(key) == hash;
        match what & ((1 << KIND_BITS) - 1) {
            KEY => key_hash(at.key()),
            TEXT => {
                text(at.key()).is_some_and(|t| t.len() as u64 == what >> KIND_BITS && key_hash(t))
            }
            PREFIX => at
                .key()
                .get(..(what >> KIND_BITS) as usize)
                .is_some_and(key_hash),
            LABEL => at.labels().any(|l| l == hash),
            _ => true,
        }
    }
}

/// Has the first entries of buckets come near: memory is slow, and so they come together. It is not read: an entry may be made
/// there at this moment.
fn touch(core: &Core, buckets: &[usize]) {
    let mut heads = [0; TOGETHER];
    for (bucket, head) in buckets.iter().zip(&mut heads) {
        *head = core.bucket(*bucket).map_or(0, |b| b.load(Relaxed));
    }
    for head in &heads[..buckets.len().min(TOGETHER)] {
        core.prefetch_entry(*head);
    }
}

/// A key less its tail; nothing if it is too short to have one.
fn text(key: &[u8]) -> Option<&[u8]> {
    let (count, before) = key.split_last()?;
    before.get(..before.len().checked_sub(usize::from(*count) * TAIL_WORD)?)
}

/// The bits of an entry's labels in a filter.
pub(crate) fn label_bits(at: &EntryAt<'_>) -> u32 {
    at.labels().fold(0, |all, l| all | bits(l))
}

/// The two bits of a label in a filter.
fn bits(label: u64) -> u32 {
    let mixed = label.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 59) | 1 << (mixed >> 54 & 31)
}
