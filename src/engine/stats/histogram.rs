//! Histograms of durations, with fixed bucket bounds.
//!
//! | histogram | bounds |
//! |---|---|
//! | waits, fetches | 1 ms to a minute, in steps of about 2.5: finer than a person perceives, and up to the usual timeouts |
//! | staleness of what was served | a second to a week |
//!
//! A value is counted in the first bucket whose bound it does not exceed, as in Prometheus.

use crate::store::Millis;

/// The upper bounds for waits in milliseconds; a further bucket holds values above them.
pub const SECONDS: [Millis; 15] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/// The upper bounds for staleness in milliseconds; a further bucket holds values above them.
pub const AGES: [Millis; 9] = [
    1_000,
    10_000,
    60_000,
    300_000,
    1_800_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
];

/// The counters besides the bounds: the bucket above the last bound, and the sum.
const BESIDE: usize = 2;
const OF_SECONDS: usize = SECONDS.len() + BESIDE;
const OF_AGES: usize = AGES.len() + BESIDE;

/// How a request to the origin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchResult {
    /// The response was stored.
    Stored,
    /// The origin answered 304.
    NotModified,
    /// The response may not be stored.
    Uncacheable,
    /// The request failed.
    Failed,
}

impl FetchResult {
    /// All of them.
    pub const ALL: [FetchResult; 4] = [
        FetchResult::Stored,
        FetchResult::NotModified,
        FetchResult::Uncacheable,
        FetchResult::Failed,
    ];

    /// The name in the statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            FetchResult::Stored => "stored",
            FetchResult::NotModified => "not_modified",
            FetchResult::Uncacheable => "uncacheable",
            FetchResult::Failed => "failed",
        }
    }
}

/// A histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histogram {
    /// How long clients waited for a revalidation.
    Waited,
    /// How long fetches took.
    Origin(FetchResult),
    /// How stale the stale responses were.
    StaleAge,
}

/// The number of counters of all histograms.
pub(super) const PLACES: usize = OF_SECONDS * (1 + FetchResult::ALL.len()) + OF_AGES;

impl Histogram {
    /// The upper bounds of the buckets in milliseconds, ascending.
    pub const fn bounds(self) -> &'static [Millis] {
        match self {
            Histogram::Waited | Histogram::Origin(_) => &SECONDS,
            Histogram::StaleAge => &AGES,
        }
    }

    /// The number of counters: a bucket per bound, the one above, and the sum in milliseconds.
    #[cfg(test)]
    pub(super) const fn places(self) -> usize {
        self.bounds().len() + BESIDE
    }

    /// The index of its first counter among those of all histograms.
    pub(super) const fn offset(self) -> usize {
        match self {
            Histogram::Waited => 0,
            Histogram::Origin(fetched) => OF_SECONDS * (1 + fetched as usize),
            Histogram::StaleAge => OF_SECONDS * (1 + FetchResult::ALL.len()),
        }
    }

    /// The bucket of a value, counted from 0.
    #[inline]
    fn bucket(self, value: Millis) -> usize {
        let bounds = self.bounds();
        bounds
            .iter()
            .position(|bound| value <= *bound)
            .unwrap_or(bounds.len())
    }

    /// The two counters to which a value is added, with the amounts; the counters of all histograms begin at index
    /// `from`.
    #[inline]
    pub fn adds(self, from: usize, value: Millis) -> [(usize, u64); 2] {
        let first = from + self.offset();
        let sum = first + self.bounds().len() + 1;
        [(first + self.bucket(value), 1), (sum, value)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_it_does_not_exceed() {
        let waited = Histogram::Waited;
        let bucket = |value| waited.adds(0, value)[0].0 - waited.offset();
        assert_eq!(
            [0, 1, 2, 3, 250, 251, 60_000, 60_001, Millis::MAX].map(bucket),
            [0, 0, 1, 2, 7, 8, 14, 15, 15]
        );
        let last = waited.offset() + waited.places() - 1;
        assert_eq!(waited.adds(100, 77)[1], (100 + last, 77));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [&SECONDS[..], &AGES[..]] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
