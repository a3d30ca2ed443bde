//! The origin's response, as the engine sees it.

use std::ffi::c_int;
use std::mem::offset_of;

use super::error::{Error, Result, SWRCACHE_EINVAL};
use super::request::SWRCACHE_NO_CACHE;
use super::types::{self, Field, Lines, Sized_};
use crate::engine::{self, Failure, Withheld};
use crate::http::fields::announced_length;
use crate::store::Millis;

/// The connection to the origin failed, or broke.
pub const SWRCACHE_FAIL_ERROR: c_int = 1;
/// The origin did not answer in time.
pub const SWRCACHE_FAIL_TIMEOUT: c_int = 2;
/// The origin's response was empty or invalid.
pub const SWRCACHE_FAIL_INVALID: c_int = 3;
/// You give it up for reasons of your own, such as the end of the server: the origin is not to blame.
pub const SWRCACHE_FAIL_ABORTED: c_int = 4;

/// The head of the origin's response. Zero it, set `struct_size` and what there is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Response {
    /// `sizeof(swrcache_response)`.
    pub struct_size: usize,
    /// The status, 200 to 999: an interim response (1xx) is no answer yet.
    pub status: c_int,
    /// `SWRCACHE_NO_CACHE` if a condition of yours says of the response that it is not to be stored, or 0.
    pub flags: u32,
    /// The header fields, in order. A response with more than 256 lines, a name of more than 256 bytes, a value of more than 32 KiB, 64
    /// KiB in all, or a line that can't stand in a header is not stored.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// The fields that clients are to see, if others than `fields`; NULL if the same.
    pub shown: *const Field,
    /// How many.
    pub shown_count: usize,
    /// When the request was sent to the origin (Unix time in milliseconds); 0 is when the fetch was made, or now.
    pub request_time: u64,
    /// `SWRCACHE_FAIL_ERROR` and the like if you made this response yourself, such as an error page, because the origin failed
    /// so; 0 if it is the origin's.
    pub failure: c_int,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Response {
    const LEAST: usize = offset_of!(Response, shown);
}

/// A response of the caller's, checked.
pub(crate) struct CheckedResponse<'a> {
    pub(crate) status: u16,
    /// The origin's fields.
    pub(crate) judge: Lines<'a>,
    shown: Lines<'a>,
    no_cache: bool,
    /// When the request was sent; 0 if that was not told.
    sent: Millis,
    failure: Option<Failure>,
}

impl<'a> CheckedResponse<'a> {
    /// # Safety
    /// NULL, or `struct_size` bytes are readable, and what they point to, for as long as the result is used.
    pub(crate) unsafe fn read(response: *const Response) -> Result<CheckedResponse<'a>> {
        // SAFETY: the caller's promise, here and below.
        let response = unsafe { types::read(response) }?;
        // SAFETY: see above.
        let judge = unsafe { Lines::new(response.fields, response.field_count) }?;
        let shown = match response.shown.is_null() {
            true => judge,
            // SAFETY: see above.
            false => unsafe { Lines::new(response.shown, response.shown_count) }?,
        };
        if response.flags & !SWRCACHE_NO_CACHE != 0 || response.reserved != 0 {
            return Err(Error::new(SWRCACHE_EINVAL, "unknown flags of a response"));
        }
        Ok(CheckedResponse {
            status: match status_of(response.status)? {
                100..200 => {
                    return Err(Error::new(
                        SWRCACHE_EINVAL,
                        "an interim response is not the response: wait for the final one",
                    ));
                }
                status => status,
            },
            judge,
            shown,
            no_cache: response.flags & SWRCACHE_NO_CACHE != 0,
            sent: response.request_time,
            failure: match response.failure {
                0 => None,
                failure => Some(failure_of(failure)?),
            },
        })
    }

    /// When the request was sent; `otherwise` if that was not told.
    pub(crate) fn sent(&self, otherwise: Millis) -> Millis {
        match self.sent {
            0 => otherwise,
            sent => sent,
        }
    }

    /// As the engine sees it.
    pub(crate) fn response<'b>(
        &'b self,
        origin: &'b [u8],
        (began, now): (Millis, Millis),
    ) -> engine::Response<'b> {
        engine::Response {
            status: self.status,
            store: &self.shown,
            received: &self.judge,
            origin,
            content_length: announced_length(&self.judge),
            request_time: self.sent(began),
            wall: now,
            from_failure: self.failure,
            withheld: self.no_cache.then_some(Withheld::NoCacheCondition),
            own_redirect: false,
            kept: None,
        }
    }
}

/// A status code of the caller's.
pub(crate) fn status_of(status: c_int) -> Result<u16> {
    match u16::try_from(status) {
        Ok(status @ 100..=999) => Ok(status),
        _ => Err(Error::new(
            SWRCACHE_EINVAL,
            "not an HTTP status code (100 to 999)",
        )),
    }
}

/// A failure of the caller's.
pub(crate) fn failure_of(failure: c_int) -> Result<Failure> {
    match failure {
        SWRCACHE_FAIL_ERROR => Ok(Failure::Error),
        SWRCACHE_FAIL_TIMEOUT => Ok(Failure::Timeout),
        SWRCACHE_FAIL_INVALID => Ok(Failure::InvalidHeader),
        SWRCACHE_FAIL_ABORTED => Ok(Failure::Aborted),
        _ => Err(Error::new(SWRCACHE_EINVAL, "unknown failure")),
    }
}
