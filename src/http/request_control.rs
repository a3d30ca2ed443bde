//! Request directives of `Cache-Control`, `Pragma`, and whether a stored response satisfies them
//! (RFC 9111 §5.2.1, §5.4; RFC 5861 §4; RFC 8246 §2).

use super::{CacheControl, Fields, Millis};

/// What `max-stale` accepts (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStale {
    /// A stale response of any age.
    Any,
    /// Stale by no more than so many seconds.
    Seconds(u32),
}

/// The directives of a request. Numbers are seconds, at most 2^31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `no-cache` (§5.2.1.4), or `Pragma: no-cache` without any `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// `no-store` (§5.2.1.5).
    pub no_store: bool,
    /// `no-transform` (§5.2.1.6).
    pub no_transform: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `max-age` (§5.2.1.1).
    pub max_age: Option<u32>,
    /// `max-stale` (§5.2.1.2).
    pub max_stale: Option<MaxStale>,
    /// `min-fresh` (§5.2.1.3).
    pub min_fresh: Option<u32>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
}

/// Whether a stored response satisfies a request's directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// The request asks for nothing that forbids the stored response.
    Accepts,
    /// The response is stale, and `max-stale` accepts it as it is.
    AcceptsStale,
    /// `no-cache`: forward for validation.
    NoCache,
    /// The response is older than `max-age`.
    MaxAge,
    /// Less freshness is left than `min-fresh` asks for.
    MinFresh,
}

impl ClientVerdict {
    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientVerdict::Accepts => "client-accepts",
            ClientVerdict::AcceptsStale => "client-max-stale",
            ClientVerdict::NoCache => "client-no-cache",
            ClientVerdict::MaxAge => "client-max-age",
            ClientVerdict::MinFresh => "client-min-fresh",
        }
    }
}

impl RequestControl {
    /// Reads the `Cache-Control` lines of a request, or `Pragma` where there are none.
    pub fn request(_fields: &dyn Fields) -> RequestControl {
        RequestControl::default()
    }

    /// Judges a stored response of this age and freshness lifetime (both milliseconds), with its
    /// response directives. `Accepts` on a stale response leaves the matter to the response's own
    /// windows.
    pub fn judge(&self, _age: Millis, _lifetime: Millis, _control: &CacheControl) -> ClientVerdict {
        ClientVerdict::Accepts
    }
}
