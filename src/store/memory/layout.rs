//! The layout of a region. It follows from the length alone, so that nothing read from the region determines where a
//! fixed part lies.
//!
//! ```text
//! Header | process table | shards | epochs | purges | lanes | buckets | ghosts | filters | arena ........ end block
//! ```
//!
//! | part | guarded by |
//! |---|---|
//! | header counters, `clock`, slots, lanes | atomic |
//! | the purge log | the arena lock, to write it and to decide by it |
//! | filters of buckets | bits are set under the arena lock before the entry is linked, and cleared under the shard's lock |
//! | `leader` | atomic; see `upkeep/maintenance.rs` |
//! | arena control, queues, blocks, `refs` of bodies, linking and unlinking of entries | the arena lock |
//! | chains, leases, `waiters` of entries, setting a pin | the shard's lock (with the arena lock to link and unlink) |
//! | clearing a pin | atomic while the entry is linked, else the arena lock |
//! | bytes of a growing body beyond its length | its only writer |
//!
//! Locks are always taken in the order arena, shard, private pin table.

use crate::store::error::StoreError;
use crate::store::memory::bytes::{GRANULE, Shared};
use crate::store::memory::lane::Lane;
use crate::store::memory::platform::{AtomicU32, AtomicU64};

/// Unix time or a duration in milliseconds.
pub type Millis = u64;

/// The first word of a region: "swrcache", little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"swrcache");
/// Incremented with every change of the layout.
pub(crate) const VERSION: u32 = 6;
/// The maximum number of processes in a region: 63 in each of two words, whose last bit is [`UNLINKED`].
pub(crate) const SLOTS: usize = 126;
/// In a pin word: lookups can't find the entry.
pub(crate) const UNLINKED: u64 = 1 << 63;
/// The number of removal counters, which void claims without a lease.
pub(crate) const EPOCHS: usize = 1024;
/// Bytes of the region per remembered purge.
const BYTES_PER_PURGE: usize = 64 * 1024;

/// Bytes of the region per lane: the lanes take one in a hundred and fifty.
const BYTES_PER_LANE: usize = 1 << 20;

const LINE: usize = 64;
const MIN_ARENA: usize = 32 * 1024;
/// Bytes of the region per bucket of the index.
const BYTES_PER_BUCKET: usize = 1024;
const MAX_SHARDS: usize = 256;

/// The size classes of free blocks: 16 per power of two.
pub(crate) const CLASS_BITS: u32 = 4;
pub(crate) const CLASSES: usize = 1 << CLASS_BITS;
pub(crate) const LEVELS: usize = 30;

/// The head of a region.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// Non-zero: the region was found to be inconsistent, and every operation fails.
    pub(crate) poisoned: AtomicU32,
    pub(crate) len: AtomicU64,
    pub(crate) seed: AtomicU64,
    pub(crate) max_object: AtomicU64,
    /// How often the region was taken over from a file that was not in use, plus one.
    pub(crate) era: AtomicU32,
    /// Non-zero: the region is in a file, and checksums are kept.
    pub(crate) durable: AtomicU32,
    /// The boot id of the machine when the region was last taken over from its file.
    pub(crate) boot: [AtomicU64; 2],
    /// The latest `now` passed to a writing call.
    pub(crate) clock: AtomicU64,
    /// The next object id.
    pub(crate) ids: AtomicU64,
    /// The next lease nonce.
    pub(crate) nonces: AtomicU64,
    /// No entry dies before this time.
    pub(crate) soonest: AtomicU64,
    /// The least `dead_at` seen in the current pass of the sweep.
    pub(crate) soonest_seen: AtomicU64,
    pub(crate) sweep_cursor: AtomicU64,
    /// Non-zero: the last process closed the region cleanly and sealed it, and none has entered since.
    pub(crate) clean: AtomicU32,
    /// For a region in a file: the PID namespace of the processes in it; 0 if unknown.
    pub(crate) namespace: AtomicU32,
    /// The number of purges so far, which is the number of the last one.
    pub(crate) purges: AtomicU64,
    pub(crate) counts: Counts,
    pub(crate) arena: ArenaControl,
    pub(crate) queues: [Queue; 3],
    pub(crate) slots: [Slot; SLOTS],
}

/// The counters for [`Stats`](crate::store::Stats).
#[repr(C)]
pub(crate) struct Counts {
    pub(crate) payload: AtomicU64,
    pub(crate) objects: AtomicU64,
    pub(crate) markers: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) inserted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) reaped: AtomicU64,
    pub(crate) repairs: AtomicU64,
    /// Objects removed because their key had too many variants.
    pub(crate) variants: AtomicU64,
    /// Objects found damaged and removed.
    pub(crate) damaged: AtomicU64,
    /// Objects that the last start restored from the file.
    pub(crate) restored: AtomicU64,
    _pad: [AtomicU64; 3],
}

/// The state of the allocator.
#[repr(C)]
pub(crate) struct ArenaControl {
    pub(crate) lock: AtomicU32,
    /// Non-zero: a holder of the lock died, and there is no arena guard for others until a repair is done.
    pub(crate) dirty: AtomicU32,
    /// The granules in blocks that are not free.
    pub(crate) used: AtomicU64,
    pub(crate) levels: AtomicU32,
    pub(crate) classes: [AtomicU32; LEVELS],
    /// The process that does the maintenance after a death, and the number of its turns (see `upkeep/maintenance.rs`).
    pub(crate) leader: AtomicU32,
    pub(crate) heads: [[AtomicU32; CLASSES]; LEVELS],
}

/// A list of entries, the oldest at the head.
#[repr(C)]
pub(crate) struct Queue {
    pub(crate) head: AtomicU32,
    pub(crate) tail: AtomicU32,
    pub(crate) count: AtomicU64,
    /// The granules of the entries and their bodies.
    pub(crate) cost: AtomicU64,
}

/// A process (see `process/table.rs`).
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) identity: AtomicU64,
    /// The number of its waker plus one; 0 for none.
    pub(crate) waker: AtomicU32,
    /// The set that the waker belongs to; 0 for none.
    pub(crate) wakers: AtomicU32,
    /// Where reclaiming what a dead process left continues; its token is in the upper bits.
    pub(crate) reap_cursor: AtomicU64,
}

/// A shard of the index: its lock, in a cache line of its own.
#[repr(C)]
pub(crate) struct Shard {
    pub(crate) lock: AtomicU32,
    _pad: [AtomicU32; 15],
}

/// A line of the purge log, see `index/purge_log.rs`.
#[repr(C)]
pub(crate) struct PurgeRecord {
    pub(crate) number: AtomicU64,
    /// The kind in the low byte, the length of a prefix above it.
    pub(crate) what: AtomicU64,
    /// A label, or the hash of a key or of a prefix.
    pub(crate) hash: AtomicU64,
    /// The time as of which the purge aged what it selects; 0 if it removed it.
    pub(crate) aged: AtomicU64,
}

// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for PurgeRecord {}
// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Header {}
// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Shard {}

/// The offsets of the parts of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) len: usize,
    pub(crate) shards: usize,
    pub(crate) shards_at: usize,
    pub(crate) epochs_at: usize,
    /// The number of remembered purges.
    pub(crate) purges: usize,
    pub(crate) purges_at: usize,
    /// The number of lanes, a power of two.
    pub(crate) lanes: usize,
    pub(crate) lanes_at: usize,
    pub(crate) buckets: usize,
    pub(crate) buckets_at: usize,
    pub(crate) ghosts_at: usize,
    pub(crate) filters_at: usize,
    /// The first granule of the arena.
    pub(crate) arena: u32,
    /// The granule of the end block.
    pub(crate) end: u32,
}

const fn line_up(n: usize) -> usize {
    n.next_multiple_of(LINE)
}

impl Geometry {
    /// The minimum length of a region in bytes.
    pub(crate) fn min_len() -> usize {
        let (buckets, shards, purges) = (64, 4, 16);
        line_up(Geometry::fixed(buckets, shards, purges) + size_of::<Lane>() + MIN_ARENA)
    }

    /// The maximum length of a region in bytes, as far as 32-bit references reach.
    pub(crate) fn max_len() -> usize {
        (u32::MAX as usize - 1) * GRANULE
    }

    fn fixed(buckets: usize, shards: usize, purges: usize) -> usize {
        line_up(size_of::<Header>())
            + shards * LINE
            + EPOCHS * 4
            + purges * size_of::<PurgeRecord>()
            + 3 * line_up(buckets * 4)
    }

    /// Lays out `len` bytes.
    pub(crate) fn of(len: usize) -> Result<Geometry, StoreError> {
        if len < Geometry::min_len() {
            return Err(StoreError::TooSmall {
                given: len,
                needed: Geometry::min_len(),
            });
        }
        if len > Geometry::max_len() {
            return Err(StoreError::TooLarge {
                given: len,
                limit: Geometry::max_len(),
            });
        }
        let buckets = power_at_most(len / BYTES_PER_BUCKET).clamp(64, 1 << 26);
        let shards = power_at_most(buckets / 16).clamp(4, MAX_SHARDS);
        let shards_at = line_up(size_of::<Header>());
        let epochs_at = shards_at + shards * LINE;
        let purges = power_at_most(len / BYTES_PER_PURGE).clamp(16, 4096);
        let purges_at = epochs_at + EPOCHS * 4;
        let lanes = power_at_most(len / BYTES_PER_LANE).clamp(1, SLOTS.next_power_of_two());
        let lanes_at = line_up(purges_at + purges * size_of::<PurgeRecord>());
        let buckets_at = lanes_at + lanes * size_of::<Lane>();
        let ghosts_at = buckets_at + line_up(buckets * 4);
        let filters_at = ghosts_at + line_up(buckets * 4);
        let arena = (filters_at + line_up(buckets * 4)) / GRANULE;
        let end = len / GRANULE - 1;
        Ok(Geometry {
            len,
            shards,
            shards_at,
            epochs_at,
            purges,
            purges_at,
            lanes,
            lanes_at,
            buckets,
            buckets_at,
            ghosts_at,
            filters_at,
            arena: arena as u32,
            end: end as u32,
        })
    }
}

fn power_at_most(n: usize) -> usize {
    match n {
        0 => 1,
        n => 1 << (usize::BITS - 1 - n.leading_zeros()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_length_can_be_laid_out_and_one_byte_less_cannot() {
        let g = Geometry::of(Geometry::min_len()).expect("least");
        assert!((g.end - g.arena) as usize * GRANULE >= MIN_ARENA - GRANULE);
        let e = Geometry::of(Geometry::min_len() - 1)
            .expect_err("too small")
            .to_string();
        assert!(e.contains(&Geometry::min_len().to_string()), "{e}");
    }

    #[test]
    fn the_fixed_parts_of_any_length_stay_below_four_per_cent() {
        for len in [1 << 20, 10_000_000, 256 << 20, (4usize << 30) + 12345] {
            let g = Geometry::of(len).expect("geometry");
            let fixed = g.arena as usize * GRANULE;
            assert!(fixed * 100 < len * 4, "{len}: {fixed}");
            assert!(g.end as usize * GRANULE + GRANULE <= len);
            assert!(g.arena < g.end);
        }
    }

    #[test]
    fn the_header_has_no_padding_that_differs() {
        assert_eq!(size_of::<Shard>(), LINE);
        assert_eq!(size_of::<Slot>(), 24);
        assert_eq!(std::mem::offset_of!(Header, clock), LINE);
    }
}
