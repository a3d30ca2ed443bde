//! Stored responses that are compressed once (`compress`): the host gives a thread, or calls when it is idle.

use std::ffi::c_int;
use std::time::Duration;

use super::cache::{Cache, Shared, shared};
use super::error::{Result, SWRCACHE_ETIMEDOUT};
use super::types::put;
use crate::engine::Encoder;

/// A year is for ever, in milliseconds.
const FOR_EVER: u64 = 31_536_000_000;

/// The encoder of this process.
fn encoder(cache: &Shared) -> Result<&Encoder> {
    cache.must_be_own()?;
    cache.encoding.encoder(&cache.engine)
}

/// Encodes one stored response, once, in the codings that the policy of a request names (`compress`), if one is asked for within `timeout`
/// milliseconds; 0 does not wait. From then on clients that accept a coding are served the encoded bytes.
///
/// Call it from a thread of your own in a loop, with a timeout that lets the thread look whether it is to end; or with 0 when the server is
/// idle: a page takes some milliseconds, the longest body that is encoded (16 MiB) a second or more. From the first call of this or
/// `swrcache_encode_pending` on, lookups of this process ask for what clients would take and is not there yet; before it, for nothing. In
/// workers that are forked call it after `swrcache_after_fork`, and not before the fork. Whatever becomes of the call or its process, others
/// see an encoding whole or not at all.
///
/// Any thread, several at a time; a lookup never waits for it. All calls have returned before `swrcache_close`.
///
/// Returns 0 if it has dealt with a response; SWRCACHE_ETIMEDOUT if none was asked for; SWRCACHE_EUNSUPPORTED if the library was built
/// without encoders; SWRCACHE_ESTATE in a process that was forked after encoding had begun; SWRCACHE_EINVAL if `cache` is NULL.
///
/// # Safety
/// `cache` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_encode(cache: *mut Cache, timeout: u64) -> c_int {
    shared(cache, |cache| {
        let encoder = encoder(cache)?;
        match encoder.step(Duration::from_millis(timeout.min(FOR_EVER))) {
            true => Ok(()),
            false => Err(SWRCACHE_ETIMEDOUT.into()),
        }
    })
}

/// Tells how many stored responses wait for `swrcache_encode`, at most 64: for a server that encodes when it is idle.
///
/// Any thread.
///
/// Returns 0, or as `swrcache_encode`; SWRCACHE_EINVAL for a NULL. On failure `*count` is 0.
///
/// # Safety
/// `cache` is NULL or live; `count` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_encode_pending(cache: *mut Cache, count: *mut usize) -> c_int {
    shared(cache, |cache| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(count, 0) }?;
        let pending = encoder(cache)?.pending();
        // SAFETY: see above.
        unsafe { put(count, pending) }
    })
}
