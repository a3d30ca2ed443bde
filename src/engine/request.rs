//! A request as the engine sees it.

use super::policy::Method;
use crate::http::Fields;

/// What a host tells of a request. Borrowed; nothing of it is kept but what a permit copies.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The primary key, opaque bytes; a `HEAD` has the key of its `GET`.
    pub key: &'a [u8],
    /// The request's field lines, in order.
    pub fields: &'a dyn Fields,
    /// The location's bypass condition holds: what is stored is not used.
    pub bypass: bool,
    /// The location's no-cache condition holds: the response is not stored.
    pub no_cache: bool,
    /// The host has room for a background fetch now.
    pub may_refresh: bool,
}

/// Where in its life the request is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// For the first time.
    First,
    /// Rung after a [`Wait`](super::Wait). A spurious ring does no harm: the answer is then another `Wait`, of which
    /// the host keeps the *earlier* `until`.
    Waited,
    /// [`Wait::until`](super::Wait) has passed.
    TimedOut,
}
