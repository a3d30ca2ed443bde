//! Redirects inside nginx: an index, `X-Accel-Redirect`, `error_page`. A fetch follows none of them.
//!
//! The place that a request is led to has settings of its own, for the cache too, and filters that see the client's request. So
//! a fetch that nginx leads elsewhere ends there, and the client's own request makes the redirect. It then meets the cache
//! again where that leads.
//!
//! A fetch starts behind the rewrite phases. One that comes to them has been redirected: by its target, to the first of the
//! server (ngx_http_internal_redirect), or to that of a named location (ngx_http_named_location). `error_page` is never looked
//! up for a fetch ([`request_copy`]): its response is then nginx's own page, and `err_status` says for what.

use nginx_sys::{
    NGX_DONE, NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_http_internal_redirect, ngx_http_named_location,
    ngx_int_t, ngx_str_t,
};

use crate::config::location::LocConf;
use crate::fetch::request_copy;
use crate::fetch::response_copy::{copy_fields, copy_host_fields};
use crate::sys::pool::str_of;
use crate::sys::request::Req;

/// How a client's request goes on after a fetch that nginx has redirected. The strings are in the request's pool.
pub(crate) enum Onward {
    /// nginx ends it with this status: by a page of its own, or as `error_page` says.
    Error(ngx_int_t),
    Target {
        uri: ngx_str_t,
        args: ngx_str_t,
        /// The method becomes GET, unless it is HEAD.
        by_get: bool,
    },
    Named(ngx_str_t),
}

/// How nginx has left the way of a fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detour {
    /// The response is nginx's own page for this status.
    Error(ngx_int_t),
    /// By a redirect to another target.
    Target,
    /// By a redirect to a named location.
    Named,
}

/// Gives `client` what it needs to follow the redirect of `fetch`: the target, and the header fields that nginx has kept for it: those of an
/// error, or those that `X-Accel-Redirect` keeps (ngx_http_upstream_process_headers).
pub(crate) fn hand_over(fetch: Req, client: Req, detour: Detour) -> Option<Onward> {
    let pool = client.pool();
    copy_header(fetch, client, detour)?;
    request_copy::give_back_variables(fetch, client)?;
    Some(match detour {
        Detour::Error(status) => Onward::Error(status),
        Detour::Target => Onward::Target {
            uri: pool.copy_str(fetch.raw().uri)?,
            args: pool.copy_str(fetch.raw().args)?,
            by_get: fetch.raw().method == NGX_HTTP_GET as usize,
        },
        Detour::Named => Onward::Named(pool.copy(fetch.named_location())?),
    })
}

fn copy_header(fetch: Req, client: Req, detour: Detour) -> Option<()> {
    copy_fields(client, fetch, |_| true)?;
    copy_host_fields(client, LocConf::of(client), fetch)?;
    if !matches!(detour, Detour::Error(_)) {
        let (pool, from) = (client.pool(), &fetch.raw().headers_out);
        let to = &mut client.raw().headers_out;
        to.content_type = pool.copy_str(from.content_type)?;
        to.content_type_len = from.content_type_len;
        to.charset = pool.copy_str(from.charset)?;
    }
    Some(())
}

/// Redirects a client's request, outside nginx's call stack for it. The request may be gone afterwards.
pub(crate) fn follow(r: Req, onward: Onward) {
    match onward {
        Onward::Error(status) => return r.finalize(status),
        Onward::Target {
            mut uri,
            mut args,
            by_get,
        } => {
            let mut raw = r.raw();
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
