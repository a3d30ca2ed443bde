//! Redirects inside nginx: an index, `X-Accel-Redirect`, `error_page`. No fetch follows one.
//!
//! The place that a request is led to has settings of its own, for the cache too, and filters that see the client's request. So
//! a fetch that nginx leads elsewhere ends there, and the client's own request makes the redirect. It then meets the cache
//! again where that leads.
//!
//! A fetch starts behind the rewrite phases. One that comes to them has been redirected: by its target, to the first of the
//! server (ngx_http_internal_redirect), or to that of a named location (ngx_http_named_location). `error_page` is never looked
//! up for a fetch ([`crate::fetch::connection`]): its response is then nginx's own page, and `err_status` says for what.

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_ERROR, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_OK,
    ngx_http_internal_redirect, ngx_http_named_location, ngx_http_request_t, ngx_int_t, ngx_str_t,
};

use crate::api::explain;
use crate::client::arrival;
use crate::client::deliver::{complete_location, copy_field, host_fields};
use crate::fetch::connection;
use crate::fetch::origin_response::is_own_redirect;
use crate::sys::boundary::guard;
use crate::sys::header_list::List;
use crate::sys::pool::{bytes_of, str_of};
use crate::sys::record::{Ctx, Role};
use crate::sys::request::Req;

/// How a client's request goes on after a fetch that brought no response of its own. What it needs lies in its pool.
pub(crate) enum Onward {
    /// nginx ends it with this status: a page of its own, or what `error_page` says.
    Error(ngx_int_t),
    Target {
        uri: ngx_str_t,
        args: ngx_str_t,
        /// It asks by GET from here on, unless by HEAD.
        by_get: bool,
    },
    Named(ngx_str_t),
}

/// Where nginx has led a fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Led {
    /// Nowhere: the response is nginx's own, in place of one with this status.
    Error(ngx_int_t),
    /// To another target.
    Target,
    /// To a named location.
    Named,
}

/// The first step of the phase of the server's `rewrite`, of every request.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn server_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request's target", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if explain::is_for_nothing(r) {
            return NGX_OK as ngx_int_t;
        }
        arrival::note(r);
        stop(r, Led::Target).unwrap_or(declined)
    })
}

/// The first step of the phase of a location's `rewrite`, of every request.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn location_rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request's location", declined, || {
        // SAFETY: nginx passes a live request.
        stop(unsafe { Req::new(r) }, Led::Named).unwrap_or(declined)
    })
}

/// A request that has been led on: a fetch ends here.
fn stop(r: Req, led: Led) -> Option<ngx_int_t> {
    if !r.is_main() || r.raw().internal() == 0 {
        return None;
    }
    match &mut Ctx::of(r)?.role {
        Role::Client(client) => {
            client.led_on();
            return None;
        }
        Role::Fetch(fetch) => fetch.led_elsewhere(led),
        Role::Explain(_) | Role::Purge(_) => return None,
    }
    // A `post_action` of the place, whose turn nginx finds now or which has led here, is the client's (ngx_http_post_action).
    r.raw().set_post_action(1);
    r.raw().set_uri_changes(0);
    Some(NGX_ERROR as ngx_int_t)
}

/// Makes of what `fetch` has come to what `client` goes on with, and gives the client the header fields that nginx has kept for
/// it: those of the refusal, or those that outlive `X-Accel-Redirect` (ngx_http_upstream_process_headers).
pub(crate) fn hand_over(fetch: Req, client: Req, led: Led) -> Option<Onward> {
    let pool = client.pool();
    copy_header(fetch, client, led)?;
    connection::give_back_variables(fetch, client)?;
    Some(match led {
        Led::Error(status) => Onward::Error(status),
        Led::Target => Onward::Target {
            uri: pool.copy_str(fetch.raw().uri)?,
            args: pool.copy_str(fetch.raw().args)?,
            by_get: fetch.raw().method == NGX_HTTP_GET as usize,
        },
        Led::Named => Onward::Named(pool.copy(arrival::named(fetch))?),
    })
}

fn copy_header(fetch: Req, client: Req, led: Led) -> Option<()> {
    let (from, pool) = (&fetch.raw().headers_out, client.pool());
    let mut ok = Some(());
    List::of(&from.headers).elements(|e| {
        if e.hash != 0 {
            ok = ok.and_then(|()| copy_field(client, pool, bytes_of(&e.key), bytes_of(&e.value)));
        }
    });
    ok?;
    if is_own_redirect(fetch) {
        complete_location(client);
    }
    host_fields(client, client.conf(), fetch)?;
    if !matches!(led, Led::Error(_)) {
        let to = &mut client.raw().headers_out;
        to.content_type = pool.copy_str(from.content_type)?;
        to.content_type_len = from.content_type_len;
        to.charset = pool.copy_str(from.charset)?;
    }
    Some(())
}

/// Leads a client's request on, outside nginx's call stack for it. Its record here is over; the request may be gone afterwards.
pub(crate) fn follow(r: Req, onward: Onward) {
    match onward {
        Onward::Error(status) => return r.finalize(status),
        Onward::Target {
            mut uri,
            mut args,
            by_get,
        } => {
            let raw = r.raw();
            if by_get && raw.method != NGX_HTTP_HEAD as usize {
                raw.method = NGX_HTTP_GET as usize;
                raw.method_name = str_of(b"GET");
            }
            // SAFETY: a live request; nginx copies the strings, whose bytes are in its pool.
            unsafe { ngx_http_internal_redirect(r.as_ptr(), &mut uri, &mut args) };
        }
        Onward::Named(mut name) => {
            // SAFETY: as above.
            unsafe { ngx_http_named_location(r.as_ptr(), &mut name) };
        }
    }
    // A redirect takes a reference of its own.
    r.finalize(NGX_DONE as ngx_int_t);
}
