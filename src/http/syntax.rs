//! The grammar that HTTP fields have in common: tokens, quoted strings, list members, delta-seconds (RFC 9110
//! §5.6, RFC 9111 §1.2.2).

use super::DELTA_MAX;
use std::borrow::Cow;

/// Returns whether `b` is a `tchar` (RFC 9110 §5.6.2).
pub fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Returns whether `s` is a `token`: one or more tchars (RFC 9110 §5.6.2).
pub fn is_token(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().copied().all(is_tchar)
}

/// Trims optional white space (space, tab) from both ends of `s` (RFC 9110 §5.6.3).
pub fn trim(s: &[u8]) -> &[u8] {
    let start = s.iter().position(|b| !is_ows(*b)).unwrap_or(s.len());
    trim_end(s.get(start..).unwrap_or_default())
}

fn trim_end(s: &[u8]) -> &[u8] {
    let end = s
        .iter()
        .rposition(|b| !is_ows(*b))
        .map_or(0, |last| last + 1);
    s.get(..end).unwrap_or_default()
}

fn is_ows(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// Parses `1*DIGIT`; values above [`DELTA_MAX`] saturate (RFC 9111 §1.2.2). Returns `None` for anything else.
pub fn delta_seconds(s: &[u8]) -> Option<u32> {
    digits(s).map(|n| u32::try_from(n).unwrap_or(DELTA_MAX).min(DELTA_MAX))
}

/// Parses `1*DIGIT`; values above `u64::MAX` saturate. Returns `None` for anything else.
pub fn digits(s: &[u8]) -> Option<u64> {
    if s.is_empty() || !s.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(s.iter().fold(0u64, |n, b| {
        n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
    }))
}

/// The argument of a directive, `token [ "=" ( token / quoted-string ) ]` (RFC 9111 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// No `=`.
    Absent,
    /// A token.
    Token(&'a [u8]),
    /// The text between the quotes, still escaped; see [`unescape`].
    Quoted(&'a [u8]),
    /// Text that the grammar does not allow.
    Malformed,
}

/// One member of a directive list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directive<'a> {
    /// The name as received; names are compared case-insensitively.
    pub name: &'a [u8],
    /// The argument.
    pub argument: Argument<'a>,
}

/// Iterates over the directives of one field line, in order. Members that do not begin with a token are
/// skipped.
///
/// A quoted string is recognised only where the grammar allows one, directly after `=`. One without a closing
/// quote counts as malformed text up to the next comma, so that a stray quote can't hide the directives
/// behind it.
pub fn directives(line: &[u8]) -> Directives<'_> {
    Directives { rest: line }
}

/// The iterator that [`directives`] returns.
#[derive(Clone, Debug)]
pub struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        while !self.rest.is_empty() {
            self.skip(|b| is_ows(b) || b == b',');
            let name = self.take(is_tchar);
            let argument = self.argument();
            if !name.is_empty() {
                return Some(Directive { name, argument });
            }
        }
        None
    }
}

impl<'a> Directives<'a> {
    fn take(&mut self, want: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|b| !want(*b));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, want: impl Fn(u8) -> bool) {
        self.take(want);
    }

    /// Parses the argument up to the comma that ends the member.
    fn argument(&mut self) -> Argument<'a> {
        let Some(after) = self.rest.strip_prefix(b"=") else {
            let trailing = trim(self.take(|b| b != b','));
            return match trailing.is_empty() {
                true => Argument::Absent,
                false => Argument::Malformed,
            };
        };
        self.rest = after;
        if let Some((quoted, rest)) = quoted_string(self.rest) {
            self.rest = rest;
            let trailing = trim(self.take(|b| b != b','));
            return match trailing.is_empty() {
                true => Argument::Quoted(quoted),
                false => Argument::Malformed,
            };
        }
        let text = trim_end(self.take(|b| b != b','));
        match is_token(text) {
            true => Argument::Token(text),
            false => Argument::Malformed,
        }
    }
}

/// Splits off the quoted string that `s` begins with: the text between its quotes, and the rest (RFC 9110
/// §5.6.4). Returns `None` if `s` does not begin with a complete quoted string.
pub fn quoted_string(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = s.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (at, b) in inner.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((inner.get(..at)?, inner.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Resolves the quoted-pairs in the text of a quoted string (RFC 9110 §5.6.4).
pub fn unescape(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(b) = bytes.next() {
        let b = if *b == b'\\' { bytes.next() } else { Some(b) };
        text.extend(b);
    }
    Cow::Owned(text)
}

/// Iterates over the members of a comma-separated list, trimmed; empty members are skipped (RFC 9110 §5.6.1).
/// A comma inside a quoted string does not separate members; a quote without a closing one is an ordinary
/// byte.
pub fn members(line: &[u8]) -> Members<'_> {
    Members { rest: line }
}

/// The iterator that [`members`] returns.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = member_end(self.rest);
            let (member, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let member = trim(member);
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

fn member_end(s: &[u8]) -> usize {
    let mut at = 0;
    let mut may_quote = true;
    while let Some(b) = s.get(at) {
        match b {
            b',' => return at,
            b'"' if may_quote => match quoted_string(s.get(at..).unwrap_or_default()) {
                Some((_, rest)) => at = s.len() - rest.len(),
                None => {
                    may_quote = false;
                    at += 1;
                }
            },
            _ => at += 1,
        }
    }
    s.len()
}

/// `name` in lower case in a buffer of `N` bytes, to match it against literals; `None` if it is longer.
pub(super) struct Lower<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Lower<N> {
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        let part = bytes.get_mut(..name.len())?;
        part.copy_from_slice(name);
        part.make_ascii_lowercase();
        Some(Lower {
            bytes,
            len: name.len(),
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delta_seconds_saturate_and_take_digits_only() {
        // RFC 9111 §1.2.2
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("2147483648", Some(DELTA_MAX)),
            ("2147483649", Some(DELTA_MAX)),
            ("99999999999999999999999999", Some(DELTA_MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 ", None),
            ("0x10", None),
        ] {
            assert_eq!(delta_seconds(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn directives_follow_the_grammar() {
        // RFC 9111 §5.2: token [ "=" ( token / quoted-string ) ]
        use Argument::{Absent, Malformed, Quoted, Token};
        let cases: &[(&str, &[(&str, Argument)])] = &[
            ("", &[]),
            (" , ,, ", &[]),
            ("a", &[("a", Absent)]),
            (
                "a,b=1 , c",
                &[("a", Absent), ("b", Token(b"1")), ("c", Absent)],
            ),
            ("a=\"x, b\", c", &[("a", Quoted(b"x, b")), ("c", Absent)]),
            (
                "a=\"x\\\", b\",c",
                &[("a", Quoted(b"x\\\", b")), ("c", Absent)],
            ),
            ("a=", &[("a", Malformed)]),
            ("a =1", &[("a", Malformed)]),
            ("a= 1", &[("a", Malformed)]),
            ("a b, c", &[("a", Malformed), ("c", Absent)]),
            ("a=\"x\"y, c", &[("a", Malformed), ("c", Absent)]),
            ("=1, c", &[("c", Absent)]),
            ("\"q, c", &[("c", Absent)]),
            ("a=\"open, c", &[("a", Malformed), ("c", Absent)]),
            ("a=b\"c, d\"", &[("a", Malformed), ("d", Malformed)]),
            ("a=1\t", &[("a", Token(b"1"))]),
        ];
        for (line, want) in cases {
            let got: Vec<_> = directives(line.as_bytes()).collect();
            let want: Vec<_> = want
                .iter()
                .map(|(name, argument)| Directive {
                    name: name.as_bytes(),
                    argument: *argument,
                })
                .collect();
            assert_eq!(got, want, "{line:?}");
        }
    }

    #[test]
    fn quoted_pairs_are_resolved() {
        // RFC 9110 §5.6.4
        assert_eq!(&*unescape(b"plain"), b"plain");
        assert_eq!(&*unescape(br#"a\"b\\c\d"#), br#"a"b\cd"#);
        assert_eq!(&*unescape(br"end\"), b"end");
    }

    #[test]
    fn list_members_ignore_empty_ones_and_quoted_commas() {
        // RFC 9110 §5.6.1
        let split = |s: &'static str| members(s.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split("a, ,b\t,"), [&b"a"[..], b"b"]);
        assert_eq!(split("a=\"1,2\", b"), [&b"a=\"1,2\""[..], b"b"]);
        assert_eq!(split("\"open, b"), [&b"\"open"[..], b"b"]);
        assert!(split(" ,").is_empty());
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        // RFC 9110 §5.6.3
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\ra"), b"\ra");
    }
}
