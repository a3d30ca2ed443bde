//! `$proxy_host` and `$proxy_port` where `proxy_pass` does not run: in a key, which is made before, and for answers from the store.
//!
//! nginx computes them in the content handler, from a configuration that is private to its proxy module. So this module wraps the function
//! that reads `proxy_pass`, and makes the two of its parameter as ngx_http_proxy_eval and ngx_http_proxy_set_vars do.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_module_t, ngx_parse_url, ngx_pool_cleanup_add, ngx_str_t,
    ngx_url_t,
};

use crate::config::location::LocConf;
use crate::config::proxied::{Proxied, split};
use crate::config::value::Value;
use crate::sys::boundary::guard;
use crate::sys::conf::{self, FAILED};
use crate::sys::one_thread::OneThread;
use crate::sys::pool::{borrow, bytes_of};
use crate::sys::request::{Req, is_ok};
use crate::sys::symbol::symbol;

const PROXY: &CStr = c"ngx_http_proxy_module";

type Set = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// nginx's own function for `proxy_pass`, while it is wrapped.
static ORIGINAL: OneThread<Cell<Option<Set>>> = OneThread::new(Cell::new(None));

/// Wraps it until [`let_go`], at the latest until the configuration is dropped, since this library may be unloaded then.
pub(crate) fn look_on(cf: *mut ngx_conf_t) {
    // SAFETY: the pool of the cycle being read.
    let cleanup = unsafe { ngx_pool_cleanup_add((*cf).pool, 0).as_mut() };
    let Some((cleanup, command)) = cleanup.zip(command()) else {
        return;
    };
    cleanup.handler = Some(on_cleanup);
    let is_ours = |set: Set| ptr::fn_addr_eq(set, proxy_pass as Set);
    if !command.set.is_some_and(is_ours) {
        ORIGINAL.set(command.set.replace(proxy_pass));
    }
}

/// Puts nginx's function back: the `http` block has been read.
pub(crate) fn let_go() {
    if let (Some(command), Some(original)) = (command(), ORIGINAL.take()) {
        command.set = Some(original);
    }
}

/// # Safety
/// Nothing is asked of the caller.
unsafe extern "C" fn on_cleanup(_: *mut c_void) {
    guard("the end of a configuration", (), let_go);
}

/// nginx's `proxy_pass`, if it has one.
fn command<'a>() -> Option<&'a mut ngx_command_t> {
    let module: *const ngx_module_t = symbol(PROXY).cast();
    // SAFETY: NULL, or nginx's module, whose commands end with one without a name. nginx changes no command, and nobody keeps the
    // reference.
    unsafe {
        let mut command = module.as_ref()?.commands;
        while (*command).name.len > 0 {
            if bytes_of(&(*command).name) == b"proxy_pass" {
                return Some(&mut *command);
            }
            command = command.add(1);
        }
    }
    None
}

/// Reads a `proxy_pass` as nginx does, and notes its parameter.
///
/// # Safety
/// As nginx asks of the function of a directive.
unsafe extern "C" fn proxy_pass(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    let Some(original) = ORIGINAL.get() else {
        return FAILED;
    };
    // SAFETY: what nginx passes is handed on.
    let result = unsafe { original(cf, command, conf) };
    if result.is_null() {
        guard("proxy_pass", (), || note(cf));
    }
    result
}

/// Notes the parameter in the configuration of the location.
fn note(cf: *mut ngx_conf_t) {
    // SAFETY: inside a location, its configuration is the one that `create_location` made; the words of the directive are strings.
    let (conf, words) = unsafe {
        let conf: *mut LocConf = conf::location_of(cf);
        (&mut *conf, (*(*cf).args).as_slice::<ngx_str_t>())
    };
    conf.proxied = words
        .get(1)
        .and_then(|url| Value::compile(cf, bytes_of(url)));
}

/// The target of the request's location; nothing where the location has no `proxy_pass`, or a bad one.
pub(crate) fn target(r: Req) -> Option<Proxied> {
    let conf = LocConf::of(r);
    let text = conf.proxied.filter(|_| conf.is_on())?.of(r)?;
    let (rest, scheme_port) = split(text)?;
    // SAFETY: all-zero is a valid start for this C struct.
    let mut url: ngx_url_t = unsafe { std::mem::zeroed() };
    url.url = borrow(rest);
    url.default_port = scheme_port;
    url.set_uri_part(1);
    url.set_no_resolve(1);
    // SAFETY: the request's own pool, and a text that is only read.
    if !is_ok(unsafe { ngx_parse_url(r.pool().as_ptr(), &mut url) }) {
        return None;
    }
    if url.family == libc::AF_UNIX {
        return Some(Proxied::socket());
    }
    let port = (url.no_port() == 0).then(|| (url.port, bytes_of(&url.port_text)));
    Some(Proxied::at(bytes_of(&url.host), port, scheme_port))
}
