//! The counters and sizes of a region.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::core::Core;
use crate::store::index::queue::LIMBO;
use crate::store::memory::bytes::GRANULE;

/// Counters of a region, read without a lock: each one is exact, but they may differ by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The size of the region in bytes.
    pub size: u64,
    /// The bytes available for objects.
    pub capacity: u64,
    /// The bytes in use.
    pub used: u64,
    /// The bytes of keys, meta and complete bodies among those in use.
    pub payload: u64,
    /// Objects that lookups can find.
    pub objects: u64,
    /// Markers.
    pub markers: u64,
    /// Objects and markers that lookups can't find: being filled, or still being read.
    pub limbo: u64,
    /// Objects evicted for space since the region was made.
    pub evictions: u64,
    /// Bytes evicted for space.
    pub evicted_bytes: u64,
    /// Dead objects and markers removed.
    pub expired: u64,
    /// Objects made current.
    pub inserted: u64,
    /// Allocations that failed for lack of space.
    pub refused: u64,
    /// Processes in the region.
    pub processes: u32,
    /// Dead processes reclaimed.
    pub reaped: u64,
    /// Repairs after a process died during an allocation.
    pub repairs: u64,
    /// The maximum length of a body in bytes.
    pub max_object: u64,
    /// Objects removed because their key had too many variants.
    pub variants: u64,
    /// Objects found damaged and removed.
    pub damaged: u64,
    /// Objects that the last start restored from the file; 0 without a file.
    pub restored: u64,
}

impl Stats {
    /// Reads the counters.
    pub(crate) fn of(core: &Core) -> Stats {
        let header = core.header();
        let counts = &header.counts;
        Stats {
            size: core.geometry.len as u64,
            capacity: u64::from(core.geometry.end - core.geometry.arena) * GRANULE as u64,
            used: header.arena.used.load(Relaxed).wrapping_mul(GRANULE as u64),
            payload: (counts.payload.load(Relaxed) as i64).max(0) as u64,
            objects: counts.objects.load(Relaxed),
            markers: counts.markers.load(Relaxed),
            limbo: header.queues[LIMBO as usize].count.load(Relaxed),
            evictions: counts.evictions.load(Relaxed),
            evicted_bytes: counts.evicted_bytes.load(Relaxed),
            expired: counts.expired.load(Relaxed),
            inserted: counts.inserted.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            processes: core.processes().live(),
            reaped: counts.reaped.load(Relaxed),
            repairs: counts.repairs.load(Relaxed),
            max_object: header.max_object.load(Relaxed),
            variants: counts.variants.load(Relaxed),
            damaged: counts.damaged.load(Relaxed),
            restored: counts.restored.load(Relaxed),
        }
    }
}
