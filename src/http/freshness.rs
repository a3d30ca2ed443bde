//! How long a response is fresh (RFC 9111 §4.2.1, §4.2.2).

use super::{Control, Fields, Millis};

/// What `Expires` says (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// No such field.
    Absent,
    /// Malformed, such as `0`: already past.
    Past,
    /// A date; of several lines, the earliest.
    At(Millis),
}

/// The dates and the age of a response, read in one pass over its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `Date`, if valid.
    pub date: Option<Millis>,
    /// `Expires`.
    pub expires: Expiry,
    /// `Last-Modified`, if valid.
    pub last_modified: Option<Millis>,
    /// `Age` in seconds, if valid.
    pub age: Option<u32>,
}

impl Times {
    /// Reads them from a response's fields.
    pub fn read(_fields: &dyn Fields) -> Times {
        Times {
            date: None,
            expires: Expiry::Absent,
            last_modified: None,
            age: None,
        }
    }
}

/// Which rule gave a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage`.
    SMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires` minus `Date`.
    Expires,
    /// A tenth of the time since the last modification.
    Heuristic,
}

impl LifetimeSource {
    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            LifetimeSource::SMaxAge => "s-maxage",
            LifetimeSource::MaxAge => "max-age",
            LifetimeSource::Expires => "expires",
            LifetimeSource::Heuristic => "heuristic",
        }
    }
}

/// A freshness lifetime: the response is fresh while this is greater than its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Milliseconds.
    pub value: Millis,
    /// The rule it comes from.
    pub source: LifetimeSource,
}

/// What a lifetime is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The governing directives.
    pub control: &'a Control,
    /// The response's dates; `last_modified` is the origin's own, never a synthesised one.
    pub times: &'a Times,
    /// The response's status code.
    pub status: u16,
    /// When the response header arrived; stands in for a missing `Date`.
    pub response_time: Millis,
}

/// The lifetime that the origin states (RFC 9111 §4.2.1): `s-maxage`, else `max-age`, else `Expires`
/// minus `Date`. A host's own freshness (configuration) belongs between this and [`heuristic`].
pub fn explicit(_basis: &Basis<'_>) -> Option<Lifetime> {
    None
}

/// The lifetime guessed where the origin states none (RFC 9111 §4.2.2).
pub fn heuristic(_basis: &Basis<'_>) -> Option<Lifetime> {
    None
}

/// [`explicit`], else [`heuristic`].
pub fn lifetime(basis: &Basis<'_>) -> Option<Lifetime> {
    explicit(basis).or_else(|| heuristic(basis))
}

/// Whether a status may be stored on a heuristic alone (RFC 9110 §15.1). 206 is left out: partial
/// responses are not stored.
pub fn is_heuristically_cacheable(_status: u16) -> bool {
    false
}
