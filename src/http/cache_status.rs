//! Writes one member of `Cache-Status` (RFC 9211). The members of other caches are kept in front of it, each
//! line as received.

use super::syntax::is_tchar;
use std::fmt::{self, Formatter, Write};

/// Why a request was forwarded, from the most specific reason to the least (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardReason {
    /// The cache was configured not to handle this request.
    Bypass,
    /// The request's method must be forwarded.
    Method,
    /// No response is stored for the URI.
    UriMiss,
    /// Responses are stored for the URI, but the request's fields select none of them.
    VaryMiss,
    /// No usable response is stored; the cache does not distinguish why.
    Miss,
    /// A fresh response is stored, but the request's directives did not allow its use.
    Request,
    /// The stored response was stale.
    Stale,
    /// The stored response was incomplete.
    Partial,
}

impl ForwardReason {
    /// The token that RFC 9211 §2.2 defines.
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

/// The parameters of a request that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `fwd`.
    pub reason: ForwardReason,
    /// `fwd-status`: the status that the next hop returned, if it differs from the one sent to the client.
    pub status: Option<u16>,
    /// `stored`: whether the cache stored the response.
    pub stored: bool,
    /// `collapsed`: `Some(true)` if the response of another request was used, `Some(false)` if collapsing was
    /// tried but did not succeed.
    pub collapsed: Option<bool>,
}

/// `hit` or `fwd`, never both (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// The request was answered from the store without being forwarded.
    Hit,
    /// The request was forwarded.
    Forward(Forward),
}

/// A member of `Cache-Status`; its `Display` writes it in the field's syntax.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The cache's name.
    pub cache: &'a str,
    /// How the request was handled.
    pub handling: Handling,
    /// `ttl`: the remaining freshness lifetime in seconds, negative when stale.
    pub ttl: Option<i64>,
    /// `key`: the cache key.
    pub key: Option<&'a str>,
    /// `detail`: this cache's reason, a word that RFC 9211 does not define.
    pub detail: Option<&'a str>,
}

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        token_or_string(f, self.cache)?;
        match self.handling {
            Handling::Hit => f.write_str("; hit")?,
            Handling::Forward(forward) => forward.write(f)?,
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={}", ttl.clamp(-INTEGER_MAX, INTEGER_MAX))?;
        }
        if let Some(key) = self.key {
            f.write_str("; key=")?;
            string(f, key)?;
        }
        if let Some(detail) = self.detail {
            f.write_str("; detail=")?;
            token_or_string(f, detail)?;
        }
        Ok(())
    }
}

impl Forward {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "; fwd={}", self.reason.as_str())?;
        if let Some(status) = self.status {
            write!(f, "; fwd-status={status}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        match self.collapsed {
            Some(true) => f.write_str("; collapsed"),
            Some(false) => f.write_str("; collapsed=?0"),
            None => Ok(()),
        }
    }
}

/// The largest Integer (RFC 9651 §3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

fn token_or_string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    match is_sf_token(text.as_bytes()) {
        true => f.write_str(text),
        false => string(f, text),
    }
}

/// Whether `text` is a Token (RFC 9651 §3.3.4).
fn is_sf_token(text: &[u8]) -> bool {
    let starts = text
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'*');
    starts
        && text
            .iter()
            .all(|b| is_tchar(*b) || matches!(b, b':' | b'/'))
}

/// Writes a String (RFC 9651 §3.3.3): printable ASCII with quotes and backslashes escaped. A String can't
/// contain other characters; each is replaced by `?`.
fn string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                f.write_char('\\')?;
                f.write_char(c)?;
            }
            ' '..='~' => f.write_char(c)?,
            _ => f.write_char('?')?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIT: Member<'static> = Member {
        cache: "swrcache",
        handling: Handling::Hit,
        ttl: None,
        key: None,
        detail: None,
    };

    const MISS: Forward = Forward {
        reason: ForwardReason::UriMiss,
        status: None,
        stored: false,
        collapsed: None,
    };

    fn forward(forward: Forward) -> Member<'static> {
        Member {
            handling: Handling::Forward(forward),
            ..HIT
        }
    }

    #[test]
    fn members() {
        // RFC 9211 §2, §3
        for (member, want) in [
            (HIT, "swrcache; hit"),
            (
                Member {
                    ttl: Some(376),
                    ..HIT
                },
                "swrcache; hit; ttl=376",
            ),
            (
                Member {
                    ttl: Some(-412),
                    ..HIT
                },
                "swrcache; hit; ttl=-412",
            ),
            (
                Member {
                    detail: Some("swr-window"),
                    ..HIT
                },
                "swrcache; hit; detail=swr-window",
            ),
            (forward(MISS), "swrcache; fwd=uri-miss"),
            (
                forward(Forward {
                    reason: ForwardReason::Stale,
                    status: Some(304),
                    ..MISS
                }),
                "swrcache; fwd=stale; fwd-status=304",
            ),
            (
                forward(Forward {
                    collapsed: Some(true),
                    ..MISS
                }),
                "swrcache; fwd=uri-miss; collapsed",
            ),
            (
                forward(Forward {
                    collapsed: Some(false),
                    stored: true,
                    ..MISS
                }),
                "swrcache; fwd=uri-miss; stored; collapsed=?0",
            ),
        ] {
            let text = member.to_string();
            assert_eq!(text, want);
            assert!(parses(&text), "{text}");
        }
    }

    #[test]
    fn text_is_escaped() {
        // RFC 9651 §3.3.3
        let member = Member {
            cache: "CDN \"Here\"",
            key: Some("http://h/\u{e4}\r\n\\"),
            detail: Some("1st"),
            ttl: Some(i64::MIN),
            ..HIT
        };
        let text = member.to_string();
        assert_eq!(
            text,
            r#""CDN \"Here\""; hit; ttl=-999999999999999; key="http://h/???\\"; detail="1st""#
        );
        assert!(parses(&text));
        assert!(parses(&Member { cache: "", ..HIT }.to_string()));
    }

    fn parses(text: &str) -> bool {
        let mut ignored = sfv::visitor::Ignored;
        let parser = sfv::Parser::new(text);
        parser.parse_list_with_visitor(&mut ignored).is_ok()
    }
}
