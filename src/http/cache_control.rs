//! Response directives of `Cache-Control` (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
//!
//! Unknown directives are skipped by their grammar, so that nothing inside their arguments is taken for a
//! directive. Repeated or conflicting directives get the most restrictive reading, and a malformed number
//! counts as zero (RFC 9111 §4.2.1). Memory is allocated only for a directive that lists field names.

use super::Fields;
use super::syntax::{Argument, Lower, delta_seconds, directives, is_token, members, unescape};
use std::borrow::Cow;

/// The value of `stale-while-revalidate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swr {
    /// The window in seconds, counted from the end of freshness (RFC 5861 §3).
    Seconds(u32),
    /// The directive without a value: the window is as long as the freshness lifetime, at least one second.
    NoValue,
}

/// The field names that a qualified `no-cache` or `private` lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    joined: String,
}

impl FieldNames {
    /// Parses a list of field names. Returns `None` if the list is empty or a member is not a field name.
    fn parse(list: &[u8]) -> Option<FieldNames> {
        let mut joined = String::new();
        for name in members(list) {
            let name = std::str::from_utf8(name)
                .ok()
                .filter(|n| is_token(n.as_bytes()))?;
            joined.push_str(&name.to_ascii_lowercase());
            joined.push(',');
        }
        joined.pop()?;
        Some(FieldNames { joined })
    }

    /// Iterates over the names, in lower case, in the order received.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.joined.split(',').filter(|name| !name.is_empty())
    }

    /// Returns whether `name` is listed, compared case-insensitively.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    }
}

/// What a directive that field names may qualify (`no-cache`, `private`) applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    None,
    /// Unqualified: it applies to the whole response.
    All,
    /// Qualified: it applies to these fields only, which are then not stored (RFC 9111 §3.1).
    Fields(FieldNames),
}

impl Scope {
    /// Returns whether the directive applies to the whole response.
    pub fn is_all(&self) -> bool {
        *self == Scope::All
    }

    /// Applies another occurrence of the directive: an unqualified one overrides a qualified one, lists are
    /// united, and an argument that is not a list of field names counts as unqualified.
    fn narrow(&mut self, given: &Given<'_>) {
        let new = given.text.as_deref().and_then(FieldNames::parse);
        match (&mut *self, new) {
            (_, None) => *self = Scope::All,
            (Scope::All, _) => {}
            (Scope::None, Some(new)) => *self = Scope::Fields(new),
            (Scope::Fields(names), Some(new)) => {
                names.joined.push(',');
                names.joined.push_str(&new.joined);
            }
        }
    }

    /// Returns whether the directive's argument lists the field `name`.
    pub fn lists(&self, name: &[u8]) -> bool {
        matches!(self, Scope::Fields(names) if names.contains(name))
    }
}

/// The response directives that this cache understands; others are ignored (RFC 9111 §5.2.3). Numbers are
/// seconds, at most 2^31.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// `no-store` (RFC 9111 §5.2.2.5).
    pub no_store: bool,
    /// `no-cache`, unqualified or with field names (§5.2.2.4).
    pub no_cache: Scope,
    /// `private`, unqualified or with field names (§5.2.2.7).
    pub private: Scope,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `max-age` (§5.2.2.1).
    pub max_age: Option<u32>,
    /// `s-maxage` (§5.2.2.10).
    pub s_maxage: Option<u32>,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `no-transform` (§5.2.2.6).
    pub no_transform: bool,
    /// `immutable` (RFC 8246 §2).
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Option<Swr>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
}

impl CacheControl {
    /// Parses all `Cache-Control` lines of a response.
    pub fn response(fields: &dyn Fields) -> CacheControl {
        let mut control = CacheControl::default();
        super::fields::each_named(fields, "cache-control", &mut |value| control.add(value));
        control
    }

    /// Adds the directives of one field line; the most restrictive reading wins.
    pub fn add(&mut self, line: &[u8]) {
        for directive in directives(line) {
            self.apply(directive.name, Given::from(directive.argument));
        }
    }

    /// Applies one directive. A directive that restricts counts whatever its argument is; one that permits
    /// counts only in the form that its definition allows, without an argument.
    pub(super) fn apply(&mut self, name: &[u8], given: Given<'_>) {
        let Some(name) = Lower::<MAX_NAME>::of(name) else {
            return;
        };
        match name.as_bytes() {
            b"no-store" => self.no_store = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"no-transform" => self.no_transform = true,
            b"public" => self.public |= given.is_absent(),
            b"must-understand" => self.must_understand |= given.is_absent(),
            b"immutable" => self.immutable = true, // RFC 8246 §2: an argument is ignored
            b"no-cache" => self.no_cache.narrow(&given),
            b"private" => self.private.narrow(&given),
            b"max-age" => smallest(&mut self.max_age, &given),
            b"s-maxage" => smallest(&mut self.s_maxage, &given),
            b"stale-if-error" => smallest(&mut self.stale_if_error, &given),
            b"stale-while-revalidate" => self.add_swr(&given),
            _ => {} // RFC 9111 §5.2.3: unrecognised directives are ignored
        }
    }

    /// Returns whether [`CacheControl::apply`] knows the directive `name`, which is in lower case.
    pub(super) fn knows(name: &[u8]) -> bool {
        const KNOWN: [&[u8]; 13] = [
            b"no-store",
            b"no-cache",
            b"private",
            b"public",
            b"max-age",
            b"s-maxage",
            b"must-revalidate",
            b"proxy-revalidate",
            b"must-understand",
            b"no-transform",
            b"immutable",
            b"stale-while-revalidate",
            b"stale-if-error",
        ];
        KNOWN.contains(&name)
    }

    fn add_swr(&mut self, given: &Given<'_>) {
        let seconds = given.number.unwrap_or(0);
        self.stale_while_revalidate = match self.stale_while_revalidate {
            None if given.is_absent() => Some(Swr::NoValue),
            earlier if given.is_absent() => earlier,
            Some(Swr::Seconds(earlier)) => Some(Swr::Seconds(earlier.min(seconds))),
            None | Some(Swr::NoValue) => Some(Swr::Seconds(seconds)),
        };
    }
}

/// The longest directive name that is looked up; every known name is shorter.
const MAX_NAME: usize = 24;

/// Sets `slot` to the smaller of its value and the argument; a missing or malformed number counts as zero
/// (RFC 9111 §4.2.1).
pub(super) fn smallest(slot: &mut Option<u32>, given: &Given<'_>) {
    let new = given.number.unwrap_or(0);
    *slot = Some(slot.map_or(new, |old| old.min(new)));
}

/// A directive's argument, read both as a number and as text. If it is present but neither, the directive's
/// definition does not allow it.
#[derive(Clone, Debug, Default)]
pub(super) struct Given<'a> {
    pub(super) present: bool,
    pub(super) number: Option<u32>,
    pub(super) text: Option<Cow<'a, [u8]>>,
}

impl Given<'_> {
    pub(super) fn is_absent(&self) -> bool {
        !self.present
    }
}

impl<'a> From<Argument<'a>> for Given<'a> {
    /// Accepts the token and the quoted form alike, whichever one the directive defines (RFC 9111 §5.2).
    fn from(argument: Argument<'a>) -> Given<'a> {
        let text = match argument {
            Argument::Absent => return Given::default(),
            Argument::Malformed => None,
            Argument::Token(text) => Some(Cow::Borrowed(text)),
            Argument::Quoted(inner) => Some(unescape(inner)),
        };
        Given {
            present: true,
            number: text.as_deref().and_then(delta_seconds),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> CacheControl {
        let fields: Vec<_> = lines.iter().map(|line| ("Cache-Control", line)).collect();
        CacheControl::response(&fields)
    }

    fn names(list: &str) -> Scope {
        Scope::Fields(FieldNames {
            joined: list.to_owned(),
        })
    }

    fn is_default_but(change: impl FnOnce(&mut CacheControl)) -> CacheControl {
        let mut control = CacheControl::default();
        change(&mut control);
        control
    }

    #[test]
    fn reads_the_directives_of_the_rfcs() {
        // RFC 9111 §5.2.2, RFC 5861 §3 and §4, RFC 8246 §2
        let got = parse(&[
            "Max-Age=60, S-MAXAGE=120, public, no-transform",
            "stale-while-revalidate=300,stale-if-error=86400",
            "must-revalidate, proxy-revalidate, must-understand, immutable, no-store",
        ]);
        let want = CacheControl {
            no_store: true,
            no_cache: Scope::None,
            private: Scope::None,
            public: true,
            max_age: Some(60),
            s_maxage: Some(120),
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            stale_while_revalidate: Some(Swr::Seconds(300)),
            stale_if_error: Some(86_400),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn max_age_takes_the_most_restrictive_reading() {
        // RFC 9111 §1.2.2, §4.2.1, §5.2.2.1
        for (line, want) in [
            ("max-age=100", Some(100)),
            ("max-age=\"100\"", Some(100)),
            ("max-age=\"1\\00\"", Some(100)),
            ("max-age=9999999999999999", Some(1 << 31)),
            ("max-age=100, max-age=1", Some(1)),
            ("max-age=1, max-age=100", Some(1)),
            ("max-age=100, max-age=x", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age=\'100\'", Some(0)),
            ("max-age =100", Some(0)),
            ("max-age=100 200", Some(0)),
            ("max-ages=100", None),
            ("x-max-age=100", None),
            ("", None),
        ] {
            assert_eq!(parse(&[line]).max_age, want, "{line:?}");
        }
    }

    #[test]
    fn nothing_inside_an_argument_is_a_directive() {
        // RFC 9111 §5.2.3: unknown extensions are parsed, then ignored
        for line in [
            "ext=\"max-age=100, no-store\"",
            "ext=\"a\\\", private, max-age=100\"",
            "no-store-please",
            "xno-store=1",
        ] {
            assert_eq!(parse(&[line]), CacheControl::default(), "{line:?}");
        }
        let got = parse(&["ext=\"max-age=100\", max-age=1"]);
        assert_eq!(got, is_default_but(|c| c.max_age = Some(1)));
    }

    #[test]
    fn a_stray_quote_hides_nothing() {
        for line in ["a=\"open, no-store", "a\"b, no-store", "\", no-store"] {
            assert!(parse(&[line]).no_store, "{line:?}");
        }
    }

    #[test]
    fn directives_that_permit_take_no_argument() {
        // RFC 9111 §5.2: "no argument is defined (nor allowed) unless stated otherwise"
        let got = parse(&["public=1, must-understand=\"\""]);
        assert_eq!(got, CacheControl::default());
        let got = parse(&["no-store=0, must-revalidate=x, immutable=x"]);
        assert!(got.no_store && got.must_revalidate && got.immutable);
    }

    #[test]
    fn field_names_qualify_no_cache_and_private() {
        // RFC 9111 §5.2.2.4, §5.2.2.7
        for (line, want) in [
            ("private", Scope::All),
            ("private=\"Set-Cookie, X-User\"", names("set-cookie,x-user")),
            ("private=Set-Cookie", names("set-cookie")),
            ("private=\"a\", private=\"b\"", names("a,b")),
            ("private=\"a\", private", Scope::All),
            ("private, private=\"a\"", Scope::All),
            ("private=\"\"", Scope::All),
            ("private=\"a b\"", Scope::All),
            ("private=", Scope::All),
        ] {
            assert_eq!(parse(&[line]).private, want, "{line:?}");
            let line = line.replace("private", "no-cache");
            assert_eq!(parse(&[&line]).no_cache, want, "{line:?}");
        }
        let listed = parse(&["no-cache=\"Set-Cookie\""]).no_cache;
        assert!(listed.lists(b"SET-COOKIE") && !listed.lists(b"cookie") && !listed.is_all());
    }

    #[test]
    fn stale_while_revalidate_may_lack_a_value() {
        for (line, want) in [
            ("stale-while-revalidate", Swr::NoValue),
            ("stale-while-revalidate=5", Swr::Seconds(5)),
            (
                "stale-while-revalidate, stale-while-revalidate=5",
                Swr::Seconds(5),
            ),
            (
                "stale-while-revalidate=5, stale-while-revalidate",
                Swr::Seconds(5),
            ),
            (
                "stale-while-revalidate=5, stale-while-revalidate=3",
                Swr::Seconds(3),
            ),
            ("stale-while-revalidate=x", Swr::Seconds(0)),
        ] {
            assert_eq!(
                parse(&[line]).stale_while_revalidate,
                Some(want),
                "{line:?}"
            );
        }
    }

    #[test]
    fn other_fields_do_not_count() {
        let fields = [("X-Cache-Control", "no-store"), ("cache-control", "public")];
        let got = CacheControl::response(&fields);
        assert_eq!(got, is_default_but(|c| c.public = true));
    }
}
