//! The handle of one process to a region.

use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use super::Millis;
use super::bells::{BellId, Bells};
use super::claim::{Attempt, Claim};
use super::entry::{BROKEN, EntryAt, NOTE, PASS_UNTIL, SUB, USES};
use super::error::{Busy, StoreError};
use super::file::{OnExec, Share};
use super::inner::Inner;
use super::layout::{Geometry, Header, MAGIC, VERSION};
use super::lease::Ask;
use super::member::Member;
use super::memory::{GRANULE, Memory};
use super::object::Object;
use super::pin::AT_ONCE;
use super::stats::Stats;
use super::stint::Stint;

/// How long uses of a key are remembered after the last one.
const USES_REMEMBERED: Millis = 3_600_000;
/// Lookups in a row that may find a damaged object.
const LOOKS: usize = 16;
/// Buckets swept under one hold of the arena lock.
const SWEEP_BATCH: u32 = 64;

/// How a region is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionOptions {
    /// Of a region in a file: whether programs that this process starts find the file open.
    pub on_exec: OnExec,
    /// Of a region in a file: who may have it at the same time.
    pub share: Share,
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

/// A handle to a region. `Send + Sync`; all methods take `&self`; `Clone` is another handle to the same membership.
///
/// A handle may be made before a fork and used by the children: each calls [`Region::enter`]. Objects, claims and
/// fills are of the process that made them; in a forked child the inherited copies do nothing.
#[derive(Clone, Debug)]
pub struct Region {
    pub(crate) inner: Arc<Inner>,
}

impl Region {
    /// Lays out a new region in `len` bytes at `base`.
    ///
    /// # Safety
    /// The memory must be readable and writable, must outlive the handle and everything made from it, and must be
    /// used by nothing but regions.
    pub unsafe fn create(
        base: NonNull<u8>,
        len: usize,
        opt: &RegionOptions,
    ) -> Result<Region, StoreError> {
        // SAFETY: the caller's promise is what `borrowed` asks for.
        let memory = unsafe { borrow(base, len) }?;
        Region::format(memory, opt)
    }

    /// Takes a region that is there already.
    ///
    /// # Safety
    /// As [`Region::create`].
    pub unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Region, StoreError> {
        // SAFETY: the caller's promise is what `borrowed` asks for.
        let memory = unsafe { borrow(base, len) }?;
        let geometry = Geometry::of(len)?;
        check(&memory, &geometry)?;
        Region::wrap(memory, geometry)
    }

    /// A region in an anonymous shared mapping of its own, unmapped when the last handle goes.
    pub fn anonymous(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        Region::format(Memory::anonymous(len)?, opt)
    }

    /// A region in memory of this process alone. A forked child has a copy that is of no use: it must not enter it.
    pub fn private(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        Region::format(Memory::private(len)?, opt)
    }

    /// An anonymous region in which all keys collide.
    #[cfg(test)]
    pub(crate) fn colliding(len: usize) -> Region {
        let mut region = Region::anonymous(len, &RegionOptions::default()).expect("a region");
        let inner = Arc::get_mut(&mut region.inner).expect("the only handle");
        inner.hash_key = super::hash::HashKey::colliding();
        region
    }

    /// The least `len` that can be laid out.
    pub fn min_len() -> usize {
        Geometry::min_len()
    }

    /// The greatest `len` that can be laid out.
    pub fn max_len() -> usize {
        Geometry::max_len()
    }

    pub(crate) fn wrap(memory: Memory, geometry: Geometry) -> Result<Region, StoreError> {
        Ok(Region {
            inner: Arc::new(Inner::new(memory, geometry)?),
        })
    }

    pub(crate) fn format(memory: Memory, opt: &RegionOptions) -> Result<Region, StoreError> {
        let geometry = Geometry::of(memory.len())?;
        // SAFETY: nobody uses the memory yet, by the promise made to `create`.
        unsafe { memory.zero(0, geometry.arena as usize * GRANULE) };
        let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("header"))?;
        header.version.store(VERSION, Relaxed);
        header.era.store(1, Relaxed);
        header.len.store(memory.len() as u64, Relaxed);
        header.seed.store(super::atomic::seed(), Relaxed);
        header.soonest.store(u64::MAX, Relaxed);
        header.soonest_seen.store(u64::MAX, Relaxed);
        let region = Region::wrap(memory, geometry)?;
        region.set_max_object(opt.max_object);
        region
            .inner
            .arena()
            .format()
            .ok_or(StoreError::Corrupt("arena"))?;
        // Last of all: memory with the magic is a whole region.
        region.inner.header().magic.store(MAGIC, Release);
        Ok(region)
    }

    /// Sets the largest permitted object (key, meta and body); 0 is an eighth of the region.
    pub fn set_max_object(&self, bytes: u64) {
        let bytes = if bytes == 0 {
            self.inner.geometry.len as u64 / 8
        } else {
            bytes
        };
        self.inner.header().max_object.store(bytes, Relaxed);
    }

    /// Takes a process slot, and goes on with cleaning up after dead processes. Every process calls it once, after the fork; before
    /// it, everything answers [`Busy`]. The bell is rung for what this process waits for. Takes about a millisecond, also if the
    /// only slots to be had are those of the dead: then it is to be called again ([`StoreError::NoSlotYet`]).
    pub fn enter(&self, bells: Option<(Arc<Bells>, BellId)>) -> Result<(), StoreError> {
        if self.inner.header().poisoned.load(Relaxed) != 0 {
            return Err(StoreError::Corrupt("it was found so before"));
        }
        let found = self.inner.processes().find_dead();
        self.inner.enter(bells)?;
        // Pairs with the fence in `seal`: it sees us in the table, or we see its mark.
        fence(SeqCst);
        if self.inner.header().clean.load(Relaxed) != 0 {
            let _ = self.inner.unseal();
        }
        if let Some(member) = self.inner.member() {
            self.inner.mend_after(member, found);
        }
        Ok(())
    }

    /// Ends the claims and fills of this process and gives its slot back. Call it when nothing uses the region.
    /// While objects are still held, the slot stays taken: until the last of them and of the handles goes, or the process ends.
    pub fn leave(&self) {
        self.inner.leave();
    }

    /// Whether a process is in the region that this one's bells don't reach (and whose bells may not reach this one), as
    /// while one binary takes over from another: what is waited for must then be looked at now and then.
    pub fn has_strangers(&self) -> bool {
        self.inner.member().is_some_and(|member| {
            let set = member.bells.as_ref().map_or(0, |(bells, _)| bells.id);
            self.inner.processes().has_strangers(member.slot(), set)
        })
    }

    /// Looks for dead processes, rings everyone if there are, and goes on with what they have left behind as
    /// [`Region::mend`] does, for about a millisecond. Returns how many were newly found dead. Costs some ten microseconds a
    /// process when none died. Call it about once a second.
    pub fn reap(&self) -> u32 {
        self.inner.reap()
    }

    /// Goes on, for so long, with what dead processes have left behind: the repair of the arena, if one died in the middle of an
    /// allocation, and cleaning up after it. True when there is nothing left for this process to do (another may be at it). While it
    /// is false, call it again soon, between other work: in a region with millions of objects it takes some seconds in all,
    /// and until a repair is done nothing new is stored. [`Busy`]: a lock is held by a process that is stopped; try later.
    pub fn mend(&self, within: Duration) -> Result<bool, Busy> {
        self.inner.mend(&mut Stint::of(within))
    }

    /// Whether it was found to contradict itself. Nothing is stored in it or found any more; another has to be made.
    pub fn is_damaged(&self) -> bool {
        self.inner.header().poisoned.load(Relaxed) != 0
    }

    fn member(&self) -> Result<&Member, Busy> {
        self.inner.member().ok_or(Busy)
    }

    /// Walks the living objects of `key`, the most recent first, until `select(meta)` is true; pins that one.
    /// `select` runs under a lock: keep it pure and short, and call nothing of the region in it.
    pub fn lookup(
        &self,
        key: &[u8],
        now: Millis,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        for _ in 0..LOOKS {
            let found = self.look(key, now, select)?;
            // What came out of a file is read through once before it is believed.
            let shown = found.object.iter().chain(&found.newest);
            match shown.into_iter().find(|o| !self.inner.is_sound(o)) {
                None => return Ok(found),
                Some(damaged) => _ = self.remove(damaged),
            }
        }
        Err(Busy)
    }

    fn look(
        &self,
        key: &[u8],
        now: Millis,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        let member = self.member()?;
        let hash = self.inner.hash_key.hash(key);
        let _shard = self.inner.lock_shard(member, hash).ok_or(Busy)?;
        let (mut chosen, mut newest) = (None, None);
        let (mut others, mut marker) = (0, MarkerView::default());
        self.inner.walk::<()>(self.inner.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) != hash {
                return ControlFlow::Continue(());
            }
            // Who finds it wants its body next.
            self.inner.prefetch_body(at.body());
            if at.key() != key {
            } else if !at.is_object() {
                if at.e.words[SUB].load(Relaxed) == 0 {
                    marker = view(&at, now);
                }
            } else if self.lives(&at, now) {
                if chosen.is_none() && select(at.meta()) {
                    chosen = Some(at);
                } else {
                    others += 1;
                    newest = newest.or(Some(at));
                }
            }
            ControlFlow::Continue(())
        });
        if chosen.is_some() {
            newest = None;
        }
        let hold = |at: EntryAt<'_>| self.hold(member, &at);
        Ok(Lookup {
            object: chosen.map(hold),
            others,
            newest: newest.map(hold),
            marker,
        })
    }

    fn lives(&self, at: &EntryAt<'_>, now: Millis) -> bool {
        at.e.dead_at.load(Relaxed) > now
            && (at.is_whole()
                || self
                    .inner
                    .body(at.body())
                    .is_some_and(|(b, ..)| self.inner.phase(b) != BROKEN))
    }

    /// Counts a hit and pins. The shard is locked.
    fn hold(&self, member: &Member, at: &EntryAt<'_>) -> Object {
        self.inner.count_hit(at);
        self.inner.pin(member, at);
        Object::pinned(&self.inner, member, at)
    }

    /// Asks for the claim on the marker `(key, sub)`. With `wait`, and if another holds it, this process is rung
    /// once when that claim ends (released, filled, failed, voided, its process found dead) or when its fill is published.
    pub fn claim_key(
        &self,
        key: &[u8],
        sub: u64,
        now: Millis,
        deadline: Millis,
        wait: bool,
    ) -> Result<Attempt, Busy> {
        let member = self.member()?;
        self.inner.tick(now);
        let ask = Ask {
            now,
            deadline,
            wait,
        };
        self.inner.with_marker(member, (key, sub), deadline, |at| {
            self.attempt(member, at, ask)
        })
    }

    /// Asks for the claim to refresh that object; `wait` as in [`Region::claim_key`].
    pub fn claim_object(
        &self,
        object: &Object,
        now: Millis,
        deadline: Millis,
        wait: bool,
    ) -> Attempt {
        let at = object.at();
        let Ok(member) = self.member() else {
            return Attempt::Held { deadline: now };
        };
        if !Arc::ptr_eq(&self.inner, &object.inner) || !object.is_of(member) {
            return Attempt::Held { deadline: now };
        }
        self.inner.tick(now);
        match self.inner.lock_shard(member, at.e.hash.load(Relaxed)) {
            Some(_shard) => self.attempt(
                member,
                &at,
                Ask {
                    now,
                    deadline,
                    wait,
                },
            ),
            None => Attempt::Held { deadline: now },
        }
    }

    fn attempt(&self, member: &Member, at: &EntryAt<'_>, ask: Ask) -> Attempt {
        match self.inner.try_lease(member, at, ask) {
            Ok(lease) => {
                self.inner.pin(member, at);
                Attempt::Won(Claim::leased(
                    Object::pinned(&self.inner, member, at),
                    lease,
                ))
            }
            Err(deadline) => Attempt::Held { deadline },
        }
    }

    /// A claim that collides with nobody.
    pub fn unclaimed(&self, key: &[u8]) -> Claim {
        Claim::on_nothing(Arc::clone(&self.inner), key)
    }

    /// Remembers that the key passes through until then. Does nothing when the region is busy.
    pub fn mark_pass(&self, key: &[u8], until: Millis, now: Millis) {
        let _ = self.remember(key, until, now, |at| {
            at.e.words[PASS_UNTIL].store(until, Relaxed)
        });
    }

    /// Forgets that the key passes through.
    pub fn clear_pass(&self, key: &[u8]) {
        let Ok(member) = self.member() else { return };
        let hash = self.inner.hash_key.hash(key);
        let Some(_shard) = self.inner.lock_shard(member, hash) else {
            return;
        };
        if let Some(at) = self.inner.find_marker(hash, key, 0) {
            at.e.words[PASS_UNTIL].store(0, Relaxed);
        }
    }

    /// Counts a use of the key and returns how many there were, this one included; 1 when the region is busy.
    /// Uses are forgotten an hour after the last.
    pub fn note_use(&self, key: &[u8], now: Millis) -> u32 {
        let count = |at: &EntryAt<'_>| at.e.words[USES].fetch_add(1, Relaxed).saturating_add(1);
        let uses = self.remember(key, now.saturating_add(USES_REMEMBERED), now, count);
        uses.map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Sets the marker's note; it is forgotten after `until`.
    pub fn annotate(&self, key: &[u8], note: u64, until: Millis, now: Millis) {
        let _ = self.remember(key, until, now, |at| at.e.words[NOTE].store(note, Relaxed));
    }

    fn remember<T>(
        &self,
        key: &[u8],
        until: Millis,
        now: Millis,
        set: impl FnOnce(&EntryAt<'_>) -> T,
    ) -> Result<T, Busy> {
        let member = self.member()?;
        self.inner.tick(now);
        self.inner.with_marker(member, (key, 0), until, |at| {
            if at.e.born.load(Relaxed) <= now {
                [PASS_UNTIL, USES, NOTE]
                    .iter()
                    .for_each(|i| at.e.words[*i].store(0, Relaxed));
            }
            at.e.born.fetch_max(until, Relaxed);
            at.e.dead_at.fetch_max(until, Relaxed);
            set(at)
        })
    }

    /// Makes the object unfindable; readers keep it; a claim on it is void. False if it was no longer current, or
    /// the region was busy.
    pub fn remove(&self, object: &Object) -> bool {
        let Ok(member) = self.member() else {
            return false;
        };
        if !Arc::ptr_eq(&self.inner, &object.inner) || !object.is_of(member) {
            return false;
        }
        let Some(mut keeper) = self.inner.keeper(member) else {
            return false;
        };
        let at = object.at();
        let Some(_shard) = keeper.lock_shard(at.e.hash.load(Relaxed)) else {
            return false;
        };
        keeper.remove(&at)
    }

    /// Removes all objects of the key and what is remembered of it, and voids the claims on it (their commits are
    /// superseded); returns how many objects were removed, 0 also when the region was busy.
    pub fn remove_key(&self, key: &[u8]) -> u32 {
        self.try_remove_key(key).unwrap_or(0)
    }

    /// As [`Region::remove_key`], but says so when the region was busy and nothing was removed.
    pub fn try_remove_key(&self, key: &[u8]) -> Result<u32, Busy> {
        let mut keeper = self.inner.keeper(self.member()?).ok_or(Busy)?;
        let hash = self.inner.hash_key.hash(key);
        let _shard = keeper.lock_shard(hash).ok_or(Busy)?;
        if let Some(epoch) = self.inner.epoch(hash) {
            epoch.fetch_add(1, Relaxed);
        }
        let mut of_key = Vec::new();
        self.inner.walk::<()>(self.inner.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) == hash && at.key() == key {
                of_key.push((at, at.is_object()));
            }
            ControlFlow::Continue(())
        });
        let removed = of_key
            .iter()
            .filter(|(at, is_object)| keeper.remove(at) && *is_object);
        Ok(removed.count() as u32)
    }

    /// Drops dead objects and markers, looking at up to `budget` places (buckets of the index) from where the last
    /// sweep stopped. Returns how many were dropped.
    pub fn sweep(&self, now: Millis, budget: u32) -> u32 {
        let Ok(member) = self.member() else { return 0 };
        self.inner.tick(now);
        self.inner.unpin_deferred(member, AT_ONCE);
        let mut dropped = 0;
        let mut left = budget.min(self.inner.geometry.buckets as u32 + 1);
        while left > 0 {
            let Some(mut keeper) = self.inner.keeper(member) else {
                break;
            };
            dropped += keeper.sweep_some(now, left.min(SWEEP_BATCH));
            left = left.saturating_sub(SWEEP_BATCH);
        }
        dropped
    }

    /// How many places a whole sweep looks at.
    pub fn places(&self) -> u32 {
        self.inner.geometry.buckets as u32
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        let header = self.inner.header();
        let counts = &header.counts;
        Stats {
            size: self.inner.geometry.len as u64,
            capacity: u64::from(self.inner.geometry.end - self.inner.geometry.arena)
                * GRANULE as u64,
            used: header.arena.used.load(Relaxed).wrapping_mul(GRANULE as u64),
            payload: (counts.payload.load(Relaxed) as i64).max(0) as u64,
            objects: counts.objects.load(Relaxed),
            markers: counts.markers.load(Relaxed),
            limbo: header.queues[super::queue::LIMBO as usize]
                .count
                .load(Relaxed),
            evictions: counts.evictions.load(Relaxed),
            evicted_bytes: counts.evicted_bytes.load(Relaxed),
            expired: counts.expired.load(Relaxed),
            inserted: counts.inserted.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            processes: self.inner.processes().live(),
            reaped: counts.reaped.load(Relaxed),
            repairs: counts.repairs.load(Relaxed),
            max_object: header.max_object.load(Relaxed),
        }
    }

    /// Walks everything and checks that it holds together. Stops the region for its time. This process must have entered.
    pub fn validate(&self) -> Result<super::Summary, String> {
        super::validate::validate(&self.inner)
    }
}

/// # Safety
/// As [`Region::create`].
unsafe fn borrow(base: NonNull<u8>, len: usize) -> Result<Memory, StoreError> {
    Geometry::of(len)?;
    if !(base.as_ptr() as usize).is_multiple_of(64) {
        return Err(StoreError::Misaligned);
    }
    // SAFETY: aligned; the rest is the caller's promise.
    Ok(unsafe { Memory::borrowed(base, len) })
}

/// Checks that memory holds a region of this layout and length.
pub(crate) fn check(memory: &Memory, geometry: &Geometry) -> Result<(), StoreError> {
    let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("header"))?;
    if header.magic.load(Acquire) != MAGIC {
        return Err(StoreError::Foreign);
    }
    let found = header.version.load(Relaxed);
    if found != VERSION {
        return Err(StoreError::Version {
            found,
            expected: VERSION,
        });
    }
    let (found, given) = (header.len.load(Relaxed), memory.len() as u64);
    if found != given {
        return Err(StoreError::Length { found, given });
    }
    if header.poisoned.load(Relaxed) != 0 {
        return Err(StoreError::Corrupt("it was found so before"));
    }
    let arena = super::arena::Arena {
        memory,
        header,
        geometry,
    };
    match (arena.look(geometry.arena), arena.look(geometry.end)) {
        (Some(_), Some((1, super::entry::Kind::End))) => Ok(()),
        _ => Err(StoreError::Corrupt("the ends of the arena")),
    }
}

fn view(at: &EntryAt<'_>, now: Millis) -> MarkerView {
    if at.e.born.load(Relaxed) <= now {
        return MarkerView::default();
    }
    MarkerView {
        pass_until: at.e.words[PASS_UNTIL].load(Relaxed),
        uses: u32::try_from(at.e.words[USES].load(Relaxed)).unwrap_or(u32::MAX),
        note: at.e.words[NOTE].load(Relaxed),
    }
}
