//! Whether a response may be stored, or why not (RFC 9111 §3, §3.5).

use super::CacheControl;
use super::freshness::is_heuristically_cacheable;
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
    /// A part (206). Only whole responses are stored, and fetches ask for nothing else, so there is nothing to combine (RFC 9111
    /// §3.3 and §3.4 allow both) and no `Content-Range` to read.
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
pub fn storable(candidate: &Candidate<'_>) -> Result<(), Unstorable> {
    method_allows(candidate.method)?;
    status_allows(candidate.status)?;
    directives_allow(candidate)?;
    traits_allow(candidate)?;
    match has_basis(candidate) {
        true => Ok(()),
        false => Err(Unstorable::NoLifetime),
    }
}

fn method_allows(method: &Method) -> Result<(), Unstorable> {
    match *method {
        Method::GET | Method::HEAD | Method::POST => Ok(()),
        _ => Err(Unstorable::Method),
    }
}

fn status_allows(status: u16) -> Result<(), Unstorable> {
    match status {
        206 => Err(Unstorable::Partial),
        304 => Err(Unstorable::NotModified),
        200..=599 => Ok(()),
        _ => Err(Unstorable::NotFinal),
    }
}

/// `must-understand` restricts to known statuses, and for those overrides `no-store`
/// (RFC 9111 §5.2.2.3); a qualified `private` limits fields only (§5.2.2.7).
fn directives_allow(candidate: &Candidate<'_>) -> Result<(), Unstorable> {
    let control = candidate.control;
    if control.must_understand && !understands(candidate.status) {
        return Err(Unstorable::NotUnderstood);
    }
    if control.no_store && !control.must_understand {
        return Err(Unstorable::NoStore);
    }
    if control.private.is_all() {
        return Err(Unstorable::Private);
    }
    Ok(())
}

fn traits_allow(candidate: &Candidate<'_>) -> Result<(), Unstorable> {
    let traits = &candidate.traits;
    if traits.request_no_store {
        return Err(Unstorable::RequestNoStore);
    }
    if traits.authorization && !shares_authorized(candidate.control) {
        return Err(Unstorable::Authorization);
    }
    if traits.set_cookie {
        return Err(Unstorable::SetCookie);
    }
    if traits.vary_any {
        return Err(Unstorable::VaryAny);
    }
    Ok(())
}

/// RFC 9111 §3, the last condition: something marks the response as cacheable. For POST that is explicit freshness alone
/// (RFC 9110 §9.3.3).
fn has_basis(candidate: &Candidate<'_>) -> bool {
    let control = candidate.control;
    let explicit =
        control.max_age.is_some() || control.s_maxage.is_some() || candidate.traits.has_lifetime;
    let implied = control.public || is_heuristically_cacheable(candidate.status);
    explicit || implied && *candidate.method != Method::POST
}

/// Whether a response to a request with `Authorization` may be reused (RFC 9111 §3.5).
pub fn shares_authorized(control: &CacheControl) -> bool {
    control.must_revalidate || control.public || control.s_maxage.is_some()
}

/// Whether the caching requirements of a status code are known here (RFC 9111 §5.2.2.3).
pub fn understands(status: u16) -> bool {
    is_heuristically_cacheable(status)
        || matches!(
            status,
            201 | 202 | 205 | 302 | 303 | 307 | 400 | 401 | 402 | 403 | 406..=409 | 411..=413
                | 415..=417 | 421 | 422 | 426 | 500 | 502..=505
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, line: &str, traits: Traits) -> Result<(), Unstorable> {
        storable(&Candidate {
            method: &Method::GET,
            status,
            control: &CacheControl::response(&[("Cache-Control", line)]),
            traits,
        })
    }

    #[test]
    fn directives_and_status() {
        // RFC 9111 §3, §5.2.2
        for (status, line, want) in [
            (200, "", Ok(())),
            (200, "max-age=60", Ok(())),
            (200, "no-cache", Ok(())),
            (200, "max-age=0", Ok(())),
            (404, "", Ok(())),
            (302, "", Err(Unstorable::NoLifetime)),
            (302, "max-age=60", Ok(())),
            (302, "s-maxage=60", Ok(())),
            (302, "public", Ok(())),
            (500, "", Err(Unstorable::NoLifetime)),
            (503, "max-age=60", Ok(())),
            (599, "max-age=60", Ok(())),
            (200, "no-store", Err(Unstorable::NoStore)),
            (
                200,
                "no-store, max-age=60, public",
                Err(Unstorable::NoStore),
            ),
            (200, "private", Err(Unstorable::Private)),
            (200, "private, max-age=60", Err(Unstorable::Private)),
            (200, "private=\"x\", max-age=60", Ok(())),
            // §5.2.2.3
            (200, "must-understand, no-store, max-age=60", Ok(())),
            (
                599,
                "must-understand, no-store, max-age=60",
                Err(Unstorable::NotUnderstood),
            ),
            (
                599,
                "must-understand, max-age=60",
                Err(Unstorable::NotUnderstood),
            ),
            (200, "must-understand, private", Err(Unstorable::Private)),
            // §3: final, and 206 and 304 only where understood
            (100, "max-age=60", Err(Unstorable::NotFinal)),
            (103, "max-age=60", Err(Unstorable::NotFinal)),
            (600, "max-age=60", Err(Unstorable::NotFinal)),
            (0, "max-age=60", Err(Unstorable::NotFinal)),
            (206, "max-age=60", Err(Unstorable::Partial)),
            (304, "max-age=60", Err(Unstorable::NotModified)),
        ] {
            assert_eq!(
                judge(status, line, Traits::default()),
                want,
                "{status} {line:?}"
            );
        }
    }

    #[test]
    fn authorization_needs_leave() {
        // RFC 9111 §3.5
        let traits = Traits {
            authorization: true,
            ..Traits::default()
        };
        for (line, want) in [
            ("max-age=60", Err(Unstorable::Authorization)),
            (
                "proxy-revalidate, max-age=60",
                Err(Unstorable::Authorization),
            ),
            ("public, max-age=60", Ok(())),
            ("must-revalidate, max-age=60", Ok(())),
            ("s-maxage=60", Ok(())),
            ("private, s-maxage=60", Err(Unstorable::Private)),
        ] {
            assert_eq!(judge(200, line, traits), want, "{line:?}");
        }
    }

    #[test]
    fn other_facts_forbid() {
        let base = Traits::default();
        for (traits, want) in [
            (
                Traits {
                    request_no_store: true,
                    ..base
                },
                Unstorable::RequestNoStore,
            ),
            (
                Traits {
                    set_cookie: true,
                    ..base
                },
                Unstorable::SetCookie,
            ),
            (
                Traits {
                    vary_any: true,
                    ..base
                },
                Unstorable::VaryAny,
            ),
        ] {
            assert_eq!(judge(200, "public, max-age=60", traits), Err(want));
        }
        let known = Traits {
            has_lifetime: true,
            ..base
        };
        assert_eq!(judge(302, "", known), Ok(()));
    }

    #[test]
    fn methods() {
        // RFC 9111 §3: the method is understood (RFC 9110 §9.2.3)
        for (method, want) in [
            (Method::HEAD, Ok(())),
            (Method::POST, Ok(())),
            (Method::PUT, Err(Unstorable::Method)),
            (Method::OPTIONS, Err(Unstorable::Method)),
        ] {
            let candidate = Candidate {
                method: &method,
                status: 200,
                control: &CacheControl::response(&[("Cache-Control", "max-age=1")]),
                traits: Traits::default(),
            };
            assert_eq!(storable(&candidate), want, "{method}");
        }
    }
}
