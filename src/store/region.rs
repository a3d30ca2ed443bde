//! The handle of one process to a region.

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
use crate::store::upkeep::file::{Found, open_region};
use crate::store::upkeep::membership::{Member, Shared};
use crate::store::upkeep::options::RegionOptions;
use crate::store::upkeep::seal::seal;
use crate::store::upkeep::snapshot::snapshot;
use crate::store::upkeep::validate::{Summary, validate};

/// Lookups in a row that may find a damaged object.
const LOOKS: usize = 16;
/// Buckets swept under one hold of the arena lock.
const SWEEP_BATCH: u32 = 64;

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

/// A handle to a region. `Send + Sync`; all methods take `&self`; `Clone` is another handle to the same membership.
///
/// A handle may be made before a fork and used by the children: each calls [`Region::enter`]. Objects, claims and
/// fills are of the process that made them; in a forked child the inherited copies do nothing.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Arc<Shared>,
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
        let shared = create::format(memory, opt.max_object)?;
        Ok(Region { shared })
    }

    /// Takes a region that is there already.
    ///
    /// # Safety
    /// As [`Region::create`].
    pub unsafe fn attach(base: NonNull<u8>, len: usize) -> Result<Region, StoreError> {
        // SAFETY: the caller's promise is what `borrowed` asks for.
        let memory = unsafe { borrow(base, len) }?;
        let shared = create::attach(memory)?;
        Ok(Region { shared })
    }

    /// A region in an anonymous shared mapping of its own, unmapped when the last handle goes.
    pub fn anonymous(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        let shared = create::format(Memory::anonymous(len)?, opt.max_object)?;
        Ok(Region { shared })
    }

    /// A region in memory of this process alone. A forked child has a copy that cannot be used: it must not enter it.
    pub fn private(len: usize, opt: &RegionOptions) -> Result<Region, StoreError> {
        Geometry::of(len)?;
        let shared = create::format(Memory::private(len)?, opt.max_object)?;
        Ok(Region { shared })
    }

    /// A region in a file, which outlives the processes. Its lock is held until the last process that has it has ended.
    pub fn file(
        path: &Path,
        len: usize,
        opt: &RegionOptions,
    ) -> Result<(Region, Found), StoreError> {
        let (shared, found) = open_region(path, len, opt)?;
        Ok((Region { shared }, found))
    }

    /// A copy of the region in a file, in memory of this process: as much of it as the file has in use. It has entered it.
    pub fn snapshot(path: &Path) -> Result<(Region, Found), StoreError> {
        let (shared, found) = snapshot(path)?;
        let region = Region { shared };
        region.enter(None)?;
        Ok((region, found))
    }

    /// Writes into the region that all ended well, if it lies in a file and no other process is in it. Call it at the
    /// very end: whoever enters takes the mark away. Returns whether it was written.
    pub fn seal(&self) -> bool {
        seal(&self.shared)
    }

    /// An anonymous region in which all keys collide.
    #[cfg(test)]
    pub(crate) fn colliding(len: usize) -> Region {
        let mut region = Region::anonymous(len, &RegionOptions::default()).expect("a region");
        let shared = Arc::get_mut(&mut region.shared).expect("the only handle");
        shared.core.hash_key = crate::store::memory::hash::HashKey::colliding();
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

    /// Sets the longest permitted body, in bytes; 0 is an eighth of the region.
    pub fn set_max_object(&self, bytes: u64) {
        self.shared.core.set_max_object(bytes);
    }

    /// Tells this process's handles which part of a key is its stem, for [`Targets::stems`]. The first call counts. Every process
    /// of a region tells the same, before it stores or purges; where it is not told, a purge by stem takes every key that
    /// begins so.
    pub fn set_stem(&self, stem: fn(&[u8]) -> Option<&[u8]>) {
        self.shared.core.set_stem(stem);
    }

    /// Takes a process slot, and goes on with cleaning up after dead processes. Every process calls it once, after the fork; before
    /// it, everything answers [`Busy`]. The waker is used for what this process waits for. Takes about a millisecond, also if the
    /// only slots to be had are those of the dead: then it is to be called again ([`StoreError::NoSlotYet`]).
    pub fn enter(&self, wakers: Option<(Arc<Wakers>, WakerId)>) -> Result<(), StoreError> {
        let core = &self.shared.core;
        if core.is_poisoned() {
            return Err(StoreError::Corrupt("it was found so before"));
        }
        let found = core.processes().find_dead();
        self.shared.join(wakers)?;
        // Pairs with the fence in `seal`: it sees us in the table, or we see its mark.
        fence(SeqCst);
        if core.header().clean.load(Relaxed) != 0 {
            let _ = core.unseal();
        }
        if let Some(member) = self.shared.member() {
            self.shared.maintenance(member).after_deaths(found);
        }
        Ok(())
    }

    /// Ends the claims and fills of this process and gives its slot back. Call it when nothing uses the region.
    /// While objects are still held, the slot stays taken: until the last of them and of the handles goes, or the process ends.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// Whether a process is in the region that this one's wakers don't reach (and whose wakers may not reach this one), as
    /// while one binary takes over from another: what is waited for must then be looked at now and then.
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

    /// Looks for dead processes, wakes everyone if there are any, and goes on with what they have left behind as
    /// [`Region::maintain`] does, for about a millisecond. Returns how many were newly found dead. Costs some ten microseconds a
    /// process when none died. Call it about once a second.
    pub fn reap(&self) -> u32 {
        let Some(member) = self.shared.member() else {
            return 0;
        };
        let found = self.shared.core.processes().find_dead();
        self.shared.maintenance(member).after_deaths(found);
        found
    }

    /// Goes on, for so long, with what dead processes have left behind: the repair of the arena, if one died in the middle of an
    /// allocation, and cleaning up after it. True when there is nothing left for this process to do (another may be at it). While it
    /// is false, call it again soon, between other work: in a region with millions of objects it takes some seconds in all,
    /// and until a repair is done nothing new is stored. [`Busy`]: a lock is held by a process that is stopped; try later.
    pub fn maintain(&self, within: Duration) -> Result<bool, Busy> {
        match self.shared.member() {
            Some(member) => self
                .shared
                .maintenance(member)
                .run(&mut TimeBudget::of(within)),
            None => Ok(true),
        }
    }

    /// Whether it was found to contradict itself. Nothing is stored in it or found any more; another has to be made.
    pub fn is_damaged(&self) -> bool {
        self.shared.core.is_poisoned()
    }

    fn checksums(&self) -> Checksums<'_> {
        Checksums::of(&self.shared.core)
    }

    fn member(&self) -> Result<&Member, Busy> {
        self.shared.member().ok_or(Busy)
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

    /// Removes an object that turned out to be damaged, and counts it.
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
            // Who finds it wants its body next.
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
        if counting == Counting::Hit && chosen.is_some() && !cfg!(feature = "uncounted") {
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

    /// Pins, and counts a hit if it is one. The shard is locked.
    fn hold(&self, member: &Member, at: &EntryAt<'_>, counting: Counting) -> Object {
        if counting == Counting::Hit {
            count_hit(at);
        }
        self.shared.pins(member).pin(at);
        Object::pinned(&self.shared, member, at)
    }

    /// Asks for the claim on the marker `(key, sub)`. With `wait`, and if another holds it, this process is woken
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

    /// A claim that collides with nobody.
    pub fn unclaimed(&self, key: &[u8]) -> Claim {
        Claim::on_nothing(&self.shared, key)
    }

    /// Sets an attribute of what is remembered of the key. All attributes are forgotten together, at the latest `until` of all.
    /// Does nothing when the region is busy.
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

    /// Adds one to an attribute of what is remembered of the key and returns the new value; 1 when the region is busy.
    pub fn count_in_marker(&self, key: &[u8], attribute: usize, until: Millis, now: Millis) -> u64 {
        let count = |at: &EntryAt<'_>| {
            let attribute = attribute_of(at, attribute);
            attribute.map_or(1, |a| a.fetch_add(1, Relaxed).saturating_add(1))
        };
        let markers = self.markers();
        let counted = markers.and_then(|m| m.remember(key, until, now, count));
        counted.unwrap_or(1)
    }

    /// Sets an attribute of what is remembered of the key to zero.
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

    /// Makes the object unfindable; readers keep it; a claim on it is void. False if it was no longer current, or
    /// the region was busy.
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

    /// Removes all objects of the key and of its branches and what is remembered of them, and voids the claims on them (their
    /// commits are superseded); returns how many objects were removed, 0 also when the region was busy.
    pub fn remove_key(&self, key: &[u8]) -> u32 {
        self.try_remove_key(key).unwrap_or(0)
    }

    /// As [`Region::remove_key`], but says so when the region was busy and nothing was removed.
    pub fn try_remove_key(&self, key: &[u8]) -> Result<u32, Busy> {
        remove_key(&self.shared, key)
    }

    /// Begins a purge: from now on nothing that was asked for before comes to be found as if it had not been purged. Call
    /// [`Purge::step`] until it is done.
    pub fn purge(&self, targets: Targets, effect: Effect, now: Millis) -> Result<Purge, Busy> {
        Purge::begin(&self.shared, targets, effect, now)
    }

    /// Drops dead objects and markers, looking at up to `budget` places (buckets of the index) from where the last
    /// sweep stopped. Returns how many were dropped.
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

    /// How many places a whole sweep looks at.
    pub fn places(&self) -> u32 {
        self.shared.core.geometry.buckets as u32
    }

    /// Adds to one of the [`TALLIES`] words that this process counts in; nothing before [`Region::enter`]. What each is for is
    /// the caller's business. They outlive the process, and with a file all processes.
    #[inline]
    pub fn tally(&self, place: usize, n: u64) {
        if cfg!(feature = "uncounted") {
            return;
        }
        if let Some(member) = self.shared.member() {
            Lanes::of(&self.shared.core).tally(&member.local, place, n);
        }
    }

    /// The words of all processes that ever were in the region, added up.
    pub fn tallies(&self) -> [u64; TALLIES] {
        Lanes::of(&self.shared.core).tallies()
    }

    /// The keys that lookups have found most often of late, by hash (see [`Surveyed`]), with how often, about.
    pub fn hot(&self) -> HashMap<u64, u64> {
        Lanes::of(&self.shared.core).hot()
    }

    /// In which place (see [`Region::survey`]) the objects and markers of a key are.
    pub fn place_of(&self, key: &[u8]) -> u32 {
        let core = &self.shared.core;
        core.bucket_of(core.hash_key.hash(key)) as u32
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
        let local = &self.member()?.local;
        survey(&self.shared.core, local, (from, places), now, each)
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared.core)
    }

    /// Walks everything and checks that it holds together. Stops the region for its time. This process must have entered.
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
    // SAFETY: aligned; the rest is the caller's promise.
    Ok(unsafe { Memory::borrowed(base, len) })
}
