//! What the handles of one process share: the memory, where things lie in it, and this process's membership.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::store::error::StoreError;
use crate::store::memory::arena::Arena;
use crate::store::memory::block::{
    Block, Body, Entry, EntryAt, Extent, GROWING, Kind, LABEL, content,
};
use crate::store::memory::bytes::{GRANULE, Memory, WipedPage};
use crate::store::memory::hash::HashKey;
use crate::store::memory::layout::Millis;
use crate::store::memory::layout::{EPOCHS, Geometry, Header, SLOTS, Shard, UNLINKED};
use crate::store::memory::platform::{AtomicU32, AtomicU64};
use crate::store::process::local::Member;
use crate::store::process::lock::{self, Guard};
use crate::store::process::table::{Processes, Token, WakerRef, pin_of};
use crate::store::process::wakers::{WakerId, Wakers};

/// By how much the clocks of processes may differ.
const CLOCKS_DIFFER: Millis = 60_000;
/// Entries of a chain that are looked at; a longer chain is a ring.
const LONGEST_CHAIN: usize = 1 << 20;
/// Cache lines of an entry that a lookup reads: its head, and a key of usual length.
const LINES_AHEAD: usize = 4;

pub(crate) struct Core {
    pub(crate) memory: Memory,
    pub(crate) geometry: Geometry,
    pub(crate) hash_key: HashKey,
    /// Holds a pointer to the current member; zero before `enter`, and in a forked child.
    page: WipedPage,
    /// All members that this handle has had, the last first.
    members: AtomicPtr<Member>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("len", &self.geometry.len)
            .finish_non_exhaustive()
    }
}

/// Slots of processes to ring.
pub(crate) type Mask = [u64; 2];

/// Rings processes when it is dropped, which is after the locks.
pub(crate) struct Wakeups<'a> {
    core: &'a Core,
    member: &'a Member,
    mask: Mask,
}

impl Wakeups<'_> {
    pub(crate) fn add(&mut self, mask: Mask) {
        self.mask[0] |= mask[0];
        self.mask[1] |= mask[1];
    }
}

impl Drop for Wakeups<'_> {
    fn drop(&mut self) {
        if self.mask != [0, 0] {
            self.core.wake(self.member, self.mask);
        }
    }
}

impl Core {
    /// Wraps a region; `None` when its header does not lie in the memory.
    pub(crate) fn new(memory: Memory, geometry: Geometry) -> Result<Core, StoreError> {
        let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("header"))?;
        let hash_key = HashKey::from_seed(header.seed.load(Relaxed));
        let page = WipedPage::new()?;
        Ok(Core {
            memory,
            geometry,
            hash_key,
            page,
            members: AtomicPtr::new(std::ptr::null_mut()),
        })
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        match self.memory.at(0) {
            Some(header) => header,
            // `new` has read it there, and the memory does not shrink.
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

    /// This process's membership: `None` before `enter`, after `leave`, and when the region is damaged.
    #[inline]
    pub(crate) fn member(&self) -> Option<&Member> {
        let at = self.page.attribute().load(Acquire) as *const Member;
        if self.header().poisoned.load(Relaxed) != 0 {
            return None;
        }
        // SAFETY: the word holds 0 or a pointer that `enter` made from a box, which is freed only with `self`.
        unsafe { at.as_ref() }
    }

    #[inline]
    pub(crate) fn is_current(&self, member: *const Member) -> bool {
        self.page.attribute().load(Relaxed) == member as u64
    }

    /// Makes a member current, unless another thread was faster.
    pub(crate) fn enter(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<(), StoreError> {
        if self.member().is_some() {
            return Ok(());
        }
        let member = self.new_member(wakers)?;
        let token = member.token;
        let new = Box::into_raw(Box::new(member));
        if self
            .page
            .attribute()
            .compare_exchange(0, new as u64, AcqRel, Acquire)
            .is_err()
        {
            self.processes().free(token);
            // SAFETY: the box was made above and given to nobody.
            drop(unsafe { Box::from_raw(new) });
            return Ok(());
        }
        self.keep(new);
        Ok(())
    }

    fn new_member(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<Member, StoreError> {
        let waker = wakers
            .as_ref()
            .map_or(WakerRef::default(), |(wakers, id)| WakerRef {
                number: id.0 + 1,
                set: wakers.id,
            });
        if let Some(token) = self.processes().take(waker) {
            return Ok(Member::new(token, wakers));
        }
        let token = self.processes().take_from_dead(waker);
        let cleaner = Member::new(token.ok_or(StoreError::NoSlot)?, wakers.clone());
        self.clean_own_slot(&cleaner);
        // Where it is clean, it has been freed.
        self.processes().give_up(cleaner.token);
        let token = self.processes().take(waker);
        Ok(Member::new(token.ok_or(StoreError::NoSlotYet)?, wakers))
    }

    fn keep(&self, new: *mut Member) {
        let mut old = self.members.load(Relaxed);
        loop {
            // SAFETY: `previous` is written here only, by the thread that made the member, and read in `drop` only.
            unsafe { (&raw mut (*new).previous).write(old) };
            match self.members.compare_exchange(old, new, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Makes no member current.
    pub(crate) fn forget_member(&self) {
        self.page
            .attribute()
            .store(0, std::sync::atomic::Ordering::Release);
    }

    /// Rings the processes in those slots.
    pub(crate) fn wake(&self, member: &Member, mask: Mask) {
        let Some((wakers, _)) = &member.wakers else {
            return;
        };
        for slot in 0..SLOTS {
            let (w, bit) = pin_of(slot);
            if mask[w] & bit == 0 {
                continue;
            }
            let slot = &self.header().slots[slot];
            let waker = slot.waker.load(Relaxed);
            if waker != 0 && slot.wakers.load(Relaxed) == wakers.id {
                wakers.wake(WakerId(waker - 1));
            }
        }
    }

    pub(crate) fn wakeups<'a>(&'a self, member: &'a Member) -> Wakeups<'a> {
        Wakeups {
            core: self,
            member,
            mask: [0, 0],
        }
    }

    /// Remembers the latest time that was brought. A host's clock that was far ahead for a while is not believed for
    /// longer than that.
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

    /// The bits of the labels that entries of a bucket have.
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
    pub(crate) fn lock_shard(&self, member: &Member, hash: u64) -> Option<Guard<'_>> {
        lock::acquire(self.shard(self.bucket_of(hash))?, member, self.processes())
    }

    /// Locks the shard of a hash if that is to be had soon.
    pub(crate) fn lock_shard_soon(&self, member: &Member, hash: u64) -> Option<Guard<'_>> {
        lock::acquire_soon(
            self.shard(self.bucket_of(hash))?,
            member.token,
            self.processes(),
        )
    }

    /// An entry by its block. Its head is checked: the key and meta lie within the block.
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

    /// A body by its block, with where its first bytes lie and how many there can be (within the block).
    #[inline]
    pub(crate) fn body(&self, block: u32) -> Option<(&Body, usize, usize)> {
        let (size, at) = self.of_kind(block, Kind::Body)?;
        let most = (size as usize - 1) * GRANULE;
        let body: &Body = self.memory.at(at)?;
        let room = body.room.load(Relaxed) as usize;
        (size_of::<Body>() + room <= most).then_some((body, at + size_of::<Body>(), room))
    }

    /// An extent by its block; as [`Core::body`].
    #[inline]
    pub(crate) fn extent(&self, block: u32) -> Option<(&Extent, usize, usize)> {
        let (size, at) = self.of_kind(block, Kind::Extent)?;
        let most = (size as usize - 1) * GRANULE;
        let extent: &Extent = self.memory.at(at)?;
        let room = extent.room.load(Relaxed) as usize;
        (size_of::<Extent>() + room <= most).then_some((extent, at + size_of::<Extent>(), room))
    }

    /// Has what a lookup reads of an entry come near: its head, and the key behind it. The block can be any: it is not read.
    #[inline]
    pub(crate) fn prefetch_entry(&self, block: u32) {
        let at = block as usize * GRANULE;
        if block != 0 {
            (0..LINES_AHEAD).for_each(|line| self.memory.prefetch(at + line * 64));
        }
    }

    /// Has the head of a body come near, and its first bytes.
    #[inline]
    pub(crate) fn prefetch_body(&self, block: u32) {
        let at = block as usize * GRANULE;
        (0..2).for_each(|line| self.memory.prefetch(at + line * 64));
    }

    /// Visits the linked entries of a bucket, the most recent first, until told to stop. The shard is locked.
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

    /// Pins of an entry by processes that are not known to be dead.
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

    /// Whether the lease is held at that time by a process not known to be gone.
    pub(crate) fn is_leased(&self, e: &Entry, now: Millis) -> bool {
        let lease = e.lease.load(Acquire);
        lease != 0
            && e.deadline.load(Acquire) > now
            && !self.processes().is_gone(lease_owner(lease))
    }

    /// Phase of a body; growing without its writer is broken.
    #[inline]
    pub(crate) fn phase(&self, body: &Body) -> u32 {
        match body.phase.load(Acquire) {
            GROWING if self.processes().is_gone(body.owner.load(Relaxed)) => {
                crate::store::memory::block::BROKEN
            }
            phase => phase,
        }
    }

    /// Whether an entry is of no use any more to anybody, unless somebody holds its lease.
    pub(crate) fn is_dead(&self, at: &EntryAt<'_>, now: Millis) -> bool {
        if at.e.dead_at.load(Relaxed) <= now {
            return true;
        }
        at.is_object()
            && self
                .body(at.body())
                .is_none_or(|(b, ..)| self.phase(b) == crate::store::memory::block::BROKEN)
    }

    /// A number never given before.
    pub(crate) fn next_number(&self, counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Relaxed) + 1
    }
}

/// Bits of a lease word that number the lease; the token of its holder is above.
const NONCE_BITS: u32 = 40;

/// A lease word: who holds it and which lease it is.
pub(crate) fn lease_word(owner: Token, nonce: u64) -> u64 {
    u64::from(owner) << NONCE_BITS | nonce & ((1 << NONCE_BITS) - 1)
}

pub(crate) fn lease_owner(lease: u64) -> Token {
    (lease >> NONCE_BITS) as Token
}

/// Takes the waiters out of a mask in the region.
pub(crate) fn take_waiters(waiters: &[AtomicU64; 2]) -> Mask {
    [waiters[0].swap(0, AcqRel), waiters[1].swap(0, AcqRel)]
}

impl Drop for Core {
    fn drop(&mut self) {
        self.leave();
        let mut at = *self.members.get_mut();
        while !at.is_null() {
            // SAFETY: every member on the list came from a box, and no handle is left that could point to it.
            let member = unsafe { Box::from_raw(at) };
            at = member.previous;
            // It may have left while handles were held; the last of them is gone.
            self.processes().give_up_own(member.token);
        }
    }
}
