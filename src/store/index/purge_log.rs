//! What was purged since a fetch began: the only place that decides whether its response may still be stored.
//!
//! A fetch takes a [`Stamp`] when it begins. Purges leave two kinds of trace, with which the stamp is compared:
//!
//! | purge | trace | precision |
//! |---|---|---|
//! | of one key, removed | a counter, selected by the key's hash, is incremented | shared with other keys: one in 1,024 |
//! | by label, prefix or stem, or of everything; or of a key, aged | a line in a ring | exact, until the ring has wrapped around: then everything counts as removed |
//!
//! A removal of one key finds the leases of that key and ends them. Its counter is therefore consulted only where there
//! is no lease to end (see [`PurgeLog::is_key_removed`]), so keys that share a counter do not disturb each other's
//! fetches.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;
use crate::store::memory::layout::{Millis, PurgeRecord};

const KEY: u64 = 1;
const STEM: u64 = 2;
const PREFIX: u64 = 3;
const LABEL: u64 = 4;
const ALL: u64 = 5;
/// The bits of a record's `what` that hold its kind; a length is above them.
const KIND_BITS: u32 = 8;

/// When a fetch began, in terms of the purge log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    line: u64,
    key: u32,
}

/// What one line of the log selects.
#[derive(Clone, Copy)]
pub(crate) enum Selector<'a> {
    All,
    Key(&'a [u8]),
    Stem(&'a [u8]),
    Prefix(&'a [u8]),
    Label(u64),
}

/// What the log implies for something fetched before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Untouched,
    Aged(Millis),
    Removed,
}

/// The purge log of a region.
#[derive(Clone, Copy)]
pub(crate) struct PurgeLog<'a> {
    core: &'a Core,
}

impl<'a> PurgeLog<'a> {
    pub(crate) fn of(core: &'a Core) -> PurgeLog<'a> {
        PurgeLog { core }
    }

    /// The stamp for a fetch of this key that begins now.
    pub(crate) fn stamp(self, key: &[u8]) -> Stamp {
        Stamp {
            line: self.last(),
            key: self.counter(self.core.hash_key.of_key(key)),
        }
    }

    /// The number of the last line.
    pub(crate) fn last(self) -> u64 {
        self.core.header().purges.load(Acquire)
    }

    fn counter(self, hash: u64) -> u32 {
        self.core.epoch(hash).map_or(0, |e| e.load(Acquire))
    }

    /// Records that a key is being removed. The arena lock and the key's shard are held.
    pub(crate) fn note_removed_key(self, hash: u64) {
        if let Some(epoch) = self.core.epoch(hash) {
            epoch.fetch_add(1, Relaxed);
        }
    }

    /// Whether the key was removed since, as far as its counter tells.
    pub(crate) fn is_key_removed(self, key: &[u8], since: Stamp) -> bool {
        self.counter(self.core.hash_key.of_key(key)) != since.key
    }

    /// Appends a line: what was fetched before is aged as of `aged`, or removed (0). The arena lock is held. Returns
    /// the number of the line: everything linked with a lower number is subject to it.
    pub(crate) fn append(self, pattern: Selector<'_>, aged: Millis) -> Option<u64> {
        let hash = |bytes: &[u8]| self.core.hash_key.hash(bytes);
        let of = |kind: u64, start: &[u8]| (kind | (start.len() as u64) << KIND_BITS, hash(start));
        let (what, hash) = match pattern {
            Selector::All => (ALL, 0),
            Selector::Key(key) => (KEY, self.core.hash_key.of_key(key)),
            Selector::Stem(stem) => of(STEM, stem),
            Selector::Prefix(prefix) => of(PREFIX, prefix),
            Selector::Label(label) => (LABEL, label),
        };
        let last = &self.core.header().purges;
        let number = last.load(Relaxed) + 1;
        let record = self.record(number)?;
        record.what.store(what, Relaxed);
        record.hash.store(hash, Relaxed);
        record.aged.store(aged, Relaxed);
        record.number.store(number, Relaxed);
        last.store(number, Release);
        Some(number)
    }

    fn record(self, number: u64) -> Option<&'a PurgeRecord> {
        let at = number as usize & (self.core.geometry.purges - 1);
        self.core
            .memory
            .at(self.core.geometry.purges_at + at * size_of::<PurgeRecord>())
    }

    /// Decides about an entry, fetched since then, that is about to be linked: it is aged if a purge aged it, and may
    /// not be linked (false) if one removed it. The arena lock is held.
    pub(crate) fn admits(self, at: &EntryAt<'_>, since: Stamp) -> bool {
        match self.past(at, since) {
            Past::Untouched => true,
            Past::Aged(when) => {
                at.e.aged.store(when, Relaxed);
                true
            }
            Past::Removed => false,
        }
    }

    /// Like [`PurgeLog::admits`], for a new head of `old`: a label that only the old head has counts too, as a purge
    /// must not be undone by a renewal.
    pub(crate) fn admits_renewal(self, at: &EntryAt<'_>, old: &EntryAt<'_>, since: Stamp) -> bool {
        match (self.admits(at, since), self.past(old, since)) {
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

    fn past(self, at: &EntryAt<'_>, since: Stamp) -> Past {
        let last = self.last();
        // The oldest line may be half overwritten by a process that died while writing it.
        if last.saturating_sub(since.line) >= self.core.geometry.purges as u64 {
            return Past::Removed;
        }
        let mut past = Past::Untouched;
        for number in since.line + 1..=last {
            match self.record(number) {
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

    fn is_found_by(self, at: &EntryAt<'_>, record: &PurgeRecord) -> bool {
        let (what, hash) = (record.what.load(Relaxed), record.hash.load(Relaxed));
        let start = at.key().get(..(what >> KIND_BITS) as usize);
        let start = start.filter(|start| self.core.hash_key.hash(start) == hash);
        match what & ((1 << KIND_BITS) - 1) {
            KEY => self.core.hash_key.of_key(at.key()) == hash,
            STEM => start.is_some_and(|stem| self.core.has_stem(at.key(), stem)),
            PREFIX => start.is_some(),
            LABEL => at.labels().any(|l| l == hash),
            _ => true,
        }
    }
}
