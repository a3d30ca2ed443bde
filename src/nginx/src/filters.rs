//! The two filters at the top of the chain. What a fetch puts out ends here; a client's output goes by.

use std::cell::Cell;

use nginx_sys::{
    NGX_ERROR, ngx_chain_t, ngx_http_output_body_filter_pt, ngx_http_output_header_filter_pt,
    ngx_http_request_t, ngx_http_top_body_filter, ngx_http_top_header_filter, ngx_int_t,
};
use swrcache::engine::{Part, Pass, Reason};

use crate::charset;
use crate::ctx::{Ctx, Role};
use crate::deliver::push_status;
use crate::guard::guard;
use crate::request::Req;

struct Next {
    header: Cell<ngx_http_output_header_filter_pt>,
    body: Cell<ngx_http_output_body_filter_pt>,
}

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for Next {}

static NEXT: Next = Next {
    header: Cell::new(None),
    body: Cell::new(None),
};

/// Puts the filters before all others (see `ngx_module_order`).
pub(crate) fn install() {
    // SAFETY: nginx builds the chain on its one thread, while it reads the configuration.
    unsafe {
        NEXT.header.set(ngx_http_top_header_filter);
        NEXT.body.set(ngx_http_top_body_filter);
        ngx_http_top_header_filter = Some(header);
        ngx_http_top_body_filter = Some(body);
    }
}

/// The header filter.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn header(r: *mut ngx_http_request_t) -> ngx_int_t {
    let failed = NGX_ERROR as ngx_int_t;
    let swallowed = guard("a response header", Some(failed), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        match &mut Ctx::here(r)?.role {
            Role::Fetch(fetch) => {
                let rc = fetch.on_header();
                fetch.has_lent_charset = charset::lend(r, NEXT.header.get());
                Some(rc)
            }
            Role::Client(client) => {
                client.origin_answered();
                client.hide_own_fields();
                if client.seen.passed.is_some() && r.is_main() && r.conf().status_header() {
                    let pass = Pass {
                        status: client.seen.status,
                        reason: client.seen.reason.unwrap_or(Reason::Absent),
                    };
                    let fwd_status = u16::try_from(r.raw().headers_out.status).ok();
                    push_status(
                        r,
                        &Part::Passed {
                            pass: &pass,
                            fwd_status,
                        },
                    );
                }
                None
            }
        }
    });
    match (swallowed, NEXT.header.get()) {
        (Some(rc), _) => rc,
        // SAFETY: the filter that stood at the top before ours.
        (None, Some(next)) => unsafe { next(r) },
        (None, None) => failed,
    }
}

/// The body filter.
///
/// # Safety
/// `r` is a live request, and `chain` what comes of its body: buffers that live until the call returns, or NULL.
unsafe extern "C" fn body(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    let failed = NGX_ERROR as ngx_int_t;
    let swallowed = guard("a response body", Some(failed), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        let fetch = Ctx::fetch(r)?;
        if std::mem::take(&mut fetch.has_lent_charset) {
            charset::take_back(r);
        }
        Some(fetch.on_body(chain))
    });
    match (swallowed, NEXT.body.get()) {
        (Some(rc), _) => rc,
        // SAFETY: as in `header`.
        (None, Some(next)) => unsafe { next(r, chain) },
        (None, None) => failed,
    }
}
