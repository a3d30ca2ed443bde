//! Where a process counts: cache lines that no other process writes, unless a small region has fewer lanes than
//! processes.
//!
//! A lane belongs to a slot of the process table and outlives the process in it: the next one continues its counters.
//! Whatever a process had counted when it was killed is kept, and nothing has to be added up at its death.
//!
//! Nothing else in the region depends on these words or on the order in which they are seen. They are therefore atomics
//! of the standard library even in tests that choose the order of all other accesses.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::memory::bytes::Shared;

/// The number of counters of a process. Their meaning is defined by the user of the store.
pub const TALLIES: usize = 320;
/// The number of sets of frequently requested hashes, and the number of hashes in a set.
const SETS: usize = 64;
const WAYS: usize = 4;
/// After this many hits, all counts are halved, so that what was requested most some time ago makes room for what is
/// requested now.
const HALF_LIFE: u64 = 1 << 22;

/// The counters of one slot of the process table.
#[repr(C)]
pub(crate) struct Lane {
    tallies: [AtomicU64; TALLIES],
    /// The number of hits since the counts were last halved.
    hits: AtomicU64,
    _pad: [AtomicU64; 7],
    hot: [[Hot; WAYS]; SETS],
}

/// A hash and its number of requests.
#[repr(C)]
struct Hot {
    hash: AtomicU64,
    hits: AtomicU64,
}

// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Lane {}

impl Lane {
    /// Adds to a counter; does nothing if the index is out of range.
    #[inline]
    pub(crate) fn add(&self, place: usize, n: u64) {
        if let Some(word) = self.tallies.get(place) {
            word.fetch_add(n, Relaxed);
        }
    }

    /// Adds the counters to `sum`.
    pub(crate) fn add_to(&self, sum: &mut [u64; TALLIES]) {
        for (sum, word) in sum.iter_mut().zip(&self.tallies) {
            *sum = sum.wrapping_add(word.load(Relaxed));
        }
    }

    /// Counts a hit of a hash: Space-Saving (Metwally et al., ICDT 2005) within a set. Of two concurrent hits, one may
    /// be lost.
    #[inline]
    pub(crate) fn hit(&self, hash: u64) {
        let hits = self.hits.load(Relaxed) + 1;
        self.hits.store(hits, Relaxed);
        if hits >= HALF_LIFE {
            self.halve();
        }
        let set = &self.hot[(hash >> 32) as usize % SETS];
        if let Some(known) = set.iter().find(|hot| hot.hash.load(Relaxed) == hash) {
            return known.hits.store(known.hits.load(Relaxed) + 1, Relaxed);
        }
        if let Some(least) = set.iter().min_by_key(|hot| hot.hits.load(Relaxed)) {
            least.hash.store(hash, Relaxed);
            least.hits.store(least.hits.load(Relaxed) + 1, Relaxed);
        }
    }

    #[cold]
    fn halve(&self) {
        self.hits.store(0, Relaxed);
        for hot in self.hot.as_flattened() {
            hot.hits.store(hot.hits.load(Relaxed) / 2, Relaxed);
        }
    }

    /// Calls `each` with the most requested hashes and their counts.
    pub(crate) fn each_hot(&self, each: &mut dyn FnMut(u64, u64)) {
        for hot in self.hot.as_flattened() {
            let hits = hot.hits.load(Relaxed);
            if hits > 0 {
                each(hot.hash.load(Relaxed), hits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_whole_cache_lines() {
        assert_eq!(size_of::<Lane>() % 64, 0);
        assert_eq!(std::mem::offset_of!(Lane, hits) % 64, 0);
    }
}
