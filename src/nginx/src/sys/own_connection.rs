//! Connections without a client whose requests are served as a visitor's would be, for what they have stored: those of a `refresh`; and
//! those of the fetches that such requests lead. What their own state does not tell is kept here: few at a time, and most often none.

use std::cell::RefCell;
use std::ptr;

use nginx_sys::ngx_connection_t;

use crate::sys::one_thread::OneThread;

/// What is known of such a connection.
#[derive(Clone, Copy)]
pub(crate) struct OwnConnection {
    pub(crate) connection: *const ngx_connection_t,
    /// The URL is an https one, though nobody speaks TLS here.
    pub(crate) https: bool,
    /// What is stored is not to answer.
    pub(crate) anew: bool,
    /// The connection is that of a fetch.
    pub(crate) of_fetch: bool,
}

static OWN: OneThread<RefCell<Vec<OwnConnection>>> = OneThread::new(RefCell::new(Vec::new()));

/// What is known of a connection, if it is such a one.
pub(crate) fn known(connection: *const ngx_connection_t) -> Option<OwnConnection> {
    let own = OWN.borrow();
    let mut all = own.iter();
    all.find(|own| ptr::eq(own.connection, connection)).copied()
}

/// Notes a connection, until [`end`].
pub(crate) fn begin(own: OwnConnection) {
    OWN.borrow_mut().push(own);
}

/// Forgets a connection; the pointer is only compared.
pub(crate) fn end(connection: *const ngx_connection_t) {
    let mut own = OWN.borrow_mut();
    own.retain(|own| !ptr::eq(own.connection, connection));
}
