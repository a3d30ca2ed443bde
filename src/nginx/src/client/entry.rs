//! Which requests enter the cache: in the PRECONTENT phase, where rewriting and access control are done and no content handler has
//! begun.

use nginx_sys::{
    NGX_DONE, NGX_HTTP_SPECIAL_RESPONSE, ngx_http_read_client_request_body, ngx_http_request_t,
    ngx_int_t,
};
use swrcache::engine::Method;

use crate::client::key::key;
use crate::client::record::Client;
use crate::client::{arrival, request};
use crate::config::location::LocConf;
use crate::sys::pool::bytes_of;
use crate::sys::record;
use crate::sys::request::{Req, run_phases};

/// Whether the response must not be shared, whatever the target: the request came here by an error, or it looks at what an earlier
/// origin answered it.
pub(crate) fn is_apart(r: Req) -> bool {
    arrival::is_by_error(r) || r.raw().internal() != 0 && arrival::looks_back(r)
}

/// Handles a request in a location with a cache; gives the phase's return code, or nothing if the request goes on untouched.
pub(crate) fn meet(r: Req, conf: &'static LocConf) -> Option<ngx_int_t> {
    if !may_enter(r, conf) {
        write_through(r, conf);
        return None;
    }
    if has_body(r) && r.raw().request_body.is_null() {
        return Some(read_body_first(r));
    }
    enter(r, conf)
}

/// Whether the cache takes part in such a request at all.
pub(crate) fn may_enter(r: Req, conf: &LocConf) -> bool {
    let method = r.method();
    conf.policy.methods.has(method)
        && (!has_body(r) || method == Method::Post)
        && !upgrades(r)
        && !is_grpc(r)
        && !brings_its_type(r)
}

/// Notes a request whose method is not cached: if the origin answers that it succeeded, what is stored for its target is invalid.
fn write_through(r: Req, conf: &'static LocConf) -> Option<()> {
    if !r.is_main() || conf.policy.methods.has(r.method()) {
        return None;
    }
    let cache = conf.zone(r)?.cache()?;
    record::attach(r, Client::of_write(r, conf, cache, key(r, conf)?)).map(|_| ())
}

fn has_body(r: Req) -> bool {
    let headers = &r.raw().headers_in;
    r.is_main() && (headers.content_length_n > 0 || headers.chunked() != 0)
}

/// A key may be made of the body (`$request_body`), and a fetch sends a copy of it: nginx reads it, then comes back to
/// this phase (as the mirror module does).
fn read_body_first(r: Req) -> ngx_int_t {
    // SAFETY: nginx asks for a live request, as a `Req` is.
    let rc = unsafe { ngx_http_read_client_request_body(r.as_ptr(), Some(body_is_read)) };
    if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
        return rc;
    }
    r.finalize(NGX_DONE as ngx_int_t);
    NGX_DONE as ngx_int_t
}

/// Goes on with a request whose body has been read.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn body_is_read(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a live request.
    let r = unsafe { Req::new(r) };
    r.raw().set_preserve_body(1);
    r.raw().write_event_handler = Some(run_phases);
    r.run_phases();
}

/// Whether the body can't be copied for a fetch: it is in a file, or there is none where one was announced.
fn body_is_out_of_reach(r: Req) -> bool {
    // SAFETY: NULL or the body that nginx has read.
    has_body(r)
        && unsafe { r.raw().request_body.as_ref() }.is_none_or(|body| !body.temp_file.is_null())
}

/// Whether the client asks to switch protocols. nginx never switches to `h2c`.
fn upgrades(r: Req) -> bool {
    // SAFETY: NULL or an element of the request's header list.
    unsafe { r.raw().headers_in.upgrade.as_ref() }
        .is_some_and(|e| !bytes_of(&e.value).eq_ignore_ascii_case(b"h2c"))
}

/// Whether this is a gRPC call, the end of whose answer lies in its trailers: these are not stored (RFC 9111 §3.1), and no
/// fetch carries them.
fn is_grpc(r: Req) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    // SAFETY: NULL or an element of the request's header list.
    let media_type = unsafe { r.raw().headers_in.content_type.as_ref() };
    let start = media_type.and_then(|e| bytes_of(&e.value).get(..TYPE.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
}

/// Whether a file is to be sent as of the type that an `X-Accel-Redirect` came with (ngx_http_set_content_type), not of its own. A
/// content handler of the location's own, such as `proxy_pass`, tells the type itself.
fn brings_its_type(r: Req) -> bool {
    r.raw().headers_out.content_type.len > 0 && r.raw().content_handler.is_none()
}

/// Asks the engine for a decision and carries it out.
fn enter(r: Req, conf: &'static LocConf) -> Option<ngx_int_t> {
    if body_is_out_of_reach(r) {
        return None;
    }
    let cache = conf.zone(r)?.cache()?;
    let key = key(r, conf)?;
    let client = record::attach(r, Client::new(r, conf, cache, key))?;
    Some(request::begin(client))
}
