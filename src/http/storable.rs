//! Whether a response may be stored, or why not (RFC 9111 §3, §3.5).

use super::CacheControl;
use http::Method;

/// What the verdict is made of.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The response's status code.
    pub status: u16,
    /// The governing directives of the response.
    pub control: &'a CacheControl,
    /// What of the request and response bears on storing.
    pub traits: Traits,
}

/// Facts of the exchange that bear on storing; all `false` by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The request had `Authorization` (RFC 9111 §3.5).
    pub authorization: bool,
    /// The request said `no-store` and such directives are honoured (RFC 9111 §5.2.1.5).
    pub request_no_store: bool,
    /// The response sets a cookie, and that is not configured away.
    pub set_cookie: bool,
    /// `Vary` has a `*` member, and that is not configured away.
    pub vary_any: bool,
    /// A lifetime is known other than by heuristics: `Expires`, or the host's configuration.
    /// (`max-age` and `s-maxage` are read from the directives.)
    pub has_lifetime: bool,
}

/// Why a response must not, or is not worth to, be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// The method is not GET, HEAD or POST.
    Method,
    /// An interim status, or one outside 200-599.
    NotFinal,
    /// 206, which this cache does not store.
    Partial,
    /// 304, which updates and is never stored.
    NotModified,
    /// `must-understand` with a status this cache does not know.
    NotUnderstood,
    /// `no-store` in the response.
    NoStore,
    /// `no-store` in the request.
    RequestNoStore,
    /// `private`.
    Private,
    /// `Authorization` without a directive that allows it.
    Authorization,
    /// `Set-Cookie`.
    SetCookie,
    /// `Vary: *`: no request would ever match.
    VaryAny,
    /// Nothing marks it as cacheable.
    NoLifetime,
}

impl Unstorable {
    /// A fixed word for logs and `Cache-Status` detail.
    pub fn as_str(self) -> &'static str {
        match self {
            Unstorable::Method => "method",
            Unstorable::NotFinal => "status-not-final",
            Unstorable::Partial => "partial",
            Unstorable::NotModified => "not-modified",
            Unstorable::NotUnderstood => "must-understand",
            Unstorable::NoStore => "no-store",
            Unstorable::RequestNoStore => "request-no-store",
            Unstorable::Private => "private",
            Unstorable::Authorization => "authorization",
            Unstorable::SetCookie => "set-cookie",
            Unstorable::VaryAny => "vary-star",
            Unstorable::NoLifetime => "no-lifetime",
        }
    }
}

/// The verdict. A response that must be validated on every use (`no-cache`) is storable.
pub fn storable(_candidate: &Candidate<'_>) -> Result<(), Unstorable> {
    Err(Unstorable::NoLifetime)
}

/// Whether a response to a request with `Authorization` may be reused (RFC 9111 §3.5).
pub fn shares_authorized(control: &CacheControl) -> bool {
    control.must_revalidate || control.public || control.s_maxage.is_some()
}

/// Whether the caching requirements of a status code are known here (RFC 9111 §5.2.2.3).
pub fn understands(_status: u16) -> bool {
    false
}
