//! The header of a request that the module makes: fields, each noted where nginx looks for it.

use std::mem;
use std::ptr;

use nginx_sys::{ngx_hash_find, ngx_http_header_t, ngx_str_t, ngx_table_elt_t};

use crate::sys::header_list::{new_list, push_to, take_back};
use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::{Req, is_ok};

/// Takes all fields out of a request.
pub(crate) fn clear_fields(r: Req) -> Option<()> {
    let to = &mut r.raw().headers_in;
    // SAFETY: all-zero is where nginx begins with these (ngx_http_create_request); the list is set up next.
    *to = unsafe { mem::zeroed() };
    to.content_length_n = -1;
    to.keep_alive_n = -1;
    new_list(r.pool(), &mut to.headers, 20)
}

/// Adds a `Host` field, by which nginx chooses the server among those of the request's address.
pub(crate) fn add_host(r: Req, authority: &[u8]) -> Option<()> {
    add_field(r, b"Host", authority)?;
    // SAFETY: the field that was just added; its handler wants to find none noted.
    let e = unsafe { r.raw().headers_in.host.as_mut()? };
    r.raw().headers_in.host = ptr::null_mut();
    call_handler(r, e, b"host")
}

/// Adds a request field and has nginx note it where it looks for it.
pub(crate) fn add_field(r: Req, name: &[u8], value: &[u8]) -> Option<()> {
    push_field(r, name, copy_terminated(r.pool(), value)?).map(|_| ())
}

/// The same with a value that is not copied; gives the field.
pub(crate) fn push_field(
    r: Req,
    name: &[u8],
    value: ngx_str_t,
) -> Option<&'static mut ngx_table_elt_t> {
    let pool = r.pool();
    let e = push_to(&mut r.raw().headers_in.headers, pool.copy(name)?, value)?;
    let lower = pool.copy(&name.to_ascii_lowercase())?;
    e.lowcase_key = lower.data;
    e.hash = bytes_of(&lower).iter().fold(0usize, |h, b| {
        h.wrapping_mul(31).wrapping_add(usize::from(*b))
    });
    note(r, e, bytes_of(&lower))?;
    Some(e)
}

/// Takes back the field that was pushed last, the only `Cookie`.
pub(crate) fn take_back_cookie(r: Req) {
    let headers = &mut r.raw().headers_in;
    take_back(&mut headers.headers);
    #[cfg(nginx_has = "ngx_table_elt_s.next")]
    {
        headers.cookie = ptr::null_mut();
    }
    #[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
    {
        headers.cookies.nelts = 0;
    }
}

/// nginx's parsers of request fields read on to a NUL, as its request buffer has it.
fn copy_terminated(pool: Pool, value: &[u8]) -> Option<ngx_str_t> {
    let mut copy = pool.copy(&[value, b"\0"].concat())?;
    copy.len -= 1;
    Some(copy)
}

fn note(r: Req, e: &mut ngx_table_elt_t, lower: &[u8]) -> Option<()> {
    if lower == b"host" {
        // The handler would choose the server anew.
        r.raw().headers_in.host = e;
        return Some(());
    }
    call_handler(r, e, lower)
}

/// Has nginx's own handler look at a request field, if it has one for the name.
fn call_handler(r: Req, e: &mut ngx_table_elt_t, lower: &[u8]) -> Option<()> {
    // SAFETY: the core module's hash of request fields; a handler gets the element and the offset it was made for.
    unsafe {
        let found: *mut ngx_http_header_t = ngx_hash_find(
            &raw mut (*r.core_main()).headers_in_hash,
            e.hash,
            lower.as_ptr().cast_mut(),
            lower.len(),
        )
        .cast();
        let Some(handler) = found.as_ref().and_then(|h| h.handler) else {
            return Some(());
        };
        is_ok(handler(r.as_ptr(), e, (*found).offset)).then_some(())
    }
}
