//! What comes of a fetch: the origin's response as a host tells it, and what it means.

use super::body_writer::BodyWriter;
use super::permit::Permit;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::{NotKept, Unstored};
use crate::http::Fields;
use crate::store::Millis;

/// The header of the origin's response.
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// What a client would see: the fields after the host's own mapping (hidden, added, rewritten ones).
    pub store: &'a dyn Fields,
    /// The origin's own fields: `Cache-Control`, `Expires`, `Date`, `Age`, `Vary` and the like are read from here.
    pub received: &'a dyn Fields,
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
    /// What the host knows, now that there is a response, that forbids to store it.
    pub withheld: Option<Withheld>,
}

/// Why a host does not want a response stored, for whomever it came: it counts as if the origin had said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The location's no-cache condition holds for it.
    NoCacheCondition,
    /// It leads elsewhere inside the host (an internal redirect, an error page), where its client is to go on.
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

/// What an answer of the origin means, or its absence.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is stored.
    Store(BodyWriter),
    /// The stored response holds again.
    Renewed(Stored),
    /// The fetch failed, and the stale copy may stand in.
    Stale(Stored),
    /// A 304 that does not fit what is stored: the origin is asked once more.
    AskAgain(Permit),
    /// It is not stored. Waiters have been released.
    NotKept(NotKept),
    /// The origin can't be reached, and wants the stored response validated before it is used (RFC 9111 §5.2.2.2). Waiters have been
    /// released.
    GatewayTimeout,
}
