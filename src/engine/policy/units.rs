//! The times and sizes of a configuration, parsed the same way for every host.

use crate::http::syntax::digits;
use crate::store::Millis;

const SECOND: Millis = 1_000;
const DAY: Millis = 86_400 * SECOND;

/// Units of time from the largest to the smallest; a month has 30 days and a year 365 (ngx_parse_time).
const UNITS: [(&[u8], Millis); 8] = [
    (b"y", 365 * DAY),
    (b"M", 30 * DAY),
    (b"w", 7 * DAY),
    (b"d", DAY),
    (b"h", 3_600 * SECOND),
    (b"m", 60 * SECOND),
    (b"s", SECOND),
    (b"ms", 1),
];

/// Parses a time in nginx's grammar, in milliseconds: numbers with units, from the largest unit to the smallest, each
/// at most once, optionally separated by spaces (`500ms`, `1h30m`, `1d 2h`, `1M`, `1y`). A final number without a unit
/// is in seconds.
///
/// Returns `None` for anything else, and for a time that exceeds `i64::MAX` milliseconds.
pub fn time(text: &[u8]) -> Option<Millis> {
    let (mut rest, mut total, mut units) = (trim_start(text), 0u64, &UNITS[..]);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.iter().position(|b| !b.is_ascii_digit());
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let (unit, after) = unit_of(after);
        let scale = match unit {
            b"" if trim_start(after).is_empty() => SECOND,
            _ => {
                let at = units.iter().position(|(name, _)| *name == unit)?;
                let scale = units.get(at)?.1;
                units = units.get(at + 1..).unwrap_or_default();
                scale
            }
        };
        total = total.checked_add(digits(number)?.checked_mul(scale)?)?;
        rest = trim_start(after);
    }
    i64::try_from(total).is_ok().then_some(total)
}

/// Parses a size in nginx's grammar, in bytes: a number, optionally with `k`, `m` or `g` in either case
/// (ngx_parse_offset).
///
/// Returns `None` for anything else, and for a size that exceeds `i64::MAX` bytes.
pub fn size(text: &[u8]) -> Option<u64> {
    let (last, number) = text.split_last()?;
    let (number, shift) = match last.to_ascii_lowercase() {
        b'k' => (number, 10),
        b'm' => (number, 20),
        b'g' => (number, 30),
        _ => (text, 0),
    };
    let bytes = digits(number)?.checked_mul(1 << shift)?;
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// Splits off the letters that `text` begins with.
fn unit_of(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_alphabetic());
    text.split_at(end.unwrap_or(text.len()))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| *b != b' ');
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_in_nginx() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("1k", Some(1 << 10)),
            ("2K", Some(2 << 10)),
            ("3m", Some(3 << 20)),
            ("4G", Some(4 << 30)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("8589934592g", None),
            ("99999999999999999999", None),
            ("", None),
            ("k", None),
            ("1 k", None),
            ("1kb", None),
            ("1t", None),
            ("-1", None),
            ("1.5g", None),
        ] {
            assert_eq!(size(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn times_are_as_in_nginx() {
        for (text, ms) in [
            ("90", Some(90_000)),
            ("0", Some(0)),
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30", Some(3_630_000)),
            ("500ms", Some(500)),
            ("1s500ms", Some(1_500)),
            ("1d", Some(DAY)),
            ("1d 2h", Some(DAY + 7_200_000)),
            ("1d  2h ", Some(DAY + 7_200_000)),
            ("1w", Some(7 * DAY)),
            ("1M", Some(30 * DAY)),
            ("1y", Some(365 * DAY)),
            ("1y2M 3d", Some(428 * DAY)),
            ("292271023y", Some(292_271_023 * 365 * DAY)),
            ("1s1m", None),
            ("1h1h", None),
            ("1d 2 h", None),
            ("2 1d", None),
            ("1m500", Some(560_000)),
            ("", None),
            (" ", None),
            ("x", None),
            ("h", None),
            ("1x", None),
            ("1Y", None),
            ("-1", None),
            ("1.5h", None),
            ("1d,2h", None),
            ("99999999999999999999", None),
            ("292471209y", None),
            ("é", None),
        ] {
            assert_eq!(time(text.as_bytes()), ms, "{text}");
        }
    }
}
