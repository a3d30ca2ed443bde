//! The age of a response (RFC 9111 §4.2.3, §5.1).

use super::{Fields, Millis};

/// The `Age` field in seconds: the first member of the first line. `None` if absent or malformed,
/// which is the same (RFC 9111 §5.1).
pub fn parse(_fields: &dyn Fields) -> Option<u32> {
    None
}

/// What the corrected initial age is computed from (RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug)]
pub struct AgeInput {
    /// `Date` of the response, if it has a valid one.
    pub date: Option<Millis>,
    /// `Age` of the response in seconds, if it has a valid one.
    pub age: Option<u32>,
    /// When the request was sent.
    pub request_time: Millis,
    /// When the response header arrived.
    pub response_time: Millis,
}

/// `corrected_initial_age` (RFC 9111 §4.2.3) in milliseconds: the age at `response_time`.
pub fn initial(_input: &AgeInput) -> Millis {
    0
}

/// `current_age`: the initial age plus the time resident in this cache.
pub fn current(initial: Millis, response_time: Millis, now: Millis) -> Millis {
    initial.saturating_add(now.saturating_sub(response_time))
}
