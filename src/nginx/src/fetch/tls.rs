//! The client's TLS session, shared with a fetch so that `$scheme` and `$ssl_*` hold in it.
//!
//! The module links no TLS library, since nginx may have any: the two functions are looked up at run time.

#[cfg(nginx_has = "ngx_ssl_connection_s.connection")]
pub(crate) use with::{release, share};
#[cfg(not(nginx_has = "ngx_ssl_connection_s.connection"))]
pub(crate) use without::{release, share};

#[cfg(nginx_has = "ngx_ssl_connection_s.connection")]
mod with {
    use std::ffi::{c_int, c_void};
    use std::mem::transmute;

    use nginx_sys::{ngx_connection_t, ngx_ssl_connection_t};

    use crate::sys::pool::Pool;
    use crate::sys::symbol::symbol;

    /// Gives `to` a private copy of `from`'s TLS state whose session is up-referenced. `None` if that can't be done.
    ///
    /// Undone by [`release`] before `to` is closed.
    pub(crate) fn share(
        from: &ngx_connection_t,
        to: &mut ngx_connection_t,
        pool: Pool,
    ) -> Option<()> {
        if from.ssl.is_null() {
            return Some(());
        }
        let up_ref = symbol(c"SSL_up_ref");
        if up_ref.is_null() {
            return None;
        }
        let copy = pool.zeroed::<ngx_ssl_connection_t>()?;
        // SAFETY: `from.ssl` is the live TLS state of an open connection; SSL_up_ref has this signature in every OpenSSL
        // since 1.1.0 and its forks. The plain copy's other pointers are only read.
        unsafe {
            std::ptr::copy_nonoverlapping(from.ssl, copy, 1);
            let up_ref: unsafe extern "C" fn(*mut c_void) -> c_int = transmute(up_ref);
            if up_ref(copy.connection.cast()) != 1 {
                return None;
            }
        }
        to.ssl = copy;
        Some(())
    }

    /// Gives the session reference back, so that closing the connection sends no close_notify on the client's session.
    pub(crate) fn release(c: &mut ngx_connection_t) {
        if c.ssl.is_null() {
            return;
        }
        let free = symbol(c"SSL_free");
        if !free.is_null() {
            // SAFETY: `share` took this reference; SSL_free drops one reference.
            unsafe {
                let free: unsafe extern "C" fn(*mut c_void) = transmute(free);
                free((*c.ssl).connection.cast());
            }
        }
        c.ssl = std::ptr::null_mut();
    }
}

/// For an nginx that knows no TLS.
#[cfg(not(nginx_has = "ngx_ssl_connection_s.connection"))]
mod without {
    use nginx_sys::ngx_connection_t;

    use crate::sys::pool::Pool;

    pub(crate) fn share(_: &ngx_connection_t, _: &mut ngx_connection_t, _: Pool) -> Option<()> {
        Some(())
    }

    pub(crate) fn release(_: &mut ngx_connection_t) {}
}
