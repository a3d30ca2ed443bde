//! Entity tags (RFC 9110 §8.8.3).

use super::syntax::trim;

/// How two entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both are strong, and their opaque tags are equal.
    Strong,
    /// Their opaque tags are equal; either may be weak.
    Weak,
}

/// An entity tag: a weakness flag and the opaque tag without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag<'a> {
    /// Whether the tag is weak (`W/`).
    pub weak: bool,
    /// The opaque tag, between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> Etag<'a> {
    /// Parses `value`, which must be one entity tag, optionally surrounded by white space.
    pub fn parse(value: &'a [u8]) -> Option<Etag<'a>> {
        let (tag, rest) = leading(trim(value))?;
        rest.is_empty().then_some(tag)
    }

    /// Compares two entity tags by the given function.
    pub fn matches(&self, other: &Etag<'_>, how: Comparison) -> bool {
        self.opaque == other.opaque && (how == Comparison::Weak || (!self.weak && !other.weak))
    }
}

/// Iterates over the entity tags in one line of a list field; members that are not entity tags are skipped. A
/// comma inside the quotes does not separate members.
pub fn list(line: &[u8]) -> impl Iterator<Item = Etag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (tag, after) = member(rest);
            rest = after;
            if tag.is_some() {
                return tag;
            }
        }
        None
    })
}

/// Splits the first member off a list: the member, if it is an entity tag, and the rest after its comma.
fn member(s: &[u8]) -> (Option<Etag<'_>>, &[u8]) {
    let s = trim(s);
    let (tag, rest) = leading(s).map_or((None, s), |(tag, rest)| (Some(tag), rest));
    let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
    let (trailing, after) = rest.split_at(end);
    let tag = tag.filter(|_| trim(trailing).is_empty());
    (tag, after.get(1..).unwrap_or_default())
}

/// Splits off the entity tag that `s` begins with. `W/` is case-sensitive, and the grammar has no escapes:
/// `opaque-tag = DQUOTE *etagc DQUOTE` (RFC 9110 §8.8.3).
fn leading(s: &[u8]) -> Option<(Etag<'_>, &[u8])> {
    let (weak, quoted) = match s.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, s),
    };
    let inner = quoted.strip_prefix(b"\"")?;
    let end = inner.iter().position(|b| !is_etagc(*b))?;
    let rest = inner.get(end..)?.strip_prefix(b"\"")?;
    let opaque = inner.get(..end)?;
    Some((Etag { weak, opaque }, rest))
}

fn is_etagc(b: u8) -> bool {
    b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80
}

/// Returns whether one line of a list field names `own`, the value of a response's `ETag` field.
///
/// A value that is not a valid entity tag (most often it lacks the quotes) is compared byte by byte: clients
/// send back what they received, and other servers compare it in this way.
pub fn names(line: &[u8], own: &[u8], how: Comparison) -> bool {
    match Etag::parse(own) {
        Some(own) => list(line).any(|tag| tag.matches(&own, how)),
        None => names_verbatim(line, trim(own), how),
    }
}

fn names_verbatim(line: &[u8], own: &[u8], how: Comparison) -> bool {
    let weakly = |tag| match how {
        Comparison::Strong => tag,
        Comparison::Weak => without_mark(tag),
    };
    let own = weakly(own);
    if own.is_empty() || own.starts_with(b"W/") {
        return false; // absent, or weak where only a strong tag matches
    }
    let mut rest = Some(line);
    while let Some(members) = rest {
        let after = weakly(trim(members)).strip_prefix(own).map(trim);
        if after.is_some_and(|after| matches!(after.first(), None | Some(b','))) {
            return true;
        }
        let end = members.iter().position(|b| *b == b',');
        rest = end.and_then(|end| members.get(end + 1..));
    }
    false
}

fn without_mark(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The length of a tag that [`of_hash`] writes, in bytes.
pub const HASH_LEN: usize = 20;

/// Makes a weak entity tag of a body's hash: `W/"0123456789abcdef"`, quotes included.
pub fn of_hash(hash: u64) -> [u8; HASH_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"W/\"0000000000000000\"";
    let places = text.iter_mut().skip(3).zip((0..64).step_by(4).rev());
    for (place, shift) in places {
        *place = DIGITS[(hash >> shift) as usize % DIGITS.len()];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(weak: bool, opaque: &[u8]) -> Etag<'_> {
        Etag { weak, opaque }
    }

    #[test]
    fn parses_one() {
        // RFC 9110 §8.8.3
        for (value, want) in [
            ("\"xyzzy\"", Some(tag(false, b"xyzzy"))),
            ("W/\"xyzzy\"", Some(tag(true, b"xyzzy"))),
            (" \"\" ", Some(tag(false, b""))),
            ("\"a,b\"", Some(tag(false, b"a,b"))),
            ("\"a\\\"", Some(tag(false, b"a\\"))),
            ("w/\"xyzzy\"", None),
            ("W/ \"xyzzy\"", None),
            ("xyzzy", None),
            ("\"open", None),
            ("\"a b\"", None),
            ("\"a\"b", None),
            ("\"a\", \"b\"", None),
            ("", None),
        ] {
            assert_eq!(Etag::parse(value.as_bytes()), want, "{value:?}");
        }
    }

    #[test]
    fn compares() {
        // RFC 9110 §8.8.3.2, table 3
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (x, y) = (Etag::parse(a.as_bytes()), Etag::parse(b.as_bytes()));
            let (x, y) = x.zip(y).expect("valid");
            assert_eq!(x.matches(&y, Comparison::Strong), strong, "{a} {b}");
            assert_eq!(x.matches(&y, Comparison::Weak), weak, "{a} {b}");
        }
    }

    #[test]
    fn lists_skip_what_is_no_tag() {
        // RFC 9110 §13.1.2
        let read = |s: &'static str| list(s.as_bytes()).collect::<Vec<_>>();
        assert_eq!(
            read("\"a,b\" , W/\"c\",,\"d\""),
            [tag(false, b"a,b"), tag(true, b"c"), tag(false, b"d")]
        );
        assert_eq!(read("bare, \"x\"y, \"z\""), [tag(false, b"z")]);
        assert_eq!(read("*"), []);
        assert_eq!(read("\"open, \"a\""), [tag(false, b"a")]);
    }

    #[test]
    fn malformed_tags_are_named_by_the_very_bytes() {
        let weak = |own: &str, line: &str| names(line.as_bytes(), own.as_bytes(), Comparison::Weak);
        for (own, line, want) in [
            ("bxyV1", "bxyV1", true),
            ("bxyV1", "\"x\", bxyV1 , \"y\"", true),
            ("bxyV1", "W/bxyV1", true),
            ("W/bxyV1", "bxyV1", true),
            ("a,b", "a,b", true),
            ("a,b", "x,a,b", true),
            ("\"a b\"", "\"a b\"", true),
            ("\"open", "\"open", true),
            ("w/\"a\"", "w/\"a\"", true),
            ("bxyV1", "bxyV12", false),
            ("bxyV1", "abxyV1", false),
            ("bxyV1", "\"bxyV1\"", false),
            ("\"bxyV1\"", "bxyV1", false),
            ("bxyV1", "BXYV1", false),
            ("bxyV1", "", false),
            ("W/", "", false),
        ] {
            assert_eq!(weak(own, line), want, "{own} in {line}");
        }
        let strong = |own: &str| names(own.as_bytes(), own.as_bytes(), Comparison::Strong);
        assert!(strong("bxyV1") && !strong("W/bxyV1"));
    }

    #[test]
    fn a_hash_makes_a_weak_tag() {
        let text = of_hash(0xabc);
        assert_eq!(&text, b"W/\"0000000000000abc\"");
        assert_eq!(Etag::parse(&text), Some(tag(true, b"0000000000000abc")));
    }
}
