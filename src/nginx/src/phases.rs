//! What nginx calls for every request, in its phases.
//!
//! | phase | what happens there |
//! |---|---|
//! | the server's `rewrite`, first | the target is noted as it was sent; a fetch that nginx has led to another target ends |
//! | the location's `rewrite`, first | a fetch that nginx has led to a named location ends |
//! | both of these | a purge by method leaves the phase |
//! | before access, first | a request that is explained, and one that warms the cache, pass by access and limits |
//! | before the content, first | a purge by method is carried out |
//! | before the content, last | a request meets the cache: `mirror` and `try_files` have had their turn for every request, as they have before `proxy_cache`; a fetch takes over behind them |
//! | log | the response is counted |

use std::slice;

use nginx_sys::{
    NGX_DECLINED, NGX_ERROR, NGX_HTTP_CLOSE, NGX_OK, ngx_array_push, ngx_conf_t,
    ngx_http_core_access_phase, ngx_http_handler_pt, ngx_http_phases,
    ngx_http_phases_NGX_HTTP_LOG_PHASE, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
    ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE, ngx_http_request_t, ngx_int_t,
};

use crate::api::{explain, purge_method};
use crate::client::record::Client;
use crate::client::{arrival, entry};
use crate::config::location::LocConf;
use crate::fetch::carrier::Carrier;
use crate::fetch::own_request;
use crate::fetch::redirect::Detour;
use crate::sys::boundary::guard;
use crate::sys::conf;
use crate::sys::record::{self, Record};
use crate::sys::request::Req;

/// Puts the handlers into their phases. nginx runs those of a phase from the last of the list to the first
/// (ngx_http_init_phase_handlers).
pub(crate) fn install(cf: *mut ngx_conf_t) -> Option<()> {
    let server = add(cf, ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE)?;
    *server.last_mut()? = Some(server_rewrite);
    let location = add(cf, ngx_http_phases_NGX_HTTP_REWRITE_PHASE)?;
    *location.last_mut()? = Some(location_rewrite);
    let access = add(cf, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE)?;
    *access.last_mut()? = Some(preaccess);
    let content = add(cf, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE)?;
    *content.last_mut()? = Some(precontent);
    content.rotate_right(1);
    let content = add(cf, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE)?;
    *content.last_mut()? = Some(before_content);
    *add(cf, ngx_http_phases_NGX_HTTP_LOG_PHASE)?.last_mut()? = Some(log);
    Some(())
}

/// The handlers of a phase, with room for one more at their end.
fn add<'a>(cf: *mut ngx_conf_t, phase: ngx_http_phases) -> Option<&'a mut [ngx_http_handler_pt]> {
    let handlers = &mut conf::core_main(cf).phases.get_mut(phase as usize)?.handlers;
    // SAFETY: nginx fills the arrays of its phases with handlers, on its one thread; all-zero is no handler.
    unsafe {
        let place: *mut ngx_http_handler_pt = ngx_array_push(handlers).cast();
        *place.as_mut()? = None;
        Some(slice::from_raw_parts_mut(
            handlers.elts.cast(),
            handlers.nelts,
        ))
    }
}

/// Begins a request's rewriting in its server.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn server_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request's target", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if explain::is_for_nothing(r) {
            return NGX_OK as ngx_int_t;
        }
        arrival::note(r);
        purge_method::pass_by_rewriting(r);
        stop(r, Detour::Target).unwrap_or(declined)
    })
}

/// Begins it in its location.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn location_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request's location", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        purge_method::pass_by_rewriting(r);
        stop(r, Detour::Named).unwrap_or(declined)
    })
}

/// A request that has been led on: a fetch ends here.
fn stop(r: Req, detour: Detour) -> Option<ngx_int_t> {
    if !r.is_main() || r.raw().internal() == 0 {
        return None;
    }
    let record = Record::of(r)?;
    if let Some(client) = record.get::<Client>() {
        client.led_on();
        return None;
    }
    record.get::<Carrier>()?.led_elsewhere(detour);
    // A `post_action` of the place, whose turn nginx finds now or which has led here, is the client's (ngx_http_post_action).
    r.raw().set_post_action(1);
    r.raw().set_uri_changes(0);
    Some(NGX_ERROR as ngx_int_t)
}

/// Goes on behind the phases of access, limits and the like, for a request that is explained.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn preaccess(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("an explanation", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        let passes_by = explain::is_explained(r) || r.is_main() && own_request::is_one(r);
        if !passes_by {
            return declined;
        }
        let access = ngx_http_core_access_phase as *const () as usize;
        // SAFETY: nginx's list of steps, of which the request is at this one; `next` of each is the first of a later phase
        // (ngx_http_init_phase_handlers), and ours in the phase before the content stands behind all of these.
        unsafe {
            let steps = (*r.core_main()).phase_engine.handlers;
            let mut next = (*steps.add(r.raw().phase_handler as usize)).next;
            while (*steps.add(next)).checker.map(|f| f as usize) == Some(access) {
                next = (*steps.add(next)).next;
            }
            // nginx goes on at the step behind the one that declines.
            r.raw().phase_handler = next as ngx_int_t - 1;
        }
        declined
    })
}

/// A purge by method, before anything that leads a request elsewhere.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn before_content(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a purge", declined, || {
        // SAFETY: nginx passes a live request.
        purge_method::carry_out(unsafe { Req::new(r) }).unwrap_or(declined)
    })
}

/// Each request before its content handler.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn precontent(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        match at_the_cache(r) {
            // There is nobody to answer.
            None if r.is_main() && own_request::is_one(r) => NGX_HTTP_CLOSE as ngx_int_t,
            rc => rc.unwrap_or(declined),
        }
    })
}

fn at_the_cache(r: Req) -> Option<ngx_int_t> {
    if let Some(rc) = explain::at_the_cache(r) {
        return Some(rc);
    }
    let conf = LocConf::of(r);
    if !conf.is_on() || entry::is_apart(r) || Record::here(r).is_some() {
        return None;
    }
    entry::meet(r, conf)
}

/// A response is over.
///
/// # Safety
/// `r` is a request that is being logged.
unsafe extern "C" fn log(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("counting a response", NGX_OK as ngx_int_t, || {
        // SAFETY: nginx passes a request that still has its pool.
        let r = unsafe { Req::new(r) };
        #[cfg(feature = "counting-by-turns")]
        if !crate::worker::turns::counts() {
            return NGX_OK as ngx_int_t;
        }
        match record::of::<Client>(r) {
            Some(client) if r.is_main() => client.count(),
            _ => {}
        }
        NGX_OK as ngx_int_t
    })
}
