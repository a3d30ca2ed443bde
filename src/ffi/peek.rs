//! What a lookup would say.

use std::ffi::c_int;
use std::sync::Arc;

use super::cache::{Cache, Shared};
use super::lookup::{
    Decision, SWRCACHE_FETCH, SWRCACHE_GATEWAY_TIMEOUT, SWRCACHE_PASS, SWRCACHE_SERVE,
    SWRCACHE_WAIT, looked_up,
};
use super::policy::{Policy, Settings};
use super::reply::{self, For};
use super::request::{LookupRequest, Request};
use super::status::{status_word, word};
use crate::engine::Decision as EngineDecision;

/// Tells what `swrcache_lookup` would say, without its effects: nothing is claimed, counted, remembered or removed, and what is stored is
/// not kept for longer because of it.
///
/// With `SWRCACHE_SERVE` there is a reply, yours to free, as `swrcache_lookup` gives it; `decision->fetch` is NULL whatever the action.
/// `turn` is not looked at. `decision` is filled in whatever comes: after an error it says `SWRCACHE_PASS`.
///
/// Any number of threads at a time.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if the policy is being changed by
/// another thread; SWRCACHE_EREGION if the memory was found damaged.
///
/// # Safety
/// As `swrcache_lookup`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_peek(
    cache: *const Cache,
    policy: *const Policy,
    request: *const Request,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { looked_up(cache, policy, request, decision, peek) }
}

fn peek(
    cache: &Arc<Shared>,
    policy: &Arc<Settings>,
    asked: &mut LookupRequest<'_>,
    told: &mut Decision,
) {
    let (request, now) = (asked.request(true), cache.now());
    let (action, status, reason) = match cache.engine.peek(&request, &policy.rules, now) {
        EngineDecision::Serve(mut serve) => {
            serve.refresh = None;
            let (status, reason) = (serve.status, serve.reason);
            told.reply = reply::give(cache, policy, asked.method, serve, For::Nobody);
            (SWRCACHE_SERVE, Some(status), reason)
        }
        EngineDecision::Wait(wait) => (SWRCACHE_WAIT, None, wait.reason),
        EngineDecision::Fetch(life) => (SWRCACHE_FETCH, Some(life.status()), life.asked().reason()),
        EngineDecision::Pass(pass) => (SWRCACHE_PASS, pass.status, pass.reason.reason()),
        EngineDecision::GatewayTimeout(reason) => (SWRCACHE_GATEWAY_TIMEOUT, None, reason),
    };
    told.action = action;
    told.status = status_word(status);
    told.reason = word(reason);
}
