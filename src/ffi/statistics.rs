//! The statistics: some figures in a struct; and as text all of them, the tree that nginx's `swr_cache_stats` answers with, in the
//! same three forms.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::sync::atomic::Ordering::Acquire;

use super::cache::{Cache, Shared, shared};
use super::count::Count;
use super::error::{Result, SWRCACHE_EAGAIN, SWRCACHE_EINVAL};
use super::types::{self, Sized_};
use crate::engine::stats::{self, Answered, Coding, Survey, Tree, counted, exposition, page};
use crate::engine::{Asked, Reason, Status};
use crate::store::Millis;

/// Figures of a cache. The first part is of the memory, all processes together; the second of this process since it opened
/// the cache. Each figure is right, together they may be a moment apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// `sizeof(swrcache_statistics)`, set by you.
    pub struct_size: usize,
    /// Bytes of the memory.
    pub size: u64,
    /// Bytes that can hold objects.
    pub capacity: u64,
    /// Bytes of these in use.
    pub used: u64,
    /// Bytes of keys, heads and bodies.
    pub payload: u64,
    /// Stored responses.
    pub objects: u64,
    /// Responses stored since the memory was laid out.
    pub inserted: u64,
    /// Responses dropped to make room.
    pub evictions: u64,
    /// Responses dropped because their time was over: all their windows, or `inactive`.
    pub expired: u64,
    /// Times that there was no room.
    pub refused: u64,
    /// Processes that use the memory.
    pub processes: u64,
    /// Processes that died in it and were cleaned up after.
    pub reaped: u64,
    /// The longest body that is stored.
    pub max_object: u64,
    /// Requests answered with `HIT`.
    pub hits: u64,
    /// Requests that nothing stored answered.
    pub misses: u64,
    /// Requests that bypassed.
    pub bypasses: u64,
    /// Requests that waited for a new response to a stale one.
    pub expireds: u64,
    /// Requests answered with a stale response because the origin failed.
    pub stales: u64,
    /// Requests answered with a stale response, refreshed in the background.
    pub updatings: u64,
    /// Requests that waited for the origin's 304.
    pub revalidateds: u64,
    /// Requests told to wait for the fetch of another.
    pub waits: u64,
    /// Fetches begun, of both kinds.
    pub fetches: u64,
    /// Background refreshes among them.
    pub refreshes: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Fetches that refreshers took.
    pub queued: u64,
    /// Fetches that refreshers refused because they were full.
    pub queue_refused: u64,
    /// Responses purged.
    pub purged: u64,
    /// Background refreshes that are not over.
    pub refreshing: u64,
    /// From here on of all processes that ever used the memory, as in `swrcache_stats_text`, which has the rest of the tree. Clients that
    /// waited for a revalidation inside the stale-while-revalidate window: 0, unless `background_update` is `off`.
    pub waited: u64,
    /// Requests that shared the fetch of another.
    pub collapsed: u64,
    /// Background refreshes that brought a new response.
    pub refresh_modified: u64,
    /// Background refreshes that brought a 304, or the same bytes.
    pub refresh_not_modified: u64,
    /// Background refreshes that failed.
    pub refresh_failed: u64,
    /// Background refreshes that were left to a later request.
    pub refresh_deferred: u64,
    /// Requests to the origin.
    pub origin_requests: u64,
    /// Bytes of bodies that the origin sent for the store.
    pub origin_bytes: u64,
    /// Requests that the origin was spared.
    pub saved_requests: u64,
    /// Bytes of bodies that the origin was spared.
    pub saved_bytes: u64,
}

// SAFETY: repr(C), its size first; integers.
unsafe impl Sized_ for Statistics {
    const LEAST: usize = offset_of!(Statistics, capacity);
}

/// Tells the figures. Any thread; takes no lock.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESIZE if `statistics->struct_size` is too small. On failure
/// `*statistics` is as it was.
///
/// # Safety
/// `cache` is NULL or live; `statistics` is NULL or has `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_stats(cache: *const Cache, statistics: *mut Statistics) -> c_int {
    shared(cache, |cache| {
        let stats = cache.engine.region().stats();
        let count = |count| cache.counters.sum(count);
        let zone = counted(cache.engine.region());
        let told = Statistics {
            struct_size: 0,
            size: stats.size,
            capacity: stats.capacity,
            used: stats.used,
            payload: stats.payload,
            objects: stats.objects,
            inserted: stats.inserted,
            evictions: stats.evictions,
            expired: stats.expired,
            refused: stats.refused,
            processes: stats.processes.into(),
            reaped: stats.reaped,
            max_object: stats.max_object,
            hits: count(Count::Hit),
            misses: count(Count::Miss),
            bypasses: count(Count::Bypass),
            expireds: count(Count::Expired),
            stales: count(Count::Stale),
            updatings: count(Count::Updating),
            revalidateds: count(Count::Revalidated),
            waits: count(Count::Wait),
            fetches: count(Count::Fetch),
            refreshes: count(Count::Refresh),
            failures: count(Count::Failure),
            queued: count(Count::Queued),
            queue_refused: count(Count::QueueRefused),
            purged: count(Count::Purged),
            refreshing: cache.refreshing.load(Acquire).into(),
            waited: zone.waited.responses,
            collapsed: zone.collapsed,
            refresh_modified: zone.refresh.modified,
            refresh_not_modified: zone.refresh.not_modified,
            refresh_failed: zone.refresh.failed,
            refresh_deferred: zone.refresh.deferred,
            origin_requests: zone.origin.requests,
            origin_bytes: zone.origin.bytes,
            saved_requests: zone.origin.saved_requests,
            saved_bytes: zone.origin.saved_bytes,
        };
        // SAFETY: NULL or writable.
        unsafe { types::write(statistics, told) }
    })
}

/// As JSON, described by `docs/statistics.schema.json`.
pub const SWRCACHE_STATS_JSON: c_int = 0;
/// As Prometheus reads it (text exposition format 0.0.4).
pub const SWRCACHE_STATS_PROMETHEUS: c_int = 1;
/// As a page for a browser, which then asks its own URL for the JSON, with `?format=json`.
pub const SWRCACHE_STATS_HTML: c_int = 2;

/// Places of the memory that are looked at under one lock.
const PLACES: u32 = 1024;

/// Takes a text of so many bytes, which lives as long as the call. Must not call the library, nor throw or longjmp out.
pub type Sink = Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, length: usize)>;

/// Hands the statistics of the cache to `sink`, in one piece, in the form `SWRCACHE_STATS_JSON`, `SWRCACHE_STATS_PROMETHEUS` or
/// `SWRCACHE_STATS_HTML`. `name` is what the cache is called there, as a zone of nginx is; `user` is handed on, and may be NULL.
///
/// What is counted is of all processes that ever used the memory, and outlives them as the memory does. What is stored is walked over, which
/// takes some seconds for millions of entries; others go on meanwhile. Any thread.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL, a `name` that is not UTF-8 or another form; SWRCACHE_EAGAIN if the cache was too busy: call it
/// again. `sink` is called in the first case alone.
///
/// # Safety
/// `cache` is NULL or live; `name` is NULL or ends in a NUL; `sink` is NULL or a function that may be called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_stats_text(
    cache: *const Cache,
    name: *const c_char,
    form: c_int,
    sink: Sink,
    user: *mut c_void,
) -> c_int {
    shared(cache, |cache| {
        let sink = sink.ok_or(SWRCACHE_EINVAL)?;
        // SAFETY: NULL or a string, by the contract.
        let name = unsafe { types::text(name) }?;
        let write = match form {
            SWRCACHE_STATS_JSON => json,
            SWRCACHE_STATS_PROMETHEUS => exposition,
            SWRCACHE_STATS_HTML => page,
            _ => return Err(SWRCACHE_EINVAL.into()),
        };
        let text = write(&tree(cache, name)?);
        // SAFETY: the host's function with the host's argument; the text is alive.
        unsafe { sink(user, text.as_ptr().cast(), text.len()) };
        Ok(())
    })
}

fn json(tree: &Tree) -> String {
    serde_json::to_string(tree).unwrap_or_default() + "\n"
}

fn tree(cache: &Shared, name: &str) -> Result<Tree> {
    let now = cache.now();
    let mut survey = Survey::new(cache.engine.region(), now);
    while !survey.step(PLACES).map_err(|_| SWRCACHE_EAGAIN)? {}
    let zones = BTreeMap::from([(name.to_owned(), survey.zone())]);
    Ok(stats::tree(zones, now))
}

/// How a client is answered, for the figures.
pub(crate) struct ClientAnswer {
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    /// Why the origin was asked by the fetch that the client leads, and how long the client waited for it.
    pub(crate) led: Option<(Asked, Millis)>,
    /// Of what the store answers: seconds of freshness that are left.
    pub(crate) ttl: Option<i64>,
    /// The coding, if it is sent in a form that the cache has encoded.
    pub(crate) coding: Option<Coding>,
}

/// Counts an answer, in this process and in the memory.
#[inline]
pub(crate) fn count(cache: &Shared, answer: &ClientAnswer) {
    cache.counters.status(answer.status);
    cache.engine.count(&Answered {
        status: Some(answer.status),
        reason: Some(answer.reason),
        asked: answer.led.map(|(asked, _)| asked),
        waited: answer.led.map(|(_, waited)| waited),
        from_store: answer.ttl.is_some(),
        ttl: answer.ttl,
        // What a host has read of its reply is known when that is freed.
        bytes: 0,
        coding: answer.coding,
    });
}
