//! Parses a purge by method in the forms in which software that drives other caches sends it, tried in this
//! order.
//!
//! | the request has | means | sent by |
//! |---|---|---|
//! | `xkey`, `xkey-purge`, `Surrogate-Key`, `Cache-Tag`, `X-Cache-Tags`, `Cache-Tags`: a list | these tags | Shopware, FOSHttpCache, Souin, Fastly clients |
//! | `xkey-softpurge` | the same, softly | FOSHttpCache, Ibexa |
//! | `X-Magento-Tags-Pattern`, `X-Cache-Tags-Pattern`; `X-Cache-Tags`, `Cache-Tags`: a [pattern](super::pattern) | these tags, or everything | Magento, Proxy Cache Purge, FOSHttpCache, Drupal |
//! | `X-Host`, `X-Url`, `X-Content-Type` without tags | everything, hosts, or paths by prefix | FOSHttpCache |
//! | `X-Purge-Method: regex` and a path that ends in `.*`; a path that ends in `*` | paths by prefix; at the root the whole host | Proxy Cache Purge, TYPO3 |
//! | none of these | the URL, under both schemes | others |
//!
//! `X-Purge-Mode: soft` or `Fastly-Soft-Purge: 1` also makes a purge soft. A request that is not understood
//! is refused with the reason, and never treated as a purge of its URL: that would purge `/`, and the sender
//! would assume that the purge succeeded.

use crate::engine::key::url::{Url, host_of};
use crate::engine::purge::mode::PurgeMode;
use crate::engine::purge::pattern::{self, Pattern};
use crate::engine::purge::request::PurgeRequest;
use crate::engine::purge::tags;
use crate::http::Fields;
use crate::http::fields::is;

/// A request that purges by its method.
pub struct ByMethod<'a> {
    /// The field lines.
    pub fields: &'a dyn Fields,
    /// The host and port as the client wrote them, or the server's name.
    pub authority: &'a [u8],
    /// As nginx's `$host`: in lower case, and without the port.
    pub host: &'a [u8],
    /// Path and query as the client wrote them.
    pub target: &'a [u8],
    /// The configured mode.
    pub mode: PurgeMode,
}

const LISTS: [&str; 5] = [
    "xkey",
    "xkey-purge",
    "xkey-softpurge",
    "surrogate-key",
    "cache-tag",
];
const PATTERNS: [&str; 2] = ["x-magento-tags-pattern", "x-cache-tags-pattern"];
/// Fields that hold a list or a pattern.
const EITHER: [&str; 2] = ["x-cache-tags", "cache-tags"];
const HOST: &str = "x-host";
const URL: &str = "x-url";
const TYPE: &str = "x-content-type";

/// Patterns that match any value.
const ANY: [&[u8]; 3] = [b".*", b"^.*$", b".+"];

impl ByMethod<'_> {
    /// Parses the request.
    ///
    /// # Errors
    /// Why it is not understood; nothing may be purged then.
    pub fn read(&self) -> Result<PurgeRequest, String> {
        let scope = self.scope()?;
        let mut request = PurgeRequest {
            mode: self.mode()?,
            ..PurgeRequest::default()
        };
        if self.tags(&mut request)? {
            return self.must_be_any(&[HOST, URL, TYPE]).map(|()| request);
        }
        match scope {
            Scope::Tags => Err("X-Purge-Method is tags, but no field names any".into()),
            _ if [HOST, URL, TYPE]
                .iter()
                .any(|name| self.value(name).is_some()) =>
            {
                self.ban(&mut request).map(|()| request)
            }
            _ => self.target(scope, &mut request).map(|()| request),
        }
    }

    fn value(&self, wanted: &str) -> Option<Vec<u8>> {
        let mut found: Option<Vec<u8>> = None;
        crate::http::fields::each_named(self.fields, wanted, &mut |value| match &mut found {
            // RFC 9110 §5.2
            Some(list) => list.extend([b", ", value].concat()),
            None => found = Some(value.to_vec()),
        });
        found
    }

    fn scope(&self) -> Result<Scope, String> {
        let Some(value) = self.value("x-purge-method") else {
            return Ok(Scope::Url);
        };
        match value.to_ascii_lowercase().as_slice() {
            b"regex" | b"wildcard" | b"prefix" => Ok(Scope::Prefix),
            b"default" | b"exact" | b"url" | b"" => Ok(Scope::Url),
            b"tags" => Ok(Scope::Tags),
            _ => Err(unknown("X-Purge-Method", &value, "regex, tags or default")),
        }
    }

    fn mode(&self) -> Result<PurgeMode, String> {
        let mut mode = self.mode;
        if let Some(value) = self.value("x-purge-mode") {
            mode = match value.to_ascii_lowercase().as_slice() {
                b"soft" => PurgeMode::Soft,
                b"hard" | b"" => mode,
                _ => return Err(unknown("X-Purge-Mode", &value, "soft or hard")),
            };
        }
        match self.value("fastly-soft-purge").as_deref() {
            None | Some(b"0" | b"") => {}
            Some(b"1" | b"true") => mode = PurgeMode::Soft,
            Some(other) => return Err(unknown("Fastly-Soft-Purge", other, "1 or 0")),
        }
        Ok(mode)
    }

    /// Adds the tags, or everything, that fields name. Returns whether there are such fields.
    fn tags(&self, request: &mut PurgeRequest) -> Result<bool, String> {
        let mut any = false;
        let mut wrong = None;
        self.fields.each(&mut |name, value| {
            let value = value.trim_ascii();
            let among = |names: &[&str]| names.iter().any(|known| is(name, known));
            let is_pattern = among(&PATTERNS) || among(&EITHER) && pattern::is_one(value);
            if !is_pattern && !among(&LISTS) && !among(&EITHER) {
                return;
            }
            any = true;
            if is(name, "xkey-softpurge") {
                request.mode = PurgeMode::Soft;
            }
            let before = request.tags.len();
            match is_pattern.then(|| pattern::read(value)) {
                Some(Ok(Pattern::All)) => request.all = true,
                Some(Ok(Pattern::Tags(tags))) => request.tags.extend(tags),
                Some(Err(why)) => wrong = Some(why),
                None => {
                    tags::each_of(name, value, &mut |tag| request.tags.push(tag.into()));
                    if request.tags.len() == before {
                        let name = String::from_utf8_lossy(name);
                        wrong = Some(format!("{name} names no tag"));
                    }
                }
            }
        });
        wrong.map_or(Ok(any), Err)
    }

    fn must_be_any(&self, names: &[&str]) -> Result<(), String> {
        for name in names {
            match self.value(name) {
                Some(value) if !ANY.contains(&&value[..]) => {
                    return Err(unknown(name, &value, "\".*\" here"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds what patterns of hosts and paths select.
    fn ban(&self, request: &mut PurgeRequest) -> Result<(), String> {
        self.must_be_any(&[TYPE])?;
        let any = |value: &Vec<u8>| ANY.contains(&&value[..]);
        let hosts = match self.value(HOST).filter(|value| !any(value)) {
            Some(value) => Some(hosts(&value)?),
            None => None,
        };
        match (self.value(URL).filter(|value| !any(value)), hosts) {
            (None, None) => request.all = true,
            (None, Some(hosts)) => request.hosts = hosts,
            (Some(path), hosts) => {
                // Keys can't be selected by path alone, so the host that received the request is meant.
                for host in hosts.unwrap_or_else(|| vec![self.host.into()]) {
                    self.path(&path, &host, request)?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, value: &[u8], host: &[u8], request: &mut PurgeRequest) -> Result<(), String> {
        let refused = || unknown("X-Url", value, "a path: ^/path, /path.* or ^/path$");
        let anchored = value.strip_prefix(b"^");
        let path = anchored.unwrap_or(value);
        let (path, is_whole) = match (path.strip_suffix(b"$"), path.strip_suffix(b".*")) {
            (Some(path), _) if anchored.is_some() => (path, true),
            (None, Some(path)) => (path, false),
            (None, None) if anchored.is_some() => (path, false),
            _ => return Err(refused()),
        };
        let path = literal(path).filter(|path| path.starts_with(b"/"));
        let path = path.ok_or_else(refused)?;
        match (&path[..], is_whole) {
            (path, true) => request.urls.extend(both(host, host, path)),
            (b"/", false) => request.hosts.push(host.into()),
            (path, false) => request.below.extend(both(host, host, path)),
        }
        Ok(())
    }

    /// Adds what the request's own target selects.
    fn target(&self, scope: Scope, request: &mut PurgeRequest) -> Result<(), String> {
        let start = self.target.strip_suffix(b"*");
        let start = start.map(|start| start.strip_suffix(b".").unwrap_or(start));
        match (start, scope) {
            (None, Scope::Prefix) => Err(unknown("The path", self.target, "one that ends in .*")),
            (None, _) => {
                request
                    .urls
                    .extend(both(self.authority, self.host, self.target));
                Ok(())
            }
            (Some(b"/" | b""), _) => {
                request.hosts.push(self.host.into());
                Ok(())
            }
            (Some(start), _) => {
                let start = literal(start)
                    .ok_or_else(|| unknown("The path", self.target, "a .* at its end alone"))?;
                request
                    .below
                    .extend(both(self.authority, self.host, &start));
                Ok(())
            }
        }
    }
}

/// What the request line selects (`X-Purge-Method`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Url,
    Prefix,
    Tags,
}

fn unknown(name: &str, value: &[u8], expected: &str) -> String {
    let value = String::from_utf8_lossy(value);
    format!("{name} is \"{value}\", expected {expected}")
}

fn both(authority: &[u8], host: &[u8], target: &[u8]) -> [Url; 2] {
    let url = Url {
        https: false,
        authority: authority.into(),
        host: host.into(),
        target: target.into(),
    };
    [url.by_other_scheme(), url]
}

/// The text that a part of a pattern matches, if it is a single one. A dot means itself: it is hardly ever
/// escaped, and hardly ever means any byte.
fn literal(pattern: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next().filter(|byte| !byte.is_ascii_alphanumeric())?),
            b'*' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'$' => return None,
            other => text.push(*other),
        }
    }
    Some(text)
}

fn hosts(value: &[u8]) -> Result<Vec<Box<[u8]>>, String> {
    let refused = || unknown("X-Host", value, "host names: ^(a.example|b.example)$");
    let Ok(Pattern::Tags(names)) = pattern::read(value) else {
        return Err(refused());
    };
    let host = |name: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        host_of(name).map(|host| host.into_bytes().into())
    };
    names
        .iter()
        .map(|name| host(name))
        .collect::<Option<_>>()
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, fields: &[(&str, &str)]) -> Result<PurgeRequest, String> {
        let by = ByMethod {
            fields: &fields,
            authority: b"H:80",
            host: b"h",
            target: target.as_bytes(),
            mode: PurgeMode::Hard,
        };
        by.read()
    }

    fn bytes(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|text| text.as_bytes().into()).collect()
    }

    fn tags(tags: &[&str]) -> PurgeRequest {
        PurgeRequest {
            tags: bytes(tags),
            ..PurgeRequest::default()
        }
    }

    fn soft(request: PurgeRequest) -> PurgeRequest {
        PurgeRequest {
            mode: PurgeMode::Soft,
            ..request
        }
    }

    fn urls(target: &str) -> PurgeRequest {
        PurgeRequest {
            urls: both(b"H:80", b"h", target.as_bytes()).into(),
            ..PurgeRequest::default()
        }
    }

    fn below(target: &str) -> PurgeRequest {
        PurgeRequest {
            below: both(b"H:80", b"h", target.as_bytes()).into(),
            ..PurgeRequest::default()
        }
    }

    fn hosts(hosts: &[&str]) -> PurgeRequest {
        PurgeRequest {
            hosts: bytes(hosts),
            ..PurgeRequest::default()
        }
    }

    fn all() -> PurgeRequest {
        PurgeRequest {
            all: true,
            ..PurgeRequest::default()
        }
    }

    #[test]
    fn each_field_in_its_own_way() {
        let any = [("X-Host", ".*"), ("X-Url", ".*"), ("X-Content-Type", ".*")];
        let ban = |more: &[(&'static str, &'static str)]| [&any[..], more].concat();
        for (target, fields, expected) in [
            ("/", vec![("xkey", "a b,c")], tags(&["a", "b", "c"])),
            ("/", vec![("XKey-Purge", "a")], tags(&["a"])),
            (
                "/",
                vec![("xkey-softpurge", "a b")],
                soft(tags(&["a", "b"])),
            ),
            (
                "/",
                vec![("Surrogate-Key", "a, b c")],
                tags(&["a", "b", "c"]),
            ),
            (
                "/",
                vec![("Cache-Tag", "a,b"), ("Cache-Tag", "c")],
                tags(&["a", "b", "c"]),
            ),
            ("/", vec![("X-Cache-Tags", "a,b")], tags(&["a", "b"])),
            (
                "/",
                vec![("X-Magento-Tags-Pattern", "((^|,)a(,|$))|((^|,)b(,|$))")],
                tags(&["a", "b"]),
            ),
            ("/", vec![("X-Magento-Tags-Pattern", ".*")], all()),
            (
                "/",
                vec![
                    ("X-Cache-Tags-Pattern", "p-1|home"),
                    ("X-Purge-Method", "tags"),
                ],
                tags(&["p-1", "home"]),
            ),
            (
                "/",
                vec![("X-Cache-Tags-Pattern", r"\bp-1\b")],
                tags(&["p-1"]),
            ),
            (
                "/",
                vec![("Cache-Tags", "node:1|node_list")],
                tags(&["node:1", "node_list"]),
            ),
            (
                "/",
                vec![("Cache-Tags", "node:1 node_list")],
                tags(&["node:1", "node_list"]),
            ),
            (
                "/",
                ban(&[("X-Cache-Tags", r"(^|,)(a\-1|b)(,|$)")]),
                tags(&["a-1", "b"]),
            ),
            ("/", any.into(), all()),
            (
                "/",
                vec![("X-Host", r"^(a\.x|B.x)$"), ("X-Url", ".*")],
                hosts(&["a.x", "b.x"]),
            ),
            ("/", vec![("X-Url", "/.*"), ("X-Host", ".*")], hosts(&["h"])),
            ("/a?b", vec![], urls("/a?b")),
            ("/a", vec![("X-Purge-Method", "default")], urls("/a")),
            ("/a", vec![("X-Purge-Mode", "soft")], soft(urls("/a"))),
            (
                "/a",
                vec![("Fastly-Soft-Purge", "1"), ("Fastly-Key", "x")],
                soft(urls("/a")),
            ),
            ("/a", vec![("Fastly-Soft-Purge", "0")], urls("/a")),
            ("/a.*", vec![("X-Purge-Method", "regex")], below("/a")),
            (
                "/a/b.html.*",
                vec![("X-Purge-Method", "regex")],
                below("/a/b.html"),
            ),
            ("/a*", vec![], below("/a")),
            ("/.*", vec![("X-Purge-Method", "regex")], hosts(&["h"])),
            ("/*", vec![], hosts(&["h"])),
        ] {
            assert_eq!(read(target, &fields), Ok(expected), "{target} {fields:?}");
        }
        let said = read("/", &[("X-Url", "^/a/b"), ("X-Host", "x|y")]).expect("understood");
        let hosts: Vec<_> = said
            .below
            .iter()
            .map(|url| (url.https, &*url.host, &*url.target))
            .collect();
        let path = &b"/a/b"[..];
        assert_eq!(
            hosts,
            [
                (true, &b"x"[..], path),
                (false, b"x", path),
                (true, b"y", path),
                (false, b"y", path)
            ]
        );
        assert_eq!(
            read("/", &[("X-Url", "^/a$")])
                .expect("understood")
                .urls
                .len(),
            2
        );
    }

    #[test]
    fn what_is_not_understood_purges_nothing() {
        for (target, fields, why) in [
            ("/", vec![("xkey", " ,")], "xkey names no tag"),
            ("/", vec![("Surrogate-Key", "")], "names no tag"),
            ("/", vec![("X-Magento-Tags-Pattern", "")], "an empty tag"),
            ("/", vec![("X-Magento-Tags-Pattern", "*")], "\"*\""),
            ("/", vec![("X-Cache-Tags", "cat_.*")], "\"cat_.*\""),
            (
                "/",
                vec![("xkey", "a"), ("X-Cache-Tags-Pattern", "(")],
                "\"(\"",
            ),
            ("/", vec![("X-Cache-Tags", "a"), ("X-Url", "/b.*")], "x-url"),
            ("/", vec![("X-Purge-Method", "tags")], "no field names any"),
            (
                "/",
                vec![("X-Purge-Method", "everything")],
                "X-Purge-Method is \"everything\"",
            ),
            ("/a", vec![("X-Purge-Method", "regex")], "ends in .*"),
            (
                "/(a|b).*",
                vec![("X-Purge-Method", "regex")],
                "at its end alone",
            ),
            ("/.*a.*", vec![], "at its end alone"),
            ("/a", vec![("X-Purge-Mode", "quiet")], "X-Purge-Mode"),
            (
                "/a",
                vec![("Fastly-Soft-Purge", "maybe")],
                "Fastly-Soft-Purge",
            ),
            ("/", vec![("X-Url", ".*png$")], "X-Url"),
            ("/", vec![("X-Url", "/a")], "X-Url"),
            (
                "/",
                vec![("X-Url", "/a.*"), ("X-Content-Type", "text/html")],
                "x-content-type",
            ),
            ("/", vec![("X-Host", ".*example")], "X-Host"),
        ] {
            let said = read(target, &fields).expect_err(target);
            assert!(said.contains(why), "{target} {fields:?}: {said}");
        }
    }
}
