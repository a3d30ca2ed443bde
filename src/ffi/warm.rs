//! Storing a response that no client has asked for.

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use super::cache::{Cache, Shared, shared};
use super::error::{Error, Result, SWRCACHE_EINVAL, SWRCACHE_ENOTSTORED};
use super::fetch::{FetchValue, SWRCACHE_DO_STORE};
use super::handle::Handle;
use super::policy::{Policy, Settings};
use super::request::{Key, LookupRequest, Request};
use super::response::{CheckedResponse, Response};
use super::types::bytes;
use crate::engine::Decision;

/// Stores a response to a request that you have from elsewhere, such as to warm the cache; it takes the place of what is stored for the
/// request.
///
/// `request` and `response` as for a lookup and `swrcache_fetch_respond`; `flags` and `turn` of the request are not looked at. `body` has
/// `len` bytes and may be NULL if that is 0.
///
/// Any number of threads at a time.
///
/// Returns 0; SWRCACHE_ENOTSTORED if the response may not be stored (`swrcache_last_error` has the reason, one of the fixed set of words);
/// SWRCACHE_ETOOLARGE, SWRCACHE_ENOSPC if there is no room for it; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments, such
/// as a method that the policy does not cache.
///
/// # Safety
/// `cache` and `policy` are NULL or live; `request` and `response` are NULL or have `struct_size` readable bytes, and what they
/// point to is readable; `body` has `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_store(
    cache: *mut Cache,
    policy: *const Policy,
    request: *const Request,
    response: *const Response,
    body: *const c_char,
    len: usize,
) -> c_int {
    shared(cache, |cache| {
        cache.must_be_own()?;
        let mut room = Key::new();
        // SAFETY: the caller's promise.
        let (asked, answered, body) = unsafe {
            (
                LookupRequest::read(request, &mut room)?,
                CheckedResponse::read(response)?,
                bytes(body, len)?,
            )
        };
        // SAFETY: NULL or live.
        unsafe {
            Handle::with_ref(policy, |policy| {
                store(cache, &policy.0, (&asked, &answered), body)
            })
        }
    })
}

fn store(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    (asked, answered): (&LookupRequest<'_>, &CheckedResponse<'_>),
    body: &[u8],
) -> Result<()> {
    let verdict = cache
        .engine
        .decide(&asked.unstored(), &policy.rules, asked.turn, cache.now());
    let Decision::Fetch(life) = verdict else {
        return Err(Error::new(
            SWRCACHE_EINVAL,
            "the policy does not cache this request",
        ));
    };
    let mut fetch = FetchValue::new(cache, policy, *life, asked.client());
    if fetch.respond(answered)? != SWRCACHE_DO_STORE {
        return Err(Error::new(SWRCACHE_ENOTSTORED, fetch.reason().as_str()));
    }
    fetch.write(body)?;
    fetch.finish().map(|_| ())
}
