//! Relays a response that is not stored from a fetch to the client that leads it.
//!
//! The body is copied through a bounded set of buffers of the client's own, so that neither request depends on the life of the other.
//! When all of them are on their way, the fetch is held until the client has taken some.

use std::mem;
use std::ptr;

use nginx_sys::{NGX_ERROR, NGX_HTTP_PARTIAL_CONTENT, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_int_t};
use swrcache::http::{ByteRange, RangeVerdict, range};

use crate::sys::chain::{Bufs, Building, free_link, mark_last, size, take, with_memory};
use crate::sys::header_list::List;
use crate::sys::pool::Pool;
use crate::sys::request::Req;

/// Buffers of a relay: their size, and how many a client may have in flight.
const BUFFER: usize = 32 * 1024;
const BUFFERS: u32 = 8;

/// Where the client's part ends, if nginx's range filter cuts the body to one range.
pub(crate) fn end_of_cut(r: Req, ranges: &[ByteRange]) -> Option<u64> {
    let [range] = ranges else { return None };
    let is_cut = r.raw().headers_out.status == NGX_HTTP_PARTIAL_CONTENT as usize;
    is_cut.then(|| range.last.saturating_add(1))
}

/// The buffers by which a fetch passes an unstored body to its client.
pub(crate) struct Relay {
    bufs: Bufs,
    made: u32,
    /// nginx may hold something back, the header perhaps.
    held_back: bool,
    /// An empty buffer that has nginx send what it holds back; NULL until it is needed.
    flush: *mut ngx_chain_t,
    /// How many bytes of the body the client still needs, if it has asked for a part.
    left: Option<u64>,
}

/// What has become of a chain.
pub(crate) enum Relayed {
    /// All of it has been passed to nginx.
    All,
    /// All buffers are in flight: the client has to accept some first.
    Blocked,
    /// The client is gone, or memory is out.
    Failed,
    /// All of it has been passed to nginx, the end of the response included; with nginx's return code.
    Ended(ngx_int_t),
    /// The client has all that it asked for; with nginx's return code.
    Enough(ngx_int_t),
}

impl Relay {
    /// For a response to `fetch` whose header has been relayed to `r`.
    pub(crate) fn of(r: Req, fetch: Req) -> Relay {
        let length = u64::try_from(fetch.raw().headers_out.content_length_n);
        let raw = r.raw();
        let fields = List::of(&raw.headers_in.headers);
        let ranges = length.map(|length| range::evaluate(&fields, length));
        let left = match &ranges {
            Ok(RangeVerdict::Satisfiable(ranges)) => end_of_cut(r, ranges),
            _ => None,
        };
        Relay {
            left,
            ..Relay::begun()
        }
    }

    /// For a response whose header has been sent.
    pub(crate) fn begun() -> Relay {
        Relay {
            bufs: Bufs::default(),
            made: 0,
            held_back: true,
            flush: ptr::null_mut(),
            left: None,
        }
    }

    /// Has nginx send what it holds back. The buffer for it is made once: a stream may go on for days.
    pub(crate) fn push_out(&mut self, r: Req) -> ngx_int_t {
        if !mem::take(&mut self.held_back) {
            return NGX_OK as ngx_int_t;
        }
        if self.flush.is_null() {
            self.flush = Bufs::made(r).unwrap_or(ptr::null_mut());
        }
        // SAFETY: NULL, or a link of this relay's own with its buffer.
        let Some(link) = (unsafe { self.flush.as_mut() }) else {
            return NGX_ERROR as ngx_int_t;
        };
        // SAFETY: as above.
        unsafe { (*link.buf).set_flush(1) };
        let rc = r.output(link);
        self.bufs.sort(r, ptr::null_mut());
        rc
    }

    /// Has nginx go on sending.
    pub(crate) fn flush(&mut self, r: Req) -> ngx_int_t {
        self.bufs.send(r, ptr::null_mut())
    }

    /// A link whose buffer has memory; `Ok(None)` when all that a client may have are in flight.
    fn room(&mut self, r: Req) -> Result<Option<*mut ngx_chain_t>, ()> {
        if let Some(link) = self.bufs.emptied() {
            return Ok(Some(link));
        }
        if self.made == BUFFERS {
            return Ok(None);
        }
        self.made += 1;
        with_memory(r, BUFFER).map(Some).ok_or(())
    }

    /// Copies `pending` into buffers of the client's and sends them. Used-up links go back to their `owner`.
    pub(crate) fn pass(&mut self, r: Req, pending: &mut *mut ngx_chain_t, owner: Pool) -> Relayed {
        loop {
            let mut chain = Building::new();
            let (mut ended, mut full) = (false, false);
            // SAFETY: the fetch's chain: links and buffers of a live request.
            while let Some(link) = unsafe { pending.as_mut() } {
                // SAFETY: as above.
                let from = unsafe { &mut *link.buf };
                match self.copy(r, from, &mut chain) {
                    Ok(true) => {}
                    Ok(false) => {
                        full = true;
                        break;
                    }
                    Err(()) => return Relayed::Failed,
                }
                ended |= from.last_buf() != 0;
                *pending = link.next;
                free_link(owner, link);
            }
            if chain.head.is_null() {
                return if full { Relayed::Blocked } else { Relayed::All };
            }
            // nginx may hold back a little to make larger writes; it must not hold the last of our buffers.
            self.held_back = true;
            if self.made == BUFFERS && self.bufs.is_used_up() {
                chain
                    .last_buf()
                    .into_iter()
                    .for_each(|buf| buf.set_flush(1));
            }
            let rc = self.bufs.send(r, chain.head);
            match () {
                () if rc == NGX_ERROR as ngx_int_t => return Relayed::Failed,
                () if ended => return Relayed::Ended(rc),
                () if self.left == Some(0) => return Relayed::Enough(rc),
                () if !full => return Relayed::All,
                () if self.bufs.is_used_up() => return Relayed::Blocked,
                () => {}
            }
        }
    }

    /// Copies one buffer, piece by piece; `Ok(false)` when there is no room left for the rest of it.
    fn copy(&mut self, r: Req, from: &mut ngx_buf_t, chain: &mut Building) -> Result<bool, ()> {
        while size(from) > 0 {
            let Some(link) = self.room(r)? else {
                return Ok(false);
            };
            chain.add(link);
            let to = chain.last_buf().ok_or(())?;
            to.set_temporary(1);
            let taken = take(from, to)?;
            self.left = self.left.map(|left| left.saturating_sub(taken));
        }
        if from.flush() == 0 && from.last_buf() == 0 {
            return Ok(true);
        }
        if chain.head.is_null() {
            let Some(link) = self.room(r)? else {
                return Ok(false);
            };
            chain.add(link);
        }
        let to = chain.last_buf().ok_or(())?;
        to.set_flush(from.flush());
        if from.last_buf() != 0 {
            mark_last(r, to);
        }
        Ok(true)
    }
}
