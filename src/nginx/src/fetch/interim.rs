//! Interim responses of an HTTP origin (1xx, RFC 9110 §15.2): they are passed on to the client that waits, and never taken for the response.
//!
//! nginx before 1.29 takes the first header that comes for the final one, later ones know `103 Early Hints` (`NGX_HTTP_UPSTREAM_EARLY_HINTS`)
//! and would send them to the fetch, which has no client. So a fetch puts a step before the parser of its
//! upstream: a header with an interim status is passed on, forgotten, and parsed past. nginx sets the parser anew when it goes on to the
//! header's fields and when it tries another server; the step is put back each time.
//!
//! Requests that pass the cache are left to nginx.

use std::cell::Cell;
use std::mem;

use nginx_sys::{
    NGX_AGAIN, NGX_ERROR, NGX_HTTP_SWITCHING_PROTOCOLS, NGX_HTTP_UPSTREAM_INVALID_HEADER,
    NGX_HTTP_VERSION_11, ngx_hash_find, ngx_hash_key, ngx_http_request_t,
    ngx_http_upstream_headers_in_t, ngx_http_upstream_t, ngx_int_t,
};
#[cfg(nginx_has = "ngx_http_core_loc_conf_s.early_hints")]
use nginx_sys::{ngx_http_send_early_hints, ngx_http_top_early_hints_filter};

use swrcache::http::{Exclusions, Fields, limits};

use crate::sys::boundary::guard;
use crate::sys::header_list::{self, new_list};
use crate::sys::pool::bytes_of;
use crate::sys::record;
use crate::sys::request::{Req, is_ok};
#[cfg(nginx_has = "ngx_http_core_loc_conf_s.early_hints")]
use crate::sys::response_header::push;

type Callback = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// With more of them before the final response, the header counts as invalid.
const MOST: u32 = 32;

/// Shows the client that leads a fetch an interim response.
type Tell = fn(Req, &ngx_http_upstream_headers_in_t);

/// A note of a fetch's request: the upstream's own callbacks, where ours stand in for them.
struct Interim {
    parse: Cell<Option<Callback>>,
    again: Option<Callback>,
    seen: Cell<u32>,
    tell: Tell,
}

/// Watches for interim responses to a fetch that has just been started; `tell` is called with each.
pub(crate) fn watch(r: Req, tell: Tell) -> Option<()> {
    let upstream = upstream(r)?;
    // SAFETY: an upstream has its configuration.
    let module = bytes_of(unsafe { &(*upstream.conf).module });
    let has_interim = module == b"proxy" || module == b"grpc";
    if has_interim && upstream.process_header.is_some() && upstream.reinit_request.is_some() {
        record::note(
            r,
            Interim {
                parse: Cell::new(upstream.process_header),
                again: upstream.reinit_request,
                seen: Cell::new(0),
                tell,
            },
        )?;
        upstream.process_header = Some(process_header);
        upstream.reinit_request = Some(reinit_request);
    }
    Some(())
}

fn interim<'a>(r: Req) -> Option<&'a Interim> {
    record::noted(r)
}

fn upstream<'a>(r: Req) -> Option<&'a mut ngx_http_upstream_t> {
    // SAFETY: NULL or the upstream of this request, which lives in its pool.
    unsafe { r.raw().upstream.as_mut() }
}

/// In the place of the upstream's `process_header`.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn process_header(r: *mut ngx_http_request_t) -> ngx_int_t {
    let failed = NGX_ERROR as ngx_int_t;
    guard("the header of an origin", failed, || {
        // SAFETY: nginx passes a live request.
        parse(unsafe { Req::new(r) }).unwrap_or(failed)
    })
}

/// In the place of the upstream's `reinit_request`: the next server is tried.
///
/// # Safety
/// As [`process_header`].
unsafe extern "C" fn reinit_request(r: *mut ngx_http_request_t) -> ngx_int_t {
    let failed = NGX_ERROR as ngx_int_t;
    guard("the next origin", failed, || {
        // SAFETY: nginx passes a live request.
        begin_again(unsafe { Req::new(r) }).unwrap_or(failed)
    })
}

fn parse(r: Req) -> Option<ngx_int_t> {
    let interim = interim(r)?;
    loop {
        let own = interim.parse.get()?;
        // SAFETY: what the upstream had set for this very request.
        let rc = unsafe { own(r.as_ptr()) };
        step_before(r, interim)?;
        let upstream = upstream(r)?;
        // The upstream is ready for the next header then.
        let is_known = is_early_hints(rc);
        let has_more = is_known || is_ok(rc) && is_interim(upstream.headers_in.status_n);
        if !has_more {
            return Some(rc);
        }
        interim.seen.set(interim.seen.get() + 1);
        if interim.seen.get() > MOST {
            return Some(NGX_HTTP_UPSTREAM_INVALID_HEADER as ngx_int_t);
        }
        hide(upstream);
        (interim.tell)(r, &upstream.headers_in);
        if !is_known {
            begin_again(r).filter(|rc| is_ok(*rc))?;
        }
        forget_header(r)?;
        if has_read_all(r)? {
            return Some(NGX_AGAIN as ngx_int_t);
        }
    }
}

/// Whether all that has come from the origin has been parsed.
fn has_read_all(r: Req) -> Option<bool> {
    let buffer = &upstream(r)?.buffer;
    Some(buffer.pos == buffer.last)
}

/// `101` ends the protocol, and is no interim response to a fetch.
fn is_interim(status: usize) -> bool {
    (100..200).contains(&status) && status != NGX_HTTP_SWITCHING_PROTOCOLS as usize
}

#[cfg(nginx_has = "ngx_http_core_loc_conf_s.early_hints")]
fn is_early_hints(rc: ngx_int_t) -> bool {
    rc == nginx_sys::NGX_HTTP_UPSTREAM_EARLY_HINTS as ngx_int_t
}

#[cfg(not(nginx_has = "ngx_http_core_loc_conf_s.early_hints"))]
fn is_early_hints(_: ngx_int_t) -> bool {
    false
}

/// Deletes what nginx would not pass on of the final response either: `proxy_hide_header`, and what is for nginx alone.
fn hide(upstream: &mut ngx_http_upstream_t) {
    // SAFETY: an upstream has its configuration, which nobody else looks at meanwhile.
    let hidden = unsafe { &raw mut (*upstream.conf).hide_headers_hash };
    header_list::delete(&mut upstream.headers_in.headers, |name| {
        let lower = name.to_ascii_lowercase();
        // SAFETY: a hash that nginx has built, and a name of that length.
        unsafe {
            let key = ngx_hash_key(lower.as_ptr().cast_mut(), lower.len());
            !ngx_hash_find(hidden, key, lower.as_ptr().cast_mut(), lower.len()).is_null()
        }
    });
}

fn begin_again(r: Req) -> Option<ngx_int_t> {
    let interim = interim(r)?;
    let own = interim.again?;
    // SAFETY: what the upstream had set for this very request.
    let rc = unsafe { own(r.as_ptr()) };
    step_before(r, interim)?;
    Some(rc)
}

/// Puts our step back before the parser that the upstream has set meanwhile.
fn step_before(r: Req, interim: &Interim) -> Option<()> {
    let upstream = upstream(r)?;
    let set = upstream.process_header.replace(process_header);
    // Ours, if nothing was set: the old one stays.
    if !set.is_some_and(|set| std::ptr::fn_addr_eq(set, process_header as Callback)) {
        interim.parse.set(set);
    }
    Some(())
}

/// Discards a header, as ngx_http_upstream_reinit does.
fn forget_header(r: Req) -> Option<()> {
    let upstream = upstream(r)?;
    // SAFETY: all-zero is a valid start for this C struct.
    upstream.headers_in = unsafe { mem::zeroed() };
    upstream.headers_in.content_length_n = -1;
    upstream.headers_in.last_modified_time = -1;
    new_list(r.pool(), &mut upstream.headers_in.headers, 8)?;
    new_list(r.pool(), &mut upstream.headers_in.trailers, 2)?;
    // SAFETY: NULL or live, as the upstream. nginx sets a status that is not set.
    if let Some(state) = unsafe { upstream.state.as_mut() } {
        state.status = 0;
    }
    Some(())
}

/// Passes an interim response on to a client whose answer has not begun. Where nginx knows early hints, it sends them over any version of
/// HTTP; else they are sent over HTTP/1.1 alone. Other clients miss a hint.
pub(crate) fn pass_on(r: Req, status: &[u8], fields: &dyn Fields) {
    let raw = r.raw();
    let is_next =
        r.is_main() && r.is_active() && raw.header_sent() == 0 && !r.is_blocked() && !r.is_held();
    // nginx itself sends 100, when it reads the body.
    if !is_next || status.starts_with(b"100") || limits::check(fields).is_err() {
        return;
    }
    let sent_by_nginx = status.starts_with(b"103") && hint(r, fields).is_some();
    if !sent_by_nginx && raw.http_version == NGX_HTTP_VERSION_11 as usize {
        write(r, status, fields);
    }
}

/// Has nginx send `103 Early Hints`, if its `early_hints` allows that here; where `early_hints` is not set, to all.
#[cfg(nginx_has = "ngx_http_core_loc_conf_s.early_hints")]
fn hint(r: Req, fields: &dyn Fields) -> Option<()> {
    // What other modules have set so far belongs to the final response.
    let own = r.raw().headers_out.headers;
    let mut whole = new_list(r.pool(), &mut r.raw().headers_out.headers, 8);
    each_of_its_own(fields, &mut |name, value| {
        let pool = r.pool();
        let push = || push(r, pool.copy(name)?, pool.copy(value)?).map(|_| ());
        whole = whole.and_then(|()| push());
    });
    if whole.is_some() {
        // SAFETY: nginx's own, for a request whose header has not been sent; it has built the chain of filters.
        let rc = unsafe {
            match ngx_http_top_early_hints_filter {
                Some(filter) if !is_said(r) => filter(r.as_ptr()),
                _ => ngx_http_send_early_hints(r.as_ptr()),
            }
        };
        if rc == NGX_ERROR as ngx_int_t {
            r.connection().set_error(1);
        }
    }
    r.raw().headers_out.headers = own;
    Some(())
}

/// Whether `early_hints` is set here.
#[cfg(nginx_has = "ngx_http_core_loc_conf_s.early_hints")]
fn is_said(r: Req) -> bool {
    !r.core_conf().early_hints.is_null()
}

#[cfg(not(nginx_has = "ngx_http_core_loc_conf_s.early_hints"))]
fn hint(_: Req, _: &dyn Fields) -> Option<()> {
    None
}

/// Writes an interim response before the final one, past nginx's filters, which know the final one only (as nginx does itself
/// with `100 Continue`, ngx_http_test_expect).
fn write(r: Req, status: &[u8], fields: &dyn Fields) {
    let mut text = [b"HTTP/1.1 ", status, b"\r\n"].concat();
    each_of_its_own(fields, &mut |name, value| {
        text.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    });
    text.extend_from_slice(b"\r\n");
    let c = r.connection();
    let Some(send) = c.send else { return };
    // SAFETY: the connection's own function, for bytes that live until it returns.
    let sent = unsafe { send(c, text.as_mut_ptr(), text.len()) };
    if sent != text.len() as isize && sent != NGX_AGAIN as isize {
        // The response would follow in the middle of it.
        c.set_error(1);
    }
}

/// The fields that the origin sent to the client with it.
fn each_of_its_own(fields: &dyn Fields, f: &mut dyn FnMut(&[u8], &[u8])) {
    Exclusions::connection(fields).kept(fields, &mut |name, value| {
        // nginx adds empty ones of its own (ngx_http_proxy_process_header).
        let is_own = value.is_empty() || name.eq_ignore_ascii_case(b"content-length");
        if !is_own && !is_for_nginx(name) {
            f(name, value);
        }
    });
}

/// `X-Accel-*`: what an origin tells nginx.
fn is_for_nginx(name: &[u8]) -> bool {
    const START: &[u8] = b"x-accel-";
    name.get(..START.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(START))
}
