//! Who puts a region in order after a death, when, and how much of it at a time.
//!
//! There are two tasks: the repair, when a process has died with the arena lock (`repair.rs`), and cleaning up, after any
//! death (`clean.rs`). Both go in turns, each with a time budget, and one process at a time is in charge of them. Its
//! token and a count of its turns are one word in the region:
//!
//! | word | meaning | who moves it on |
//! |---|---|---|
//! | 0 | nobody is in charge | `take_lead`: -> own token |
//! | own token | this process goes on, with the next turn | `take_lead`: the count rises; `give_up_lead` at the end: -> 0 |
//! | another's, and it moves | that one goes on; others get no arena guard while a repair is to be done | that one |
//! | another's, gone or not moved for [`PATIENCE`] | it is dead or stopped | `take_lead`: -> own token, begins anew |
//! | any, when the arena's lock was left by the dead | what was seen is not true any more | whoever finds that: -> 0, begins anew |
//!
//! Only who holds the arena lock *and* is named by the word goes on with a repair, and a word that has moved meanwhile
//! (somebody else was in charge) voids what this process has seen so far. One that is stopped between two turns and comes
//! back finds that; one that is stopped within a turn has the lock, so that nobody begins before it comes back or dies.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::store::error::Busy;
use crate::store::index::arena_guard::{ArenaGuard, Unavailable};
use crate::store::index::core::Core;
use crate::store::index::pin::{AT_ONCE, Pins};
use crate::store::memory::platform::{Mutex, now, steps_per_budget};
use crate::store::process::budget::TimeBudget;
use crate::store::process::local::Local;
use crate::store::process::table::TOKEN_BITS;
use crate::store::process::wakeups::{EVERYONE, Wakeups};
use crate::store::upkeep::clean::{Cleaned, Cleaner};
use crate::store::upkeep::repair::Repair;

/// How long a turn is that a caller does on its way.
pub(crate) const BUDGET: Duration = Duration::from_millis(1);
/// The same in a small region, which it makes whole.
const BUDGET_IF_SMALL: Duration = Duration::from_millis(10);
/// Bytes of a region that is small.
const SMALL: usize = 8 << 20;
/// How long callers do no turn after the last one.
const COOLDOWN: Duration = Duration::from_millis(10);
/// For how long one that is in charge may do nothing. Hosts look every second.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process knows of the maintenance under way; private memory.
#[derive(Default)]
pub(crate) struct Progress {
    /// The repair that this process has under way, and the word that it had last.
    repair: Option<(Box<Repair>, u32)>,
    /// When its last turn ended.
    rested: Option<Instant>,
    /// The word of another in charge, and since when it has not moved.
    seen: Option<(u32, Instant)>,
    /// Counts this process's turns.
    turns: u32,
}

const TOKEN_MASK: u32 = (1 << TOKEN_BITS) - 1;

/// The maintenance of a region by one process.
#[derive(Clone, Copy)]
pub(crate) struct Maintenance<'a> {
    pub(crate) core: &'a Core,
    pub(crate) local: &'a Local,
    pub(crate) progress: &'a Mutex<Progress>,
}

impl<'a> Maintenance<'a> {
    /// Takes the arena lock. `None` when that can't be done in time, and while there is something to repair, of which this may
    /// do a turn.
    pub(crate) fn arena_guard(self) -> Option<ArenaGuard<'a>> {
        match ArenaGuard::take(self.core, self.local) {
            Ok(guard) => Some(guard),
            Err(Unavailable::Dirty) if !self.cools_down() => {
                self.arena_guard_within(&mut self.budget()).ok()
            }
            Err(_) => None,
        }
    }

    /// As [`Maintenance::arena_guard`], with a time budget to repair in. [`Unavailable::Dirty`]: this process is in charge of
    /// the repair, which is not done yet. [`Unavailable::Busy`]: another process is, or has the lock.
    pub(crate) fn arena_guard_within(
        self,
        budget: &mut TimeBudget,
    ) -> Result<ArenaGuard<'a>, Unavailable> {
        let lock = &self.core.header().arena.lock;
        // Nobody waits for a lock that would not help; nor for that of another thread at its turn.
        if self.core.is_dirty()
            && (self.is_led_by_another() || lock.load(Relaxed) == self.local.token)
        {
            return Err(Unavailable::Busy);
        }
        let taken = ArenaGuard::take_dirty(self.core, self.local);
        let mut guard = taken.map_err(|Busy| Unavailable::Busy)?;
        if self.core.is_dirty() {
            self.repair(&mut guard, budget)?;
        }
        Ok(guard)
    }

    /// Whether the dead have left something to do.
    fn needs_work(self) -> bool {
        self.core.is_dirty() || self.core.processes().dying().next().is_some()
    }

    /// See [`Region::maintain`](crate::store::Region::maintain).
    pub(crate) fn run(self, budget: &mut TimeBudget) -> Result<bool, Busy> {
        if !self.needs_work() {
            self.give_up_lead();
            return Ok(true);
        }
        self.announce_deaths();
        if self.is_led_by_another() {
            return Ok(true);
        }
        loop {
            let mut guard = match self.arena_guard_within(budget) {
                Ok(guard) => guard,
                Err(Unavailable::Dirty) => return Ok(false),
                Err(Unavailable::Busy) => return Err(Busy),
            };
            let Some(slot) = self.core.processes().dying().next() else {
                drop(guard);
                self.give_up_lead();
                return Ok(true);
            };
            if !self.take_lead() {
                return Ok(true);
            }
            let dead = self.core.processes().token_in(slot);
            match Cleaner::new(&mut guard, dead).run(budget)? {
                Cleaned::Some => {}
                Cleaned::All => self.core.processes().free(dead),
                Cleaned::OutOfTime => return Ok(false),
            }
        }
    }

    /// Wakes everyone if some were just found dead, and goes on cleaning up.
    pub(crate) fn after_deaths(self, found: u32) {
        if found > 0 {
            self.wake_everyone();
        }
        let _ = self.run(&mut self.budget());
        Pins::of(self.core, self.local).retry_deferred(AT_ONCE);
    }

    /// Wakes everyone for each of the dead once: whoever waits for something of theirs asks again and gets it. Who found one dead
    /// may have had no time to say so (it waited for a lock, or died itself).
    pub(crate) fn announce_deaths(self) {
        let processes = self.core.processes();
        for dead in processes.dying().map(|slot| processes.token_in(slot)) {
            if !processes.has_reap_cursor(dead) {
                self.wake_everyone();
                processes.set_reap_cursor(dead, 0);
            }
        }
    }

    /// The time budget of a turn that a caller does on its way.
    pub(crate) fn budget(self) -> TimeBudget {
        TimeBudget::of(if self.core.geometry.len <= SMALL {
            BUDGET_IF_SMALL
        } else {
            BUDGET
        })
    }

    /// Whether this process has just done a turn of a repair.
    pub(crate) fn cools_down(self) -> bool {
        let ended = self.progress.lock().rested;
        // Where a test counts steps, the time is of no account.
        ended.is_some_and(|ended| now() - ended < COOLDOWN) && steps_per_budget().is_none()
    }

    /// Whether another process is in charge, lives, and goes on.
    pub(crate) fn is_led_by_another(self) -> bool {
        let word = self.core.header().arena.leader.load(Acquire);
        let token = word & TOKEN_MASK;
        if token == 0 || token == self.local.token || self.core.processes().is_gone(token) {
            return false;
        }
        let now = now();
        let seen = &mut self.progress.lock().seen;
        match *seen {
            Some((before, since)) if before == word => now - since < PATIENCE,
            _ => {
                *seen = Some((word, now));
                true
            }
        }
    }

    fn wake_everyone(self) {
        Wakeups::now(self.core.processes(), self.local, EVERYONE);
    }

    /// Has this process in charge from now on, or tells the others that it goes on. False if another is.
    fn take_lead(self) -> bool {
        let leader = &self.core.header().arena.leader;
        let before = leader.load(Acquire);
        if self.is_led_by_another() {
            return false;
        }
        let mut progress = self.progress.lock();
        progress.turns = progress.turns.wrapping_add(1);
        let word = self.local.token | progress.turns << TOKEN_BITS;
        leader
            .compare_exchange(before, word, AcqRel, Relaxed)
            .is_ok()
    }

    /// This process is not in charge any more.
    pub(crate) fn give_up_lead(self) {
        let seen = self.progress.lock().repair.take();
        drop(seen);
        let leader = &self.core.header().arena.leader;
        let word = leader.load(Relaxed);
        if word & TOKEN_MASK == self.local.token {
            let _ = leader.compare_exchange(word, 0, AcqRel, Relaxed);
        }
    }

    /// Goes on with the repair for one turn; `Ok` when it is done.
    fn repair(
        self,
        guard: &mut ArenaGuard<'_>,
        budget: &mut TimeBudget,
    ) -> Result<(), Unavailable> {
        let control = &self.core.header().arena;
        let before = control.leader.load(Acquire);
        if !self.take_lead() {
            return Err(Unavailable::Busy);
        }
        let word = control.leader.load(Relaxed);
        let repairs = &self.core.header().counts.repairs;
        let begun = self.progress.lock().repair.take();
        let mut repair = match begun {
            Some((repair, mine)) if mine == before && repair.number() == repairs.load(Relaxed) => {
                repair
            }
            _ => Box::new(Repair::new(guard)),
        };
        let done = repair.go_on(guard, budget);
        let mut progress = self.progress.lock();
        progress.rested = Some(now());
        match done {
            Ok(true) => {
                progress.rested = None;
                drop(progress);
                repairs.fetch_add(1, Relaxed);
                control.dirty.store(0, Release);
                self.give_up_lead();
                Ok(())
            }
            Ok(false) => {
                progress.repair = Some((repair, word));
                Err(Unavailable::Dirty)
            }
            Err(Busy) => {
                progress.repair = Some((repair, word));
                Err(Unavailable::Busy)
            }
        }
    }
}
