//! A request of the cache's own: a copy of a client's, on a connection that has no client.
//!
//! nginx would run a background subrequest on the client's connection and hold that until it ends; here the fetch
//! stands alone. It takes over where the client's request stood, behind the access phase, which has run once, for the
//! client. Variables and captures are copied, so that what `set`, `map` or `auth_request_set` computed for the client holds. It is not a
//! visitor's request: nginx neither logs nor counts it.

use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::AtomicIsize;
use std::sync::atomic::Ordering::Relaxed;

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_buf_t, ngx_chain_t, ngx_connection_t, ngx_event_handler_pt,
    ngx_http_create_request, ngx_http_get_flushed_variable, ngx_http_request_body_t,
    ngx_http_update_location_config, ngx_http_variable_t, ngx_http_variable_value_t,
};
use swrcache::engine::Fetch;

use crate::fetch::connection::{close, connect};
use crate::fetch::key_cookies;
use crate::sys::boundary::guard;
use crate::sys::header_list::{List, new_list};
use crate::sys::own_connection::{self, OwnConnection};
use crate::sys::pool::{Pool, bytes_of, copy_bytes, str_of};
use crate::sys::request::Req;
use crate::sys::request_header::add_field;
use crate::sys::symbol::symbol;
use crate::sys::variables;

/// The request that a fetch is a copy of.
#[derive(Clone, Copy)]
pub(crate) struct Original<'a> {
    r: Req,
    /// What its answer may have changed since; `None` if it has not begun to be answered.
    before: Option<&'a Before>,
}

impl<'a> Original<'a> {
    /// A request as it is.
    pub(crate) fn now(r: Req) -> Original<'a> {
        Original { r, before: None }
    }

    /// A request as it was before its answer.
    pub(crate) fn before(r: Req, before: &'a Before) -> Original<'a> {
        Original {
            r,
            before: Some(before),
        }
    }
}

/// What the answer to a request may change of what a fetch copies: filters evaluate variables that describe the answer, and regular
/// expressions, of which nginx keeps what the last one has captured (`$1`).
pub(crate) struct Before {
    variables: Vec<ngx_http_variable_value_t>,
    captures: Captures,
}

impl Before {
    pub(crate) fn of(r: Req) -> Before {
        Before {
            variables: variables::indexed(r).to_vec(),
            captures: Captures::of(r),
        }
    }
}

/// Makes the request of a fetch, which does not run yet. `None` without a free connection or memory.
pub(crate) fn make(
    client: Original<'_>,
    life: &Fetch,
    on_event: ngx_event_handler_pt,
) -> Option<Req> {
    let r = bare(connect(client.r, on_event)?, client.r)?;
    if fill(client, r, life).is_none() || follow(client.r, r).is_none() {
        abandon(r);
        return None;
    }
    Some(r)
}

/// A fetch comes by what the request comes by that leads it.
fn follow(client: Req, fetch: Req) -> Option<()> {
    match own_connection::known(client.connection()) {
        None => Some(()),
        Some(own) => {
            let own = OwnConnection {
                connection: fetch.connection(),
                of_fetch: true,
                ..own
            };
            keep_own_connection(fetch, own)
        }
    }
}

/// Keeps what is known of the connection of a request until the request ends.
pub(crate) fn keep_own_connection(r: Req, own: OwnConnection) -> Option<()> {
    r.on_end(end_own_connection, own.connection.cast_mut().cast())?;
    own_connection::begin(own);
    Some(())
}

/// # Safety
/// Nothing is asked of the caller: the pointer is only compared.
unsafe extern "C" fn end_own_connection(connection: *mut c_void) {
    guard("the end of a refresh", (), || {
        own_connection::end(connection.cast_const().cast());
    });
}

/// Makes a request on a connection without a client, with nothing in it.
pub(crate) fn bare(c: *mut ngx_connection_t, client: Req) -> Option<Req> {
    // SAFETY: the connection is complete; nginx gives NULL or a request on it.
    let raw = unsafe { ngx_http_create_request(c).as_mut() };
    let Some(raw) = raw else {
        close(c);
        return None;
    };
    // SAFETY: fresh, and alive until we finalize it.
    let r = unsafe { Req::new(raw) };
    r.connection().data = r.as_ptr().cast();
    // nginx has counted this one.
    r.connection().requests = client.connection().requests;
    take_out_of_counts();
    if r.on_end(put_back_into_counts, ptr::null_mut()).is_none() {
        // SAFETY: nothing is asked of the caller.
        unsafe { put_back_into_counts(ptr::null_mut()) };
        abandon(r);
        return None;
    }
    Some(r)
}

/// Ends a request that has not started.
pub(crate) fn abandon(r: Req) {
    r.raw().set_logged(1);
    r.outside(|| r.finalize(nginx_sys::NGX_ERROR as isize));
}

/// Undoes what nginx has counted (ngx_http_alloc_request): a fetch is not a visitor's request.
fn take_out_of_counts() {
    count(c"ngx_stat_requests", -1);
    count(c"ngx_stat_reading", -1);
}

/// Balances what nginx is about to subtract although it is not in the counts: a request that is being read (ngx_http_free_request), and a
/// connection (ngx_http_close_connection).
///
/// # Safety
/// Nothing is asked of the caller: no pointer is looked at.
unsafe extern "C" fn put_back_into_counts(_: *mut c_void) {
    count(c"ngx_stat_reading", 1);
    count(c"ngx_stat_active", 1);
}

/// Changes a counter of `stub_status`, where nginx has that compiled in.
fn count(counter: &CStr, n: isize) {
    let counter: *mut *mut AtomicIsize = symbol(counter).cast();
    // SAFETY: NULL, or nginx's variable, which points to a counter in memory that all workers share.
    if let Some(counter) = unsafe { counter.as_ref().and_then(|c| c.as_ref()) } {
        counter.fetch_add(n, Relaxed);
    }
}

/// Copies the client's request as it is now. A field that is new to nginx fails the build (`build/request.rs`). Of
/// `ngx_http_request_t`
///
/// | fields | in the fetch |
/// |---|---|
/// | configuration, URI in all its forms and what was found about it (`add_uri_to_alias`, `valid_location` ...), method, protocol, `schema` | the client's; `HEAD` becomes `GET` |
/// | `headers_in`, `request_body` | copies ([`copy_fields`], [`copy_body`]) |
/// | `variables`, `captures` | copies |
/// | `start_sec`, `start_msec`, `request_length`, `pipeline` | the client's: variables tell them |
/// | `limit_conn_status`, `limit_req_status`, `internal`, `uri_changes` | the client's: a fetch is not limited or counted again |
/// | `error_page` | as if one had been followed already: none is looked up then (ngx_http_special_response_handler), see [`crate::fetch::redirect`] |
/// | `content_handler`, `phase_handler` | the client's: the fetch goes on from there |
/// | `stream`, `v3_parse`, `header_in`, `http_connection` | its own: it has no client to read from |
/// | `headers_out`, `err_status`, `limit_rate` and the flags of filters | its own: the origin's response is judged as it came, and sent by the client's request |
/// | `upstream`, `upstream_states`, `cache`, `cleanup`, `count` and everything else of a running request | its own |
/// | the state of the request parser (`state`, `header_name_start`, `host_start` ...) | unused: nothing is parsed |
fn fill(client: Original<'_>, r: Req, life: &Fetch) -> Option<()> {
    let (from, mut to, pool) = (client.r.raw(), r.raw(), r.pool());
    to.set_logged(1);
    to.set_internal(from.internal());
    to.set_error_page(1);
    // nginx counts and delays a request once, whatever redirects follow.
    to.set_limit_req_status(from.limit_req_status());
    to.set_limit_conn_status(from.limit_conn_status());
    to.main_conf = from.main_conf;
    to.srv_conf = from.srv_conf;
    to.loc_conf = from.loc_conf;
    // A HEAD fetches the whole response so that it can be stored, unless the location says otherwise (swr_cache_convert_head).
    let is_head = from.method == NGX_HTTP_HEAD as usize && !life.is_head();
    to.method = if is_head {
        NGX_HTTP_GET as usize
    } else {
        from.method
    };
    to.method_name = if is_head {
        str_of(b"GET")
    } else {
        pool.copy_str(from.method_name)?
    };
    to.http_version = from.http_version;
    #[cfg(nginx_has = "ngx_http_request_s.port")]
    {
        to.port = from.port;
    }
    to.request_line = pool.copy_str(from.request_line)?;
    to.uri = pool.copy_str(from.uri)?;
    to.args = pool.copy_str(from.args)?;
    to.exten = pool.copy_str(from.exten)?;
    to.unparsed_uri = pool.copy_str(from.unparsed_uri)?;
    to.http_protocol = pool.copy_str(from.http_protocol)?;
    to.schema = pool.copy_str(from.schema)?;
    to.set_add_uri_to_alias(from.add_uri_to_alias());
    to.set_valid_location(from.valid_location());
    to.set_valid_unparsed_uri(from.valid_unparsed_uri());
    to.set_complex_uri(from.complex_uri());
    to.set_quoted_uri(from.quoted_uri());
    to.set_plus_in_uri(from.plus_in_uri());
    to.set_expect_tested(1);
    to.start_sec = from.start_sec;
    to.start_msec = from.start_msec;
    to.request_length = from.request_length;
    to.set_pipeline(from.pipeline());
    to.set_uri_changes(from.uri_changes());
    copy_fields(client.r, r, life)?;
    copy_body(client.r, r)?;
    let own = own_variables(client.r);
    if life.is_refresh() {
        key_cookies::add(client.r, r, &own)?;
    }
    let now = Before::of(client.r);
    let before = client.before.unwrap_or(&now);
    copy_variables(client.r, &before.variables, r)?;
    before.captures.put(r)?;
    // SAFETY: the configuration pointers are set; sets the flags that hang on the location.
    unsafe { ngx_http_update_location_config(r.as_ptr()) };
    to.set_keepalive(0);
    to.content_handler = from.content_handler;
    to.phase_handler = from.phase_handler + 1;
    Some(())
}

fn copy_fields(client: Req, r: Req, life: &Fetch) -> Option<()> {
    let to = &mut r.raw().headers_in;
    new_list(r.pool(), &mut to.headers, 20)?;
    to.server = r.pool().copy_str(client.raw().headers_in.server)?;
    to.content_length_n = -1;
    to.keep_alive_n = -1;
    let mut ok = Some(());
    let sent = client.raw();
    let fields = List::of(&sent.headers_in.headers);
    life.fields(&fields, &mut |name, value| {
        ok = ok.and_then(|()| add_field(r, name, value));
    });
    ok
}

/// A copy of the body that nginx has read into memory; nothing for a request without one.
fn copy_body(client: Req, r: Req) -> Option<()> {
    // SAFETY: NULL or the body of a live request.
    let from = unsafe { client.raw().request_body.as_ref() };
    let Some(from) = from.filter(|body| client.is_main() && !body.bufs.is_null()) else {
        return Some(());
    };
    let mut bytes = Vec::new();
    let mut link = from.bufs;
    // SAFETY: a body in memory is a chain of memory buffers (`client::entry` lets no other pass).
    while let Some(l) = unsafe { link.as_mut() } {
        // SAFETY: as above.
        let buf = unsafe { &*l.buf };
        // SAFETY: as above.
        bytes.extend_from_slice(unsafe {
            std::slice::from_raw_parts(buf.pos, buf.last as usize - buf.pos as usize)
        });
        link = l.next;
    }
    let pool = r.pool();
    let body = pool.zeroed::<ngx_http_request_body_t>()?;
    let chain = pool.zeroed::<ngx_chain_t>()?;
    let buf = pool.zeroed::<ngx_buf_t>()?;
    let copy = pool.copy(&bytes)?;
    buf.pos = copy.data;
    // SAFETY: the end of the copy.
    buf.last = unsafe { copy.data.add(copy.len) };
    (buf.start, buf.end) = (buf.pos, buf.last);
    buf.set_temporary(1);
    buf.set_last_buf(1);
    body.buf = buf;
    chain.buf = buf;
    body.bufs = chain;
    r.raw().request_body = body;
    r.raw().headers_in.content_length_n = bytes.len() as i64;
    add_field(r, b"Content-Length", bytes.len().to_string().as_bytes())
}

/// Variables that a request computes once, from what it does not share with a fetch: the fetch would compute another value, or none. They
/// are computed in the client's request before they are copied. All of nginx's other variables depend on what a fetch shares with its client.
/// The first two are the module's: a `hash` of an upstream may be of the key.
const OWN: [&[u8]; 15] = [
    b"swr_cache_key",
    b"swr_cache_args",
    b"request_id",
    b"realip_remote_addr",
    b"realip_remote_port",
    b"secure_link",
    b"secure_link_expires",
    b"uid_got",
    b"uid_set",
    b"http2",
    b"http3",
    b"tcpinfo_rtt",
    b"tcpinfo_rttvar",
    b"tcpinfo_snd_cwnd",
    b"tcpinfo_rcv_space",
];

fn is_own(variable: &ngx_http_variable_t) -> bool {
    OWN.contains(&bytes_of(&variable.name))
}

/// Computes these variables in the client's request; gives its values of them alone.
fn own_variables(client: Req) -> Vec<ngx_http_variable_value_t> {
    let known = variables::known(client);
    for (index, _) in known.iter().enumerate().filter(|(_, known)| is_own(known)) {
        // Flushed: it may have been looked at before it had a value.
        // SAFETY: an index of the same configuration.
        unsafe { ngx_http_get_flushed_variable(client.as_ptr(), index) };
    }
    let values = variables::indexed(client).iter().zip(known);
    let own = values.map(|(value, known)| match is_own(known) {
        true => *value,
        // SAFETY: all-zero is a value that has not been computed.
        false => unsafe { mem::zeroed() },
    });
    own.collect()
}

fn copy_variables(client: Req, before: &[ngx_http_variable_value_t], r: Req) -> Option<()> {
    let known = variables::known(r);
    let now = variables::indexed(client).to_vec();
    let values = now.iter().zip(before).zip(variables::indexed(r));
    values
        .zip(known)
        .filter(|(_, known)| !mirrors_a_field(bytes_of(&known.name)))
        .try_for_each(|(((now, before), to), known)| {
            let from = if is_own(known) { now } else { before };
            copy_variable(r.pool(), from, to)?;
            if is_own(known) {
                to.set_no_cacheable(0);
            }
            Some(())
        })
}

/// Copies what was computed for the fetch since to its client, which nginx redirects: without a cache it would be the same request.
pub(crate) fn give_back_variables(fetch: Req, client: Req) -> Option<()> {
    let is_set = |v: &ngx_http_variable_value_t| v.valid() != 0 || v.not_found() != 0;
    let values = variables::indexed(fetch)
        .iter()
        .zip(variables::indexed(client));
    values
        .zip(variables::known(client))
        .filter(|((from, to), known)| {
            is_set(from)
                && from.no_cacheable() == 0
                && !is_set(to)
                && !mirrors_a_field(bytes_of(&known.name))
        })
        .try_for_each(|((from, to), _)| copy_variable(client.pool(), from, to))
}

/// Whether a variable is a field of the request: a fetch has its own value of it, since it sends other fields.
fn mirrors_a_field(name: &[u8]) -> bool {
    name.starts_with(b"http_") || name.starts_with(b"cookie_")
}

fn copy_variable(
    pool: Pool,
    from: &ngx_http_variable_value_t,
    to: &mut ngx_http_variable_value_t,
) -> Option<()> {
    *to = *from;
    if from.valid() != 0 && from.len() > 0 {
        to.data = pool.copy(from.as_bytes())?.data;
    }
    Some(())
}

/// What the last regular expression has captured: where the pieces begin and end, and the text as far as it is needed.
#[derive(Default)]
struct Captures {
    offsets: Vec<c_int>,
    text: Vec<u8>,
}

/// The first two offsets are of the whole match, which no variable shows; they are unset behind a regex without groups.
#[cfg(nginx_has = "ngx_http_request_s.captures")]
const WHOLE: usize = 2;

/// An nginx without regular expressions.
#[cfg(not(nginx_has = "ngx_http_request_s.captures"))]
impl Captures {
    fn of(_: Req) -> Captures {
        Captures::default()
    }

    fn put(&self, _: Req) -> Option<()> {
        Some(())
    }
}

#[cfg(nginx_has = "ngx_http_request_s.captures")]
impl Captures {
    fn of(client: Req) -> Captures {
        let from = client.raw();
        if from.ncaptures <= WHOLE || from.captures.is_null() {
            return Captures::default();
        }
        // SAFETY: room for `ncaptures` offsets (ngx_http_regex_exec).
        let offsets = unsafe { std::slice::from_raw_parts(from.captures, from.ncaptures) };
        let groups = offsets.iter().skip(WHOLE);
        // A group that took no part is at -1.
        let end = groups.clone().copied().max().map_or(0, |n| n.max(0)) as usize;
        let offsets = [0; WHOLE].iter().chain(groups).copied().collect();
        // SAFETY: nginx reads the groups there (ngx_http_script_copy_capture_code): the text lives as long as the request.
        let text = unsafe { std::slice::from_raw_parts(from.captures_data, end) }.to_vec();
        Captures { offsets, text }
    }

    fn put(&self, r: Req) -> Option<()> {
        if self.offsets.is_empty() {
            return Some(());
        }
        // The next regex writes into the same place, and nginx knows it to be as large as the largest of all needs
        // (ngx_http_regex_exec).
        // SAFETY: the main configuration lives as long as the cycle.
        let room = unsafe { (*r.core_main()).ncaptures };
        let mut offsets = self.offsets.clone();
        offsets.resize(room.max(offsets.len()), 0);
        r.raw().captures = copy_bytes(
            r.pool(),
            offsets.as_mut_ptr(),
            size_of_val(offsets.as_slice()) as u32,
        )?;
        r.raw().ncaptures = self.offsets.len();
        r.raw().captures_data = r.pool().copy(&self.text)?.data;
        Some(())
    }
}
