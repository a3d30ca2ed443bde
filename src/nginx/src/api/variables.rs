//! `$swr_cache_status` and its siblings; and nginx's own variables of the origin's response, where a client has no upstream.

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_conf_t, ngx_hash_key_t, ngx_http_add_variable,
    ngx_http_request_t, ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t,
};

use swrcache::engine::key;

use crate::api::purge::PurgeByMethod;
use crate::client::arrival;
use crate::client::key::key_args;
use crate::client::record::Client;
use crate::config::proxied::Proxied;
use crate::config::proxy_target;
use crate::config::value::note_look_ahead;
use crate::fetch::cache_below::CACHE_STATUS;
use crate::sys::boundary::guard;
use crate::sys::conf;
use crate::sys::one_thread::OneThread;
use crate::sys::pool::{bytes_of, str_of};
use crate::sys::record::{self, Record};
use crate::sys::request::Req;
use crate::sys::variables::{Wrapped, set};

static HEADER: OneThread<Wrapped> = OneThread::new(Wrapped::new());
static TRAILER: OneThread<Wrapped> = OneThread::new(Wrapped::new());
static COOKIE: OneThread<Wrapped> = OneThread::new(Wrapped::new());
static PROXY_HOST: OneThread<Wrapped> = OneThread::new(Wrapped::new());
static PROXY_PORT: OneThread<Wrapped> = OneThread::new(Wrapped::new());

/// What a variable tells.
enum Text {
    /// Of the request, also where the cache has not come in yet: keys are made of it.
    Request(fn(Req) -> Vec<u8>),
    /// Of what the cache did for it.
    Client(fn(&Client) -> Option<Vec<u8>>),
}

/// The indexes of two of them.
const STATUS: usize = 0;
const REASON: usize = 1;

/// The variables; a variable's index is its `data` in nginx.
const VARIABLES: [(&str, Text); 8] = [
    (
        "swr_cache_status",
        Text::Client(|c| c.facts.status.get().map(|s| s.as_str().into())),
    ),
    (
        "swr_cache_reason",
        Text::Client(|c| c.facts.reason.get().map(|r| r.as_str().into())),
    ),
    (
        "swr_cache_age",
        Text::Client(|c| c.facts.age.get().map(|n| n.to_string().into())),
    ),
    (
        "swr_cache_ttl",
        Text::Client(|c| c.facts.ttl.get().map(|n| n.to_string().into())),
    ),
    (
        "swr_cache_encoding",
        Text::Client(|c| c.facts.coding.get().map(|c| c.as_str().into())),
    ),
    (
        "swr_cache_key",
        Text::Client(|c| Some(key::text(c.key).to_vec())),
    ),
    (
        "swr_cache_fetch_time",
        Text::Client(|c| {
            let took = c.facts.fetch_took.get();
            took.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000).into())
        }),
    ),
    (
        "swr_cache_args",
        Text::Request(|r| key_args(r).into_owned()),
    ),
];

/// Registers the variables.
///
/// # Safety
/// `cf` is what nginx is about to read the configuration with.
pub(crate) unsafe extern "C" fn register(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard("the variables", NGX_ERROR as ngx_int_t, || {
        for (number, (name, _)) in VARIABLES.iter().enumerate() {
            let mut name = str_of(name.as_bytes());
            // SAFETY: `cf` is nginx's, which copies the name.
            let Some(v) = (unsafe {
                ngx_http_add_variable(cf, &mut name, NGX_HTTP_VAR_NOCACHEABLE as usize).as_mut()
            }) else {
                return NGX_ERROR as ngx_int_t;
            };
            v.get_handler = Some(get);
            v.data = number;
        }
        NGX_OK as ngx_int_t
    })
}

/// Wraps nginx's own variables of the origin's response, once the configuration has been read, so that they have values in a client's
/// request too. nginx copies the functions to where it calls them after this (ngx_http_variables_init_vars).
pub(crate) fn install(cf: *mut ngx_conf_t) {
    let core = conf::core_main(cf);
    // SAFETY: the core module's array holds variables, and its list of keys has a variable to each.
    unsafe {
        let prefixes: *mut ngx_http_variable_t = core.prefix_variables.elts.cast();
        for n in 0..core.prefix_variables.nelts {
            let variable = &mut *prefixes.add(n);
            match bytes_of(&variable.name) {
                b"upstream_http_" => HEADER.wrap(variable, get_header),
                b"upstream_trailer_" => TRAILER.wrap(variable, get_trailer),
                b"upstream_cookie_" => COOKIE.wrap(variable, get_cookie),
                _ => {}
            }
        }
        let keys = &(*core.variables_keys).keys;
        let first: *mut ngx_hash_key_t = keys.elts.cast();
        for n in 0..keys.nelts {
            let variable: *mut ngx_http_variable_t = (*first.add(n)).value.cast();
            let Some(variable) = variable.as_mut() else {
                continue;
            };
            match bytes_of(&variable.name) {
                b"upstream_cache_status" => CACHE_STATUS.wrap(variable, get_cache_status),
                b"proxy_host" => PROXY_HOST.wrap(variable, get_proxy_host),
                b"proxy_port" => PROXY_PORT.wrap(variable, get_proxy_port),
                _ => {}
            }
        }
    }
}

/// `$upstream_http_NAME`.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe extern "C" fn get_header(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: the same is asked.
    unsafe { read(&HEADER, r, v, data) }
}

/// `$upstream_trailer_NAME`.
///
/// # Safety
/// As [`get_header`].
unsafe extern "C" fn get_trailer(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: the same is asked.
    unsafe { read(&TRAILER, r, v, data) }
}

/// `$upstream_cookie_NAME`.
///
/// # Safety
/// As [`get_header`].
unsafe extern "C" fn get_cookie(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: the same is asked.
    unsafe { read(&COOKIE, r, v, data) }
}

/// Has nginx read the origin's header from the request's own upstream, or from the stand-in for it.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe fn read(
    of_nginx: &Wrapped,
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: the caller's promise.
        let r = unsafe { Req::new(r) };
        // SAFETY: the caller's promise.
        let get = || unsafe { of_nginx.get(r, v, data) };
        if !r.raw().upstream.is_null() {
            arrival::note_look_back(r);
            return get();
        }
        match record::of(r).and_then(Client::origin_header) {
            Some(header) => {
                arrival::note_look_back(r);
                header.shown_to(r, get)
            }
            None => {
                note_look_ahead();
                get()
            }
        }
    })
}

/// `$upstream_cache_status`: the status of nginx's own cache where that took part, else of this one.
///
/// # Safety
/// As [`get_header`].
unsafe extern "C" fn get_cache_status(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: the caller's promise.
        let (r, rc) = unsafe { (Req::new(r), CACHE_STATUS.get(Req::new(r), v, data)) };
        // SAFETY: the value, which nginx's function has filled.
        let v = unsafe { &mut *v };
        match record::of::<Client>(r) {
            Some(client) if v.not_found() != 0 => {
                let own = client
                    .facts
                    .status
                    .get()
                    .map(|status| status.as_str().as_bytes());
                set(r, v, client.facts.cache_below.get().or(own));
            }
            _ => {}
        }
        rc
    })
}

/// `$proxy_host`.
///
/// # Safety
/// As [`get_header`].
unsafe extern "C" fn get_proxy_host(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: the same is asked.
    unsafe { target(&PROXY_HOST, r, v, data, |proxied| proxied.host) }
}

/// `$proxy_port`.
///
/// # Safety
/// As [`get_header`].
unsafe extern "C" fn get_proxy_port(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: the same is asked.
    unsafe { target(&PROXY_PORT, r, v, data, |proxied| proxied.port) }
}

/// The value that nginx has set when it ran `proxy_pass`, else the one that it would set.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe fn target(
    of_nginx: &Wrapped,
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
    part: fn(Proxied) -> Vec<u8>,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: the caller's promise.
        let r = unsafe { Req::new(r) };
        // SAFETY: the caller's promise.
        let rc = unsafe { of_nginx.get(r, v, data) };
        // SAFETY: the value, which nginx's function has filled.
        let v = unsafe { &mut *v };
        if v.not_found() != 0 {
            set(r, v, proxy_target::target(r).map(part).as_deref());
        }
        rc
    })
}

/// The value of a variable.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe extern "C" fn get(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    number: usize,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes a live request and the value to fill.
        let (r, v) = unsafe { (Req::new(r), &mut *v) };
        let text = text(r, number);
        set(r, v, text.as_deref());
        NGX_OK as ngx_int_t
    })
}

fn text(r: Req, number: usize) -> Option<Vec<u8>> {
    let text = match &VARIABLES.get(number)?.1 {
        Text::Request(text) => return Some(text(r)),
        Text::Client(text) => text,
    };
    let record = Record::of(r)?;
    if let Some(client) = record.get::<Client>() {
        return text(client);
    }
    let PurgeByMethod(reason) = record.get()?;
    match number {
        STATUS => Some(b"PURGE".to_vec()),
        REASON => Some(reason.as_str().into()),
        _ => None,
    }
}
