//! What the cache learns of a request that it took no part in.

use std::ffi::c_int;

use super::cache::{Cache, Shared, shared};
use super::count::Count;
use super::error::{Result, SWRCACHE_EAGAIN};
use super::handle::Handle;
use super::policy::{Policy, Settings};
use super::request::{Key, LookupRequest, Request};
use super::response::{CheckedResponse, Response};
use crate::engine::{Invalidation, Method};

/// Says how the origin answered a request that was told to pass (`SWRCACHE_PASS`); call it when the head has come.
///
/// A method that is not cached and not safe, such as PUT, makes what is stored for the key invalid, unless it failed, and with it
/// what `Location` and `Content-Location` name on the same origin (RFC 9111 section 4.4); and the cache groups that
/// `Cache-Group-Invalidation` names (RFC 9875). These need `request->origin`, the others `request->target` too. A HEAD brings what is
/// stored up to date, or ends it (section 4.3.5). Nothing comes of others, so that it may be called for each that passed.
///
/// Any number of threads at a time. Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EAGAIN if
/// the cache was too busy and perhaps not all of it went: call it again; SWRCACHE_ESTATE in a process that was forked and has not
/// called `swrcache_after_fork`, or can't.
///
/// # Safety
/// `cache` and `policy` are NULL or live; `request` and `response` are NULL or have `struct_size` readable bytes, and what they
/// point to is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_passed(
    cache: *mut Cache,
    policy: *const Policy,
    request: *const Request,
    response: *const Response,
) -> c_int {
    shared(cache, |cache| {
        cache.must_be_own()?;
        let mut room = Key::new();
        // SAFETY: the caller's promise.
        let (asked, answered) = unsafe {
            (
                LookupRequest::read(request, &mut room)?,
                CheckedResponse::read(response)?,
            )
        };
        // SAFETY: NULL or live.
        unsafe {
            Handle::with_ref(policy, |policy| {
                match asked.method {
                    Method::Head => head(cache, &policy.0, &asked, &answered),
                    method if policy.0.rules.methods.has(method) => {}
                    _ => invalidate(cache, &policy.0, &asked, &answered)?,
                }
                Ok(())
            })
        }
    })
}

fn head(
    cache: &Shared,
    policy: &Settings,
    asked: &LookupRequest<'_>,
    answered: &CheckedResponse<'_>,
) {
    let now = cache.now();
    let response = answered.response(asked.origin, (now, now));
    cache
        .engine
        .head_answered(&asked.request(true), &response, &policy.rules, now);
}

fn invalidate(
    cache: &Shared,
    policy: &Settings,
    asked: &LookupRequest<'_>,
    answered: &CheckedResponse<'_>,
) -> Result<()> {
    let request = asked.request(true);
    let invalidation = Invalidation {
        method: asked.word,
        status: answered.status,
        key: asked.key,
        recipes: &[],
        origin: asked.origin,
        target: asked.target,
        asked: request.fields,
        fields: &answered.judge,
    };
    let mut removal = cache
        .engine
        .invalidate(&invalidation, &policy.rules, cache.now());
    while !removal.step(u32::MAX).map_err(|_| SWRCACHE_EAGAIN)? {}
    cache.counters.add(Count::Purged, removal.removed());
    Ok(())
}
