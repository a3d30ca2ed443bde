//! A URL, split into the parts that keys are made of.

use core::net::Ipv6Addr;
use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use percent_encoding::percent_decode;

/// An `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The scheme is `https`.
    pub https: bool,
    /// The host and port as written (`$http_host`).
    pub authority: Box<[u8]>,
    /// As nginx's `$host`: in lower case, and without the port.
    pub host: Box<[u8]>,
    /// The path and query as written; begins with a slash.
    pub target: Box<[u8]>,
}

impl Url {
    /// Parses a URL; a fragment is not part of it.
    pub fn read(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let schemes = [("http", false), ("https", true)];
        let (_, https) = schemes
            .into_iter()
            .find(|(known, _)| scheme.eq_ignore_ascii_case(known))?;
        let rest = rest.split('#').next()?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let is_sound = text.bytes().all(|b| b.is_ascii_graphic());
        let host = host_of(authority).filter(|_| is_sound)?;
        port_of(authority)?;
        let target = match target.starts_with('/') {
            true => target.into(),
            false => format!("/{target}"),
        };
        Some(Url {
            https,
            authority: authority.as_bytes().into(),
            host: host.into_bytes().into(),
            target: target.into_bytes().into(),
        })
    }

    /// The scheme, `http` or `https`.
    pub fn scheme(&self) -> &'static [u8] {
        match self.https {
            true => b"https",
            false => b"http",
        }
    }

    /// The port; where none is written, that of the scheme.
    pub fn port(&self) -> u16 {
        let written = std::str::from_utf8(&self.authority).ok().and_then(port_of);
        match written.filter(|port| *port > 0) {
            Some(port) => port,
            None if self.https => 443,
            None => 80,
        }
    }

    /// The same URL with the other scheme.
    pub fn by_other_scheme(&self) -> Url {
        Url {
            https: !self.https,
            ..self.clone()
        }
    }

    /// The path as written, and the query without its question mark (nginx's `$args`).
    pub fn path_and_args(&self) -> (&[u8], &[u8]) {
        match self.target.iter().position(|b| *b == b'?') {
            Some(at) => (
                self.target.get(..at).unwrap_or_default(),
                self.target.get(at + 1..).unwrap_or_default(),
            ),
            None => (&self.target, b""),
        }
    }
}

/// The port of an authority, 0 where none is written; nothing if it is not valid.
fn port_of(authority: &str) -> Option<u16> {
    let host = authority.rfind(']').map_or(0, |at| at + 1);
    let (more, port) = match authority.get(host..)?.split_once(':') {
        Some((more, digits)) => (more, digits.parse().ok().filter(|port| *port > 0)?),
        None => (authority.get(host..)?, 0),
    };
    (host == 0 || more.is_empty()).then_some(port)
}

impl Display for Url {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in [self.scheme(), b"://", &self.authority, &self.target] {
            f.write_str(&String::from_utf8_lossy(part))?;
        }
        Ok(())
    }
}

/// The host of an authority, as nginx makes `$host` of it (ngx_http_validate_host).
pub(crate) fn host_of(authority: &str) -> Option<String> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let host = authority.get(..end)?.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let is_host = |b: u8| b.is_ascii_graphic() && !b"/?#@\\".contains(&b);
    let is_sound = match host.strip_prefix('[') {
        Some(address) => Ipv6Addr::from_str(address.strip_suffix(']')?).is_ok(),
        None => host.bytes().all(is_host) && !host.is_empty() && !host.contains(".."),
    };
    is_sound.then(|| host.to_owned())
}

/// Converts a path as nginx does for `$uri`: decodes it, merges slashes and resolves dots
/// (ngx_http_parse_complex_uri).
pub(crate) fn decoded_path(path: &[u8]) -> Vec<u8> {
    let decoded = Cow::from(percent_decode(path));
    let mut made: Vec<&[u8]> = Vec::new();
    let mut segments = decoded.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    made.pop();
                }
                if is_last {
                    made.push(b"");
                }
            }
            b"" if !is_last => {}
            segment => made.push(segment),
        }
    }
    made.iter()
        .flat_map(|segment| [b"/", *segment].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_its_parts() {
        for (text, https, authority, host, port, target) in [
            (
                "http://h.example/a?b",
                false,
                "h.example",
                "h.example",
                80,
                "/a?b",
            ),
            (
                "HTTPS://H.Example:8443",
                true,
                "H.Example:8443",
                "h.example",
                8443,
                "/",
            ),
            (
                "https://h.example.?b#c",
                true,
                "h.example.",
                "h.example",
                443,
                "/?b",
            ),
            (
                "http://[::1]:81/a//b",
                false,
                "[::1]:81",
                "[::1]",
                81,
                "/a//b",
            ),
            ("http://[::1]/", false, "[::1]", "[::1]", 80, "/"),
        ] {
            let expected = Url {
                https,
                authority: authority.as_bytes().into(),
                host: host.as_bytes().into(),
                target: target.as_bytes().into(),
            };
            assert_eq!(expected.port(), port, "{text}");
            assert_eq!(Url::read(text), Some(expected), "{text}");
        }
        for text in [
            "/a",
            "ftp://h/",
            "http:///a",
            "http://h /",
            "http://:80/",
            "http://a@b/",
            "http://[::1/",
            "http://[::g]/",
            "http://[::1]8/",
            "http://./",
            "http://a..b/",
            "http://h:/",
            "http://h:0/",
            "http://h:65536/",
            "http://h:x/",
            "h",
        ] {
            assert_eq!(Url::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_as_nginx_decodes_it() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/a%20b%2Fc", "/a b/c"),
            ("//a///b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/%zz%", "/%zz%"),
        ] {
            let made = decoded_path(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&made), expected, "{path}");
        }
    }
}
