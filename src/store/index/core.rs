//! The core of a region: its memory, its layout, and the way from an offset to a checked entry.

use std::io;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::store::error::StoreError;
use crate::store::memory::arena::Arena;
use crate::store::memory::block::{
    BROKEN, Block, Body, Entry, EntryAt, Extent, GROWING, Kind, LABEL, content,
};
use crate::store::memory::bytes::{GRANULE, Memory};
use crate::store::memory::hash::HashKey;
use crate::store::memory::key::trunk;
use crate::store::memory::layout::Millis;
use crate::store::memory::layout::{EPOCHS, Geometry, Header, Shard, UNLINKED};
use crate::store::memory::platform::{AtomicU32, AtomicU64};
use crate::store::process::local::Local;
use crate::store::process::lock::{self, Guard};
use crate::store::process::table::{Processes, Token};
use crate::store::process::wakeups::{Mask, Wakeups};

/// By how much the clocks of processes may differ, in milliseconds.
const CLOCKS_DIFFER: Millis = 60_000;
/// The number of entries of a chain that are visited; a longer chain is damaged and forms a cycle.
const LONGEST_CHAIN: usize = 1 << 20;
/// Cache lines of an entry that a lookup reads: its head, and a key of usual length.
const LINES_AHEAD: usize = 4;

/// Returns the stem of a key (see [`Core::set_stem`]); `None` if the key has none.
pub(crate) type Stem = fn(&[u8]) -> Option<&[u8]>;

/// A region, as one process maps it.
pub(crate) struct Core {
    pub(crate) memory: Memory,
    pub(crate) geometry: Geometry,
    pub(crate) hash_key: HashKey,
    /// See [`Core::set_stem`].
    stem: OnceLock<Stem>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("len", &self.geometry.len)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Wraps a region; fails if the memory is too short for its header.
    pub(crate) fn new(memory: Memory, geometry: Geometry) -> Result<Core, StoreError> {
        let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("its header"))?;
        let hash_key = HashKey::from_seed(header.seed.load(Relaxed));
        Ok(Core {
            memory,
            geometry,
            hash_key,
            stem: OnceLock::new(),
        })
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        match self.memory.at(0) {
            Some(header) => header,
            // `new` has read the header there, and the memory does not shrink.
            None => unreachable!("the header lies at the start of the memory"),
        }
    }

    #[inline]
    pub(crate) fn processes(&self) -> Processes<'_> {
        Processes {
            header: self.header(),
        }
    }

    pub(crate) fn arena(&self) -> Arena<'_> {
        Arena {
            memory: &self.memory,
            header: self.header(),
            geometry: &self.geometry,
        }
    }

    /// Sets the maximum length of a body in bytes; 0 means an eighth of the region.
    pub(crate) fn set_max_object(&self, bytes: u64) {
        let bytes = if bytes == 0 {
            self.geometry.len as u64 / 8
        } else {
            bytes
        };
        self.header().max_object.store(bytes, Relaxed);
    }

    /// Sets the function that returns the stem of a key, for purges by stem. The first call takes effect.
    pub(crate) fn set_stem(&self, stem: Stem) {
        let _ = self.stem.set(stem);
    }

    /// Whether a key has this stem. Without a stem function, every key that begins with it counts: purging too much is
    /// safe.
    pub(crate) fn has_stem(&self, key: &[u8], stem: &[u8]) -> bool {
        match self.stem.get() {
            Some(of) => of(key) == Some(stem),
            None => key.starts_with(stem),
        }
    }

    /// Makes an empty set of processes to be woken.
    pub(crate) fn wakeups<'a>(&'a self, local: &'a Local) -> Wakeups<'a> {
        Wakeups::new(self.processes(), local)
    }

    /// Whether a process died while it held the arena lock and the repair is not done.
    #[inline]
    pub(crate) fn is_dirty(&self) -> bool {
        self.header().arena.dirty.load(Acquire) != 0
    }

    /// Whether the region was found to be inconsistent.
    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.header().poisoned.load(Relaxed) != 0
    }

    /// Makes the next eviction look for dead entries first.
    pub(crate) fn sweep_soon(&self) {
        self.header().soonest.store(0, Relaxed);
        self.header().soonest_seen.store(0, Relaxed);
    }

    /// Waits until the header is on the disk.
    pub(crate) fn sync_header(&self) -> io::Result<()> {
        self.memory.sync(size_of::<Header>())
    }

    /// Removes the seal, also from the disk: otherwise pages written from now on would be trusted as sealed.
    pub(crate) fn unseal(&self) -> io::Result<()> {
        self.header().clean.store(0, Relaxed);
        self.sync_header()
    }

    /// Advances the region's clock to `now`. If it is ahead of `now` by more than clocks may differ, a process's clock
    /// was wrong for a while, and the region's clock is set back.
    pub(crate) fn advance_clock(&self, now: Millis) {
        let clock = &self.header().clock;
        let seen = clock.load(Relaxed);
        if seen < now {
            clock.fetch_max(now, Relaxed);
        } else if seen - now > CLOCKS_DIFFER {
            clock.store(now, Relaxed);
        }
    }

    pub(crate) fn clock(&self) -> Millis {
        self.header().clock.load(Relaxed)
    }

    #[inline]
    pub(crate) fn bucket_of(&self, hash: u64) -> usize {
        hash as usize & (self.geometry.buckets - 1)
    }

    #[inline]
    pub(crate) fn bucket(&self, bucket: usize) -> Option<&AtomicU32> {
        self.memory.at(self.geometry.buckets_at + bucket * 4)
    }

    pub(crate) fn ghost(&self, hash: u64) -> Option<&AtomicU32> {
        self.memory
            .at(self.geometry.ghosts_at + self.bucket_of(hash) * 4)
    }

    /// The filter of a bucket: the bits of the labels of its entries.
    pub(crate) fn filter(&self, bucket: usize) -> Option<&AtomicU32> {
        self.memory.at(self.geometry.filters_at + bucket * 4)
    }

    pub(crate) fn epoch(&self, hash: u64) -> Option<&AtomicU32> {
        self.memory
            .at(self.geometry.epochs_at + (hash >> 32) as usize % EPOCHS * 4)
    }

    #[inline]
    pub(crate) fn shard(&self, bucket: usize) -> Option<&AtomicU32> {
        let at =
            self.geometry.shards_at + (bucket & (self.geometry.shards - 1)) * size_of::<Shard>();
        self.memory.at::<Shard>(at).map(|s| &s.lock)
    }

    /// Locks the shard of a hash.
    #[inline]
    pub(crate) fn lock_shard(&self, local: &Local, hash: u64) -> Option<Guard<'_>> {
        lock::acquire(self.shard(self.bucket_of(hash))?, local, self.processes())
    }

    /// Locks the shard of a hash if that is possible without a long wait.
    pub(crate) fn lock_shard_soon(&self, local: &Local, hash: u64) -> Option<Guard<'_>> {
        lock::acquire_soon(
            self.shard(self.bucket_of(hash))?,
            local.token,
            self.processes(),
        )
    }

    /// The entry in a block. Its head is checked: the key and meta lie within the block.
    #[inline]
    pub(crate) fn entry(&self, block: u32) -> Option<EntryAt<'_>> {
        if block < self.geometry.arena || block >= self.geometry.end {
            return None;
        }
        let (size, kind) = self.memory.at::<Block>(block as usize * GRANULE)?.get()?;
        if kind != Kind::Entry || u64::from(block) + u64::from(size) > u64::from(self.geometry.end)
        {
            return None;
        }
        let e: &Entry = self.memory.at(content(block))?;
        let ((labels, key_len), meta_len) = (e.lens(), e.meta_len.load(Relaxed) as usize);
        let needed = GRANULE + size_of::<Entry>() + labels * LABEL + key_len + meta_len;
        (needed <= size as usize * GRANULE).then_some(EntryAt {
            block,
            e,
            memory: &self.memory,
            labels,
            key_len,
            meta_len,
        })
    }

    fn of_kind(&self, block: u32, kind: Kind) -> Option<(u32, usize)> {
        let (size, found) = self.arena().look(block)?;
        (found == kind).then_some((size, content(block)))
    }

    /// The body in a block, the offset of its first bytes, and how many there is room for (within the block).
    #[inline]
    pub(crate) fn body(&self, block: u32) -> Option<(&Body, usize, usize)> {
        let (size, at) = self.of_kind(block, Kind::Body)?;
        let most = (size as usize - 1) * GRANULE;
        let body: &Body = self.memory.at(at)?;
        let room = body.room.load(Relaxed) as usize;
        (size_of::<Body>() + room <= most).then_some((body, at + size_of::<Body>(), room))
    }

    /// The extent in a block, as [`Core::body`].
    #[inline]
    pub(crate) fn extent(&self, block: u32) -> Option<(&Extent, usize, usize)> {
        let (size, at) = self.of_kind(block, Kind::Extent)?;
        let most = (size as usize - 1) * GRANULE;
        let extent: &Extent = self.memory.at(at)?;
        let room = extent.room.load(Relaxed) as usize;
        (size_of::<Extent>() + room <= most).then_some((extent, at + size_of::<Extent>(), room))
    }

    /// The link to the next piece of a body, the offset of this piece's bytes, and how many there is room for.
    pub(crate) fn piece(&self, block: u32) -> Option<(&AtomicU32, usize, usize)> {
        match self.body(block) {
            Some((body, at, room)) => Some((&body.next, at, room)),
            None => self
                .extent(block)
                .map(|(extent, at, room)| (&extent.next, at, room)),
        }
    }

    /// Prefetches what a lookup reads of an entry: its head, and the key behind it. Nothing is read, so the block may
    /// hold anything.
    #[inline]
    pub(crate) fn prefetch_entry(&self, block: u32) {
        let at = block as usize * GRANULE;
        if block != 0 {
            (0..LINES_AHEAD).for_each(|line| self.memory.prefetch(at + line * 64));
        }
    }

    /// Prefetches the head of a body and its first bytes.
    #[inline]
    pub(crate) fn prefetch_body(&self, block: u32) {
        let at = block as usize * GRANULE;
        (0..2).for_each(|line| self.memory.prefetch(at + line * 64));
    }

    /// Visits the linked entries of a bucket, most recent first, until told to stop. The shard is locked.
    #[inline]
    pub(crate) fn walk<'a, B>(
        &'a self,
        bucket: usize,
        mut visit: impl FnMut(EntryAt<'a>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut at = self.bucket(bucket)?.load(Acquire);
        self.prefetch_entry(at);
        for _ in 0..LONGEST_CHAIN {
            let entry = self.entry(at)?;
            at = entry.e.next.load(Acquire);
            self.prefetch_entry(at);
            if !entry.is_linked() {
                continue;
            }
            if let ControlFlow::Break(b) = visit(entry) {
                return Some(b);
            }
        }
        None
    }

    /// The linked entries of a key and of its branches, most recent first. The shard is locked.
    pub(crate) fn of_key<'a>(&'a self, hash: u64, key: &[u8]) -> Vec<EntryAt<'a>> {
        let mut of_key = Vec::new();
        self.walk::<()>(self.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) == hash && trunk(at.key()) == trunk(key) {
                of_key.push(at);
            }
            ControlFlow::Continue(())
        });
        of_key
    }

    /// The pins of an entry by processes that are not known to be dead.
    pub(crate) fn live_pins(&self, e: &Entry) -> Mask {
        let of = |w: usize| {
            let set = e.pins[w].load(Acquire) & !UNLINKED;
            if set == 0 {
                return 0;
            }
            set & !self.processes().dying_among(w, set)
        };
        [of(0), of(1)]
    }

    /// Whether the lease is held at that time by a process that is not known to be dead.
    pub(crate) fn is_leased(&self, e: &Entry, now: Millis) -> bool {
        let lease = e.lease.load(Acquire);
        lease != 0
            && e.deadline.load(Acquire) > now
            && !self.processes().is_gone(lease_owner(lease))
    }

    /// The phase of a body; a growing body whose writer is dead counts as broken.
    #[inline]
    pub(crate) fn phase(&self, body: &Body) -> u32 {
        match body.phase.load(Acquire) {
            GROWING if self.processes().is_gone(body.owner.load(Relaxed)) => BROKEN,
            phase => phase,
        }
    }

    /// Whether an entry has reached its `dead_at` and its lease is not held.
    pub(crate) fn is_dead(&self, at: &EntryAt<'_>, now: Millis) -> bool {
        if at.e.dead_at.load(Relaxed) <= now {
            return true;
        }
        at.is_object()
            && self
                .body(at.body())
                .is_none_or(|(b, ..)| self.phase(b) == BROKEN)
    }

    /// Returns a number that was never returned before.
    pub(crate) fn next_number(&self, counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Relaxed) + 1
    }
}

/// The bits of a lease word that number the lease; the token of its holder is above them.
const NONCE_BITS: u32 = 40;

/// Makes a lease word of its holder and the number of the lease.
pub(crate) fn lease_word(owner: Token, nonce: u64) -> u64 {
    u64::from(owner) << NONCE_BITS | nonce & ((1 << NONCE_BITS) - 1)
}

pub(crate) fn lease_owner(lease: u64) -> Token {
    (lease >> NONCE_BITS) as Token
}
