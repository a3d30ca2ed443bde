//! Counting as it happens.

use super::counter::{Counter, PLACES, RefreshEvent};
use super::histogram::{Fetched, Histogram};
use crate::engine::cache::Cache;
use crate::engine::filling::Finished;
use crate::engine::outcome::Outcome;
use crate::engine::permit::Purpose;
use crate::engine::verdict::{Reason, Status};
use crate::store::{Millis, Region, TALLIES};

const _: () = assert!(PLACES <= TALLIES);

/// A client's response that is over, as far as the statistics tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// `$swr_cache_status`; a response without one is not counted.
    pub status: Option<Status>,
    /// `$swr_cache_reason`.
    pub reason: Option<Reason>,
    /// Why the origin was asked by the fetch that this request led; nothing if it led none.
    pub asked: Option<Reason>,
    /// How long it waited for a fetch, its own or another's; nothing if it did not.
    pub waited: Option<Millis>,
    /// What was sent came from the store (a fill in progress included).
    pub from_store: bool,
    /// Seconds of freshness that were left, negative when it was stale.
    pub ttl: Option<i64>,
    /// Bytes of the body that were sent.
    pub bytes: u64,
}

pub(crate) fn add(region: &Region, counter: Counter, n: u64) {
    region.tally(counter.place(), n);
}

pub(crate) fn record(region: &Region, histogram: Histogram, value: Millis) {
    for (place, n) in histogram.adds(value) {
        region.tally(place, n);
    }
}

impl Cache {
    /// Counts a response to a client, once it is over.
    pub fn count(&self, answered: &Answered) {
        let Some(status) = answered.status else {
            return;
        };
        let region = self.region();
        add(region, Counter::Responses(status), 1);
        add(region, Counter::Bytes(status), answered.bytes);
        if let Some(reason) = answered.reason {
            add(region, Counter::Because(reason), 1);
        }
        match status {
            Status::Hit | Status::Revalidated => {}
            Status::Updating | Status::Stale => self.count_staleness(answered),
            Status::Miss | Status::Bypass | Status::Expired => self.count_origin(status, answered),
        }
        self.count_wait(answered);
    }

    fn count_staleness(&self, answered: &Answered) {
        if let Some(ttl) = answered.ttl {
            let stale = ttl.min(0).unsigned_abs().saturating_mul(1_000);
            record(self.region(), Histogram::StaleAge, stale);
        }
    }

    fn count_origin(&self, status: Status, answered: &Answered) {
        let region = self.region();
        if answered.from_store {
            add(region, Counter::Written(status), 1);
            add(region, Counter::WrittenBytes(status), answered.bytes);
            return;
        }
        // What goes by; what is stored is counted as it is written.
        add(region, Counter::OriginBytes, answered.bytes);
        if answered.asked.is_none() {
            add(region, Counter::OriginRequests, 1);
        }
    }

    /// A wait inside the stale-while-revalidate window is what this cache promises not to cause.
    fn count_wait(&self, answered: &Answered) {
        match (answered.waited, answered.asked) {
            (Some(waited), Some(Reason::Synchronous)) => {
                record(self.region(), Histogram::Waited, waited);
            }
            (Some(_), None) if answered.from_store => add(self.region(), Counter::Collapsed, 1),
            _ => {}
        }
    }
}

/// A request to the origin, from its permit on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetching {
    purpose: Purpose,
    began: Millis,
}

impl Fetching {
    pub(crate) fn new(purpose: Purpose, began: Millis) -> Fetching {
        Fetching { purpose, began }
    }

    /// The origin has answered with a header, or not.
    pub(crate) fn answered(self, region: &Region, outcome: &Outcome, now: Millis) {
        let fetched = match outcome {
            Outcome::Store(_) => Fetched::Stored,
            Outcome::Renewed(_) => Fetched::NotModified,
            Outcome::Stale(_) | Outcome::GatewayTimeout(_) => Fetched::Failed,
            Outcome::AskAgain(_) => Fetched::Uncacheable,
            Outcome::Relay(reason) | Outcome::Dropped(reason) if is_failure(*reason) => {
                Fetched::Failed
            }
            Outcome::Relay(_) | Outcome::Dropped(_) => Fetched::Uncacheable,
        };
        add(region, Counter::OriginRequests, 1);
        record(
            region,
            Histogram::Origin(fetched),
            now.saturating_sub(self.began),
        );
        match (outcome, fetched) {
            // Counted when the body is there, or asked for once more.
            (Outcome::Store(_) | Outcome::AskAgain(_), _) => {}
            (_, Fetched::Failed) => self.refreshed(region, RefreshEvent::Failed),
            (_, Fetched::NotModified) => self.refreshed(region, RefreshEvent::NotModified),
            _ => self.refreshed(region, RefreshEvent::Modified),
        }
    }

    /// The body is complete.
    pub(crate) fn finished(self, region: &Region, finished: &Finished, bytes: u64) {
        add(region, Counter::OriginBytes, bytes);
        self.refreshed(
            region,
            match finished {
                Finished::Same(_) => RefreshEvent::NotModified,
                Finished::New(_) | Finished::Superseded(_) => RefreshEvent::Modified,
                Finished::Broken(_) => RefreshEvent::Failed,
            },
        );
    }

    /// The body broke off.
    pub(crate) fn broken(self, region: &Region, bytes: u64) {
        add(region, Counter::OriginBytes, bytes);
        self.refreshed(region, RefreshEvent::Failed);
    }

    fn refreshed(self, region: &Region, event: RefreshEvent) {
        if self.purpose == Purpose::Refresh {
            add(region, Counter::Refresh(event), 1);
        }
    }
}

/// Whether a response was not kept since the fetch failed.
fn is_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::OriginError
            | Reason::OriginTimeout
            | Reason::OriginInvalid
            | Reason::OriginStatus
            | Reason::ForeignValidator
            | Reason::BodyBroken
            | Reason::Aborted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stats::{Gauges, Zone, zone};
    use crate::store::RegionOptions;
    use std::sync::Arc;

    fn cache() -> Cache {
        let region = Region::anonymous(1 << 20, &RegionOptions::default()).expect("memory");
        region.enter(None).expect("a slot");
        Cache::new(Arc::new(region))
    }

    fn tree(cache: &Cache) -> Zone {
        let tallies = cache.region().tallies();
        zone(tallies.first_chunk().expect("enough"), Gauges::default())
    }

    const MISS: Answered = Answered {
        status: Some(Status::Miss),
        reason: Some(Reason::Fetched),
        asked: Some(Reason::Absent),
        waited: Some(40),
        from_store: true,
        ttl: Some(60),
        bytes: 100,
    };

    #[test]
    fn a_miss_is_written_or_goes_by() {
        let cache = cache();
        cache.count(&MISS);
        cache.count(&Answered {
            from_store: false,
            reason: Some(Reason::SetCookie),
            ..MISS
        });
        cache.count(&Answered {
            from_store: false,
            reason: Some(Reason::HitForMiss),
            asked: None,
            waited: None,
            ..MISS
        });
        let zone = tree(&cache);
        assert_eq!((zone.miss.responses, zone.miss.bytes), (3, 300));
        assert_eq!(
            (zone.miss.responses_written, zone.miss.bytes_written),
            (1, 100)
        );
        // Those that led a fetch are counted with that.
        assert_eq!((zone.origin.requests, zone.origin.bytes), (1, 200));
        assert_eq!(zone.reasons["set-cookie"], 1);
        assert_eq!((zone.waited.responses, zone.collapsed), (0, 0));
    }

    #[test]
    fn only_a_wait_inside_the_window_breaks_the_promise() {
        let cache = cache();
        let waited = |status, asked, reason| {
            cache.count(&Answered {
                status: Some(status),
                reason: Some(reason),
                asked,
                ..MISS
            });
        };
        waited(Status::Expired, Some(Reason::Stale), Reason::Fetched);
        assert_eq!(tree(&cache).waited.responses, 0);
        waited(Status::Expired, Some(Reason::Synchronous), Reason::Fetched);
        waited(
            Status::Revalidated,
            Some(Reason::Synchronous),
            Reason::NotModified,
        );
        waited(
            Status::Stale,
            Some(Reason::Synchronous),
            Reason::SieFallback,
        );
        let zone = tree(&cache);
        assert_eq!((zone.waited.responses, zone.waited.seconds.sum), (3, 0.12));
        // Who waited for another's fetch shared it.
        waited(Status::Hit, None, Reason::Fresh);
        assert_eq!(tree(&cache).collapsed, 1);
    }

    #[test]
    fn how_stale_a_response_was_is_kept() {
        let cache = cache();
        let stale = |ttl| {
            cache.count(&Answered {
                status: Some(Status::Updating),
                reason: Some(Reason::SwrWindow),
                asked: None,
                waited: None,
                ttl: Some(ttl),
                ..MISS
            });
        };
        stale(0);
        stale(-61);
        let zone = tree(&cache);
        assert_eq!((zone.stale_age.count, zone.stale_age.sum), (2, 61.0));
        assert_eq!(zone.stale_age.buckets[0].count, 1);
        assert_eq!(zone.origin.saved_requests, 2);
    }

    #[test]
    fn what_has_no_status_is_not_counted() {
        let cache = cache();
        cache.count(&Answered {
            status: None,
            ..MISS
        });
        assert_eq!(cache.region().tallies().iter().sum::<u64>(), 0);
    }
}
