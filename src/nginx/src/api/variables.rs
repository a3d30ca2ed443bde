//! `$swr_cache_status` and its siblings; and nginx's own variables of the origin's response, where a client has no upstream.

use std::cell::Cell;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_conf_t, ngx_hash_key_t, ngx_http_add_variable,
    ngx_http_conf_ctx_t, ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_request_t,
    ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t,
};

use swrcache::engine::key;

use crate::client::arrival;
use crate::client::request::Client;
use crate::config::proxy_target::{self, Target};
use crate::sys::boundary::guard;
use crate::sys::pool::{bytes_of, str_of};
use crate::sys::record::{Ctx, Role};
use crate::sys::request::{Req, is_ok};

/// A function of nginx's that computes a variable.
type Get = unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_variable_value_t,
    usize,
) -> ngx_int_t;

/// One of nginx's variables that tell of the origin's response, with nginx's own function for it.
struct OfNginx(Cell<Option<Get>>);

// SAFETY: nginx runs one thread in a worker, and reads its configuration on one.
unsafe impl Sync for OfNginx {}

impl OfNginx {
    const fn new() -> OfNginx {
        OfNginx(Cell::new(None))
    }

    /// Puts `ours` in the place of nginx's function.
    fn wrap(&self, variable: &mut ngx_http_variable_t, ours: Get) {
        self.0.set(variable.get_handler.replace(ours));
    }

    /// Calls nginx's function.
    ///
    /// # Safety
    /// The request is live, and `v` the value to fill.
    unsafe fn get(&self, r: Req, v: *mut ngx_http_variable_value_t, data: usize) -> ngx_int_t {
        match self.0.get() {
            // SAFETY: the caller's promise; `data` is what nginx set beside the function, or the name for a prefix.
            Some(get) => unsafe { get(r.as_ptr(), v, data) },
            None => NGX_ERROR as ngx_int_t,
        }
    }
}

static HEADER: OfNginx = OfNginx::new();
static TRAILER: OfNginx = OfNginx::new();
static COOKIE: OfNginx = OfNginx::new();
static CACHE_STATUS: OfNginx = OfNginx::new();
static PROXY_HOST: OfNginx = OfNginx::new();
static PROXY_PORT: OfNginx = OfNginx::new();

/// Somebody has asked for a response that is not there yet.
static LOOKED_AHEAD: Looked = Looked(Cell::new(false));

struct Looked(Cell<bool>);

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for Looked {}

type Text = fn(&Client) -> Option<Vec<u8>>;

/// The numbers of two.
const STATUS: usize = 0;
const REASON: usize = 1;

/// The variables, in the order of their numbers.
const VARIABLES: [(&str, Text); 6] = [
    ("swr_cache_status", |c| {
        c.seen.status.map(|s| s.as_str().into())
    }),
    ("swr_cache_reason", |c| {
        c.seen.reason.map(|r| r.as_str().into())
    }),
    ("swr_cache_age", |c| {
        c.seen.age.map(|n| n.to_string().into())
    }),
    ("swr_cache_ttl", |c| {
        c.seen.ttl.map(|n| n.to_string().into())
    }),
    ("swr_cache_key", |c| Some(key::text(c.key()).to_vec())),
    ("swr_cache_fetch_time", |c| {
        c.seen
            .fetch_took
            .map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000).into())
    }),
];

/// Makes the variables known.
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

/// The configuration has been read: nginx's variables of the origin's response become right in a client's request too. nginx copies
/// the functions to where it calls them after this (ngx_http_variables_init_vars).
pub(crate) fn install(cf: *mut ngx_conf_t) {
    // SAFETY: in postconfiguration, `cf.ctx` is the http context and the core module's main configuration is there; its array holds
    // variables, and its list of keys has a variable to each.
    unsafe {
        let ctx: *mut ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *mut ngx_http_core_main_conf_t = (*(*ctx).main_conf.add(index)).cast();
        let prefixes: *mut ngx_http_variable_t = (*core).prefix_variables.elts.cast();
        for n in 0..(*core).prefix_variables.nelts {
            let variable = &mut *prefixes.add(n);
            match bytes_of(&variable.name) {
                b"upstream_http_" => HEADER.wrap(variable, get_header),
                b"upstream_trailer_" => TRAILER.wrap(variable, get_trailer),
                b"upstream_cookie_" => COOKIE.wrap(variable, get_cookie),
                _ => {}
            }
        }
        let keys = &(*(*core).variables_keys).keys;
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

/// Has nginx read the origin's header, of the request's own upstream or of what stands in for it.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe fn read(
    of_nginx: &OfNginx,
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
        match Ctx::client(r).and_then(Client::origin_header) {
            Some(header) => {
                arrival::note_look_back(r);
                header.shown_to(r, get)
            }
            None => {
                LOOKED_AHEAD.0.set(true);
                get()
            }
        }
    })
}

/// `$upstream_cache_status`: of nginx's own cache where it took part, else of this one.
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
        match Ctx::client(r) {
            Some(client) if v.not_found() != 0 => {
                let own = || client.seen.status.map(|status| status.as_str().into());
                give(r, v, client.seen.below.clone().or_else(own));
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
    unsafe { target(&PROXY_HOST, r, v, data, |target| target.host) }
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
    unsafe { target(&PROXY_PORT, r, v, data, |target| target.port) }
}

/// What nginx has from `proxy_pass`, where that has had its turn; else what it would have.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe fn target(
    of_nginx: &OfNginx,
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
    part: fn(Target) -> Vec<u8>,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: the caller's promise.
        let r = unsafe { Req::new(r) };
        // SAFETY: the caller's promise.
        let rc = unsafe { of_nginx.get(r, v, data) };
        // SAFETY: the value, which nginx's function has filled.
        let v = unsafe { &mut *v };
        if v.not_found() != 0 {
            give(r, v, proxy_target::target(r).map(part));
        }
        rc
    })
}

/// What nginx's own cache did for a request.
pub(crate) fn cache_status(r: Req) -> Option<Vec<u8>> {
    // SAFETY: all-zero is a valid start for this C struct.
    let mut v: ngx_http_variable_value_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live request, and a value to fill.
    let rc = unsafe { CACHE_STATUS.get(r, &mut v, 0) };
    (is_ok(rc) && v.not_found() == 0).then(|| v.as_bytes().to_vec())
}

/// Evaluates something before the response is there. If that looked for the response, nothing of what was computed is remembered
/// with the request: nginx would take it for the truth later, too.
pub(crate) fn without_traces<T>(r: Req, evaluate: impl FnOnce() -> T) -> T {
    LOOKED_AHEAD.0.set(false);
    let before = indexed(r).to_vec();
    let value = evaluate();
    if LOOKED_AHEAD.0.take() {
        indexed(r).copy_from_slice(&before);
    }
    value
}

/// The values that a request has for the variables which the configuration names.
pub(crate) fn indexed<'a>(r: Req) -> &'a mut [ngx_http_variable_value_t] {
    let n = known(r).len();
    if n == 0 {
        return &mut [];
    }
    // SAFETY: a request has a value for each indexed variable of its configuration; short-lived, as `Req::raw`.
    unsafe { std::slice::from_raw_parts_mut(r.raw().variables, n) }
}

/// The variables that the configuration names.
pub(crate) fn known<'a>(r: Req) -> &'a [ngx_http_variable_t] {
    // SAFETY: the array of the core module's main configuration, which lives as long as the cycle.
    unsafe {
        let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const ngx_http_core_main_conf_t = (*r.raw().main_conf.add(index)).cast();
        match (*core).variables.nelts {
            0 => &[],
            n => std::slice::from_raw_parts((*core).variables.elts.cast(), n),
        }
    }
}

fn give(r: Req, v: &mut ngx_http_variable_value_t, text: Option<Vec<u8>>) {
    let copy = text
        .filter(|t| !t.is_empty())
        .and_then(|text| r.pool().copy(&text));
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
        let text = Ctx::of(r).and_then(|ctx| match (&ctx.role, number) {
            (Role::Client(client), number) => (VARIABLES.get(number)?.1)(client),
            (Role::Purge(_), STATUS) => Some(b"PURGE".to_vec()),
            (Role::Purge(reason), REASON) => Some(reason.as_str().into()),
            _ => None,
        });
        give(r, v, text);
        NGX_OK as ngx_int_t
    })
}
