//! Fields of a response, in the places where nginx's filters look for them.

use std::ptr;

use nginx_sys::{ngx_parse_http_time, ngx_str_t, ngx_table_elt_t};
use swrcache::http::fields::is;
use swrcache::http::media_type::charset;

use crate::sys::header_list::{List, append, delete, push_to};
use crate::sys::pool::{Pool, borrow, bytes_of};
use crate::sys::request::Req;

/// Pushes a field line; gives the element.
pub(crate) fn push(
    r: Req,
    name: ngx_str_t,
    value: ngx_str_t,
) -> Option<&'static mut ngx_table_elt_t> {
    push_to(&mut r.raw().headers_out.headers, name, value)
}

/// Takes `Content-Encoding` out of a response whose body is another one now.
pub(crate) fn drop_encoding(r: Req) {
    let out = &mut r.raw().headers_out;
    delete(&mut out.headers, |name| {
        name.eq_ignore_ascii_case(b"content-encoding")
    });
    out.content_encoding = ptr::null_mut();
}

/// Sets one field of the response, in the places where nginx's filters look for it.
///
/// `name` and `value` must stay where they are until the request's pool is gone.
pub(crate) fn set_field(r: Req, name: &[u8], value: &[u8]) -> Option<()> {
    let out = &mut r.raw().headers_out;
    if is(name, "content-type") {
        out.content_type = borrow(value);
        out.content_type_len = value.len();
        if let Some((end, charset)) = charset(value) {
            out.content_type_len = end;
            out.charset = borrow(charset);
        }
        return Some(());
    }
    if is(name, "content-length") {
        return Some(());
    }
    let e: *mut ngx_table_elt_t = push_to(&mut out.headers, borrow(name), borrow(value))?;
    // The first letter tells most fields apart at once.
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'l') if is(name, "last-modified") => {
            out.last_modified = e;
            out.last_modified_time = http_time(value);
        }
        // An origin's relative one goes out as it is (ngx_http_upstream_rewrite_location); see `complete_location`.
        Some(b'l') if is(name, "location") && !value.starts_with(b"/") => {
            out.location = e;
        }
        Some(b'l') if is(name, "link") => append(r.pool(), &mut out.link, e)?,
        Some(b'e') if is(name, "etag") => out.etag = e,
        Some(b'e') if is(name, "expires") => out.expires = e,
        Some(b'c') if is(name, "cache-control") => {
            append(r.pool(), &mut out.cache_control, e)?;
        }
        Some(b'c') if is(name, "content-range") => out.content_range = e,
        Some(b'c') if is(name, "content-encoding") => out.content_encoding = e,
        Some(b'd') if is(name, "date") => out.date = e,
        Some(b's') if is(name, "server") => out.server = e,
        Some(b'r') if is(name, "refresh") => out.refresh = e,
        Some(b'a') if is(name, "accept-ranges") => out.accept_ranges = e,
        #[cfg(nginx_has = "ngx_table_elt_s.next")]
        Some(b'w') if is(name, "www-authenticate") => {
            append(r.pool(), &mut out.www_authenticate, e)?;
        }
        // Of several, `auth_request` knows the first.
        #[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
        Some(b'w') if is(name, "www-authenticate") && out.www_authenticate.is_null() => {
            out.www_authenticate = e;
        }
        _ => {}
    }
    Some(())
}

/// Has nginx make a relative `Location` absolute, as it does with its own and with what `proxy_redirect` has rewritten. It takes
/// the place of one from which an `error_page` has led on (ngx_http_clear_location).
pub(crate) fn complete_location(r: Req) {
    let out = &mut r.raw().headers_out;
    // SAFETY: NULL or an element of the request's list.
    if let Some(old) = unsafe { out.location.as_mut() } {
        old.hash = 0;
    }
    List::of(&out.headers).elements(|e| {
        if e.hash != 0 && bytes_of(&e.key).eq_ignore_ascii_case(b"location") {
            out.location = ptr::from_ref(e).cast_mut();
        }
    });
}

fn http_time(value: &[u8]) -> i64 {
    // SAFETY: reads the bytes of the slice only.
    unsafe { ngx_parse_http_time(value.as_ptr().cast_mut(), value.len()) }
}

/// Sets a field of the response to a copy.
pub(crate) fn copy_field(r: Req, pool: Pool, name: &[u8], value: &[u8]) -> Option<()> {
    let (name, value) = (pool.copy(name)?, pool.copy(value)?);
    set_field(r, bytes_of(&name), bytes_of(&value))
}

/// Has nginx send the response at so many bytes a second.
pub(crate) fn limit_rate(r: Req, rate: usize) {
    r.raw().limit_rate = rate;
    r.raw().set_limit_rate_set(1);
}

/// Has nginx take the response for one in this charset.
pub(crate) fn override_charset(r: Req, charset: &[u8]) -> Option<()> {
    let copy = r.pool().zeroed::<ngx_str_t>()?;
    *copy = r.pool().copy(charset)?;
    r.raw().headers_out.override_charset = copy;
    Some(())
}
