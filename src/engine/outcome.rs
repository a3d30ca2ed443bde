//! What came of a fetch.

use super::{Filling, Permit, Reason, Stored};
use crate::http::Fields;
use crate::store::Millis;

/// The header of the origin's response.
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// What a client would see: the fields after the host's own mapping (hidden, added, rewritten ones).
    pub store: &'a dyn Fields,
    /// The origin's own fields: `Cache-Control`, `Expires`, `Date`, `Age`, `Vary` and the like are read from here.
    pub judge: &'a dyn Fields,
    /// The origin's own fields, where the host wants them back with the stored response ([`super::Stored::origin_fields`]).
    pub kept: Option<&'a dyn Fields>,
    /// Scheme and authority as the client wrote them (`https://example.com:8443`); empty where they are not known: cache groups
    /// (RFC 9875) are of one origin, and are then told by their names as tags only.
    pub origin: &'a [u8],
    /// A relative `Location` is one that the host completes with its own scheme and authority when it sends it (a redirect of its
    /// own), not one that it passes on as it is.
    pub own_redirect: bool,
    /// The length of the body, if it was announced.
    pub content_length: Option<u64>,
    /// When the request was sent (RFC 9111 §4.2.3), by the clock of `now`.
    pub request_time: Millis,
    /// What the wall clock shows now (Unix time in ms): what the origin's dates are compared with. `now` itself, for a host that has
    /// no other clock.
    pub wall: Millis,
    /// The host made this response itself because the origin failed so.
    pub from_failure: Option<Failure>,
}

/// How a fetch failed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke.
    Error,
    /// No answer in time.
    Timeout,
    /// An empty or invalid header.
    InvalidHeader,
    /// Given up by the host for reasons of its own (shutting down, no memory): not the origin's fault, no back-off.
    Aborted,
}

/// What to do after [`Permit::respond`](super::Permit::respond) or [`Permit::fail`](super::Permit::fail).
#[derive(Debug)]
pub enum Outcome {
    /// Feed the body, then [`Filling::finish`].
    Store(Filling),
    /// The stored response holds again: deliver it with [`Led::Revalidated`](super::Led::Revalidated). Any body is dropped.
    Renewed(Stored),
    /// The fetch failed and the stale copy may be served: deliver it with [`Led::Stale`](super::Led::Stale); drop the response.
    Stale(Stored),
    /// A 304 that does not fit what is stored: drop it, and ask the origin again at once, without conditionals. The fetch goes on,
    /// with its client, if one leads it; this comes once in a fetch.
    AskAgain(Permit),
    /// Nothing is stored: relay the response to the client that led; waiters have been released.
    Relay(Reason),
    /// The origin can't be reached, and wants the stored response validated before it is used: answer 504 (RFC 9111
    /// §5.2.2.2). Waiters have been released.
    GatewayTimeout(Reason),
    /// A background refresh that failed (the entry is kept and pauses) or came back uncacheable (the entry is gone).
    Dropped(Reason),
}
