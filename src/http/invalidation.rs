//! Which URIs an unsafe request invalidates (RFC 9111 §4.4).

use http::Method;

/// Safe methods that `http` does not know, by the IANA registry of HTTP methods: what looks at a folder or searches
/// changes nothing (RFC 4918 §9.1, RFC 3253 §3.6, RFC 5323 §2).
const SAFE: [&str; 4] = ["PROPFIND", "REPORT", "SEARCH", "QUERY"];

/// Returns whether the method is known to be safe (RFC 9110 §9.2.1).
pub fn is_safe(method: &Method) -> bool {
    method.is_safe() || SAFE.contains(&method.as_str())
}

/// Returns whether a response with this status to this method invalidates the target URI: the method is not
/// known to be safe, and the status is 2xx or 3xx.
pub fn invalidates(method: &Method, status: u16) -> bool {
    !is_safe(method) && (200..400).contains(&status)
}

/// Resolves `reference` (`Location` or `Content-Location`) against `base`, an absolute `http` or `https` URI.
/// Returns `None` if the result has another origin, which must not be invalidated.
///
/// A relative reference is resolved as in RFC 3986 §5.2; the fragment and a default port are dropped, and the
/// host is converted to lower case.
pub fn same_origin(base: &str, reference: &str) -> Option<String> {
    let base = Target::parse(base)?;
    let reference = reference.split('#').next().unwrap_or_default();
    let path = match reference {
        r if has_scheme(r) => return other(&base, r),
        r if r.starts_with("//") => return other(&base, &format!("{}:{r}", base.scheme)),
        "" => base.path.to_owned(),
        r if r.starts_with('/') => without_dots(r),
        r if r.starts_with('?') => format!("{}{r}", before_query(base.path)),
        r => {
            let (folder, _) = before_query(base.path).rsplit_once('/')?;
            without_dots(&format!("{folder}/{r}"))
        }
    };
    printable(&path).then(|| format!("{}{path}", base.origin()))
}

/// Returns the path and query that `reference` resolves to, if it has the same origin as the request for
/// `target` at `origin` (scheme and authority).
pub fn named_target(origin: &str, target: &str, reference: &str) -> Option<String> {
    let named = same_origin(&format!("{origin}{target}"), reference)?;
    let (_, rest) = named.split_once("://")?;
    rest.find('/').map(|path| rest[path..].to_owned())
}

/// Normalises an origin, `https://example.com:8443`: the host in lower case, without a default port.
pub fn origin(origin: &str) -> Option<String> {
    let target = Target::parse(origin).filter(|t| t.path == "/")?;
    Some(target.origin())
}

fn other(base: &Target<'_>, absolute: &str) -> Option<String> {
    let target = Target::parse(absolute)?;
    let path = without_dots(target.path);
    let same = target.origin() == base.origin() && printable(&path);
    same.then(|| format!("{}{path}", target.origin()))
}

/// An absolute `http` or `https` URI without user information.
struct Target<'a> {
    scheme: &'static str,
    authority: &'a str,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(uri: &'a str) -> Option<Target<'a>> {
        let (scheme, rest) = uri.split_once("://")?;
        let scheme = ["http", "https"]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let valid = !authority.is_empty() && !authority.contains('@') && printable(authority);
        let path = path.split('#').next().unwrap_or_default();
        valid.then_some(Target {
            scheme,
            authority,
            path: if path.is_empty() { "/" } else { path },
        })
    }

    fn origin(&self) -> String {
        let default_port = match self.scheme {
            "https" => ":443",
            _ => ":80",
        };
        let authority = self.authority;
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        let host = host.strip_suffix(':').unwrap_or(host);
        format!("{}://{}", self.scheme, host.to_ascii_lowercase())
    }
}

fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split([':', '/', '?']).next().unwrap_or_default();
    reference
        .get(scheme.len()..)
        .is_some_and(|r| r.starts_with(':'))
}

fn before_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn printable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// Removes the `.` and `..` segments of a path, which may carry a query (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(before_query(path).len());
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if ends_in_dots {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_methods_with_non_error_responses() {
        // RFC 9111 §4.4, RFC 9110 §9.2.1
        let extension = |name: &str| Method::from_bytes(name.as_bytes()).expect("a token");
        for (method, status, want) in [
            (Method::POST, 200, true),
            (Method::PUT, 201, true),
            (Method::DELETE, 302, true),
            (extension("FROB"), 204, true),
            (Method::POST, 400, false),
            (Method::POST, 500, false),
            (Method::POST, 100, false),
            (Method::GET, 200, false),
            (Method::HEAD, 200, false),
            (Method::OPTIONS, 200, false),
            (extension("PROPFIND"), 207, false),
            (extension("REPORT"), 200, false),
            (extension("SEARCH"), 200, false),
            (extension("QUERY"), 200, false),
            (extension("PROPPATCH"), 207, true),
            (extension("propfind"), 207, true),
        ] {
            assert_eq!(invalidates(&method, status), want, "{method} {status}");
        }
    }

    #[test]
    fn only_the_same_origin_is_touched() {
        // RFC 9111 §4.4, RFC 3986 §5.2
        for (reference, want) in [
            ("/x", Some("http://h.example/x")),
            ("y?q=1", Some("http://h.example/a/y?q=1")),
            ("../z", Some("http://h.example/z")),
            ("../../..", Some("http://h.example/")),
            ("./", Some("http://h.example/a/")),
            ("?q", Some("http://h.example/a/b?q")),
            ("", Some("http://h.example/a/b?c")),
            ("#f", Some("http://h.example/a/b?c")),
            ("/x?a/../b", Some("http://h.example/x?a/../b")),
            ("HTTP://H.EXAMPLE:80/x#f", Some("http://h.example/x")),
            ("//h.example/x", Some("http://h.example/x")),
            ("http://h.example", Some("http://h.example/")),
            ("https://h.example/x", None),
            ("http://h.example:81/x", None),
            ("http://other.example/x", None),
            ("//other.example/x", None),
            ("http://u@h.example/x", None),
            ("mailto:x", None),
            ("http:", None),
            ("http://", None),
            ("/x y", None),
            ("/\u{e4}", None),
        ] {
            let got = same_origin("http://H.example/a/b?c", reference);
            assert_eq!(got.as_deref(), want, "{reference:?}");
        }
        assert_eq!(same_origin("/a", "/b"), None);
        let named = |reference| named_target("http://h.example", "/a/b?c", reference);
        assert_eq!(named("y?q=1").as_deref(), Some("/a/y?q=1"));
        assert_eq!(named("http://h.example").as_deref(), Some("/"));
        assert_eq!(named("//other.example/x"), None);
    }
}
