//! Checksums in a region in a file, by which a later start finds what is intact.
//!
//! | checksum | of | computed | verified |
//! |---|---|---|---|
//! | of a body | its bytes | while they are written | at the first lookup in each later era |
//! | of an entry | its labels, key, meta, times, and its body's length and checksum | when it becomes current | when the file is taken over |
//! | of an entry, sealed | also its attributes, and the era | when the region is closed cleanly | when the file is taken over |
//!
//! A region that is not in a file has none of these.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use xxhash_rust::xxh3::Xxh3;

use crate::store::index::core::Core;
use crate::store::memory::block::{Body, COMPLETE, EntryAt};

/// The checksum of a body that is being written.
pub(crate) struct Hasher(pub(crate) Box<Xxh3>);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

/// What the checksum of an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Everything that does not change while the entry is stored.
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

    /// Whether the region is in a file.
    #[inline]
    pub(crate) fn is_durable(self) -> bool {
        self.core.header().durable.load(Relaxed) != 0
    }

    /// Hashes the bytes of a body as they are written; `None` if the region is not in a file.
    pub(crate) fn body_hasher(self) -> Option<Hasher> {
        self.is_durable().then(|| Hasher(Box::new(Xxh3::new())))
    }

    /// The checksum of an entry, never 0.
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
            // After a stop of the machine, the seal of an earlier era may be back on the disk; without the era, what
            // was purged since would be restored too.
            hasher.update(&self.core.header().era.load(Relaxed).to_le_bytes());
        }
        hasher.digest().max(1)
    }

    /// Writes the checksum of an entry, if the region is in a file.
    pub(crate) fn write(self, at: &EntryAt<'_>, coverage: Coverage) {
        if !self.is_durable() {
            return;
        }
        if let Some((body, ..)) = self.core.body(at.body()) {
            at.e.sum.store(self.of_entry(at, body, coverage), Relaxed);
        }
    }

    /// The checksum of a body's bytes as they are now.
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

    /// Whether the bytes of an object are those that were committed. Reads all of them once per era, if they come from
    /// a file.
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
