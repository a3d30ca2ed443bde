//! The values that a request has for nginx's variables, and nginx's own functions that compute some of them.

use std::cell::Cell;
use std::slice;

use nginx_sys::{
    NGX_ERROR, ngx_http_request_t, ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t,
};

use crate::sys::request::Req;

/// A function that computes a variable.
pub(crate) type Get = unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_variable_value_t,
    usize,
) -> ngx_int_t;

/// nginx's own function for a variable, in whose place one of ours stands.
pub(crate) struct Wrapped(Cell<Option<Get>>);

impl Wrapped {
    pub(crate) const fn new() -> Wrapped {
        Wrapped(Cell::new(None))
    }

    /// Puts `ours` in the place of nginx's function.
    pub(crate) fn wrap(&self, variable: &mut ngx_http_variable_t, ours: Get) {
        self.0.set(variable.get_handler.replace(ours));
    }

    /// Calls nginx's function.
    ///
    /// # Safety
    /// The request is live, and `v` the value to fill; `data` is what nginx has set beside the function, or the name for a prefix.
    pub(crate) unsafe fn get(
        &self,
        r: Req,
        v: *mut ngx_http_variable_value_t,
        data: usize,
    ) -> ngx_int_t {
        match self.0.get() {
            // SAFETY: the caller's promise.
            Some(get) => unsafe { get(r.as_ptr(), v, data) },
            None => NGX_ERROR as ngx_int_t,
        }
    }
}

/// The variables that the configuration names.
pub(crate) fn known<'a>(r: Req) -> &'a [ngx_http_variable_t] {
    // SAFETY: the array of the core module's main configuration, which lives as long as the cycle.
    unsafe { (*r.core_main()).variables.as_slice() }
}

/// The values that a request has for them.
pub(crate) fn indexed<'a>(r: Req) -> &'a mut [ngx_http_variable_value_t] {
    let n = known(r).len();
    if n == 0 {
        return &mut [];
    }
    // SAFETY: a request has a value for each indexed variable of its configuration; short-lived, as `Req::raw`.
    unsafe { slice::from_raw_parts_mut(r.raw().variables, n) }
}

/// Runs `f`, which may match regular expressions (a `map`'s), and leaves what the request's last one has captured (`$1`) as it was.
#[cfg(nginx_has = "ngx_http_request_s.captures")]
pub(crate) fn keeping_captures<T>(r: Req, f: impl FnOnce() -> T) -> T {
    let mut raw = r.raw();
    let (n, at, text) = (raw.ncaptures, raw.captures, raw.captures_data);
    let is_shared = raw.realloc_captures();
    if n > 0 {
        // The next match notes its captures elsewhere, as if a subrequest shared these (ngx_http_regex_exec).
        raw.set_realloc_captures(1);
    }
    let value = f();
    raw.ncaptures = n;
    if n > 0 {
        (raw.captures, raw.captures_data) = (at, text);
        raw.set_realloc_captures(is_shared);
    }
    value
}

/// An nginx without regular expressions.
#[cfg(not(nginx_has = "ngx_http_request_s.captures"))]
pub(crate) fn keeping_captures<T>(_: Req, f: impl FnOnce() -> T) -> T {
    f()
}

/// Gives a variable's value a text, or none.
pub(crate) fn set(r: Req, v: &mut ngx_http_variable_value_t, text: Option<&[u8]>) {
    let copy = text
        .filter(|text| !text.is_empty())
        .and_then(|text| r.pool().copy(text));
    match copy {
        Some(s) => {
            v.data = s.data;
            v.set_len(s.len as u32);
            v.set_valid(1);
            v.set_no_cacheable(0);
            v.set_not_found(0);
        }
        None => v.set_not_found(1),
    }
}
