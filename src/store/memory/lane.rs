//! Where a process counts: cache lines that no other writes, unless a small region has fewer lanes than processes.
//!
//! A lane belongs to a place in the table of processes, and outlives whoever is in it: the next one adds on. So what a
//! process had counted when it was killed stays, and there is nothing to be added up twice at its death.
//!
//! Nothing else in the region hangs on these words, in whichever order they are seen; so they are the standard
//! library's, also where a test chooses the order of all other accesses.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::memory::bytes::Shared;

/// Words that a process counts in. What each is for is the business of whoever counts.
pub const TALLIES: usize = 320;
/// Sets of hashes that are asked for most, and how many there are in a set.
const SETS: usize = 64;
const WAYS: usize = 4;
/// After so many hits, earlier ones count half: what was asked for most last week makes room for what is today.
const HALF_LIFE: u64 = 1 << 22;

/// The words of one place in the table of processes.
#[repr(C)]
pub(crate) struct Lane {
    tallies: [AtomicU64; TALLIES],
    /// Hits since the counts were halved.
    hits: AtomicU64,
    _pad: [AtomicU64; 7],
    hot: [[Hot; WAYS]; SETS],
}

/// A hash, and how often it was asked for.
#[repr(C)]
struct Hot {
    hash: AtomicU64,
    hits: AtomicU64,
}

// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Lane {}

impl Lane {
    /// Adds to a word; nothing if there is no such word.
    #[inline]
    pub(crate) fn add(&self, place: usize, n: u64) {
        if let Some(word) = self.tallies.get(place) {
            word.fetch_add(n, Relaxed);
        }
    }

    /// Adds the words to `sum`.
    pub(crate) fn add_to(&self, sum: &mut [u64; TALLIES]) {
        for (sum, word) in sum.iter_mut().zip(&self.tallies) {
            *sum = sum.wrapping_add(word.load(Relaxed));
        }
    }

    /// Counts a hit of a hash: Space-Saving (Metwally et al., ICDT 2005) within a set. Two threads at once may lose one hit.
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

    /// Calls `each` with the hashes that are asked for most, and how often.
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
