//! A connection that has no client, for a request of the cache's own.
//!
//! | what | how | why |
//! |---|---|---|
//! | descriptor | an eventfd that nobody writes to | nginx wants a real one, and calls -1 "already closed" |
//! | the same | `shared` | one such descriptor is enough for a worker: nginx closes it with none of its connections |
//! | events | `active`, and the write event `ready` | upstream code then adds neither to epoll, and believes in a client that takes all |
//! | TLS | the client's session, up-referenced ([`crate::fetch::tls`]) | `$scheme` and `$ssl_*` |
//!
//! [`hold`] and [`resume`] say whether that client accepts anything, for a response that is relayed to a real one.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use nginx_sys::{
    ngx_add_timer, ngx_chain_t, ngx_close_connection, ngx_connection_t, ngx_create_pool,
    ngx_create_temp_buf, ngx_destroy_pool, ngx_event_handler_pt, ngx_get_connection,
    ngx_http_connection_t, ngx_http_log_ctx_s, ngx_log_t, ngx_post_event, ngx_posted_events,
    ngx_proxy_protocol_t,
};

use crate::fetch::tls;
use crate::sys::pool::{Pool, copy_bytes};
use crate::sys::request::Req;

const POOL_SIZE: usize = 4096;

/// The descriptor of all connections of this worker that have no client. It never has an event.
fn idle_descriptor() -> Option<c_int> {
    static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
    if DESCRIPTOR.load(Relaxed) < 0 {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        DESCRIPTOR.store(fd, Relaxed);
    }
    Some(DESCRIPTOR.load(Relaxed)).filter(|fd| *fd >= 0)
}

/// A connection without a client, for a copy of `client`. `on_event` handles both of its events.
pub(crate) fn connect(
    client: Req,
    on_event: ngx_event_handler_pt,
) -> Option<*mut ngx_connection_t> {
    let c = connect_apart(client, on_event)?;
    // SAFETY: a connection that was just made, with a pool of its own.
    let shared = unsafe { tls::share(client.connection(), &mut *c, Pool::new((*c).pool)) };
    if shared.is_none() {
        close(c);
        return None;
    }
    Some(c)
}

/// The same without the client's TLS session.
pub(crate) fn connect_apart(
    client: Req,
    on_event: ngx_event_handler_pt,
) -> Option<*mut ngx_connection_t> {
    let from = client.connection();
    let fd = idle_descriptor()?;
    // SAFETY: the descriptor is open as long as the process.
    let c = unsafe { ngx_get_connection(fd, from.log) };
    // SAFETY: NULL, or a fresh connection from nginx's array.
    let to = unsafe { c.as_mut() }?;
    to.set_shared(1);
    // SAFETY: the log of a connection that is open.
    to.pool = unsafe { ngx_create_pool(POOL_SIZE, from.log) };
    if to.pool.is_null() || dress(from, to, client, on_event).is_none() {
        close(c);
        return None;
    }
    Some(c)
}

/// Closes a connection that has no request.
pub(crate) fn close(c: *mut ngx_connection_t) {
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

/// Fails all reads and writes: what the filters let pass must never reach the TLS session that [`tls::share`] has lent.
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

fn dress(
    from: &ngx_connection_t,
    to: &mut ngx_connection_t,
    client: Req,
    on_event: ngx_event_handler_pt,
) -> Option<()> {
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
    // nginx reads it when it decides how to close.
    // SAFETY: the pool was made for this connection.
    to.buffer = unsafe { ngx_create_temp_buf(to.pool, 1) };
    if to.buffer.is_null() {
        return None;
    }
    // `$connection`, `$connection_requests` and `$connection_time` are the client's.
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
    dress_events(to, on_event);
    Some(())
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

fn dress_events(c: &mut ngx_connection_t, on_event: ngx_event_handler_pt) {
    // SAFETY: a connection always has its two events.
    let (read, write) = unsafe { (&mut *c.read, &mut *c.write) };
    for event in [&mut *read, &mut *write] {
        event.handler = on_event;
        event.log = c.log;
        event.set_active(1);
    }
    write.set_ready(1);
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

/// Calls the request's write event handler in a turn of its own.
pub(crate) fn wake(r: Req) {
    // SAFETY: the connection's event; closing the connection takes it out of the queue.
    unsafe { ngx_post_event(r.connection().write, &raw mut ngx_posted_events) }
}

/// Ends the request in so many milliseconds, if it has not ended by then, by the timer of the read event, which nothing else uses.
pub(crate) fn end_within(r: Req, ms: usize) {
    // SAFETY: the connection's event; closing the connection takes the timer out.
    unsafe { ngx_add_timer(r.connection().read, ms) }
}

/// Gives up the TLS session, which is not read once the response has begun. To be called at the end of the request at the latest: closing
/// the connection must not shut down the client's session.
pub(crate) fn part_with_tls(r: Req) {
    tls::release(r.connection());
}

/// Has nginx close the connection at once, now that the response is complete. It would linger for a client (`lingering_close always`), and
/// an eventfd can't be shut down.
pub(crate) fn close_at_end(r: Req) {
    r.connection().set_error(1);
}

/// Has the connection accept no more of the response, until [`resume`].
pub(crate) fn hold(r: Req) {
    set_buffered(r, true);
}

/// Has it accept more again.
pub(crate) fn resume(r: Req) {
    set_buffered(r, false);
}

fn set_buffered(r: Req, held: bool) {
    // NGX_HTTP_COPY_BUFFERED: what nginx's copy filter sets when it holds bytes back. Ours stands above it.
    let bit = nginx_sys::NGX_HTTP_COPY_BUFFERED;
    let mut raw = r.raw();
    let (r_bits, c_bits) = (raw.buffered(), r.connection().buffered());
    raw.set_buffered(if held { r_bits | bit } else { r_bits & !bit });
    r.connection()
        .set_buffered(if held { c_bits | bit } else { c_bits & !bit });
    // SAFETY: a connection always has its events. An unready write event stops the upstream's pipe.
    unsafe { (*r.connection().write).set_ready(u32::from(!held)) };
}
