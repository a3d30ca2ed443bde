//! Markers: what is remembered about a key apart from its objects, and the lease to fetch it while it has none.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::error::Busy;
use crate::store::index::builder::Builder;
use crate::store::index::core::Core;
use crate::store::memory::block::{EntryAt, MARKER_ATTRIBUTES, SUB};
use crate::store::memory::layout::Millis;
use crate::store::memory::platform::AtomicU64;
use crate::store::upkeep::membership::{Member, Shared};

/// What is remembered about a key apart from its objects; all zero if nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkerView {
    /// Attributes that the store does not interpret ([`Region::set_marker`](crate::store::Region::set_marker)).
    pub attributes: [u64; MARKER_ATTRIBUTES],
}

impl MarkerView {
    pub(crate) fn of(at: &EntryAt<'_>, now: Millis) -> MarkerView {
        if at.e.born.load(Relaxed) <= now {
            return MarkerView::default();
        }
        MarkerView {
            attributes: std::array::from_fn(|i| at.e.attributes[i].load(Relaxed)),
        }
    }
}

/// The markers of a region, as one process uses them.
#[derive(Clone, Copy)]
pub(crate) struct Markers<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) member: &'a Member,
}

impl<'a> Markers<'a> {
    fn core(self) -> &'a Core {
        &self.shared.core
    }

    /// Finds the linked marker of `(key, sub)`. The shard is locked.
    fn find(self, hash: u64, key: &[u8], sub: u64) -> Option<EntryAt<'a>> {
        self.core().walk(self.core().bucket_of(hash), |at| {
            let found = !at.is_object()
                && at.e.hash.load(Relaxed) == hash
                && at.e.attributes[SUB].load(Relaxed) == sub
                && at.key() == key;
            if found {
                ControlFlow::Break(at)
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Applies a function to the marker of `(key, sub)`, made if there is none, under the shard's lock.
    pub(crate) fn with<T>(
        self,
        (key, sub): (&[u8], u64),
        dead_at: Millis,
        act: impl FnOnce(&EntryAt<'_>) -> T,
    ) -> Result<T, Busy> {
        let hash = self.core().hash_key.of_key(key);
        {
            let _shard = self
                .core()
                .lock_shard(&self.member.local, hash)
                .ok_or(Busy)?;
            if let Some(at) = self.find(hash, key, sub) {
                return Ok(act(&at));
            }
        }
        let mut guard = self.shared.arena_guard(self.member).ok_or(Busy)?;
        let built = Builder::with(&mut guard).marker(hash, key, sub, dead_at);
        let new = built.ok_or(Busy)?;
        let Some(_shard) = guard.lock_shard(hash) else {
            guard.discard(&new);
            return Err(Busy);
        };
        // Another process may have made it between the two locks.
        if let Some(at) = self.find(hash, key, sub) {
            let answer = act(&at);
            guard.discard(&new);
            return Ok(answer);
        }
        if guard.link(&new, false).is_none() {
            guard.discard(&new);
            return Err(Busy);
        }
        let answer = act(&new);
        // It is linked and its shard is locked, so this only releases the pin that it was made with.
        self.shared.pins(self.member).unpin(new.block);
        Ok(answer)
    }

    /// Applies a function to the marker of a key, and keeps it until the given time at least; all its attributes expire
    /// together at the latest such time.
    pub(crate) fn remember<T>(
        self,
        key: &[u8],
        until: Millis,
        now: Millis,
        set: impl FnOnce(&EntryAt<'_>) -> T,
    ) -> Result<T, Busy> {
        self.core().advance_clock(now);
        self.with((key, 0), until, |at| {
            if at.e.born.load(Relaxed) <= now {
                let remembered = at.e.attributes.iter().take(MARKER_ATTRIBUTES);
                remembered.for_each(|a| a.store(0, Relaxed));
            }
            at.e.born.fetch_max(until, Relaxed);
            at.e.dead_at.fetch_max(until, Relaxed);
            set(at)
        })
    }

    /// Sets an attribute of the marker to zero, if there is a marker.
    pub(crate) fn clear(self, key: &[u8], attribute: usize) {
        let hash = self.core().hash_key.of_key(key);
        let Some(_shard) = self.core().lock_shard(&self.member.local, hash) else {
            return;
        };
        let at = self.find(hash, key, 0);
        if let Some(attribute) = at.as_ref().and_then(|at| attribute_of(at, attribute)) {
            attribute.store(0, Relaxed);
        }
    }
}

/// The attribute at an index of the marker; `None` if the index is out of range.
pub(crate) fn attribute_of<'a>(at: &EntryAt<'a>, i: usize) -> Option<&'a AtomicU64> {
    at.e.attributes.iter().take(MARKER_ATTRIBUTES).nth(i)
}
