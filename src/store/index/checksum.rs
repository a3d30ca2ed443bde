//! Checksums of what lies in a file, by which a later start tells what came through whole.
//!
//! | sum | of | made | checked |
//! |---|---|---|---|
//! | of a body | its bytes | while they are written | at the first lookup in each later era, then not again |
//! | of an entry | its labels, key, meta, times, and its body's length and sum | when it becomes current | when the file is taken |
//! | the same, sealed | also its attributes, and the era | at a clean end | the same |
//!
//! A region that lies in no file has none of these.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use xxhash_rust::xxh3::Xxh3;

use crate::store::index::core::Core;
use crate::store::memory::block::{Body, COMPLETE, EntryAt};

/// The sum of a body in the making.
pub(crate) struct Hasher(pub(crate) Box<Xxh3>);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

/// What the checksum of an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// All but what changes while it is stored.
    Lasting,
    /// Also its attributes, and the era.
    Sealed,
}

/// The checksums of a region.
#[derive(Clone, Copy)]
pub(crate) struct Checksums<'a> {
    core: &'a Core,
}

impl<'a> Checksums<'a> {
    pub(crate) fn of(core: &'a Core) -> Checksums<'a> {
        Checksums { core }
    }

    /// Whether the region lies in a file.
    #[inline]
    pub(crate) fn is_durable(self) -> bool {
        self.core.header().durable.load(Relaxed) != 0
    }

    /// Sums the bytes of a body as they come; `None` where nobody will ask.
    pub(crate) fn body_hasher(self) -> Option<Hasher> {
        self.is_durable().then(|| Hasher(Box::new(Xxh3::new())))
    }

    /// The sum of an entry, never 0.
    pub(crate) fn of_entry(self, at: &EntryAt<'_>, body: &Body, coverage: Coverage) -> u64 {
        let e = at.e;
        let mut hasher = Xxh3::with_seed(self.core.header().seed.load(Relaxed));
        for value in [
            e.hash.load(Relaxed),
            e.id.load(Relaxed),
            e.dead_at.load(Relaxed),
            e.born.load(Relaxed),
            (at.key_len as u64) << 32 | at.meta_len as u64,
            u64::from(e.kind.load(Relaxed)) << 32 | at.labels as u64,
            body.len.load(Relaxed),
            body.sum.load(Relaxed),
        ] {
            hasher.update(&value.to_le_bytes());
        }
        at.labels().for_each(|l| hasher.update(&l.to_le_bytes()));
        hasher.update(at.key());
        hasher.update(at.meta());
        if coverage == Coverage::Sealed {
            for word in e.attributes.iter().chain([&e.aged]) {
                hasher.update(&word.load(Relaxed).to_le_bytes());
            }
            // The seal of an earlier era may come back where the machine stopped: what was purged since would, too.
            hasher.update(&self.core.header().era.load(Relaxed).to_le_bytes());
        }
        hasher.digest().max(1)
    }

    /// Writes the sum of an entry, if it is to have one.
    pub(crate) fn write(self, at: &EntryAt<'_>, coverage: Coverage) {
        if !self.is_durable() {
            return;
        }
        if let Some((body, ..)) = self.core.body(at.body()) {
            at.e.sum.store(self.of_entry(at, body, coverage), Relaxed);
        }
    }

    /// The sum of a body's bytes as they lie there now.
    fn of_body(self, block: u32, len: u64) -> Option<u64> {
        let mut hasher = Xxh3::new();
        let (mut at, mut left) = (block, len);
        while left > 0 {
            let (next, from, room) = self.core.piece(at)?;
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(room);
            if n == 0 {
                return None;
            }
            // SAFETY: these bytes lie below the published length of a body that the caller has pinned.
            hasher.update(unsafe { self.core.memory.bytes(from, n) }?);
            left -= n as u64;
            at = next.load(Acquire);
        }
        Some(hasher.digest())
    }

    /// Whether the bytes of an object are those that were committed. Reads them all, once an era, where they come from a file.
    pub(crate) fn is_sound(self, block: u32) -> bool {
        if !self.is_durable() {
            return true;
        }
        let era = self.core.header().era.load(Relaxed);
        let Some((body, ..)) = self.core.body(block) else {
            return false;
        };
        let seen = body.era.load(Relaxed);
        if seen == era || seen == 0 || body.phase.load(Acquire) != COMPLETE {
            return true;
        }
        let sound = self.of_body(block, body.len.load(Acquire)) == Some(body.sum.load(Relaxed));
        if sound {
            body.era.store(era, Relaxed);
        }
        sound
    }
}
