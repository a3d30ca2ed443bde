//! Fingerprints of objects recently evicted from the small queue: the ghost queue of S3-FIFO, implemented as a table.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::core::Core;
use crate::store::index::queue::{MAIN, Queues, SMALL};

/// A fingerprint is remembered until this many eighths of the number of entries have been evicted.
const MEMORY: u16 = 8;

/// The fingerprints of a region. The arena lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Ghosts<'a> {
    core: &'a Core,
}

impl<'a> Ghosts<'a> {
    pub(crate) fn of(core: &'a Core) -> Ghosts<'a> {
        Ghosts { core }
    }

    fn ghost_time(&self) -> u16 {
        let queues = Queues::of(self.core);
        let entries = queues.count(SMALL) + queues.count(MAIN);
        (self.core.header().counts.evictions.load(Relaxed) / (entries / 8).max(1)) as u16
    }

    /// Remembers an object that is being evicted.
    pub(crate) fn remember(&self, hash: u64) {
        if let Some(ghost) = self.core.ghost(hash) {
            ghost.store(
                fingerprint(hash) << 16 | u32::from(self.ghost_time()),
                Relaxed,
            );
        }
    }

    /// Whether an object with that hash was recently evicted from the small queue.
    pub(crate) fn remembers(&self, hash: u64) -> bool {
        let Some(ghost) = self.core.ghost(hash).map(|g| g.load(Relaxed)) else {
            return false;
        };
        let age = self.ghost_time().wrapping_sub(ghost as u16);
        ghost >> 16 == fingerprint(hash) && age <= MEMORY
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash >> 48) as u32 | 1
}
