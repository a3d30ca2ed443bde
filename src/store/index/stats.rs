//! Counts that a region keeps.

use std::sync::atomic::Ordering::Relaxed;

use crate::store::index::core::Core;
use crate::store::index::queue::LIMBO;
use crate::store::memory::bytes::GRANULE;

/// Counts of a region, read without a lock: each is right, together they may be a moment apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the region.
    pub size: u64,
    /// Bytes that can hold objects.
    pub capacity: u64,
    /// Bytes of the capacity in use.
    pub used: u64,
    /// Bytes of keys, meta and complete bodies among the used.
    pub payload: u64,
    /// Objects that lookups can find.
    pub objects: u64,
    /// Markers.
    pub markers: u64,
    /// Objects and markers that lookups can't find: being filled, or still being read.
    pub limbo: u64,
    /// Objects evicted for room since the region was made.
    pub evictions: u64,
    /// Bytes evicted for room.
    pub evicted_bytes: u64,
    /// Dead objects and markers dropped.
    pub expired: u64,
    /// Objects made current.
    pub inserted: u64,
    /// Requests for room that found none.
    pub refused: u64,
    /// Processes in the region.
    pub processes: u32,
    /// Dead processes cleaned up after.
    pub reaped: u64,
    /// Repairs after a process died in the middle of an allocation.
    pub repairs: u64,
    /// The longest permitted body, in bytes.
    pub max_object: u64,
    /// Objects dropped as their key had too many variants.
    pub variants: u64,
    /// Objects that were found damaged, and dropped.
    pub damaged: u64,
    /// Objects that the last start has taken over from the file; 0 where there is none.
    pub restored: u64,
}

impl Stats {
    /// The counts.
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
