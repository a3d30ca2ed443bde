//! How the keys of a location are made, as far as a URL determines them: a purge by URL finds what is stored
//! for it.
//!
//! | variable | part of the URL |
//! |---|---|
//! | `$scheme`, `$host`, `$http_host` | its scheme, host, authority |
//! | `$request_uri` | its path and query |
//! | `$uri`, `$document_uri` | its path, decoded |
//! | `$args`, `$query_string`, `$is_args`, `$arg_NAME` | its query |
//! | `$swr_cache_args` | what `swr_cache_query` leaves of its query |
//! | `$request_method` | `GET` and `HEAD` |
//!
//! Any other variable depends on more than the URL: a cookie, a header field, a `map` of these.

use std::borrow::Cow;

use super::query::Query;
use super::url::{Url, decoded_path};

/// How the keys of a location are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    text: Box<str>,
    /// The parts of the key; `None` for the usual one, `$scheme$host$request_uri`.
    parts: Option<Vec<Vec<KeyPiece>>>,
    query: Query,
}

/// A piece of a part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPiece {
    Text(Box<[u8]>),
    Scheme,
    Host,
    Authority,
    RequestUri,
    Uri,
    Args,
    IsArgs,
    Argument(Box<[u8]>),
    KeyArgs,
    Method,
    /// A value that a URL does not determine.
    Other,
}

/// The parts of the key that a location makes of `text`: each variable, and the text between them. In a key
/// with a single variable nothing can move to another part, so it has one part.
pub fn parts_of(text: &[u8]) -> Vec<&[u8]> {
    /// The maximum number of parts of a key, with some to spare.
    const MOST: usize = 250;
    let parts = cut(text);
    match text.iter().filter(|b| **b == b'$').count() < 2 || parts.len() > MOST {
        true => vec![text],
        false => parts,
    }
}

/// Splits a string at the ends of its variables, `$name` or `${name}`.
fn cut(mut text: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let end = match text {
            [b'$', b'{', ..] => text.iter().position(|b| *b == b'}').map(|at| at + 1),
            [b'$', name @ ..] => name
                .iter()
                .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
                .map(|at| at + 1),
            _ => text.iter().position(|b| *b == b'$'),
        };
        let (part, rest) = text.split_at(end.unwrap_or(text.len()));
        parts.push(part);
        text = rest;
    }
    parts
}

fn piece(text: &[u8]) -> KeyPiece {
    let Some(name) = text.strip_prefix(b"$") else {
        return KeyPiece::Text(text.into());
    };
    let braced = name
        .strip_prefix(b"{")
        .and_then(|name| name.strip_suffix(b"}"));
    match braced.unwrap_or(name) {
        b"scheme" => KeyPiece::Scheme,
        b"host" => KeyPiece::Host,
        b"http_host" => KeyPiece::Authority,
        b"request_uri" => KeyPiece::RequestUri,
        b"uri" | b"document_uri" => KeyPiece::Uri,
        b"args" | b"query_string" => KeyPiece::Args,
        b"is_args" => KeyPiece::IsArgs,
        b"swr_cache_args" => KeyPiece::KeyArgs,
        b"request_method" => KeyPiece::Method,
        name => match name.strip_prefix(b"arg_") {
            Some(argument) => KeyPiece::Argument(argument.into()),
            None => KeyPiece::Other,
        },
    }
}

impl Recipe {
    /// Makes the recipe of keys from `text`, a string with variables of nginx, or the default one; `query` is
    /// the location's `swr_cache_query`.
    pub fn new(text: Option<&str>, query: &Query) -> Recipe {
        let pieces = |part: &[u8]| cut(part).into_iter().map(piece).collect();
        let parts = text.map(|text| parts_of(text.as_bytes()).into_iter().map(pieces).collect());
        Recipe {
            text: text.unwrap_or("$scheme$host$request_uri").into(),
            parts,
            query: query.clone(),
        }
    }

    /// The text in the configuration.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a URL determines the key.
    pub fn is_of_urls(&self) -> bool {
        let mut pieces = self.parts.iter().flatten().flatten();
        !pieces.any(|piece| *piece == KeyPiece::Other)
    }

    /// Calls `f` with the keys that requests for `url` may have; not at all if keys are not [of
    /// URLs](Recipe::is_of_urls).
    pub fn each_key(&self, url: &Url, f: &mut dyn FnMut(Box<[u8]>)) {
        let Some(parts) = &self.parts else {
            let target = self.query.of_target(&url.target);
            f(key(&[url.scheme(), &url.host, &target]));
            // The key contains the authority besides the host if it has another port than the server's.
            if url.authority != url.host {
                f(key(&[url.scheme(), &url.host, &url.authority, &target]));
            }
            return;
        };
        for method in self.methods() {
            let of = |pieces: &Vec<KeyPiece>| {
                let values = pieces.iter().map(|piece| self.value(piece, url, method));
                values
                    .collect::<Option<Vec<_>>>()
                    .map(|values| values.concat())
            };
            if let Some(made) = parts.iter().map(of).collect::<Option<Vec<_>>>() {
                let parts: Vec<&[u8]> = made.iter().map(Vec::as_slice).collect();
                f(key(&parts));
            }
        }
    }

    /// Calls `f` with prefixes that the texts of keys have for exactly the URLs whose paths begin with that
    /// of `url`; returns false if there are none.
    pub fn each_prefix(&self, url: &Url, f: &mut dyn FnMut(Box<[u8]>)) -> bool {
        let (path, args) = url.path_and_args();
        let Some(parts) = &self.parts else {
            // An unchanged query begins with that of the prefix; a sorted one may not.
            let start = match self.query.is_as_is() || args.is_empty() {
                true => &url.target,
                false => path,
            };
            f([url.scheme(), &url.host, start].concat().into());
            if url.authority != url.host {
                f([url.scheme(), &url.host, &url.authority, start]
                    .concat()
                    .into());
            }
            return true;
        };
        let pieces: Vec<&KeyPiece> = parts.iter().flatten().collect();
        let is_path = |piece: &&KeyPiece| matches!(piece, KeyPiece::RequestUri | KeyPiece::Uri);
        let Some((before, [at, ..])) = pieces
            .iter()
            .position(is_path)
            .map(|at| pieces.split_at(at))
        else {
            return false;
        };
        let is_told = |piece: &&KeyPiece| {
            matches!(
                piece,
                KeyPiece::Text(_)
                    | KeyPiece::Scheme
                    | KeyPiece::Host
                    | KeyPiece::Authority
                    | KeyPiece::Method
            )
        };
        if !before.iter().all(is_told) {
            return false;
        }
        let path = match at {
            KeyPiece::Uri => Cow::Owned(decoded_path(path)),
            _ => Cow::Borrowed(&*url.target),
        };
        for method in self.methods() {
            let values = before
                .iter()
                .filter_map(|piece| self.value(piece, url, method));
            let mut text = values.collect::<Vec<_>>().concat();
            text.extend_from_slice(&path);
            f(text.into());
        }
        true
    }

    /// The same for all URLs of a host, in lower case and without a port.
    pub fn each_of_host(&self, host: &[u8], f: &mut dyn FnMut(Box<[u8]>)) -> bool {
        let url = Url {
            https: false,
            authority: host.into(),
            host: host.into(),
            target: b"/".as_slice().into(),
        };
        [url.by_other_scheme(), url].into_iter().all(|url| {
            if self.parts.is_none() {
                // If the key contains the authority besides the host.
                f([url.scheme(), host, host, b":"].concat().into());
            }
            self.each_prefix(&url, f)
        })
    }

    fn methods(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        let mut pieces = self.parts.iter().flatten().flatten();
        let tells = pieces.any(|piece| *piece == KeyPiece::Method);
        [&b"GET"[..], b"HEAD"]
            .into_iter()
            .take(if tells { 2 } else { 1 })
    }

    fn value<'a>(
        &'a self,
        piece: &'a KeyPiece,
        url: &'a Url,
        method: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        let (path, args) = url.path_and_args();
        Some(Cow::Borrowed(match piece {
            KeyPiece::Text(text) => text,
            KeyPiece::Scheme => url.scheme(),
            KeyPiece::Host => &url.host,
            KeyPiece::Authority => &url.authority,
            KeyPiece::RequestUri => &url.target,
            KeyPiece::Uri => return Some(Cow::Owned(decoded_path(path))),
            KeyPiece::Args => args,
            KeyPiece::IsArgs if args.is_empty() => b"",
            KeyPiece::IsArgs => b"?",
            KeyPiece::Argument(name) => argument(args, name),
            KeyPiece::KeyArgs => return Some(self.query.of(args).unwrap_or_default()),
            KeyPiece::Method => method,
            KeyPiece::Other => return None,
        }))
    }
}

/// The value of an argument as nginx finds it (ngx_http_arg): the first one with that name, in any case, that
/// has an equals sign.
fn argument<'a>(args: &'a [u8], name: &[u8]) -> &'a [u8] {
    let of = |parameter: &'a [u8]| {
        let (start, rest) = parameter.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b"=")?;
        start.eq_ignore_ascii_case(name).then_some(value)
    };
    args.split(|b| *b == b'&').find_map(of).unwrap_or_default()
}

fn key(parts: &[&[u8]]) -> Box<[u8]> {
    let parts = parts.iter().copied();
    let mut made = Vec::with_capacity(super::length(parts.clone()));
    super::write(parts, &mut |bytes| made.extend_from_slice(bytes));
    made.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::read(text).expect("a URL")
    }

    fn drop_tracking() -> Query {
        let mut names = super::super::query::Names::default();
        names.add(b"utm_*");
        Query {
            sort: false,
            parameters: super::super::query::Parameters::Drop(names),
        }
    }

    #[test]
    fn the_usual_key_with_and_without_a_port() {
        let recipe = Recipe::new(None, &drop_tracking());
        let mut keys = Vec::new();
        recipe.each_key(&url("https://H.example:8443/a?utm_x=1&b"), &mut |key| {
            keys.push(key)
        });
        let expected: [&[&[u8]]; 2] = [
            &[b"https", b"h.example", b"/a?b"],
            &[b"https", b"h.example", b"H.example:8443", b"/a?b"],
        ];
        assert_eq!(keys, expected.map(key));
        assert!(recipe.is_of_urls());
    }

    #[test]
    fn a_key_is_cut_where_its_variables_end() {
        for (key, want) in [
            ("", &[][..]),
            ("text", &["text"][..]),
            ("$host", &["$host"]),
            ("$scheme$host", &["$scheme", "$host"]),
            ("a$b-c", &["a", "$b", "-c"]),
            ("${a}b$c", &["${a}", "b", "$c"]),
            ("$a_1/$b", &["$a_1", "/", "$b"]),
            ("${open", &["${open"]),
            ("$", &["$"]),
            ("$$a", &["$", "$a"]),
        ] {
            let parts = cut(key.as_bytes());
            let want: Vec<&[u8]> = want.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(parts, want, "{key}");
            let is_one = want.iter().filter(|part| part.starts_with(b"$")).count() < 2;
            assert_eq!(
                parts_of(key.as_bytes()).len() == 1,
                is_one || want.len() == 1,
                "{key}"
            );
        }
    }

    #[test]
    fn keys_of_the_configurations_own() {
        for (text, expected) in [
            (
                "$scheme$request_method$host$request_uri",
                vec![
                    vec!["http", "GET", "h", "/a%20b?x=1&utm_y=2&X=3"],
                    vec!["http", "HEAD", "h", "/a%20b?x=1&utm_y=2&X=3"],
                ],
            ),
            ("$uri", vec![vec!["/a b"]]),
            ("site:${host}", vec![vec!["site:h"]]),
            (
                "${scheme}://$http_host$uri$is_args$swr_cache_args",
                vec![vec!["http", "://", "H:80", "/a b", "?", "x=1&X=3"]],
            ),
            (
                "$host$args|$arg_x$arg_none",
                vec![vec!["h", "x=1&utm_y=2&X=3", "|", "1", ""]],
            ),
            ("fixed", vec![vec!["fixed"]]),
            ("$host$cookie_a", vec![]),
            ("$host$request_uri$1", vec![]),
        ] {
            let recipe = Recipe::new(Some(text), &drop_tracking());
            let mut keys = Vec::new();
            recipe.each_key(&url("http://H:80/a%20b?x=1&utm_y=2&X=3"), &mut |key| {
                keys.push(key)
            });
            let as_key =
                |parts: Vec<&str>| key(&parts.into_iter().map(str::as_bytes).collect::<Vec<_>>());
            assert_eq!(keys.is_empty(), !recipe.is_of_urls(), "{text}");
            assert_eq!(
                keys,
                expected.into_iter().map(as_key).collect::<Vec<_>>(),
                "{text}"
            );
        }
    }

    #[test]
    fn beginnings_of_keys() {
        for (text, expected) in [
            (None, Some(vec!["httph/a%20b/", "httphh:81/a%20b/"])),
            (
                Some("$scheme$request_method$host$request_uri"),
                Some(vec!["httpGETh/a%20b/", "httpHEADh/a%20b/"]),
            ),
            (
                Some("$host$uri?$swr_cache_args$cookie_a"),
                Some(vec!["h/a b/"]),
            ),
            (Some("$uri"), Some(vec!["/a b/"])),
            (Some("$host$arg_x$uri"), None),
            (Some("$cookie_a$uri"), None),
            (Some("$host$args"), None),
        ] {
            let mut prefixes = Vec::new();
            let recipe = Recipe::new(text, &Query::default());
            let any = recipe.each_prefix(&url("http://h:81/a%20b/"), &mut |prefix| {
                prefixes.push(String::from_utf8_lossy(&prefix).into_owned());
            });
            assert_eq!(
                (any, prefixes),
                (
                    expected.is_some(),
                    expected
                        .unwrap_or_default()
                        .into_iter()
                        .map(str::to_owned)
                        .collect()
                ),
                "{text:?}"
            );
        }
    }
}
