//! A stint of a longer work: how much of it is done at a time, so that nobody stands still for the whole.

use std::time::{Duration, Instant};

use super::atomic::{now, steps_in_a_stint};

/// Steps between two looks at the clock. A step takes some ten microseconds at the most.
const STEPS: u32 = 8;

/// How long work that goes on to its end waits for locks in all.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is left of a stint.
pub(crate) struct Stint {
    /// `None`: it goes on to the end of the work.
    until: Option<Instant>,
    /// When it has no patience left.
    waits_until: Option<Instant>,
    /// Steps until the next look at the clock, or where a test says how many there are, until the end.
    left: u32,
    counted: bool,
}

impl Stint {
    pub(crate) fn of(time: Duration) -> Stint {
        let steps = steps_in_a_stint();
        let until = Some(now() + time);
        Stint {
            until,
            waits_until: until,
            left: steps.unwrap_or(STEPS),
            counted: steps.is_some(),
        }
    }

    /// All that there is to do.
    pub(crate) fn whole() -> Stint {
        Stint {
            until: None,
            waits_until: None,
            left: 0,
            counted: false,
        }
    }

    /// Whether there is time to wait for a lock.
    pub(crate) fn waits(&mut self) -> bool {
        let now = now();
        now < *self.waits_until.get_or_insert(now + PATIENCE)
    }

    /// A step has been done. Whether there is time for another one.
    pub(crate) fn goes_on(&mut self) -> bool {
        let Some(until) = self.until else {
            return true;
        };
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return true;
        }
        if self.counted || now() >= until {
            return false;
        }
        self.left = STEPS;
        true
    }
}
