//! The cookies that a refresh sends: those that its key is made of (`$cookie_currency`, or a `map` of `$http_cookie`).

use std::mem;
use std::ptr::{self, NonNull};

use nginx_sys::{NGX_LOG_ERR, ngx_array_t, ngx_http_variable_value_t, ngx_module_t, ngx_str_t};
use swrcache::engine::key::cookies;
use swrcache::http::fields::each_named;

use crate::config::location::LocConf;
use crate::config::value::Value;
use crate::sys::header_list::List;
use crate::sys::pool::{borrow, bytes_of};
use crate::sys::request::Req;
use crate::sys::request_header::{add_field, push_field, take_back_cookie};
use crate::sys::symbol::symbol;
use crate::sys::variables;

/// Adds to the request `r` of a refresh, which has its other fields, the cookies of `client` without which it would have another key.
///
/// The key is computed in `r`, by variables that have no value there yet but for `given`: those that only the client's request can
/// compute.
pub(crate) fn add(client: Req, r: Req, given: &[ngx_http_variable_value_t]) -> Option<()> {
    let Some(key) = LocConf::of(client).key_beyond_urls() else {
        return Some(());
    };
    let sent = cookies_of(client);
    // `Vary` may have named the field.
    if sent.is_empty() || !cookies_of(r).is_empty() {
        return Some(());
    }
    let wanted = values(key, client)?;
    let mut tried = Vec::new();
    let mut line = NonNull::from(push_field(r, b"Cookie", borrow(&tried))?);
    let mut is_same = |cookies: &[u8]| {
        variables::indexed(r).copy_from_slice(given);
        tried = [cookies, b"\0"].concat();
        // SAFETY: an element of the list of `r`, to which nobody else refers meanwhile.
        unsafe { line.as_mut() }.value = borrow(tried.strip_suffix(b"\0").unwrap_or_default());
        values(key, r).as_ref() == Some(&wanted)
    };
    let is_asked = asks_others(client);
    let needed = quietly(r, || {
        cookies::needed(&sent, &mut is_same, &|name| is_asked || is_read(r, name))
    });
    variables::indexed(r).copy_from_slice(given);
    // It refers to what was tried last.
    take_back_cookie(r);
    match needed {
        None => Some(()),
        Some(needed) => add_field(r, b"Cookie", &needed),
    }
}

/// Whether the configuration can read the cookie: `$cookie_NAME` occurs in it somewhere, or `$http_cookie`.
fn is_read(r: Req, name: &[u8]) -> bool {
    let reads = |variable: &[u8]| match variable.strip_prefix(b"cookie_") {
        Some(own) => own.eq_ignore_ascii_case(name),
        None => variable == b"http_cookie",
    };
    let mut names = variables::known(r)
        .iter()
        .map(|known| bytes_of(&known.name));
    names.any(reads)
}

/// Whether the location has variables from `auth_request_set`: the server that `auth_request` asks can read any cookie.
fn asks_others(r: Req) -> bool {
    let module: *const ngx_module_t = symbol(c"ngx_http_auth_request_module").cast();
    // SAFETY: NULL without the module; a request has a configuration of its location for it.
    unsafe {
        let of = |module: &ngx_module_t| *r.raw().loc_conf.add(module.ctx_index);
        let conf: *const AuthRequest = module.as_ref().map_or(ptr::null_mut(), of).cast();
        conf.as_ref().is_some_and(|conf| !conf.variables.is_null())
    }
}

/// `ngx_http_auth_request_conf_t` (ngx_http_auth_request_module.c), the same since nginx 1.5.4.
#[repr(C)]
struct AuthRequest {
    uri: ngx_str_t,
    variables: *const ngx_array_t,
}

/// Without warnings: a variable that `set` makes has no value where the key is computed anew.
fn quietly<T>(r: Req, f: impl FnOnce() -> T) -> T {
    let log = r.connection().log;
    // SAFETY: the log of a fetch's connection is its own (`connect`). It is not referred to while `f` writes to it.
    let level = unsafe { mem::replace(&mut (*log).log_level, NGX_LOG_ERR as usize) };
    let value = f();
    // SAFETY: as above.
    unsafe { (*log).log_level = level };
    value
}

/// The lines of the field `Cookie`, in one.
fn cookies_of(r: Req) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let sent = r.raw();
    let fields = List::of(&sent.headers_in.headers);
    each_named(&fields, "cookie", &mut |line| lines.push(line.to_vec()));
    lines.join(b"; ".as_slice())
}

/// The values that a request has for the parts of a key.
fn values(key: &[Value], r: Req) -> Option<Vec<Vec<u8>>> {
    let values = key.iter().map(|part| part.of(r).map(<[u8]>::to_vec));
    values.collect()
}
