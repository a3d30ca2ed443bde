//! The body of a stored response: buffers over the region, which the client's pin holds until its request's pool is destroyed.

use std::ops::RangeInclusive;
use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_FLUSH, NGX_HTTP_VERSION_11, ngx_chain_t, ngx_http_send_special, ngx_int_t,
};
use swrcache::engine::Stored;
use swrcache::store::{Completeness, Cursor};

use crate::sys::chain::{Bufs, Building, mark_last};
use crate::sys::encryption;
use crate::sys::request::Req;

/// Bodies of these lengths go out in two writes: the connection carries the first while the kernel copies the rest. For a shorter one the
/// second system call costs more than it brings, and a longer one keeps the connection busy by itself.
const IN_TWO_WRITES: RangeInclusive<u64> = 112 * 1024..=256 * 1024;
/// The length of the first write: about what a connection carries before the client has acknowledged anything (ten segments, RFC 6928).
const FIRST_WRITE: u64 = 16 * 1024;
/// Bodies of these lengths are encrypted where they lie, behind a first record with the header; a worker would be too long at the work with
/// a longer one, as with `sendfile_max_chunk`, which nginx heeds only where it copies.
const ENCRYPTED_IN_PLACE: RangeInclusive<u64> = 64 * 1024..=2048 * 1024;
/// What goes with the header into the first record (TLS 1.3: at most 16 KiB, RFC 8446 §5.1).
const FIRST_RECORD: u64 = 15 * 1024;

/// A position in a stored body, and the buffers over it that nginx has not sent yet.
#[derive(Default)]
pub(crate) struct Reader {
    cursor: Cursor,
    bufs: Bufs,
    /// The header has been passed to nginx's write filter.
    begun: bool,
    /// Where the client's range ends.
    end: Option<u64>,
}

/// What follows some bytes of a body.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// More, in the same turn.
    More,
    /// More, later: nginx must send what there is.
    Wait,
    End,
}

/// How much of a complete body goes out by itself, and whether the rest is then encrypted in place. Not where it is framed, and not where
/// ranges are cut from it (see [`ranges_apply`](super::header)).
fn beginning(r: Req, len: u64) -> Option<(u64, Then)> {
    let raw = r.raw();
    let is_plain = r.is_main()
        && raw.http_version <= NGX_HTTP_VERSION_11 as usize
        && raw.headers_in.range.is_null();
    match r.is_tls() {
        _ if !is_plain => None,
        false => IN_TWO_WRITES
            .contains(&len)
            .then_some((FIRST_WRITE, Then::More)),
        true => (ENCRYPTED_IN_PLACE.contains(&len) && r.goes_out_as_it_is(len))
            .then_some((FIRST_RECORD, Then::Wait)),
    }
}

/// How far a reader got.
pub(crate) enum Pumped {
    /// The answer is out, or broke off.
    Done(ngx_int_t),
    /// The client accepts no more for now.
    Blocked,
    /// The client has all that has been published.
    Drained,
    /// The client has all that was published; the relay sends the rest.
    Relay,
    /// The client has all that was published, and nobody sends the rest.
    Broken,
}

impl Reader {
    /// At the start of a body of which the client needs nothing behind `end`.
    pub(crate) fn up_to(end: Option<u64>) -> Reader {
        Reader {
            end,
            ..Reader::default()
        }
    }

    /// Sends a body that is complete; gives nginx's return code.
    pub(crate) fn send_whole(&mut self, r: Req, stored: &Stored, len: u64) -> Option<ngx_int_t> {
        if let Some((end, then)) = beginning(r, len) {
            let first = self.chunks(r, stored, end, then)?;
            let rc = r.output(first);
            if rc == NGX_ERROR as ngx_int_t {
                return Some(rc);
            }
            if then == Then::Wait {
                encryption::in_place(r);
            }
        }
        let rest = self.chunks(r, stored, len, Then::End)?;
        Some(r.output(rest))
    }

    /// Buffers over the published bytes up to `end`.
    fn chunks(
        &mut self,
        r: Req,
        stored: &Stored,
        end: u64,
        then: Then,
    ) -> Option<*mut ngx_chain_t> {
        let mut chain = Building::new();
        while self.cursor.pos() < end {
            let most = usize::try_from(end - self.cursor.pos()).unwrap_or(usize::MAX);
            let bytes = stored.served().read(&mut self.cursor, most);
            if bytes.is_empty() {
                return None;
            }
            let link = self.bufs.link(r)?;
            chain.add(link);
            let buf = chain.last_buf()?;
            let range = bytes.as_ptr_range();
            buf.pos = range.start.cast_mut();
            buf.last = range.end.cast_mut();
            buf.start = buf.pos;
            buf.end = buf.last;
            buf.set_memory(1);
        }
        if then == Then::End {
            if chain.head.is_null() {
                chain.add(self.bufs.link(r)?);
            }
            mark_last(r, chain.last_buf()?);
        } else if let Some(buf) = chain.last_buf().filter(|_| then == Then::Wait) {
            // The client gets what the origin has sent now, not when the next buffer fills.
            buf.set_flush(1);
        }
        Some(chain.head)
    }

    /// Has nginx send the header before the first byte of the body has come.
    fn flush_header(&mut self, r: Req) -> ngx_int_t {
        self.begun = true;
        // SAFETY: nginx asks for a live request, as a `Req` is.
        unsafe { ngx_http_send_special(r.as_ptr(), NGX_HTTP_FLUSH as usize) }
    }

    /// Sends what has been published. If the body breaks off and `relay_follows`, the relay sends the rest.
    pub(crate) fn pump(&mut self, r: Req, stored: &Stored, relay_follows: bool) -> Pumped {
        let failed = Pumped::Done(NGX_ERROR as ngx_int_t);
        if r.is_held() && self.bufs.send(r, ptr::null_mut()) == NGX_ERROR as ngx_int_t {
            return failed;
        }
        if r.is_blocked() {
            return Pumped::Blocked;
        }
        stored.served().watch();
        let body = stored.served().body();
        let last = body.completeness == Completeness::Complete;
        if self.cursor.pos() < body.len || last {
            let then = if last { Then::End } else { Then::Wait };
            let Some(chain) = self.chunks(r, stored, body.len, then) else {
                return failed;
            };
            self.begun = true;
            let rc = self.bufs.send(r, chain);
            let has_all = self.end.is_some_and(|end| end <= self.cursor.pos());
            if last || has_all || rc == NGX_ERROR as ngx_int_t {
                return Pumped::Done(rc);
            }
        }
        if !self.begun && !last && self.flush_header(r) == NGX_ERROR as ngx_int_t {
            return failed;
        }
        match body.completeness {
            _ if r.is_blocked() => Pumped::Blocked,
            Completeness::Broken if relay_follows => Pumped::Relay,
            Completeness::Broken => Pumped::Broken,
            _ => Pumped::Drained,
        }
    }
}
