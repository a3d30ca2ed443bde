//! A request as a host presents it to the engine.

use super::policy::Method;
use crate::http::Fields;

/// The properties of a request. Everything is borrowed; a permit copies what it needs for longer.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The primary key, opaque bytes; a `HEAD` has the same key as the corresponding `GET`.
    pub key: &'a [u8],
    /// The field lines of the request, in order.
    pub fields: &'a dyn Fields,
    /// Whether the location's bypass condition holds: the stored response is not used.
    pub bypass: bool,
    /// Whether the location's no-cache condition holds: the response is not stored.
    pub no_cache: bool,
    /// Whether the host can run another background fetch now.
    pub may_refresh: bool,
    /// Whether the host makes the body a part of another response, such as an SSI include: it is then served as it was stored, whatever the
    /// client of the whole accepts.
    pub is_part: bool,
}

impl<'a> Request<'a> {
    /// A request that no condition of the host's concerns.
    ///
    /// ```
    /// use http::{HeaderMap, Method, Uri};
    /// use swrcache::engine::{Request, key};
    ///
    /// let key = key::of_uri("https", "www.example.com", &Uri::from_static("/news?page=2"));
    /// let fields = HeaderMap::new();
    /// let request = Request::new(&Method::GET, &key, &fields);
    /// assert_eq!(key::display(request.key), "https://www.example.com/news?page=2");
    /// ```
    pub fn new(method: &::http::Method, key: &'a [u8], fields: &'a dyn Fields) -> Request<'a> {
        Request {
            method: method.into(),
            key,
            fields,
            bypass: false,
            no_cache: false,
            may_refresh: true,
            is_part: false,
        }
    }
}

/// How often a request has asked for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It asks for the first time.
    First,
    /// It was woken after a [`Wait`](super::Wait). A spurious wake-up is harmless: the decision is another `Wait`, and
    /// the host keeps the *earlier* `until` of the two.
    Waited,
    /// [`Wait::until`](super::Wait) has passed.
    TimedOut,
}
