//! Who puts a region in order after a death, when, and how much of it at a time.
//!
//! There are two works: the repair, when a process has died with the arena lock (`repair.rs`), and cleaning up, after any
//! death (`reap.rs`). Both go in stints, and one process at a time is in charge of them. Its token and a count of its stints
//! are one word in the region:
//!
//! | word | meaning | who moves it on |
//! |---|---|---|
//! | 0 | nobody is in charge | `take_lead`: -> own token |
//! | own token | this process goes on, with the next stint | `take_lead`: the count rises; `give_up_lead` at the end: -> 0 |
//! | another's, and it moves | that one goes on; others have no keeper while a repair is to be done | that one |
//! | another's, gone or not moved for [`PATIENCE`] | it is dead or stopped | `take_lead`: -> own token, begins anew |
//! | any, when the arena's lock was left by the dead | what was seen is not true any more | whoever finds that: -> 0, begins anew |
//!
//! Only who holds the arena lock *and* is named by the word goes on with a repair, and a word that has moved meanwhile
//! (somebody else was in charge) voids what this process has seen so far. One that is stopped between two stints and comes
//! back finds that; one that is stopped within a stint has the lock, so that nobody begins before it comes back or dies.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::store::error::Busy;
use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::Core;
use crate::store::memory::platform::{now, steps_per_budget};
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Member;
use crate::store::process::table::TOKEN_BITS;
use crate::store::upkeep::reap::Cleaned;
use crate::store::upkeep::repair::Repair;

/// How long a stint is that a caller meets on its way.
pub(crate) const BUDGET: Duration = Duration::from_millis(1);
/// The same in a small region, which it makes whole.
const BUDGET_IF_SMALL: Duration = Duration::from_millis(10);
/// Bytes of a region that is small.
const SMALL: usize = 8 << 20;
/// How long callers meet no stint after the last one.
const COOLDOWN: Duration = Duration::from_millis(10);
/// For how long one that is in charge may do nothing. Hosts look every second.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process knows of a mending; private memory.
#[derive(Default)]
pub(crate) struct Progress {
    /// The repair that this process has under way, and the word that it had last.
    repair: Option<(Box<Repair>, u32)>,
    /// When its last stint ended.
    rested: Option<Instant>,
    /// The word of another in charge, and since when it has not moved.
    seen: Option<(u32, Instant)>,
    /// Counts this process's stints.
    turns: u32,
}

/// Why there is no keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Another has the lock, or is in charge of a repair.
    Busy,
    /// This process is in charge of a repair, which is not done yet.
    Progress,
}

impl Core {
    /// Whether the dead have left something to do.
    fn needs_work(&self) -> bool {
        self.is_dirty() || self.processes().dying().next().is_some()
    }

    /// See [`Region::maintain`](crate::store::Region::mend).
    pub(crate) fn maintain(&self, budget: &mut TimeBudget) -> Result<bool, Busy> {
        let Some(member) = self.member() else {
            return Ok(true);
        };
        if !self.needs_work() {
            self.give_up_lead(member);
            return Ok(true);
        }
        self.announce_deaths(member);
        if self.is_led_by_another(member) {
            return Ok(true);
        }
        loop {
            let mut guard = match self.arena_guard_within(member, Some(budget)) {
                Ok(guard) => guard,
                Err(Unavailable::Progress) => return Ok(false),
                Err(Unavailable::Busy) => return Err(Busy),
            };
            let Some(slot) = self.processes().dying().next() else {
                drop(guard);
                self.give_up_lead(member);
                return Ok(true);
            };
            if !self.take_lead(member) {
                return Ok(true);
            }
            let dead = self.processes().token_in(slot);
            match guard.clean_some(dead, budget)? {
                Cleaned::Some => {}
                Cleaned::All => self.processes().free(dead),
                Cleaned::OutOfTime => return Ok(false),
            }
        }
    }

    /// A stint that a caller meets on its way.
    pub(crate) fn budget(&self) -> TimeBudget {
        TimeBudget::of(if self.geometry.len <= SMALL {
            BUDGET_IF_SMALL
        } else {
            BUDGET
        })
    }

    /// Whether this process has just done a stint of a repair.
    pub(crate) fn cools_down(&self, member: &Member) -> bool {
        let ended = member.progress.lock().rested;
        // Where a test counts steps, the time is of no account.
        ended.is_some_and(|ended| now() - ended < COOLDOWN) && steps_per_budget().is_none()
    }

    /// Whether another process is in charge, lives, and goes on.
    pub(crate) fn is_led_by_another(&self, member: &Member) -> bool {
        let word = self.header().arena.leader.load(Acquire);
        let token = word & TOKEN_MASK;
        if token == 0 || token == member.token || self.processes().is_gone(token) {
            return false;
        }
        let now = now();
        let seen = &mut member.progress.lock().seen;
        match *seen {
            Some((before, since)) if before == word => now - since < PATIENCE,
            _ => {
                *seen = Some((word, now));
                true
            }
        }
    }

    /// Has this process in charge from now on, or tells the others that it goes on. False if another is.
    fn take_lead(&self, member: &Member) -> bool {
        let leader = &self.header().arena.leader;
        let before = leader.load(Acquire);
        if self.is_led_by_another(member) {
            return false;
        }
        let mut progress = member.progress.lock();
        progress.turns = progress.turns.wrapping_add(1);
        let word = member.token | progress.turns << TOKEN_BITS;
        leader
            .compare_exchange(before, word, AcqRel, Relaxed)
            .is_ok()
    }

    /// This process is not in charge any more.
    pub(crate) fn give_up_lead(&self, member: &Member) {
        let seen = member.progress.lock().repair.take();
        drop(seen);
        let leader = &self.header().arena.leader;
        let word = leader.load(Relaxed);
        if word & TOKEN_MASK == member.token {
            let _ = leader.compare_exchange(word, 0, AcqRel, Relaxed);
        }
    }
}

const TOKEN_MASK: u32 = (1 << TOKEN_BITS) - 1;

impl ArenaGuard<'_> {
    /// Goes on with the repair for a stint; `Ok` when it is done.
    pub(crate) fn repair(&mut self, budget: &mut TimeBudget) -> Result<(), Unavailable> {
        let (core, member) = (self.core, self.member);
        let control = &self.header().arena;
        let before = control.leader.load(Acquire);
        if !core.take_lead(member) {
            return Err(Unavailable::Busy);
        }
        let word = control.leader.load(Relaxed);
        let repairs = &self.header().counts.repairs;
        let begun = member.progress.lock().repair.take();
        let mut repair = match begun {
            Some((repair, mine)) if mine == before && repair.number() == repairs.load(Relaxed) => {
                repair
            }
            _ => Box::new(Repair::new(self)),
        };
        let done = repair.go_on(self, budget);
        let mut progress = member.progress.lock();
        progress.rested = Some(now());
        match done {
            Ok(true) => {
                progress.rested = None;
                drop(progress);
                repairs.fetch_add(1, Relaxed);
                control.dirty.store(0, Release);
                core.give_up_lead(member);
                Ok(())
            }
            Ok(false) => {
                progress.repair = Some((repair, word));
                Err(Unavailable::Progress)
            }
            Err(Busy) => {
                progress.repair = Some((repair, word));
                Err(Unavailable::Busy)
            }
        }
    }
}
