//! A request becomes a decision.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::cache::{Cache, Shared};
use super::count::Count;
use super::error::{Error, Result, SWRCACHE_EINVAL};
use super::fetch::{Fetch, FetchValue};
use super::handle::{Handle, call};
use super::policy::{Policy, Settings};
use super::reply::{Reply, ReplyValue};
use super::types::{self, Field, Lines, Owned, Sized_, bytes, put_text, text};
use crate::engine::{self, Decision as Verdict, Method, Part, Reason, Status, Turn};

/// `swrcache_request.flags`: don't use what is stored.
pub const SWRCACHE_BYPASS: u32 = 1;
/// `swrcache_request.flags`: don't store the response.
pub const SWRCACHE_NO_CACHE: u32 = 2;
/// `swrcache_request.flags`: the server has no room for a background fetch now.
pub const SWRCACHE_NO_REFRESH: u32 = 4;

/// `swrcache_request.turn`: the request asks for the first time.
pub const SWRCACHE_FIRST: c_int = 0;
/// `swrcache_request.turn`: it was told to wait, and something has moved.
pub const SWRCACHE_WAITED: c_int = 1;
/// `swrcache_request.turn`: it was told to wait, and the time is over.
pub const SWRCACHE_TIMED_OUT: c_int = 2;

/// Pass: send the request to the origin yourself, and its response to the client. The cache takes no part.
pub const SWRCACHE_PASS: c_int = 0;
/// Serve: answer with `reply`. If there is a `fetch` too, carry it out beside, in the background.
pub const SWRCACHE_SERVE: c_int = 1;
/// Wait: another request fetches this. Look up again with `SWRCACHE_WAITED` when the event descriptor rings, or with
/// `SWRCACHE_TIMED_OUT` at `until`. Keep the first `until` of several.
pub const SWRCACHE_WAIT: c_int = 2;
/// Fetch: carry out `fetch`; the client waits for what comes of it.
pub const SWRCACHE_FETCH: c_int = 3;
/// Answer 504: the client wanted only what is cached.
pub const SWRCACHE_GATEWAY_TIMEOUT: c_int = 4;

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

/// A request. Zero it, set `struct_size` and what there is. The library keeps none of your pointers after the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// `sizeof(swrcache_request)`.
    pub struct_size: usize,
    /// The method, ending with NUL, such as "GET".
    pub method: *const c_char,
    /// The key under which responses are stored: any bytes that tell resources apart, such as the URL.
    pub key: *const c_char,
    /// Bytes of the key, or `SWRCACHE_NUL`.
    pub key_len: usize,
    /// The request's header fields, in order.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// `SWRCACHE_BYPASS` and the like, or 0.
    pub flags: u32,
    /// `SWRCACHE_FIRST` and the like.
    pub turn: c_int,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Request {}

/// What to do with a request. Set `struct_size`; the rest is filled in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// `sizeof(swrcache_decision)`, set by you.
    pub struct_size: usize,
    /// What to do: `SWRCACHE_PASS`, `_SERVE`, `_WAIT`, `_FETCH` or `_GATEWAY_TIMEOUT`.
    pub action: c_int,
    /// For a status header or the log: `SWRCACHE_STATUS_HIT` and the like.
    pub status: c_int,
    /// Why, one of a fixed set of words; static, never NULL.
    pub reason: *const c_char,
    /// `SWRCACHE_SERVE`: the answer, yours to free with `swrcache_reply_free`. NULL otherwise.
    pub reply: *mut Reply,
    /// `SWRCACHE_FETCH`: the fetch to carry out; `SWRCACHE_SERVE`: a refresh to carry out in the background, or NULL. Yours to
    /// free with `swrcache_fetch_free` (which gives it up if it is not over). NULL otherwise.
    pub fetch: *mut Fetch,
    /// `SWRCACHE_WAIT`: when to stop waiting. `SWRCACHE_FETCH`: when the client should get `swrcache_fetch_stale` instead of
    /// waiting on, while the fetch goes on; 0 is never. Unix time in milliseconds.
    pub until: u64,
    /// For `swrcache_wait`.
    pub ticket: u64,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Decision {}

impl Decision {
    fn pass(reason: &'static CStr) -> Decision {
        Decision {
            struct_size: 0,
            action: SWRCACHE_PASS,
            status: SWRCACHE_STATUS_NONE,
            reason: reason.as_ptr(),
            reply: ptr::null_mut(),
            fetch: ptr::null_mut(),
            until: 0,
            ticket: 0,
        }
    }
}

/// A request of the caller's, checked.
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a [u8],
    pub(crate) lines: Lines<'a>,
    flags: u32,
    turn: Turn,
}

impl<'a> Asked<'a> {
    /// # Safety
    /// As `swrcache_lookup`.
    pub(crate) unsafe fn read(request: *const Request) -> Result<Asked<'a>> {
        // SAFETY: the caller's promise, here and below.
        let request = unsafe { types::read(request) }?;
        // SAFETY: see above.
        let (method, key) =
            unsafe { (text(request.method)?, bytes(request.key, request.key_len)?) };
        // SAFETY: see above.
        let lines = unsafe { Lines::new(request.fields, request.field_count) }?;
        Ok(Asked {
            method: method_of(method),
            key,
            lines,
            flags: request.flags,
            turn: match request.turn {
                SWRCACHE_FIRST => Turn::First,
                SWRCACHE_WAITED => Turn::Waited,
                SWRCACHE_TIMED_OUT => Turn::TimedOut,
                _ => return Err(Error::new(SWRCACHE_EINVAL, "unknown turn")),
            },
        })
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// As the engine sees it.
    pub(crate) fn request(&self, may_refresh: bool) -> engine::Request<'_> {
        engine::Request {
            method: self.method,
            key: self.key,
            fields: &self.lines,
            bypass: self.has(SWRCACHE_BYPASS),
            no_cache: self.has(SWRCACHE_NO_CACHE),
            may_refresh: may_refresh && !self.has(SWRCACHE_NO_REFRESH),
        }
    }

    fn client(&self) -> Client {
        Client {
            method: self.method,
            key: self.key.into(),
            fields: self.lines.to_owned(),
        }
    }
}

/// A copy of the request that led to a fetch.
pub(crate) struct Client {
    pub(crate) method: Method,
    pub(crate) key: Box<[u8]>,
    pub(crate) fields: Owned,
}

impl Client {
    pub(crate) fn request(&self) -> engine::Request<'_> {
        engine::Request {
            method: self.method,
            key: &self.key,
            fields: &self.fields,
            bypass: false,
            no_cache: false,
            may_refresh: false,
        }
    }
}

fn method_of(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    }
}

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

/// Decides what to do with a request. Never waits.
///
/// `decision` is filled in whatever comes: after an error it says `SWRCACHE_PASS`, so that a server may ignore errors and still
/// serve. Any number of threads at a time. About 300 ns for a hit.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for bad arguments; SWRCACHE_EBUSY if the policy is being changed by another
/// thread.
///
/// # Safety
/// `cache` and `policy` are NULL or live; `request` is NULL or has `struct_size` readable bytes, and what it points to is
/// readable; `decision` is NULL or has `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_lookup(
    cache: *mut Cache,
    policy: *mut Policy,
    request: *const Request,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { looked_up(cache, policy, request, decision, decide) }
}

/// As `swrcache_lookup`, but where that says `SWRCACHE_WAIT`, this waits (in this thread) and never says so.
///
/// Returns as `swrcache_lookup`.
///
/// # Safety
/// As `swrcache_lookup`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_lookup_wait(
    cache: *mut Cache,
    policy: *mut Policy,
    request: *const Request,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { looked_up(cache, policy, request, decision, decide_waiting) }
}

type Decide = fn(&Arc<Shared>, &Arc<Settings>, Asked<'_>) -> Decision;

/// # Safety
/// As `swrcache_lookup`.
unsafe fn looked_up(
    cache: *mut Cache,
    policy: *mut Policy,
    request: *const Request,
    decision: *mut Decision,
    decide: Decide,
) -> c_int {
    // SAFETY: NULL or writable; what stays there if anything fails.
    let code = call(|| unsafe { types::write(decision, Decision::pass(c"error")) });
    if code != super::error::SWRCACHE_OK {
        return code;
    }
    call(|| {
        // SAFETY: the caller's promise.
        let asked = unsafe { Asked::read(request) }?;
        // SAFETY: NULL or live handles, says the caller.
        let decided = unsafe {
            Handle::with_ref(cache, |cache| {
                Handle::with_ref(policy, |policy| Ok(decide(&cache.0, &policy.0, asked)))
            })
        }?;
        // SAFETY: checked above.
        unsafe { types::write(decision, decided) }
    })
}

#[inline]
fn decide(cache: &Arc<Shared>, policy: &Arc<Settings>, asked: Asked<'_>) -> Decision {
    let ticket = cache.wake.ticket();
    let may_refresh = cache.refreshing.load(Relaxed) < policy.refresh_max;
    let request = asked.request(may_refresh);
    let now = cache.now();
    let verdict = cache
        .engine
        .decide(&request, &policy.rules, asked.turn, now);
    Decision {
        ticket,
        ..carried(cache, policy, &asked, verdict)
    }
}

fn decide_waiting(cache: &Arc<Shared>, policy: &Arc<Settings>, mut asked: Asked<'_>) -> Decision {
    let mut until = u64::MAX;
    loop {
        let decision = decide(cache, policy, Asked { ..asked });
        if decision.action != SWRCACHE_WAIT {
            return decision;
        }
        until = until.min(decision.until);
        let rung = cache.wake.wait(decision.ticket, cache.instant(until));
        asked.turn = match rung && cache.now() < until {
            true => Turn::Waited,
            false => Turn::TimedOut,
        };
    }
}

/// The verdict in C's words.
#[inline]
fn carried(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &Asked<'_>,
    verdict: Verdict,
) -> Decision {
    let base = |action, reason: Reason| Decision {
        action,
        ..Decision::pass(word(reason))
    };
    match verdict {
        Verdict::Serve(mut serve) => {
            cache.counters.status(serve.status);
            let fetch = serve.refresh.take().map_or(ptr::null_mut(), |permit| {
                let fetch = FetchValue::new(cache, policy, permit, serve.reason, asked.client());
                Handle::give(fetch)
            });
            Decision {
                status: status_word(Some(serve.status)),
                fetch,
                ..served(
                    base(SWRCACHE_SERVE, serve.reason),
                    cache,
                    policy,
                    asked,
                    serve,
                )
            }
        }
        Verdict::Wait(wait) => {
            cache.counters.add(Count::Wait, 1);
            Decision {
                until: wait.until,
                ..base(SWRCACHE_WAIT, wait.reason)
            }
        }
        Verdict::Fetch(fetch) => {
            let until = fetch.patience.unwrap_or(0);
            let value = FetchValue::new(cache, policy, fetch.permit, fetch.reason, asked.client());
            Decision {
                status: SWRCACHE_STATUS_MISS,
                fetch: Handle::give(value),
                until,
                ..base(SWRCACHE_FETCH, fetch.reason)
            }
        }
        Verdict::Pass(pass) => {
            if let Some(status) = pass.status {
                cache.counters.status(status);
            }
            Decision {
                status: status_word(pass.status),
                ..base(SWRCACHE_PASS, pass.reason)
            }
        }
        Verdict::GatewayTimeout(reason) => base(SWRCACHE_GATEWAY_TIMEOUT, reason),
    }
}

#[inline]
fn served(
    decision: Decision,
    cache: &Arc<Shared>,
    policy: &Settings,
    asked: &Asked<'_>,
    serve: engine::Serve,
) -> Decision {
    let reply = ReplyValue::new(cache, policy, asked.method, serve, None);
    Decision {
        reply: Handle::give(reply),
        ..decision
    }
}

/// A reason as a C string.
pub(crate) fn word(reason: Reason) -> &'static CStr {
    let bytes: &'static [u8] = reason.as_cstr_bytes();
    CStr::from_bytes_with_nul(bytes).unwrap_or(c"")
}

/// The member for `Cache-Status` (RFC 9211) of a request that passed, to be appended to the origin's response.
///
/// `decision` is what a lookup with `SWRCACHE_PASS` gave; `status` is the origin's, or 0. Copies at most `size` bytes with their
/// NUL to `buffer`; `needed`, if not NULL, gets the size that is needed. Replies carry theirs already.
///
/// Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_EINVAL, also for a decision
/// that is no pass.
///
/// # Safety
/// `policy` is NULL or live; `decision` is NULL or has `struct_size` readable bytes; `buffer` has `size` writable bytes;
/// `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_pass_status(
    policy: *mut Policy,
    decision: *const Decision,
    status: c_int,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let decision = unsafe { types::read(decision) }?;
        if decision.action != SWRCACHE_PASS {
            return Err(Error::new(SWRCACHE_EINVAL, "the decision is no pass"));
        }
        // SAFETY: a static string of ours, or what the caller made of it, which ends with NUL.
        let said = unsafe { text(decision.reason) }?;
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == said);
        let pass = engine::Pass {
            status: None,
            reason: *reason.unwrap_or(&Reason::Busy),
        };
        let part = Part::Passed {
            pass: &pass,
            fwd_status: u16::try_from(status).ok().filter(|status| *status > 0),
        };
        // SAFETY: NULL or live.
        let name = unsafe { Handle::with_ref(policy, |policy| Ok(policy.0.name())) }?;
        // SAFETY: the caller's promise.
        unsafe { put_text(&engine::cache_status(&name, &part), buffer, size, needed) }
    })
}
