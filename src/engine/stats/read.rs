//! Makes the tree from the counters of all processes and from what a walk over the zone found.

use std::collections::BTreeMap;

use super::counter::{Counter, HISTOGRAMS, PLACES, PurgedBy, RefreshEvent};
use super::histogram::{FetchResult, Histogram};
use super::tree::{
    Bucket, Buckets, CodingCounts, Delivered, Entries, Evicted, Failing, Forwarded, Origin, Purges,
    Recovery, Refresh, Top, Used, Waited, Zone,
};
use crate::engine::encode::coding::Coding;
use crate::engine::purge::mode::PurgeMode;
use crate::engine::verdict::{Reason, Status};
use crate::store::Millis;

/// The values that are not counted as events happen, but found by a walk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// The size of the zone in bytes.
    pub size: u64,
    /// What these bytes are used for.
    pub used: Used,
    /// The number of stored responses.
    pub entries: Entries,
    /// The number of entries that the last start restored.
    pub restored: u64,
    /// The number of fetches of stored responses in progress.
    pub in_flight: u64,
    /// The number of entries whose pause after a failure is in force.
    pub backing_off: u64,
    /// The number of entries evicted for space.
    pub evicted_space: u64,
    /// The number of entries evicted because their key had too many variants.
    pub evicted_variants: u64,
    /// The number of dead processes and damaged entries dealt with.
    pub recovery: Recovery,
    /// The entries whose refresh fails.
    pub failing: Vec<Failing>,
    /// How many fail, those that are not listed included.
    pub failures: u64,
    /// What is requested most often.
    pub top: Top,
}

/// Makes the tree of a zone from the sums of the counters of all processes (see [`Counter::place`]) and the values
/// found by a walk.
pub fn zone(counts: &[u64; PLACES], gauges: Gauges) -> Zone {
    let counts = Counts(counts);
    let mut zone = Zone {
        summary: String::new(),
        size: gauges.size,
        used: gauges.used,
        entries: gauges.entries,
        restored: gauges.restored,
        hit: counts.delivered(Status::Hit),
        stale: counts.delivered(Status::Stale),
        updating: counts.delivered(Status::Updating),
        revalidated: counts.delivered(Status::Revalidated),
        expired: counts.forwarded(Status::Expired),
        miss: counts.forwarded(Status::Miss),
        bypass: counts.forwarded(Status::Bypass),
        reasons: counts.reasons(),
        refresh: Refresh {
            in_flight: gauges.in_flight,
            backing_off: gauges.backing_off,
            ..counts.refresh()
        },
        waited: counts.waited(),
        collapsed: counts.of(Counter::Collapsed),
        origin: counts.origin(),
        stale_age: counts.histogram(Histogram::StaleAge),
        encoded: counts.encoded(),
        evicted: Evicted {
            space: gauges.evicted_space,
            inactive: counts.of(Counter::EvictedInactive),
            variants: gauges.evicted_variants,
        },
        purges: counts.purges(),
        purged: counts.of(Counter::Purged),
        recovery: gauges.recovery,
        failing: gauges.failing,
        failures: gauges.failures,
        top: gauges.top,
    };
    zone.summary = super::summary(&zone);
    zone
}

struct Counts<'a>(&'a [u64; PLACES]);

impl Counts<'_> {
    fn of(&self, counter: Counter) -> u64 {
        self.at(counter.place())
    }

    fn at(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or(0)
    }

    fn delivered(&self, status: Status) -> Delivered {
        Delivered {
            responses: self.of(Counter::Responses(status)),
            bytes: self.of(Counter::Bytes(status)),
        }
    }

    fn forwarded(&self, status: Status) -> Forwarded {
        Forwarded {
            responses: self.of(Counter::Responses(status)),
            bytes: self.of(Counter::Bytes(status)),
            responses_written: self.of(Counter::Written(status)),
            bytes_written: self.of(Counter::WrittenBytes(status)),
        }
    }

    fn reasons(&self) -> BTreeMap<String, u64> {
        let count = |reason: &Reason| {
            let word = reason.as_str().to_owned();
            (word, self.of(Counter::Because(*reason)))
        };
        Reason::ALL.iter().map(count).collect()
    }

    fn refresh(&self) -> Refresh {
        let of = |event| self.of(Counter::Refresh(event));
        Refresh {
            started: of(RefreshEvent::Started),
            modified: of(RefreshEvent::Modified),
            not_modified: of(RefreshEvent::NotModified),
            failed: of(RefreshEvent::Failed),
            deferred: of(RefreshEvent::Deferred),
            ..Refresh::default()
        }
    }

    fn waited(&self) -> Waited {
        let seconds = self.histogram(Histogram::Waited);
        Waited {
            responses: seconds.count,
            seconds,
        }
    }

    /// A response that caused no request to the origin saved one; a 304 saved the body.
    fn origin(&self) -> Origin {
        let from_memory = [Status::Hit, Status::Stale, Status::Updating];
        let sum = |statuses: &[Status], count: fn(Status) -> Counter| {
            statuses.iter().map(|s| self.of(count(*s))).sum::<u64>()
        };
        let seconds = FetchResult::ALL.map(|fetched| {
            let histogram = self.histogram(Histogram::Origin(fetched));
            (fetched.as_str().to_owned(), histogram)
        });
        let revalidated = self.of(Counter::Bytes(Status::Revalidated));
        Origin {
            requests: self.of(Counter::OriginRequests),
            bytes: self.of(Counter::OriginBytes),
            saved_requests: sum(&from_memory, Counter::Responses),
            saved_bytes: sum(&from_memory, Counter::Bytes) + revalidated,
            seconds: seconds.into(),
        }
    }

    fn encoded(&self) -> BTreeMap<String, CodingCounts> {
        let counts = |coding: Coding| {
            let counts = CodingCounts {
                made: self.of(Counter::Encoded(coding)),
                bytes_saved: self.of(Counter::EncodedSaved(coding)),
                served: self.of(Counter::EncodedServed(coding)),
            };
            (coding.as_str().to_owned(), counts)
        };
        Coding::ALL.map(counts).into()
    }

    fn purges(&self) -> BTreeMap<String, Purges> {
        let counts = |by: PurgedBy| {
            let counts = Purges {
                hard: self.of(Counter::Purges(by, PurgeMode::Hard)),
                soft: self.of(Counter::Purges(by, PurgeMode::Soft)),
            };
            (by.as_str().to_owned(), counts)
        };
        PurgedBy::ALL.map(counts).into()
    }

    fn histogram(&self, histogram: Histogram) -> Buckets {
        let mut count = 0;
        let bounds = histogram.bounds();
        let buckets = bounds.iter().enumerate().map(|(i, bound)| {
            count += self.at(HISTOGRAMS + histogram.offset() + i);
            Bucket {
                le: seconds(*bound),
                count,
            }
        });
        let buckets = buckets.collect();
        let above = HISTOGRAMS + histogram.offset() + bounds.len();
        Buckets {
            count: count + self.at(above),
            sum: seconds(self.at(above + 1)),
            buckets,
        }
    }
}

/// Converts milliseconds to seconds.
pub(crate) fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_find_their_place_in_the_tree() {
        let mut counts = [0; PLACES];
        let mut add = |counter: Counter, n| counts[counter.place()] += n;
        add(Counter::Responses(Status::Hit), 10);
        add(Counter::Bytes(Status::Hit), 1_000);
        add(Counter::Responses(Status::Stale), 2);
        add(Counter::Responses(Status::Revalidated), 1);
        add(Counter::Bytes(Status::Revalidated), 70);
        add(Counter::Written(Status::Miss), 3);
        add(Counter::Because(Reason::SetCookie), 4);
        add(Counter::Purges(PurgedBy::Tag, PurgeMode::Soft), 5);
        add(Counter::EncodedSaved(Coding::Br), 6);
        for value in [1, 3, 700_000] {
            for (place, n) in Histogram::Origin(FetchResult::Failed).adds(HISTOGRAMS, value) {
                counts[place] += n;
            }
        }
        let zone = zone(&counts, Gauges::default());
        assert_eq!((zone.hit.responses, zone.hit.bytes), (10, 1_000));
        assert_eq!(zone.miss.responses_written, 3);
        assert_eq!(zone.reasons["set-cookie"], 4);
        assert_eq!(zone.reasons.len(), Reason::ALL.len());
        assert_eq!(zone.purges["tag"], Purges { hard: 0, soft: 5 });
        assert_eq!(zone.encoded["br"].bytes_saved, 6);
        assert_eq!(zone.origin.saved_requests, 12);
        assert_eq!(zone.origin.saved_bytes, 1_070);
        let failed = &zone.origin.seconds["failed"];
        assert_eq!((failed.count, failed.sum), (3, 700.004));
        let upto = |le| failed.buckets.iter().find(|b| b.le == le).map(|b| b.count);
        assert_eq!(
            (upto(0.001), upto(0.005), upto(60.0)),
            (Some(1), Some(2), Some(2))
        );
        assert_eq!(zone.waited.responses, 0);
    }
}
