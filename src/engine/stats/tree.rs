//! The tree of statistics. `docs/statistics.schema.json` describes its JSON form.
//!
//! Counters only grow as long as a zone exists, also across a reload (and with `file=` across a restart). Sizes are in
//! bytes, durations in seconds, and points in time are Unix time in seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The statistics of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The version of swrcache.
    pub version: String,
    /// All zones together in one sentence.
    pub summary: String,
    /// The time at which they were read.
    pub time: f64,
    /// The zones by name.
    pub zones: BTreeMap<String, Zone>,
}

/// The statistics of a zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// The zone in one sentence.
    pub summary: String,
    /// The size of the zone.
    pub size: u64,
    /// What its bytes are used for; the parts add up to `size`.
    pub used: Used,
    /// The number of stored responses.
    pub entries: Entries,
    /// Entries that the last start restored from the file.
    pub restored: u64,
    /// Fresh responses from the store.
    pub hit: Delivered,
    /// Stale responses, sent because the origin failed or was too slow.
    pub stale: Delivered,
    /// Stale responses, sent while a refresh was in progress.
    pub updating: Delivered,
    /// Responses for which the client waited, and the origin answered 304.
    pub revalidated: Delivered,
    /// Responses for which the client waited, and the origin sent a new response.
    pub expired: Forwarded,
    /// Responses for requests for which no usable response was stored.
    pub miss: Forwarded,
    /// Responses for requests that bypassed the cache.
    pub bypass: Forwarded,
    /// Responses by `$swr_cache_reason`; every word is present.
    pub reasons: BTreeMap<String, u64>,
    /// Background refreshes.
    pub refresh: Refresh,
    /// Clients that waited for a revalidation although the response was inside its stale-while-revalidate window. 0
    /// unless the location refreshes synchronously (`swr_cache_background_update off`).
    pub waited: Waited,
    /// Requests that shared the fetch of another one.
    pub collapsed: u64,
    /// Requests to the origin, and those that the cache saved it.
    pub origin: Origin,
    /// How stale the stale responses were when they were served.
    pub stale_age: Buckets,
    /// Encoded forms by coding.
    pub encoded: BTreeMap<String, CodingCounts>,
    /// Evicted entries.
    pub evicted: Evicted,
    /// Purges, by what they selected and by mode.
    pub purges: BTreeMap<String, Purges>,
    /// Responses that purges have found.
    pub purged: u64,
    /// Dead processes and damaged entries dealt with.
    pub recovery: Recovery,
    /// Entries whose refresh fails, those that have failed longest first; 20 at most.
    pub failing: Vec<Failing>,
    /// How many these are, those beyond the 20 included.
    #[serde(skip)]
    pub failures: u64,
    /// What is requested most often.
    pub top: Top,
}

/// What the bytes of a zone are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Bodies as the origin sent them.
    pub bodies: u64,
    /// Keys and headers.
    pub heads: u64,
    /// Encoded forms of bodies.
    pub encodings: u64,
    /// The index and the allocator's own data.
    pub index: u64,
    /// Unused.
    pub free: u64,
}

/// The number of stored responses by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Responses that are fresh.
    pub fresh: u64,
    /// Responses that are stale.
    pub stale: u64,
    /// Responses that are being received, or still being read after they were replaced.
    pub filling: u64,
    /// Keys about which something is remembered apart from responses: uncacheable, requested rarely, being fetched.
    pub markers: u64,
}

/// Responses whose body did not come from the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The number of responses.
    pub responses: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

/// Responses whose body came from the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The number of responses.
    pub responses: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// The number of those that were stored.
    pub responses_written: u64,
    /// The bytes of the bodies of those.
    pub bytes_written: u64,
}

/// Background refreshes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Refreshes that have begun.
    pub started: u64,
    /// Refreshes that brought a new response.
    pub modified: u64,
    /// Refreshes that brought a 304, or the same bytes.
    pub not_modified: u64,
    /// Refreshes that failed; the entry is kept, and a pause follows.
    pub failed: u64,
    /// Refreshes deferred because `swr_cache_refresh_max` were in progress.
    pub deferred: u64,
    /// Refreshes in progress now, including fetches that a client waits for.
    pub in_flight: u64,
    /// Entries whose pause after a failure is in force now.
    pub backing_off: u64,
}

/// Clients that waited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// The number of clients.
    pub responses: u64,
    /// How long they waited.
    pub seconds: Buckets,
}

/// The load on the origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Requests to the origin.
    pub requests: u64,
    /// Bytes of the bodies that it sent.
    pub bytes: u64,
    /// Responses to clients that caused no request to the origin.
    pub saved_requests: u64,
    /// Bytes of bodies sent to clients that the origin did not send.
    pub saved_bytes: u64,
    /// The duration of the requests, by outcome: `stored`, `not_modified`, `uncacheable`, `failed`.
    pub seconds: BTreeMap<String, Buckets>,
}

/// A histogram as Prometheus defines it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    /// The number of values.
    pub count: u64,
    /// The sum of the values in seconds.
    pub sum: f64,
    /// The number of values up to each bound; those above the last bound are in `count` only.
    pub buckets: Vec<Bucket>,
}

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The upper bound in seconds.
    pub le: f64,
    /// The number of values that do not exceed it.
    pub count: u64,
}

/// The encoded forms of one coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodingCounts {
    /// The number of forms made.
    pub made: u64,
    /// The bytes saved, compared with the originals.
    pub bytes_saved: u64,
    /// The number of responses sent in this form.
    pub served: u64,
}

/// Evicted entries by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// Evicted for space.
    pub space: u64,
    /// Evicted because they were not requested for too long (`inactive=`).
    pub inactive: u64,
    /// Evicted because their key had too many variants (`swr_cache_max_variants`).
    pub variants: u64,
}

/// Purges of one kind by mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purges {
    /// Purges that removed the responses.
    pub hard: u64,
    /// Purges that made the responses stale.
    pub soft: u64,
}

/// Dead processes and damaged entries dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Dead processes whose resources were reclaimed.
    pub dead_workers: u64,
    /// Repairs after a process died during an allocation.
    pub repairs: u64,
    /// Entries that were found damaged and dropped.
    pub damaged: u64,
}

/// An entry whose refresh fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failing {
    /// Its key.
    pub key: String,
    /// The cause of the last failure: a word of `$swr_cache_reason`, or the status that the origin answered with.
    pub cause: String,
    /// The time of the first failure in a row (Unix time in seconds).
    pub since: f64,
    /// The time from which on a request tries again (Unix time in seconds).
    pub next_try: f64,
}

/// What is requested most often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// The keys, 20 at most.
    pub keys: Vec<HitCount>,
    /// The tags, 20 at most.
    pub tags: Vec<HitCount>,
}

/// A name, and how often it was requested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitCount {
    /// The key or tag.
    pub name: String,
    /// The approximate number of requests.
    pub hits: u64,
}
