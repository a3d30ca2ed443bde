//! The `Cache-Status` member of a verdict (RFC 9211).

use super::{Pass, Serve};

/// What the cache did for a request, as far as `Cache-Status` tells.
pub enum Part<'a> {
    /// Answered from the store; `fetched` is the origin's status if this request waited for it.
    Served {
        /// The verdict.
        serve: &'a Serve,
        /// Status of the origin's answer that this request waited for.
        fwd_status: Option<u16>,
    },
    /// Went to the origin without the store.
    Passed {
        /// The verdict.
        pass: &'a Pass,
        /// Status of the origin's answer.
        fwd_status: Option<u16>,
    },
    /// Led a fetch whose response was relayed, not stored.
    Relayed {
        /// Why.
        reason: super::Reason,
        /// Status of the origin's answer.
        fwd_status: Option<u16>,
    },
}

/// The member for this cache, named `name` (a token; anything else is written as a string), to be appended to the field.
pub fn cache_status(_name: &str, _part: &Part<'_>) -> String {
    todo!()
}
