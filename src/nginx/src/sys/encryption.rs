//! How the body of a response is encrypted.
//!
//! nginx copies what it encrypts into a buffer of the connection (`ssl_buffer_size`), so that small pieces share a record. A long body
//! from the store needs no copy: it is encrypted from where it lies, in records of full length.

#[cfg(nginx_has = "ngx_ssl_connection_s.connection")]
pub(crate) use with::in_place;
#[cfg(not(nginx_has = "ngx_ssl_connection_s.connection"))]
pub(crate) use without::in_place;

#[cfg(nginx_has = "ngx_ssl_connection_s.connection")]
mod with {
    use nginx_sys::{NGX_SSL_BUFFERED, ngx_ssl_connection_t};

    use crate::sys::record;
    use crate::sys::request::Req;

    /// A note: what is left of the response is encrypted in place. The next response on the connection is not.
    struct InPlace(Req);

    impl Drop for InPlace {
        fn drop(&mut self) {
            if let Some(ssl) = session(self.0) {
                ssl.set_buffer(1);
            }
        }
    }

    /// Has nginx encrypt in place what it sends of the response from now on. Not if something waits in the connection's buffer: OpenSSL
    /// has to be given that again from there.
    ///
    /// What is sent must stay where it is until it has been sent, for the same reason (SSL_write).
    pub(crate) fn in_place(r: Req) {
        let waits = r.connection().buffered() & NGX_SSL_BUFFERED != 0;
        match session(r) {
            Some(ssl) if !waits && ssl.buffer() != 0 && record::note(r, InPlace(r)).is_some() => {
                ssl.set_buffer(0);
            }
            _ => {}
        }
    }

    /// The state of the client's TLS session.
    fn session<'a>(r: Req) -> Option<&'a mut ngx_ssl_connection_t> {
        // SAFETY: NULL or the state of an open connection, which nginx uses on this thread alone.
        unsafe { r.connection().ssl.as_mut() }
    }
}

/// For an nginx that knows no TLS.
#[cfg(not(nginx_has = "ngx_ssl_connection_s.connection"))]
mod without {
    use crate::sys::request::Req;

    pub(crate) fn in_place(_: Req) {}
}
