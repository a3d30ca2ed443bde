//! The body of a fetch's response, as it comes from nginx: counted, kept for the client that leads, or discarded.

use std::cell::Cell;
use std::ptr;

use nginx_sys::{
    NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED, NGX_OK, ngx_chain_add_copy, ngx_chain_t, ngx_int_t,
};
use swrcache::engine::Method;

use crate::fetch::exchange::Leader;
use crate::fetch::relay::Relayed;
use crate::fetch::response_copy::copy_trailers;
use crate::sys::chain;
use crate::sys::request::Req;

/// How much of a discarded response is read before the origin's connection is closed instead.
const DISCARD_AT_MOST: u64 = 256 * 1024;

/// The body.
pub(crate) struct Body {
    /// Bytes that have come.
    received: Cell<u64>,
    /// Bytes that were discarded.
    discarded: Cell<u64>,
    /// What the client that leads has not accepted yet of a relayed body.
    pending: Cell<*mut ngx_chain_t>,
}

/// What has become of a discarded chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// More may be read.
    More,
    /// The body has ended.
    End,
    /// It is not worth reading on.
    TooMuch,
}

impl Body {
    pub(crate) const fn new() -> Body {
        Body {
            received: Cell::new(0),
            discarded: Cell::new(0),
            pending: Cell::new(ptr::null_mut()),
        }
    }

    /// Counts what has come. Whether the body ends with it.
    pub(crate) fn receive(&self, chain: *mut ngx_chain_t) -> bool {
        let mut ends = false;
        chain::each(chain, |buf| {
            self.received.set(self.received.get() + chain::size(buf));
            ends |= buf.last_buf() != 0;
        });
        ends
    }

    /// Whether less has come than the header of `r` has announced. nginx says so by itself, but not where its client was not ready
    /// for more when the origin closed (ngx_http_upstream_process_non_buffered_request): it forgets the error then, and a
    /// filter that drops the length, such as gzip, would show the body as whole.
    pub(crate) fn is_short(&self, r: Req) -> bool {
        let out = &r.raw().headers_out;
        let has_body = r.method() != Method::Head
            && !matches!(
                out.status as u32,
                NGX_HTTP_NO_CONTENT | NGX_HTTP_NOT_MODIFIED
            );
        let received = self.received.get();
        has_body && u64::try_from(out.content_length_n).is_ok_and(|length| received < length)
    }

    /// Keeps a chain for the client that leads; `None` when memory is out.
    pub(crate) fn keep(&self, r: Req, chain: *mut ngx_chain_t) -> Option<()> {
        let mut pending = self.pending.get();
        // SAFETY: a chain of this request; the copy of its links is of its pool.
        let rc = unsafe { ngx_chain_add_copy(r.pool().as_ptr(), &mut pending, chain) };
        self.pending.set(pending);
        (rc == NGX_OK as ngx_int_t).then_some(())
    }

    /// Whether the client that leads has not accepted all of it yet.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.get().is_null()
    }

    /// Writes what is kept to the client, with its relay.
    pub(crate) fn relay(&self, r: Req, leader: &Leader) -> Relayed {
        // The client has not sent its header yet.
        let Some(mut relay) = leader.relay.take() else {
            return Relayed::Blocked;
        };
        let mut relayed = Relayed::Failed;
        if copy_trailers(leader.r, r).is_some() {
            let (to, owner) = (leader.r, r.pool());
            let mut pending = self.pending.replace(ptr::null_mut());
            to.outside(|| relayed = relay.pass(to, &mut pending, owner));
            self.pending.set(pending);
        }
        leader.relay.set(Some(relay));
        relayed
    }

    /// Discards what is kept.
    pub(crate) fn discard_pending(&self) -> Discarded {
        self.discard(self.pending.replace(ptr::null_mut()))
    }

    /// Discards a chain.
    pub(crate) fn discard(&self, chain: *mut ngx_chain_t) -> Discarded {
        let mut ends = false;
        chain::each(chain, |buf| {
            self.discarded.set(self.discarded.get() + chain::size(buf));
            chain::use_up(buf);
            ends = buf.last_buf() != 0;
        });
        match (ends, self.discarded.get() > DISCARD_AT_MOST) {
            (true, _) => Discarded::End,
            (false, true) => Discarded::TooMuch,
            (false, false) => Discarded::More,
        }
    }
}

/// Takes the end out of a chain: the body has broken off. As nginx does (ngx_http_upstream_finalize_request), what has come is sent.
pub(crate) fn take_end(chain: *mut ngx_chain_t) {
    chain::each(chain, |buf| {
        buf.set_last_buf(0);
        buf.set_last_in_chain(0);
        buf.set_flush(1);
    });
}
