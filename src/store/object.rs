//! A pinned object: its key, meta, words and body cannot go away while the handle lives.

use std::sync::atomic::AtomicU64;

use super::Millis;

/// How many 64-bit words every object carries for its user. Opaque to the store.
pub const WORDS: usize = 4;

/// Where a body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// More bytes may come.
    Growing,
    /// All bytes are there.
    Complete,
    /// No more bytes will come, and what is there is not the whole.
    Broken,
}

/// How much of a body is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyState {
    /// Published bytes: these can be read.
    pub len: u64,
    /// The whole length where it is known: announced, or by completion.
    pub total: Option<u64>,
    /// Where the body stands.
    pub phase: Phase,
}

/// A place in a body; makes following reads cheap. Plain data, valid for the object it was used with;
/// with another object it just starts afresh.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pos: u64,
}

impl Cursor {
    /// A cursor at byte `pos`.
    pub fn at(pos: u64) -> Cursor {
        Cursor { pos }
    }
    /// The next byte to be read.
    pub fn pos(&self) -> u64 {
        self.pos
    }
}

/// A pinned handle to an object. `Clone` is another pin, `Drop` unpins. `Send + Sync`. It keeps the process's
/// mapping of the region alive.
#[derive(Debug)]
pub struct Object {
    _todo: (),
}

impl Clone for Object {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl Object {
    /// The key.
    pub fn key(&self) -> &[u8] {
        todo!()
    }
    /// The meta bytes.
    pub fn meta(&self) -> &[u8] {
        todo!()
    }
    /// One of the [`WORDS`] words. An index beyond them gives the last.
    pub fn word(&self, _i: usize) -> &AtomicU64 {
        todo!()
    }
    /// How much of the body is there.
    pub fn body(&self) -> BodyState {
        todo!()
    }
    /// The published bytes from `from` that lie together; empty if there are none (yet).
    /// Walks the extents: follow a body with [`Object::read`].
    pub fn chunk(&self, _from: u64) -> &[u8] {
        todo!()
    }
    /// The next published bytes at the cursor that lie together, at most `max`; moves the cursor past them.
    /// Empty when there are none (yet).
    pub fn read(&self, _cursor: &mut Cursor, _max: usize) -> &[u8] {
        todo!()
    }
    /// Rings this process once when the body grows or ends. Look at [`Object::body`] again *after* this call,
    /// then wait; call it again after each ring.
    pub fn watch(&self) {
        todo!()
    }
    /// Whether lookups can still find it.
    pub fn is_current(&self) -> bool {
        todo!()
    }
    /// Never the same for two objects of a region. A renewed object has a new one.
    pub fn id(&self) -> u64 {
        todo!()
    }
    /// From when on it is of no use to anybody.
    pub fn dead_at(&self) -> Millis {
        todo!()
    }
    /// When it was made current.
    pub fn born(&self) -> Millis {
        todo!()
    }
    /// Whether somebody holds a live claim on it.
    pub fn is_claimed(&self, _now: Millis) -> bool {
        todo!()
    }
    /// Whether both have the same body (one is a renewal of the other).
    pub fn shares_body(&self, _other: &Object) -> bool {
        todo!()
    }
}
