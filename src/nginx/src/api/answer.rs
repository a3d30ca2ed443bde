//! Whole answers of our own.

use nginx_sys::{NGX_ERROR, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_create_temp_buf, ngx_int_t};

use crate::sys::pool::borrow;
use crate::sys::request::Req;
use crate::sys::response_header::push;

pub(crate) const JSON: &str = "application/json";

/// Sends a text as the whole response; `None` when memory is out. The caller ends the request with what this gives.
pub(crate) fn send(r: Req, status: u32, media_type: &'static str, text: &str) -> Option<ngx_int_t> {
    // It was made for this request: no validator of a client's is of it.
    r.raw().set_disable_not_modified(1);
    let out = &mut r.raw().headers_out;
    out.status = status as usize;
    out.content_length_n = text.len() as i64;
    out.content_type = borrow(media_type.as_bytes());
    out.content_type_len = out.content_type.len;
    let rc = r.send_header();
    if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || r.raw().header_only() != 0 {
        return Some(rc);
    }
    // SAFETY: gives NULL or a buffer with room for so many bytes, which don't overlap the text.
    let buf: &mut ngx_buf_t = unsafe {
        let buf = ngx_create_temp_buf(r.pool().as_ptr(), text.len()).as_mut()?;
        std::ptr::copy_nonoverlapping(text.as_ptr(), buf.pos, text.len());
        buf.last = buf.pos.add(text.len());
        buf
    };
    buf.set_last_buf(u32::from(r.is_main()));
    buf.set_last_in_chain(1);
    let chain = r.pool().zeroed::<ngx_chain_t>()?;
    chain.buf = buf;
    Some(r.output(chain))
}

/// Adds a header field to the response.
pub(crate) fn add_field(r: Req, name: &'static str, value: &'static str) -> Option<()> {
    push(r, borrow(name.as_bytes()), borrow(value.as_bytes())).map(|_| ())
}

/// Adds one with a value of this request's.
pub(crate) fn add_value(r: Req, name: &'static str, value: &str) -> Option<()> {
    let value = r.pool().copy(value.as_bytes())?;
    push(r, borrow(name.as_bytes()), value).map(|_| ())
}
