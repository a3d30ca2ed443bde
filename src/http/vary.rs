//! Which stored response a request selects (RFC 9111 §4.1).
//!
//! For each field that `Vary` nominates, a stored response keeps whether its request had the field, and the
//! field's *normal form*: lines combined, white space normalised and, for the fields of a [`Reduce`], reduced
//! to what can affect the response. A later request matches if its normal forms are equal.

mod accept;

use super::Fields;
use super::fields::{each_named, is};
use super::limits::MAX_VARY;
use super::syntax::{is_token, members};
use accept::{Encodings, Languages};

/// Fields whose values are reduced before they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reduce {
    /// `Accept-Encoding`: the set of accepted codings, without weights and order.
    pub accept_encoding: bool,
    /// `Accept-Language`: the accepted primary language tags, in order of preference.
    pub accept_language: bool,
}

impl Reduce {
    /// Adds a field by name, or returns an error if the field can't be reduced.
    pub fn add(&mut self, name: &str) -> Result<(), NotReducible> {
        match name.to_ascii_lowercase().as_str() {
            "accept-encoding" => self.accept_encoding = true,
            "accept-language" => self.accept_language = true,
            _ => return Err(NotReducible),
        }
        Ok(())
    }
}

/// The field is not one that [`Reduce`] supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReducible;

/// The field names that `Vary` nominates: in lower case, sorted, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nominated {
    names: Vec<Box<str>>,
}

impl Nominated {
    /// Iterates over the names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no field is nominated.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The value of a response's `Vary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// The fields that select among the stored responses; empty without `Vary`.
    Fields(Nominated),
    /// `Vary` has a `*` member, a malformed one, or more than [`MAX_VARY`] members: no request matches.
    Any,
}

impl Vary {
    /// Parses all `Vary` lines of a response.
    pub fn of(response: &dyn Fields) -> Vary {
        let mut names = Some(Vec::new());
        each_named(response, "vary", &mut |line| {
            for member in members(line) {
                names = names.take().and_then(|known| nominate(known, member));
            }
        });
        match names {
            Some(mut names) => {
                names.sort_unstable();
                Vary::Fields(Nominated { names })
            }
            None => Vary::Any,
        }
    }
}

/// Appends the normal form of the request field `name` to `out`. If the request has no such field, returns
/// `false` and appends nothing.
pub fn normalize(name: &str, request: &dyn Fields, reduce: Reduce, out: &mut Vec<u8>) -> bool {
    emit(name, request, reduce, out)
}

/// Returns whether the request's field `name` equals the stored normal form. `None` means that the field was
/// absent, which matches only an absent field. Allocates nothing.
pub fn matches(name: &str, stored: Option<&[u8]>, request: &dyn Fields, reduce: Reduce) -> bool {
    let mut expected = Expected {
        rest: stored.unwrap_or_default(),
        differs: false,
    };
    let present = emit(name, request, reduce, &mut expected);
    present == stored.is_some() && !expected.differs && expected.rest.is_empty()
}

/// Adds a member of `Vary` to the names; `None` if no request can match from here on.
fn nominate(mut names: Vec<Box<str>>, member: &[u8]) -> Option<Vec<Box<str>>> {
    let is_name = is_token(member) && member != b"*";
    let name = std::str::from_utf8(member).ok().filter(|_| is_name)?;
    let name = name.to_ascii_lowercase().into_boxed_str();
    if !names.contains(&name) {
        names.push(name);
    }
    (names.len() <= MAX_VARY).then_some(names)
}

/// Receives a normal form piece by piece.
trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_lower(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.put(&[b.to_ascii_lowercase()]);
        }
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Compares the pieces with a stored normal form, without building one.
struct Expected<'a> {
    rest: &'a [u8],
    differs: bool,
}

impl Sink for Expected<'_> {
    fn put(&mut self, bytes: &[u8]) {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            None => self.differs = true,
        }
    }
}

/// Emits the normal form, and returns whether the request has the field.
fn emit(name: &str, request: &dyn Fields, reduce: Reduce, sink: &mut dyn Sink) -> bool {
    if is(name.as_bytes(), "accept-encoding") {
        match reduce.accept_encoding {
            true => emit_encodings(request, sink),
            false => emit_list(name, request, Case::Fold, sink),
        }
    } else if is(name.as_bytes(), "accept-language") {
        match reduce.accept_language {
            true => emit_languages(name, request, sink),
            false => emit_list(name, request, Case::Fold, sink),
        }
    } else {
        emit_list(name, request, Case::Keep, sink)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The field's values are case-insensitive.
    Fold,
    Keep,
}

/// Combines the lines; members are separated by one comma and one space (RFC 9111 §4.1).
fn emit_list(name: &str, request: &dyn Fields, case: Case, sink: &mut dyn Sink) -> bool {
    let (mut present, mut first) = (false, true);
    each_named(request, name, &mut |line| {
        present = true;
        for member in members(line) {
            if !std::mem::take(&mut first) {
                sink.put(b", ");
            }
            match case {
                Case::Fold => sink.put_lower(member),
                Case::Keep => sink.put(member),
            }
        }
    });
    present
}

fn emit_encodings(request: &dyn Fields, sink: &mut dyn Sink) -> bool {
    let mut encodings = Encodings::default();
    let mut present = false;
    each_named(request, "accept-encoding", &mut |line| {
        present = true;
        members(line).for_each(|member| encodings.note(member));
    });
    let mut out = Separated { sink, first: true };
    encodings.emit(&mut |name, suffix| out.put(name, suffix));
    each_named(request, "accept-encoding", &mut |line| {
        for member in members(line) {
            encodings.emit_unknown(member, &mut |name, suffix| out.put(name, suffix));
        }
    });
    present
}

/// Emits the primary language tags, or the plain list if there are more than can be tracked.
fn emit_languages(name: &str, request: &dyn Fields, sink: &mut dyn Sink) -> bool {
    let mut languages = Languages::default();
    let mut present = false;
    each_named(request, name, &mut |line| {
        present = true;
        members(line).for_each(|member| languages.note(member));
    });
    if languages.is_incomplete() {
        return emit_list(name, request, Case::Fold, sink);
    }
    let mut out = Separated { sink, first: true };
    languages.emit(&mut |tag| out.put(tag, b""));
    present
}

struct Separated<'a> {
    sink: &'a mut dyn Sink,
    first: bool,
}

impl Separated<'_> {
    fn put(&mut self, name: &[u8], suffix: &[u8]) {
        if !std::mem::take(&mut self.first) {
            self.sink.put(b", ");
        }
        self.sink.put_lower(name);
        self.sink.put(suffix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Reduce = Reduce {
        accept_encoding: true,
        accept_language: true,
    };

    fn form(name: &str, lines: &[&str], reduce: Reduce) -> Option<String> {
        let fields: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        let mut out = Vec::new();
        let present = normalize(&name.to_ascii_lowercase(), &fields, reduce, &mut out);
        let stored = present.then_some(&*out);
        assert!(matches(name, stored, &fields, reduce), "{name} {lines:?}");
        present.then(|| String::from_utf8(out).expect("utf-8"))
    }

    fn vary(lines: &[&str]) -> Option<Vec<String>> {
        let fields: Vec<_> = lines.iter().map(|line| ("Vary", *line)).collect();
        match Vary::of(&fields) {
            Vary::Fields(names) => Some(names.iter().map(str::to_owned).collect()),
            Vary::Any => None,
        }
    }

    #[test]
    fn nominated_names() {
        // RFC 9110 §12.5.5, RFC 9111 §4.1
        let names = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(vary(&[]), names(&[]));
        assert_eq!(vary(&[""]), names(&[]));
        assert_eq!(
            vary(&["Foo, bar", "FOO, Accept"]),
            names(&["accept", "bar", "foo"])
        );
        for any in [
            &["*"][..],
            &["Foo, *"],
            &["*, Foo"],
            &["Foo", "*"],
            &["F oo"],
            &["\"x\""],
        ] {
            assert_eq!(vary(any), None, "{any:?}");
        }
        let many: Vec<_> = (0..=MAX_VARY).map(|i| format!("x{i}")).collect();
        assert_eq!(vary(&[&many.join(",")]), None);
    }

    #[test]
    fn absent_matches_absent_only() {
        // RFC 9111 §4.1
        let none: [(&str, &str); 0] = [];
        for (stored, request, want) in [
            (None, &none[..], true),
            (None, &[("Foo", "")], false),
            (Some(&b""[..]), &none, false),
            (Some(b""), &[("Foo", "")], true),
            (Some(b"1"), &[("Foo", "1")], true),
            (Some(b"1"), &[("Foo", "12")], false),
            (Some(b"12"), &[("Foo", "1")], false),
            (Some(b"1"), &[("Foo", "1"), ("Foo", "2")], false),
            (Some(b"a"), &[("Foo", "A")], false),
        ] {
            let got = matches("foo", stored, &request, Reduce::default());
            assert_eq!(got, want, "{stored:?} {request:?}");
        }
    }

    #[test]
    fn lines_and_white_space_do_not_matter() {
        // RFC 9111 §4.1
        let plain = Reduce::default();
        for lines in [
            &["1, 2"][..],
            &["1,2"],
            &[" 1 ,\t2 "],
            &["1", "2"],
            &["1,,2"],
        ] {
            assert_eq!(
                form("Foo", lines, plain).as_deref(),
                Some("1, 2"),
                "{lines:?}"
            );
        }
        assert_eq!(
            form("Foo", &["a=\"1,2\",b"], plain).as_deref(),
            Some("a=\"1,2\", b")
        );
        assert_eq!(form("Foo", &["2, 1"], plain).as_deref(), Some("2, 1"));
        assert_eq!(
            form("Accept-Language", &["EN,de"], plain).as_deref(),
            Some("en, de")
        );
    }

    #[test]
    fn accept_encoding_is_reduced_to_a_set() {
        // RFC 9110 §12.5.3
        for (lines, want) in [
            (&["gzip, deflate, br, zstd"][..], "zstd, br, gzip, deflate"),
            (&["BR;q=1.0, x-gzip;q=0.5"], "br, gzip"),
            (&["br", "gzip"], "br, gzip"),
            (&["gzip, gzip;q=0.1"], "gzip"),
            (&["br;q=0, gzip"], "gzip"),
            (&["br;q=0.000, gzip ; q=0.001"], "gzip"),
            (&["identity"], ""),
            (&[""], ""),
            (&["*"], "*"),
            (&["*, br;q=0"], "*, br;q=0"),
            (&["gzip, *;q=0"], "gzip, identity;q=0"),
            (&["identity;q=0, br"], "br, identity;q=0"),
            // an unknown coding may affect the response: it is kept
            (&["dcb, gzip, DCZ"], "gzip, dcb, dcz"),
            (&["dcb;q=0, gzip"], "gzip"),
        ] {
            assert_eq!(
                form("Accept-Encoding", lines, BOTH).as_deref(),
                Some(want),
                "{lines:?}"
            );
        }
        assert_eq!(form("Accept-Encoding", &[], BOTH), None);
    }

    #[test]
    fn accept_language_is_reduced_to_primary_tags() {
        // RFC 9110 §12.5.4
        for (lines, want) in [
            (&["en-GB,en;q=0.9,de;q=0.8"][..], "en, de"),
            (&["de;q=0.8, en-US"], "en, de"),
            (&["en", "de"], "en, de"),
            (&["fr;q=0, en"], "en"),
            (&["*"], "*"),
            (&["en;q=0.5, de;q=0.5"], "en, de"),
            (&["zh-Hant-TW, ZH;q=0.1"], "zh"),
            (&["abcdefghi, en"], "abcdefghi, en"), // not a language tag: kept unchanged
            (&[""], ""),
        ] {
            assert_eq!(
                form("Accept-Language", lines, BOTH).as_deref(),
                Some(want),
                "{lines:?}"
            );
        }
        let many: Vec<_> = (b'a'..=b'z')
            .map(|c| format!("{0}{0}", char::from(c)))
            .collect();
        let many = many.join(", ");
        assert_eq!(form("Accept-Language", &[&many], BOTH), Some(many));
    }

    #[test]
    fn only_two_fields_can_be_reduced() {
        let mut reduce = Reduce::default();
        assert_eq!(reduce.add("Accept-Encoding"), Ok(()));
        assert_eq!(reduce.add("ACCEPT-LANGUAGE"), Ok(()));
        assert_eq!(reduce.add("Cookie"), Err(NotReducible));
        assert_eq!(reduce, BOTH);
    }
}
