//! What lies in the blocks of the arena: entries (objects and markers), bodies, extents.
//!
//! # The life of an entry
//!
//! | state | linked | pinned | queue | who moves it on |
//! |---|---|---|---|---|
//! | being filled unseen | no | by its filler | limbo | commit -> current; abort -> freed |
//! | current | yes | perhaps | small or main | eviction, removal, replacement, sweep, abort -> lingering or freed |
//! | lingering | no | yes | limbo | the last unpin, or the reaper when the last pinner died -> freed |
//! | freed | - | - | - | its block is free |
//!
//! Outside the arena lock every entry is linked or pinned (by a process that lives or has not been cleaned up after).
//! "Linked" is the [`UNLINKED`] bit being clear in both words of pins; the bit is set before the entry leaves its chain.
//!
//! # The life of a body
//!
//! | phase | who moves it on | readers |
//! |---|---|---|
//! | Growing | its writer: write -> Growing, commit -> Complete, abort -> Broken; the reaper -> Broken | follow `len`; if the writer's process is gone they see Broken |
//! | Complete | nobody | have it all; renewed heads share it |
//! | Broken | nobody | end abnormally; lookups don't find it |
//!
//! An entry that is made current with a complete body says so itself ([`WHOLE`]), which spares a lookup the reading of the body.
//!
//! # The life of a marker
//! A marker is an entry of kind marker: it carries the lease on `(key, sub)`, and for sub 0 what is remembered of the
//! key. It is unlinked when its claim ends and nothing is remembered, and may be evicted or swept when it is not leased.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::memory::bytes::{GRANULE, Memory, Shared};
use crate::store::memory::layout::UNLINKED;
use crate::store::memory::platform::{AtomicU8, AtomicU32, AtomicU64};

/// Bytes of a label.
pub(crate) const LABEL: usize = 8;
/// Granules of a block's header.
pub(crate) const BLOCK_HEADER: usize = 1;

/// Head of every block of the arena.
#[repr(C)]
pub(crate) struct Block {
    /// Granules in the low 32 bits, kind above: one word, so that a block changes in one step.
    pub(crate) word: AtomicU64,
    /// Granules of the block before.
    pub(crate) prev: AtomicU32,
    _pad: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Free,
    /// Taken within the current hold of the arena lock, not yet anything.
    Raw,
    Entry,
    Body,
    Extent,
    /// Behind the last block.
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
    /// The number of labels, and the bytes of the key.
    #[inline]
    pub(crate) fn lens(&self) -> (usize, usize) {
        let word = self.lens.load(Relaxed) as usize;
        (word >> KEY_BITS, word & MAX_KEY)
    }
    /// At most [`MAX_LABELS`] and [`MAX_KEY`].
    pub(crate) fn set_lens(&self, labels: usize, key: usize) {
        self.lens.store((labels << KEY_BITS | key) as u32, Relaxed);
    }
}

impl Block {
    /// Size in granules and kind; `None` when the word is malformed.
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
/// In `flags`: removed explicitly, so that a fetch begun before must not bring it back.
pub(crate) const REMOVED: u8 = 1;

/// In `flags`: its body is complete, and will be. Where it is not set, the body has to be asked.
pub(crate) const WHOLE: u8 = 2;

/// Head of an object or marker; labels, key and meta follow it. What a lookup needs comes first.
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) hash: AtomicU64,
    pub(crate) next: AtomicU32,
    pub(crate) body: AtomicU32,
    /// Bytes of the key, and above them the number of labels.
    pub(crate) lens: AtomicU32,
    pub(crate) meta_len: AtomicU32,
    pub(crate) kind: AtomicU8,
    pub(crate) freq: AtomicU8,
    pub(crate) queue: AtomicU8,
    pub(crate) flags: AtomicU8,
    /// Granules it counts for in its queue, its body included.
    pub(crate) cost: AtomicU32,
    pub(crate) pins: [AtomicU64; 2],
    pub(crate) dead_at: AtomicU64,
    pub(crate) id: AtomicU64,
    /// Objects: when it was made current. Markers: until when something is remembered.
    pub(crate) born: AtomicU64,
    pub(crate) lease: AtomicU64,
    pub(crate) deadline: AtomicU64,
    /// Processes to be woken when the lease ends, by slot.
    pub(crate) waiters: [AtomicU64; 2],
    /// Objects: the user's. Markers: see the constants below.
    pub(crate) attributes: [AtomicU64; ATTRIBUTES],
    pub(crate) older: AtomicU32,
    pub(crate) newer: AtomicU32,
    /// Checksum (`index/checksum.rs`); 0 is none.
    pub(crate) sum: AtomicU64,
    /// The number of the last purge when it was linked.
    pub(crate) purges: AtomicU64,
    /// When a purge aged it; 0 is never.
    pub(crate) aged: AtomicU64,
}

/// Bits of the word `lens` that count the bytes of the key.
const KEY_BITS: u32 = 20;
/// How many 64-bit attributes an object has; its user may change them while it is stored.
pub const ATTRIBUTES: usize = 5;
/// The most bytes of a key.
pub const MAX_KEY: usize = (1 << KEY_BITS) - 1;
/// The most labels that an object can have.
pub const MAX_LABELS: usize = (1 << (32 - KEY_BITS)) - 1;

/// How many 64-bit attributes the marker of a key has for the user of the store.
pub const MARKER_ATTRIBUTES: usize = 4;
/// The attribute of a marker that tells it from others of its key.
pub(crate) const SUB: usize = MARKER_ATTRIBUTES;

pub(crate) const GROWING: u32 = 1;
pub(crate) const COMPLETE: u32 = 2;
pub(crate) const BROKEN: u32 = 3;

/// `total` of a body whose length is not known.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// Head of a body; the bytes of its first piece follow it.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) refs: AtomicU32,
    pub(crate) phase: AtomicU32,
    pub(crate) total: AtomicU64,
    /// Published bytes.
    pub(crate) len: AtomicU64,
    /// Processes to be woken when it grows or ends, by slot.
    pub(crate) waiters: [AtomicU64; 2],
    /// Token of the process that fills it.
    pub(crate) owner: AtomicU32,
    /// First extent behind the bytes that follow this head.
    pub(crate) next: AtomicU32,
    /// Bytes that can follow this head.
    pub(crate) room: AtomicU32,
    /// The region's era in which its bytes were last known to be right; 0 until it has been committed and counted.
    pub(crate) era: AtomicU32,
    /// See `checksum.rs`.
    pub(crate) sum: AtomicU64,
}

/// Head of a further piece of a body; its bytes follow.
#[repr(C)]
pub(crate) struct Extent {
    /// Offset of its first byte in the body.
    pub(crate) start: AtomicU64,
    pub(crate) next: AtomicU32,
    pub(crate) room: AtomicU32,
}

// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Block {}
// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Entry {}
// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Body {}
// SAFETY: repr(C) and atomics only.
unsafe impl Shared for Extent {}

/// Offset of what a block holds.
#[inline]
pub(crate) fn content(block: u32) -> usize {
    (block as usize + BLOCK_HEADER) * GRANULE
}

/// Granules of a block that holds `bytes` behind its header.
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
    /// The labels; as [`EntryAt::key`].
    pub(crate) fn labels(&self) -> impl Iterator<Item = u64> + 'a {
        // SAFETY: as in `key`.
        let bytes = unsafe { self.memory.bytes(self.labels_at(), self.labels * LABEL) };
        let labels = bytes.unwrap_or_default().chunks_exact(LABEL);
        labels.filter_map(|b| Some(u64::from_le_bytes(b.try_into().ok()?)))
    }
    /// The key. Stays as it is while the entry is pinned or its shard or the arena is locked, which holds at every caller.
    #[inline]
    pub(crate) fn key(&self) -> &'a [u8] {
        // SAFETY: labels, key and meta are written before the entry's block becomes an entry and never again while it is one.
        unsafe { self.memory.bytes(self.key_at(), self.key_len) }.unwrap_or_default()
    }
    /// The meta bytes; as [`EntryAt::key`].
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
    /// Whether its body is complete, as far as the entry knows.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.e.flags.load(Acquire) & WHOLE != 0
    }
    /// Says that its body is complete, when it is.
    pub(crate) fn set_whole(&self) {
        self.e.flags.fetch_or(WHOLE, Release);
    }
    pub(crate) fn body(&self) -> u32 {
        self.e.body.load(Relaxed)
    }
    /// Whether it is linked, and no purge or removal has had it.
    pub(crate) fn is_current(&self) -> bool {
        self.is_linked() && self.e.flags.load(Relaxed) & REMOVED == 0
    }
    /// Bytes of labels, key and meta.
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
