//! The statistics as text: the tree that nginx's `swr_cache_stats` answers with, in the same three forms.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};

use super::cache::{Cache, Shared, shared};
use super::error::{Result, SWRCACHE_EAGAIN, SWRCACHE_EINVAL};
use super::types;
use crate::engine::stats::{self, Answered, Coding, Survey, Tree, exposition, page};
use crate::engine::{Asked, Reason, Status};
use crate::store::Millis;

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
