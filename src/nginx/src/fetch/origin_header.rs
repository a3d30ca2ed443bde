//! The origin's header, for nginx's own variables (`$upstream_http_*`, `$upstream_cookie_*`, `$upstream_trailer_*`).
//!
//! nginx reads them from `r->upstream`, which a client's request does not have: its fetch has one, or nobody if the response is stored.
//! So a stand-in takes its place while one of nginx's functions reads; nothing else in nginx ever sees it. Its header is a copy of the
//! fetch's, or of what is stored.

use std::ptr::NonNull;

use nginx_sys::{ngx_http_upstream_t, ngx_list_t, ngx_table_elt_t};
use swrcache::engine::Stored;

use crate::sys::header_list::{List, new_list, push_to};
use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::Req;

/// A stand-in for `r->upstream`, in the pool of that request.
#[derive(Clone, Copy)]
pub(crate) struct OriginHeader(NonNull<ngx_http_upstream_t>);

impl OriginHeader {
    /// A copy of the header that `fetch` got, for `r`; nothing if there is none.
    pub(crate) fn of_fetch(r: Req, fetch: Req) -> Option<OriginHeader> {
        // SAFETY: NULL or the upstream of that request.
        let upstream = unsafe { fetch.raw().upstream.as_ref()? };
        if upstream.headers_in.status_n == 0 {
            return None;
        }
        let copy = OriginHeader::empty(r.pool())?;
        let mut ok = Some(());
        List::of(&upstream.headers_in.headers)
            .elements(|e| ok = ok.and_then(|()| copy.add(r.pool(), e)));
        let trailers = copy.trailers();
        List::of(&upstream.headers_in.trailers)
            .elements(|e| ok = ok.and_then(|()| copy_to(trailers, r.pool(), e).map(|_| ())));
        ok.map(|()| copy)
    }

    /// The header that the origin once sent with `stored`, as far as it is kept; nothing if no origin sent it.
    pub(crate) fn of_stored(r: Req, stored: &Stored) -> Option<OriginHeader> {
        let copy = OriginHeader::empty(r.pool())?;
        let (mut ok, mut any) = (Some(()), false);
        let mut add = |name: &[u8], value: &[u8]| {
            ok = ok.and_then(|()| copy.add_line(r.pool(), name, value));
        };
        stored.origin_fields(&mut |name, value| {
            any = true;
            add(name, value);
        });
        add(b"Date", &swrcache::http::date::format(stored.date()));
        if let Some(length) = stored.content_length() {
            add(b"Content-Length", length.to_string().as_bytes());
        }
        ok.filter(|()| any).map(|()| copy)
    }

    /// Runs `read` while this takes the place of the upstream of `r`, which has none.
    pub(crate) fn shown_to<T>(self, r: Req, read: impl FnOnce() -> T) -> T {
        r.raw().upstream = self.0.as_ptr();
        let value = read();
        r.raw().upstream = std::ptr::null_mut();
        value
    }

    fn empty(pool: Pool) -> Option<OriginHeader> {
        let upstream = pool.zeroed::<ngx_http_upstream_t>()?;
        new_list(pool, &mut upstream.headers_in.headers, 8)?;
        new_list(pool, &mut upstream.headers_in.trailers, 2)?;
        Some(OriginHeader(NonNull::from(upstream)))
    }

    #[expect(clippy::mut_from_ref, reason = "one thread; see the SAFETY note")]
    fn raw(&self) -> &mut ngx_http_upstream_t {
        // SAFETY: memory of the request's pool, which outlives its record; every reference is short-lived.
        unsafe { &mut *self.0.as_ptr() }
    }

    fn trailers(&self) -> &mut ngx_list_t {
        &mut self.raw().headers_in.trailers
    }

    fn add_line(&self, pool: Pool, name: &[u8], value: &[u8]) -> Option<()> {
        let headers = &mut self.raw().headers_in.headers;
        push_to(headers, pool.copy(name)?, pool.copy(value)?).map(|_| ())
    }

    fn add(&self, pool: Pool, e: &ngx_table_elt_t) -> Option<()> {
        let copy = copy_to(&mut self.raw().headers_in.headers, pool, e)?;
        let is_cookie = bytes_of(&e.key).eq_ignore_ascii_case(b"set-cookie");
        if is_cookie && e.hash != 0 {
            return self.add_cookie(pool, copy);
        }
        Some(())
    }

    /// As ngx_http_upstream_process_set_cookie: a linked list of lines.
    #[cfg(nginx_has = "ngx_table_elt_s.next")]
    fn add_cookie(&self, _: Pool, cookie: &'static mut ngx_table_elt_t) -> Option<()> {
        let mut end = &mut self.raw().headers_in.set_cookie;
        // SAFETY: every line is in the same pool, and the last one's `next` is NULL.
        while let Some(last) = unsafe { end.as_mut() } {
            end = &mut last.next;
        }
        *end = cookie;
        Some(())
    }

    /// As ngx_http_upstream_process_set_cookie: an array of lines.
    #[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
    fn add_cookie(&self, pool: Pool, cookie: &'static mut ngx_table_elt_t) -> Option<()> {
        let cookies = &mut self.raw().headers_in.cookies;
        if cookies.pool.is_null() {
            // SAFETY: the pool gives NULL or an array.
            *cookies = unsafe {
                *nginx_sys::ngx_array_create(pool.as_ptr(), 2, size_of::<*mut ngx_table_elt_t>())
                    .as_ref()?
            };
        }
        // SAFETY: the array holds pointers.
        let place = unsafe {
            nginx_sys::ngx_array_push(cookies)
                .cast::<*mut ngx_table_elt_t>()
                .as_mut()?
        };
        *place = cookie;
        Some(())
    }
}

fn copy_to(
    list: &mut ngx_list_t,
    pool: Pool,
    e: &ngx_table_elt_t,
) -> Option<&'static mut ngx_table_elt_t> {
    let copy = push_to(list, pool.copy_str(e.key)?, pool.copy_str(e.value)?)?;
    copy.hash = e.hash;
    Some(copy)
}
