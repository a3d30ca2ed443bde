//! What the cache has becomes nginx header fields and buffers.
//!
//! Bodies go out zero-copy: buffers point into the region, which the client's pin holds until the request's pool is
//! destroyed. What a fetch relays is copied through a bounded set of buffers of the client's own, so that neither
//! request depends on the life of the other.

use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_FLUSH, NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED,
    NGX_HTTP_PARTIAL_CONTENT, NGX_HTTP_PRECONDITION_FAILED, NGX_HTTP_VERSION_11, NGX_OK,
    ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_chain_update_chains, ngx_create_temp_buf,
    ngx_file_t, ngx_http_send_special, ngx_http_upstream_state_t, ngx_int_t, ngx_read_file,
    ngx_str_t, ngx_table_elt_t,
};
use swrcache::engine::{Answer, IgnoreFields, Part, Reason, Serve, Stored, cache_status};
use swrcache::http::fields::is;
use swrcache::http::{ByteRange, RangeVerdict, range};
use swrcache::store::{Completeness, Cursor};

use crate::config::location::LocConf;
use crate::fetch::orders::Fetch;
use crate::fetch::tls;
use crate::sys::header_list::{List, append, push_to};
use crate::sys::pool::{Pool, borrow, bytes_of, str_of};
use crate::sys::request::{Req, is_ok};

/// The name of this cache in `Cache-Status`.
const NAME: &str = "swrcache";

/// Buffers of a relay: their size, and how many a client may have in flight.
const RELAY_BUFFER: usize = 32 * 1024;
const RELAY_BUFFERS: u32 = 8;

/// A longer body goes out in two writes, the first of so many bytes: the connection carries them while the kernel copies the rest. It
/// is what a client takes at once that says nothing else: TCP's largest window without scaling (RFC 7323 §1.1).
const FIRST_WRITE: u64 = 64 * 1024;

/// How far [`start`] got.
pub(crate) enum Started {
    /// The answer is out (or nginx sends the rest by itself).
    Done(ngx_int_t),
    /// The body is still growing.
    Reading(Reader),
}

/// Answers the request with what `serve` says; `stored` is pinned by the caller until the request's pool is gone.
pub(crate) fn start(r: Req, conf: &LocConf, stored: &Stored, serve: &Serve) -> Started {
    let rc = r.discard_body();
    if !is_ok(rc) && r.is_main() {
        return Started::Done(rc);
    }
    match serve.answer {
        Answer::PreconditionFailed => {
            return Started::Done(NGX_HTTP_PRECONDITION_FAILED as ngx_int_t);
        }
        Answer::NotModified => return Started::Done(not_modified(r, conf, stored, serve)),
        Answer::Full | Answer::Partial(_) | Answer::Unsatisfiable => {}
    }
    r.set_action(c"sending a cached response");
    let body = stored.object().body();
    if full_header(r, conf, stored, serve).is_none() {
        return Started::Done(NGX_ERROR as ngx_int_t);
    }
    let rc = r.send_header();
    if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || r.raw().header_only() != 0 {
        return Started::Done(rc);
    }
    let mut reader = Reader {
        end: end_of_range(r, serve),
        ..Reader::default()
    };
    if body.completeness == Completeness::Complete {
        let done = reader.send_whole(r, stored, body.len);
        return Started::Done(done.unwrap_or(NGX_ERROR as ngx_int_t));
    }
    Started::Reading(reader)
}

/// Where the client has all that it asked for: the end of the one range to which nginx's range filter has cut the body.
fn end_of_range(r: Req, serve: &Serve) -> Option<u64> {
    match serve.answer {
        Answer::Partial(ref ranges) => only_range(r, ranges),
        _ => None,
    }
}

fn only_range(r: Req, ranges: &[ByteRange]) -> Option<u64> {
    let [range] = ranges else { return None };
    let is_cut = r.raw().headers_out.status == NGX_HTTP_PARTIAL_CONTENT as usize;
    is_cut.then(|| range.last.saturating_add(1))
}

/// Pushes a field line; gives the element.
pub(crate) fn push(
    r: Req,
    name: ngx_str_t,
    value: ngx_str_t,
) -> Option<&'static mut ngx_table_elt_t> {
    push_to(&mut r.raw().headers_out.headers, name, value)
}

/// Sets one field of the response, in the places where nginx's filters look for it.
///
/// `name` and `value` must stay where they are until the request's pool is gone.
fn set_field(r: Req, name: &[u8], value: &[u8]) -> Option<()> {
    let out = &mut r.raw().headers_out;
    if name.eq_ignore_ascii_case(b"content-type") {
        out.content_type = borrow(value);
        out.content_type_len = value.len();
        if let Some((end, charset)) = charset(value) {
            out.content_type_len = end;
            out.charset = borrow(charset);
        }
        return Some(());
    }
    if name.eq_ignore_ascii_case(b"content-length") {
        return Some(());
    }
    let e: *mut ngx_table_elt_t = push(r, borrow(name), borrow(value))?;
    // The first letter tells most fields apart at once.
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'l') if name.eq_ignore_ascii_case(b"last-modified") => {
            out.last_modified = e;
            out.last_modified_time = http_time(value);
        }
        // An origin's relative one goes out as it is (ngx_http_upstream_rewrite_location); see `complete_location`.
        Some(b'l') if name.eq_ignore_ascii_case(b"location") && !value.starts_with(b"/") => {
            out.location = e;
        }
        Some(b'l') if name.eq_ignore_ascii_case(b"link") => append(r.pool(), &mut out.link, e)?,
        Some(b'e') if name.eq_ignore_ascii_case(b"etag") => out.etag = e,
        Some(b'e') if name.eq_ignore_ascii_case(b"expires") => out.expires = e,
        Some(b'c') if name.eq_ignore_ascii_case(b"cache-control") => {
            append(r.pool(), &mut out.cache_control, e)?;
        }
        Some(b'c') if name.eq_ignore_ascii_case(b"content-range") => out.content_range = e,
        Some(b'c') if name.eq_ignore_ascii_case(b"content-encoding") => out.content_encoding = e,
        Some(b'd') if name.eq_ignore_ascii_case(b"date") => out.date = e,
        Some(b's') if name.eq_ignore_ascii_case(b"server") => out.server = e,
        Some(b'r') if name.eq_ignore_ascii_case(b"refresh") => out.refresh = e,
        Some(b'a') if name.eq_ignore_ascii_case(b"accept-ranges") => out.accept_ranges = e,
        #[cfg(nginx_has = "ngx_table_elt_s.next")]
        Some(b'w') if name.eq_ignore_ascii_case(b"www-authenticate") => {
            append(r.pool(), &mut out.www_authenticate, e)?;
        }
        // Of several, `auth_request` knows the first.
        #[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
        Some(b'w')
            if name.eq_ignore_ascii_case(b"www-authenticate") && out.www_authenticate.is_null() =>
        {
            out.www_authenticate = e;
        }
        _ => {}
    }
    Some(())
}

/// Has nginx make a relative `Location` absolute, as it does with its own and with what `proxy_redirect` has rewritten. It takes
/// the place of one from which an `error_page` has led on (ngx_http_clear_location).
pub(crate) fn complete_location(r: Req) {
    let out = &mut r.raw().headers_out;
    // SAFETY: NULL or an element of the request's list.
    if let Some(old) = unsafe { out.location.as_mut() } {
        old.hash = 0;
    }
    List::of(&out.headers).elements(|e| {
        if e.hash != 0 && bytes_of(&e.key).eq_ignore_ascii_case(b"location") {
            out.location = ptr::from_ref(e).cast_mut();
        }
    });
}

/// The charset that a media type names, and where the type without it ends (ngx_http_upstream_copy_content_type).
fn charset(value: &[u8]) -> Option<(usize, &[u8])> {
    const NAME: &[u8] = b"charset=";
    let mut ends = value.iter().enumerate().filter(|(_, b)| **b == b';');
    ends.find_map(|(end, _)| {
        let rest = value[end + 1..].trim_ascii_start();
        let (name, charset) = rest.split_at_checked(NAME.len())?;
        let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
        let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
        (name.eq_ignore_ascii_case(NAME) && !charset.is_empty()).then_some((end, charset))
    })
}

fn http_time(value: &[u8]) -> i64 {
    // SAFETY: reads the bytes of the slice only.
    unsafe { nginx_sys::ngx_parse_http_time(value.as_ptr().cast_mut(), value.len()) }
}

/// An HTTP date in the pool; ngx_http_time takes twice as long, which every HIT would feel.
fn date(pool: Pool, ms: u64) -> Option<ngx_str_t> {
    pool.copy(&swrcache::http::date::format(ms))
}

/// A decimal number in the pool.
fn number(pool: Pool, n: u64) -> Option<ngx_str_t> {
    let mut text = [0u8; 20];
    let mut at = text.len();
    let mut rest = n;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return pool.copy(&text[at..]);
        }
    }
}

/// What every answer from the store carries: `Date`, `Age`, the cache's own validators, `Cache-Status`.
fn common(r: Req, conf: &LocConf, stored: &Stored, serve: &Serve) -> Option<()> {
    let pool = r.pool();
    r.raw().headers_out.date = push(r, str_of(b"Date"), date(pool, stored.date())?)?;
    push(r, str_of(b"Age"), number(pool, serve.age)?)?;
    if stored.synthesised() && conf.policy.edge_revalidation {
        if let Some(ms) = stored.last_modified() {
            let e = push(r, str_of(b"Last-Modified"), date(pool, ms)?)?;
            r.raw().headers_out.last_modified = e;
            r.raw().headers_out.last_modified_time = (ms / 1000) as i64;
        }
        if let Some(etag) = stored.etag() {
            r.raw().headers_out.etag = push(r, str_of(b"ETag"), pool.copy(etag.as_bytes())?)?;
        }
    }
    Some(())
}

/// `Cache-Status`, behind what the origin and the caches before this one put there.
fn tell(r: Req, conf: &LocConf, serve: &Serve) -> Option<()> {
    if !conf.status_header() {
        return Some(());
    }
    let seen = crate::sys::record::Ctx::client(r).map(|client| &client.seen);
    let fwd_status = seen.and_then(|s| s.fetch_took).and_then(|_| answered(r));
    match seen.and_then(|s| s.asked) {
        Some(fetch) => push_status(
            r,
            &Part::Led {
                serve,
                fetch,
                fwd_status,
            },
        ),
        None => push_status(r, &Part::Served { serve, fwd_status }),
    }
}

/// The status that the origin answered with, to the fetch that this request waited for; nothing if it did not answer.
fn answered(r: Req) -> Option<u16> {
    // SAFETY: NULL or an array of states, which the fetch has shared.
    let states: &[ngx_http_upstream_state_t] =
        unsafe { r.raw().upstream_states.as_ref()?.as_slice() };
    let last = states.last().filter(|state| state.bytes_received > 0)?;
    u16::try_from(last.status).ok()
}

/// Appends our member of `Cache-Status` as a line of its own (RFC 9211 §2: a list).
pub(crate) fn push_status(r: Req, part: &Part<'_>) -> Option<()> {
    let member = cache_status(NAME, part);
    push(
        r,
        str_of(b"Cache-Status"),
        r.pool().copy(member.as_bytes())?,
    )
    .map(|_| ())
}

fn not_modified(r: Req, conf: &LocConf, stored: &Stored, serve: &Serve) -> ngx_int_t {
    r.raw().headers_out.status = NGX_HTTP_NOT_MODIFIED as usize;
    r.raw().headers_out.content_length_n = -1;
    r.raw().set_disable_not_modified(1);
    let mut ok = common(r, conf, stored, serve);
    serve.fields(&mut |name, value| ok = ok.and_then(|()| set_field(r, name, value)));
    // A 304 has no representation of its own to type.
    r.raw().headers_out.content_type = ngx_str_t::default();
    if ok.and_then(|()| tell(r, conf, serve)).is_none() {
        return NGX_ERROR as ngx_int_t;
    }
    r.send_header()
}

fn full_header(r: Req, conf: &LocConf, stored: &Stored, serve: &Serve) -> Option<()> {
    let raw = r.raw();
    raw.headers_out.status = usize::from(stored.status());
    // A 204 has none (RFC 9110 §8.6); nginx leaves it out where it makes the status line itself.
    let length = stored
        .content_length()
        .filter(|_| stored.status() != NGX_HTTP_NO_CONTENT as u16);
    raw.headers_out.content_length_n = length.map_or(-1, |n| n as i64);
    // The engine has evaluated the client's preconditions already.
    raw.set_disable_not_modified(1);
    let mut ok = common(r, conf, stored, serve);
    let in_parts = offers_parts(r, stored);
    serve.fields(&mut |name, value| {
        let is_told = in_parts && is(name, "accept-ranges") || tells_vary(r, stored, name, value);
        if !is_told {
            ok = ok.and_then(|()| set_field(r, name, value));
        }
    });
    ok.and_then(|()| tell(r, conf, serve))?;
    if stored.own_redirect() {
        complete_location(r);
    }
    heed_host_fields(r, conf, stored)?;
    if stored.no_transform() && raw.headers_out.content_encoding.is_null() {
        // As if nginx had found that the client can't have it compressed (ngx_http_gzip_ok).
        #[cfg(nginx_has = "ngx_http_request_s.set_gzip_ok")]
        {
            raw.set_gzip_tested(1);
            raw.set_gzip_ok(0);
        }
    }
    if in_parts {
        let cuts = ranges_apply(stored, serve, !raw.headers_in.range.is_null());
        raw.set_allow_ranges(u32::from(cuts));
        if !cuts && r.core_conf().max_ranges > 0 {
            // nginx says so only where it is to look at the client's range itself.
            raw.headers_out.accept_ranges = push(r, str_of(b"Accept-Ranges"), str_of(b"bytes"))?;
        }
    }
    Some(())
}

/// Has nginx say `Vary: Accept-Encoding` where it is nginx's own (`gzip_static`): once, though `gzip` says it too.
#[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
fn tells_vary(r: Req, stored: &Stored, name: &[u8], value: &[u8]) -> bool {
    if !is(name, "vary") || value != b"Accept-Encoding" || r.core_conf().gzip_vary == 0 {
        return false;
    }
    let mut of_origin = false;
    stored.origin_fields(&mut |_, _| of_origin = true);
    if !of_origin {
        r.raw().set_gzip_vary(1);
    }
    !of_origin
}

#[cfg(not(nginx_has = "ngx_http_request_s.set_gzip_vary"))]
fn tells_vary(_: Req, _: &Stored, _: &[u8], _: &[u8]) -> bool {
    false
}

/// Whether parts of the response can be had, which is then said in this cache's name instead of the origin's
/// (ngx_http_upstream_copy_allow_ranges).
fn offers_parts(r: Req, stored: &Stored) -> bool {
    stored.status() == 200 && stored.content_length().is_some() && r.is_main()
}

/// The status line, `X-Accel-Limit-Rate` and `X-Accel-Charset`, as ngx_http_upstream_process_headers does it for a response in nginx's own cache.
fn heed_host_fields(r: Req, conf: &LocConf, stored: &Stored) -> Option<()> {
    let told = stored.host_fields();
    let ignored = conf.policy.ignore;
    let rate = told
        .limit_rate
        .filter(|_| !ignored.has(IgnoreFields::X_ACCEL_LIMIT_RATE));
    if let Some(rate) = rate.and_then(|rate| std::str::from_utf8(rate).ok()?.parse().ok()) {
        limit_rate(r, rate);
    }
    if let Some(line) = told.status_line {
        // nginx shows it as it is, and leaves to a response of an origin what it takes from its own (ngx_http_header_filter).
        r.raw().headers_out.status_line = borrow(line);
    }
    if let Some(charset) = told
        .charset
        .filter(|_| !ignored.has(IgnoreFields::X_ACCEL_CHARSET))
    {
        override_charset(r, charset)?;
    }
    Some(())
}

fn limit_rate(r: Req, rate: usize) {
    r.raw().limit_rate = rate;
    r.raw().set_limit_rate_set(1);
}

fn override_charset(r: Req, charset: &[u8]) -> Option<()> {
    let copy = r.pool().zeroed::<ngx_str_t>()?;
    *copy = r.pool().copy(charset)?;
    r.raw().headers_out.override_charset = copy;
    Some(())
}

/// The same for what comes from a fetch: nginx has read the fields for that. Without buffers it heeds no rate.
pub(crate) fn host_fields(r: Req, conf: &LocConf, fetch: Req) -> Option<()> {
    let ignored = conf.policy.ignore;
    let from = fetch.raw();
    if from.limit_rate_set() != 0 && !ignored.has(IgnoreFields::X_ACCEL_LIMIT_RATE) {
        limit_rate(r, from.limit_rate);
    }
    // SAFETY: NULL or the value of a field of the fetch.
    match unsafe { from.headers_out.override_charset.as_ref() } {
        Some(charset) if !ignored.has(IgnoreFields::X_ACCEL_CHARSET) => {
            override_charset(r, bytes_of(charset))
        }
        _ => Some(()),
    }
}

/// Whether nginx's range filter shall cut the response: it stands below the filters that rewrite bodies, so it cuts
/// what they made. The engine has judged `Range` and `If-Range`.
fn ranges_apply(stored: &Stored, serve: &Serve, asked: bool) -> bool {
    match &serve.answer {
        // Several ranges can only be cut from one buffer (ngx_http_range_body_filter).
        Answer::Partial(ranges) if ranges.len() > 1 => {
            let body = stored.object().body();
            body.completeness == Completeness::Complete
                && stored.object().chunk(0).len() as u64 == body.len
        }
        Answer::Partial(_) | Answer::Unsatisfiable => true,
        _ => !asked,
    }
}

/// Chain links that are free to use again, and those still on their way to the client.
struct Bufs {
    free: *mut ngx_chain_t,
    busy: *mut ngx_chain_t,
}

impl Default for Bufs {
    fn default() -> Bufs {
        Bufs {
            free: ptr::null_mut(),
            busy: ptr::null_mut(),
        }
    }
}

impl Bufs {
    /// Sends `out` (or, if NULL, what waits), and sorts the links after.
    fn send(&mut self, r: Req, out: *mut ngx_chain_t) -> ngx_int_t {
        let rc = r.output(out);
        self.sort(r, out);
        rc
    }

    /// Finds out which links nginx has done with.
    fn sort(&mut self, r: Req, mut out: *mut ngx_chain_t) {
        // SAFETY: all links are of the request's pool and carry our tag.
        unsafe {
            ngx_chain_update_chains(
                r.pool().as_ptr(),
                &mut self.free,
                &mut self.busy,
                &mut out,
                crate::module::tag(),
            );
        }
    }

    /// A link with an empty buffer of ours.
    fn link(&mut self, r: Req) -> Option<*mut ngx_chain_t> {
        // SAFETY: links in `free` are ours and carry a buffer each; fresh ones get one from the pool.
        unsafe {
            if let Some(link) = self.free.as_mut() {
                self.free = link.next;
                link.next = ptr::null_mut();
                *link.buf = std::mem::zeroed();
                (*link.buf).tag = crate::module::tag();
                return Some(link);
            }
        }
        Bufs::made(r)
    }

    /// A fresh link with an empty buffer of ours.
    fn made(r: Req) -> Option<*mut ngx_chain_t> {
        // SAFETY: the pool gives NULL or room.
        unsafe {
            let link = ngx_alloc_chain_link(r.pool().as_ptr()).as_mut()?;
            link.buf = r.pool().zeroed::<ngx_buf_t>()?;
            link.next = ptr::null_mut();
            (*link.buf).tag = crate::module::tag();
            Some(link)
        }
    }
}

/// A chain under construction.
struct Building {
    head: *mut ngx_chain_t,
    tail: *mut ngx_chain_t,
}

impl Building {
    const fn new() -> Building {
        Building {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
        }
    }

    fn add(&mut self, link: *mut ngx_chain_t) {
        // SAFETY: `tail` is NULL or the last link added.
        match unsafe { self.tail.as_mut() } {
            Some(tail) => tail.next = link,
            None => self.head = link,
        }
        self.tail = link;
    }

    fn last_buf(&mut self) -> Option<&mut ngx_buf_t> {
        // SAFETY: every link added has a buffer.
        unsafe { self.tail.as_mut().map(|link| &mut *link.buf) }
    }
}

/// Marks the end of the body: of the response, or of a subrequest's part in it (ngx_http_send_special).
fn mark_last(r: Req, buf: &mut ngx_buf_t) {
    buf.set_last_buf(u32::from(r.is_main()));
    buf.set_sync(u32::from(!r.is_main() && size(buf) == 0));
    buf.set_last_in_chain(1);
}

/// A place in a stored body, and the buffers of it that are on their way to the client.
#[derive(Default)]
pub(crate) struct Reader {
    cursor: Cursor,
    bufs: Bufs,
    /// The header is on its way.
    begun: bool,
    /// The client needs nothing of the body behind this.
    end: Option<u64>,
}

/// What comes behind some bytes of a body.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// More, in the same turn.
    More,
    /// More, some time; what is there shall go out.
    Wait,
    End,
}

/// Whether a body goes out in two writes: not where it is framed or encrypted, and not where ranges are cut from it (see
/// [`ranges_apply`]).
fn goes_in_two(r: Req, len: u64) -> bool {
    let raw = r.raw();
    len > FIRST_WRITE
        && r.is_main()
        && !tls::is_on(r.connection())
        && raw.http_version <= NGX_HTTP_VERSION_11 as usize
        && raw.headers_in.range.is_null()
}

/// Where a reader stands after a turn.
pub(crate) enum Pumped {
    /// The answer is out, or broke off.
    Done(ngx_int_t),
    /// The client takes no more for now.
    Blocked,
    /// The client has all there is for now.
    Drained,
    /// The client has all that was published; the relay goes on from here.
    Relay,
}

impl Reader {
    /// Sends a body that is complete; gives nginx's return code.
    fn send_whole(&mut self, r: Req, stored: &Stored, len: u64) -> Option<ngx_int_t> {
        if goes_in_two(r, len) {
            let first = self.chunks(r, stored, FIRST_WRITE, Then::More)?;
            let rc = r.output(first);
            if rc == NGX_ERROR as ngx_int_t {
                return Some(rc);
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
            let bytes = stored.object().read(&mut self.cursor, most);
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
            // What the origin has sent, the client shall see now, not when the next buffer fills.
            buf.set_flush(1);
        }
        Some(chain.head)
    }

    /// Has nginx send the header now, when no byte of the body is there yet.
    fn flush_header(&mut self, r: Req) -> ngx_int_t {
        self.begun = true;
        // SAFETY: nginx asks for a live request, as a `Req` is.
        unsafe { ngx_http_send_special(r.as_ptr(), NGX_HTTP_FLUSH as usize) }
    }

    /// Sends what there is. If the body breaks off and `relay_follows`, the rest comes by the relay.
    pub(crate) fn pump(&mut self, r: Req, stored: &Stored, relay_follows: bool) -> Pumped {
        let failed = Pumped::Done(NGX_ERROR as ngx_int_t);
        if r.is_held() && self.bufs.send(r, ptr::null_mut()) == NGX_ERROR as ngx_int_t {
            return failed;
        }
        if r.is_blocked() {
            return Pumped::Blocked;
        }
        stored.object().watch();
        let body = stored.object().body();
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
            Completeness::Broken => failed,
            _ => Pumped::Drained,
        }
    }
}

/// Buffers by which a fetch passes an unstored body to its client.
pub(crate) struct Relay {
    bufs: Bufs,
    made: u32,
    /// nginx may hold something back, the header perhaps.
    held_back: bool,
    /// An empty buffer that has nginx send what it holds back; NULL until it is needed.
    flush: *mut ngx_chain_t,
    /// So many bytes of the body, and the client has all that it asked for.
    left: Option<u64>,
}

/// What a relay made of a chain.
pub(crate) enum Relayed {
    /// All of it is on its way.
    All,
    /// The client has to take some first.
    Blocked,
    /// The client is gone, or memory is out.
    Failed,
    /// All of it, the end of the response included; with nginx's return code.
    Ended(ngx_int_t),
    /// All that the client asked for; with nginx's return code.
    Enough(ngx_int_t),
}

impl Relay {
    /// For a response whose header has been relayed to `r`.
    pub(crate) fn of(r: Req, fetch: &Fetch) -> Relay {
        let length = u64::try_from(fetch.request().raw().headers_out.content_length_n);
        let fields = List::of(&r.raw().headers_in.headers);
        let ranges = length.map(|length| range::evaluate(&fields, length));
        let left = match &ranges {
            Ok(RangeVerdict::Satisfiable(ranges)) => only_range(r, ranges),
            _ => None,
        };
        Relay {
            left,
            ..Relay::begun()
        }
    }

    /// For a response whose header is on its way.
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
        if !std::mem::take(&mut self.held_back) {
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

    /// Sends what waits.
    pub(crate) fn flush(&mut self, r: Req) -> ngx_int_t {
        self.bufs.send(r, ptr::null_mut())
    }

    /// A link whose buffer has memory; `Ok(None)` when all that a client may have are on their way.
    fn room(&mut self, r: Req) -> Result<Option<*mut ngx_chain_t>, ()> {
        // SAFETY: links in `free` are ours, each with a buffer of RELAY_BUFFER bytes.
        unsafe {
            if let Some(link) = self.bufs.free.as_mut() {
                self.bufs.free = link.next;
                link.next = ptr::null_mut();
                let (start, end) = ((*link.buf).start, (*link.buf).end);
                *link.buf = ngx_buf_t {
                    start,
                    end,
                    pos: start,
                    last: start,
                    ..std::mem::zeroed()
                };
                (*link.buf).tag = crate::module::tag();
                return Ok(Some(link));
            }
            if self.made == RELAY_BUFFERS {
                return Ok(None);
            }
            self.made += 1;
            let link = ngx_alloc_chain_link(r.pool().as_ptr()).as_mut().ok_or(())?;
            link.buf = ngx_create_temp_buf(r.pool().as_ptr(), RELAY_BUFFER);
            link.next = ptr::null_mut();
            let buf = link.buf.as_mut().ok_or(())?;
            buf.tag = crate::module::tag();
            buf.set_temporary(0);
            Ok(Some(link))
        }
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
            // nginx may hold a little back to make larger writes; not when it holds the last of our buffers.
            self.held_back = true;
            if self.made == RELAY_BUFFERS && self.bufs.free.is_null() {
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
                () if self.bufs.free.is_null() => return Relayed::Blocked,
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

/// Gives a link back to its pool, for the next one who needs one (ngx_free_chain).
fn free_link(owner: Pool, link: &mut ngx_chain_t) {
    // SAFETY: the link is of this pool, and nothing refers to it any more.
    unsafe {
        link.next = (*owner.as_ptr()).chain;
        (*owner.as_ptr()).chain = link;
    }
}

/// The bytes that a buffer still has, in memory or in a file.
pub(crate) fn size(buf: &ngx_buf_t) -> u64 {
    if is_in_memory(buf) {
        return (buf.last as usize).saturating_sub(buf.pos as usize) as u64;
    }
    if buf.in_file() != 0 {
        u64::try_from(buf.file_last - buf.file_pos).unwrap_or(0)
    } else {
        0
    }
}

fn is_in_memory(buf: &ngx_buf_t) -> bool {
    buf.temporary() != 0 || buf.memory() != 0 || buf.mmap() != 0
}

/// Moves as many bytes as fit from one buffer to another; gives their number.
fn take(from: &mut ngx_buf_t, to: &mut ngx_buf_t) -> Result<u64, ()> {
    let room = to.end as usize - to.last as usize;
    if is_in_memory(from) {
        let n = room.min(from.last as usize - from.pos as usize);
        // SAFETY: `pos..last` are readable, `last..end` are writable, and they are different buffers.
        unsafe {
            ptr::copy_nonoverlapping(from.pos, to.last, n);
            from.pos = from.pos.add(n);
            to.last = to.last.add(n);
        }
        if from.in_file() != 0 {
            from.file_pos += n as i64;
        }
        return Ok(n as u64);
    }
    let n = room.min(usize::try_from(from.file_last - from.file_pos).map_err(|_| ())?);
    // SAFETY: the buffer's file is open, and `n` bytes fit behind `last`.
    let got = unsafe { read_file(from.file, to.last, n, from.file_pos) };
    let got = usize::try_from(got).ok().filter(|got| *got > 0).ok_or(())?;
    from.file_pos += got as i64;
    // SAFETY: `got` is at most `n`.
    to.last = unsafe { to.last.add(got) };
    Ok(got as u64)
}

/// Reads from a file that `directio` may have opened for aligned reads only (as ngx_output_chain_copy_buf does).
///
/// # Safety
///
/// The file is open, and there is room for `n` bytes at `to`.
unsafe fn read_file(file: *mut ngx_file_t, to: *mut u8, n: usize, at: i64) -> isize {
    // SAFETY: see above; the flags of an open descriptor are read and written.
    unsafe {
        let fd = (*file).fd;
        let flags = match (*file).directio() != 0 {
            true => libc::fcntl(fd, libc::F_GETFL),
            false => -1,
        };
        if flags != -1 {
            libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_DIRECT);
        }
        let got = ngx_read_file(file, to, n, at);
        if flags != -1 {
            libc::fcntl(fd, libc::F_SETFL, flags);
        }
        got
    }
}

/// Feeds the bytes of a buffer to `sink`, as pieces; consumes them.
pub(crate) fn drain(buf: &mut ngx_buf_t, sink: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ()> {
    if is_in_memory(buf) {
        // SAFETY: `pos..last` are readable.
        let bytes =
            unsafe { std::slice::from_raw_parts(buf.pos, buf.last as usize - buf.pos as usize) };
        if !bytes.is_empty() && !sink(bytes) {
            return Err(());
        }
        buf.pos = buf.last;
        buf.file_pos = buf.file_last;
        return Ok(());
    }
    let mut piece = vec![0u8; RELAY_BUFFER.min(size(buf) as usize)];
    while size(buf) > 0 {
        let n = piece.len().min(size(buf) as usize);
        // SAFETY: the buffer's file is open; `piece` has room for `n`.
        let got = unsafe { read_file(buf.file, piece.as_mut_ptr(), n, buf.file_pos) };
        let got = usize::try_from(got).ok().filter(|got| *got > 0).ok_or(())?;
        if !sink(&piece[..got]) {
            return Err(());
        }
        buf.file_pos += got as i64;
    }
    Ok(())
}

/// Sends the header of a relayed response: what the fetch got, as if the client's own request had got it.
/// `reason` is why it is not stored.
pub(crate) fn relay_header(r: Req, conf: &LocConf, fetch: &Fetch, reason: Reason) -> ngx_int_t {
    if r.is_main() {
        let rc = r.discard_body();
        if !is_ok(rc) {
            return rc;
        }
    }
    let from = &fetch.request().raw().headers_out;
    let pool = r.pool();
    let out = &mut r.raw().headers_out;
    out.status = from.status;
    out.content_length_n = from.content_length_n;
    out.last_modified_time = from.last_modified_time;
    let mut ok = pool
        .copy_str(from.status_line)
        .map(|line| out.status_line = line);
    ok = ok
        .and_then(|()| pool.copy_str(from.charset))
        .map(|charset| out.charset = charset);
    #[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
    r.raw().set_gzip_vary(fetch.request().raw().gzip_vary());
    let in_parts = relays_parts(r, fetch.request());
    List::of(&from.headers).elements(|e| {
        let is_ours = in_parts && is(bytes_of(&e.key), "accept-ranges");
        if e.hash != 0 && !is_ours {
            ok = ok.and_then(|()| copy_field(r, pool, bytes_of(&e.key), bytes_of(&e.value)));
        }
    });
    if crate::fetch::origin_response::is_own_redirect(fetch.request()) {
        complete_location(r);
    }
    ok = ok
        .and_then(|()| pool.copy_str(from.content_type))
        .map(|media_type| {
            out.content_type = media_type;
            out.content_type_len = from.content_type_len;
        });
    ok = ok.and_then(|()| host_fields(r, conf, fetch.request()));
    if conf.status_header() {
        let fwd_status = u16::try_from(from.status).ok();
        let asked = fetch.asked();
        ok = ok.and_then(|()| {
            push_status(
                r,
                &Part::Relayed {
                    fetch: asked,
                    reason,
                    fwd_status,
                },
            )
        });
    }
    if ok.is_none() {
        return NGX_ERROR as ngx_int_t;
    }
    r.raw().set_allow_ranges(u32::from(in_parts));
    r.raw().set_single_range(1);
    r.send_header()
}

/// The trailers of a relayed response, as far as nginx has let them pass (`proxy_pass_trailers`, `grpc_pass`): they have come
/// when the end of the body comes.
pub(crate) fn relay_trailers(r: Req, from: Req) -> Option<()> {
    let to = &mut r.raw().headers_out.trailers;
    if to.part.nelts > 0 {
        return Some(());
    }
    let mut ok = Some(());
    List::of(&from.raw().headers_out.trailers).elements(|e| {
        let mut copy = || {
            let trailer = push_to(to, r.pool().copy_str(e.key)?, r.pool().copy_str(e.value)?)?;
            trailer.hash = e.hash;
            Some(())
        };
        ok = ok.and_then(|()| copy());
    });
    ok
}

/// Whether nginx shall cut what the client wants from a relayed response: the fetch asked for the whole. That is where nginx would
/// without a cache, or in place of an origin that offers parts.
fn relays_parts(r: Req, fetch: Req) -> bool {
    let from = &fetch.raw().headers_out;
    let (mut takes_ranges, mut is_part) = (false, false);
    let asked = !r.raw().headers_in.range.is_null();
    List::of(&from.headers).elements(|e| {
        let name = bytes_of(&e.key);
        takes_ranges |= asked && is(name, "accept-ranges") && is(bytes_of(&e.value), "bytes");
        is_part |= e.hash != 0 && is(name, "content-range");
    });
    let offered = fetch.raw().allow_ranges() != 0 || takes_ranges && !is_part;
    from.status == 200 && from.content_length_n >= 0 && offered
}

pub(crate) fn copy_field(r: Req, pool: Pool, name: &[u8], value: &[u8]) -> Option<()> {
    let (name, value) = (pool.copy(name)?, pool.copy(value)?);
    set_field(r, bytes_of(&name), bytes_of(&value))
}
