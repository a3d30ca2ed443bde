//! The handle of one process to a region.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use crate::store::error::{Busy, StoreError};
use crate::store::handle::claim::{Attempt, Claim};
use crate::store::handle::object::Object;
use crate::store::index::core::Core;
use crate::store::index::lease::Ask;
use crate::store::index::pin::AT_ONCE;
use crate::store::index::stats::Stats;
use crate::store::index::survey::Surveyed;
use crate::store::memory::block::{BROKEN, EntryAt, NOTE, PASS_UNTIL, SUB, USES};
use crate::store::memory::bytes::{GRANULE, Memory};
use crate::store::memory::lane::TALLIES;
use crate::store::memory::layout::Millis;
use crate::store::memory::layout::{Geometry, Header, MAGIC, VERSION};
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Member;
use crate::store::process::wakers::{WakerId, Wakers};
use crate::store::upkeep::file::{OnExec, Share};

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
    /// The longest body that is stored, in bytes; 0 is an eighth of the region.
    pub max_object: u64,
}

/// What a look counts for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Hit,
    Nothing,
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
    pub(crate) core: Arc<Core>,
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
        let core = Arc::get_mut(&mut region.core).expect("the only handle");
        core.hash_key = crate::store::memory::hash::HashKey::colliding();
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
            core: Arc::new(Core::new(memory, geometry)?),
        })
    }

    pub(crate) fn format(memory: Memory, opt: &RegionOptions) -> Result<Region, StoreError> {
        let geometry = Geometry::of(memory.len())?;
        memory.want_huge_pages();
        // SAFETY: nobody uses the memory yet, by the promise made to `create`.
        unsafe { memory.zero(0, geometry.arena as usize * GRANULE) };
        let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("header"))?;
        header.version.store(VERSION, Relaxed);
        header.era.store(1, Relaxed);
        header.len.store(memory.len() as u64, Relaxed);
        header
            .seed
            .store(crate::store::memory::platform::seed(), Relaxed);
        header.soonest.store(u64::MAX, Relaxed);
        header.soonest_seen.store(u64::MAX, Relaxed);
        let region = Region::wrap(memory, geometry)?;
        region.set_max_object(opt.max_object);
        region
            .core
            .arena()
            .format()
            .ok_or(StoreError::Corrupt("arena"))?;
        // Last of all: memory with the magic is a whole region.
        region.core.header().magic.store(MAGIC, Release);
        Ok(region)
    }

    /// Sets the longest permitted body, in bytes; 0 is an eighth of the region.
    pub fn set_max_object(&self, bytes: u64) {
        let bytes = if bytes == 0 {
            self.core.geometry.len as u64 / 8
        } else {
            bytes
        };
        self.core.header().max_object.store(bytes, Relaxed);
    }

    /// Takes a process slot, and goes on with cleaning up after dead processes. Every process calls it once, after the fork; before
    /// it, everything answers [`Busy`]. The bell is rung for what this process waits for. Takes about a millisecond, also if the
    /// only slots to be had are those of the dead: then it is to be called again ([`StoreError::NoSlotYet`]).
    pub fn enter(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<(), StoreError> {
        if self.core.header().poisoned.load(Relaxed) != 0 {
            return Err(StoreError::Corrupt("it was found so before"));
        }
        let found = self.core.processes().find_dead();
        self.core.enter(wakers)?;
        // Pairs with the fence in `seal`: it sees us in the table, or we see its mark.
        fence(SeqCst);
        if self.core.header().clean.load(Relaxed) != 0 {
            let _ = self.core.unseal();
        }
        if let Some(member) = self.core.member() {
            self.core.maintain_after(member, found);
        }
        Ok(())
    }

    /// Ends the claims and fills of this process and gives its slot back. Call it when nothing uses the region.
    /// While objects are still held, the slot stays taken: until the last of them and of the handles goes, or the process ends.
    pub fn leave(&self) {
        self.core.leave();
    }

    /// Whether a process is in the region that this one's bells don't reach (and whose bells may not reach this one), as
    /// while one binary takes over from another: what is waited for must then be looked at now and then.
    pub fn has_strangers(&self) -> bool {
        self.core.member().is_some_and(|member| {
            let set = member.wakers.as_ref().map_or(0, |(wakers, _)| wakers.id);
            self.core.processes().has_strangers(member.slot(), set)
        })
    }

    /// Looks for dead processes, rings everyone if there are, and goes on with what they have left behind as
    /// [`Region::maintain`] does, for about a millisecond. Returns how many were newly found dead. Costs some ten microseconds a
    /// process when none died. Call it about once a second.
    pub fn reap(&self) -> u32 {
        self.core.reap()
    }

    /// Goes on, for so long, with what dead processes have left behind: the repair of the arena, if one died in the middle of an
    /// allocation, and cleaning up after it. True when there is nothing left for this process to do (another may be at it). While it
    /// is false, call it again soon, between other work: in a region with millions of objects it takes some seconds in all,
    /// and until a repair is done nothing new is stored. [`Busy`]: a lock is held by a process that is stopped; try later.
    pub fn maintain(&self, within: Duration) -> Result<bool, Busy> {
        self.core.maintain(&mut TimeBudget::of(within))
    }

    /// Whether it was found to contradict itself. Nothing is stored in it or found any more; another has to be made.
    pub fn is_damaged(&self) -> bool {
        self.core.header().poisoned.load(Relaxed) != 0
    }

    fn member(&self) -> Result<&Member, Busy> {
        self.core.member().ok_or(Busy)
    }

    /// Walks the living objects of `key`, the most recent first, until `select(meta)` is true; pins that one.
    /// `select` runs under a lock: keep it pure and short, and call nothing of the region in it.
    pub fn lookup(
        &self,
        key: &[u8],
        now: Millis,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        self.look_for(key, now, Counting::Hit, select)
    }

    /// As [`Region::lookup`], but it counts for nothing: neither for what stays when room is needed, nor as a hit.
    pub fn peek(
        &self,
        key: &[u8],
        now: Millis,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        self.look_for(key, now, Counting::Nothing, select)
    }

    fn look_for(
        &self,
        key: &[u8],
        now: Millis,
        counting: Counting,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        for _ in 0..LOOKS {
            let found = self.look(key, now, counting, select)?;
            // What came out of a file is read through once before it is believed.
            let shown = found.object.iter().chain(&found.newest);
            match shown.into_iter().find(|o| !self.core.is_sound(o)) {
                None => return Ok(found),
                Some(damaged) => self.drop_damaged(damaged),
            }
        }
        Err(Busy)
    }

    /// An object makes no sense: it goes, and is counted.
    pub fn drop_damaged(&self, object: &Object) {
        if self.remove(object) {
            self.core.header().counts.damaged.fetch_add(1, Relaxed);
        }
    }

    fn look(
        &self,
        key: &[u8],
        now: Millis,
        counting: Counting,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        let member = self.member()?;
        let hash = self.core.hash_key.hash(key);
        let _shard = self.core.lock_shard(member, hash).ok_or(Busy)?;
        let (mut chosen, mut newest) = (None, None);
        let (mut others, mut marker) = (0, MarkerView::default());
        self.core.walk::<()>(self.core.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) != hash {
                return ControlFlow::Continue(());
            }
            // Who finds it wants its body next.
            self.core.prefetch_body(at.body());
            if at.key() != key {
            } else if !at.is_object() {
                if at.e.attributes[SUB].load(Relaxed) == 0 {
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
        let counts = counting == Counting::Hit;
        if counts && chosen.is_some() {
            self.core.count_hot(member, hash);
        }
        let hold = |at: EntryAt<'_>| self.hold(member, &at, counting);
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
                    .core
                    .body(at.body())
                    .is_some_and(|(b, ..)| self.core.phase(b) != BROKEN))
    }

    /// Pins, and counts a hit if it is one. The shard is locked.
    fn hold(&self, member: &Member, at: &EntryAt<'_>, counting: Counting) -> Object {
        if counting == Counting::Hit {
            self.core.count_hit(at);
        }
        self.core.pin(member, at);
        Object::pinned(&self.core, member, at)
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
        self.core.advance_clock(now);
        let ask = Ask {
            now,
            deadline,
            wait,
        };
        self.core.with_marker(member, (key, sub), deadline, |at| {
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
        if !Arc::ptr_eq(&self.core, &object.core) || !object.is_of(member) {
            return Attempt::Held { deadline: now };
        }
        self.core.advance_clock(now);
        match self.core.lock_shard(member, at.e.hash.load(Relaxed)) {
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
        match self.core.try_lease(member, at, ask) {
            Ok(lease) => {
                self.core.pin(member, at);
                Attempt::Won(Claim::leased(Object::pinned(&self.core, member, at), lease))
            }
            Err(deadline) => Attempt::Held { deadline },
        }
    }

    /// A claim that collides with nobody.
    pub fn unclaimed(&self, key: &[u8]) -> Claim {
        Claim::on_nothing(Arc::clone(&self.core), key)
    }

    /// Remembers that the key passes through until then. Does nothing when the region is busy.
    pub fn mark_pass(&self, key: &[u8], until: Millis, now: Millis) {
        let _ = self.remember(key, until, now, |at| {
            at.e.attributes[PASS_UNTIL].store(until, Relaxed)
        });
    }

    /// Forgets that the key passes through.
    pub fn clear_pass(&self, key: &[u8]) {
        let Ok(member) = self.member() else { return };
        let hash = self.core.hash_key.hash(key);
        let Some(_shard) = self.core.lock_shard(member, hash) else {
            return;
        };
        if let Some(at) = self.core.find_marker(hash, key, 0) {
            at.e.attributes[PASS_UNTIL].store(0, Relaxed);
        }
    }

    /// Counts a use of the key and returns how many there were, this one included; 1 when the region is busy.
    /// Uses are forgotten an hour after the last.
    pub fn note_use(&self, key: &[u8], now: Millis) -> u32 {
        let count = |at: &EntryAt<'_>| {
            at.e.attributes[USES]
                .fetch_add(1, Relaxed)
                .saturating_add(1)
        };
        let uses = self.remember(key, now.saturating_add(USES_REMEMBERED), now, count);
        uses.map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Sets the marker's note; it is forgotten after `until`.
    pub fn annotate(&self, key: &[u8], note: u64, until: Millis, now: Millis) {
        let _ = self.remember(key, until, now, |at| {
            at.e.attributes[NOTE].store(note, Relaxed)
        });
    }

    fn remember<T>(
        &self,
        key: &[u8],
        until: Millis,
        now: Millis,
        set: impl FnOnce(&EntryAt<'_>) -> T,
    ) -> Result<T, Busy> {
        let member = self.member()?;
        self.core.advance_clock(now);
        self.core.with_marker(member, (key, 0), until, |at| {
            if at.e.born.load(Relaxed) <= now {
                [PASS_UNTIL, USES, NOTE]
                    .iter()
                    .for_each(|i| at.e.attributes[*i].store(0, Relaxed));
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
        if !Arc::ptr_eq(&self.core, &object.core) || !object.is_of(member) {
            return false;
        }
        let Some(mut guard) = self.core.arena_guard(member) else {
            return false;
        };
        let at = object.at();
        let Some(_shard) = guard.lock_shard(at.e.hash.load(Relaxed)) else {
            return false;
        };
        guard.remove(&at)
    }

    /// Removes all objects of the key and what is remembered of it, and voids the claims on it (their commits are
    /// superseded); returns how many objects were removed, 0 also when the region was busy.
    pub fn remove_key(&self, key: &[u8]) -> u32 {
        self.try_remove_key(key).unwrap_or(0)
    }

    /// As [`Region::remove_key`], but says so when the region was busy and nothing was removed.
    pub fn try_remove_key(&self, key: &[u8]) -> Result<u32, Busy> {
        let mut guard = self.core.arena_guard(self.member()?).ok_or(Busy)?;
        let hash = self.core.hash_key.hash(key);
        let _shard = guard.lock_shard(hash).ok_or(Busy)?;
        if let Some(epoch) = self.core.epoch(hash) {
            epoch.fetch_add(1, Relaxed);
        }
        let mut of_key = Vec::new();
        self.core.walk::<()>(self.core.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) == hash && at.key() == key {
                of_key.push((at, at.is_object()));
            }
            ControlFlow::Continue(())
        });
        let removed = of_key
            .iter()
            .filter(|(at, is_object)| guard.remove(at) && *is_object);
        Ok(removed.count() as u32)
    }

    /// Drops dead objects and markers, looking at up to `budget` places (buckets of the index) from where the last
    /// sweep stopped. Returns how many were dropped.
    pub fn sweep(&self, now: Millis, budget: u32) -> u32 {
        let Ok(member) = self.member() else { return 0 };
        self.core.advance_clock(now);
        self.core.unpin_deferred(member, AT_ONCE);
        let mut dropped = 0;
        let mut left = budget.min(self.core.geometry.buckets as u32 + 1);
        while left > 0 {
            let Some(mut guard) = self.core.arena_guard(member) else {
                break;
            };
            dropped += guard.sweep_some(now, left.min(SWEEP_BATCH));
            left = left.saturating_sub(SWEEP_BATCH);
        }
        dropped
    }

    /// How many places a whole sweep looks at.
    pub fn places(&self) -> u32 {
        self.core.geometry.buckets as u32
    }

    /// Adds to one of the [`TALLIES`] words that this process counts in; nothing before [`Region::enter`]. What each is for is
    /// the caller's business. They outlive the process, and with a file all processes.
    #[inline]
    pub fn tally(&self, place: usize, n: u64) {
        if let Some(member) = self.core.member() {
            self.core.tally(member, place, n);
        }
    }

    /// The words of all processes that ever were in the region, added up.
    pub fn tallies(&self) -> [u64; TALLIES] {
        self.core.tallies()
    }

    /// The keys that lookups have found most often of late, by hash (see [`Surveyed`]), with how often, about.
    pub fn hot(&self) -> HashMap<u64, u64> {
        self.core.hot()
    }

    /// Shows each object and marker that lookups can find in so many places (see [`Region::places`]) from `from` on, and changes
    /// nothing; where to go on, `None` at the end. `each` runs under a lock: keep it short, and call nothing of the region
    /// in it.
    pub fn survey(
        &self,
        (from, places): (u32, u32),
        now: Millis,
        each: &mut dyn FnMut(&Surveyed<'_>),
    ) -> Result<Option<u32>, Busy> {
        self.core.survey(self.member()?, (from, places), now, each)
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        let header = self.core.header();
        let counts = &header.counts;
        Stats {
            size: self.core.geometry.len as u64,
            capacity: u64::from(self.core.geometry.end - self.core.geometry.arena) * GRANULE as u64,
            used: header.arena.used.load(Relaxed).wrapping_mul(GRANULE as u64),
            payload: (counts.payload.load(Relaxed) as i64).max(0) as u64,
            objects: counts.objects.load(Relaxed),
            markers: counts.markers.load(Relaxed),
            limbo: header.queues[crate::store::index::queue::LIMBO as usize]
                .count
                .load(Relaxed),
            evictions: counts.evictions.load(Relaxed),
            evicted_bytes: counts.evicted_bytes.load(Relaxed),
            expired: counts.expired.load(Relaxed),
            inserted: counts.inserted.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            processes: self.core.processes().live(),
            reaped: counts.reaped.load(Relaxed),
            repairs: counts.repairs.load(Relaxed),
            max_object: header.max_object.load(Relaxed),
            variants: counts.variants.load(Relaxed),
            damaged: counts.damaged.load(Relaxed),
            restored: counts.restored.load(Relaxed),
        }
    }

    /// Walks everything and checks that it holds together. Stops the region for its time. This process must have entered.
    pub fn validate(&self) -> Result<crate::store::Summary, String> {
        crate::store::upkeep::validate::validate(&self.core)
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
    let arena = crate::store::memory::arena::Arena {
        memory,
        header,
        geometry,
    };
    match (arena.look(geometry.arena), arena.look(geometry.end)) {
        (Some(_), Some((1, crate::store::memory::block::Kind::End))) => Ok(()),
        _ => Err(StoreError::Corrupt("the ends of the arena")),
    }
}

fn view(at: &EntryAt<'_>, now: Millis) -> MarkerView {
    if at.e.born.load(Relaxed) <= now {
        return MarkerView::default();
    }
    MarkerView {
        pass_until: at.e.attributes[PASS_UNTIL].load(Relaxed),
        uses: u32::try_from(at.e.attributes[USES].load(Relaxed)).unwrap_or(u32::MAX),
        note: at.e.attributes[NOTE].load(Relaxed),
    }
}
