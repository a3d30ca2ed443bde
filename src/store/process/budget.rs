//! Time budgets: how much of a long task is done at a time, so that no caller has to wait for all of it.

use std::time::{Duration, Instant};

use crate::store::memory::platform::{now, steps_per_budget};

/// How long a task that runs to completion waits for locks in total.
const PATIENCE: Duration = Duration::from_millis(20);

/// A time budget.
pub(crate) struct TimeBudget {
    /// `None`: the task runs to completion.
    until: Option<Instant>,
    /// When it stops waiting for locks.
    waits_until: Option<Instant>,
    /// The number of remaining steps, if a test sets it.
    steps: Option<u32>,
}

impl TimeBudget {
    pub(crate) fn of(time: Duration) -> TimeBudget {
        let until = Some(now() + time);
        TimeBudget {
            until,
            waits_until: until,
            steps: steps_per_budget(),
        }
    }

    /// A budget for all of the task.
    pub(crate) fn whole() -> TimeBudget {
        TimeBudget {
            until: None,
            waits_until: None,
            steps: None,
        }
    }

    /// Whether there is time to wait for a lock.
    pub(crate) fn waits(&mut self) -> bool {
        let now = now();
        now < *self.waits_until.get_or_insert(now + PATIENCE)
    }

    /// Called after each step, which takes about ten microseconds at most. Returns whether there is time for another
    /// one.
    pub(crate) fn goes_on(&mut self) -> bool {
        match (self.until, &mut self.steps) {
            (None, _) => true,
            (Some(until), None) => now() < until,
            (Some(_), Some(steps)) => {
                *steps = steps.saturating_sub(1);
                *steps > 0
            }
        }
    }
}
