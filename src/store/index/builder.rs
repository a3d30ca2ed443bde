//! Allocates entries and bodies, and evicts others to make room.

use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::evict::Eviction;
use crate::store::index::queue::LIMBO;
use crate::store::memory::block::{
    ATTRIBUTES, Body, Entry, EntryAt, Extent, GROWING, Kind, LABEL, MARKER, MAX_KEY, MAX_LABELS,
    SUB, UNKNOWN, content, granules,
};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::{Millis, UNLINKED};
use crate::store::process::table::pin_of;

/// The largest piece of a body, in bytes, so that evicting whatever is stored can make room for it.
const LARGEST_PIECE: usize = 1 << 20;
/// The smallest piece that a body is split into when memory is fragmented, in bytes.
const SMALLEST_PIECE: usize = 4096;
/// The number of evictions for a contiguous piece before smaller pieces are used.
const EVICTIONS_FOR_ONE_PIECE: usize = 8;

/// The parts of an entry.
pub(crate) struct EntryParts<'a> {
    pub(crate) kind: u8,
    pub(crate) hash: u64,
    pub(crate) labels: &'a [u64],
    pub(crate) key: &'a [u8],
    pub(crate) meta: &'a [u8],
    pub(crate) attributes: [u64; ATTRIBUTES],
    pub(crate) dead_at: Millis,
    pub(crate) born: Millis,
}

/// An allocated piece of a body.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) block: u32,
    pub(crate) room: usize,
}

/// Allocates entries and bodies while the arena lock is held.
pub(crate) struct Builder<'g, 'a> {
    guard: &'g mut ArenaGuard<'a>,
}

impl<'g, 'a> Builder<'g, 'a> {
    pub(crate) fn with(guard: &'g mut ArenaGuard<'a>) -> Builder<'g, 'a> {
        Builder { guard }
    }

    /// Allocates a block of `size` granules, evicting as needed.
    fn allocate(&mut self, size: u32) -> Option<u32> {
        loop {
            if let Some(block) = self.guard.arena().allocate(size) {
                return Some(block);
            }
            if !Eviction::with(self.guard).make_room() {
                self.refuse();
                return None;
            }
        }
    }

    fn refuse(&self) {
        self.guard.header().counts.refused.fetch_add(1, Relaxed);
    }

    /// Allocates a block for at most `want` bytes after a head of `head` bytes, in one piece if few evictions suffice.
    fn allocate_piece(&mut self, head: usize, want: usize) -> Option<Piece> {
        let want = want.min(LARGEST_PIECE);
        let mut evictions = 0;
        loop {
            let room = self.room_at_hand(head, want, evictions);
            if let Some(room) = room {
                if let Some(block) = self.guard.arena().allocate(granules(head + room)?) {
                    return Some(Piece { block, room });
                }
            }
            if !Eviction::with(self.guard).make_room() {
                self.refuse();
                return None;
            }
            evictions += 1;
        }
    }

    fn room_at_hand(&self, head: usize, want: usize, evictions: usize) -> Option<usize> {
        if evictions < EVICTIONS_FOR_ONE_PIECE {
            return Some(want);
        }
        let largest =
            (self.guard.arena().largest() as usize * GRANULE).saturating_sub(GRANULE + head);
        (largest >= want.min(SMALLEST_PIECE)).then_some(largest.min(want))
    }

    /// Makes an entry that is pinned by this process, unlinked, and in limbo. It takes over one reference to `body`.
    pub(crate) fn entry(&mut self, head: &EntryParts<'_>, body: u32) -> Option<EntryAt<'a>> {
        if head.key.len() > MAX_KEY || head.labels.len() > MAX_LABELS {
            return None;
        }
        let labels = head.labels.len() * LABEL;
        let size = size_of::<Entry>() + labels + head.key.len() + head.meta.len();
        let block = self.allocate(granules(size)?)?;
        self.fill_entry(block, head, body)?;
        self.guard.arena().set_kind(block, Kind::Entry)?;
        let at = self.guard.core.entry(block)?;
        self.guard.local.pins(block).insert(block, 1);
        self.guard.queues().push(LIMBO, &at);
        self.guard.count_payload(at.head_len() as i64);
        Some(at)
    }

    fn fill_entry(&self, block: u32, head: &EntryParts<'_>, body: u32) -> Option<()> {
        let memory = &self.guard.core.memory;
        let at = content(block);
        let labels_at = at + size_of::<Entry>();
        let key_at = labels_at + head.labels.len() * LABEL;
        let mut label_at = (labels_at..).step_by(LABEL);
        // SAFETY: the block was just allocated, no other block refers to it, and the arena lock is held.
        let written = unsafe {
            memory.zero(at, size_of::<Entry>())
                && head
                    .labels
                    .iter()
                    .zip(&mut label_at)
                    .all(|(l, at)| memory.write(at, &l.to_le_bytes()))
                && memory.write(key_at, head.key)
                && memory.write(key_at + head.key.len(), head.meta)
        };
        let e: &Entry = memory.at(at).filter(|_| written)?;
        let (w, bit) = pin_of(self.guard.local.slot());
        e.hash.store(head.hash, Relaxed);
        e.pins[0].store(UNLINKED, Relaxed);
        e.pins[1].store(UNLINKED, Relaxed);
        e.pins[w].fetch_or(bit, Relaxed);
        e.dead_at.store(head.dead_at, Relaxed);
        e.born.store(head.born, Relaxed);
        e.id.store(
            self.guard.core.next_number(&self.guard.header().ids),
            Relaxed,
        );
        e.attributes
            .iter()
            .zip(head.attributes)
            .for_each(|(w, v)| w.store(v, Relaxed));
        e.body.store(body, Relaxed);
        e.set_lens(head.labels.len(), head.key.len());
        e.meta_len
            .store(u32::try_from(head.meta.len()).ok()?, Relaxed);
        e.kind.store(head.kind, Relaxed);
        Some(())
    }

    /// Makes a marker for `(key, sub)`, like [`Builder::entry`].
    pub(crate) fn marker(
        &mut self,
        hash: u64,
        key: &[u8],
        sub: u64,
        dead_at: Millis,
    ) -> Option<EntryAt<'a>> {
        let mut attributes = [0; ATTRIBUTES];
        attributes[SUB] = sub;
        self.entry(
            &EntryParts {
                kind: MARKER,
                hash,
                labels: &[],
                key,
                meta: &[],
                attributes,
                dead_at,
                born: 0,
            },
            0,
        )
    }

    /// Makes a growing body with one reference and room for at least one byte of `want` (for all of it, if `want` is
    /// the total: see [`Builder::extend`]).
    fn body(&mut self, total: u64, want: usize) -> Option<Piece> {
        let piece = self.allocate_piece(size_of::<Body>(), want)?;
        let at = content(piece.block);
        // SAFETY: the block was just allocated, no other block refers to it, and the arena lock is held.
        let zeroed = unsafe { self.guard.core.memory.zero(at, size_of::<Body>()) };
        let body: &Body = self.guard.core.memory.at(at).filter(|_| zeroed)?;
        body.refs.store(1, Relaxed);
        body.phase.store(GROWING, Relaxed);
        body.total.store(total, Relaxed);
        body.owner.store(self.guard.local.token, Relaxed);
        body.room.store(u32::try_from(piece.room).ok()?, Relaxed);
        self.guard.arena().set_kind(piece.block, Kind::Body)?;
        Some(piece)
    }

    /// Appends a piece after `last` (the body's own block, or an extent); it begins at offset `start` of the body.
    pub(crate) fn extend(&mut self, last: u32, start: u64, want: usize) -> Option<Piece> {
        let piece = self.allocate_piece(size_of::<Extent>(), want)?;
        let extent: &Extent = self.guard.core.memory.at(content(piece.block))?;
        extent.start.store(start, Relaxed);
        extent.next.store(0, Relaxed);
        extent.room.store(u32::try_from(piece.room).ok()?, Relaxed);
        self.guard.arena().set_kind(piece.block, Kind::Extent)?;
        let next = match self.guard.core.body(last) {
            Some((body, ..)) => &body.next,
            None => &self.guard.core.extent(last)?.0.next,
        };
        next.store(piece.block, Release);
        Some(piece)
    }

    /// Allocates all space for a body of known length, or the first piece of one of unknown length. Returns the first
    /// and the last piece, and the offset of the last.
    pub(crate) fn reserve(&mut self, total: Option<u64>) -> Option<(Piece, Piece, u64)> {
        let want = total.map_or(SMALLEST_PIECE, |t| usize::try_from(t).unwrap_or(usize::MAX));
        let first = self.body(total.unwrap_or(UNKNOWN), want)?;
        let (mut last, mut start) = (first, 0);
        let mut reserved = first.room as u64;
        while reserved < total.unwrap_or(0) {
            let more = usize::try_from(total.unwrap_or(0) - reserved).unwrap_or(usize::MAX);
            let Some(piece) = self.extend(last.block, reserved, more) else {
                self.guard.drop_body(first.block);
                return None;
            };
            (last, start) = (piece, reserved);
            reserved += piece.room as u64;
        }
        Some((first, last, start))
    }
}

/// By how much to extend a body of unknown length that has `len` bytes: as much again, within bounds.
pub(crate) fn growth(len: u64, needed: usize) -> usize {
    let again = usize::try_from(len).unwrap_or(LARGEST_PIECE);
    again
        .clamp(SMALLEST_PIECE, LARGEST_PIECE)
        .max(needed.min(LARGEST_PIECE))
}
