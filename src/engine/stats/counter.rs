//! What is counted, and where: each counter has a place among the words of a process.
//!
//! The places are part of the layout of a region, and outlive a program in a region that lies in a file: a change
//! raises the layout's version (`store::memory::layout::VERSION`), as the test below demands; `places.txt` has them all.

use super::histogram;
use crate::engine::purge::mode::PurgeMode;
use crate::engine::verdict::{Reason, Status};

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Responses to clients, by status.
    Responses(Status),
    /// Bytes of bodies sent to clients, by status.
    Bytes(Status),
    /// Those of the responses that were stored on their way.
    Written(Status),
    /// Bytes of bodies of those.
    WrittenBytes(Status),
    /// Responses to clients, by reason.
    Because(Reason),
    /// Background refreshes.
    Refresh(RefreshEvent),
    /// Requests that shared the fetch of another.
    Collapsed,
    /// Requests to the origin.
    OriginRequests,
    /// Bytes of bodies that the origin sent.
    OriginBytes,
    /// Encoded forms that were made of stored responses.
    Encoded(Coding),
    /// Bytes that those are shorter than the originals.
    EncodedSaved(Coding),
    /// Responses that were sent in an encoded form made here.
    EncodedServed(Coding),
    /// Entries dropped since nobody asked for them (`inactive=`).
    EvictedInactive,
    /// Purges.
    Purges(PurgedBy, PurgeMode),
    /// Responses that purges have found.
    Purged,
}

/// What becomes of background refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshEvent {
    /// One has begun.
    Started,
    /// It brought a new response.
    Modified,
    /// It brought a 304, or the same bytes.
    NotModified,
    /// It failed: the entry is kept, and pauses.
    Failed,
    /// There was no room for it (`swr_cache_refresh_max`): left to a later request.
    Deferred,
}

impl RefreshEvent {
    const COUNT: usize = 5;
}

/// A content coding that the cache makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip.
    Gzip,
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
}

impl Coding {
    /// Every coding.
    pub const ALL: [Coding; 3] = [Coding::Gzip, Coding::Br, Coding::Zstd];

    /// Its name in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Br => "br",
            Coding::Zstd => "zstd",
        }
    }
}

/// By what a purge finds what it purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgedBy {
    /// A URL, all its variants.
    Url,
    /// A whole key.
    Key,
    /// The beginning of keys.
    Prefix,
    /// A tag.
    Tag,
    /// A host.
    Host,
    /// Everything.
    All,
    /// A successful unsafe method, or `Cache-Group-Invalidation` (RFC 9111 §4.4, RFC 9875 §3).
    Write,
}

impl PurgedBy {
    /// Every way.
    pub const ALL: [PurgedBy; 7] = [
        PurgedBy::Url,
        PurgedBy::Key,
        PurgedBy::Prefix,
        PurgedBy::Tag,
        PurgedBy::Host,
        PurgedBy::All,
        PurgedBy::Write,
    ];

    /// The word for it in the statistics.
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

/// Room for reasons that are yet to come.
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
/// Where the words of the histograms begin.
pub const HISTOGRAMS: usize = PURGED + 1;

/// How many words a process counts in.
pub const PLACES: usize = HISTOGRAMS + histogram::PLACES;

const _: () = assert!(Reason::ALL.len() <= REASONS);

impl Counter {
    /// Its place among the words of a process.
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
    use super::super::histogram::{Fetched, Histogram};
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
        let by_outcome = Fetched::ALL.map(Histogram::Origin);
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

    /// A line for each count: its place, and what it is.
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

    /// A region in a file outlives the program that counted in it: a count that has moved would be read as another. A new one in
    /// a place that was free moves none.
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
