//! A request becomes a decision.

use std::ffi::{c_char, c_int};
use std::mem::offset_of;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::cache::{Cache, Shared};
use super::count::Count;
use super::error::{Error, SWRCACHE_EINVAL};
use super::fetch::{Fetch, FetchValue};
use super::handle::{Handle, call};
use super::policy::{Policy, Settings};
use super::reply::{self, For, Reply};
use super::request::{Key, LookupRequest, Request};
use super::statistics::{self, ClientAnswer};
use super::status::{SWRCACHE_STATUS_NONE, status_word, word};
use super::types::{self, Sized_, put_text, text};
use crate::engine::{self, Decision as EngineDecision, Part, Passed, Turn};

/// Pass: send the request to the origin yourself, and its response to the client. The cache takes no part.
pub const SWRCACHE_PASS: c_int = 0;
/// Serve: answer with `reply`. If there is a `fetch` too, carry it out beside, in the background.
pub const SWRCACHE_SERVE: c_int = 1;
/// Wait: another request fetches this. Look up again with `SWRCACHE_WAITED` when a `swrcache_watch` becomes readable, or with
/// `SWRCACHE_TIMED_OUT` at `until`. Keep the first `until` of several.
pub const SWRCACHE_WAIT: c_int = 2;
/// Fetch: carry out `fetch`; the client waits for what comes of it.
pub const SWRCACHE_FETCH: c_int = 3;
/// Answer 504: the client wanted only what is cached.
pub const SWRCACHE_GATEWAY_TIMEOUT: c_int = 4;

/// What to do with a request. Set `struct_size`; the rest is filled in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// `sizeof(swrcache_decision)`, set by you.
    pub struct_size: usize,
    /// What to do: `SWRCACHE_PASS`, `_SERVE`, `_WAIT`, `_FETCH` or `_GATEWAY_TIMEOUT` (an `enum swrcache_action`).
    pub action: c_int,
    /// For a status header or the log: `SWRCACHE_STATUS_HIT` and the like (an `enum swrcache_cache_status`). With `SWRCACHE_FETCH` what it
    /// is if the fetch brings something new; the reply's head says what it has become.
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
unsafe impl Sized_ for Decision {
    const LEAST: usize = offset_of!(Decision, until);
}

impl Decision {
    #[inline]
    fn pass(reason: *const c_char) -> Decision {
        Decision {
            struct_size: 0,
            action: SWRCACHE_PASS,
            status: SWRCACHE_STATUS_NONE,
            reason,
            reply: ptr::null_mut(),
            fetch: ptr::null_mut(),
            until: 0,
            ticket: 0,
        }
    }
}

/// Decides what to do with a request. Never waits.
///
/// `decision` is filled in whatever comes: after an error it says `SWRCACHE_PASS`, so that a server may ignore errors and still
/// serve. Any number of threads at a time. About 300 ns for a hit.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if the policy is being changed by another
/// thread; SWRCACHE_EREGION if the memory was found damaged: close the cache and open it anew.
///
/// # Safety
/// `cache` and `policy` are NULL or live; `request` is NULL or has `struct_size` readable bytes, and what it points to is
/// readable; `decision` is NULL or has `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_lookup(
    cache: *mut Cache,
    policy: *const Policy,
    request: *const Request,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { looked_up(cache, policy, request, decision, decide) }
}

/// As `swrcache_lookup`, but where that says `SWRCACHE_WAIT`, this waits (in this thread) and never says so.
///
/// Any number of threads at a time. Returns as `swrcache_lookup`, for a NULL too.
///
/// # Safety
/// As `swrcache_lookup`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_lookup_wait(
    cache: *mut Cache,
    policy: *const Policy,
    request: *const Request,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { looked_up(cache, policy, request, decision, decide_waiting) }
}

/// # Safety
/// As `swrcache_lookup`.
#[inline]
pub(crate) unsafe fn looked_up(
    cache: *const Cache,
    policy: *const Policy,
    request: *const Request,
    decision: *mut Decision,
    decide: impl FnOnce(&Arc<Shared>, &Arc<Settings>, &mut LookupRequest<'_>, &mut Decision),
) -> c_int {
    call(|| {
        let look = |decision: &mut Decision| {
            let mut room = Key::new();
            // SAFETY: the caller's promise.
            let mut asked = unsafe { LookupRequest::read(request, &mut room) }?;
            // SAFETY: NULL or live handles, says the caller.
            unsafe {
                Handle::with_ref(cache, |cache| {
                    Handle::with_ref(policy, |policy| {
                        decide(&cache.0, &policy.0, &mut asked, decision);
                        match decision.action {
                            SWRCACHE_PASS => cache.0.must_be_sound(),
                            _ => Ok(()),
                        }
                    })
                })
            }
        };
        // SAFETY: NULL or writable.
        unsafe { types::fill(decision, Decision::pass(c"error".as_ptr()), look) }
    })
}

/// Decides, and fills in `told`, in which a pass stands.
#[inline]
fn decide(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &mut LookupRequest<'_>,
    told: &mut Decision,
) {
    told.ticket = cache.wake.ticket();
    let may_refresh = cache.refreshing.load(Relaxed) < policy.rules.refresh_max;
    let request = asked.request(may_refresh);
    let now = cache.now();
    let mut verdict = cache
        .engine
        .decide(&request, &policy.rules, asked.turn, now);
    match &mut verdict {
        EngineDecision::Serve(serve) => {
            // SAFETY: this is the last use of the verdict: it is forgotten, and nothing in between can panic.
            unsafe { served(cache, policy, asked, serve, told) };
            mem::forget(verdict);
        }
        _ => not_served(cache, policy, asked, verdict, told),
    }
}

fn decide_waiting(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &mut LookupRequest<'_>,
    told: &mut Decision,
) {
    let mut until = u64::MAX;
    loop {
        decide(cache, policy, asked, told);
        if told.action != SWRCACHE_WAIT {
            return;
        }
        until = until.min(told.until);
        let woken = cache.wait(told.ticket, cache.instant(until));
        asked.turn = match woken && cache.now() < until {
            true => Turn::Waited,
            false => Turn::TimedOut,
        };
        (told.action, told.until) = (SWRCACHE_PASS, 0);
    }
}

/// An answer from the store. It is not taken by value: moves are a large part of what a hit costs.
///
/// # Safety
/// `serve` is neither used nor dropped afterwards.
#[inline]
unsafe fn served(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &LookupRequest<'_>,
    serve: &mut engine::Serve,
    told: &mut Decision,
) {
    statistics::count(
        cache,
        &ClientAnswer {
            status: serve.status,
            reason: serve.reason,
            led: None,
            ttl: Some(serve.ttl),
            coding: serve.object.coding(),
        },
    );
    told.action = SWRCACHE_SERVE;
    told.status = status_word(Some(serve.status));
    told.reason = word(serve.reason);
    if let Some(life) = serve.refresh.take() {
        told.fetch = fetch(cache, policy, *life, asked);
    }
    // SAFETY: the caller's promise.
    told.reply = unsafe { reply::give_from(cache, policy, asked.method, serve, For::Client) };
}

/// The other verdicts.
#[cold]
fn not_served(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &LookupRequest<'_>,
    verdict: EngineDecision,
    told: &mut Decision,
) {
    let (action, reason) = match verdict {
        EngineDecision::Serve(serve) => {
            // SAFETY: not used again, and not dropped.
            return unsafe { served(cache, policy, asked, &mut ManuallyDrop::new(serve), told) };
        }
        EngineDecision::Wait(wait) => {
            cache.counters.add(Count::Wait, 1);
            cache.look_for_dead();
            cache.awaited();
            told.until = wait.until;
            (SWRCACHE_WAIT, wait.reason)
        }
        EngineDecision::Fetch(life) => {
            let reason = life.asked();
            told.status = status_word(Some(life.status()));
            told.until = life.patience().unwrap_or(0);
            told.fetch = fetch(cache, policy, *life, asked);
            (SWRCACHE_FETCH, reason.reason())
        }
        EngineDecision::Pass(pass) => {
            if let Some(status) = pass.status {
                statistics::count(
                    cache,
                    &ClientAnswer {
                        status,
                        reason: pass.reason.into(),
                        led: None,
                        ttl: None,
                        coding: None,
                    },
                );
            }
            told.status = status_word(pass.status);
            (SWRCACHE_PASS, pass.reason.reason())
        }
        EngineDecision::GatewayTimeout(reason) => (SWRCACHE_GATEWAY_TIMEOUT, reason),
    };
    told.action = action;
    told.reason = word(reason);
}

#[cold]
fn fetch(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    life: engine::Fetch,
    asked: &LookupRequest<'_>,
) -> *mut Fetch {
    Handle::give(FetchValue::new(cache, policy, life, asked.client()))
}

/// The member for `Cache-Status` (RFC 9211) of a request that passed, to be appended to the origin's response.
///
/// `decision` is what a lookup with `SWRCACHE_PASS` gave; `status` is the origin's, or 0. Copies at most `size` bytes with their
/// NUL to `buffer`; `needed`, if not NULL, gets the size that is needed. Replies carry theirs already.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_EINVAL, also for a decision
/// that is no pass.
///
/// # Safety
/// `policy` is NULL or live; `decision` is NULL or has `struct_size` readable bytes; `buffer` has `size` writable bytes;
/// `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_pass_status(
    policy: *const Policy,
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
            return Err(Error::new(
                SWRCACHE_EINVAL,
                "the decision is not SWRCACHE_PASS",
            ));
        }
        // SAFETY: a static string of ours, or what the caller made of it, which ends with NUL.
        let said = unsafe { text(decision.reason) }?;
        let reason = Passed::ALL.iter().find(|reason| reason.as_str() == said);
        let part = Part::Passed {
            reason: *reason.unwrap_or(&Passed::Busy),
            fwd_status: u16::try_from(status).ok().filter(|status| *status > 0),
        };
        // SAFETY: NULL or live.
        let name = unsafe { Handle::with_ref(policy, |policy| Ok(policy.0.name())) }?;
        // SAFETY: the caller's promise.
        unsafe { put_text(engine::cache_status(&name, &part), buffer, size, needed) }
    })
}
