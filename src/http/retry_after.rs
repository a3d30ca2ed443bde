//! `Retry-After` (RFC 9110 §10.2.3).

use super::{Fields, Millis};

/// How long the origin asks to be left alone, in milliseconds from `now`: delta-seconds or a date
/// (zero if that is past). `None` if absent or malformed.
pub fn parse(_fields: &dyn Fields, _now: Millis) -> Option<Millis> {
    None
}
