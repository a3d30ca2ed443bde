//! The pause after a failed fetch of a stored entry, kept in a word of its object so that every process sees it.
//!
//! A pause doubles with each failure in a row, from `backoff_min` to `backoff_max`, and is stretched by up to a quarter so
//! that entries that failed together do not retry together. The stretch comes from key and count, not from chance:
//! processes agree on it, and tests are exact.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::policy::{Policy, SECOND};
use crate::store::Millis;

/// The longest `Retry-After` that is honoured: an origin that says "tomorrow" is asked again within the hour.
const RETRY_AFTER_MAX: Millis = 3_600 * SECOND;

/// The state is one word of the object: the time of the next try above, the count of failures in a row below. (48 bits of
/// milliseconds last till the year 10889.)
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The bounds of the pauses.
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

    /// The pause after the `failures`th failure in a row (from 1).
    pub(crate) fn pause(&self, key: &[u8], failures: u64) -> Millis {
        let doublings = failures.saturating_sub(1).min(20);
        let base = self.min.saturating_mul(1 << doublings).min(self.max);
        let part = xxh3_64_with_seed(key, failures) % 256;
        base + base / 1024 * part
    }

    /// Notes a failure; `retry_after` is the origin's wish, from now.
    pub(crate) fn failed(
        &self,
        state: &AtomicU64,
        key: &[u8],
        retry_after: Option<Millis>,
        now: Millis,
    ) {
        let failures = (state.load(Relaxed) & COUNT).saturating_add(1).min(COUNT);
        let wish = retry_after.unwrap_or(0).min(RETRY_AFTER_MAX);
        let retry_at = now.saturating_add(self.pause(key, failures).max(wish));
        state.store(retry_at << COUNT_BITS | failures, Relaxed);
    }
}

/// Whether the pause is still on.
pub(crate) fn pausing(state: &AtomicU64, now: Millis) -> bool {
    now < state.load(Relaxed) >> COUNT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Backoff = Backoff {
        min: SECOND,
        max: 60 * SECOND,
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_stretch_by_a_quarter_at_most() {
        for (failures, base) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1_000_000, 60)] {
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
    fn retry_after_lengthens_but_never_for_ever() {
        let state = AtomicU64::new(0);
        USUAL.failed(&state, b"key", Some(120 * SECOND), 1_000);
        assert!(pausing(&state, 120_999) && !pausing(&state, 121_000));
        USUAL.failed(&state, b"key", Some(Millis::MAX), 0);
        assert!(pausing(&state, RETRY_AFTER_MAX - 1) && !pausing(&state, RETRY_AFTER_MAX));
        assert_eq!(state.load(Relaxed) & COUNT, 2);
    }
}
