//! HTTP caching rules as pure functions: no clock, no I/O, no allocation that the caller did not ask for.
//!
//! Every function decides from its arguments alone; times are [`Millis`] and always arguments. A verdict is
//! an enum that names its reason, never a bare `bool`. Fields are parsed by their grammar (tokens, quoted
//! strings, lists over several lines), never searched for substrings, and no input makes a function panic.
//!
//! | file | subject | source |
//! |---|---|---|
//! | [`fields`] | the list of field lines, and how to read it | RFC 9110 §5 |
//! | [`syntax`] | tokens, quoted strings, list members, delta-seconds | RFC 9110 §5.6 |
//! | [`cache_control`] | response directives | RFC 9111 §5.2.2, RFC 5861, RFC 8246 |
//! | [`request_control`] | request directives, and whether a stored response satisfies them | RFC 9111 §5.2.1, §5.4 |
//! | [`targeted`] | targeted fields, and which field governs | RFC 9213 |
//! | [`date`], [`age`], [`retry_after`], [`etag`] | single fields | RFC 9110, RFC 9111 |
//! | [`freshness`] | the freshness lifetime | RFC 9111 §4.2 |
//! | [`staleness`] | what the response allows once it is stale | RFC 9111 §4.2.4, RFC 5861 |
//! | [`storable`] | whether a response may be stored, and if not, why | RFC 9111 §3 |
//! | [`hop_by_hop`] | which fields are stored | RFC 9110 §7.6.1, RFC 9111 §3.1 |
//! | [`authority`], [`media_type`] | the port of an authority, the charset of a media type | RFC 3986, RFC 9110 |
//! | [`limits`] | limits on the header of a stored response | - |
//! | [`vary`] | which stored response a request selects | RFC 9111 §4.1 |
//! | [`accept_encoding`] | which content codings a client wants | RFC 9110 §12.5.3 |
//! | [`conditional`], [`range`] | a client's preconditions and ranges | RFC 9110 §13, §14 |
//! | [`freshen`] | how a 304 or a HEAD response freshens a stored one | RFC 9111 §3.2, §4.3.4, §4.3.5 |
//! | [`invalidation`] | which URIs an unsafe request invalidates | RFC 9111 §4.4 |
//! | [`cache_groups`] | responses that are invalidated together | RFC 9875 |
//! | [`cache_status`] | how the request was handled, for the client | RFC 9211 |
#![forbid(unsafe_code)]

pub mod accept_encoding;
pub mod age;
pub mod authority;
pub mod cache_control;
pub mod cache_groups;
pub mod cache_status;
pub mod conditional;
pub mod date;
pub mod etag;
pub mod fields;
pub mod freshen;
pub mod freshness;
pub mod hop_by_hop;
pub mod invalidation;
pub mod limits;
pub mod media_type;
pub mod range;
pub mod request_control;
pub mod retry_after;
pub mod staleness;
pub mod storable;
pub mod syntax;
pub mod targeted;
pub mod vary;
mod weight;

#[cfg(test)]
mod tests;

pub use accept_encoding::AcceptEncoding;
pub use age::AgeInput;
pub use cache_control::{CacheControl, FieldNames, Scope, Swr};
pub use cache_status::{Forward, ForwardReason, Handling, Member};
pub use conditional::{IfRange, Precondition, Role, Selected};
pub use etag::{Comparison, Etag};
pub use fields::Fields;
pub use freshen::{Freshen, StoredValidators};
pub use freshness::{Basis, Expiry, Lifetime, LifetimeSource, Times};
pub use hop_by_hop::Exclusions;
pub use range::{ByteRange, RangeVerdict};
pub use request_control::{ClientVerdict, MaxStale, RequestControl, StoredFacts};
pub use staleness::{Bind, Staleness};
pub use storable::{Candidate, Traits, Unstorable};
pub use targeted::{Control, Source};
pub use vary::{Nominated, Reduce, Vary};

/// Unix time or a duration in milliseconds. HTTP's seconds are converted when a field is read or written.
pub type Millis = u64;

/// The largest delta-seconds, 2^31, which stands for any greater value (RFC 9111 §1.2.2).
pub const DELTA_MAX: u32 = 1 << 31;

/// Converts whole seconds to milliseconds.
pub fn seconds(s: u32) -> Millis {
    Millis::from(s) * 1000
}
