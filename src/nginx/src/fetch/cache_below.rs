//! nginx's own cache (`proxy_cache` and its siblings), where there is one behind this cache.

use std::mem;

use nginx_sys::{ngx_http_variable_value_t, ngx_int_t};

use crate::sys::one_thread::OneThread;
use crate::sys::request::{Req, is_ok};
use crate::sys::variables::Wrapped;

/// `$upstream_cache_status`, with nginx's own function for it.
pub(crate) static CACHE_STATUS: OneThread<Wrapped> = OneThread::new(Wrapped::new());

/// What that cache did for a request.
pub(crate) fn status(r: Req) -> Option<&'static [u8]> {
    // SAFETY: all-zero is a valid start for this C struct.
    let mut v: ngx_http_variable_value_t = unsafe { mem::zeroed() };
    // SAFETY: a live request, and a value to fill.
    let rc: ngx_int_t = unsafe { CACHE_STATUS.get(r, &mut v, 0) };
    // SAFETY: nginx's function names one of its static strings (ngx_http_upstream_cache_status).
    (is_ok(rc) && v.not_found() == 0).then(|| unsafe { &*std::ptr::from_ref(v.as_bytes()) })
}
