//! The origin's response as a host presents it, and the outcome of a fetch.

use super::body_writer::BodyWriter;
use super::permit::Permit;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::{NotKept, Unstored};
use crate::http::Fields;
use crate::http::fields::announced_length;
use crate::store::Millis;

/// The header of the origin's response.
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The fields that clients get, after the host has hidden, added or rewritten some.
    pub store: &'a dyn Fields,
    /// The origin's own fields: `Cache-Control`, `Expires`, `Date`, `Age`, `Vary` and the like are read from these.
    pub received: &'a dyn Fields,
    /// The origin's own fields, if the host wants to read them from the stored response later
    /// ([`super::Stored::origin_fields`]).
    pub kept: Option<&'a dyn Fields>,
    /// Scheme and authority as the client wrote them (`https://example.com:8443`); empty if unknown. Cache groups
    /// belong to one origin (RFC 9875); without it, their names count as tags only.
    pub origin: &'a [u8],
    /// Whether the host completes a relative `Location` with its own scheme and authority when it sends the response (a
    /// redirect of its own), instead of forwarding it unchanged.
    pub own_redirect: bool,
    /// The announced length of the body in bytes, if any.
    pub content_length: Option<u64>,
    /// The time at which the request was sent (RFC 9111 §4.2.3), by the same clock as `now`.
    pub request_time: Millis,
    /// The wall-clock time now (Unix time in ms), with which the origin's dates are compared. Equal to `now` for a host
    /// that has one clock.
    pub wall: Millis,
    /// The failure of the origin for which the host made this response itself.
    pub from_failure: Option<Failure>,
    /// A reason, known to the host only now that there is a response, not to store it.
    pub withheld: Option<Withheld>,
}

impl<'a> Response<'a> {
    /// A response of the origin's that clients see as it is, to a request that was sent at the first of these times and answered at the
    /// second.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode, header};
    /// use swrcache::engine::Response;
    ///
    /// let fields = HeaderMap::from_iter([(header::CONTENT_LENGTH, "5".parse().unwrap())]);
    /// let response = Response::new(StatusCode::OK, &fields, (1_700_000_000_000, 1_700_000_000_250));
    /// assert_eq!((response.status, response.content_length), (200, Some(5)));
    /// ```
    pub fn new(
        status: ::http::StatusCode,
        fields: &'a dyn Fields,
        (sent, answered): (Millis, Millis),
    ) -> Response<'a> {
        Response {
            status: status.as_u16(),
            store: fields,
            received: fields,
            kept: None,
            origin: b"",
            own_redirect: false,
            content_length: announced_length(fields),
            request_time: sent,
            wall: answered,
            from_failure: None,
            withheld: None,
        }
    }
}

/// Why a host does not want a response to be stored for any client; it counts as if the origin had forbidden it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The location's no-cache condition holds for the response.
    NoCacheCondition,
    /// The response continues elsewhere inside the host (an internal redirect, an error page), and so does its client.
    Redirected,
}

impl Withheld {
    pub(super) fn reason(self) -> Unstored {
        match self {
            Withheld::NoCacheCondition => Unstored::NoCacheCondition,
            Withheld::Redirected => Unstored::Redirected,
        }
    }
}

/// How a fetch failed without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection failed, or broke.
    Error,
    /// The origin did not answer in time.
    Timeout,
    /// The header was empty or invalid.
    InvalidHeader,
    /// The host gave the fetch up for reasons of its own (shutdown, no memory). It is not the origin's fault, so no
    /// pause follows.
    Aborted,
}

/// What the origin's answer, or the lack of one, results in.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The response is being stored.
    Store(BodyWriter),
    /// The stored response has been validated.
    Renewed(Stored),
    /// The fetch failed, and the stale response is served.
    Stale(Stored),
    /// The 304 does not match what is stored: the origin is asked again.
    AskAgain(Permit),
    /// The response is not stored. The waiters have been released.
    NotKept(NotKept),
    /// The origin is unreachable, and requires that the stored response is validated before use (RFC 9111 §5.2.2.2).
    /// The waiters have been released.
    GatewayTimeout,
}
