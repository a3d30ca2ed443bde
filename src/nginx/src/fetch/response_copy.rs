//! Copies the header of a fetch's response to the client that leads it.

use swrcache::engine::IgnoreFields;
use swrcache::http::fields::is;

use crate::config::location::LocConf;
use crate::fetch::origin_response::is_own_redirect;
use crate::sys::header_list::{List, push_to};
use crate::sys::pool::bytes_of;
use crate::sys::request::Req;
use crate::sys::response_header::{complete_location, copy_field, limit_rate, override_charset};

/// Makes the header of `fetch` the one of `r`, as if the client's own request had got it.
pub(crate) fn copy_header(r: Req, conf: &LocConf, fetch: Req) -> Option<()> {
    let (pool, fetched) = (r.pool(), fetch.raw());
    let from = &fetched.headers_out;
    let out = &mut r.raw().headers_out;
    out.status = from.status;
    out.content_length_n = from.content_length_n;
    out.last_modified_time = from.last_modified_time;
    out.status_line = pool.copy_str(from.status_line)?;
    out.charset = pool.copy_str(from.charset)?;
    #[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
    r.raw().set_gzip_vary(fetch.raw().gzip_vary());
    let in_parts = relays_parts(r, fetch);
    copy_fields(r, fetch, |name| !(in_parts && is(name, "accept-ranges")))?;
    let out = &mut r.raw().headers_out;
    out.content_type = pool.copy_str(from.content_type)?;
    out.content_type_len = from.content_type_len;
    copy_host_fields(r, conf, fetch)?;
    r.raw().set_allow_ranges(u32::from(in_parts));
    r.raw().set_single_range(1);
    Some(())
}

/// Copies the field lines that `wanted` picks by their names.
pub(crate) fn copy_fields(r: Req, fetch: Req, wanted: impl Fn(&[u8]) -> bool) -> Option<()> {
    let mut ok = Some(());
    List::of(&fetch.raw().headers_out.headers).elements(|e| {
        if e.hash != 0 && wanted(bytes_of(&e.key)) {
            ok = ok.and_then(|()| copy_field(r, r.pool(), bytes_of(&e.key), bytes_of(&e.value)));
        }
    });
    if is_own_redirect(fetch) {
        complete_location(r);
    }
    ok
}

/// Copies `X-Accel-Limit-Rate` and `X-Accel-Charset`, which nginx has read for the fetch. An unbuffered response has no rate.
pub(crate) fn copy_host_fields(r: Req, conf: &LocConf, fetch: Req) -> Option<()> {
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

/// Copies the trailers of a relayed response, as far as nginx passes them on (`proxy_pass_trailers`, `grpc_pass`): they are complete when
/// the body ends.
pub(crate) fn copy_trailers(r: Req, from: Req) -> Option<()> {
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

/// Whether nginx cuts the client's ranges from a relayed response, of which the fetch has asked for the whole: where nginx would do so
/// without a cache, or in place of an origin that accepts ranges.
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
