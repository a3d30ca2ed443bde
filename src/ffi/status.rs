//! The words for how a request was answered, and why.

use std::ffi::{c_char, c_int};

use crate::engine::{Reason, Status};

/// The cache took no part.
pub const SWRCACHE_STATUS_NONE: c_int = 0;
/// A fresh stored response.
pub const SWRCACHE_STATUS_HIT: c_int = 1;
/// Nothing was stored.
pub const SWRCACHE_STATUS_MISS: c_int = 2;
/// The request bypassed.
pub const SWRCACHE_STATUS_BYPASS: c_int = 3;
/// What was stored was stale, and the client waited for the new response.
pub const SWRCACHE_STATUS_EXPIRED: c_int = 4;
/// Stale, because the origin failed.
pub const SWRCACHE_STATUS_STALE: c_int = 5;
/// Stale, and being refreshed where no client waits.
pub const SWRCACHE_STATUS_UPDATING: c_int = 6;
/// What was stored was stale, and the client waited for the origin's 304.
pub const SWRCACHE_STATUS_REVALIDATED: c_int = 7;

pub(crate) fn status_word(status: Option<Status>) -> c_int {
    match status {
        None => SWRCACHE_STATUS_NONE,
        Some(Status::Hit) => SWRCACHE_STATUS_HIT,
        Some(Status::Miss) => SWRCACHE_STATUS_MISS,
        Some(Status::Bypass) => SWRCACHE_STATUS_BYPASS,
        Some(Status::Expired) => SWRCACHE_STATUS_EXPIRED,
        Some(Status::Stale) => SWRCACHE_STATUS_STALE,
        Some(Status::Updating) => SWRCACHE_STATUS_UPDATING,
        Some(Status::Revalidated) => SWRCACHE_STATUS_REVALIDATED,
    }
}

/// The word of a status: "HIT", "MISS", "BYPASS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", or "" for none.
///
/// Never NULL; static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn swrcache_status_name(status: c_int) -> *const c_char {
    let word = match status {
        SWRCACHE_STATUS_HIT => c"HIT",
        SWRCACHE_STATUS_MISS => c"MISS",
        SWRCACHE_STATUS_BYPASS => c"BYPASS",
        SWRCACHE_STATUS_EXPIRED => c"EXPIRED",
        SWRCACHE_STATUS_STALE => c"STALE",
        SWRCACHE_STATUS_UPDATING => c"UPDATING",
        SWRCACHE_STATUS_REVALIDATED => c"REVALIDATED",
        _ => c"",
    };
    word.as_ptr()
}

/// A reason as a C string, static.
#[inline]
pub(crate) fn word(reason: impl Into<Reason>) -> *const c_char {
    reason.into().as_cstr_bytes().as_ptr().cast()
}
