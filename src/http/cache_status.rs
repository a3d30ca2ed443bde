//! One member of `Cache-Status` (RFC 9211).

/// Why a request went forward, from most specific to least (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardReason {
    /// Configured not to handle this request.
    Bypass,
    /// The method requires it.
    Method,
    /// No response stored for the URI.
    UriMiss,
    /// Responses stored for the URI, none selected by this request's fields.
    VaryMiss,
    /// Nothing usable, not told apart further.
    Miss,
    /// A fresh response was there, but the request did not allow its use.
    Request,
    /// The stored response was stale.
    Stale,
    /// The stored response was partial.
    Partial,
}

impl ForwardReason {
    /// The token of RFC 9211 §2.2.
    pub fn as_str(self) -> &'static str {
        match self {
            ForwardReason::Bypass => "bypass",
            ForwardReason::Method => "method",
            ForwardReason::UriMiss => "uri-miss",
            ForwardReason::VaryMiss => "vary-miss",
            ForwardReason::Miss => "miss",
            ForwardReason::Request => "request",
            ForwardReason::Stale => "stale",
            ForwardReason::Partial => "partial",
        }
    }
}

/// What is told of a request that went forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `fwd`.
    pub reason: ForwardReason,
    /// `fwd-status`: what the next hop answered, where that is not the status sent.
    pub status: Option<u16>,
    /// `stored`: whether the response was stored.
    pub stored: bool,
    /// `collapsed`: `Some(true)` if another request's response served, `Some(false)` if that was
    /// tried in vain.
    pub collapsed: Option<bool>,
}

/// `hit` or `fwd`, never both (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Answered from the store without going forward.
    Hit,
    /// Went forward.
    Forward(Forward),
}

/// A member of `Cache-Status`; written by its `Display`.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The cache's name.
    pub cache: &'a str,
    /// What became of the request.
    pub handling: Handling,
    /// `ttl`: seconds of freshness left, negative when stale.
    pub ttl: Option<i64>,
    /// `key`: the cache key.
    pub key: Option<&'a str>,
    /// `detail`: a word of this cache's own.
    pub detail: Option<&'a str>,
}

impl std::fmt::Display for Member<'_> {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
