//! Counts events as they happen.

use super::counter::{Counter, HISTOGRAMS, PLACES};
use super::histogram::Histogram;
use crate::engine::encode::coding::Coding;
use crate::engine::verdict::{Asked, Reason, Status};
use crate::store::{Millis, Region, TALLIES};

const _: () = assert!(PLACES <= TALLIES);

/// A response to a client that is over, as the statistics see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// `$swr_cache_status`; a response without one is not counted.
    pub status: Option<Status>,
    /// `$swr_cache_reason`.
    pub reason: Option<Reason>,
    /// Why the fetch that this request led asked the origin; `None` if it led none.
    pub asked: Option<Asked>,
    /// How long the request waited for a fetch, its own or another one's; `None` if it did not wait.
    pub waited: Option<Millis>,
    /// Whether the response came from the store, which includes one that was being stored.
    pub from_store: bool,
    /// The remaining freshness lifetime in seconds, negative when stale.
    pub ttl: Option<i64>,
    /// The bytes of the body that were sent.
    pub bytes: u64,
    /// The coding, if it was sent in a form that the cache has encoded.
    pub coding: Option<Coding>,
}

pub(crate) fn add(region: &Region, counter: Counter, n: u64) {
    region.tally(counter.place(), n);
}

pub(crate) fn record(region: &Region, histogram: Histogram, value: Millis) {
    for (place, n) in histogram.adds(HISTOGRAMS, value) {
        region.tally(place, n);
    }
}

/// Counts a response to a client that is over.
pub(crate) fn count(region: &Region, answered: &Answered) {
    let Some(status) = answered.status else {
        return;
    };
    add(region, Counter::Responses(status), 1);
    add(region, Counter::Bytes(status), answered.bytes);
    if let Some(coding) = answered.coding {
        add(region, Counter::EncodedServed(coding), 1);
    }
    if let Some(reason) = answered.reason {
        add(region, Counter::Because(reason), 1);
    }
    match status {
        Status::Hit | Status::Revalidated => {}
        Status::Updating | Status::Stale => count_staleness(region, answered),
        Status::Miss | Status::Bypass | Status::Expired => count_origin(region, status, answered),
    }
    count_wait(region, answered);
}

/// Counts bytes sent from the store, for a response that was counted without them.
pub(crate) fn count_bytes(region: &Region, status: Status, bytes: u64) {
    add(region, Counter::Bytes(status), bytes);
    if let Status::Miss | Status::Bypass | Status::Expired = status {
        add(region, Counter::WrittenBytes(status), bytes);
    }
}

fn count_staleness(region: &Region, answered: &Answered) {
    if let Some(ttl) = answered.ttl {
        let stale = ttl.min(0).unsigned_abs().saturating_mul(1_000);
        record(region, Histogram::StaleAge, stale);
    }
}

fn count_origin(region: &Region, status: Status, answered: &Answered) {
    if answered.from_store {
        add(region, Counter::Written(status), 1);
        add(region, Counter::WrittenBytes(status), answered.bytes);
        return;
    }
    // What passes the cache; what is stored is counted when it is written.
    add(region, Counter::OriginBytes, answered.bytes);
    if answered.asked.is_none() {
        add(region, Counter::OriginRequests, 1);
    }
}

/// Counts a wait inside the stale-while-revalidate window, which the cache is meant to prevent.
fn count_wait(region: &Region, answered: &Answered) {
    match (answered.waited, answered.asked) {
        (Some(waited), Some(Asked::Synchronous)) => {
            record(region, Histogram::Waited, waited);
        }
        (Some(_), None) if answered.from_store => add(region, Counter::Collapsed, 1),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::Cache;
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
        asked: Some(Asked::Absent),
        waited: Some(40),
        from_store: true,
        ttl: Some(60),
        bytes: 100,
        coding: None,
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
        // Requests that led a fetch are counted with the fetch.
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
        waited(Status::Expired, Some(Asked::Stale), Reason::Fetched);
        assert_eq!(tree(&cache).waited.responses, 0);
        waited(Status::Expired, Some(Asked::Synchronous), Reason::Fetched);
        waited(
            Status::Revalidated,
            Some(Asked::Synchronous),
            Reason::NotModified,
        );
        waited(Status::Stale, Some(Asked::Synchronous), Reason::SieFallback);
        let zone = tree(&cache);
        assert_eq!((zone.waited.responses, zone.waited.seconds.sum), (3, 0.12));
        // A request that waited for the fetch of another one shared it.
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
