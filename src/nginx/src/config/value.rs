//! Values with variables, and conditions made of them.

use std::cell::Cell;
use std::mem;
use std::ptr;

use nginx_sys::{
    ngx_conf_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_str_t,
};

use crate::sys::one_thread::OneThread;
use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::{Req, is_ok};
use crate::sys::variables;

/// A variable of the response has been read before the response has come.
static LOOKED_AHEAD: OneThread<Cell<bool>> = OneThread::new(Cell::new(false));

/// A value with variables, compiled when the configuration was read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Value(*mut ngx_http_complex_value_t);

impl Value {
    /// Compiles a text with variables; nothing if there is an unknown one, which nginx logs, or no memory.
    pub(crate) fn compile(cf: *mut ngx_conf_t, text: &[u8]) -> Option<Value> {
        // SAFETY: the pool of the cycle being read; the compiled value lives in it.
        let pool = unsafe { Pool::new((*cf).pool) };
        let out = pool.zeroed::<ngx_http_complex_value_t>()?;
        let mut source = pool.copy(text)?;
        let mut compile = ngx_http_compile_complex_value_t {
            cf,
            value: &mut source,
            complex_value: out,
            // SAFETY: all-zero is the documented start value of this struct.
            ..unsafe { mem::zeroed() }
        };
        // SAFETY: all pointers are live.
        let rc = unsafe { ngx_http_compile_complex_value(&mut compile) };
        is_ok(rc).then_some(Value(out))
    }

    /// The text that it was compiled from.
    pub(crate) fn source<'a>(self) -> &'a [u8] {
        // SAFETY: compiled when the configuration was read, in the pool of the cycle.
        bytes_of(unsafe { &(*self.0).value })
    }

    /// The value for this request, in its pool; `None` when memory is out. The captures of the location stay, for its content handler.
    pub(crate) fn of<'a>(self, r: Req) -> Option<&'a [u8]> {
        let mut out = ngx_str_t::default();
        let rc = variables::keeping_captures(r, || {
            // SAFETY: compiled by ngx_http_compile_complex_value in the pool of the cycle.
            unsafe { ngx_http_complex_value(r.as_ptr(), self.0, &mut out) }
        });
        // SAFETY: the bytes are in the request's pool or the configuration, which outlive the use.
        is_ok(rc).then(|| unsafe { &*ptr::from_ref(bytes_of(&out)) })
    }
}

/// Whether one of the conditions holds: not empty and not "0" (ngx_http_test_predicates).
pub(crate) fn any_true(values: &[Value], r: Req) -> bool {
    values
        .iter()
        .any(|v| v.of(r).is_some_and(|s| !s.is_empty() && s != b"0"))
}

/// The same before the response has come. If a condition has looked for the response, the values of all variables are put back: nginx would
/// keep those that it has computed.
pub(crate) fn any_true_yet(values: &[Value], r: Req) -> bool {
    if values.is_empty() {
        return false;
    }
    LOOKED_AHEAD.set(false);
    let before = variables::indexed(r).to_vec();
    let value = any_true(values, r);
    if LOOKED_AHEAD.take() {
        variables::indexed(r).copy_from_slice(&before);
    }
    value
}

/// To be called when a variable of the response is read before the response has come.
pub(crate) fn note_look_ahead() {
    LOOKED_AHEAD.set(true);
}
