//! An nginx request, turned into Rust once.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_POST, NGX_OK, ngx_add_timer, ngx_chain_t,
    ngx_connection_t, ngx_del_timer, ngx_exiting, ngx_handle_write_event, ngx_http_cleanup_add,
    ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t, ngx_http_core_run_phases,
    ngx_http_core_srv_conf_t, ngx_http_discard_request_body, ngx_http_finalize_request,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_run_posted_requests, ngx_http_send_header,
    ngx_int_t, ngx_str_t,
};
use swrcache::engine::Method;

use crate::sys::conf::core_index;
use crate::sys::module_index::ctx_index;
use crate::sys::own_connection;
use crate::sys::pool::{Pool, bytes_of};

/// A request that nginx passed to a callback of ours, or that we made; good until its pool is destroyed.
///
/// A copyable handle: nginx itself holds requests by pointer and changes them behind ours. Everything runs on the
/// worker's one thread, and no reference taken from the handle is kept across a call into nginx.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Req(*mut ngx_http_request_t);

/// The fields of a request. Each use goes through nginx's pointer anew, and no reference outlives its expression: between two uses nginx may
/// be called, and the fields of the same request be taken again.
#[derive(Clone, Copy)]
pub(crate) struct Raw(*mut ngx_http_request_t);

impl Deref for Raw {
    type Target = ngx_http_request_t;

    fn deref(&self) -> &ngx_http_request_t {
        // SAFETY: `Req::new` vouches for the pointer; one thread.
        unsafe { &*self.0 }
    }
}

impl DerefMut for Raw {
    fn deref_mut(&mut self) -> &mut ngx_http_request_t {
        // SAFETY: as above.
        unsafe { &mut *self.0 }
    }
}

impl Req {
    /// # Safety
    ///
    /// `r` is a live request, and the handle is dropped or unused once its pool is destroyed.
    pub(crate) unsafe fn new(r: *mut ngx_http_request_t) -> Req {
        Req(r)
    }

    pub(crate) fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0
    }

    /// The request's fields.
    pub(crate) fn raw(self) -> Raw {
        Raw(self.0)
    }

    pub(crate) fn connection<'a>(self) -> &'a mut ngx_connection_t {
        // SAFETY: a request's connection lives as long as the request.
        unsafe { &mut *(*self.0).connection }
    }

    pub(crate) fn pool(self) -> Pool {
        // SAFETY: the pool is the request's own.
        unsafe { Pool::new((*self.0).pool) }
    }

    pub(crate) fn is_main(self) -> bool {
        self.main() == self
    }

    /// The client's own request: itself, or the one that a subrequest belongs to.
    pub(crate) fn main(self) -> Req {
        // SAFETY: `new` vouches for the pointer. Read through it, so that a reference to another field may be in use meanwhile.
        Req(unsafe { (*self.0).main })
    }

    pub(crate) fn method(self) -> Method {
        // SAFETY: as in `main`.
        match unsafe { (*self.0).method } as u32 {
            NGX_HTTP_GET => Method::Get,
            NGX_HTTP_HEAD => Method::Head,
            NGX_HTTP_POST => Method::Post,
            _ => Method::Other,
        }
    }

    /// What the `swr_cache_*` directives made of the request's location.
    ///
    /// # Safety
    ///
    /// The module's configuration of a location is a `T`.
    pub(crate) unsafe fn location_conf<T>(self) -> *const T {
        // SAFETY: a request has a configuration of its location for every module; it lives as long as the cycle.
        unsafe { (*(*self.0).loc_conf.add(ctx_index())).cast() }
    }

    /// What nginx's own directives made of the request's location.
    pub(crate) fn core_conf<'a>(self) -> &'a ngx_http_core_loc_conf_t {
        // SAFETY: every request has a core location configuration, which lives as long as the cycle.
        unsafe { &*(*(*self.0).loc_conf.add(core_index())).cast() }
    }

    /// The same of its server.
    pub(crate) fn core_server<'a>(self) -> &'a ngx_http_core_srv_conf_t {
        // SAFETY: as in `core_conf`.
        unsafe { &*(*(*self.0).srv_conf.add(core_index())).cast() }
    }

    /// The same of the `http` block.
    pub(crate) fn core_main(self) -> *mut ngx_http_core_main_conf_t {
        // SAFETY: as in `core_conf`.
        unsafe { (*(*self.0).main_conf.add(core_index())).cast() }
    }

    /// The name of the request's location.
    pub(crate) fn location_name<'a>(self) -> &'a [u8] {
        bytes_of(&self.core_conf().name)
    }

    /// The name of the named location that the request is in; empty if it is in none. No other location's begins so
    /// (ngx_http_core_location).
    pub(crate) fn named_location<'a>(self) -> &'a [u8] {
        match self.location_name() {
            name @ [b'@', ..] => name,
            _ => b"",
        }
    }

    /// Whether a body of this length goes out as it is, as far as the filters tell when the header has been sent: those that change it take
    /// the announced length back, or ask for it in memory. Nor is the rate limited at which it goes out.
    pub(crate) fn goes_out_as_it_is(self, len: u64) -> bool {
        let raw = self.raw();
        let is_read = raw.filter_need_in_memory() != 0 || raw.filter_need_temporary() != 0;
        let is_limited = raw.limit_rate != 0 || !self.core_conf().limit_rate.is_null();
        raw.headers_out.content_length_n == len as i64 && !is_read && !is_limited
    }

    /// Whether the client speaks TLS, or would, if there is none.
    pub(crate) fn is_tls(self) -> bool {
        let c = self.connection();
        own_connection::known(c).map_or_else(|| has_tls(c), |own| own.https)
    }

    pub(crate) fn ctx(self) -> *mut c_void {
        // SAFETY: `ctx` has a place for every http module.
        unsafe { *(*self.0).ctx.add(ctx_index()) }
    }

    pub(crate) fn set_ctx(self, ctx: *mut c_void) {
        // SAFETY: as in `ctx`.
        unsafe { *(*self.0).ctx.add(ctx_index()) = ctx }
    }

    /// Calls `handler(data)` when the request ends or is torn down, before it is logged.
    pub(crate) fn on_end(
        self,
        handler: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> Option<()> {
        // SAFETY: nginx asks for a live request, as a `Req` is.
        let cleanup = unsafe { ngx_http_cleanup_add(self.0, 0).as_mut()? };
        cleanup.handler = Some(handler);
        cleanup.data = data;
        Some(())
    }

    pub(crate) fn discard_body(self) -> ngx_int_t {
        // SAFETY: nginx asks for a live request, as a `Req` is.
        unsafe { ngx_http_discard_request_body(self.0) }
    }

    pub(crate) fn send_header(self) -> ngx_int_t {
        // SAFETY: nginx asks for a live request, as a `Req` is.
        unsafe { ngx_http_send_header(self.0) }
    }

    pub(crate) fn output(self, chain: *mut ngx_chain_t) -> ngx_int_t {
        // SAFETY: the chain is NULL or well-formed, of the request's pool.
        unsafe { ngx_http_output_filter(self.0, chain) }
    }

    /// Adds to the references that keep the main request alive.
    pub(crate) fn hold(self) {
        let mut main = self.main().raw();
        let count = main.count();
        main.set_count(count + 1);
    }

    /// Takes back a `hold`.
    pub(crate) fn let_go(self) {
        let mut main = self.main().raw();
        let count = main.count();
        main.set_count(count - 1);
    }

    /// Ends the request. The handle may be dead afterwards.
    pub(crate) fn finalize(self, rc: ngx_int_t) {
        // SAFETY: every caller ends a request once; nginx counts references itself.
        unsafe { ngx_http_finalize_request(self.0, rc) }
    }

    /// Ends the request in the middle of what it does, as nginx does when it closes a connection (ngx_http_request_handler).
    ///
    /// The reference of our own keeps the request alive while its cleanups end it: that of the upstream finalises it.
    pub(crate) fn terminate(self) {
        self.hold();
        self.finalize(NGX_ERROR as ngx_int_t);
    }

    pub(crate) fn run_phases(self) {
        // SAFETY: nginx asks for a live request, as a `Req` is.
        unsafe { ngx_http_core_run_phases(self.0) }
    }

    /// Goes on behind the phase of rewriting that the request is in, once its step there declines.
    pub(crate) fn leave_phase(self) {
        // SAFETY: nginx's list of steps, of which the request is at this one; `next` of a step of rewriting is the first of a later
        // phase (ngx_http_init_phase_handlers).
        let next = unsafe {
            let steps = (*self.core_main()).phase_engine.handlers;
            (*steps.add(self.raw().phase_handler as usize)).next
        };
        // nginx goes on at the step behind the one that declines.
        self.raw().phase_handler = next as ngx_int_t - 1;
    }

    /// Lets `deed` act on the request from outside nginx's own call stack for it, then runs what it posted.
    pub(crate) fn outside(self, deed: impl FnOnce()) {
        let c: *mut ngx_connection_t = self.connection();
        deed();
        // SAFETY: the connection object stays in nginx's array even when closed; nginx checks `destroyed` first.
        unsafe { ngx_http_run_posted_requests(c) }
    }

    /// Sets what the error log says the request is doing.
    pub(crate) fn set_action(self, action: &'static std::ffi::CStr) {
        // SAFETY: a connection always has a log.
        unsafe { (*self.connection().log).action = action.as_ptr().cast_mut() }
    }

    /// Whether the connection is this request's to write to: a subrequest waits for its turn.
    pub(crate) fn is_active(self) -> bool {
        self.connection().data == self.0.cast()
    }

    /// Whether the client takes nothing for now. Not whether nginx holds something back: its filters do so for reasons
    /// of their own, and tell nobody when they have done.
    pub(crate) fn is_blocked(self) -> bool {
        // SAFETY: a connection always has its events.
        let write = unsafe { &*self.connection().write };
        self.is_active() && (write.ready() == 0 || write.delayed() != 0)
    }

    /// Whether nginx has something of the response that is not sent yet.
    pub(crate) fn is_held(self) -> bool {
        let raw = self.raw();
        raw.buffered() != 0 || !raw.postponed.is_null() || self.connection().buffered() != 0
    }

    /// Watches for the client to take more, for `send_timeout` at most, if it does not now (as ngx_event_pipe does); nothing if
    /// nginx can't.
    ///
    /// A subrequest whose turn has not come has no say in the connection; nginx posts it when it has.
    pub(crate) fn watch_write(self) -> Option<()> {
        if !self.is_active() {
            return Some(());
        }
        let (wev, core) = (self.connection().write, self.core_conf());
        // SAFETY: a connection's events live as long as it does.
        unsafe {
            if !is_ok(ngx_handle_write_event(wev, core.send_lowat)) {
                return None;
            }
            match ((*wev).delayed() != 0, (*wev).ready() != 0) {
                (true, _) => {}
                (false, false) => ngx_add_timer(wev, core.send_timeout),
                (false, true) if (*wev).timer_set() != 0 => ngx_del_timer(wev),
                (false, true) => {}
            }
        }
        Some(())
    }

    /// Scheme and authority of the request's URI, as the client wrote them.
    pub(crate) fn origin(self) -> Vec<u8> {
        let scheme: &[u8] = match self.is_tls() {
            true => b"https",
            false => b"http",
        };
        let headers = &self.raw().headers_in;
        // SAFETY: NULL or an element of the request's header list.
        let authority = match unsafe { headers.host.as_ref() } {
            Some(host) => bytes_of(&host.value),
            None => bytes_of(&headers.server),
        };
        [scheme, b"://", authority].concat()
    }

    /// As nginx's `$body_bytes_sent`.
    pub(crate) fn body_bytes_sent(self) -> u64 {
        let sent = u64::try_from(self.connection().sent).unwrap_or(0);
        sent.saturating_sub(self.raw().header_size as u64)
    }

    pub(crate) fn unparsed_uri<'a>(self) -> &'a [u8] {
        self.text(|raw| &raw.unparsed_uri)
    }

    /// One of its texts.
    pub(crate) fn text<'a>(self, of: fn(&ngx_http_request_t) -> &ngx_str_t) -> &'a [u8] {
        // SAFETY: as in `main`; the text is in the request's pool or the configuration.
        bytes_of(of(unsafe { &*self.0 }))
    }
}

#[cfg(nginx_has = "ngx_ssl_connection_s.connection")]
fn has_tls(c: &ngx_connection_t) -> bool {
    !c.ssl.is_null()
}

/// An nginx that knows no TLS.
#[cfg(not(nginx_has = "ngx_ssl_connection_s.connection"))]
fn has_tls(_: &ngx_connection_t) -> bool {
    false
}

/// Whether the worker is on its way out and should start nothing new.
pub(crate) fn is_exiting() -> bool {
    // SAFETY: a flag that nginx writes on this thread.
    unsafe { ngx_exiting != 0 }
}

/// [`Req::run_phases`] as an event handler of a request.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn run_phases(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a live request.
    unsafe { ngx_http_core_run_phases(r) }
}

/// An event handler of a request that waits, and does nothing meanwhile.
///
/// # Safety
/// Nothing is asked of the caller.
pub(crate) unsafe extern "C" fn rest(_: *mut ngx_http_request_t) {}

/// Whether an nginx return code says that all went well.
pub(crate) fn is_ok(rc: ngx_int_t) -> bool {
    rc == NGX_OK as ngx_int_t
}
