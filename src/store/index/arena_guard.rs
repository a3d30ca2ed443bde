//! The keeper: whoever holds the arena lock. It makes, links, unlinks and frees entries and bodies.
//!
//! If a keeper dies at its work, the next one repairs first (`repair.rs`), so within this file the order of stores
//! matters only to those that hold no arena lock: lookups, which see chains, pins and phases.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::handle::claim::NewHead;
use crate::store::index::core::{Core, Mask, Wakeups, take_waiters};
use crate::store::index::queue::{LIMBO, MAIN, SMALL};
use crate::store::memory::arena::Arena;
use crate::store::memory::block::{
    ATTRIBUTES, Body, EntryAt, Extent, GROWING, Kind, LABEL, MARKER, MAX_KEY, MAX_LABELS, OBJECT,
    REMOVED, SUB, UNKNOWN, content, granules,
};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::Millis;
use crate::store::memory::layout::{Header, UNLINKED};
use crate::store::memory::platform::yield_now;
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Member;
use crate::store::process::lock::{self, Guard};
use crate::store::process::table::pin_of;
use crate::store::upkeep::maintenance::Unavailable;

/// Largest piece of a body, so that evicting what lies about can make room for it.
const LARGEST_PIECE: usize = 1 << 20;
/// Smallest piece that a body is split into when memory is in pieces.
const SMALLEST_PIECE: usize = 4096;
/// Evictions for a contiguous piece before smaller ones are taken.
const EVICTIONS_FOR_ONE_PIECE: usize = 8;

/// What an entry is made of.
pub(crate) struct Head<'a> {
    pub(crate) kind: u8,
    pub(crate) hash: u64,
    pub(crate) labels: &'a [u64],
    pub(crate) key: &'a [u8],
    pub(crate) meta: &'a [u8],
    pub(crate) attributes: [u64; ATTRIBUTES],
    pub(crate) dead_at: Millis,
    pub(crate) born: Millis,
}

/// A piece of a body that was allocated.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) block: u32,
    pub(crate) room: usize,
}

pub(crate) struct ArenaGuard<'a> {
    _lock: ArenaLock<'a>,
    /// Rung after the lock is freed: fields are dropped in this order.
    pub(crate) wakeups: Wakeups<'a>,
    pub(crate) core: &'a Core,
    pub(crate) member: &'a Member,
}

/// The arena lock. Freed while panicking, it leaves word that a repair is needed.
struct ArenaLock<'a> {
    header: &'a Header,
    _guard: Guard<'a>,
}

impl Drop for ArenaLock<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.header.arena.dirty.store(1, Relaxed);
        }
    }
}

impl Core {
    /// Takes the arena lock. `None` when that can't be done in time, and while there is something to repair, of which this may
    /// do a stint (see `maintenance.rs`).
    pub(crate) fn arena_guard<'a>(&'a self, member: &'a Member) -> Option<ArenaGuard<'a>> {
        if self.is_dirty() && self.cools_down(member) {
            return None;
        }
        self.arena_guard_within(member, None).ok()
    }

    /// As [`Core::guard`], with a stint to repair in.
    pub(crate) fn arena_guard_within<'a>(
        &'a self,
        member: &'a Member,
        budget: Option<&mut TimeBudget>,
    ) -> Result<ArenaGuard<'a>, Unavailable> {
        let control = &self.header().arena;
        // Nobody waits for a lock that would be of no use; nor for that of another thread at its stint.
        if self.is_dirty()
            && (self.is_led_by_another(member) || control.lock.load(Relaxed) == member.token)
        {
            return Err(Unavailable::Busy);
        }
        let guard =
            lock::acquire(&control.lock, member, self.processes()).ok_or(Unavailable::Busy)?;
        if guard.abandoned {
            control.dirty.store(1, Release);
            // If it died at a repair, or at anything during one: what was seen is not true any more.
            control.leader.store(0, Release);
        }
        let mut guard = ArenaGuard {
            _lock: ArenaLock {
                header: self.header(),
                _guard: guard,
            },
            wakeups: self.wakeups(member),
            core: self,
            member,
        };
        if self.is_dirty() {
            match budget {
                Some(budget) => guard.repair(budget)?,
                None => guard.repair(&mut self.budget())?,
            }
        }
        Ok(guard)
    }

    #[inline]
    pub(crate) fn is_dirty(&self) -> bool {
        self.header().arena.dirty.load(Acquire) != 0
    }
}

impl<'a> ArenaGuard<'a> {
    pub(crate) fn arena(&self) -> Arena<'a> {
        self.core.arena()
    }

    pub(crate) fn header(&self) -> &'a Header {
        self.core.header()
    }

    pub(crate) fn lock_shard(&self, hash: u64) -> Option<Guard<'a>> {
        self.core.lock_shard(self.member, hash)
    }

    /// As [`ArenaGuard::lock_shard`], within a stint.
    pub(crate) fn lock_shard_within(
        &self,
        hash: u64,
        budget: &mut TimeBudget,
    ) -> Option<Guard<'a>> {
        loop {
            if let Some(guard) = self.core.lock_shard_soon(self.member, hash) {
                return Some(guard);
            }
            let holder = self.core.shard(self.core.bucket_of(hash))?.load(Relaxed);
            if holder != 0 && !self.core.processes().check(holder) && !budget.waits() {
                return None;
            }
            yield_now();
        }
    }

    /// A block of `size` granules, evicting as needed.
    pub(crate) fn allocate(&mut self, size: u32) -> Option<u32> {
        loop {
            if let Some(block) = self.arena().allocate(size) {
                return Some(block);
            }
            if !self.evict() {
                self.refuse();
                return None;
            }
        }
    }

    fn refuse(&self) {
        self.header().counts.refused.fetch_add(1, Relaxed);
    }

    /// A block for at most `want` bytes behind a head of `head` bytes, in one piece if that comes cheap.
    fn allocate_piece(&mut self, head: usize, want: usize) -> Option<Piece> {
        let want = want.min(LARGEST_PIECE);
        let mut evictions = 0;
        loop {
            let room = self.room_at_hand(head, want, evictions);
            if let Some(room) = room
                && let Some(block) = self.arena().allocate(granules(head + room)?)
            {
                return Some(Piece { block, room });
            }
            if !self.evict() {
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
        let largest = (self.arena().largest() as usize * GRANULE).saturating_sub(GRANULE + head);
        (largest >= want.min(SMALLEST_PIECE)).then_some(largest.min(want))
    }

    /// Makes an entry that is pinned by this process, unlinked, and in limbo. It takes over one reference to `body`.
    pub(crate) fn make_entry(&mut self, head: &Head<'_>, body: u32) -> Option<EntryAt<'a>> {
        if head.key.len() > MAX_KEY || head.labels.len() > MAX_LABELS {
            return None;
        }
        let labels = head.labels.len() * LABEL;
        let size = size_of::<crate::store::memory::block::Entry>()
            + labels
            + head.key.len()
            + head.meta.len();
        let block = self.allocate(granules(size)?)?;
        self.fill_entry(block, head, body)?;
        self.arena().set_kind(block, Kind::Entry)?;
        let at = self.core.entry(block)?;
        self.member.pins(block).insert(block, 1);
        self.push(LIMBO, &at);
        self.count_payload(at.head_len() as i64);
        Some(at)
    }

    fn fill_entry(&self, block: u32, head: &Head<'_>, body: u32) -> Option<()> {
        let memory = &self.core.memory;
        let at = content(block);
        let labels_at = at + size_of::<crate::store::memory::block::Entry>();
        let key_at = labels_at + head.labels.len() * LABEL;
        let mut label_at = (labels_at..).step_by(LABEL);
        // SAFETY: the block was just allocated, nothing leads to it, and the arena lock is held.
        let written = unsafe {
            memory.zero(at, size_of::<crate::store::memory::block::Entry>())
                && head
                    .labels
                    .iter()
                    .zip(&mut label_at)
                    .all(|(l, at)| memory.write(at, &l.to_le_bytes()))
                && memory.write(key_at, head.key)
                && memory.write(key_at + head.key.len(), head.meta)
        };
        let e: &crate::store::memory::block::Entry = memory.at(at).filter(|_| written)?;
        let (w, bit) = pin_of(self.member.slot());
        e.hash.store(head.hash, Relaxed);
        e.pins[0].store(UNLINKED, Relaxed);
        e.pins[1].store(UNLINKED, Relaxed);
        e.pins[w].fetch_or(bit, Relaxed);
        e.dead_at.store(head.dead_at, Relaxed);
        e.born.store(head.born, Relaxed);
        e.id.store(self.core.next_number(&self.header().ids), Relaxed);
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

    /// Makes a growing body with one reference and room for at least one byte of `want` (all of it, if `want` is
    /// the total: see [`ArenaGuard::extend`]).
    pub(crate) fn make_body(&mut self, total: u64, want: usize) -> Option<Piece> {
        let piece = self.allocate_piece(size_of::<Body>(), want)?;
        let at = content(piece.block);
        // SAFETY: the block was just allocated, nothing leads to it, and the arena lock is held.
        let zeroed = unsafe { self.core.memory.zero(at, size_of::<Body>()) };
        let body: &Body = self.core.memory.at(at).filter(|_| zeroed)?;
        body.refs.store(1, Relaxed);
        body.phase.store(GROWING, Relaxed);
        body.total.store(total, Relaxed);
        body.owner.store(self.member.token, Relaxed);
        body.room.store(u32::try_from(piece.room).ok()?, Relaxed);
        self.arena().set_kind(piece.block, Kind::Body)?;
        Some(piece)
    }

    /// Adds a piece behind `last` (the body's own block, or an extent) of a body; it begins at `start`.
    pub(crate) fn extend(&mut self, last: u32, start: u64, want: usize) -> Option<Piece> {
        let piece = self.allocate_piece(size_of::<Extent>(), want)?;
        let extent: &Extent = self.core.memory.at(content(piece.block))?;
        extent.start.store(start, Relaxed);
        extent.next.store(0, Relaxed);
        extent.room.store(u32::try_from(piece.room).ok()?, Relaxed);
        self.arena().set_kind(piece.block, Kind::Extent)?;
        let next = match self.core.body(last) {
            Some((body, ..)) => &body.next,
            None => &self.core.extent(last)?.0.next,
        };
        next.store(piece.block, Release);
        Some(piece)
    }

    /// Gives back what the last piece of a body does not use.
    pub(crate) fn trim(&self, last: u32, used: usize) -> Option<()> {
        let (room, head) = match self.core.body(last) {
            Some((body, ..)) => (&body.room, size_of::<Body>()),
            None => (&self.core.extent(last)?.0.room, size_of::<Extent>()),
        };
        let used32 = u32::try_from(used)
            .ok()
            .filter(|u| *u <= room.load(Relaxed))?;
        room.store(used32, Release);
        self.arena().shrink(last, granules(head + used)?)
    }

    /// Granules of an entry and its body.
    pub(crate) fn cost(&self, at: &EntryAt<'_>) -> u32 {
        let size = |block| self.arena().look(block).map_or(0, |(size, _)| size);
        let mut cost = size(at.block);
        let mut next = at.body();
        if let Some((body, ..)) = self.core.body(next) {
            cost = cost.saturating_add(size(next));
            next = body.next.load(Acquire);
            let mut start = 0;
            while let Some((extent, ..)) = self.core.extent(next) {
                // Pieces begin one behind the other; a damaged chain ends here.
                let begins = extent.start.load(Relaxed);
                if begins <= start {
                    break;
                }
                start = begins;
                cost = cost.saturating_add(size(next));
                next = extent.next.load(Acquire);
            }
        }
        cost
    }

    /// Says anew how much an entry counts for.
    pub(crate) fn update_cost(&self, at: &EntryAt<'_>) {
        let queue = at.e.queue.load(Relaxed);
        if let Some(q) = self.header().queues.get(queue as usize) {
            let (old, new) = (at.e.cost.load(Relaxed), self.cost(at));
            let cost = q.cost.load(Relaxed).wrapping_add(u64::from(new));
            q.cost.store(cost.saturating_sub(u64::from(old)), Relaxed);
            at.e.cost.store(new, Relaxed);
        }
    }

    /// Makes an entry findable. Its shard is locked.
    pub(crate) fn link(&mut self, at: &EntryAt<'_>, main: bool) -> Option<()> {
        let bucket = self
            .core
            .bucket(self.core.bucket_of(at.e.hash.load(Relaxed)))?;
        self.pull(at);
        self.core.note_labels(at);
        at.e.purges.store(self.core.purges(), Relaxed);
        at.e.next.store(bucket.load(Relaxed), Relaxed);
        at.e.pins[1].fetch_and(!UNLINKED, AcqRel);
        at.e.pins[0].fetch_and(!UNLINKED, AcqRel);
        bucket.store(at.block, Release);
        self.push(if main { MAIN } else { SMALL }, at);
        self.update_cost(at);
        let counts = &self.header().counts;
        let counter = if at.is_object() {
            &counts.objects
        } else {
            &counts.markers
        };
        counter.fetch_add(1, Relaxed);
        self.header()
            .soonest
            .fetch_min(at.e.dead_at.load(Relaxed), Relaxed);
        self.header()
            .soonest_seen
            .fetch_min(at.e.dead_at.load(Relaxed), Relaxed);
        Some(())
    }

    /// Makes an entry unfindable, and frees it unless it is pinned. Its shard is locked.
    /// False if it was so already.
    pub(crate) fn unlink(&mut self, at: &EntryAt<'_>) -> bool {
        if !at.is_linked() {
            return false;
        }
        at.e.pins[0].fetch_or(UNLINKED, AcqRel);
        at.e.pins[1].fetch_or(UNLINKED, AcqRel);
        self.unchain(at);
        self.pull(at);
        let counts = &self.header().counts;
        let counter = if at.is_object() {
            &counts.objects
        } else {
            &counts.markers
        };
        counter.store(counter.load(Relaxed).saturating_sub(1), Relaxed);
        if !at.is_object() || !self.core.is_leased(at.e, 0) {
            self.wakeups.add(take_waiters(&at.e.waiters));
        }
        self.push(LIMBO, at);
        self.free_if_unpinned(at);
        true
    }

    /// As `unlink`, and says that it was on purpose: claims on it are void.
    pub(crate) fn remove(&mut self, at: &EntryAt<'_>) -> bool {
        if !at.is_linked() {
            return false;
        }
        at.e.flags.fetch_or(REMOVED, Relaxed);
        at.e.lease.store(0, Release);
        self.wakeups.add(take_waiters(&at.e.waiters));
        self.unlink(at)
    }

    fn unchain(&self, at: &EntryAt<'_>) {
        let Some(mut link) = self
            .core
            .bucket(self.core.bucket_of(at.e.hash.load(Relaxed)))
        else {
            return;
        };
        for _ in 0..1 << 20 {
            let next = link.load(Acquire);
            if next == at.block {
                link.store(at.e.next.load(Relaxed), Release);
                return;
            }
            match self.core.entry(next) {
                Some(entry) => link = &entry.e.next,
                None => return,
            }
        }
    }

    /// Frees an unlinked entry that no living process pins.
    pub(crate) fn free_if_unpinned(&mut self, at: &EntryAt<'_>) -> bool {
        if at.is_linked() || self.core.live_pins(at.e) != [0, 0] {
            return false;
        }
        self.wakeups.add(take_waiters(&at.e.waiters));
        self.pull(at);
        self.count_payload(-(at.head_len() as i64));
        let body = at.body();
        // Free the entry first: a body whose only entry is gone is found by a repair, an entry without its body is not.
        let _ = self.arena().free(at.block);
        self.drop_body(body);
        true
    }

    /// Gives back one reference to a body; frees it with the last.
    pub(crate) fn drop_body(&mut self, block: u32) {
        let Some((body, ..)) = self.core.body(block) else {
            return;
        };
        let refs = body.refs.load(Relaxed);
        if refs > 1 {
            body.refs.store(refs - 1, Relaxed);
            return;
        }
        let waiting: Mask = take_waiters(&body.waiters);
        self.wakeups.add(waiting);
        if body.era.load(Relaxed) != 0 {
            self.count_payload(-(body.len.load(Relaxed) as i64));
        }
        let mut next = body.next.load(Acquire);
        let _ = self.arena().free(block);
        while let Some((extent, ..)) = self.core.extent(next) {
            let after = extent.next.load(Acquire);
            let _ = self.arena().free(next);
            next = after;
        }
    }

    /// Counts the bytes of a body that is complete, once: under the arena lock, so that no death makes the count drift.
    pub(crate) fn count_body(&self, block: u32) {
        if let Some((body, ..)) = self.core.body(block)
            && body.era.load(Relaxed) == 0
        {
            body.era.store(self.header().era.load(Relaxed), Relaxed);
            self.count_payload(body.len.load(Relaxed) as i64);
        }
    }

    pub(crate) fn count_payload(&self, bytes: i64) {
        self.header()
            .counts
            .payload
            .fetch_add(bytes as u64, Relaxed);
    }

    /// Makes a marker for `(key, sub)`, as [`ArenaGuard::make_entry`].
    pub(crate) fn make_marker(
        &mut self,
        hash: u64,
        key: &[u8],
        sub: u64,
        dead_at: Millis,
    ) -> Option<EntryAt<'a>> {
        let mut attributes = [0; ATTRIBUTES];
        attributes[SUB] = sub;
        self.make_entry(
            &Head {
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

    /// Frees an entry that was just made and never linked.
    pub(crate) fn discard(&mut self, at: &EntryAt<'_>) {
        self.member.pins(at.block).remove(&at.block);
        let (w, bit) = pin_of(self.member.slot());
        at.e.pins[w].fetch_and(!bit, AcqRel);
        self.free_if_unpinned(at);
    }

    /// Unlinks the oldest objects of the key beyond `most`. The shard is locked.
    pub(crate) fn limit_variants(&mut self, newest: &EntryAt<'_>, most: u32) {
        let (hash, key) = (newest.e.hash.load(Relaxed), newest.key());
        let mut of_key = Vec::new();
        self.core.walk::<()>(self.core.bucket_of(hash), |at| {
            if at.is_object() && at.e.hash.load(Relaxed) == hash && at.key() == key {
                of_key.push(at);
            }
            ControlFlow::Continue(())
        });
        for at in of_key.iter().skip(most.max(1) as usize) {
            self.unlink(at);
            self.header().counts.variants.fetch_add(1, Relaxed);
        }
    }

    /// The head of an object of `key`.
    pub(crate) fn object_head<'k>(
        &self,
        key: &'k [u8],
        new: &NewHead<'k>,
        born: Millis,
    ) -> Head<'k> {
        Head {
            kind: OBJECT,
            hash: self.core.hash_key.hash(key),
            labels: new.labels,
            key,
            meta: new.meta,
            attributes: new.attributes,
            dead_at: new.dead_at,
            born,
        }
    }

    /// Takes all the room for a body of known length, or the first piece of one that is not known.
    /// Returns the first and the last piece and where the last begins.
    pub(crate) fn reserve(&mut self, total: Option<u64>) -> Option<(Piece, Piece, u64)> {
        let want = total.map_or(SMALLEST_PIECE, |t| usize::try_from(t).unwrap_or(usize::MAX));
        let first = self.make_body(total.unwrap_or(UNKNOWN), want)?;
        let (mut last, mut start) = (first, 0);
        let mut reserved = first.room as u64;
        while reserved < total.unwrap_or(0) {
            let more = usize::try_from(total.unwrap_or(0) - reserved).unwrap_or(usize::MAX);
            let Some(piece) = self.extend(last.block, reserved, more) else {
                self.drop_body(first.block);
                return None;
            };
            (last, start) = (piece, reserved);
            reserved += piece.room as u64;
        }
        Some((first, last, start))
    }

    /// How much to add to a body of unknown length that has `len` bytes: as much again, within bounds.
    pub(crate) fn growth(len: u64, needed: usize) -> usize {
        let again = usize::try_from(len).unwrap_or(LARGEST_PIECE);
        again
            .clamp(SMALLEST_PIECE, LARGEST_PIECE)
            .max(needed.min(LARGEST_PIECE))
    }
}
