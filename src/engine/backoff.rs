//! The pause after a failed fetch of a stored entry, kept in an attribute of its object so that every process sees it.
//!
//! A pause doubles with each failure in a row, from `backoff_min` to `backoff_max`, and is stretched by up to a
//! quarter, so that entries that failed together are not retried together. The stretch depends on the key and the
//! number of failures rather than on a random number: all processes compute the same pause, and tests are exact.
//! Neither the stretch nor the origin's `Retry-After` makes a pause longer than `backoff_max`: an origin that asks for
//! an hour may be back after a second.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::policy::{CLOCKS_DIFFER, Policy};
use super::verdict::Reason;
use crate::engine::record::attributes;
use crate::store::{Millis, Object};

/// The attribute holds the time of the next try in its upper bits and the number of failures in a row in the lower
/// ones. (48 bits of milliseconds last until the year 10889.)
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The bounds of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) min: Millis,
    pub(crate) max: Millis,
}

impl Backoff {
    pub(crate) fn of(policy: &Policy) -> Backoff {
        Backoff {
            min: policy.backoff_min,
            max: policy.backoff_max.max(policy.backoff_min),
        }
    }

    /// The pause in milliseconds after the `failures`th failure in a row (counted from 1): at least `min`, at most
    /// `max`.
    pub(crate) fn pause(&self, key: &[u8], failures: u64) -> Millis {
        let doublings = failures.saturating_sub(1).min(20);
        let doubled = self.min.saturating_mul(1 << doublings);
        // The longest pause is stretched too: from four fifths of `max` up to `max`.
        let base = doubled.min(self.max - self.max / 5).max(self.min);
        let part = xxh3_64_with_seed(key, failures) % 256;
        (base + base / 1024 * part).min(self.max)
    }

    /// Records a failure of the entry. `retry_after` is the pause that the origin asked for, in milliseconds from
    /// `now`.
    pub(crate) fn failed(
        &self,
        object: &Object,
        cause: Cause,
        retry_after: Option<Millis>,
        now: Millis,
    ) {
        let fault = object.attribute(attributes::FAULT);
        let since = match fault.load(Relaxed) >> COUNT_BITS {
            0 => now,
            since => since,
        };
        fault.store(since << COUNT_BITS | u64::from(cause.code()), Relaxed);
        let state = object.attribute(attributes::BACKOFF);
        self.lengthen(state, object.key(), retry_after, now);
    }

    fn lengthen(&self, state: &AtomicU64, key: &[u8], retry_after: Option<Millis>, now: Millis) {
        let failures = (state.load(Relaxed) & COUNT).saturating_add(1).min(COUNT);
        let wish = retry_after.unwrap_or(0).min(self.max);
        let retry_at = now.saturating_add(self.pause(key, failures).max(wish));
        state.store(retry_at << COUNT_BITS | failures, Relaxed);
    }
}

/// Why a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The origin answered with this error status.
    Status(u16),
    /// The origin sent no usable answer, for this reason.
    Reason(Reason),
}

impl Cause {
    /// The cause as a number. A status has three digits; there are fewer than 100 reasons.
    fn code(self) -> u16 {
        match self {
            Cause::Status(status) => status,
            Cause::Reason(reason) => reason as u16,
        }
    }

    fn of_code(code: u16) -> Option<Cause> {
        match code {
            100.. => Some(Cause::Status(code)),
            code => Reason::ALL
                .get(usize::from(code))
                .copied()
                .map(Cause::Reason),
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Status(status) => status.fmt(f),
            Cause::Reason(reason) => f.write_str(reason.as_str()),
        }
    }
}

/// The state of an entry whose refresh fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    pub(crate) since: Millis,
    pub(crate) next_try: Millis,
    /// The number of failures in a row.
    pub(crate) failures: u64,
}

impl Fault {
    /// Decodes the two attributes of an object; `None` if its last refresh did not fail.
    pub(crate) fn decode(state: u64, fault: u64) -> Option<Fault> {
        let failures = state & COUNT;
        let cause = Cause::of_code((fault & COUNT) as u16)?;
        (failures > 0).then_some(Fault {
            cause,
            since: fault >> COUNT_BITS,
            next_try: state >> COUNT_BITS,
            failures,
        })
    }
}

/// How the refresh of a stored response fails, for a host to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A word of [`Reason`], or the status that the origin answered with.
    pub cause: String,
    /// The time of the first failure in a row (Unix time in ms).
    pub since: Millis,
    /// The time from which on a request tries again (Unix time in ms).
    pub next_try: Millis,
    /// The number of failures in a row.
    pub failures: u64,
}

/// Whether the pause is still in force. A pause longer than the longest possible one was begun before the clock was set
/// back, and is over.
pub(crate) fn pausing(state: &AtomicU64, policy: &Policy, now: Millis) -> bool {
    let left = (state.load(Relaxed) >> COUNT_BITS).saturating_sub(now);
    (1..=Backoff::of(policy).max.saturating_add(CLOCKS_DIFFER)).contains(&left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::SECOND;

    const USUAL: Backoff = Backoff {
        min: SECOND,
        max: 60 * SECOND,
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_stretch_by_a_quarter_at_most() {
        for (failures, base) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 48), (1_000_000, 48)] {
            let pause = USUAL.pause(b"key", failures);
            let base = base * SECOND;
            assert!(
                (base..=base + base / 4).contains(&pause),
                "{failures}: {pause}"
            );
            assert_eq!(pause, USUAL.pause(b"key", failures));
        }
        assert_ne!(USUAL.pause(b"a", 7), USUAL.pause(b"b", 7));
    }

    #[test]
    fn no_pause_leaves_its_bounds() {
        for (min, max) in [
            (1_000, 60_000),
            (1_000, 1_000),
            (900, 1_000),
            (1, 3),
            (0, 0),
        ] {
            let bounds = Backoff { min, max };
            for failures in 1..40 {
                let pause = bounds.pause(b"key", failures);
                assert!((min..=max).contains(&pause), "{bounds:?}: {pause}");
            }
        }
    }

    #[test]
    fn retry_after_lengthens_up_to_the_longest_pause() {
        let state = AtomicU64::new(0);
        USUAL.lengthen(&state, b"key", Some(30 * SECOND), 1_000);
        assert!(
            pausing(&state, &Policy::default(), 30_999)
                && !pausing(&state, &Policy::default(), 31_000)
        );
        USUAL.lengthen(&state, b"key", Some(600 * SECOND), 0);
        assert!(
            pausing(&state, &Policy::default(), 59_999)
                && !pausing(&state, &Policy::default(), 60_000)
        );
        USUAL.lengthen(&state, b"key", Some(Millis::MAX), 0);
        assert!(!pausing(&state, &Policy::default(), 60_000));
        assert_eq!(state.load(Relaxed) & COUNT, 3);
    }

    #[test]
    fn a_cause_reads_back() {
        let causes = Reason::ALL.iter().map(|reason| Cause::Reason(*reason));
        for cause in causes.chain([100, 503, 599].map(Cause::Status)) {
            let word = 1_234_567 << COUNT_BITS | u64::from(cause.code());
            let fault = Fault::decode(9_000 << COUNT_BITS | 3, word).expect("a fault");
            assert_eq!((fault.cause, fault.since), (cause, 1_234_567));
            assert_eq!((fault.next_try, fault.failures), (9_000, 3));
            assert_eq!(Fault::decode(0, word), None);
        }
    }
}
