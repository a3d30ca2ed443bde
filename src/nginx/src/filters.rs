//! The two filters at the top of the chain. What a fetch puts out ends here; a client's output goes by.

use std::cell::Cell;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_OK, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_http_output_body_filter_pt,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_http_top_header_filter, ngx_int_t,
};

use crate::api::answer::add_field;
use crate::api::explain::{self, Explained};
use crate::client::record::Client;
use crate::fetch::carrier::Carrier;
use crate::fetch::charset;
use crate::sys::boundary::guard;
use crate::sys::header_list::delete;
use crate::sys::one_thread::OneThread;
use crate::sys::pool::str_of;
use crate::sys::record::Record;
use crate::sys::request::Req;

/// The filters that stood at the top before ours.
struct Next {
    header: Cell<ngx_http_output_header_filter_pt>,
    body: Cell<ngx_http_output_body_filter_pt>,
}

static NEXT: OneThread<Next> = OneThread::new(Next {
    header: Cell::new(None),
    body: Cell::new(None),
});

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
        let record = Record::here(r)?;
        if let Some(client) = record.get::<Client>() {
            client.on_header();
            return None;
        }
        if let Some(carrier) = record.get::<Carrier>() {
            let rc = carrier.on_header();
            let lent = charset::lend(r, NEXT.header.get());
            carrier.has_lent_charset.set(lent);
            return Some(rc);
        }
        let text = explain::answers_before(r, record.get()?)?;
        Some(send_instead(r, &text).unwrap_or(failed))
    });
    match (swallowed, NEXT.header.get()) {
        (Some(rc), _) => rc,
        // SAFETY: the filter that stood at the top before ours.
        (None, Some(next)) => unsafe { next(r) },
        (None, None) => failed,
    }
}

/// Sends a JSON text in place of the response whose header comes.
fn send_instead(r: Req, text: &[u8]) -> Option<ngx_int_t> {
    let (header, body) = (NEXT.header.get()?, NEXT.body.get()?);
    delete(&mut r.raw().headers_out.headers, |_| true);
    add_field(r, "Cache-Control", "no-store")?;
    let out = &mut r.raw().headers_out;
    out.location = std::ptr::null_mut();
    out.status = NGX_HTTP_OK as usize;
    out.status_line = nginx_sys::ngx_str_t::default();
    out.content_length_n = text.len() as i64;
    out.content_type = str_of(b"application/json");
    out.content_type_len = out.content_type.len;
    let copy = r.pool().copy(text)?;
    let buf = r.pool().zeroed::<ngx_buf_t>()?;
    buf.pos = copy.data;
    // SAFETY: the end of the copy.
    buf.last = unsafe { copy.data.add(copy.len) };
    (buf.start, buf.end) = (buf.pos, buf.last);
    buf.set_memory(1);
    buf.set_last_buf(1);
    let chain = r.pool().zeroed::<ngx_chain_t>()?;
    chain.buf = buf;
    // SAFETY: the filters that stood at the top before ours; the chain is of the request's pool.
    unsafe {
        let rc = header(r.as_ptr());
        match rc == NGX_OK as ngx_int_t && r.raw().header_only() == 0 {
            true => Some(body(r.as_ptr(), chain)),
            false => Some(rc),
        }
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
        let record = Record::of(r)?;
        if let Some(carrier) = record.get::<Carrier>() {
            if carrier.has_lent_charset.take() {
                charset::take_back(r);
            }
            return Some(carrier.on_body(chain));
        }
        let is_replaced = record.get().is_some_and(Explained::is_replaced);
        is_replaced.then_some(NGX_OK as ngx_int_t)
    });
    match (swallowed, NEXT.body.get()) {
        (Some(rc), _) => rc,
        // SAFETY: as in `header`.
        (None, Some(next)) => unsafe { next(r, chain) },
        (None, None) => failed,
    }
}
