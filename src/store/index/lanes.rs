//! Counters: each process adds to a lane of its own, and readers add the lanes up.

use std::collections::HashMap;

use crate::store::index::core::Core;
use crate::store::memory::lane::{Lane, TALLIES};
use crate::store::process::local::Local;

/// The lanes of a region.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a> {
    core: &'a Core,
}

impl<'a> Lanes<'a> {
    pub(crate) fn of(core: &'a Core) -> Lanes<'a> {
        Lanes { core }
    }

    fn lane(self, number: usize) -> Option<&'a Lane> {
        let geometry = &self.core.geometry;
        let at = geometry.lanes_at + (number & (geometry.lanes - 1)) * size_of::<Lane>();
        self.core.memory.at(at)
    }

    fn all(self) -> impl Iterator<Item = &'a Lane> {
        (0..self.core.geometry.lanes).filter_map(move |number| self.lane(number))
    }

    /// Adds to a counter of this process.
    #[inline]
    pub(crate) fn tally(self, local: &Local, place: usize, n: u64) {
        if let Some(lane) = self.lane(local.slot()) {
            lane.add(place, n);
        }
    }

    /// Counts a hit of a key for the list of the most requested keys.
    #[inline]
    pub(crate) fn count_hot(self, local: &Local, hash: u64) {
        if let Some(lane) = self.lane(local.slot()) {
            lane.hit(hash);
        }
    }

    /// The counters, added up over all processes.
    pub(crate) fn tallies(self) -> [u64; TALLIES] {
        let mut sum = [0; TALLIES];
        self.all().for_each(|lane| lane.add_to(&mut sum));
        sum
    }

    /// The most requested keys, by hash.
    pub(crate) fn hot(self) -> HashMap<u64, u64> {
        let mut hot = HashMap::new();
        for lane in self.all() {
            lane.each_hot(&mut |hash, hits| *hot.entry(hash).or_default() += hits);
        }
        hot
    }
}
