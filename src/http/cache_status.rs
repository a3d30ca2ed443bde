//! One member of `Cache-Status` (RFC 9211). Members of other caches stay before it, each line as it came.

use super::syntax::is_tchar;
use std::fmt::{self, Formatter, Write};

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

/// RFC 9651 §3.3.4.
fn is_sf_token(text: &[u8]) -> bool {
    let starts = text
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'*');
    starts
        && text
            .iter()
            .all(|b| is_tchar(*b) || matches!(b, b':' | b'/'))
}

/// A String (RFC 9651 §3.3.3): printable ASCII with quotes and backslashes escaped; anything else
/// cannot stand in one and becomes `?`.
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
