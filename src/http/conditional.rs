//! A client's preconditions against the selected response (RFC 9110 §13, RFC 9111 §4.3.2).

use super::{Etag, Fields, Millis};
use http::Method;

/// Who evaluates. `If-Match` and `If-Unmodified-Since` are for the origin only (RFC 9110 §13.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A cache: steps 1 and 2 are not evaluated.
    Cache,
    /// The origin, or a cache that answers in its stead: all steps.
    Origin,
}

/// The response that the request selected.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// Its status code; preconditions count for 2xx only (RFC 9110 §13.2.1).
    pub status: u16,
    /// Its entity tag, own or synthesised.
    pub etag: Option<Etag<'a>>,
    /// Its `Last-Modified`, own or synthesised.
    pub last_modified: Option<Millis>,
    /// Its `Date`, or the time it was received.
    pub date: Millis,
    /// Whether its validators were made by this cache: then they are weak.
    pub synthesised: bool,
}

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Go on with the request (and look at `Range`).
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// What `If-Range` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// Not there: `Range` counts.
    Absent,
    /// It holds: `Range` counts.
    Holds,
    /// It does not hold: `Range` is ignored.
    Fails,
}

/// Evaluates the preconditions in the order of RFC 9110 §13.2.2.
pub fn evaluate(
    _method: &Method,
    _request: &dyn Fields,
    _selected: &Selected<'_>,
    _role: Role,
) -> Precondition {
    Precondition::Proceed
}

/// Evaluates `If-Range` (RFC 9110 §13.1.5): strong validators only, exact match.
pub fn if_range(_request: &dyn Fields, _selected: &Selected<'_>) -> IfRange {
    IfRange::Fails
}
