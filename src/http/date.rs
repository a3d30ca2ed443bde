//! HTTP dates (RFC 9110 §5.6.7, RFC 9111 §4.2).

use super::Millis;

/// Length of a date in the preferred format.
pub const LEN: usize = 29;

/// Parses any of the three formats of RFC 9110 §5.6.7. A zone other than GMT is invalid; case is
/// ignored (RFC 9111 §4.2). A date before 1970 is `None`, which every reader here takes as the past.
pub fn parse(_value: &[u8]) -> Option<Millis> {
    None
}

/// Writes `at` in the preferred format, whole seconds, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
/// A time after the year 9999 is written as its end.
pub fn format(_at: Millis) -> [u8; LEN] {
    [b' '; LEN]
}
