//! Fills: objects whose body is still being written.
//!
//! | step | lookups | readers of the object | if the process dies |
//! |---|---|---|---|
//! | begin, `Publish::Now` | find it | follow it | see Broken; it is unlinked |
//! | begin, `Publish::AtCommit` | find what was there before | follow it | see Broken; it is freed |
//! | write | - | see the bytes, are woken | as above |
//! | commit | find it, and not what it replaces | see Complete, are woken | before: as above; after: it stays |
//! | drop, abort | don't find it | see Broken, are woken | - |

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::error::{NoSpace, Refused, SupersededReason};
use crate::store::handle::claim::{Claim, NewHead};
use crate::store::handle::object::Object;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::builder::{Builder, growth};
use crate::store::index::checksum::{Checksums, Coverage, Hasher};
use crate::store::index::core::Core;
use crate::store::index::ghosts::Ghosts;
use crate::store::index::pin::AT_ONCE;
use crate::store::index::queue::MAIN;
use crate::store::memory::block::{
    ATTRIBUTES, Body, COMPLETE, DERIVED, GROWING, LABEL, MAX_KEY, MAX_LABELS, REMOVED, UNKNOWN,
};
use crate::store::memory::layout::Millis;
use crate::store::process::wakeups::take_waiters;
use crate::store::upkeep::membership::{Member, Shared};

/// When lookups find a new object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Immediately, while it grows.
    Now,
    /// Once it is committed.
    AtCommit,
}

/// The parts of a new object.
#[derive(Debug)]
pub struct NewObject<'a> {
    /// Opaque bytes, passed to `select` in lookups.
    pub meta: &'a [u8],
    /// The labels by which purges find the object, at most [`MAX_LABELS`](crate::store::MAX_LABELS).
    pub labels: &'a [u64],
    /// The length of the body in bytes, if known.
    pub total: Option<u64>,
    /// The initial attributes of the object.
    pub attributes: [u64; ATTRIBUTES],
    /// The time from which on lookups no longer find the object (Unix time in ms).
    pub dead_at: Millis,
    /// When lookups find it first.
    pub publish: Publish,
    /// The object that the commit replaces. If it is removed explicitly before, the commit is superseded.
    pub replaces: Option<&'a Object>,
    /// The maximum number of objects of the key; beyond it, the oldest are removed. 0 means no limit.
    pub max_variants: u32,
}

/// A commit that did not make the object current. Holders of the object can still read it.
#[derive(Debug)]
pub struct Superseded {
    /// The object, which is unlinked. It is complete unless the reason is [`SupersededReason::Incomplete`].
    pub object: Object,
    /// Why it did not become current.
    pub reason: SupersededReason,
}

/// A growing object. Dropping it breaks the body: the object is unlinked and its readers are woken. `Send`.
#[derive(Debug)]
pub struct Fill {
    /// Taken out when the fill ends other than by being dropped.
    state: Option<Growing>,
}

#[derive(Debug)]
struct Growing {
    // Dropped in this order: the claim's waiters are woken after the object has its final state.
    object: Object,
    replaces: Option<Object>,
    claim: Claim,
    max_variants: u32,
    len: u64,
    hasher: Option<Hasher>,
    /// The bytes reserved in all pieces.
    reserved: u64,
    last: u32,
    /// The piece being written, and the offset in the body at which it begins.
    current: u32,
    start: u64,
}

/// What `begin` has made in the region.
struct Begun {
    block: u32,
    first: u32,
    last: u32,
    reserved: u64,
}

impl Fill {
    /// Begins a new object of the claim's key. If the total is known, all space is reserved now. With
    /// [`Publish::Now`](crate::store::Publish), the waiters are woken, as they can read the object while it grows.
    pub fn begin(claim: Claim, new: NewObject<'_>) -> Result<Fill, (Claim, NoSpace)> {
        match begin(&claim, &new) {
            Ok((object, begun)) => Ok(Fill {
                state: Some(Growing {
                    hasher: Checksums::of(&object.shared.core).body_hasher(),
                    object,
                    replaces: new.replaces.cloned(),
                    claim,
                    max_variants: new.max_variants,
                    len: 0,
                    reserved: begun.reserved,
                    last: begun.last,
                    current: begun.first,
                    start: 0,
                }),
            }),
            Err(e) => Err((claim, e)),
        }
    }

    fn state(&self) -> &Growing {
        match &self.state {
            Some(state) => state,
            // Only the methods that consume the fill take the state out.
            None => unreachable!("a fill in use has its state"),
        }
    }

    fn into_state(mut self) -> Growing {
        match self.state.take() {
            Some(state) => state,
            None => unreachable!("a fill in use has its state"),
        }
    }

    /// Appends bytes and publishes them. On an error nothing was appended.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        match &mut self.state {
            Some(state) => state.write(bytes),
            None => Err(NoSpace::Ended),
        }
    }

    /// The object, for reading while it grows.
    pub fn object(&self) -> Object {
        self.state().object.clone()
    }

    /// The number of bytes written.
    pub fn len(&self) -> u64 {
        self.state().len
    }

    /// Whether no byte has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets an attribute of the object.
    pub fn set_attribute(&self, i: usize, value: u64) {
        self.state().object.attribute(i).store(value, Release);
    }

    /// Marks the object as derived from another object of its key. A derived object can be made anew: it has to be requested more
    /// often than others to be kept, and purges do not count it. To be called before the commit.
    pub fn mark_derived(&self) {
        let entry = self.state().object.at().e;
        entry.flags.fetch_or(DERIVED, Relaxed);
    }

    /// Whether a commit would make the object current, as of now.
    pub fn is_valid(&self) -> bool {
        self.state().is_valid()
    }

    /// Moves the deadline of the claim.
    pub fn extend(&self, deadline: Millis) {
        self.state().claim.extend(deadline);
    }

    /// Completes the object, makes it current, removes the object that it replaces, ends the claim and wakes the
    /// waiters.
    pub fn commit(self, now: Millis) -> Result<Object, Superseded> {
        let state = self.into_state();
        let settled = state.commit(now);
        let object = state.object.clone();
        // The claim ends here, together with the state; its waiters find the object.
        drop(state);
        match settled {
            Ok(()) => Ok(object),
            Err(reason) => Err(Superseded { object, reason }),
        }
    }

    /// Ends a fill whose body is identical to that of `old`: drops the new body, replaces the head of `old` by a new
    /// one, ends the claim and wakes the waiters. Readers of the fill see it as complete.
    pub fn commit_as_renewal(
        self,
        old: &Object,
        new: NewHead<'_>,
        now: Millis,
    ) -> Result<Object, Refused> {
        let state = self.into_state();
        let renewed = match state.complete() {
            Ok(()) => state.claim.swap_head(old, new, now),
            Err(_) => Err(Refused::NotCurrent),
        };
        state.unlink();
        renewed
    }

    /// Breaks the object but keeps the claim, so that the failure can be recorded while it is held.
    pub fn abort(self) -> Claim {
        let state = self.into_state();
        state.break_off();
        state.claim
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.break_off();
        }
    }
}

fn begin(claim: &Claim, new: &NewObject<'_>) -> Result<(Object, Begun), NoSpace> {
    let shared = &claim.shared;
    let member = shared.member().ok_or(NoSpace::Busy)?;
    if claim.key().len() > MAX_KEY || new.labels.len() > MAX_LABELS {
        return Err(NoSpace::TooLarge);
    }
    let head = (claim.key().len() + new.meta.len() + new.labels.len() * LABEL) as u64;
    let body = new.total.unwrap_or(0);
    if head > u64::from(u32::MAX) || body > shared.core.header().max_object.load(Relaxed) {
        return Err(NoSpace::TooLarge);
    }
    shared.pins(member).retry_deferred(AT_ONCE);
    let begun = begin_entry(claim, member, new)?;
    let object = Object::adopt(shared, member, begun.block).ok_or(NoSpace::Busy)?;
    Ok((object, begun))
}

fn begin_entry(claim: &Claim, member: &Member, new: &NewObject<'_>) -> Result<Begun, NoSpace> {
    let mut guard = claim.shared.arena_guard(member).ok_or(NoSpace::Busy)?;
    let reserved = Builder::with(&mut guard).reserve(new.total);
    let (first, last, start) = reserved.ok_or(NoSpace::Full)?;
    let new_head = NewHead {
        meta: new.meta,
        labels: new.labels,
        attributes: new.attributes,
        dead_at: new.dead_at,
    };
    let head = new_head.of_key(guard.core, claim.key(), guard.core.clock());
    let built = Builder::with(&mut guard).entry(&head, first.block);
    let Some(at) = built else {
        guard.drop_body(first.block);
        return Err(NoSpace::Full);
    };
    let admitted = claim.purge_log().admits(&at, claim.stamp);
    if new.publish == Publish::Now && claim.is_valid() && admitted {
        let Some(_shard) = guard.lock_shard(head.hash) else {
            guard.discard(&at);
            return Err(NoSpace::Busy);
        };
        let main = Ghosts::of(guard.core).remembers(head.hash);
        guard.link(&at, main).ok_or(NoSpace::Busy)?;
        if let Some(place) = claim.place() {
            guard.wakeups.add(take_waiters(&place.at().e.waiters));
        }
    }
    Ok(Begun {
        block: at.block,
        first: first.block,
        last: last.block,
        reserved: start + last.room as u64,
    })
}

impl Growing {
    fn shared(&self) -> &Arc<Shared> {
        &self.object.shared
    }

    fn core(&self) -> &Core {
        &self.object.shared.core
    }

    /// The body, as long as this process may write to it.
    fn growing(&self) -> Option<(&Body, &Member)> {
        let member = self.shared().member().filter(|m| self.object.is_of(m))?;
        let (body, ..) = self.core().body(self.object.body_block())?;
        (body.phase.load(Acquire) == GROWING).then_some((body, member))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let (body, _) = self.growing().ok_or(NoSpace::Ended)?;
        let total = body.total.load(Relaxed);
        let end = self.len.saturating_add(bytes.len() as u64);
        if total != UNKNOWN && end > total {
            return Err(NoSpace::BeyondTotal);
        }
        self.grow_to(end, total)?;
        self.copy(bytes).ok_or(NoSpace::Ended)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.0.update(bytes);
        }
        self.publish(bytes.len());
        Ok(())
    }

    /// Reserves space for the body up to `end`.
    fn grow_to(&mut self, end: u64, total: u64) -> Result<(), NoSpace> {
        if total == UNKNOWN && end > self.core().header().max_object.load(Relaxed) {
            return Err(NoSpace::TooLarge);
        }
        if end <= self.reserved {
            return Ok(());
        }
        if total != UNKNOWN {
            return Err(NoSpace::TooLarge);
        }
        let shared = Arc::clone(self.shared());
        let member = shared.member().ok_or(NoSpace::Ended)?;
        let mut guard = shared.arena_guard(member).ok_or(NoSpace::Busy)?;
        while self.reserved < end {
            let needed = usize::try_from(end - self.reserved).unwrap_or(usize::MAX);
            let want = growth(self.reserved, needed);
            let extended = Builder::with(&mut guard).extend(self.last, self.reserved, want);
            let piece = extended.ok_or(NoSpace::Full)?;
            self.last = piece.block;
            self.reserved += piece.room as u64;
        }
        guard.update_cost(&self.object.at());
        Ok(())
    }

    /// Copies bytes behind those already written, without publishing them.
    fn copy(&mut self, mut bytes: &[u8]) -> Option<()> {
        let mut pos = self.len;
        while !bytes.is_empty() {
            let (next, at, room) = self.core().piece(self.current)?;
            let off = usize::try_from(pos - self.start).ok()?;
            if off >= room {
                let block = next.load(Acquire);
                self.core().extent(block).filter(|(.., room)| *room > 0)?;
                (self.current, self.start) = (block, self.start + room as u64);
                continue;
            }
            let n = bytes.len().min(room - off);
            // SAFETY: the bytes lie in a piece of our own growing body, beyond the published length, which readers
            // never exceed; `&mut self` makes this the only writer, and our pin keeps the body allocated.
            unsafe { self.core().memory.write(at + off, &bytes[..n]) }.then_some(())?;
            pos += n as u64;
            bytes = &bytes[n..];
        }
        Some(())
    }

    fn publish(&mut self, n: usize) {
        self.len += n as u64;
        let Some((body, member)) = self.growing() else {
            return;
        };
        body.len.store(self.len, Release);
        self.shared().bodies(member).wake_readers(body);
    }

    fn is_valid(&self) -> bool {
        let removed = |o: &Object| o.at().e.flags.load(Relaxed) & REMOVED != 0;
        let at = self.object.at();
        // What is already published stays unless it is removed.
        (at.is_linked() || self.claim.is_valid())
            && !removed(&self.object)
            && !self.replaces.as_ref().is_some_and(removed)
    }

    /// Marks the body as complete.
    fn complete(&self) -> Result<(), SupersededReason> {
        let (body, member) = self.growing().ok_or(SupersededReason::Voided)?;
        let total = body.total.load(Relaxed);
        if total != UNKNOWN && total != self.len {
            self.break_off();
            return Err(SupersededReason::Incomplete);
        }
        body.total.store(self.len, Release);
        if let Some(hasher) = &self.hasher {
            body.sum.store(hasher.0.digest(), Release);
        }
        // A fill that was ended in the meantime (`leave`) must not become complete again.
        if body
            .phase
            .compare_exchange(GROWING, COMPLETE, AcqRel, Relaxed)
            .is_err()
        {
            return Err(SupersededReason::Voided);
        }
        self.shared().bodies(member).wake_readers(body);
        Ok(())
    }

    fn commit(&self, now: Millis) -> Result<(), SupersededReason> {
        self.core().advance_clock(now);
        self.complete()?;
        let member = self.shared().member().ok_or(SupersededReason::Voided)?;
        match self.shared().arena_guard(member) {
            Some(mut guard) => self.settle(&mut guard, now),
            None if self.object.is_current() => Ok(()),
            None => Err(SupersededReason::Busy),
        }
    }

    /// Makes the object current and removes the object that it replaces.
    fn settle(&self, guard: &mut ArenaGuard<'_>, now: Millis) -> Result<(), SupersededReason> {
        let at = self.object.at();
        if self.current == self.last {
            let _ = guard.trim(
                self.last,
                usize::try_from(self.len - self.start).unwrap_or(usize::MAX),
            );
        }
        guard.update_cost(&at);
        at.set_whole();
        guard.count_body(self.object.body_block());
        let hash = at.e.hash.load(Relaxed);
        let _shard = guard.lock_shard(hash).ok_or(SupersededReason::Busy)?;
        let admitted = at.is_linked() || self.claim.purge_log().admits(&at, self.claim.stamp);
        if !admitted || !self.is_valid() {
            guard.unlink(&at);
            return Err(SupersededReason::Voided);
        }
        if !at.is_linked() {
            let old_in_main = self
                .replaces
                .as_ref()
                .is_some_and(|o| o.at().e.queue.load(Relaxed) == MAIN);
            let main = old_in_main || Ghosts::of(guard.core).remembers(hash);
            at.e.born.store(now, Relaxed);
            Checksums::of(guard.core).write(&at, Coverage::Lasting);
            guard.link(&at, main).ok_or(SupersededReason::Busy)?;
        } else {
            Checksums::of(guard.core).write(&at, Coverage::Lasting);
        }
        if let Some(old) = self
            .replaces
            .as_ref()
            .filter(|o| o.key() == self.object.key())
        {
            guard.unlink(&old.at());
        }
        if self.max_variants > 0 {
            guard.limit_variants(&at, self.max_variants);
        }
        guard.header().counts.inserted.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Breaks the body, wakes its readers, and removes the object from the index.
    fn break_off(&self) {
        if let Some((body, member)) = self.growing() {
            self.shared().bodies(member).break_off(body);
        }
        self.unlink();
    }

    /// Removes the object from the index.
    fn unlink(&self) {
        // A fill inherited by a forked child has no effect.
        if let Some(member) = self.shared().member().filter(|m| self.object.is_of(m)) {
            self.shared().bodies(member).abandon(&self.object.at());
        }
    }
}
