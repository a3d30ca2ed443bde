//! A request of the cache's own that is served as a visitor's would be, for what it has stored.
//!
//! It runs through nginx's phases from the first on, but for access and limits, on a connection without a client. What it is sent is
//! thrown away. Where it would go past the cache to the content handler, it ends.

use std::ptr;

use nginx_sys::{ngx_chain_t, ngx_connection_t, ngx_http_request_t};

use crate::fetch::carrier::Carrier;
use crate::fetch::connection;
use crate::fetch::events::on_event;
use crate::fetch::request_copy::{abandon, bare, keep_own_connection};
use crate::sys::own_connection::{self, OwnConnection};
use crate::sys::request::Req;

/// The request of a visitor that is not there, with nothing in it. It has of `like` what its connection has, TLS apart.
pub(crate) fn make(like: Req, https: bool, anew: bool) -> Option<Req> {
    let c = connection::connect_apart(like, Some(on_event::<Carrier>))?;
    let r = bare(c, like)?;
    r.connection().send_chain = Some(swallow);
    let own = OwnConnection {
        connection: r.connection(),
        https,
        anew,
        of_fetch: false,
    };
    if keep_own_connection(r, own).is_none() {
        abandon(r);
        return None;
    }
    Some(r)
}

/// Whether the request is such a one.
pub(crate) fn is_one(r: Req) -> bool {
    of(r).is_some()
}

/// What is known of the request, if it is such a one.
pub(crate) fn of(r: Req) -> Option<OwnConnection> {
    own_connection::known(r.connection()).filter(|own| !own.of_fetch)
}

/// Has the request run in a turn of the event loop of its own, beginning with `first`, for so many milliseconds at most.
pub(crate) fn start(r: Req, first: unsafe extern "C" fn(*mut ngx_http_request_t), ms: usize) {
    r.raw().write_event_handler = Some(first);
    connection::end_within(r, ms);
    connection::wake(r);
}

/// Takes what is sent to a visitor that is not there. The last buffer ends the connection without lingering, as
/// [`connection::close_at_end`] does.
///
/// # Safety
/// The connection is live, and the chain well-formed.
unsafe extern "C" fn swallow(
    c: *mut ngx_connection_t,
    chain: *mut ngx_chain_t,
    _: i64,
) -> *mut ngx_chain_t {
    let mut link = chain;
    // SAFETY: the caller's promise.
    unsafe {
        while let Some(l) = link.as_mut() {
            let buf = &mut *l.buf;
            if buf.in_file() != 0 {
                buf.file_pos = buf.file_last;
            }
            buf.pos = buf.last;
            if buf.last_buf() != 0 {
                (*c).set_error(1);
            }
            link = l.next;
        }
    }
    ptr::null_mut()
}
