//! The contents of the arena's blocks: entries (objects and markers), bodies, extents.
//!
//! # The life of an entry
//!
//! | state | linked | pinned | queue | next state |
//! |---|---|---|---|---|
//! | being filled, unpublished | no | by its filler | limbo | commit -> current; abort -> freed |
//! | current | yes | perhaps | small or main | eviction, removal, replacement, sweep, abort -> lingering or freed |
//! | lingering | no | yes | limbo | the last unpin, or the reaper when the last pinning process died -> freed |
//! | freed | - | - | - | its block is free |
//!
//! Outside the arena lock, every entry is linked or pinned (by a process that is alive or has not been reclaimed). An
//! entry is linked if the [`UNLINKED`] bit is clear in both of its pin words; the bit is set before the entry leaves
//! its chain.
//!
//! # The life of a body
//!
//! | phase | next phase | readers |
//! |---|---|---|
//! | Growing | its writer: write -> Growing, commit -> Complete, abort -> Broken; the reaper -> Broken | follow `len`; if the writer's process is dead, they see Broken |
//! | Complete | - | can read all of it; renewed heads share it |
//! | Broken | - | end abnormally; lookups don't find it |
//!
//! An entry that becomes current with a complete body is marked with [`WHOLE`], so that a lookup need not read the
//! body's head.
//!
//! # The life of a marker
//! A marker is an entry of kind marker. It carries the lease on `(key, sub)`, and for sub 0 what is remembered about
//! the key. It is unlinked when its claim ends and nothing is remembered, and may be evicted or swept while it is not
//! leased.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::memory::bytes::{GRANULE, Memory, Shared};
use crate::store::memory::layout::UNLINKED;
use crate::store::memory::platform::{AtomicU8, AtomicU32, AtomicU64};

/// The size of a label in bytes.
pub(crate) const LABEL: usize = 8;
/// The size of a block's header in granules.
pub(crate) const BLOCK_HEADER: usize = 1;

/// The header of every block of the arena.
#[repr(C)]
pub(crate) struct Block {
    /// The size in granules in the low 32 bits, the kind above: one word, so that both change in a single store.
    pub(crate) word: AtomicU64,
    /// The size of the preceding block in granules.
    pub(crate) prev: AtomicU32,
    _pad: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Free,
    /// Allocated during the current hold of the arena lock, and not initialised yet.
    Raw,
    Entry,
    Body,
    Extent,
    /// The sentinel after the last block.
    End,
}

impl Kind {
    fn of(word: u64) -> Option<Kind> {
        Some(match word >> 32 {
            1 => Kind::Free,
            2 => Kind::Raw,
            3 => Kind::Entry,
            4 => Kind::Body,
            5 => Kind::Extent,
            6 => Kind::End,
            _ => return None,
        })
    }
    fn number(self) -> u64 {
        match self {
            Kind::Free => 1,
            Kind::Raw => 2,
            Kind::Entry => 3,
            Kind::Body => 4,
            Kind::Extent => 5,
            Kind::End => 6,
        }
    }
}

impl Entry {
    /// The number of labels, and the length of the key in bytes.
    #[inline]
    pub(crate) fn lens(&self) -> (usize, usize) {
        let word = self.lens.load(Relaxed) as usize;
        (word >> KEY_BITS, word & MAX_KEY)
    }
    /// The arguments are at most [`MAX_LABELS`] and [`MAX_KEY`].
    pub(crate) fn set_lens(&self, labels: usize, key: usize) {
        self.lens.store((labels << KEY_BITS | key) as u32, Relaxed);
    }
}

impl Block {
    /// The size in granules and the kind; `None` if the word is malformed.
    #[inline]
    pub(crate) fn get(&self) -> Option<(u32, Kind)> {
        let word = self.word.load(Acquire);
        Some((word as u32, Kind::of(word)?))
    }
    pub(crate) fn pack(size: u32, kind: Kind) -> u64 {
        u64::from(size) | kind.number() << 32
    }
}

pub(crate) const OBJECT: u8 = 1;
pub(crate) const MARKER: u8 = 2;
/// In `flags`: removed explicitly, so that a fetch that began before must not bring the entry back.
pub(crate) const REMOVED: u8 = 1;

/// In `flags`: the body is complete, and stays so. If the bit is clear, the body's head tells.
pub(crate) const WHOLE: u8 = 2;

/// In `flags`: derived from another object of its key, and can be made anew.
pub(crate) const DERIVED: u8 = 4;

/// The head of an object or marker; labels, key and meta follow it. The fields that a lookup needs come first.
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) hash: AtomicU64,
    pub(crate) next: AtomicU32,
    pub(crate) body: AtomicU32,
    /// The length of the key in bytes, and the number of labels above it.
    pub(crate) lens: AtomicU32,
    pub(crate) meta_len: AtomicU32,
    pub(crate) kind: AtomicU8,
    pub(crate) freq: AtomicU8,
    pub(crate) queue: AtomicU8,
    pub(crate) flags: AtomicU8,
    /// The cost of the entry in its queue, in granules, including its body.
    pub(crate) cost: AtomicU32,
    pub(crate) pins: [AtomicU64; 2],
    pub(crate) dead_at: AtomicU64,
    pub(crate) id: AtomicU64,
    /// Objects: the time at which they became current. Markers: the time until which they remember something.
    pub(crate) born: AtomicU64,
    pub(crate) lease: AtomicU64,
    pub(crate) deadline: AtomicU64,
    /// The processes to be woken when the lease ends, by slot.
    pub(crate) waiters: [AtomicU64; 2],
    /// Objects: defined by the user of the store. Markers: see the constants below.
    pub(crate) attributes: [AtomicU64; ATTRIBUTES],
    pub(crate) older: AtomicU32,
    pub(crate) newer: AtomicU32,
    /// The checksum (`index/checksum.rs`); 0 for none.
    pub(crate) sum: AtomicU64,
    /// The number of the last purge at the time the entry was linked.
    pub(crate) purges: AtomicU64,
    /// The time as of which a purge aged the entry; 0 if none did.
    pub(crate) aged: AtomicU64,
}

/// The bits of the word `lens` that hold the length of the key.
const KEY_BITS: u32 = 20;
/// The number of 64-bit attributes of an object, which the user of the store may change while it is stored.
pub const ATTRIBUTES: usize = 5;
/// The maximum length of a key in bytes.
pub const MAX_KEY: usize = (1 << KEY_BITS) - 1;
/// The maximum number of labels of an object.
pub const MAX_LABELS: usize = (1 << (32 - KEY_BITS)) - 1;

/// The number of 64-bit attributes of a key's marker that the user of the store defines.
pub const MARKER_ATTRIBUTES: usize = 4;
/// The attribute that distinguishes the markers of one key.
pub(crate) const SUB: usize = MARKER_ATTRIBUTES;

pub(crate) const GROWING: u32 = 1;
pub(crate) const COMPLETE: u32 = 2;
pub(crate) const BROKEN: u32 = 3;

/// The `total` of a body of unknown length.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// The head of a body; the bytes of its first piece follow it.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) refs: AtomicU32,
    pub(crate) phase: AtomicU32,
    pub(crate) total: AtomicU64,
    /// The number of published bytes.
    pub(crate) len: AtomicU64,
    /// The processes to be woken when the body grows or ends, by slot.
    pub(crate) waiters: [AtomicU64; 2],
    /// The token of the process that fills the body.
    pub(crate) owner: AtomicU32,
    /// The first extent after the bytes that follow this head.
    pub(crate) next: AtomicU32,
    /// The number of bytes that there is room for after this head.
    pub(crate) room: AtomicU32,
    /// The era of the region in which the bytes were last verified; 0 until the body has been committed and counted.
    pub(crate) era: AtomicU32,
    /// See `index/checksum.rs`.
    pub(crate) sum: AtomicU64,
}

/// The head of a further piece of a body; its bytes follow.
#[repr(C)]
pub(crate) struct Extent {
    /// The offset of its first byte in the body.
    pub(crate) start: AtomicU64,
    pub(crate) next: AtomicU32,
    pub(crate) room: AtomicU32,
}

// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Block {}
// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Entry {}
// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Body {}
// SAFETY: the type is repr(C) and consists of atomics only.
unsafe impl Shared for Extent {}

/// The offset of the contents of a block.
#[inline]
pub(crate) fn content(block: u32) -> usize {
    (block as usize + BLOCK_HEADER) * GRANULE
}

/// The size in granules of a block that holds `bytes` after its header.
pub(crate) fn granules(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(GRANULE) + BLOCK_HEADER)
        .ok()
        .map(|n| n.max(2))
}

/// An entry whose head was checked: labels, key and meta lie within its block.
#[derive(Clone, Copy)]
pub(crate) struct EntryAt<'a> {
    pub(crate) block: u32,
    pub(crate) e: &'a Entry,
    pub(crate) memory: &'a Memory,
    pub(crate) labels: usize,
    pub(crate) key_len: usize,
    pub(crate) meta_len: usize,
}

impl<'a> EntryAt<'a> {
    fn labels_at(&self) -> usize {
        content(self.block) + size_of::<Entry>()
    }
    fn key_at(&self) -> usize {
        self.labels_at() + self.labels * LABEL
    }
    /// The labels; the conditions of [`EntryAt::key`] apply.
    pub(crate) fn labels(&self) -> impl Iterator<Item = u64> + 'a {
        // SAFETY: as in `key`.
        let bytes = unsafe { self.memory.bytes(self.labels_at(), self.labels * LABEL) };
        let labels = bytes.unwrap_or_default().chunks_exact(LABEL);
        labels.filter_map(|b| Some(u64::from_le_bytes(b.try_into().ok()?)))
    }
    /// The key. It does not change while the entry is pinned, or its shard or the arena is locked; one of these holds
    /// at every caller.
    #[inline]
    pub(crate) fn key(&self) -> &'a [u8] {
        // SAFETY: labels, key and meta are written before the block becomes an entry, and never while it is one.
        unsafe { self.memory.bytes(self.key_at(), self.key_len) }.unwrap_or_default()
    }
    /// The meta bytes; the conditions of [`EntryAt::key`] apply.
    #[inline]
    pub(crate) fn meta(&self) -> &'a [u8] {
        // SAFETY: as in `key`.
        unsafe {
            self.memory
                .bytes(self.key_at() + self.key_len, self.meta_len)
        }
        .unwrap_or_default()
    }
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.e.pins[0].load(Acquire) & UNLINKED == 0
    }
    #[inline]
    pub(crate) fn is_object(&self) -> bool {
        self.e.kind.load(Relaxed) == OBJECT
    }
    /// Whether the entry is marked as having a complete body.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.e.flags.load(Acquire) & WHOLE != 0
    }
    /// Whether it is derived from another object of its key ([`Fill::mark_derived`](crate::store::Fill::mark_derived)).
    #[inline]
    pub(crate) fn is_derived(&self) -> bool {
        self.e.flags.load(Relaxed) & DERIVED != 0
    }
    /// Marks the entry as having a complete body, if it has one.
    pub(crate) fn set_whole(&self) {
        self.e.flags.fetch_or(WHOLE, Release);
    }
    pub(crate) fn body(&self) -> u32 {
        self.e.body.load(Relaxed)
    }
    /// Whether the entry is linked, and neither purged nor removed.
    pub(crate) fn is_current(&self) -> bool {
        self.is_linked() && self.e.flags.load(Relaxed) & REMOVED == 0
    }
    /// The total length of labels, key and meta in bytes.
    pub(crate) fn head_len(&self) -> u64 {
        (self.labels * LABEL + self.key_len + self.meta_len) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stay_as_small_as_the_density_needs() {
        assert_eq!(size_of::<Block>(), GRANULE * BLOCK_HEADER);
        assert_eq!(size_of::<Entry>(), 176);
        assert_eq!(size_of::<Body>(), 64);
        assert_eq!(size_of::<Extent>(), 16);
    }
}
