//! Freshens a stored response with a 304 or with the response to a HEAD (RFC 9111 §3.2, §4.3.4, §4.3.5).

use super::etag::Comparison;
use super::fields::{count, first, is};
use super::syntax::{digits, trim};
use super::{Etag, Exclusions, Fields, date};

/// The validators that the origin gave the stored response, as field values; never synthesised ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredValidators<'a> {
    /// `ETag`.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
    /// Whether the request could have selected other stored responses too.
    pub has_other_variants: bool,
}

/// Whether a 304 freshens the stored response (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshen {
    /// It does: the validators match, or neither response has one and no other response is stored.
    Update,
    /// It carries another validator and must not freshen this response.
    Differs,
    /// It does not identify a stored response: it has no validator although the stored response has one, or
    /// several responses are stored. Whether it fits depends on what the request asked.
    Unidentified,
}

impl Freshen {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Freshen::Update => "validated",
            Freshen::Differs => "validator-differs",
            Freshen::Unidentified => "validator-unidentified",
        }
    }
}

/// Decides whether a 304 to a conditional request made for the stored response freshens it.
///
/// The entity tags decide if both responses have one, else the dates do. Tags are compared weakly, as the
/// origin compared them (RFC 9110 §13.1.2): an origin that compresses weakens the tag of its 200 but sends
/// the strong one with its 304 (nginx's gzip filter).
pub fn freshens(stored: &StoredValidators<'_>, response: &dyn Fields) -> Freshen {
    let has_etag = count(response, "etag") > 0;
    let has_date = count(response, "last-modified") > 0;
    match stored.etag {
        Some(own) if has_etag => compare_etag(own, response),
        _ if has_date => compare_date(stored.last_modified, response),
        _ if has_etag => Freshen::Differs,
        None if stored.last_modified.is_none() && !stored.has_other_variants => Freshen::Update,
        _ => Freshen::Unidentified,
    }
}

fn compare_etag(own: &[u8], response: &dyn Fields) -> Freshen {
    first(response, "etag", |new| Some(same_etag(own, new))).unwrap_or(Freshen::Differs)
}

fn same_etag(own: &[u8], new: &[u8]) -> Freshen {
    let (Some(old), Some(tag)) = (Etag::parse(own), Etag::parse(new)) else {
        return update_if(trim(own) == new);
    };
    update_if(tag.matches(&old, Comparison::Weak))
}

fn compare_date(own: Option<&[u8]>, response: &dyn Fields) -> Freshen {
    let same = first(response, "last-modified", |new| {
        let own = trim(own?);
        let dates = date::parse(own).zip(date::parse(new));
        Some(dates.map_or(own == new, |(old, new)| old == new))
    });
    update_if(same == Some(true))
}

fn update_if(same: bool) -> Freshen {
    match same {
        true => Freshen::Update,
        false => Freshen::Differs,
    }
}

/// Decides whether a 200 to HEAD freshens a stored GET response (RFC 9111 §4.3.5). If the result is not
/// `Update`, the stored response must be considered stale. `length` is the stored response's length in bytes,
/// if known.
pub fn head_freshens(
    stored: &StoredValidators<'_>,
    length: Option<u64>,
    response: &dyn Fields,
) -> Freshen {
    let same_etag = first(response, "etag", |new| {
        Some(stored.etag.map(trim) == Some(new))
    });
    let has_date = count(response, "last-modified") > 0;
    let same_date = !has_date || compare_date(stored.last_modified, response) == Freshen::Update;
    let same_length = first(response, "content-length", |new| {
        Some(digits(new) == length)
    });
    update_if(same_etag.unwrap_or(true) && same_date && same_length.unwrap_or(true))
}

/// Returns whether the stored field stays even if a 304 carries the field too. RFC 9111 §3.2 requires that
/// all fields are updated except `Content-Length` and those that are not stored at all (§3.1), and lets a
/// cache omit fields "to assure integrity of the stored response": here, the content coding and the range
/// of the stored bytes. `Content-Type` is updated, since this cache stores the content as it was received
/// ("the Content-* prefix is not a signal that a header field is omitted from update").
pub fn is_pinned(name: &[u8]) -> bool {
    const PINNED: [&str; 3] = ["content-length", "content-encoding", "content-range"];
    PINNED.iter().any(|pinned| is(name, pinned))
}

/// Calls `f(name, value)` for each field of the freshened response (RFC 9111 §3.2): stored fields keep their
/// places, a field that the new response has is replaced by all of its lines, and new fields follow.
/// `excluded` names the new fields that are not stored.
///
/// An entity tag that differs only in its weakness does not replace the stored one: the origin weakened that
/// one for the bytes that it compressed, and another variant may have the strong one.
pub fn merge(
    stored: &dyn Fields,
    new: &dyn Fields,
    excluded: &Exclusions,
    f: &mut dyn FnMut(&[u8], &[u8]),
) {
    let has_same_tag = is_same_tag(stored, new);
    let replaces = |name: &[u8]| {
        !(is_pinned(name) || excluded.excludes(name) || has_same_tag && is(name, "etag"))
    };
    let mut line = 0;
    stored.each(&mut |name, value| {
        if !(replaces(name) && has(new, name)) {
            f(name, value);
        } else if lines_before(stored, name, line) == 0 {
            each_line(new, name, f);
        }
        line += 1;
    });
    new.each(&mut |name, value| {
        if replaces(name) && !has(stored, name) {
            f(name, value);
        }
    });
}

/// Returns whether both responses have an entity tag and these match by weak comparison (RFC 9110 §8.8.3.2).
fn is_same_tag(stored: &dyn Fields, new: &dyn Fields) -> bool {
    let is_listed = |own: &[u8]| {
        let own = Etag::parse(own)?;
        let matches = |tag: &[u8]| Some(Etag::parse(tag)?.matches(&own, Comparison::Weak));
        first(new, "etag", matches)
    };
    first(stored, "etag", is_listed) == Some(true)
}

fn has(fields: &dyn Fields, wanted: &[u8]) -> bool {
    lines_before(fields, wanted, usize::MAX) > 0
}

/// Counts the lines of the field `wanted` among the first `end` lines.
fn lines_before(fields: &dyn Fields, wanted: &[u8], end: usize) -> usize {
    let (mut line, mut found) = (0, 0);
    fields.each(&mut |name, _| {
        found += usize::from(line < end && name.eq_ignore_ascii_case(wanted));
        line += 1;
    });
    found
}

fn each_line(fields: &dyn Fields, wanted: &[u8], f: &mut dyn FnMut(&[u8], &[u8])) {
    fields.each(&mut |name, value| {
        if name.eq_ignore_ascii_case(wanted) {
            f(name, value);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use Freshen::{Differs, Unidentified, Update};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SAME_DATE: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
    const OTHER_DATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const ETAG: &str = "ETag";
    const LM: &str = "Last-Modified";

    fn stored<'a>(etag: &'a str, last_modified: &'a str) -> StoredValidators<'a> {
        let given = |s: &'a str| Some(s.as_bytes()).filter(|s| !s.is_empty());
        StoredValidators {
            etag: given(etag),
            last_modified: given(last_modified),
            has_other_variants: false,
        }
    }

    #[test]
    fn a_304_names_what_it_updates() {
        // RFC 9111 §4.3.4
        for (own, response, want) in [
            (stored("\"a\"", ""), vec![(ETAG, "\"a\"")], Update),
            (
                stored("\"a\"", DATE),
                vec![(ETAG, "\"a\""), (LM, OTHER_DATE)],
                Update,
            ),
            (
                stored("\"a\"", DATE),
                vec![(ETAG, "\"b\""), (LM, DATE)],
                Differs,
            ),
            (stored("\"a\"", ""), vec![(ETAG, "\"b\"")], Differs),
            (stored("\"a\"", ""), vec![(ETAG, "W/\"a\"")], Update),
            (stored("W/\"a\"", ""), vec![(ETAG, "W/\"a\"")], Update),
            (stored("W/\"a\"", ""), vec![(ETAG, "W/\"b\"")], Differs),
            (stored("W/\"a\"", ""), vec![(ETAG, "\"a\"")], Update),
            (stored("W/\"a\"", ""), vec![(ETAG, "\"b\"")], Differs),
            (stored("bare", ""), vec![(ETAG, "bare")], Update),
            (stored("bare", ""), vec![(ETAG, "\"bare\"")], Differs),
            (stored("", DATE), vec![(LM, DATE)], Update),
            (stored("", DATE), vec![(LM, SAME_DATE)], Update),
            (stored("", DATE), vec![(LM, OTHER_DATE)], Differs),
            (stored("", DATE), vec![(LM, DATE), (ETAG, "\"a\"")], Update),
            (stored("", DATE), vec![(ETAG, "\"a\"")], Differs),
            (stored("", ""), vec![(LM, DATE)], Differs),
            (stored("\"a\"", DATE), vec![(LM, DATE)], Update),
            (stored("", "junk"), vec![(LM, "junk")], Update),
            // no validator at all
            (stored("", ""), vec![], Update),
            (stored("\"a\"", ""), vec![], Unidentified),
            (stored("", DATE), vec![], Unidentified),
        ] {
            assert_eq!(freshens(&own, &response), want, "{own:?} {response:?}");
        }
        let one_of_many = StoredValidators {
            has_other_variants: true,
            ..stored("", "")
        };
        assert_eq!(freshens(&one_of_many, &[("X", "y")]), Unidentified);
    }

    #[test]
    fn a_head_response_must_agree() {
        // RFC 9111 §4.3.5
        let own = stored("\"a\"", DATE);
        for (response, want) in [
            (vec![], Update),
            (
                vec![(ETAG, "\"a\""), (LM, DATE), ("Content-Length", "5")],
                Update,
            ),
            (vec![(ETAG, "\"b\"")], Differs),
            (vec![(LM, OTHER_DATE)], Differs),
            (vec![(ETAG, "\"a\""), ("Content-Length", "6")], Differs),
            (vec![("Content-Length", "x")], Differs),
        ] {
            assert_eq!(
                head_freshens(&own, Some(5), &response),
                want,
                "{response:?}"
            );
        }
    }

    #[test]
    fn merging_replaces_adds_and_keeps() {
        // RFC 9111 §3.2
        let old = [
            ("Date", "1"),
            ("Link", "a"),
            ("Content-Type", "text/html"),
            ("X-Old", "1"),
            ("link", "b"),
            ("Content-Length", "5"),
        ];
        let new = [
            ("Connection", "X-Hop"),
            ("LINK", "c"),
            ("Date", "2"),
            ("content-type", "text/plain"),
            ("Content-Length", "0"),
            ("Content-Encoding", "gzip"),
            ("X-Hop", "1"),
            ("Link", "d"),
            ("X-New", "1"),
            ("x-new", "2"),
        ];
        let mut got = Vec::new();
        merge(
            &old,
            &new,
            &Exclusions::connection(&new),
            &mut |name, value| {
                let text = [name, b"=", value].concat();
                got.push(String::from_utf8(text).expect("utf-8"));
            },
        );
        let want = [
            "Date=2",
            "LINK=c",
            "Link=d",
            "content-type=text/plain",
            "X-Old=1",
            "Content-Length=5",
            "X-New=1",
            "x-new=2",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_tag_keeps_its_mark() {
        for (old, new, want) in [
            ("W/\"x\"", "\"x\"", "W/\"x\""),
            ("\"x\"", "W/\"x\"", "\"x\""),
            ("\"x\"", "\"x\"", "\"x\""),
            ("\"x\"", "\"y\"", "\"y\""),
            ("bare", "\"bare\"", "\"bare\""),
        ] {
            let (old, new) = ([(ETAG, old)], [(ETAG, new)]);
            let mut got: Vec<u8> = Vec::new();
            let excluded = Exclusions::connection(&new);
            merge(&old, &new, &excluded, &mut |_, value| got.extend(value));
            assert_eq!(got, want.as_bytes(), "{old:?} {new:?}");
        }
    }
}
