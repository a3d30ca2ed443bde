//! Decides which process restores a region after a death, when, and how much of it at a time.
//!
//! There are two tasks: the repair, if a process died while it held the arena lock (`repair.rs`), and reclaiming what
//! it left, after any death (`clean.rs`). Both proceed in turns, each with a time budget, and one process at a time
//! leads them. Its token and a count of its turns form one word in the region:
//!
//! | word | meaning | transitions |
//! |---|---|---|
//! | 0 | no process leads | `take_lead`: -> own token |
//! | own token | this process leads, and does the next turn | `take_lead`: the count rises; `give_up_lead` at the end: -> 0 |
//! | another's, and it changes | that process leads; others get no arena guard while a repair is due | that process |
//! | another's, dead or unchanged for [`PATIENCE`] | that process is dead or stopped | `take_lead`: -> own token, starts over |
//! | any, when a dead process left the arena lock | what was found is no longer valid | the process that finds it: -> 0, starts over |
//!
//! A process continues a repair only while it holds the arena lock *and* the word names it. If the word has changed in
//! between (another process led), what this process has found so far is void. A process that was stopped between two
//! turns notices that; one that is stopped within a turn holds the lock, so no other process starts before it continues
//! or dies.

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

/// The duration of a turn that is done in passing, within another call.
pub(crate) const BUDGET: Duration = Duration::from_millis(1);
/// The duration of such a turn in a small region, which completes the task.
const BUDGET_IF_SMALL: Duration = Duration::from_millis(10);
/// The maximum size of a small region in bytes.
const SMALL: usize = 8 << 20;
/// How long no further turn is done in passing after one.
const COOLDOWN: Duration = Duration::from_millis(10);
/// How long a leading process may do nothing. Hosts call `reap` every second.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process knows about the maintenance in progress; private memory.
#[derive(Default)]
pub(crate) struct Progress {
    /// The repair that this process leads, and the word at its last turn.
    repair: Option<(Box<Repair>, u32)>,
    /// When its last turn ended.
    rested: Option<Instant>,
    /// The word while another process leads, and since when it has not changed.
    seen: Option<(u32, Instant)>,
    /// The number of this process's turns.
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
    /// Takes the arena lock. `None` if it was not acquired in time, or if a repair is due, of which this call may do a
    /// turn.
    pub(crate) fn arena_guard(self) -> Option<ArenaGuard<'a>> {
        match ArenaGuard::take(self.core, self.local) {
            Ok(guard) => Some(guard),
            Err(Unavailable::Dirty) if !self.cools_down() => {
                self.arena_guard_within(&mut self.budget()).ok()
            }
            Err(_) => None,
        }
    }

    /// Like [`Maintenance::arena_guard`], with a time budget for the repair. [`Unavailable::Dirty`]: this process leads
    /// the repair, which is not done yet. [`Unavailable::Busy`]: another process leads it, or holds the lock.
    pub(crate) fn arena_guard_within(
        self,
        budget: &mut TimeBudget,
    ) -> Result<ArenaGuard<'a>, Unavailable> {
        let lock = &self.core.header().arena.lock;
        // There is no use in waiting for the lock of a region that another process repairs, or another thread of this
        // one.
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

    /// Whether dead processes left something to do.
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

    /// Wakes all processes if some were just found dead, and continues reclaiming.
    pub(crate) fn after_deaths(self, found: u32) {
        if found > 0 {
            self.wake_everyone();
        }
        let _ = self.run(&mut self.budget());
        Pins::of(self.core, self.local).retry_deferred(AT_ONCE);
    }

    /// Wakes all processes once for each dead one: a process that waits for something that it held tries again and gets
    /// it. The process that found it dead may not have announced it (it waited for a lock, or died itself).
    pub(crate) fn announce_deaths(self) {
        let processes = self.core.processes();
        for dead in processes.dying().map(|slot| processes.token_in(slot)) {
            if !processes.has_reap_cursor(dead) {
                self.wake_everyone();
                processes.set_reap_cursor(dead, 0);
            }
        }
    }

    /// The time budget of a turn that is done in passing.
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
        // If a test counts steps, the time does not matter.
        ended.is_some_and(|ended| now() - ended < COOLDOWN) && steps_per_budget().is_none()
    }

    /// Whether another process leads, is alive, and makes progress.
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

    /// Makes this process the leader, or announces its next turn. Returns false if another process leads.
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

    /// Ends the lead of this process.
    pub(crate) fn give_up_lead(self) {
        let seen = self.progress.lock().repair.take();
        drop(seen);
        let leader = &self.core.header().arena.leader;
        let word = leader.load(Relaxed);
        if word & TOKEN_MASK == self.local.token {
            let _ = leader.compare_exchange(word, 0, AcqRel, Relaxed);
        }
    }

    /// Continues the repair for one turn; `Ok` when it is done.
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
