//! Time budgets: how much of a longer work is done at a time, so that no caller waits for the whole.

use std::time::{Duration, Instant};

use crate::store::memory::platform::{now, steps_per_budget};

/// How long work that goes on to its end waits for locks in all.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is left of a time budget.
pub(crate) struct TimeBudget {
    /// `None`: it goes on to the end of the work.
    until: Option<Instant>,
    /// When it has no patience left.
    waits_until: Option<Instant>,
    /// Steps until the end, where a test says how many there are.
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

    /// All that there is to do.
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

    /// A step, some ten microseconds at the most, has been done. Whether there is time for another one.
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
