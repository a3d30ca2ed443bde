//! The handle through which a process uses a region.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use crate::store::error::{Busy, StoreError};
use crate::store::handle::claim::{Attempt, Claim, attempt};
use crate::store::handle::marker::{MarkerView, Markers, attribute_of};
use crate::store::handle::object::Object;
use crate::store::handle::purge::{Effect, Purge, Targets, remove_key};
use crate::store::index::checksum::Checksums;
use crate::store::index::counting::is_counting;
use crate::store::index::evict::count_hit;
use crate::store::index::lanes::Lanes;
use crate::store::index::lease::Ask;
use crate::store::index::pin::AT_ONCE;
use crate::store::index::stats::Stats;
use crate::store::index::survey::{Surveyed, survey};
use crate::store::index::sweep::Sweep;
use crate::store::memory::block::{BROKEN, EntryAt, SUB};
use crate::store::memory::bytes::Memory;
use crate::store::memory::lane::TALLIES;
use crate::store::memory::layout::{Geometry, Millis};
use crate::store::process::budget::TimeBudget;
use crate::store::process::wakers::{WakerId, Wakers};
use crate::store::upkeep::create;
use crate::store::upkeep::file::{Predecessor, open_region};
use crate::store::upkeep::membership::{Member, Shared};
use crate::store::upkeep::options::RegionOptions;
use crate::store::upkeep::seal::seal;
use crate::store::upkeep::snapshot::snapshot;
use crate::store::upkeep::validate::{Summary, validate};

/// How many lookups in a row may find a damaged object before the call fails.
const LOOKS: usize = 16;
/// Buckets swept per hold of the arena lock.
const SWEEP_BATCH: u32 = 64;

/// Whether a lookup counts as a hit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Hit,
    Nothing,
}

/// The result of a lookup.
#[derive(Debug)]
pub struct Lookup {
    /// The object that `select` chose, pinned.
    pub object: Option<Object>,
    /// The number of other living objects of the key.
    pub others: u32,
    /// The most recent object of the key, if none was selected; pinned.
    pub newest: Option<Object>,
    /// What is remembered about the key apart from its objects.
    pub marker: MarkerView,
}

/// A handle to a region. `Send + Sync`; all methods take `&self`; a clone is another handle to the same membership.
///
/// A handle may be made before a fork and used by the children, each of which calls [`Region::enter`]. Objects, claims
/// and fills belong to the process that made them; the copies that a forked child inherits have no effect.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Arc<Shared>,
}

impl Region {
    /// Lays out a new region in `len` bytes at `base`.
    ///
    /// # Safety
    /// The memory must be readable and writable, must outlive the handle and everything made from it, and must be
    /// accessed through regions only.
    pub unsafe fn create(
        base: NonNull<u8>,
        len: usize,
        opt: &RegionOptions,
    ) -> Result<Region, StoreError> {
        // SAFETY: the caller guarantees what `borrow` requires.
        let memory = unsafe { borrow(base, len) }?;
        let shared = create::format(memory, opt.max_object)?;
        Ok(Region { shared })
    }

    /// Attaches to a region that is already laid out in `len` bytes at `base`.
    ///
    /// # Safety
    /// As [`Region::create`].
    pub unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Region, StoreError> {
        // SAFETY: the caller guarantees what `borrow` requires.
        let memory = unsafe { borrow(base, len) }?;
        let shared = create::attach(memory)?;
        Ok(Region { shared })
    }

    /// Makes a region in an anonymous shared mapping of its own, which is unmapped when the last handle is dropped.
    pub fn anonymous(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        let shared = create::format(Memory::anonymous(len)?, opt.max_object)?;
        Ok(Region { shared })
    }

    /// Makes a region in private memory of this process. A forked child has an unusable copy, which it must not enter.
    ///
    /// ```
    /// use swrcache::store::{Region, RegionOptions};
    ///
    /// let region = Region::private(1 << 20, &RegionOptions::default())?;
    /// region.enter(None)?;
    /// assert!(region.validate().is_ok() && region.stats().objects == 0);
    /// assert!(Region::private(1000, &RegionOptions::default()).is_err());
    /// # Ok::<(), swrcache::store::StoreError>(())
    /// ```
    pub fn private(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        let shared = create::format(Memory::private(len)?, opt.max_object)?;
        Ok(Region { shared })
    }

    /// Opens or makes a region in a file, which outlives the processes. The file is locked until the last process that
    /// uses it has ended.
    pub fn file(
        path: &Path,
        len: usize,
        opt: &RegionOptions,
    ) -> Result<(Region, Predecessor), StoreError> {
        let (shared, found) = open_region(path, len, opt)?;
        Ok((Region { shared }, found))
    }

    /// Copies the part of a file's region that is in use into private memory of this process, and enters the copy.
    pub fn snapshot(path: &Path) -> Result<(Region, Predecessor), StoreError> {
        let (shared, found) = snapshot(path)?;
        let region = Region { shared };
        region.enter(None)?;
        Ok((region, found))
    }

    /// Marks a region in a file as cleanly closed, unless another process is in it. Call it last: any process that
    /// enters removes the mark. Returns whether the mark was written.
    pub fn seal(&self) -> bool {
        seal(&self.shared)
    }

    /// An anonymous region in which the hashes of all keys are equal.
    #[cfg(test)]
    pub(crate) fn colliding(len: usize) -> Region {
        let mut region = Region::anonymous(len, &RegionOptions::default()).expect("a region");
        let shared = Arc::get_mut(&mut region.shared).expect("the only handle");
        shared.core.hash_key = crate::store::memory::hash::HashKey::colliding();
        region
    }

    /// The minimum `len` of a region in bytes.
    pub fn min_len() -> usize {
        Geometry::min_len()
    }

    /// The maximum `len` of a region in bytes.
    pub fn max_len() -> usize {
        Geometry::max_len()
    }

    /// Sets the maximum length of a body in bytes; 0 means an eighth of the region.
    pub fn set_max_object(&self, bytes: u64) {
        self.shared.core.set_max_object(bytes);
    }

    /// Sets the function that returns the stem of a key, for [`Targets::stems`]. The first call takes effect. Every
    /// process in a region must set the same function before it stores or purges; without it, a purge by stem takes
    /// every key that begins with the stem.
    pub fn set_stem(&self, stem: fn(&[u8]) -> Option<&[u8]>) {
        self.shared.core.set_stem(stem);
    }

    /// Takes a process slot, and continues reclaiming what dead processes left. Every process calls it once, after the
    /// fork; until then, every operation returns [`Busy`]. The waker is used to wake this process when something that
    /// it waits for happens. Takes about a millisecond, also if only slots of dead processes are left; in that case it
    /// returns [`StoreError::NoSlotYet`] until one is reclaimed, and has to be called again.
    pub fn enter(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<(), StoreError> {
        let core = &self.shared.core;
        if core.is_poisoned() {
            return Err(StoreError::Corrupt("it was found damaged before"));
        }
        let found = core.processes().find_dead();
        self.shared.join(wakers)?;
        // Pairs with the fence in `seal`: either it sees our slot in the table, or we see its mark.
        fence(SeqCst);
        if core.header().clean.load(Relaxed) != 0 {
            let _ = core.unseal();
        }
        if let Some(member) = self.shared.member() {
            self.shared.maintenance(member).after_deaths(found);
        }
        Ok(())
    }

    /// Ends the claims and fills of this process and releases its slot. Call it when nothing uses the region. While
    /// objects are still pinned, the slot remains taken until the last of them and of the handles is dropped, or the
    /// process ends.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// Whether a process is in the region that this process's wakers don't reach (and whose wakers may not reach this
    /// process), as while a new binary replaces a running one. A waiting process must then also poll from time to time.
    pub fn has_strangers(&self) -> bool {
        self.shared.member().is_some_and(|member| {
            let set = member
                .local
                .wakers
                .as_ref()
                .map_or(0, |(wakers, _)| wakers.id);
            self.shared
                .core
                .processes()
                .has_strangers(member.local.slot(), set)
        })
    }

    /// Looks for dead processes, wakes all processes if there are any, and continues reclaiming what they left, like
    /// [`Region::maintain`], for about a millisecond. Returns the number of processes newly found dead. Takes about ten
    /// microseconds per process if none died. Call it about once a second.
    pub fn reap(&self) -> u32 {
        let Some(member) = self.shared.member() else {
            return 0;
        };
        let found = self.shared.core.processes().find_dead();
        self.shared.maintenance(member).after_deaths(found);
        found
    }

    /// Continues, for at most `within`, with what dead processes left: repairing the arena if one died during an
    /// allocation, and reclaiming their pins, leases and fills. Returns true when nothing is left for this process to
    /// do (another one may be at work). As long as it returns false, call it again soon, between other work: with
    /// millions of objects it takes some seconds in total, and nothing new is stored until a repair is done. [`Busy`]:
    /// a stopped process holds a lock; try again later.
    pub fn maintain(&self, within: Duration) -> Result<bool, Busy> {
        match self.shared.member() {
            Some(member) => self
                .shared
                .maintenance(member)
                .run(&mut TimeBudget::of(within)),
            None => Ok(true),
        }
    }

    /// Whether the region was found to be inconsistent. Nothing is stored or found in it any longer; it has to be
    /// replaced by a new one.
    pub fn is_damaged(&self) -> bool {
        self.shared.core.is_poisoned()
    }

    fn checksums(&self) -> Checksums<'_> {
        Checksums::of(&self.shared.core)
    }

    fn member(&self) -> Result<&Member, Busy> {
        self.shared.member().ok_or(Busy)
    }

    /// Visits the living objects of `key`, most recent first, until `select(meta)` returns true, and pins that object.
    /// `select` runs under a lock: it must be pure and short, and must not use the region.
    pub fn lookup(
        &self,
        key: &[u8],
        now: Millis,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        self.look_for(key, now, Counting::Hit, select)
    }

    /// Like [`Region::lookup`], but without any effect on eviction and hit counters.
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
            // An object from a file is verified once, before its first use.
            let shown = found.object.iter().chain(&found.newest);
            match shown
                .into_iter()
                .find(|o| !self.checksums().is_sound(o.body_block()))
            {
                None => return Ok(found),
                Some(damaged) => self.drop_damaged(damaged),
            }
        }
        Err(Busy)
    }

    /// Removes an object that was found damaged, and counts it.
    pub fn drop_damaged(&self, object: &Object) {
        if self.remove(object) {
            let counts = &self.shared.core.header().counts;
            counts.damaged.fetch_add(1, Relaxed);
        }
    }

    fn look(
        &self,
        key: &[u8],
        now: Millis,
        counting: Counting,
        select: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Lookup, Busy> {
        let (core, member) = (&self.shared.core, self.member()?);
        let hash = core.hash_key.of_key(key);
        let _shard = core.lock_shard(&member.local, hash).ok_or(Busy)?;
        let (mut chosen, mut newest) = (None, None);
        let (mut others, mut marker) = (0, MarkerView::default());
        core.walk::<()>(core.bucket_of(hash), |at| {
            if at.e.hash.load(Relaxed) != hash {
                return ControlFlow::Continue(());
            }
            // A lookup that succeeds reads the body next.
            core.prefetch_body(at.body());
            if at.key() != key {
            } else if !at.is_object() {
                if at.e.attributes[SUB].load(Relaxed) == 0 {
                    marker = MarkerView::of(&at, now);
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
        let is_hot = chosen.as_ref().is_some_and(|at| !at.is_derived());
        if counting == Counting::Hit && is_hot && is_counting() {
            Lanes::of(core).count_hot(&member.local, hash);
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
                    .shared
                    .core
                    .body(at.body())
                    .is_some_and(|(b, ..)| self.shared.core.phase(b) != BROKEN))
    }

    /// Pins the entry, and counts a hit if the lookup counts. The shard is locked.
    fn hold(&self, member: &Member, at: &EntryAt<'_>, counting: Counting) -> Object {
        if counting == Counting::Hit {
            count_hit(at);
        }
        self.shared.pins(member).pin(at);
        Object::pinned(&self.shared, member, at)
    }

    /// Tries to take the claim on the marker `(key, sub)`. With `wait`, if another request holds it, this process is
    /// woken once when that claim ends (released, filled, failed, voided, or its process found dead) or when its fill
    /// is published.
    pub fn claim_key(
        &self,
        key: &[u8],
        sub: u64,
        now: Millis,
        deadline: Millis,
        wait: bool,
    ) -> Result<Attempt, Busy> {
        let member = self.member()?;
        self.shared.core.advance_clock(now);
        let ask = Ask {
            now,
            deadline,
            wait,
        };
        self.markers()?.with((key, sub), deadline, |at| {
            attempt(&self.shared, member, at, ask)
        })
    }

    /// Tries to take the claim to refresh an object; `wait` as in [`Region::claim_key`].
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
        if !Arc::ptr_eq(&self.shared, &object.shared) || !object.is_of(member) {
            return Attempt::Held { deadline: now };
        }
        self.shared.core.advance_clock(now);
        let shard = (self.shared.core).lock_shard(&member.local, at.e.hash.load(Relaxed));
        match shard {
            Some(_shard) => attempt(
                &self.shared,
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

    /// Makes a claim that never conflicts with another one.
    pub fn unclaimed(&self, key: &[u8]) -> Claim {
        Claim::on_nothing(&self.shared, key)
    }

    /// Sets an attribute of the key's marker. All attributes of a marker expire together, at the latest `until`. Does
    /// nothing if the region is busy.
    pub fn set_marker(&self, key: &[u8], attribute: usize, value: u64, until: Millis, now: Millis) {
        let set = |at: &EntryAt<'_>| {
            if let Some(attribute) = attribute_of(at, attribute) {
                attribute.store(value, Relaxed);
            }
        };
        _ = self
            .markers()
            .and_then(|m| m.remember(key, until, now, set));
    }

    /// Adds one to an attribute of the key's marker and returns the new value; 1 if the region is busy.
    pub fn count_in_marker(&self, key: &[u8], attribute: usize, until: Millis, now: Millis) -> u64 {
        let count = |at: &EntryAt<'_>| {
            let attribute = attribute_of(at, attribute);
            attribute.map_or(1, |a| a.fetch_add(1, Relaxed).saturating_add(1))
        };
        let markers = self.markers();
        let counted = markers.and_then(|m| m.remember(key, until, now, count));
        counted.unwrap_or(1)
    }

    /// Sets an attribute of the key's marker to zero.
    pub fn clear_marker(&self, key: &[u8], attribute: usize) {
        if let Ok(markers) = self.markers() {
            markers.clear(key, attribute);
        }
    }

    fn markers(&self) -> Result<Markers<'_>, Busy> {
        Ok(Markers {
            shared: &self.shared,
            member: self.member()?,
        })
    }

    /// Removes the object from the index; readers keep it, and a claim on it is void. Returns false if it was no longer
    /// current, or if the region was busy.
    pub fn remove(&self, object: &Object) -> bool {
        let Ok(member) = self.member() else {
            return false;
        };
        if !Arc::ptr_eq(&self.shared, &object.shared) || !object.is_of(member) {
            return false;
        }
        let Some(mut guard) = self.shared.arena_guard(member) else {
            return false;
        };
        let at = object.at();
        let Some(_shard) = guard.lock_shard(at.e.hash.load(Relaxed)) else {
            return false;
        };
        guard.remove(&at)
    }

    /// Removes all objects of the key and of its branches, and their markers, and voids the claims on them (their
    /// commits are superseded). Returns the number of objects removed; 0 also if the region was busy.
    pub fn remove_key(&self, key: &[u8]) -> u32 {
        self.try_remove_key(key).unwrap_or(0)
    }

    /// Like [`Region::remove_key`], but returns an error if the region was busy and nothing was removed.
    pub fn try_remove_key(&self, key: &[u8]) -> Result<u32, Busy> {
        remove_key(&self.shared, key)
    }

    /// Begins a purge: from now on, no fetch that began earlier stores anything that the purge matches as if it were
    /// new. Call [`Purge::step`] until the purge is done.
    pub fn purge(&self, targets: Targets, effect: Effect, now: Millis) -> Result<Purge, Busy> {
        Purge::begin(&self.shared, targets, effect, now)
    }

    /// Drops dead objects and markers, examining up to `budget` places (buckets of the index) from where the last sweep
    /// stopped. Returns the number dropped.
    pub fn sweep(&self, now: Millis, budget: u32) -> u32 {
        let Ok(member) = self.member() else { return 0 };
        self.shared.core.advance_clock(now);
        self.shared.pins(member).retry_deferred(AT_ONCE);
        let mut dropped = 0;
        let mut left = budget.min(self.shared.core.geometry.buckets as u32 + 1);
        while left > 0 {
            let Some(mut guard) = self.shared.arena_guard(member) else {
                break;
            };
            dropped += Sweep::with(&mut guard).some(now, left.min(SWEEP_BATCH));
            left = left.saturating_sub(SWEEP_BATCH);
        }
        dropped
    }

    /// The number of places that a complete sweep examines.
    pub fn places(&self) -> u32 {
        self.shared.core.geometry.buckets as u32
    }

    /// Adds to one of the [`TALLIES`] counters of this process; does nothing before [`Region::enter`]. The caller
    /// defines what each counter means. They outlive the process and, in a file, all processes.
    #[inline]
    pub fn tally(&self, place: usize, n: u64) {
        if !is_counting() {
            return;
        }
        if let Some(member) = self.shared.member() {
            Lanes::of(&self.shared.core).tally(&member.local, place, n);
        }
    }

    /// The counters, added up over all processes that have been in the region.
    pub fn tallies(&self) -> [u64; TALLIES] {
        Lanes::of(&self.shared.core).tallies()
    }

    /// The keys that lookups found most often recently, by hash (see [`Surveyed`]), with approximate counts.
    pub fn hot(&self) -> HashMap<u64, u64> {
        Lanes::of(&self.shared.core).hot()
    }

    /// The place (see [`Region::survey`]) of the objects and markers of a key.
    pub fn place_of(&self, key: &[u8]) -> u32 {
        let core = &self.shared.core;
        core.bucket_of(core.hash_key.hash(key)) as u32
    }

    /// Shows each object and marker that lookups can find in a range of places (see [`Region::places`]): so many,
    /// starting at `from`. Returns the place to continue from, `None` at the end. Changes nothing. `each` runs under a
    /// lock: it must be short, and must not use the region.
    pub fn survey(
        &self,
        (from, places): (u32, u32),
        now: Millis,
        each: &mut dyn FnMut(&Surveyed<'_>),
    ) -> Result<Option<u32>, Busy> {
        let local = &self.member()?.local;
        survey(&self.shared.core, local, (from, places), now, each)
    }

    /// The region's counters and sizes.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared.core)
    }

    /// Walks everything and checks its consistency. Blocks the region meanwhile. This process must have entered.
    pub fn validate(&self) -> Result<Summary, String> {
        validate(&self.shared)
    }
}

/// # Safety
/// As [`Region::create`].
unsafe fn borrow(base: NonNull<u8>, len: usize) -> Result<Memory, StoreError> {
    Geometry::of(len)?;
    if base.as_ptr() as usize % 64 != 0 {
        return Err(StoreError::Misaligned);
    }
    // SAFETY: `base` is aligned; the caller guarantees the rest.
    Ok(unsafe { Memory::borrowed(base, len) })
}
