//! Decides whether a response may be stored (RFC 9111 §3, §3.5).

use super::CacheControl;
use super::freshness::is_heuristically_cacheable;
use http::Method;

/// The inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The response's status code.
    pub status: u16,
    /// The directives that govern the response.
    pub control: &'a CacheControl,
    /// Other properties of the request and response that the decision depends on.
    pub traits: Traits,
}

/// Properties of the exchange that the decision depends on; all `false` by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The request had `Authorization` (RFC 9111 §3.5).
    pub authorization: bool,
    /// The request has `no-store`, and request directives are honoured (RFC 9111 §5.2.1.5).
    pub request_no_store: bool,
    /// The response has `Set-Cookie`, and the configuration does not ignore it.
    pub set_cookie: bool,
    /// `Vary` has a `*` member, and the configuration does not ignore it.
    pub vary_any: bool,
    /// `Expires` or the configuration gives a lifetime. (`max-age` and `s-maxage` are read from the
    /// directives.)
    pub has_lifetime: bool,
}

/// Why a response may not be stored, or need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// The method is not GET, HEAD or POST.
    Method,
    /// An interim status, or one outside 200-599.
    NotFinal,
    /// The response is partial (206). The cache stores complete responses only, and its fetches request
    /// nothing else, so it neither combines parts (which RFC 9111 §3.3 and §3.4 would allow) nor reads
    /// `Content-Range`.
    Partial,
    /// The status is 304, which freshens a stored response and is never stored itself.
    NotModified,
    /// `must-understand`, and the cache does not know the status.
    NotUnderstood,
    /// The response has `no-store`.
    NoStore,
    /// The request has `no-store`.
    RequestNoStore,
    /// The response has `private`.
    Private,
    /// The request has `Authorization`, and no response directive allows storing.
    Authorization,
    /// The response has `Set-Cookie`.
    SetCookie,
    /// The response has `Vary: *`, which no later request can match.
    VaryAny,
    /// No directive, lifetime or status makes the response cacheable.
    NoLifetime,
}

impl Unstorable {
    /// The fixed word for logs and the `detail` of `Cache-Status`.
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

/// Returns why the response may not be stored, if so. A response with `no-cache`, which must be validated at
/// each use, may be stored.
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

/// `must-understand` requires a known status, and overrides `no-store` for it (RFC 9111 §5.2.2.3); a
/// qualified `private` restricts the listed fields only (§5.2.2.7).
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

/// The last condition of RFC 9111 §3: a directive, a lifetime or the status makes the response cacheable. A
/// response to POST needs explicit freshness (RFC 9110 §9.3.3).
fn has_basis(candidate: &Candidate<'_>) -> bool {
    let control = candidate.control;
    let explicit =
        control.max_age.is_some() || control.s_maxage.is_some() || candidate.traits.has_lifetime;
    let implied = control.public || is_heuristically_cacheable(candidate.status);
    explicit || implied && *candidate.method != Method::POST
}

/// Returns whether a response to a request with `Authorization` may be reused for other requests (RFC 9111
/// §3.5).
pub fn shares_authorized(control: &CacheControl) -> bool {
    control.must_revalidate || control.public || control.s_maxage.is_some()
}

/// Returns whether the cache knows the caching requirements of a status code (RFC 9111 §5.2.2.3).
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
