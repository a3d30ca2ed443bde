//! The header of an answer: of what is stored, or of what a fetch relays.

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED, ngx_http_upstream_state_t, ngx_int_t,
    ngx_str_t,
};
use swrcache::engine::{Answer, IgnoreFields, Part, Serve, Stored, cache_status};
use swrcache::http::date;
use swrcache::http::fields::is;
use swrcache::store::Completeness;

use crate::client::facts::Facts;
use crate::config::location::LocConf;
use crate::fetch::response_copy::copy_header;
use crate::sys::pool::{Pool, borrow, str_of};
use crate::sys::request::{Req, is_ok};
use crate::sys::response_header::{
    complete_location, limit_rate, override_charset, push, set_field,
};

/// The name of this cache in `Cache-Status`.
const NAME: &str = "swrcache";

/// Sends the header of the stored response that `serve` says to answer with.
pub(crate) fn send_stored(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> ngx_int_t {
    match stored_header(r, conf, serve, facts) {
        Some(()) => r.send_header(),
        None => NGX_ERROR as ngx_int_t,
    }
}

/// Sends the header of a 304 instead.
pub(crate) fn send_not_modified(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> ngx_int_t {
    match header_of_304(r, conf, serve, facts) {
        Some(()) => r.send_header(),
        None => NGX_ERROR as ngx_int_t,
    }
}

/// Sends the header of the response that `fetch` relays.
pub(crate) fn send_relayed(r: Req, conf: &LocConf, fetch: Req, facts: &Facts) -> ngx_int_t {
    if r.is_main() {
        let rc = r.discard_body();
        if !is_ok(rc) {
            return rc;
        }
    }
    let copied = copy_header(r, conf, fetch);
    let told = copied.and_then(|()| tell_of_relay(r, conf, fetch, facts));
    match told {
        Some(()) => r.send_header(),
        None => NGX_ERROR as ngx_int_t,
    }
}

/// Sets what every answer from the store carries: `Date`, `Age` and the cache's own validators.
fn common(r: Req, conf: &LocConf, serve: &Serve) -> Option<()> {
    let (pool, stored) = (r.pool(), &serve.object);
    r.raw().headers_out.date = push(r, str_of(b"Date"), http_date(pool, stored.date())?)?;
    push(r, str_of(b"Age"), number(pool, serve.age)?)?;
    if stored.synthesised() && conf.policy.edge_revalidation {
        if let Some(ms) = stored.last_modified() {
            let e = push(r, str_of(b"Last-Modified"), http_date(pool, ms)?)?;
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
fn tell(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> Option<()> {
    if !conf.tells_status(r) {
        return Some(());
    }
    let fwd_status = facts.fetch_took.get().and_then(|_| answered(r));
    push_status(
        r,
        &match facts.asked.get() {
            Some(fetch) => Part::Led {
                serve,
                fetch,
                fwd_status,
            },
            None => Part::Served { serve, fwd_status },
        },
    )
}

/// The same for a relayed response.
fn tell_of_relay(r: Req, conf: &LocConf, fetch: Req, facts: &Facts) -> Option<()> {
    match (facts.asked.get(), facts.reason.get()) {
        (Some(asked), Some(reason)) if conf.tells_status(r) => push_status(
            r,
            &Part::Relayed {
                fetch: asked,
                reason,
                fwd_status: origin_status(fetch),
            },
        ),
        _ => Some(()),
    }
}

/// The status that the origin answered `r` with, or a content handler that has none; nothing if nginx answers in the place of an origin that
/// did not (RFC 9211 §2.3).
pub(crate) fn origin_status(r: Req) -> Option<u16> {
    match r.raw().upstream_states.is_null() {
        true => u16::try_from(r.raw().headers_out.status).ok(),
        false => answered(r),
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

fn header_of_304(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> Option<()> {
    let mut raw = r.raw();
    raw.headers_out.status = NGX_HTTP_NOT_MODIFIED as usize;
    raw.headers_out.content_length_n = -1;
    raw.set_disable_not_modified(1);
    let mut ok = common(r, conf, serve);
    serve.fields(&mut |name, value| ok = ok.and_then(|()| set_field(r, name, value)));
    // A 304 has no representation of its own to type.
    raw.headers_out.content_type = ngx_str_t::default();
    ok.and_then(|()| tell(r, conf, serve, facts))
}

fn stored_header(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> Option<()> {
    let (mut raw, stored) = (r.raw(), &serve.object);
    raw.headers_out.status = usize::from(stored.status());
    // A 204 has none (RFC 9110 §8.6); nginx leaves it out where it makes the status line itself.
    let length = stored
        .content_length()
        .filter(|_| stored.status() != NGX_HTTP_NO_CONTENT as u16);
    raw.headers_out.content_length_n = length.map_or(-1, |n| n as i64);
    // The engine has evaluated the client's preconditions already.
    raw.set_disable_not_modified(1);
    let mut ok = common(r, conf, serve);
    let in_parts = offers_parts(r, stored);
    serve.fields(&mut |name, value| {
        let is_told = in_parts && is(name, "accept-ranges") || tells_vary(r, stored, name, value);
        if !is_told {
            ok = ok.and_then(|()| set_stored(r, stored, name, value));
        }
    });
    ok.and_then(|()| tell(r, conf, serve, facts))?;
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
        let cuts = ranges_apply(serve, !raw.headers_in.range.is_null());
        raw.set_allow_ranges(u32::from(cuts));
        if !cuts && r.core_conf().max_ranges > 0 {
            // nginx sets this field only where it evaluates the client's range itself.
            raw.headers_out.accept_ranges = push(r, str_of(b"Accept-Ranges"), str_of(b"bytes"))?;
        }
    }
    Some(())
}

/// Sets a field of the stored response; `Last-Modified` has been read when it was stored, which every HIT would feel.
fn set_stored(r: Req, stored: &Stored, name: &[u8], value: &[u8]) -> Option<()> {
    match stored.last_modified() {
        Some(ms) if is(name, "last-modified") => {
            let e = push(r, borrow(name), borrow(value))?;
            r.raw().headers_out.last_modified = e;
            r.raw().headers_out.last_modified_time = (ms / 1000) as i64;
            Some(())
        }
        _ => set_field(r, name, value),
    }
}

/// Leaves `Vary: Accept-Encoding` to nginx where nginx (`gzip_static`) or the cache itself has added it, so that it is sent once although
/// `gzip` adds it too.
#[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
fn tells_vary(r: Req, stored: &Stored, name: &[u8], value: &[u8]) -> bool {
    if !is(name, "vary") || value != b"Accept-Encoding" || r.core_conf().gzip_vary == 0 {
        return false;
    }
    let mut of_origin = false;
    if !stored.adds_vary() {
        stored.origin_fields(&mut |_, _| of_origin = true);
    }
    if !of_origin {
        r.raw().set_gzip_vary(1);
    }
    !of_origin
}

#[cfg(not(nginx_has = "ngx_http_request_s.set_gzip_vary"))]
fn tells_vary(_: Req, _: &Stored, _: &[u8], _: &[u8]) -> bool {
    false
}

/// Whether ranges of the response can be served; `Accept-Ranges` is then this cache's, not the origin's
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
        // nginx sends it unchanged (ngx_http_header_filter).
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

/// Whether nginx's range filter has to cut the response. That filter runs after those that rewrite bodies, so it cuts what they made. The
/// engine has evaluated `Range` and `If-Range`.
pub(crate) fn ranges_apply(serve: &Serve, asked: bool) -> bool {
    match &serve.answer {
        // Several ranges can only be cut from one buffer (ngx_http_range_body_filter).
        Answer::Partial(ranges) if ranges.len() > 1 => {
            let object = serve.object.served();
            let body = object.body();
            body.completeness == Completeness::Complete && object.chunk(0).len() as u64 == body.len
        }
        Answer::Partial(_) | Answer::Unsatisfiable => true,
        _ => !asked,
    }
}

/// An HTTP date in the pool; ngx_http_time takes twice as long, which every HIT would feel.
fn http_date(pool: Pool, ms: u64) -> Option<ngx_str_t> {
    pool.copy(&date::format(ms))
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
