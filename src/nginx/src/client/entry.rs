//! The way in: the PRECONTENT phase, where rewriting and access control are done and no content handler has begun.

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_HTTP_SPECIAL_RESPONSE, ngx_array_push, ngx_conf_t,
    ngx_http_conf_ctx_t, ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_handler_pt,
    ngx_http_phases, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE,
    ngx_http_phases_NGX_HTTP_REWRITE_PHASE, ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE,
    ngx_http_read_client_request_body, ngx_http_request_t, ngx_int_t,
};
use swrcache::engine::{Method, Turn, key};

use crate::api::explain;
use crate::api::purge;
use crate::client::arrival::{self, Target};
use crate::client::request::{Client, phase_result};
use crate::config::location::LocConf;
use crate::fetch::redirect;
use crate::fetch::tls;
use crate::sys::boundary::guard;
use crate::sys::pool::bytes_of;
use crate::sys::record::{Ctx, Role};
use crate::sys::request::{Req, run_phases};

/// Puts the handlers into their phases. nginx runs those of a phase from the last of the list to the first
/// (ngx_http_init_phase_handlers).
///
/// In the phases of `rewrite` ours come first. In that before the content, ours comes last: `mirror` and `try_files` shall have
/// had their turn for every request, as they have before `proxy_cache`. A fetch then takes over behind them.
pub(crate) fn install(cf: *mut ngx_conf_t) -> Option<()> {
    let server = add(cf, ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE)?;
    let location = add(cf, ngx_http_phases_NGX_HTTP_REWRITE_PHASE)?;
    let content = add(cf, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE)?;
    *server.last_mut()? = Some(redirect::server_rewrite);
    *location.last_mut()? = Some(redirect::location_rewrite);
    *content.last_mut()? = Some(precontent);
    content.rotate_right(1);
    Some(())
}

/// The handlers of a phase, with room for one more at their end.
pub(crate) fn add<'a>(
    cf: *mut ngx_conf_t,
    phase: ngx_http_phases,
) -> Option<&'a mut [ngx_http_handler_pt]> {
    // SAFETY: in postconfiguration, `cf.ctx` is the http context and the core module's main configuration is there. nginx fills
    // the arrays of its phases with handlers, on its one thread; all-zero is no handler.
    unsafe {
        let ctx: *mut ngx_http_conf_ctx_t = (*cf).ctx.cast();
        let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *mut ngx_http_core_main_conf_t = (*(*ctx).main_conf.add(index)).cast();
        let handlers = &mut (*core).phases.get_mut(phase as usize)?.handlers;
        let place: *mut ngx_http_handler_pt = ngx_array_push(handlers).cast();
        *place.as_mut()? = None;
        Some(std::slice::from_raw_parts_mut(
            handlers.elts.cast(),
            handlers.nelts,
        ))
    }
}

/// Each request before its content handler.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn precontent(r: *mut ngx_http_request_t) -> ngx_int_t {
    let declined = NGX_DECLINED as ngx_int_t;
    guard("a request", declined, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if let Some(rc) = explain::at_the_cache(r) {
            return rc;
        }
        let conf = r.conf();
        if !conf.is_on() || is_apart(r) || Ctx::here(r).is_some() {
            return declined;
        }
        if let Some(rc) = purge::by_method(r, conf, || key(r, conf)) {
            return rc;
        }
        if !may_enter(r, conf) {
            write_through(r, conf);
            return declined;
        }
        if has_body(r) && r.raw().request_body.is_null() {
            return read_body_first(r);
        }
        enter(r, conf).unwrap_or(declined)
    })
}

/// Whether what the request gets is nothing for others, whatever its target: an error has led it here, or it asks what an earlier
/// origin said to it.
fn is_apart(r: Req) -> bool {
    arrival::is_by_error(r) || r.raw().internal() != 0 && arrival::looks_back(r)
}

/// Whether the cache has anything to do with such a request at all.
pub(crate) fn may_enter(r: Req, conf: &LocConf) -> bool {
    let method = r.method();
    conf.policy.methods.has(method)
        && (!has_body(r) || method == Method::Post)
        && !upgrades(r)
        && !is_grpc(r)
        && !brings_its_type(r)
}

/// A method that is not cached: when the origin has answered, what it wrote to is no longer as stored.
fn write_through(r: Req, conf: &'static LocConf) -> Option<()> {
    if !r.is_main() || conf.policy.methods.has(r.method()) {
        return None;
    }
    let cache = conf.zone(r)?.cache()?;
    let client = Client::of_write(r, conf, cache, key(r, conf)?);
    Ctx::attach(r, Role::Client(client)).map(|_| ())
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

/// A request's body is there: it goes on.
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

/// Whether the client wants another protocol. `h2c` is nothing that nginx would switch to.
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

fn enter(r: Req, conf: &'static LocConf) -> Option<ngx_int_t> {
    if body_is_out_of_reach(r) {
        return None;
    }
    let cache = conf.zone(r)?.cache()?;
    let key = key(r, conf)?;
    let ctx = Ctx::attach(r, Role::Client(Client::new(r, conf, cache, key)))?;
    let Role::Client(client) = &mut ctx.role else {
        return None;
    };
    let step = client.ask(Turn::First);
    Some(phase_result(client, step))
}

/// The primary key, in the request's pool.
fn key(r: Req, conf: &LocConf) -> Option<&'static [u8]> {
    key_for(r, conf, tls::is_on(r.connection()))
}

/// The same for a request that came, or would have come, by that scheme.
pub(crate) fn key_for(r: Req, conf: &LocConf, https: bool) -> Option<&'static [u8]> {
    let Some(values) = &conf.settings.key else {
        return usual_key(r, https);
    };
    match values.as_slice() {
        [value] => made_of(r, &[], &[value.of(r)?]),
        values => {
            let parts: Option<Vec<_>> = values.iter().map(|value| value.of(r)).collect();
            made_of(r, &[], &parts?)
        }
    }
}

/// `$scheme$host$request_uri`, without going through variables.
///
/// A subrequest carries its parent's `$request_uri` (ngx_http_subrequest); its own URI stands in for it.
fn usual_key(r: Req, https: bool) -> Option<&'static [u8]> {
    let raw = r.raw();
    let scheme: &[u8] = if https { b"https" } else { b"http" };
    let host = host(r);
    let start: &[&[u8]] = match authority_apart(r, host, https) {
        None => &[scheme, host],
        Some(sent) => &[scheme, host, sent],
    };
    if r.is_main() {
        return made_of(r, start, &[r.unparsed_uri()]);
    }
    let Target { uri, args } = arrival::sent(r).unwrap_or(Target {
        uri: bytes_of(&raw.uri),
        args: bytes_of(&raw.args),
    });
    // A decoded URI may have a question mark of its own.
    match (args, uri.contains(&b'?')) {
        (b"", false) => made_of(r, start, &[uri]),
        (args, false) => made_of(r, start, &[&[uri, b"?", args].concat()]),
        (args, true) => made_of(r, start, &[uri, args]),
    }
}

/// The authority as the client wrote it, where an origin that is given it (`$http_host`) could answer otherwise than to
/// `$host`: with a port that is neither this server's nor the scheme's, a dot at the end, or another name than that of an
/// absolute request target.
fn authority_apart<'a>(r: Req, host: &[u8], https: bool) -> Option<&'a [u8]> {
    // SAFETY: NULL or an element of the request's header list.
    let sent = bytes_of(unsafe { &r.raw().headers_in.host.as_ref()?.value });
    let (name, port) = sent.split_at_checked(host.len()).unwrap_or((sent, b""));
    if !name.eq_ignore_ascii_case(host) {
        return Some(sent);
    }
    if port.is_empty() || is_own_port(r, port, https) {
        return None;
    }
    Some(sent)
}

/// Whether `port`, with its colon, is one that an authority need not name: the scheme's, or the one that the client has
/// connected to.
fn is_own_port(r: Req, port: &[u8], https: bool) -> bool {
    let c = r.connection();
    let scheme: &[u8] = if https { b":443" } else { b":80" };
    if port == scheme {
        return true;
    }
    // SAFETY: a connection has the address that it was accepted at, or that of its `listen`.
    let own = unsafe { nginx_sys::ngx_inet_get_port(c.local_sockaddr) };
    // Not by way of `parse`: "+80" and "080" are other texts, and an origin may answer them otherwise.
    let digits = port.strip_prefix(b":").unwrap_or_default();
    let number = digits.iter().try_fold(0u32, |n, digit| match digit {
        b'0'..=b'9' if n > 0 || *digit != b'0' => {
            Some(n.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
        }
        _ => None,
    });
    own > 0 && number == Some(own.into())
}

/// The key of these parts, with a branch for the place that the request was led to, in the request's pool; nothing if they are
/// all empty.
fn made_of(r: Req, start: &[&[u8]], rest: &[&[u8]]) -> Option<&'static [u8]> {
    let parts = start.iter().chain(rest).copied();
    if parts.clone().all(<[u8]>::is_empty) {
        return None;
    }
    let place = arrival::place(r).map(|p| [p.named, p.target.uri, p.target.args]);
    let branch = place.iter().map(|place| place.iter().copied());
    let len = key::length(parts.clone()) + branch.clone().map(key::branch_length).sum::<usize>();
    // SAFETY: ngx_pnalloc gives NULL or `len` bytes, which are filled before they are read: the lengths say how many
    // the writers give.
    unsafe {
        let data: *mut u8 = nginx_sys::ngx_pnalloc(r.pool().as_ptr(), len).cast();
        if data.is_null() {
            return None;
        }
        let mut at = data;
        let mut put = |piece: &[u8]| {
            std::ptr::copy_nonoverlapping(piece.as_ptr(), at, piece.len());
            at = at.add(piece.len());
        };
        key::write(parts, &mut put);
        branch.for_each(|branch| key::write_branch(branch, &mut put));
        Some(std::slice::from_raw_parts(data, len))
    }
}

/// `$host`: the request's, else the server's name (ngx_http_variable_host).
fn host<'a>(r: Req) -> &'a [u8] {
    let raw = r.raw();
    if raw.headers_in.server.len > 0 {
        return bytes_of(&raw.headers_in.server);
    }
    // SAFETY: every request has a core server configuration.
    unsafe {
        let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const nginx_sys::ngx_http_core_srv_conf_t = (*raw.srv_conf.add(index)).cast();
        bytes_of(&(*core).server_name)
    }
}
