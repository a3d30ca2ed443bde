//! The counters, and their indexes in the counter array of a process.
//!
//! The indexes are part of the layout of a region, and a region in a file outlives the program that counted in it. A
//! change of an index requires a new layout version (`store::memory::layout::VERSION`), which a test below enforces;
//! `places.txt` lists all of them.

use super::histogram;
use crate::engine::encode::coding::Coding;
use crate::engine::purge::mode::PurgeMode;
use crate::engine::verdict::{Reason, Status};

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Responses to clients, by status.
    Responses(Status),
    /// Bytes of bodies sent to clients, by status.
    Bytes(Status),
    /// Those responses that were stored on their way to the client.
    Written(Status),
    /// Bytes of the bodies of responses that were stored on their way.
    WrittenBytes(Status),
    /// Responses to clients, by reason.
    Because(Reason),
    /// Background refreshes.
    Refresh(RefreshEvent),
    /// Requests that shared the fetch of another one.
    Collapsed,
    /// Requests to the origin.
    OriginRequests,
    /// Bytes of the bodies that the origin sent.
    OriginBytes,
    /// Encoded forms made of stored responses.
    Encoded(Coding),
    /// The bytes saved by those forms, compared with the originals.
    EncodedSaved(Coding),
    /// Responses that were sent in an encoded form made by the cache.
    EncodedServed(Coding),
    /// Entries removed because they were not requested for too long (`inactive=`).
    EvictedInactive,
    /// Purges.
    Purges(PurgedBy, PurgeMode),
    /// Responses that purges have found.
    Purged,
}

/// The events of background refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshEvent {
    /// A refresh has begun.
    Started,
    /// A refresh brought a new response.
    Modified,
    /// A refresh brought a 304, or the same bytes.
    NotModified,
    /// A refresh failed: the entry is kept, and a pause follows.
    Failed,
    /// A refresh was left to a later request, because `swr_cache_refresh_max` refreshes were in progress.
    Deferred,
}

impl RefreshEvent {
    const COUNT: usize = 5;
}

/// How a purge selects what it removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgedBy {
    /// By URL, with all variants.
    Url,
    /// By key.
    Key,
    /// By the beginning of the key.
    Prefix,
    /// By tag.
    Tag,
    /// By host.
    Host,
    /// Everything.
    All,
    /// By a successful unsafe method, or `Cache-Group-Invalidation` (RFC 9111 §4.4, RFC 9875 §3).
    Write,
}

impl PurgedBy {
    /// All of them.
    pub const ALL: [PurgedBy; 7] = [
        PurgedBy::Url,
        PurgedBy::Key,
        PurgedBy::Prefix,
        PurgedBy::Tag,
        PurgedBy::Host,
        PurgedBy::All,
        PurgedBy::Write,
    ];

    /// The name in the statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            PurgedBy::Url => "url",
            PurgedBy::Key => "key",
            PurgedBy::Prefix => "prefix",
            PurgedBy::Tag => "tag",
            PurgedBy::Host => "host",
            PurgedBy::All => "all",
            PurgedBy::Write => "write",
        }
    }
}

/// Reserved for reasons, including those that will be added.
const REASONS: usize = 96;
const STATUSES: usize = Status::ALL.len();
const CODINGS: usize = Coding::ALL.len();

const BYTES: usize = STATUSES;
const WRITTEN: usize = BYTES + STATUSES;
const WRITTEN_BYTES: usize = WRITTEN + STATUSES;
const BECAUSE: usize = WRITTEN_BYTES + STATUSES;
const REFRESH: usize = BECAUSE + REASONS;
const COLLAPSED: usize = REFRESH + RefreshEvent::COUNT;
const ORIGIN_REQUESTS: usize = COLLAPSED + 1;
const ORIGIN_BYTES: usize = ORIGIN_REQUESTS + 1;
const ENCODED: usize = ORIGIN_BYTES + 1;
const ENCODED_SAVED: usize = ENCODED + CODINGS;
const ENCODED_SERVED: usize = ENCODED_SAVED + CODINGS;
const EVICTED_INACTIVE: usize = ENCODED_SERVED + CODINGS;
const PURGES: usize = EVICTED_INACTIVE + 1;
const PURGED: usize = PURGES + 2 * PurgedBy::ALL.len();
/// The index of the first histogram counter.
pub const HISTOGRAMS: usize = PURGED + 1;

/// The number of counters of a process.
pub const PLACES: usize = HISTOGRAMS + histogram::PLACES;

const _: () = assert!(Reason::ALL.len() <= REASONS);

impl Counter {
    /// The index of the counter in the counter array of a process.
    #[inline]
    pub const fn place(self) -> usize {
        match self {
            Counter::Responses(status) => status as usize,
            Counter::Bytes(status) => BYTES + status as usize,
            Counter::Written(status) => WRITTEN + status as usize,
            Counter::WrittenBytes(status) => WRITTEN_BYTES + status as usize,
            Counter::Because(reason) => BECAUSE + reason as usize,
            Counter::Refresh(event) => REFRESH + event as usize,
            Counter::Collapsed => COLLAPSED,
            Counter::OriginRequests => ORIGIN_REQUESTS,
            Counter::OriginBytes => ORIGIN_BYTES,
            Counter::Encoded(coding) => ENCODED + coding as usize,
            Counter::EncodedSaved(coding) => ENCODED_SAVED + coding as usize,
            Counter::EncodedServed(coding) => ENCODED_SERVED + coding as usize,
            Counter::EvictedInactive => EVICTED_INACTIVE,
            Counter::Purges(by, PurgeMode::Hard) => PURGES + 2 * by as usize,
            Counter::Purges(by, PurgeMode::Soft) => PURGES + 2 * by as usize + 1,
            Counter::Purged => PURGED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::{FetchResult, Histogram};
    use super::*;
    use crate::store::VERSION;
    use std::collections::HashSet;

    fn counters() -> Vec<Counter> {
        let by_status = Status::ALL.iter().flat_map(|s| {
            [
                Counter::Responses(*s),
                Counter::Bytes(*s),
                Counter::Written(*s),
                Counter::WrittenBytes(*s),
            ]
        });
        let events = [
            RefreshEvent::Started,
            RefreshEvent::Modified,
            RefreshEvent::NotModified,
            RefreshEvent::Failed,
            RefreshEvent::Deferred,
        ];
        let by_coding = Coding::ALL.iter().flat_map(|c| {
            [
                Counter::Encoded(*c),
                Counter::EncodedSaved(*c),
                Counter::EncodedServed(*c),
            ]
        });
        let purges = PurgedBy::ALL
            .iter()
            .flat_map(|by| [PurgeMode::Hard, PurgeMode::Soft].map(|how| Counter::Purges(*by, how)));
        let single = [
            Counter::Collapsed,
            Counter::OriginRequests,
            Counter::OriginBytes,
            Counter::EvictedInactive,
            Counter::Purged,
        ];
        by_status
            .chain(Reason::ALL.iter().map(|r| Counter::Because(*r)))
            .chain(events.map(Counter::Refresh))
            .chain(by_coding)
            .chain(purges)
            .chain(single)
            .collect()
    }

    fn histograms() -> Vec<Histogram> {
        let by_outcome = FetchResult::ALL.map(Histogram::Origin);
        [Histogram::Waited, Histogram::StaleAge]
            .into_iter()
            .chain(by_outcome)
            .collect()
    }

    #[test]
    fn no_two_counts_share_a_place() {
        let mut seen = HashSet::new();
        for counter in counters() {
            assert!(counter.place() < HISTOGRAMS, "{counter:?}");
            assert!(seen.insert(counter.place()), "{counter:?}");
        }
        for histogram in histograms() {
            let first = HISTOGRAMS + histogram.offset();
            for place in first..first + histogram.places() {
                assert!(place < PLACES, "{histogram:?}");
                assert!(seen.insert(place), "{histogram:?}");
            }
        }
    }

    /// Lists all counters, one per line, with their indexes.
    fn places() -> String {
        let name = |counter: &Counter| match counter {
            Counter::Because(reason) => format!("reason {}", reason.as_str()),
            counter => format!("{counter:?}"),
        };
        let counters = counters().into_iter().map(|c| (c.place(), name(&c)));
        let histograms = histograms()
            .into_iter()
            .map(|h| (HISTOGRAMS + h.offset(), format!("{h:?} {:?}", h.bounds())));
        let mut places: Vec<_> = counters.chain(histograms).collect();
        places.sort();
        let lines = places
            .iter()
            .map(|(place, name)| format!("{place} {name}\n"));
        format!("layout {VERSION}\n{}", lines.collect::<String>())
    }

    /// A region in a file outlives the program that counted in it, so a counter that moves would be read as another
    /// one. A new counter at an unused index moves none.
    #[test]
    fn the_places_are_those_of_the_layout() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/stats/places.txt");
        let (written, places) = (include_str!("places.txt"), places());
        let is_this_layout = written.lines().next() == places.lines().next();
        let moved = written
            .lines()
            .find(|line| !places.lines().any(|l| l == *line));
        assert!(
            !is_this_layout || moved.is_none(),
            "the place of {moved:?} has changed: raise store::memory::layout::VERSION"
        );
        if std::env::var_os("SWRCACHE_WRITE_PLACES").is_some() {
            std::fs::write(file, &places).expect("written");
        } else {
            assert_eq!(written, places, "SWRCACHE_WRITE_PLACES=1 writes {file}");
        }
    }
}
