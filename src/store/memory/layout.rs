//! Where everything lies in a region. All of it follows from the length alone, so nothing that is read back from
//! the region decides where a fixed part lies.
//!
//! ```text
//! Header | process table | shards | epochs | purges | lanes | buckets | ghosts | filters | arena ........ end block
//! ```
//!
//! | part | guarded by |
//! |---|---|
//! | header counters, `clock`, slots, lanes | atomic |
//! | the log of purges | the arena lock to write and to judge by it |
//! | filters of buckets | bits are set under the arena lock before the entry is linked, and cleared under the lock of the shard |
//! | `leader` | atomic; see `maintenance.rs` |
//! | arena control, queues, blocks, `refs` of bodies, linking and unlinking of entries | the arena lock |
//! | chains, leases, `waiters` of entries, setting a pin | the lock of the shard (with the arena lock to link and unlink) |
//! | clearing a pin | atomic while the entry is linked, else the arena lock |
//! | bytes of a growing body beyond its length | its one writer |
//!
//! Locks are taken in the order arena, shard, private pin table; never otherwise.

use crate::store::error::StoreError;
use crate::store::memory::bytes::{GRANULE, Shared};
use crate::store::memory::lane::Lane;
use crate::store::memory::platform::{AtomicU32, AtomicU64};

/// Unix time in milliseconds, or a span of milliseconds.
pub type Millis = u64;

/// First word of a region: "swrcache", little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"swrcache");
/// Raised with every change of the layout.
pub(crate) const VERSION: u32 = 6;
/// Processes that can be in a region at once: 63 for each of two words, whose last bit is [`UNLINKED`].
pub(crate) const SLOTS: usize = 126;
/// In a word of pins: the entry can't be found by lookups.
pub(crate) const UNLINKED: u64 = 1 << 63;
/// Void counters, for claims that have no lease.
pub(crate) const EPOCHS: usize = 1024;
/// Bytes of the region for each purge that is remembered.
const BYTES_PER_PURGE: usize = 64 * 1024;

/// Bytes of the region for each lane: they take one in a hundred and fifty.
const BYTES_PER_LANE: usize = 1 << 20;

const LINE: usize = 64;
const MIN_ARENA: usize = 32 * 1024;
/// Bytes of the region for each bucket of the index.
const BYTES_PER_BUCKET: usize = 1024;
const MAX_SHARDS: usize = 256;

/// Size classes of free blocks: 16 for each power of two.
pub(crate) const CLASS_BITS: u32 = 4;
pub(crate) const CLASSES: usize = 1 << CLASS_BITS;
pub(crate) const LEVELS: usize = 30;

/// The head of a region.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// Not zero: the region was found to contradict itself and answers nothing any more.
    pub(crate) poisoned: AtomicU32,
    pub(crate) len: AtomicU64,
    pub(crate) seed: AtomicU64,
    pub(crate) max_object: AtomicU64,
    /// How often the region was taken from a file that nobody had in use, plus one.
    pub(crate) era: AtomicU32,
    /// Not zero: it lies in a file, and checksums are kept.
    pub(crate) durable: AtomicU32,
    /// The run of the machine in which it was last taken from its file.
    pub(crate) boot: [AtomicU64; 2],
    /// Latest `now` that a writing call brought.
    pub(crate) clock: AtomicU64,
    /// Next object id.
    pub(crate) ids: AtomicU64,
    /// Next lease nonce.
    pub(crate) nonces: AtomicU64,
    /// No entry dies before this time.
    pub(crate) soonest: AtomicU64,
    /// Least `dead_at` seen in the pass of the sweep that is under way.
    pub(crate) soonest_seen: AtomicU64,
    pub(crate) sweep_cursor: AtomicU64,
    /// Not zero: the last process ended well and sealed it, and none has entered since.
    pub(crate) clean: AtomicU32,
    /// Of a region in a file: the PID namespace of those who are in it; 0 when unknown.
    pub(crate) namespace: AtomicU32,
    /// How many purges there were: the number of the last one.
    pub(crate) purges: AtomicU64,
    pub(crate) counts: Counts,
    pub(crate) arena: ArenaControl,
    pub(crate) queues: [Queue; 3],
    pub(crate) slots: [Slot; SLOTS],
}

/// Counters for [`Stats`](crate::store::Stats).
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
    /// Objects dropped as their key had too many variants.
    pub(crate) variants: AtomicU64,
    /// Objects found damaged, and dropped.
    pub(crate) damaged: AtomicU64,
    /// Objects that the last start has taken over from the file.
    pub(crate) restored: AtomicU64,
    _pad: [AtomicU64; 3],
}

/// The allocator's own state.
#[repr(C)]
pub(crate) struct ArenaControl {
    pub(crate) lock: AtomicU32,
    /// Not zero: a holder died within, and nobody else gets an arena guard before it is repaired.
    pub(crate) dirty: AtomicU32,
    /// Granules in blocks that are not free.
    pub(crate) used: AtomicU64,
    pub(crate) levels: AtomicU32,
    pub(crate) classes: [AtomicU32; LEVELS],
    /// Who puts the region in order after a death, and the count of its pieces (see `maintenance.rs`).
    pub(crate) leader: AtomicU32,
    pub(crate) heads: [[AtomicU32; CLASSES]; LEVELS],
}

/// A list of entries, the oldest at the head.
#[repr(C)]
pub(crate) struct Queue {
    pub(crate) head: AtomicU32,
    pub(crate) tail: AtomicU32,
    pub(crate) count: AtomicU64,
    /// Granules of the entries and their bodies.
    pub(crate) cost: AtomicU64,
}

/// One process (see `table.rs`).
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) identity: AtomicU64,
    /// Number of its waker plus one; 0 is none.
    pub(crate) waker: AtomicU32,
    /// The set that the waker is of; 0 is none.
    pub(crate) wakers: AtomicU32,
    /// Where cleaning up after a dead process goes on; its token is above.
    pub(crate) reap_cursor: AtomicU64,
}

/// A shard of the index: its lock, on a cache line of its own.
#[repr(C)]
pub(crate) struct Shard {
    pub(crate) lock: AtomicU32,
    _pad: [AtomicU32; 15],
}

/// What a purge was for, see `purge.rs`.
#[repr(C)]
pub(crate) struct PurgeRecord {
    pub(crate) number: AtomicU64,
    /// The kind in the low byte; above it, the length of a prefix.
    pub(crate) what: AtomicU64,
    /// A label, or the hash of a key or of a prefix.
    pub(crate) hash: AtomicU64,
    /// When it aged what it was for; 0: it removed it.
    pub(crate) aged: AtomicU64,
}

// SAFETY: repr(C) and atomics only.
unsafe impl Shared for PurgeRecord {}
// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Header {}
// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Shard {}

/// Offsets of the parts of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) len: usize,
    pub(crate) shards: usize,
    pub(crate) shards_at: usize,
    pub(crate) epochs_at: usize,
    /// How many purges are remembered.
    pub(crate) purges: usize,
    pub(crate) purges_at: usize,
    /// Where processes count: a power of two.
    pub(crate) lanes: usize,
    pub(crate) lanes_at: usize,
    pub(crate) buckets: usize,
    pub(crate) buckets_at: usize,
    pub(crate) ghosts_at: usize,
    pub(crate) filters_at: usize,
    /// First granule of the arena.
    pub(crate) arena: u32,
    /// Granule of the end block.
    pub(crate) end: u32,
}

const fn line_up(n: usize) -> usize {
    n.next_multiple_of(LINE)
}

impl Geometry {
    /// The least length that can be laid out.
    pub(crate) fn min_len() -> usize {
        let (buckets, shards, purges) = (64, 4, 16);
        line_up(Geometry::fixed(buckets, shards, purges) + size_of::<Lane>() + MIN_ARENA)
    }

    /// The most that 32-bit references reach.
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
