//! Fills: objects that grow.

use super::Millis;
use super::error::{NoSpace, Refused, Superseded};
use super::object::{Object, WORDS};

/// When lookups find a new object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// At once, while it grows.
    Now,
    /// When it is committed.
    AtCommit,
}

/// What a new object is made of.
#[derive(Debug)]
pub struct NewObject<'a> {
    /// Opaque bytes, handed to `select` in lookups.
    pub meta: &'a [u8],
    /// The length of the body where it is known.
    pub total: Option<u64>,
    /// First values of the object's words.
    pub words: [u64; WORDS],
    /// From when on it is of no use to anybody.
    pub dead_at: Millis,
    /// When lookups find it.
    pub publish: Publish,
    /// The object that its commit removes.
    pub replaces: Option<&'a Object>,
    /// How many objects the key may have; the oldest go first. 0 is no limit.
    pub max_variants: u32,
}

/// A growing object. `Drop` breaks it: it is unlinked and its readers are rung. `Send`.
#[derive(Debug)]
pub struct Fill {
    _todo: (),
}

impl Fill {
    /// Appends bytes and publishes them. On an error nothing was appended.
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), NoSpace> {
        todo!()
    }
    /// The object, to read along.
    pub fn object(&self) -> Object {
        todo!()
    }
    /// Bytes written.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Sets a word of the object.
    pub fn set_word(&self, _i: usize, _value: u64) {
        todo!()
    }
    /// Whether a commit would (as of now) make the object current.
    pub fn is_valid(&self) -> bool {
        todo!()
    }
    /// Moves the deadline of the claim.
    pub fn extend(&self, _deadline: Millis) {
        todo!()
    }
    /// Completes the object, makes it current, removes what it replaces, ends the claim, rings.
    pub fn commit(self, _now: Millis) -> Result<Object, Superseded> {
        todo!()
    }
    /// The body turned out to be the one of `old`: drops the new one, swaps the head of `old` for a new one with
    /// its old body, ends the claim, rings. Readers of the fill end well.
    pub fn commit_as_renewal(
        self,
        _old: &Object,
        _meta: &[u8],
        _words: [u64; WORDS],
        _dead_at: Millis,
        _now: Millis,
    ) -> Result<Object, Refused> {
        todo!()
    }
    /// Breaks the object but keeps the claim, so that the fetch can be tried again or its failure be recorded.
    pub fn abort(self) -> Claim {
        todo!()
    }
}

use super::claim::Claim;
