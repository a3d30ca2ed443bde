//! The tree of statistics. Its JSON form is described by `docs/statistics.schema.json`.
//!
//! Counts only ever grow while a zone lives, also over a reload (and over a restart, with `file=`). Sizes are bytes, times
//! seconds; points in time are Unix time in seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything, of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The version of swrcache.
    pub version: String,
    /// All zones together in one sentence.
    pub summary: String,
    /// When it was read.
    pub time: f64,
    /// The zones by name.
    pub zones: BTreeMap<String, Zone>,
}

/// One zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// The zone in one sentence.
    pub summary: String,
    /// Bytes of the zone.
    pub size: u64,
    /// What its bytes are used for; these add up to `size`.
    pub used: Used,
    /// What is stored.
    pub entries: Entries,
    /// Entries that the last start has taken over from the file.
    pub restored: u64,
    /// Fresh from the store.
    pub hit: Delivered,
    /// Stale because the origin failed or was too slow.
    pub stale: Delivered,
    /// Stale while a refresh was under way.
    pub updating: Delivered,
    /// The client waited; the origin said that nothing had changed.
    pub revalidated: Delivered,
    /// The client waited; the origin sent a new response.
    pub expired: Forwarded,
    /// Nothing usable was stored.
    pub miss: Forwarded,
    /// The cache was told to stand aside.
    pub bypass: Forwarded,
    /// Responses by `$swr_cache_reason`; each word that there is.
    pub reasons: BTreeMap<String, u64>,
    /// Background refreshes.
    pub refresh: Refresh,
    /// Visitors who waited for a revalidation although the response was inside its stale-while-revalidate window. 0 unless
    /// the location refreshes synchronously (`swr_cache_background_update off`).
    pub waited: Waited,
    /// Requests that shared the fetch of another.
    pub collapsed: u64,
    /// What the origin was asked, and what it was spared.
    pub origin: Origin,
    /// How stale the stale responses were that were served.
    pub stale_age: Buckets,
    /// Encoded forms, by coding.
    pub encoded: BTreeMap<String, CodingCounts>,
    /// Entries that had to go.
    pub evicted: Evicted,
    /// Purges, by what they were for, and how.
    pub purges: BTreeMap<String, Purges>,
    /// Responses that purges have found.
    pub purged: u64,
    /// What became of processes that died, and of damage.
    pub recovery: Recovery,
    /// Entries whose refresh fails, those that have failed longest first; 20 at most.
    pub failing: Vec<Failing>,
    /// What is asked for most.
    pub top: Top,
}

/// What the bytes of a zone are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Bodies as the origin sent them.
    pub bodies: u64,
    /// Keys and heads.
    pub heads: u64,
    /// Encoded forms of bodies.
    pub encodings: u64,
    /// The index, and what the allocator needs.
    pub index: u64,
    /// Free.
    pub free: u64,
}

/// What is stored, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Responses that are fresh.
    pub fresh: u64,
    /// Responses that are stale.
    pub stale: u64,
    /// Responses that are being received, or are still being read after they were replaced.
    pub filling: u64,
    /// Keys of which something is remembered beside responses: uncacheable, asked for rarely, being fetched.
    pub markers: u64,
}

/// Responses without a body from the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// How many.
    pub responses: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Responses that the origin sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// How many.
    pub responses: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Those of them that were stored.
    pub responses_written: u64,
    /// Bytes of the bodies of those.
    pub bytes_written: u64,
}

/// Background refreshes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Begun.
    pub started: u64,
    /// Brought a new response.
    pub modified: u64,
    /// Brought a 304, or the same bytes.
    pub not_modified: u64,
    /// Failed; the entry is kept, and pauses.
    pub failed: u64,
    /// Put off, as `swr_cache_refresh_max` were under way.
    pub deferred: u64,
    /// Under way now, fetches that a client waits for included.
    pub in_flight: u64,
    /// Entries that pause now after a failure.
    pub backing_off: u64,
}

/// Visitors who waited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// How many.
    pub responses: u64,
    /// For how long.
    pub seconds: Buckets,
}

/// The origin's share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Requests that it got.
    pub requests: u64,
    /// Bytes of bodies that it sent.
    pub bytes: u64,
    /// Responses to clients that took no request of their own.
    pub saved_requests: u64,
    /// Bytes of bodies sent to clients that the origin did not send.
    pub saved_bytes: u64,
    /// How long it took, by outcome: `stored`, `not_modified`, `uncacheable`, `failed`.
    pub seconds: BTreeMap<String, Buckets>,
}

/// A histogram with the meaning that Prometheus gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    /// How many values there were.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
    /// How many of them do not exceed each bound; what exceeds the last is in `count` alone.
    pub buckets: Vec<Bucket>,
}

/// One bucket, those below it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The bound in seconds.
    pub le: f64,
    /// How many values do not exceed it.
    pub count: u64,
}

/// Encoded forms of one coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodingCounts {
    /// How many were made.
    pub made: u64,
    /// How many bytes shorter they were than the originals.
    pub bytes_saved: u64,
    /// Responses that were sent so.
    pub served: u64,
}

/// Entries that had to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// For room.
    pub space: u64,
    /// As nobody asked for them (`inactive=`).
    pub inactive: u64,
    /// As their key had too many variants (`swr_cache_max_variants`).
    pub variants: u64,
}

/// Purges of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purges {
    /// That dropped what they found.
    pub hard: u64,
    /// That made it stale.
    pub soft: u64,
}

/// What became of processes that died, and of damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Dead processes that were cleaned up after.
    pub dead_workers: u64,
    /// Repairs after a process died in the middle of an allocation.
    pub repairs: u64,
    /// Entries that were found damaged, and dropped.
    pub damaged: u64,
}

/// An entry whose refresh fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failing {
    /// Its key.
    pub key: String,
    /// How the last try failed: a word of `$swr_cache_reason`, or the origin's status.
    pub cause: String,
    /// Since when it has failed (Unix time in seconds).
    pub since: f64,
    /// When it will be tried again, should anybody ask for it (Unix time in seconds).
    pub next_try: f64,
}

/// What is asked for most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// Keys; 20 at most.
    pub keys: Vec<Tally>,
    /// Tags; 20 at most.
    pub tags: Vec<Tally>,
}

/// A name, and how often it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// A key or tag.
    pub name: String,
    /// How often, about.
    pub hits: u64,
}
