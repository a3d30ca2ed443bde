//! The charset that nginx's filters will give a response, for the one handler that reads it after the header.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    ngx_http_max_module, ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_pcalloc,
    ngx_str_t,
};

use crate::sys::header_list::new_list;
use crate::sys::pool::bytes_of;
use crate::sys::request::{Req, is_ok};

/// Sets the charset that nginx's filters would set, for a directory listing; gives whether it may be one. nginx makes the listing after its
/// header, and cuts names between characters if its filters have set UTF-8 (ngx_http_autoindex_html). The filters run for each client later,
/// so they are run here with a copy of the request that sends nothing.
pub(crate) fn lend(r: Req, next: ngx_http_output_header_filter_pt) -> bool {
    let mut raw = r.raw();
    let is_listing = raw.upstream.is_null()
        && raw.content_handler.is_none()
        && bytes_of(&raw.uri).ends_with(b"/")
        && raw.headers_out.charset.len == 0;
    let charset = is_listing.then(|| below(r, next)).flatten();
    if let Some(charset) = charset {
        raw.headers_out.charset = charset;
    }
    is_listing
}

fn below(r: Req, next: ngx_http_output_header_filter_pt) -> Option<ngx_str_t> {
    let (next, pool) = (next?, r.pool());
    let copy = pool.zeroed::<ngx_http_request_t>()?;
    // SAFETY: a plain copy of a live request, with lists and contexts of its own; nothing is sent for a request whose header
    // has been (ngx_http_header_filter).
    unsafe {
        ptr::copy_nonoverlapping(r.as_ptr(), copy, 1);
        copy.main = copy;
        copy.ctx = ngx_pcalloc(
            pool.as_ptr(),
            ngx_http_max_module * size_of::<*mut c_void>(),
        )
        .cast();
        new_list(pool, &mut copy.headers_out.headers, 4)?;
        new_list(pool, &mut copy.headers_out.trailers, 4)?;
        if copy.ctx.is_null() || !is_ok(next(copy)) {
            return None;
        }
    }
    Some(copy.headers_out.charset)
}

/// Takes back what [`lend`] has set.
pub(crate) fn take_back(r: Req) {
    r.raw().headers_out.charset = ngx_str_t::default();
}
