//! How nginx passes on what an origin sends: in pieces as it comes, or in buffers that it fills first.

use nginx_sys::ngx_http_upstream_t;

use crate::sys::request::Req;

/// Has nginx pass on what the origin sends at once: the store always accepts it, and readers wait for it.
/// `X-Accel-Buffering: no` does the same, at the same point (ngx_http_upstream_process_headers).
pub(crate) fn turn_off(r: Req) {
    // SAFETY: NULL or the upstream of this request, which looks at the flag after its header is sent.
    match unsafe { r.raw().upstream.as_mut() } {
        Some(upstream) if !upstream.input_filter_ctx.is_null() && !needs_buffers(upstream) => {
            upstream.set_buffering(0);
        }
        _ => {}
    }
}

/// Whether nginx needs to buffer the response: to store it in a file (`proxy_store`, `proxy_cache`), or to read it at a limited rate
/// (`proxy_limit_rate`).
fn needs_buffers(upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: an upstream has its configuration.
    let conf = unsafe { &*upstream.conf };
    upstream.store() != 0 || upstream.cacheable() != 0 || conf.limit_rate.is_set()
}

/// `proxy_limit_rate`: a number, since nginx 1.25.2 a value with variables.
trait Rate {
    fn is_set(&self) -> bool;
}

impl Rate for usize {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

impl<T> Rate for *mut T {
    fn is_set(&self) -> bool {
        !self.is_null()
    }
}
