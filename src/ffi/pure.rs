//! The rules alone, for servers that keep responses themselves: no cache, no clock, no state.

use std::ffi::{c_char, c_int};
use std::mem::offset_of;

use super::error::{Error, Result, SWRCACHE_EINVAL};
use super::handle::{Handle, call};
use super::policy::Policy;
use super::request::{Key, LookupRequest, Request};
use super::response::{CheckedResponse, Response};
use super::status::word;
use super::types::{self, Sized_, bytes, put};
use crate::engine::{Assessed, Method, Phase, Windows, assess};
use crate::http::conditional::{IfRange, Role, Selected, evaluate, if_range};
use crate::http::range::{self, RangeVerdict};
use crate::http::{Precondition, date};

/// Younger than its lifetime: serve it.
pub const SWRCACHE_PHASE_FRESH: c_int = 0;
/// Stale inside stale-while-revalidate: serve it, and refresh it where no client waits.
pub const SWRCACHE_PHASE_SWR: c_int = 1;
/// Stale inside stale-if-error: ask the origin, and serve it if that fails.
pub const SWRCACHE_PHASE_SIE: c_int = 2;
/// Too old to be served without the origin's word.
pub const SWRCACHE_PHASE_TOO_OLD: c_int = 3;

/// Send the whole response.
pub const SWRCACHE_ANSWER_FULL: c_int = 200;
/// Send the ranges that were told.
pub const SWRCACHE_ANSWER_PARTIAL: c_int = 206;
/// Send 304.
pub const SWRCACHE_ANSWER_NOT_MODIFIED: c_int = 304;
/// Send 412.
pub const SWRCACHE_ANSWER_PRECONDITION_FAILED: c_int = 412;
/// Send 416.
pub const SWRCACHE_ANSWER_UNSATISFIABLE: c_int = 416;

/// What a response is good for. Set `struct_size`; the rest is filled in. Times are Unix times in milliseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// `sizeof(swrcache_verdict)`, set by you.
    pub struct_size: usize,
    /// 1 if it may be stored, 0 if not. The times are 0 if not.
    pub storable: c_int,
    /// 1 if every use has to be validated, however stale it is (`must-revalidate` and its kin).
    pub binds: c_int,
    /// Why not; "" if it may. Static, never NULL.
    pub reason: *const c_char,
    /// Fresh until then.
    pub fresh_until: u64,
    /// stale-while-revalidate until then; 0 is no window.
    pub swr_until: u64,
    /// stale-if-error until then; 0 is no window.
    pub sie_until: u64,
    /// How old it was when it came, in milliseconds.
    pub initial_age: u64,
    /// How long it is fresh from its making, in milliseconds.
    pub lifetime: u64,
}

// SAFETY: repr(C), its size first; integers and a pointer.
unsafe impl Sized_ for Verdict {
    const LEAST: usize = offset_of!(Verdict, initial_age);
}

/// The validators of a response that a server keeps itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Validators {
    /// `sizeof(swrcache_validators)`.
    pub struct_size: usize,
    /// Its status.
    pub status: c_int,
    /// Must be 0.
    pub flags: u32,
    /// Its `ETag` with quotes and all, ending with NUL; NULL if it has none.
    pub etag: *const c_char,
    /// Its `Last-Modified` as it stands in the field, ending with NUL; NULL if it has none.
    pub last_modified: *const c_char,
    /// Its `Date`, Unix time in milliseconds.
    pub date: u64,
    /// Bytes of its body.
    pub length: u64,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Validators {
    const LEAST: usize = offset_of!(Validators, date);
}

/// A range of bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Offset of the first byte.
    pub first: u64,
    /// How many bytes.
    pub length: u64,
}

/// Judges a response to a request: whether it may be stored in a shared cache, and how long it is good for what
/// (RFC 9111, RFC 5861, RFC 9213).
///
/// `now` is when the response came (Unix time in milliseconds); `response->request_time` 0 is the same time. Pure: any thread,
/// no cache.
///
/// Returns 0, also if it may not be stored; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments (`*verdict` is then as it was).
///
/// # Safety
/// `policy` is NULL or live; the structs are NULL or have `struct_size` readable (writable) bytes, and what they point to is
/// readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_judge(
    policy: *const Policy,
    request: *const Request,
    response: *const Response,
    now: u64,
    verdict: *mut Verdict,
) -> c_int {
    call(|| {
        let mut room = Key::new();
        // SAFETY: the caller's promise, here and below.
        let asked = unsafe { LookupRequest::read(request, &mut room) }?;
        // SAFETY: see above.
        let answered = unsafe { CheckedResponse::read(response) }?;
        // SAFETY: see above.
        let assessed = unsafe {
            Handle::with_ref(policy, |policy| {
                let request = asked.request(false);
                Ok(assess(
                    &request,
                    (answered.status, &answered.judge),
                    &policy.0.rules,
                    (answered.sent(now), now),
                ))
            })
        }?;
        // SAFETY: see above.
        unsafe { types::write(verdict, told(assessed)) }
    })
}

fn told(assessed: Assessed) -> Verdict {
    let none = Verdict {
        struct_size: 0,
        storable: 0,
        binds: 0,
        reason: c"".as_ptr(),
        fresh_until: 0,
        swr_until: 0,
        sie_until: 0,
        initial_age: 0,
        lifetime: 0,
    };
    match assessed {
        Assessed::Refused(reason) => Verdict {
            reason: word(reason),
            ..none
        },
        Assessed::Storable(terms) => Verdict {
            storable: 1,
            binds: types::flag(terms.binds),
            fresh_until: terms.windows.fresh_until,
            swr_until: terms.windows.swr_until,
            sie_until: terms.windows.sie_until,
            initial_age: terms.initial_age,
            lifetime: terms.lifetime,
            ..none
        },
    }
}

/// Tells in which phase of its life a response is at `now`: `SWRCACHE_PHASE_FRESH` and the like.
///
/// Pure; any thread. Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments, with `*phase` as it was.
///
/// # Safety
/// `verdict` is NULL or has `struct_size` readable bytes; `phase` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_phase(
    verdict: *const Verdict,
    now: u64,
    phase: *mut c_int,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let verdict = unsafe { types::read(verdict) }?;
        let windows = match verdict.storable {
            0 => Windows::NONE,
            _ => Windows {
                fresh_until: verdict.fresh_until,
                swr_until: verdict.swr_until,
                sie_until: verdict.sie_until,
            },
        };
        let found = match windows.phase(now) {
            Phase::Fresh => SWRCACHE_PHASE_FRESH,
            Phase::Swr => SWRCACHE_PHASE_SWR,
            Phase::Sie => SWRCACHE_PHASE_SIE,
            Phase::TooOld => SWRCACHE_PHASE_TOO_OLD,
        };
        // SAFETY: the caller's promise.
        unsafe { put(phase, found) }
    })
}

/// A C string that may be NULL.
///
/// # Safety
/// NULL or NUL-terminated.
unsafe fn optional<'a>(at: *const c_char) -> Result<Option<&'a [u8]>> {
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: NUL-terminated, says the caller.
    unsafe { bytes(at, types::SWRCACHE_NUL) }.map(Some)
}

/// Evaluates a client's conditionals and ranges against a response (RFC 9110 sections 13 and 14).
///
/// `*answer` is one of `SWRCACHE_ANSWER_FULL` and the like. With `SWRCACHE_ANSWER_PARTIAL`, `*count` is how many ranges there
/// are, of which at most `capacity` were written to `ranges` (which may be NULL if `capacity` is 0); otherwise it is 0. Pure; any
/// thread.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ERANGE if there are more than `capacity` ranges.
///
/// # Safety
/// The structs are NULL or have `struct_size` readable bytes, and what they point to is readable; `ranges` has room for `capacity`
/// elements; `answer` and `count` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_conditional(
    request: *const Request,
    validators: *const Validators,
    answer: *mut c_int,
    ranges: *mut Range,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise, here and below.
        unsafe {
            put(answer, 0)?;
            put(count, 0)?;
        }
        let mut room = Key::new();
        // SAFETY: see above.
        let (asked, given) = unsafe {
            (
                LookupRequest::read(request, &mut room)?,
                types::read(validators)?,
            )
        };
        // SAFETY: see above.
        let (etag, modified) = unsafe { (optional(given.etag)?, optional(given.last_modified)?) };
        if given.flags != 0 || ranges.is_null() && capacity > 0 {
            return Err(Error::new(
                SWRCACHE_EINVAL,
                "unknown flags, or no room for ranges",
            ));
        }
        let selected = Selected {
            status: super::response::status_of(given.status)?,
            etag,
            last_modified: modified.and_then(date::parse),
            date: given.date,
            synthesised: false,
        };
        let (told, parts) = evaluated(&asked, &selected, given.length);
        // SAFETY: see above.
        unsafe {
            put(answer, told)?;
            put(count, parts.len())?;
        }
        for (nth, part) in parts.iter().take(capacity).enumerate() {
            // SAFETY: room for `capacity` elements, says the caller.
            unsafe { ranges.add(nth).write(*part) };
        }
        match parts.len() > capacity {
            true => Err(super::error::SWRCACHE_ERANGE.into()),
            false => Ok(()),
        }
    })
}

fn evaluated(
    asked: &LookupRequest<'_>,
    selected: &Selected<'_>,
    length: u64,
) -> (c_int, Vec<Range>) {
    let (method, reads) = match asked.method {
        Method::Get => (http::Method::GET, true),
        Method::Head => (http::Method::HEAD, false),
        Method::Post | Method::Other => (http::Method::POST, false),
    };
    match evaluate(&method, &asked.lines, selected, Role::Origin) {
        Precondition::NotModified => return (SWRCACHE_ANSWER_NOT_MODIFIED, Vec::new()),
        Precondition::Failed => return (SWRCACHE_ANSWER_PRECONDITION_FAILED, Vec::new()),
        Precondition::Proceed => {}
    }
    if !reads || selected.status != 200 || if_range(&asked.lines, selected) == IfRange::Fails {
        return (SWRCACHE_ANSWER_FULL, Vec::new());
    }
    match range::evaluate(&asked.lines, length) {
        RangeVerdict::Ignore => (SWRCACHE_ANSWER_FULL, Vec::new()),
        RangeVerdict::Unsatisfiable => (SWRCACHE_ANSWER_UNSATISFIABLE, Vec::new()),
        RangeVerdict::Satisfiable(found) => {
            let part = |r: &crate::http::ByteRange| Range {
                first: r.first,
                length: r.size(),
            };
            (SWRCACHE_ANSWER_PARTIAL, found.iter().map(part).collect())
        }
    }
}
