//! Who puts a region in order after a death, when, and how much of it at a time.
//!
//! There are two works: the repair, when a process has died with the arena lock (`repair.rs`), and cleaning up, after any
//! death (`reap.rs`). Both go in stints, and one process at a time is in charge of them. Its token and a count of its stints
//! are one word in the region:
//!
//! | word | meaning | who moves it on |
//! |---|---|---|
//! | 0 | nobody is in charge | `take_charge`: -> own token |
//! | own token | this process goes on, with the next stint | `take_charge`: the count rises; `lay_down` at the end: -> 0 |
//! | another's, and it moves | that one goes on; others have no keeper while a repair is to be done | that one |
//! | another's, gone or not moved for [`PATIENCE`] | it is dead or stopped | `take_charge`: -> own token, begins anew |
//! | any, when the arena's lock was left by the dead | what was seen is not true any more | whoever finds that: -> 0, begins anew |
//!
//! Only who holds the arena lock *and* is named by the word goes on with a repair, and a word that has moved meanwhile
//! (somebody else was in charge) voids what this process has seen so far. One that is stopped between two stints and comes
//! back finds that; one that is stopped within a stint has the lock, so that nobody begins before it comes back or dies.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use super::atomic::{now, steps_in_a_stint};
use super::error::Busy;
use super::inner::Inner;
use super::keeper::Keeper;
use super::member::Member;
use super::process::TOKEN_BITS;
use super::reap::Cleaned;
use super::repair::Repair;
use super::stint::Stint;

/// How long a stint is that a caller meets on its way.
pub(crate) const STINT: Duration = Duration::from_millis(1);
/// The same in a small region, which it makes whole.
const STINT_IF_SMALL: Duration = Duration::from_millis(10);
/// Bytes of a region that is small.
const SMALL: usize = 8 << 20;
/// How long callers meet no stint after the last one.
const REST: Duration = Duration::from_millis(10);
/// For how long one that is in charge may do nothing. Hosts look every second.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process knows of a mending; private memory.
#[derive(Default)]
pub(crate) struct Mending {
    /// The repair that this process has under way, and the word that it had last.
    repair: Option<(Box<Repair>, u32)>,
    /// When its last stint ended.
    rested: Option<Instant>,
    /// The word of another in charge, and since when it has not moved.
    seen: Option<(u32, Instant)>,
    /// Counts this process's stints.
    stints: u32,
}

/// Why there is no keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKeeper {
    /// Another has the lock, or is in charge of a repair.
    Busy,
    /// This process is in charge of a repair, which is not done yet.
    Mending,
}

impl Inner {
    /// Whether the dead have left something to do.
    fn is_hurt(&self) -> bool {
        self.is_dirty() || self.processes().dying().next().is_some()
    }

    /// See [`Region::mend`](super::Region::mend).
    pub(crate) fn mend(&self, stint: &mut Stint) -> Result<bool, Busy> {
        let Some(member) = self.member() else {
            return Ok(true);
        };
        if !self.is_hurt() {
            self.lay_down(member);
            return Ok(true);
        }
        self.tell_of_dead(member);
        if self.is_led_by_another(member) {
            return Ok(true);
        }
        loop {
            let mut keeper = match self.keeper_within(member, Some(stint)) {
                Ok(keeper) => keeper,
                Err(NoKeeper::Mending) => return Ok(false),
                Err(NoKeeper::Busy) => return Err(Busy),
            };
            let Some(slot) = self.processes().dying().next() else {
                drop(keeper);
                self.lay_down(member);
                return Ok(true);
            };
            if !self.take_charge(member) {
                return Ok(true);
            }
            let dead = self.processes().token_in(slot);
            match keeper.clean_some(dead, stint)? {
                Cleaned::Some => {}
                Cleaned::All => self.processes().free(dead),
                Cleaned::StintIsOver => return Ok(false),
            }
        }
    }

    /// A stint that a caller meets on its way.
    pub(crate) fn stint(&self) -> Stint {
        Stint::of(if self.geometry.len <= SMALL {
            STINT_IF_SMALL
        } else {
            STINT
        })
    }

    /// Whether this process has just done a stint of a repair.
    pub(crate) fn rests(&self, member: &Member) -> bool {
        let ended = member.mending.lock().rested;
        // Where a test counts steps, the time is of no account.
        ended.is_some_and(|ended| now() - ended < REST) && steps_in_a_stint().is_none()
    }

    /// Whether another process is in charge, lives, and goes on.
    pub(crate) fn is_led_by_another(&self, member: &Member) -> bool {
        let word = self.header().arena.mender.load(Acquire);
        let token = word & TOKEN_MASK;
        if token == 0 || token == member.token || self.processes().is_gone(token) {
            return false;
        }
        let now = now();
        let seen = &mut member.mending.lock().seen;
        match *seen {
            Some((before, since)) if before == word => now - since < PATIENCE,
            _ => {
                *seen = Some((word, now));
                true
            }
        }
    }

    /// Has this process in charge from now on, or tells the others that it goes on. False if another is.
    fn take_charge(&self, member: &Member) -> bool {
        let mender = &self.header().arena.mender;
        let before = mender.load(Acquire);
        if self.is_led_by_another(member) {
            return false;
        }
        let mut mending = member.mending.lock();
        mending.stints = mending.stints.wrapping_add(1);
        let word = member.token | mending.stints << TOKEN_BITS;
        mender
            .compare_exchange(before, word, AcqRel, Relaxed)
            .is_ok()
    }

    /// This process is not in charge any more.
    pub(crate) fn lay_down(&self, member: &Member) {
        let seen = member.mending.lock().repair.take();
        drop(seen);
        let mender = &self.header().arena.mender;
        let word = mender.load(Relaxed);
        if word & TOKEN_MASK == member.token {
            let _ = mender.compare_exchange(word, 0, AcqRel, Relaxed);
        }
    }
}

const TOKEN_MASK: u32 = (1 << TOKEN_BITS) - 1;

impl Keeper<'_> {
    /// Goes on with the repair for a stint; `Ok` when it is done.
    pub(crate) fn repair(&mut self, stint: &mut Stint) -> Result<(), NoKeeper> {
        let (inner, member) = (self.inner, self.member);
        let control = &self.header().arena;
        let before = control.mender.load(Acquire);
        if !inner.take_charge(member) {
            return Err(NoKeeper::Busy);
        }
        let word = control.mender.load(Relaxed);
        let repairs = &self.header().counts.repairs;
        let begun = member.mending.lock().repair.take();
        let mut repair = match begun {
            Some((repair, mine)) if mine == before && repair.number() == repairs.load(Relaxed) => {
                repair
            }
            _ => Box::new(Repair::new(self)),
        };
        let done = repair.go_on(self, stint);
        let mut mending = member.mending.lock();
        mending.rested = Some(now());
        match done {
            Ok(true) => {
                mending.rested = None;
                drop(mending);
                repairs.fetch_add(1, Relaxed);
                control.dirty.store(0, Release);
                inner.lay_down(member);
                Ok(())
            }
            Ok(false) => {
                mending.repair = Some((repair, word));
                Err(NoKeeper::Mending)
            }
            Err(Busy) => {
                mending.repair = Some((repair, word));
                Err(NoKeeper::Busy)
            }
        }
    }
}
