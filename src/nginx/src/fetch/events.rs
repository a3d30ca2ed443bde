//! The events of a request without a client: its first turn, those of its connection, and its end.

use std::ffi::c_void;

use nginx_sys::{ngx_connection_t, ngx_event_t, ngx_http_request_t, ngx_http_run_posted_requests};

use crate::sys::boundary::guard;
use crate::sys::record::{self, RecordKind};
use crate::sys::request::Req;

/// A record of a request that has these events.
pub(crate) trait Driven: RecordKind {
    /// The request has run its phases up to where the content handler waits for something.
    fn on_start(&self);

    /// Whether an event may go on to nginx's handlers.
    fn may_go_on(&self) -> bool;

    /// The request has ended, for whatever reason.
    fn on_end(&self);
}

/// The write event handler of a request that has not started: runs its phases.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn start<T: Driven>(r: *mut ngx_http_request_t) {
    guard("the start of a fetch", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        let c: *mut ngx_connection_t = r.connection();
        r.run_phases();
        // SAFETY: connection objects outlive their use; closing one marks it, and frees its request.
        if unsafe { (*c).destroyed() == 0 && (*c).data == r.as_ptr().cast() } {
            record::of(r).into_iter().for_each(T::on_start);
        }
    });
}

/// The handler of both events of the connection (after ngx_http_request_handler).
///
/// # Safety
/// `event` is one of a connection without a client: its `data` is the connection, the `data` of that is its request, and both
/// live.
pub(crate) unsafe extern "C" fn on_event<T: Driven>(event: *mut ngx_event_t) {
    guard("an event of a fetch", (), || {
        // SAFETY: an event's `data` is its connection, whose `data` is its request.
        let (c, r) = unsafe {
            let c: *mut ngx_connection_t = (*event).data.cast();
            (c, Req::new((*c).data.cast()))
        };
        // SAFETY: as above.
        let (is_write, closing) = unsafe {
            let late = (*event).write() == 0 && (*event).timedout() != 0;
            // A timer of nginx's would be for a client; the client that a relay waits for has a timer of its own.
            (*event).set_timedout(0);
            ((*event).write() != 0, (*c).close() != 0 || late)
        };
        if closing {
            // The time for an orderly shutdown is over (worker_shutdown_timeout), or that of `connection::end_within`.
            r.terminate();
        } else if record::of(r).is_none_or(T::may_go_on) {
            let handler = match is_write {
                true => r.raw().write_event_handler,
                false => r.raw().read_event_handler,
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

/// The cleanup of a request: it has ended, by its last byte, or torn down.
///
/// # Safety
/// `data` is the record of a request, whose pool is still there.
pub(crate) unsafe extern "C" fn on_request_end<T: Driven>(data: *mut c_void) {
    guard("the end of a fetch", (), || {
        // SAFETY: the record lives in the request's pool, which is still there, and there are only shared references to it.
        unsafe { &*data.cast::<T>() }.on_end();
    });
}
