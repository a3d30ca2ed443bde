//! A pinned object: its key, meta, attributes and body stay valid as long as the handle lives.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::store::index::core::Core;
use crate::store::memory::block::{
    ATTRIBUTES, BROKEN, COMPLETE, Entry, EntryAt, GROWING, UNKNOWN, content,
};
use crate::store::memory::layout::Millis;
use crate::store::process::table::pin_of;
use crate::store::upkeep::membership::{Member, Shared};

/// The state of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It may still grow.
    Growing,
    /// All bytes are written.
    Complete,
    /// It is incomplete and won't grow any more.
    Broken,
}

/// How much of a body is readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyState {
    /// The published bytes, which can be read.
    pub len: u64,
    /// The total length in bytes, if it is known, because it was announced or the body is complete.
    pub total: Option<u64>,
    /// The state of the body.
    pub completeness: Completeness,
}

/// A position in a body, which makes sequential reads cheap. Plain data, valid for the object that it was used with;
/// used with another object, it searches its position again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pos: u64,
    /// The id of the object that `block` belongs to; 0 for none.
    id: u64,
    block: u32,
    start: u64,
}

impl Cursor {
    /// Makes a cursor at byte `pos`.
    pub fn at(pos: u64) -> Cursor {
        Cursor {
            pos,
            ..Cursor::default()
        }
    }
    /// The position of the next byte to be read.
    pub fn pos(&self) -> u64 {
        self.pos
    }
}

/// A pinned handle to an object. A clone is another pin; dropping it unpins. `Send + Sync`. It keeps the process's
/// mapping of the region alive. A handle inherited through a fork is not pinned by the child, which must not use it.
pub struct Object {
    pub(crate) shared: Arc<Shared>,
    /// The member that pinned the object; lives as long as `shared`.
    member: *const Member,
    block: u32,
    body: u32,
    key_len: u32,
    meta_len: u32,
    labels: u16,
}

// SAFETY: the pointer refers to a `Member`, which is Sync and lives as long as `shared`; all other fields are Send and
// Sync.
unsafe impl Send for Object {}
// SAFETY: as for Send.
unsafe impl Sync for Object {}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("id", &self.id())
            .field("body", &self.body())
            .finish_non_exhaustive()
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        if self.shared.is_current(self.member) {
            // SAFETY: members live as long as `shared`, which this handle holds.
            self.shared
                .pins(unsafe { &*self.member })
                .pin_again(self.block);
        }
        Object {
            shared: Arc::clone(&self.shared),
            ..*self
        }
    }
}

impl Drop for Object {
    #[inline]
    fn drop(&mut self) {
        if self.shared.is_current(self.member) {
            // SAFETY: members live as long as `shared`, which this handle holds.
            self.shared.pins(unsafe { &*self.member }).unpin(self.block);
        }
    }
}

impl Object {
    /// Makes a handle of a pin that has already been counted.
    #[inline]
    pub(crate) fn pinned(shared: &Arc<Shared>, member: &Member, at: &EntryAt<'_>) -> Object {
        Object {
            shared: Arc::clone(shared),
            member,
            block: at.block,
            body: at.body(),
            key_len: at.key_len as u32,
            meta_len: at.meta_len as u32,
            labels: at.labels as u16,
        }
    }

    /// Like [`Object::pinned`], but by block.
    pub(crate) fn adopt(shared: &Arc<Shared>, member: &Member, block: u32) -> Option<Object> {
        let at = shared.core.entry(block)?;
        Some(Object::pinned(shared, member, &at))
    }

    /// The entry, as it was checked when it was pinned.
    #[inline]
    pub(crate) fn at(&self) -> EntryAt<'_> {
        let memory = &self.core().memory;
        match memory.at::<Entry>(content(self.block)) {
            Some(e) => EntryAt {
                block: self.block,
                e,
                memory,
                labels: self.labels.into(),
                key_len: self.key_len as usize,
                meta_len: self.meta_len as usize,
            },
            // The entry lay in the region when the handle was made, and the memory does not shrink.
            None => unreachable!("a pinned entry lies in the region"),
        }
    }

    #[inline]
    fn core(&self) -> &Core {
        &self.shared.core
    }

    pub(crate) fn is_of(&self, member: &Member) -> bool {
        std::ptr::eq(self.member, member)
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.at().key()
    }

    /// The meta bytes.
    #[inline]
    pub fn meta(&self) -> &[u8] {
        self.at().meta()
    }

    /// One of the [`ATTRIBUTES`] attributes; the last one if the index is out of range.
    #[inline]
    pub fn attribute(&self, i: usize) -> &std::sync::atomic::AtomicU64 {
        &self.at().e.attributes[i.min(ATTRIBUTES - 1)]
    }

    /// How much of the body is readable.
    pub fn body(&self) -> BodyState {
        let Some((body, ..)) = self.core().body(self.body) else {
            return BodyState {
                len: 0,
                total: None,
                completeness: Completeness::Broken,
            };
        };
        // The state is read first: a body that is complete has all its bytes published.
        let completeness = match self.core().phase(body) {
            COMPLETE => Completeness::Complete,
            BROKEN => Completeness::Broken,
            _ => Completeness::Growing,
        };
        let len = body.len.load(Acquire);
        let total = Some(body.total.load(Acquire)).filter(|t| *t != UNKNOWN);
        BodyState {
            len,
            total: if completeness == Completeness::Complete {
                Some(len)
            } else {
                total
            },
            completeness,
        }
    }

    /// Asks the system whether the process that fills the body has died, which makes the body [`Completeness::Broken`].
    /// Takes about ten microseconds if another process fills the body, otherwise nothing.
    pub fn filler_has_died(&self) -> bool {
        let Some((body, ..)) = self.core().body(self.body) else {
            return false;
        };
        if self.core().phase(body) != GROWING {
            return false;
        }
        let filler = body.owner.load(Relaxed);
        let own = self
            .shared
            .member()
            .is_some_and(|m| m.local.token == filler);
        !own && self.core().processes().check(filler)
    }

    /// The contiguous published bytes at `from`; empty if there are none (yet). It searches from the first piece: use
    /// [`Object::read`] to follow a body.
    pub fn chunk(&self, from: u64) -> &[u8] {
        self.read(&mut Cursor::at(from), usize::MAX)
    }

    /// The next contiguous published bytes at the cursor, at most `max`; moves the cursor past them. Empty if there are
    /// none (yet).
    pub fn read(&self, cursor: &mut Cursor, max: usize) -> &[u8] {
        self.try_read(cursor, max).unwrap_or_default()
    }

    fn try_read(&self, cursor: &mut Cursor, max: usize) -> Option<&[u8]> {
        let (body, ..) = self.core().body(self.body)?;
        let len = body.len.load(Acquire);
        if cursor.pos >= len {
            return None;
        }
        let id = self.id();
        if cursor.id != id || cursor.pos < cursor.start {
            *cursor = Cursor {
                pos: cursor.pos,
                id,
                block: self.body,
                start: 0,
            };
        }
        let (at, room) = self.seek(cursor)?;
        let off = usize::try_from(cursor.pos - cursor.start).ok()?;
        let there = usize::try_from(len - cursor.pos).unwrap_or(usize::MAX);
        let n = (room - off).min(there).min(max);
        // SAFETY: these bytes lie below the published length, so their writer does not change them any more, and the
        // pin keeps the body's blocks allocated while `self` lives.
        let bytes = unsafe { self.core().memory.bytes(at + off, n) }?;
        cursor.pos += n as u64;
        Some(bytes)
    }

    /// Moves the cursor to the piece that holds its position. Returns the offset of the piece's bytes in the region,
    /// and their number.
    fn seek(&self, cursor: &mut Cursor) -> Option<(usize, usize)> {
        loop {
            let (next, at, room) = self.core().piece(cursor.block)?;
            if cursor.pos - cursor.start < room as u64 {
                return Some((at, room));
            }
            let block = next.load(Acquire);
            let start = cursor.start + room as u64;
            // Pieces are contiguous; a damaged chain ends the body, and can't lead into an endless loop.
            let (extent, _, more) = self.core().extent(block)?;
            if more == 0 || extent.start.load(Relaxed) != start {
                return None;
            }
            (cursor.block, cursor.start) = (block, start);
        }
    }

    /// Registers this process to be woken once when the body grows or ends. Check [`Object::body`] again *after* this
    /// call, then wait; call it again after each wake-up.
    pub fn watch(&self) {
        let (Some(member), Some((body, ..))) = (self.shared.member(), self.core().body(self.body))
        else {
            return;
        };
        let (w, bit) = pin_of(member.local.slot());
        body.waiters[w].fetch_or(bit, AcqRel);
        // Pairs with the fence in the writer: either it sees our bit, or we see its length.
        fence(SeqCst);
    }

    /// The labels.
    pub fn labels(&self) -> Vec<u64> {
        self.at().labels().collect()
    }

    /// Makes the object stale as of `now`, like [`Effect::Age`](crate::store::Effect), unless an earlier time is
    /// already set.
    pub fn age_from(&self, now: Millis) {
        let aged = &self.at().e.aged;
        let _ = aged.compare_exchange(0, now.max(1), Relaxed, Relaxed);
    }

    /// The earliest time as of which a purge aged the object; 0 if none did.
    #[inline]
    pub fn aged(&self) -> Millis {
        self.at().e.aged.load(Relaxed)
    }

    /// Whether lookups can still find the object.
    pub fn is_current(&self) -> bool {
        self.at().is_current()
    }

    /// A number that no other object of the region has ever had. A renewed object has a new one.
    pub fn id(&self) -> u64 {
        self.at().e.id.load(Relaxed)
    }

    /// The time from which on lookups no longer find the object (Unix time in ms).
    pub fn dead_at(&self) -> Millis {
        self.at().e.dead_at.load(Relaxed)
    }

    /// The time at which the object became current (Unix time in ms).
    pub fn born(&self) -> Millis {
        self.at().e.born.load(Relaxed)
    }

    /// Whether a claim on the object is held.
    pub fn is_claimed(&self, now: Millis) -> bool {
        self.core().is_leased(self.at().e, now)
    }

    pub(crate) fn body_block(&self) -> u32 {
        self.body
    }
}
