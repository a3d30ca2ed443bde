//! Evaluates a client's preconditions against the selected response (RFC 9110 §13, RFC 9111 §4.3.2).

use super::etag::{Comparison, names};
use super::fields::{Single, each_named, single};
use super::syntax::trim;
use super::{Etag, Fields, Millis, date};
use http::Method;

/// Who evaluates the preconditions. `If-Match` and `If-Unmodified-Since` are for the origin only (RFC 9110
/// §13.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A cache: it skips steps 1 and 2 of RFC 9110 §13.2.2.
    Cache,
    /// The origin, or a cache that answers in its place: it evaluates all steps.
    Origin,
}

/// The response that the request selected.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The status code; preconditions are evaluated for a 2xx only (RFC 9110 §13.2.1).
    pub status: u16,
    /// The field value of `ETag`, the origin's or synthesised.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified`, the origin's or synthesised.
    pub last_modified: Option<Millis>,
    /// `Date`, or the time at which the response was received.
    pub date: Millis,
    /// Whether this cache synthesised the validators, which makes them weak.
    pub synthesised: bool,
}

/// The outcome of the preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Process the request as usual, `Range` included.
    Proceed,
    /// Answer 304 (Not Modified).
    NotModified,
    /// Answer 412 (Precondition Failed).
    Failed,
}

/// The outcome of `If-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// The request has no `If-Range`: `Range` applies.
    Absent,
    /// The condition is true: `Range` applies.
    Holds,
    /// The condition is false: `Range` is ignored.
    Fails,
}

/// Evaluates the preconditions in the order that RFC 9110 §13.2.2 prescribes.
pub fn evaluate(
    method: &Method,
    request: &dyn Fields,
    selected: &Selected<'_>,
    role: Role,
) -> Precondition {
    if !(200..300).contains(&selected.status) {
        return Precondition::Proceed; // RFC 9110 §13.2.1
    }
    if role == Role::Origin && !unchanged(request, selected) {
        return Precondition::Failed; // steps 1 and 2
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && selected.status != 200 {
        return Precondition::Proceed; // A 304 can only stand for a 200 (RFC 9110 §15.4.5).
    }
    match if_none_match(request, selected) {
        Some(true) => Precondition::Proceed,
        Some(false) if reads => Precondition::NotModified,
        Some(false) => Precondition::Failed,
        None if reads && !if_modified_since(request, selected) => Precondition::NotModified,
        None => Precondition::Proceed,
    }
}

/// Evaluates `If-Match` (RFC 9110 §13.1.1), or `If-Unmodified-Since` (§13.1.4) in its absence.
fn unchanged(request: &dyn Fields, selected: &Selected<'_>) -> bool {
    if let Some(listed) = lists(request, "if-match", selected, Comparison::Strong) {
        return listed;
    }
    match single(request, "if-unmodified-since", date::parse) {
        Single::One(Some(since)) => selected.last_modified.is_none_or(|at| at <= since),
        _ => true,
    }
}

/// Evaluates `If-None-Match` (RFC 9110 §13.1.2): true if no listed entity tag matches; `None` without the
/// field.
fn if_none_match(request: &dyn Fields, selected: &Selected<'_>) -> Option<bool> {
    lists(request, "if-none-match", selected, Comparison::Weak).map(|listed| !listed)
}

/// Evaluates `If-Modified-Since` (RFC 9110 §13.1.3): true if the response was modified since, or if the field
/// is absent or invalid. A response without `Last-Modified` is compared by its `Date` (RFC 9111 §4.3.2).
fn if_modified_since(request: &dyn Fields, selected: &Selected<'_>) -> bool {
    match single(request, "if-modified-since", date::parse) {
        Single::One(Some(since)) => selected.last_modified.unwrap_or(selected.date) > since,
        _ => true,
    }
}

/// Returns whether the field lists the selected response's entity tag, or is `*`; `None` without the field.
fn lists(
    request: &dyn Fields,
    name: &str,
    selected: &Selected<'_>,
    how: Comparison,
) -> Option<bool> {
    let mut found = None;
    each_named(request, name, &mut |line| {
        let listed = line == b"*" || selected.etag.is_some_and(|own| names(line, own, how));
        found = Some(found.unwrap_or(false) || listed);
    });
    found
}

/// Evaluates `If-Range` (RFC 9110 §13.1.5): only a strong validator that matches exactly makes it true.
pub fn if_range(request: &dyn Fields, selected: &Selected<'_>) -> IfRange {
    match single(request, "if-range", |value| Some(holds(value, selected))) {
        Single::Absent => IfRange::Absent,
        Single::One(Some(true)) => IfRange::Holds,
        _ => IfRange::Fails,
    }
}

fn holds(value: &[u8], selected: &Selected<'_>) -> bool {
    if selected.synthesised {
        return false;
    }
    let value = trim(value);
    if let Some(tag) = Etag::parse(value) {
        let own = selected.etag.and_then(Etag::parse);
        return own.is_some_and(|own| own.matches(&tag, Comparison::Strong));
    }
    date::parse(value).is_some_and(|at| strong_date(selected) == Some(at))
}

/// Returns `Last-Modified` if it is a strong validator, that is, at least one second earlier than `Date` (RFC
/// 9110 §8.8.2.2).
fn strong_date(selected: &Selected<'_>) -> Option<Millis> {
    let at = selected.last_modified?;
    (selected.date >= at.saturating_add(1000)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Precondition::{Failed, NotModified, Proceed};

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const T: Millis = 784_111_777_000;
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn selected(etag: &'static str) -> Selected<'static> {
        Selected {
            status: 200,
            etag: Some(etag.as_bytes()).filter(|etag| !etag.is_empty()),
            last_modified: Some(T),
            date: T + 60_000,
            synthesised: false,
        }
    }

    fn as_cache(fields: &[(&str, &str)], selected: &Selected<'_>) -> Precondition {
        evaluate(&Method::GET, &fields, selected, Role::Cache)
    }

    const INM: &str = "If-None-Match";
    const IMS: &str = "If-Modified-Since";

    #[test]
    fn if_none_match_compares_weakly_and_comes_first() {
        // RFC 9110 §13.1.2, §13.2.2
        for (own, fields, want) in [
            ("\"a\"", vec![(INM, "\"a\"")], NotModified),
            ("\"a\"", vec![(INM, "W/\"a\"")], NotModified),
            ("W/\"a\"", vec![(INM, "\"a\"")], NotModified),
            ("\"a\"", vec![(INM, "\"b\", \"a\"")], NotModified),
            ("\"a\"", vec![(INM, "\"b\""), (INM, "\"a\"")], NotModified),
            ("\"a,b\"", vec![(INM, "\"x\", \"a,b\"")], NotModified),
            ("\"a\"", vec![(INM, "*")], NotModified),
            ("", vec![(INM, "*")], NotModified),
            ("\"a\"", vec![(INM, "\"b\"")], Proceed),
            ("\"a\"", vec![(INM, "a")], Proceed),
            ("", vec![(INM, "\"a\"")], Proceed),
            ("\"a\"", vec![(INM, "\"*\"")], Proceed),
            // A tag without the quotes that the grammar requires, sent back as it was received
            ("a", vec![(INM, "a")], NotModified),
            ("a", vec![(INM, "\"b\", a")], NotModified),
            ("a", vec![(INM, "\"a\"")], Proceed),
            ("a", vec![(INM, "b"), (IMS, AFTER)], Proceed),
            // If-Modified-Since is ignored beside If-None-Match
            ("\"a\"", vec![(INM, "\"b\""), (IMS, AFTER)], Proceed),
            ("\"a\"", vec![(INM, "junk"), (IMS, AFTER)], Proceed),
            ("\"a\"", vec![(IMS, BEFORE), (INM, "\"a\"")], NotModified),
        ] {
            assert_eq!(as_cache(&fields, &selected(own)), want, "{own} {fields:?}");
        }
    }

    #[test]
    fn if_modified_since() {
        // RFC 9110 §13.1.3
        let own = selected("");
        for (fields, want) in [
            (vec![(IMS, AT)], NotModified),
            (vec![(IMS, AFTER)], NotModified),
            (vec![(IMS, BEFORE)], Proceed),
            (vec![(IMS, "yesterday")], Proceed),
            (vec![(IMS, AT), (IMS, AT)], Proceed),
            (vec![], Proceed),
        ] {
            assert_eq!(as_cache(&fields, &own), want, "{fields:?}");
        }
        // RFC 9111 §4.3.2: without Last-Modified, compare with Date
        let undated = Selected {
            last_modified: None,
            date: T,
            ..own
        };
        assert_eq!(as_cache(&[(IMS, AT)], &undated), NotModified);
        assert_eq!(as_cache(&[(IMS, BEFORE)], &undated), Proceed);
    }

    #[test]
    fn preconditions_count_for_success_only() {
        // RFC 9110 §13.2.1, §15.4.5
        for (status, want) in [
            (200, NotModified),
            (203, Proceed),
            (204, Proceed),
            (404, Proceed),
            (302, Proceed),
        ] {
            let own = Selected {
                status,
                ..selected("\"a\"")
            };
            assert_eq!(as_cache(&[(INM, "\"a\"")], &own), want, "{status}");
        }
    }

    #[test]
    fn the_origins_own_preconditions() {
        // RFC 9110 §13.1.1, §13.1.4, §13.2.2; RFC 9111 §4.3.2: not for a cache
        const IM: &str = "If-Match";
        const IUS: &str = "If-Unmodified-Since";
        for (fields, want) in [
            (vec![(IM, "\"a\"")], Proceed),
            (vec![(IM, "*")], Proceed),
            (vec![(IM, "W/\"a\"")], Failed),
            (vec![(IM, "\"b\"")], Failed),
            (vec![(IM, "\"b\""), (INM, "\"a\"")], Failed),
            (vec![(IM, "\"a\""), (INM, "\"a\"")], NotModified),
            (vec![(IM, "\"a\""), (IUS, BEFORE)], Proceed),
            (vec![(IUS, AT)], Proceed),
            (vec![(IUS, BEFORE)], Failed),
            (vec![(IUS, "junk")], Proceed),
        ] {
            let own = selected("\"a\"");
            let got = evaluate(&Method::GET, &fields, &own, Role::Origin);
            assert_eq!(got, want, "{fields:?}");
            if want == Failed && fields.len() == 1 {
                assert_eq!(as_cache(&fields, &own), Proceed);
            }
        }
    }

    #[test]
    fn other_methods_fail_instead() {
        // RFC 9110 §13.2.2 step 3 and 4
        let own = selected("\"a\"");
        let put = |fields: &[(&str, &str)]| evaluate(&Method::PUT, &fields, &own, Role::Cache);
        assert_eq!(put(&[(INM, "*")]), Failed);
        assert_eq!(put(&[(IMS, AFTER)]), Proceed);
    }

    #[test]
    fn if_range_is_strong_and_exact() {
        // RFC 9110 §13.1.5, §8.8.2.2
        let own = selected("\"a\"");
        let weak = selected("W/\"a\"");
        let synthesised = Selected {
            synthesised: true,
            ..selected("\"a\"")
        };
        let same_second = Selected { date: T, ..own };
        for (value, own, want) in [
            ("\"a\"", own, IfRange::Holds),
            ("\"b\"", own, IfRange::Fails),
            ("W/\"a\"", own, IfRange::Fails),
            ("W/\"a\"", weak, IfRange::Fails),
            ("\"a\"", weak, IfRange::Fails),
            (AT, own, IfRange::Holds),
            (AFTER, own, IfRange::Fails),
            (BEFORE, own, IfRange::Fails),
            ("a", selected("a"), IfRange::Fails),
            (AT, same_second, IfRange::Fails),
            (AT, synthesised, IfRange::Fails),
            ("\"a\"", synthesised, IfRange::Fails),
            ("a", own, IfRange::Fails),
        ] {
            assert_eq!(if_range(&[("If-Range", value)], &own), want, "{value}");
        }
        assert_eq!(if_range(&[("X", "y")], &own), IfRange::Absent);
        let twice = [("If-Range", "\"a\""), ("If-Range", "\"a\"")];
        assert_eq!(if_range(&twice, &own), IfRange::Fails);
    }
}
