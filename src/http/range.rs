//! Byte ranges (RFC 9110 §14).

use super::Fields;
use super::fields::{Single, is, single};
use super::limits::MAX_RANGES;
use super::syntax::{digits, trim};

/// A range of bytes of a representation, both ends included: `first <= last < length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// The number of bytes, at least one.
    pub fn size(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// The result of `Range` for a representation of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeVerdict {
    /// Send the whole representation: `Range` is absent, has another unit, is malformed, or is refused
    /// because it has too many or overlapping ranges.
    Ignore,
    /// Send a 206 with these ranges, at least one, in the order requested.
    Satisfiable(Vec<ByteRange>),
    /// Send a 416.
    Unsatisfiable,
}

/// Evaluates the `Range` field of a GET request. More than one line counts as malformed.
pub fn evaluate(request: &dyn Fields, length: u64) -> RangeVerdict {
    match single(request, "range", |value| Some(parse(value, length))) {
        Single::One(Some(verdict)) => verdict,
        _ => RangeVerdict::Ignore,
    }
}

/// Returns whether the request's first byte range begins at `offset` or later, or is a suffix range (as
/// nginx's `ngx_http_upstream_cache_check_range` does).
pub fn begins_at_or_beyond(request: &dyn Fields, offset: u64) -> bool {
    let begins = |value: &[u8]| {
        let equals = value.iter().position(|b| *b == b'=')?;
        let set = value.get(equals + 1..)?;
        let first = trim(set.split(|b| *b == b'-').next()?);
        let start = match first {
            [] => u64::MAX,
            first => digits(first)?,
        };
        is(trim(value.get(..equals)?), "bytes").then_some(start >= offset)
    };
    matches!(single(request, "range", begins), Single::One(Some(true)))
}

/// Parses one `Range` value against the length of the representation in bytes.
///
/// More than [`MAX_RANGES`] ranges, or any two that overlap, are refused: sending the whole is cheaper, and
/// RFC 9110 §14.2 allows it.
pub fn parse(value: &[u8], length: u64) -> RangeVerdict {
    read(value, length).unwrap_or(RangeVerdict::Ignore)
}

/// Parses the byte range set; `None` if it is invalid or refused.
fn read(value: &[u8], length: u64) -> Option<RangeVerdict> {
    let equals = value.iter().position(|b| *b == b'=')?;
    if !is(trim(value.get(..equals)?), "bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    let mut specs = 0;
    for spec in value.get(equals + 1..)?.split(|b| *b == b',').map(trim) {
        if spec.is_empty() {
            continue; // RFC 9110 §5.6.1: empty list members are ignored
        }
        specs += 1;
        match resolve(spec, length)? {
            Spec::Range(range) => ranges.push(range),
            Spec::Beyond => {}
            Spec::Everything => return None,
        }
        if specs > MAX_RANGES {
            return None;
        }
    }
    match (specs, ranges.is_empty()) {
        (0, _) => None,
        (_, true) => Some(RangeVerdict::Unsatisfiable),
        _ if overlap(&ranges) => None,
        _ => Some(RangeVerdict::Satisfiable(ranges)),
    }
}

enum Spec {
    Range(ByteRange),
    /// The range is unsatisfiable.
    Beyond,
    /// The range is satisfiable, but the representation is empty: `Content-Range` can't express it.
    Everything,
}

/// Resolves one range-spec against the length (RFC 9110 §14.1.2). Returns `None` if it is invalid.
fn resolve(spec: &[u8], length: u64) -> Option<Spec> {
    let dash = spec.iter().position(|b| *b == b'-')?;
    let (first, last) = (spec.get(..dash)?, spec.get(dash + 1..)?);
    if first.is_empty() {
        return Some(suffix(digits(last)?, length));
    }
    let first = digits(first)?;
    let last = match last {
        [] => u64::MAX,
        last => digits(last)?,
    };
    if last < first {
        return None; // RFC 9110 §14.1.1: invalid
    }
    if first >= length {
        return Some(Spec::Beyond);
    }
    let last = last.min(length - 1);
    Some(Spec::Range(ByteRange { first, last }))
}

fn suffix(wanted: u64, length: u64) -> Spec {
    match (wanted, length) {
        (0, _) => Spec::Beyond,
        (_, 0) => Spec::Everything,
        _ => Spec::Range(ByteRange {
            first: length.saturating_sub(wanted),
            last: length - 1,
        }),
    }
}

fn overlap(ranges: &[ByteRange]) -> bool {
    ranges.iter().enumerate().any(|(i, a)| {
        ranges
            .iter()
            .skip(i + 1)
            .any(|b| a.first <= b.last && b.first <= a.last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(u64, u64)]) -> RangeVerdict {
        let ranges = list.iter().map(|&(first, last)| ByteRange { first, last });
        RangeVerdict::Satisfiable(ranges.collect())
    }

    #[test]
    fn ranges_against_ten_thousand_bytes() {
        use RangeVerdict::{Ignore, Unsatisfiable};
        // RFC 9110 §14.1.1, §14.1.2, §14.2
        for (value, want) in [
            ("bytes=0-499", parts(&[(0, 499)])),
            ("bytes=500-999", parts(&[(500, 999)])),
            ("bytes=-500", parts(&[(9500, 9999)])),
            ("bytes=9500-", parts(&[(9500, 9999)])),
            ("bytes=0-0,-1", parts(&[(0, 0), (9999, 9999)])),
            (
                "bytes= 0-999, 4500-5499, -1000",
                parts(&[(0, 999), (4500, 5499), (9000, 9999)]),
            ),
            ("bytes=500-600,601-999", parts(&[(500, 600), (601, 999)])),
            ("Bytes=0-", parts(&[(0, 9999)])),
            ("bytes=9000-20000", parts(&[(9000, 9999)])),
            ("bytes=-20000", parts(&[(0, 9999)])),
            ("bytes=0-99999999999999999999999", parts(&[(0, 9999)])),
            ("bytes=20000-, 0-0", parts(&[(0, 0)])),
            ("bytes=5-9,,0-1", parts(&[(5, 9), (0, 1)])),
            ("bytes=10000-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=500-700,601-999", Ignore),
            ("bytes=0-,0-,0-", Ignore),
            ("bytes=5-4", Ignore),
            ("bytes=0-1, 5-4", Ignore),
            ("bytes=", Ignore),
            ("bytes=-", Ignore),
            ("bytes=a-b", Ignore),
            ("bytes=1-2-3", Ignore),
            ("bytes=+1-2", Ignore),
            ("bytes 0-1", Ignore),
            ("items=0-1", Ignore),
            ("", Ignore),
        ] {
            assert_eq!(parse(value.as_bytes(), 10_000), want, "{value:?}");
        }
    }

    #[test]
    fn an_empty_representation() {
        // RFC 9110 §14.1.2, §14.2
        assert_eq!(parse(b"bytes=-5", 0), RangeVerdict::Ignore);
        assert_eq!(parse(b"bytes=0-", 0), RangeVerdict::Unsatisfiable);
    }

    #[test]
    fn where_a_range_begins() {
        for (value, offset, want) in [
            ("bytes=100-", 100, true),
            ("bytes=99-200", 100, false),
            ("Bytes= 100 -200", 100, true),
            ("bytes=0-1,500-", 100, false),
            ("bytes=500-,0-1", 100, true),
            ("bytes=-1", 100, true),
            ("bytes=0-", 0, true),
            ("bytes=99999999999999999999999-", 100, true),
            ("items=100-", 100, false),
            ("bytes=a-b", 100, false),
            ("bytes 500-", 100, false),
            ("", 0, false),
        ] {
            let found = begins_at_or_beyond(&[("Range", value)], offset);
            assert_eq!(found, want, "{value:?} {offset}");
        }
        assert!(!begins_at_or_beyond(&[("X", "bytes=500-")], 0));
    }

    #[test]
    fn many_ranges_are_refused() {
        // RFC 9110 §14.2, §17.15
        let list = |n: u64| {
            let specs: Vec<_> = (0..n).map(|i| format!("{0}-{0}", i * 2)).collect();
            parse(format!("bytes={}", specs.join(",")).as_bytes(), 10_000)
        };
        let most = MAX_RANGES as u64;
        assert!(matches!(list(most), RangeVerdict::Satisfiable(r) if r.len() == MAX_RANGES));
        assert_eq!(list(most + 1), RangeVerdict::Ignore);
    }

    #[test]
    fn the_field_stands_alone() {
        let range = ("Range", "bytes=0-1");
        assert_eq!(evaluate(&[range], 10), parts(&[(0, 1)]));
        assert_eq!(evaluate(&[range, range], 10), RangeVerdict::Ignore);
        assert_eq!(evaluate(&[("X", "y")], 10), RangeVerdict::Ignore);
        assert_eq!(ByteRange { first: 3, last: 3 }.size(), 1);
    }
}
