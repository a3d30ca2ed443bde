//! The handle of one process to a region.

use std::ptr::NonNull;
use std::sync::Arc;

use super::Millis;
use super::bells::{BellId, Bells};
use super::claim::{Attempt, Claim};
use super::error::{Busy, StoreError};
use super::object::Object;
use super::stats::{Stats, Summary};

/// How a region is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionOptions {
    /// The largest object (key, meta and body) in bytes; 0 is an eighth of the region.
    pub max_object: u64,
}

/// What a lookup found.
#[derive(Debug)]
pub struct Lookup {
    /// The object that `select` chose.
    pub object: Option<Object>,
    /// How many living objects of the key were not selected.
    pub others: u32,
    /// The most recent object of the key when none was selected.
    pub newest: Option<Object>,
    /// What is remembered of the key beside its objects.
    pub marker: MarkerView,
}

/// What is remembered of a key beside its objects; all zero when nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkerView {
    /// Until when the key passes through.
    pub pass_until: Millis,
    /// How often it was asked for ([`Region::note_use`]).
    pub uses: u32,
    /// A word of the user's ([`Region::annotate`]).
    pub note: u64,
}

/// A handle to a region. `Send + Sync`; all methods take `&self`.
#[derive(Debug)]
pub struct Region {
    _todo: (),
}

impl Region {
    /// Lays out a new region in `len` bytes at `base`.
    ///
    /// # Safety
    /// The memory must be readable and writable, must outlive the handle and everything made from it, and must be
    /// used by nothing but regions.
    pub unsafe fn create(
        _base: NonNull<u8>,
        _len: usize,
        _opt: &RegionOptions,
    ) -> Result<Region, StoreError> {
        todo!()
    }
    /// Takes a region that is there already.
    ///
    /// # Safety
    /// As [`Region::create`].
    pub unsafe fn attach(_base: NonNull<u8>, _len: usize) -> Result<Region, StoreError> {
        todo!()
    }
    /// A region in an anonymous shared mapping of its own, unmapped when the last handle goes.
    pub fn anonymous(_len: usize, _opt: &RegionOptions) -> Result<Region, StoreError> {
        todo!()
    }
    /// The least `len` that can be laid out.
    pub fn min_len() -> usize {
        todo!()
    }
    /// Takes a process slot. Every process calls it once, after the fork; before it, everything answers [`Busy`].
    pub fn enter(&self, _bells: Option<(Arc<Bells>, BellId)>) -> Result<(), StoreError> {
        todo!()
    }
    /// Ends the claims and fills of this process and gives its slot back.
    /// While objects are still pinned, the slot stays until the process has ended.
    pub fn leave(&self) {
        todo!()
    }
    /// Looks for dead processes and cleans up after them; returns how many were newly found dead.
    pub fn reap(&self) -> u32 {
        todo!()
    }
    /// Walks the living objects of `key`, the most recent first, until `select(meta)` is true; pins that one.
    /// `select` runs under a lock: keep it pure and short, and call nothing of the region in it.
    pub fn lookup(
        &self,
        _key: &[u8],
        _now: Millis,
        _select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        todo!()
    }
    /// Asks for the claim on the marker `(key, sub)`. With `wait`, and if another holds it, this process is rung
    /// once when that claim ends (released, filled, failed, voided, its process found dead) or when its fill is published.
    pub fn claim_key(
        &self,
        _key: &[u8],
        _sub: u64,
        _now: Millis,
        _deadline: Millis,
        _wait: bool,
    ) -> Result<Attempt, Busy> {
        todo!()
    }
    /// Asks for the claim to refresh that object; `wait` as in [`Region::claim_key`].
    pub fn claim_object(
        &self,
        _object: &Object,
        _now: Millis,
        _deadline: Millis,
        _wait: bool,
    ) -> Attempt {
        todo!()
    }
    /// A claim that collides with nobody.
    pub fn unclaimed(&self, _key: &[u8]) -> Claim {
        todo!()
    }
    /// Remembers that the key passes through until then.
    pub fn mark_pass(&self, _key: &[u8], _until: Millis, _now: Millis) {
        todo!()
    }
    /// Forgets that the key passes through.
    pub fn clear_pass(&self, _key: &[u8]) {
        todo!()
    }
    /// Counts a use of the key and returns how many there were, this one included.
    pub fn note_use(&self, _key: &[u8], _now: Millis) -> u32 {
        todo!()
    }
    /// Sets the marker's note; it is forgotten after `until`.
    pub fn annotate(&self, _key: &[u8], _note: u64, _until: Millis, _now: Millis) {
        todo!()
    }
    /// Makes the object unfindable; readers keep it. False if it was no longer current.
    pub fn remove(&self, _object: &Object) -> bool {
        todo!()
    }
    /// Removes all objects of the key and voids the claims on it; returns how many objects were removed.
    pub fn remove_key(&self, _key: &[u8]) -> u32 {
        todo!()
    }
    /// Drops dead objects and markers, looking at up to `budget` places from where the last sweep stopped.
    /// Returns how many were dropped.
    pub fn sweep(&self, _now: Millis, _budget: u32) -> u32 {
        todo!()
    }
    /// The counts.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// Walks everything and checks that it holds together. Stops the region for its time.
    pub fn validate(&self) -> Result<Summary, String> {
        todo!()
    }
}
