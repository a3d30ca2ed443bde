//! A request of the cache's own: a copy of a client's, on a connection that has no client.
//!
//! nginx would run a background subrequest on the client's connection and hold that until it ends; here the fetch
//! stands alone. It takes over where the client's request stood, behind the access phase, which has run once, for the
//! client.
//!
//! | what | how | why |
//! |---|---|---|
//! | connection | `ngx_get_connection` on an eventfd that nobody writes to | nginx wants a real descriptor, and calls -1 "already closed" |
//! | the same | `shared` | one such descriptor is enough for a worker: nginx closes it with none of its connections |
//! | events | `active`, and the write event `ready` | upstream code then adds neither to epoll, and believes in a client that takes all |
//! | variables, captures | deep copies | what `set`, `map` or `auth_request_set` computed for the client holds |
//! | TLS | the client's session, up-referenced ([`crate::fetch::tls`]) | `$scheme` and `$ssl_*` |
//! | log | `logged`: no line in the access log | it is no visitor's request |

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicIsize};

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_add_timer, ngx_buf_t, ngx_chain_t, ngx_close_connection,
    ngx_connection_t, ngx_create_pool, ngx_create_temp_buf, ngx_destroy_pool, ngx_event_t,
    ngx_get_connection, ngx_hash_find, ngx_http_connection_t, ngx_http_core_main_conf_t,
    ngx_http_core_module, ngx_http_create_request, ngx_http_get_indexed_variable,
    ngx_http_header_t, ngx_http_log_ctx_s, ngx_http_request_body_t, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_http_update_location_config, ngx_http_variable_t,
    ngx_http_variable_value_t, ngx_list_init, ngx_list_push, ngx_log_t, ngx_post_event,
    ngx_posted_events, ngx_proxy_protocol_t, ngx_str_t, ngx_table_elt_t,
};

use swrcache::engine::Fetch;

use crate::api::variables;
use crate::fetch::interim;
use crate::fetch::tls::{self, symbol};
use crate::sys::boundary::guard;
use crate::sys::header_list::List;
use crate::sys::pool::{Pool, bytes_of, str_of};
use crate::sys::record::Ctx;
use crate::sys::request::Req;

const POOL_SIZE: usize = 4096;

/// Makes the request of a fetch; nothing runs until [`start`]. `None` when a connection or memory is not to be had.
pub(crate) fn make(client: Req, life: &Fetch) -> Option<Req> {
    let c = connect(client)?;
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
    if fill(client, r, life).is_none() {
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

/// Has the request run in a turn of the event loop of its own.
pub(crate) fn start(r: Req) {
    r.raw().write_event_handler = Some(begin);
    wake(r);
}

/// The first turn: up to where the content handler waits for something.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn begin(r: *mut ngx_http_request_t) {
    guard("the start of a fetch", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        let c: *mut ngx_connection_t = r.connection();
        r.run_phases();
        // SAFETY: connection objects outlive their use; closing one marks it, and frees its request.
        if unsafe { (*c).destroyed() == 0 && (*c).data == r.as_ptr().cast() } {
            interim::watch(r);
        }
    });
}

/// Calls the request's write event handler in a turn of its own.
pub(crate) fn wake(r: Req) {
    // SAFETY: the connection's event; closing the connection takes it out of the queue.
    unsafe { ngx_post_event(r.connection().write, &raw mut ngx_posted_events) }
}

/// Ends the request in so many milliseconds, if it has not ended by then. Nothing else sets a timer for what comes from a client
/// that is not there.
pub(crate) fn end_within(r: Req, ms: usize) {
    // SAFETY: the connection's event; closing the connection takes the timer out.
    unsafe { ngx_add_timer(r.connection().read, ms) }
}

/// Both events of a detached connection (after ngx_http_request_handler).
///
/// # Safety
/// `event` is one of a detached connection: its `data` is the connection, the `data` of that is its request, and both
/// live.
unsafe extern "C" fn on_event(event: *mut ngx_event_t) {
    guard("an event of a fetch", (), || {
        // SAFETY: an event's `data` is its connection, a detached connection's `data` is its request.
        let (c, r) = unsafe {
            let c: *mut ngx_connection_t = (*event).data.cast();
            (c, Req::new((*c).data.cast()))
        };
        // SAFETY: as above.
        let (is_write, closing) = unsafe {
            let late = (*event).write() == 0 && (*event).timedout() != 0;
            // nginx times what it takes for its client; the client that a relay waits for has a timer of its own.
            (*event).set_timedout(0);
            ((*event).write() != 0, (*c).close() != 0 || late)
        };
        if closing {
            // The time for an orderly shutdown is over (worker_shutdown_timeout), or that of `end_within`.
            r.terminate();
        } else if Ctx::fetch(r).is_none_or(|fetch| fetch.may_go_on()) {
            let handler = if is_write {
                r.raw().write_event_handler
            } else {
                r.raw().read_event_handler
            };
            if let Some(handler) = handler {
                // SAFETY: nginx's own handler for a live request.
                unsafe { handler(r.as_ptr()) };
            }
        }
        // SAFETY: connection objects outlive their use; nginx checks `destroyed`.
        unsafe { ngx_http_run_posted_requests(c) };
    });
}

/// The descriptor of all connections of this worker that have no client: nothing ever happens to it.
fn idle_descriptor() -> Option<c_int> {
    static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
    if DESCRIPTOR.load(Relaxed) < 0 {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        DESCRIPTOR.store(fd, Relaxed);
    }
    Some(DESCRIPTOR.load(Relaxed)).filter(|fd| *fd >= 0)
}

/// A connection without a client, for a copy of `client`.
fn connect(client: Req) -> Option<*mut ngx_connection_t> {
    let from = client.connection();
    let fd = idle_descriptor()?;
    // SAFETY: the descriptor is open as long as the process.
    let c = unsafe { ngx_get_connection(fd, from.log) };
    // SAFETY: NULL, or a fresh connection from nginx's array.
    let to = unsafe { c.as_mut() }?;
    to.set_shared(1);
    // SAFETY: the log of a connection that is open.
    to.pool = unsafe { ngx_create_pool(POOL_SIZE, from.log) };
    if to.pool.is_null() || dress(from, to, client).is_none() {
        close(c);
        return None;
    }
    Some(c)
}

/// nginx has counted a request of a visitor (ngx_http_alloc_request), which it is not.
fn take_out_of_counts() {
    count(c"ngx_stat_requests", -1);
    count(c"ngx_stat_reading", -1);
}

/// nginx is about to count down what it has not counted, or no more: a request in its first state (ngx_http_free_request), and
/// a connection (ngx_http_close_connection).
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

/// Closes a connection that has no request.
fn close(c: *mut ngx_connection_t) {
    // SAFETY: a connection of `connect`; its pool is ours.
    unsafe {
        let pool = (*c).pool;
        tls::release(&mut *c);
        (*c).set_destroyed(1);
        ngx_close_connection(c);
        if !pool.is_null() {
            ngx_destroy_pool(pool);
        }
    }
}

/// Nothing comes from a client that is not there, and nothing goes to it: what the filters let by must never reach the
/// TLS session that [`tls::share`] has lent.
extern "C" fn receive(_: *mut ngx_connection_t, _: *mut u8, _: usize) -> isize {
    nginx_sys::NGX_ERROR as isize
}

extern "C" fn receive_chain(_: *mut ngx_connection_t, _: *mut ngx_chain_t, _: i64) -> isize {
    nginx_sys::NGX_ERROR as isize
}

/// NGX_CHAIN_ERROR
extern "C" fn send_chain(
    _: *mut ngx_connection_t,
    _: *mut ngx_chain_t,
    _: i64,
) -> *mut ngx_chain_t {
    ptr::without_provenance_mut(usize::MAX)
}

fn dress(from: &ngx_connection_t, to: &mut ngx_connection_t, client: Req) -> Option<()> {
    // SAFETY: the connection's own pool.
    let pool = unsafe { Pool::new(to.pool) };
    to.type_ = libc::SOCK_STREAM;
    to.recv = Some(receive);
    to.send = Some(receive);
    to.recv_chain = Some(receive_chain);
    to.send_chain = Some(send_chain);
    to.listening = from.listening;
    to.sockaddr = copy_bytes(pool, from.sockaddr, from.socklen)?;
    to.socklen = from.socklen;
    to.addr_text = pool.copy_str(from.addr_text)?;
    to.local_sockaddr = copy_bytes(pool, from.local_sockaddr, from.local_socklen)?;
    to.local_socklen = from.local_socklen;
    to.proxy_protocol = copy_proxy_protocol(pool, from.proxy_protocol)?;
    // nginx looks into it when it decides how to close.
    // SAFETY: the pool was made for this connection.
    to.buffer = unsafe { ngx_create_temp_buf(to.pool, 1) };
    if to.buffer.is_null() {
        return None;
    }
    // `$connection`, `$connection_requests` and `$connection_time` tell of the client's.
    to.number = from.number;
    to.start_time = from.start_time;
    // NGX_TCP_NODELAY_DISABLED, NGX_TCP_NOPUSH_DISABLED: an eventfd knows no socket options.
    to.set_tcp_nodelay(2);
    to.set_tcp_nopush(2);
    to.set_sendfile(0);
    let hc = pool.zeroed::<ngx_http_connection_t>()?;
    // SAFETY: a plain copy (of the main request's: a subrequest has none); the pointers to the configuration stay good
    // for the cycle.
    unsafe { ptr::copy_nonoverlapping(client.main().raw().http_connection, hc, 1) };
    hc.busy = ptr::null_mut();
    hc.free = ptr::null_mut();
    hc.nbusy = 0;
    to.data = ptr::from_mut(hc).cast();
    dress_log(from, to, pool)?;
    dress_events(to);
    tls::share(from, to, pool)
}

fn dress_log(from: &ngx_connection_t, to: &mut ngx_connection_t, pool: Pool) -> Option<()> {
    let log = pool.zeroed::<ngx_log_t>()?;
    let ctx = pool.zeroed::<ngx_http_log_ctx_s>()?;
    // SAFETY: a plain copy of a live log.
    unsafe { ptr::copy_nonoverlapping(from.log, log, 1) };
    ctx.connection = to;
    log.data = ptr::from_mut(ctx).cast();
    log.connection = to.number;
    log.action = c"fetching for the cache".as_ptr().cast_mut();
    to.log = log;
    // SAFETY: the pool is live.
    unsafe { (*to.pool).log = log };
    Some(())
}

fn dress_events(c: &mut ngx_connection_t) {
    // SAFETY: a connection always has its two events.
    let (read, write) = unsafe { (&mut *c.read, &mut *c.write) };
    for event in [&mut *read, &mut *write] {
        event.handler = Some(on_event);
        event.log = c.log;
        event.set_active(1);
    }
    write.set_ready(1);
}

fn copy_bytes<T>(pool: Pool, from: *mut T, len: u32) -> Option<*mut T> {
    if from.is_null() {
        return Some(from);
    }
    // SAFETY: an address of `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len as usize) };
    // SAFETY: ngx_palloc aligns for any type.
    let to: *mut u8 = unsafe { nginx_sys::ngx_palloc(pool.as_ptr(), bytes.len()).cast() };
    if to.is_null() {
        return None;
    }
    // SAFETY: fresh memory of that size.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    Some(to.cast())
}

fn copy_proxy_protocol(
    pool: Pool,
    from: *mut ngx_proxy_protocol_t,
) -> Option<*mut ngx_proxy_protocol_t> {
    // SAFETY: NULL or a live one.
    let Some(from) = (unsafe { from.as_ref() }) else {
        return Some(ptr::null_mut());
    };
    let to = pool.zeroed::<ngx_proxy_protocol_t>()?;
    // SAFETY: a plain copy, whose strings are replaced next.
    unsafe { ptr::copy_nonoverlapping(from, to, 1) };
    to.src_addr = pool.copy_str(from.src_addr)?;
    to.dst_addr = pool.copy_str(from.dst_addr)?;
    #[cfg(nginx_has = "ngx_table_elt_s.next")]
    {
        to.tlvs = pool.copy_str(from.tlvs)?;
    }
    Some(to)
}

/// Copies what the client's request has come to by now. A field that is new to nginx fails the build (`build/request.rs`). Of
/// `ngx_http_request_t`
///
/// | fields | in the fetch |
/// |---|---|
/// | configuration, URI in all its forms and what was found about it (`add_uri_to_alias`, `valid_location` ...), method, protocol, `schema` | the client's; `HEAD` becomes `GET` |
/// | `headers_in`, `request_body` | copies ([`copy_fields`], [`copy_body`]) |
/// | `variables`, `captures` | copies |
/// | `start_sec`, `start_msec`, `request_length`, `pipeline` | the client's: variables tell them |
/// | `limit_conn_status`, `limit_req_status`, `internal`, `uri_changes` | the client's: what was done is not done again |
/// | `error_page` | as if one had been followed already: none is looked up then (ngx_http_special_response_handler), see [`crate::fetch::redirect`] |
/// | `content_handler`, `phase_handler` | the client's: the fetch goes on from there |
/// | `stream`, `v3_parse`, `header_in`, `http_connection` | its own: it has no client to read from |
/// | `headers_out`, `err_status`, `limit_rate` and the flags of filters | its own: the origin's response is judged as it came, and goes out by the client's request |
/// | `upstream`, `upstream_states`, `cache`, `cleanup`, `count` and all the state of running | its own |
/// | where the parser of requests stands (`state`, `header_name_start`, `host_start` ...) | unused: nothing is parsed |
fn fill(client: Req, r: Req, life: &Fetch) -> Option<()> {
    let (from, to, pool) = (client.raw(), r.raw(), r.pool());
    to.set_logged(1);
    to.set_internal(from.internal());
    to.set_error_page(1);
    // nginx counts and delays a request once, whatever redirects follow.
    to.set_limit_req_status(from.limit_req_status());
    to.set_limit_conn_status(from.limit_conn_status());
    to.main_conf = from.main_conf;
    to.srv_conf = from.srv_conf;
    to.loc_conf = from.loc_conf;
    // A HEAD fetches the whole, so that it can be stored, unless the location has it otherwise.
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
    copy_fields(client, r, life)?;
    copy_body(client, r)?;
    copy_variables(client, r)?;
    copy_captures(client, r)?;
    // SAFETY: the configuration pointers are set; sets the flags that hang on the location.
    unsafe { ngx_http_update_location_config(r.as_ptr()) };
    to.set_keepalive(0);
    to.content_handler = from.content_handler;
    to.phase_handler = from.phase_handler + 1;
    Some(())
}

fn copy_fields(client: Req, r: Req, life: &Fetch) -> Option<()> {
    let to = &mut r.raw().headers_in;
    // SAFETY: the list is part of a live request.
    let rc = unsafe {
        ngx_list_init(
            &mut to.headers,
            r.pool().as_ptr(),
            20,
            size_of::<ngx_table_elt_t>(),
        )
    };
    if !crate::sys::request::is_ok(rc) {
        return None;
    }
    to.server = r.pool().copy_str(client.raw().headers_in.server)?;
    to.content_length_n = -1;
    to.keep_alive_n = -1;
    let mut ok = Some(());
    let fields = List::of(&client.raw().headers_in.headers);
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

/// Takes all fields out of a request.
pub(crate) fn clear_fields(r: Req) -> Option<()> {
    let to = &mut r.raw().headers_in;
    // SAFETY: all-zero is where nginx begins with these (ngx_http_create_request); the list is set up next.
    *to = unsafe { std::mem::zeroed() };
    to.content_length_n = -1;
    to.keep_alive_n = -1;
    // SAFETY: the list is part of a live request.
    let rc = unsafe {
        ngx_list_init(
            &mut to.headers,
            r.pool().as_ptr(),
            20,
            size_of::<ngx_table_elt_t>(),
        )
    };
    crate::sys::request::is_ok(rc).then_some(())
}

/// Adds a `Host` field, by which nginx chooses the server among those of the request's address.
pub(crate) fn add_host(r: Req, authority: &[u8]) -> Option<()> {
    add_field(r, b"Host", authority)?;
    // SAFETY: the field that was just added; its handler wants to find none noted.
    let e = unsafe { r.raw().headers_in.host.as_mut()? };
    r.raw().headers_in.host = ptr::null_mut();
    call_handler(r, e, b"host")
}

/// Adds a request field and has nginx note it where it looks for it.
pub(crate) fn add_field(r: Req, name: &[u8], value: &[u8]) -> Option<()> {
    let pool = r.pool();
    // SAFETY: the list of a live request.
    let e = unsafe {
        ngx_list_push(&mut r.raw().headers_in.headers)
            .cast::<ngx_table_elt_t>()
            .as_mut()?
    };
    // SAFETY: all-zero is a valid element.
    *e = unsafe { std::mem::zeroed() };
    e.key = pool.copy(name)?;
    e.value = copy_terminated(pool, value)?;
    let lower = pool.copy(&name.to_ascii_lowercase())?;
    e.lowcase_key = lower.data;
    e.hash = bytes_of(&lower).iter().fold(0usize, |h, b| {
        h.wrapping_mul(31).wrapping_add(usize::from(*b))
    });
    note(r, e, bytes_of(&lower))
}

/// nginx's parsers of request fields read on to a NUL, as its request buffer has it.
fn copy_terminated(pool: Pool, value: &[u8]) -> Option<ngx_str_t> {
    let mut copy = pool.copy(&[value, b"\0"].concat())?;
    copy.len -= 1;
    Some(copy)
}

fn note(r: Req, e: &mut ngx_table_elt_t, lower: &[u8]) -> Option<()> {
    if lower == b"host" {
        // The handler would choose the server anew.
        r.raw().headers_in.host = e;
        return Some(());
    }
    call_handler(r, e, lower)
}

/// Has nginx's own handler look at a request field, if it has one for the name.
fn call_handler(r: Req, e: &mut ngx_table_elt_t, lower: &[u8]) -> Option<()> {
    // SAFETY: the core module's hash of request fields; a handler gets the element and the offset it was made for.
    unsafe {
        let index = (*ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *mut ngx_http_core_main_conf_t = (*r.raw().main_conf.add(index)).cast();
        let found: *mut ngx_http_header_t = ngx_hash_find(
            &mut (*core).headers_in_hash,
            e.hash,
            lower.as_ptr().cast_mut(),
            lower.len(),
        )
        .cast();
        let Some(handler) = found.as_ref().and_then(|h| h.handler) else {
            return Some(());
        };
        crate::sys::request::is_ok(handler(r.as_ptr(), e, (*found).offset)).then_some(())
    }
}

/// Variables that a request computes once, from what is its own: a fetch would make another value of them, or none. They are computed
/// in the client's request before they are copied. All others of nginx's are functions of what a fetch shares with its client.
const OWN: [&[u8]; 13] = [
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

fn copy_variables(client: Req, r: Req) -> Option<()> {
    let known = variables::known(r);
    for (index, _) in known.iter().enumerate().filter(|(_, known)| is_own(known)) {
        // SAFETY: an index of the same configuration.
        unsafe { ngx_http_get_indexed_variable(client.as_ptr(), index) };
    }
    let values = variables::indexed(client).iter();
    values
        .zip(variables::indexed(r))
        .zip(known)
        .filter(|(_, known)| !mirrors_a_field(bytes_of(&known.name)))
        .try_for_each(|((from, to), known)| {
            copy_variable(r.pool(), from, to)?;
            if is_own(known) {
                to.set_no_cacheable(0);
            }
            Some(())
        })
}

/// What was computed for the fetch since holds for its client too, which nginx leads on: it would be the same request.
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

/// Whether a variable is a field of the request: its value is that of the fetch's own, which sends fewer.
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

#[cfg(not(nginx_has = "ngx_http_request_s.captures"))]
fn copy_captures(_: Req, _: Req) -> Option<()> {
    Some(())
}

#[cfg(nginx_has = "ngx_http_request_s.captures")]
fn copy_captures(client: Req, r: Req) -> Option<()> {
    let (from, to) = (client.raw(), r.raw());
    if from.ncaptures == 0 || from.captures.is_null() {
        return Some(());
    }
    let Some(readable) = readable_from(client, from.captures_data) else {
        return Some(());
    };
    // SAFETY: room for `ncaptures` offsets (ngx_http_regex_exec).
    let offsets = unsafe { std::slice::from_raw_parts(from.captures, from.ncaptures) };
    // A regex without groups counts its match as captured but leaves the offsets as they were, or never were.
    let offsets: Vec<c_int> = offsets
        .iter()
        .map(|n| {
            if usize::try_from(*n).is_ok_and(|n| n <= readable) {
                *n
            } else {
                0
            }
        })
        .collect();
    let end = offsets.iter().copied().max().map_or(0, |n| n as usize);
    to.captures = copy_bytes(
        r.pool(),
        offsets.as_ptr().cast_mut(),
        size_of_val(offsets.as_slice()) as u32,
    )?;
    to.ncaptures = from.ncaptures;
    // SAFETY: `end` bytes are readable there.
    let data = unsafe { std::slice::from_raw_parts(from.captures_data, end) };
    to.captures_data = r.pool().copy(data)?.data;
    Some(())
}

/// How many bytes can be read from `at`, where nginx matched a string: it lies in the request's pool or in a buffer of its
/// header, of which a long one fills several. `None` if in neither.
#[cfg(nginx_has = "ngx_http_request_s.captures")]
fn readable_from(client: Req, at: *const u8) -> Option<usize> {
    let rest = |start: *const u8, end: *const u8| {
        (start <= at && at < end).then(|| end as usize - at as usize)
    };
    // SAFETY: the header's buffers and the pool live as long as the request.
    unsafe {
        let main = client.main().raw();
        let mut bufs = vec![main.header_in, client.connection().buffer];
        let mut link = (*main.http_connection).busy;
        while let Some(l) = link.as_ref() {
            bufs.push(l.buf);
            link = l.next;
        }
        let found = bufs
            .iter()
            .filter_map(|buf| buf.as_ref())
            .find_map(|buf| rest(buf.start, buf.last));
        if found.is_some() {
            return found;
        }
        readable_in(client.raw().pool, rest)
    }
}

/// # Safety
/// The pool lives.
#[cfg(all(
    nginx_has = "ngx_http_request_s.captures",
    nginx_has = "ngx_pool_data_t.last"
))]
unsafe fn readable_in(
    mut pool: *const nginx_sys::ngx_pool_t,
    rest: impl Fn(*const u8, *const u8) -> Option<usize>,
) -> Option<usize> {
    // SAFETY: blocks of a pool hang together by `next`, and are in use from their start to `last`.
    while let Some(block) = unsafe { pool.as_ref() } {
        let found = rest(pool.cast(), block.d.last);
        if found.is_some() {
            return found;
        }
        pool = block.d.next;
    }
    None
}

/// # Safety
/// The pool lives.
#[cfg(all(
    nginx_has = "ngx_http_request_s.captures",
    not(nginx_has = "ngx_pool_data_t.last")
))]
unsafe fn readable_in(
    pool: *const nginx_sys::ngx_pool_t,
    rest: impl Fn(*const u8, *const u8) -> Option<usize>,
) -> Option<usize> {
    // SAFETY: the pool lives, and all that was allocated of it hangs together by `next`.
    let mut block = unsafe { (*pool).d };
    // SAFETY: as above; malloc made it.
    while let Some(b) = unsafe { block.as_ref() } {
        let start: *const u8 = b.alloc.cast();
        let found = rest(
            start,
            start.wrapping_add(unsafe { libc::malloc_usable_size(b.alloc) }),
        );
        if found.is_some() {
            return found;
        }
        block = b.next;
    }
    None
}

/// To be called when the response has begun, since nothing looks at TLS any more, and when the request ends: its
/// connection must not shut the client's TLS session down.
pub(crate) fn part_with_tls(r: Req) {
    tls::release(r.connection());
}

/// The response is complete: nginx shall close the connection at once. It would linger for a client
/// (`lingering_close always`), and an eventfd can't be shut down.
pub(crate) fn close_at_end(r: Req) {
    r.connection().set_error(1);
}

/// Keeps a detached connection from taking more of the response; see [`resume`].
pub(crate) fn hold(r: Req) {
    set_buffered(r, true);
}

/// The other way round.
pub(crate) fn resume(r: Req) {
    set_buffered(r, false);
}

fn set_buffered(r: Req, held: bool) {
    // NGX_HTTP_COPY_BUFFERED: what nginx's copy filter sets when it holds bytes back. Ours stands above it.
    let bit = nginx_sys::NGX_HTTP_COPY_BUFFERED;
    let raw = r.raw();
    let (r_bits, c_bits) = (raw.buffered(), r.connection().buffered());
    raw.set_buffered(if held { r_bits | bit } else { r_bits & !bit });
    r.connection()
        .set_buffered(if held { c_bits | bit } else { c_bits & !bit });
    // SAFETY: a connection always has its events. An unready write event stops the upstream's pipe.
    unsafe { (*r.connection().write).set_ready(u32::from(!held)) };
}
