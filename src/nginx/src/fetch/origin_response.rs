//! The header of an origin's response, as the engine reads it.

use nginx_sys::{
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_MODIFIED, NGX_HTTP_OK,
    NGX_HTTP_UPSTREAM_IGN_XA_CHARSET, NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE, ngx_http_request_t,
    ngx_http_upstream_t, ngx_list_t, ngx_str_t,
};
use swrcache::engine::{Failure, Response, Withheld};
use swrcache::http::Fields;

use crate::sys::clock;
use crate::sys::header_list::List;
use crate::sys::pool::bytes_of;
use crate::sys::request::Req;

/// Shows `f` the response whose header is about to be sent for `r`, to a request that was sent at `request_time`; `withheld` is why it must
/// not be stored.
pub(crate) fn read<T>(
    r: Req,
    request_time: u64,
    withheld: Option<Withheld>,
    f: impl FnOnce(&Response<'_>) -> T,
) -> T {
    let raw = r.raw();
    let out = &raw.headers_out;
    let last_modified = own_last_modified(r);
    let length = u64::try_from(out.content_length_n).ok();
    let length = length.map(|bytes| bytes.to_string().into_bytes());
    let visible = Visible {
        list: &out.headers,
        content_type: &out.content_type,
        content_type_len: out.content_type_len,
        charset: &out.charset,
        content_length: length.as_deref(),
        last_modified: last_modified.as_deref(),
        by_encoding: says_encoding(r),
    };
    let varied = Visible {
        by_encoding: is_by_encoding(&raw),
        ..visible
    };
    // SAFETY: NULL or the upstream of this request.
    let upstream = unsafe { raw.upstream.as_ref() };
    let origin =
        upstream.filter(|u| u.headers_in.status_n != 0 && !u.headers_in.headers.last.is_null());
    let origin = origin.map(|u| List::of(&u.headers_in.headers));
    let (status, from_failure) = verdict(r);
    f(&Response {
        status,
        store: &visible,
        received: match &origin {
            Some(list) => list,
            None => &varied,
        },
        own_redirect: is_own_redirect(r),
        content_length: u64::try_from(out.content_length_n).ok(),
        request_time,
        wall: clock::wall(),
        origin: &r.origin(),
        from_failure,
        withheld,
        kept: upstream
            .zip(origin.as_ref())
            .map(|(upstream, fields)| Kept {
                upstream,
                fields,
                status_line: status_line(r),
            })
            .as_ref()
            .map(|kept| kept as &dyn Fields),
    })
}

/// The origin's fields but for those that the location ignores (`proxy_ignore_headers`), and its status line where that matters.
struct Kept<'a> {
    upstream: &'a ngx_http_upstream_t,
    fields: &'a List<'a>,
    status_line: &'a [u8],
}

impl Fields for Kept<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        // SAFETY: an upstream has its configuration.
        let ignored = unsafe { (*self.upstream.conf).ignore_headers };
        self.fields.each(&mut |name, value| {
            let bit = match name {
                _ if name.eq_ignore_ascii_case(b"x-accel-limit-rate") => {
                    NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE
                }
                _ if name.eq_ignore_ascii_case(b"x-accel-charset") => {
                    NGX_HTTP_UPSTREAM_IGN_XA_CHARSET
                }
                _ => 0,
            };
            if ignored & bit as usize == 0 {
                f(name, value);
            }
        });
        if !self.status_line.is_empty() {
            f(b":status", self.status_line);
        }
    }
}

/// The origin's status line; empty where nginx would make the same one, and for a 304, which stands for a stored response.
fn status_line(r: Req) -> &'static [u8] {
    match r.text(|raw| &raw.headers_out.status_line) {
        b"200 OK" => b"",
        _ if r.raw().headers_out.status == NGX_HTTP_NOT_MODIFIED as usize => b"",
        line => line,
    }
}

/// The `Last-Modified` that nginx keeps as a number only (static files).
fn own_last_modified(r: Req) -> Option<Vec<u8>> {
    let out = &r.raw().headers_out;
    if !out.last_modified.is_null() || out.last_modified_time <= 0 {
        return None;
    }
    let mut text = [0u8; 32];
    // SAFETY: ngx_http_time writes 29 bytes.
    let end = unsafe { nginx_sys::ngx_http_time(text.as_mut_ptr(), out.last_modified_time) };
    Some(text[..end as usize - text.as_ptr() as usize].to_vec())
}

/// Whether the origin has answered without a header. nginx takes that for HTTP/0.9, and sets no status
/// (ngx_http_proxy_process_status_line).
pub(crate) fn lacks_header(r: Req) -> bool {
    // SAFETY: NULL or live, as the request's upstream.
    let answered = unsafe {
        let upstream = r.raw().upstream.as_ref();
        upstream.and_then(|u| Some((u.headers_in.status_n, u.state.as_ref()?.status)))
    };
    answered == Some((0, NGX_HTTP_OK as usize))
}

/// Whether nginx would make the `Location` of this response absolute: it is noted in `headers_out`, as an origin's is not, and begins with a
/// slash (ngx_http_header_filter).
pub(crate) fn is_own_redirect(r: Req) -> bool {
    // SAFETY: NULL or an element of the response's header list.
    let location = unsafe { r.raw().headers_out.location.as_ref() };
    location.is_some_and(|e| bytes_of(&e.value).first() == Some(&b'/'))
}

/// The status to judge by, and how the origin failed if nginx has made the response in its place. The origin's own status counts where
/// nginx shows another one or redirects.
fn verdict(r: Req) -> (u16, Option<Failure>) {
    let raw = r.raw();
    let shown = match raw.headers_out.status {
        0 => NGX_HTTP_OK as u16,
        status => u16::try_from(status).unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as u16),
    };
    // SAFETY: NULL or live, as the request's upstream.
    let Some((upstream, state)) = (unsafe {
        raw.upstream
            .as_ref()
            .and_then(|u| Some((u, u.state.as_ref()?)))
    }) else {
        return (shown, None);
    };
    if lacks_header(r) {
        return (shown, Some(Failure::InvalidHeader));
    }
    let status = u16::try_from(state.status).unwrap_or(shown);
    if state.status != 0 && upstream.headers_in.status_n == state.status {
        return (status, None);
    }
    if state.status < NGX_HTTP_INTERNAL_SERVER_ERROR as usize {
        return (shown, None);
    }
    let timeout = state.status == NGX_HTTP_GATEWAY_TIME_OUT as usize;
    let failure = match (timeout, upstream.headers_in.status_n) {
        (true, _) => Failure::Timeout,
        (false, 0) => Failure::Error,
        (false, _) => Failure::InvalidHeader,
    };
    (status, Some(failure))
}

/// Whether nginx's `gzip_vary` will add `Vary: Accept-Encoding`.
#[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
fn says_encoding(r: Req) -> bool {
    r.raw().gzip_vary() != 0 && r.core_conf().gzip_vary != 0
}

#[cfg(not(nginx_has = "ngx_http_request_s.set_gzip_vary"))]
fn says_encoding(_: Req) -> bool {
    false
}

/// Whether a handler of nginx's has looked at the client's `Accept-Encoding` (gzip_static): the response depends on it, with `Vary` or not.
#[cfg(nginx_has = "ngx_http_request_s.set_gzip_vary")]
fn is_by_encoding(raw: &ngx_http_request_t) -> bool {
    raw.gzip_vary() != 0 || raw.gzip_tested() != 0
}

#[cfg(not(nginx_has = "ngx_http_request_s.set_gzip_vary"))]
fn is_by_encoding(_: &ngx_http_request_t) -> bool {
    false
}

/// The fields of `headers_out` and those that nginx keeps beside the list.
#[derive(Clone, Copy)]
struct Visible<'a> {
    list: &'a ngx_list_t,
    content_type: &'a ngx_str_t,
    /// Less than the whole if parameters follow, among them the `charset` that nginx has noted.
    content_type_len: usize,
    charset: &'a ngx_str_t,
    content_length: Option<&'a [u8]>,
    last_modified: Option<&'a [u8]>,
    /// `Vary: Accept-Encoding` beside them (gzip_static).
    by_encoding: bool,
}

impl Fields for Visible<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        let media_type = bytes_of(self.content_type);
        if !media_type.is_empty() {
            match bytes_of(self.charset) {
                charset if !charset.is_empty() && media_type.len() == self.content_type_len => f(
                    b"Content-Type",
                    &[media_type, b"; charset=", charset].concat(),
                ),
                _ => f(b"Content-Type", media_type),
            }
        }
        if let Some(length) = self.content_length {
            f(b"Content-Length", length);
        }
        if let Some(date) = self.last_modified {
            f(b"Last-Modified", date);
        }
        if self.by_encoding {
            f(b"Vary", b"Accept-Encoding");
        }
        List::of(self.list).each(f);
    }
}
