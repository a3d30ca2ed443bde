//! HTTP dates (RFC 9110 §5.6.7, RFC 9111 §4.2).

use super::Millis;
use super::syntax::trim;
use httpdate::HttpDate;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a date in the preferred format (IMF-fixdate) in bytes.
pub const LEN: usize = 29;

/// Parses a date in any of the three formats of RFC 9110 §5.6.7. A zone other than GMT makes it invalid; case
/// and a wrong day of the week are ignored (RFC 9111 §4.2). Returns `None` for an invalid date and for one
/// before 1970; callers treat both as the past.
pub fn parse(value: &[u8]) -> Option<Millis> {
    let mut buffer = [0; LONGEST];
    let text = canonical_case(trim(value), &mut buffer)?;
    let at = httpdate::parse_http_date(text).ok();
    let at = at.or_else(|| on_another_weekday(text))?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs().saturating_mul(1000))
}

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Parses a date whose day of the week is wrong. The parser accepts the right day only, so either one of the
/// seven days parses or the date is invalid.
fn on_another_weekday(text: &str) -> Option<SystemTime> {
    let (named, rest) = text.split_at(text.find([',', ' '])?);
    let is_short = WEEKDAYS.iter().any(|day| day.get(..3) == Some(named));
    if !is_short && !WEEKDAYS.contains(&named) {
        return None;
    }
    WEEKDAYS.iter().find_map(|day| {
        let day = if is_short { day.get(..3)? } else { day };
        httpdate::parse_http_date(&format!("{day}{rest}")).ok()
    })
}

/// The length of the longest form: `Wednesday, 09-Nov-94 08:49:37 GMT`.
const LONGEST: usize = 33;

/// The last second of the year 9999; the format has four digits for a year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Copies the date with capitalised words and `GMT` in capitals, as the parser expects them (RFC 9111 §4.2:
/// dates are matched case-insensitively).
fn canonical_case<'a>(value: &[u8], buffer: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let text = buffer.get_mut(..value.len())?;
    text.copy_from_slice(value);
    let mut in_word = false;
    for b in text.iter_mut() {
        match in_word {
            true => b.make_ascii_lowercase(),
            false => b.make_ascii_uppercase(),
        }
        in_word = b.is_ascii_alphabetic();
    }
    if let Some(zone) = text.last_chunk_mut::<3>().filter(|zone| *zone == b"Gmt") {
        zone.make_ascii_uppercase();
    }
    std::str::from_utf8(text).ok()
}

/// Formats `at` in the preferred format, truncated to whole seconds: `Sun, 06 Nov 1994 08:49:37 GMT`. A time
/// after the year 9999 is written as the last second of that year.
pub fn format(at: Millis) -> [u8; LEN] {
    let seconds = Duration::from_secs((at / 1000).min(LAST_SECOND));
    let date = SystemTime::checked_add(&UNIX_EPOCH, seconds).unwrap_or(UNIX_EPOCH);
    let mut text = [b' '; LEN];
    // Cannot fail: the text is always exactly `LEN` bytes long.
    let _ = write!(text.as_mut_slice(), "{}", HttpDate::from(date));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOV_6: Millis = 784_111_777_000;

    #[test]
    fn three_formats_gmt_only() {
        // RFC 9110 §5.6.7, RFC 9111 §4.2
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(NOV_6)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(NOV_6)),
            ("Sun Nov  6 08:49:37 1994", Some(NOV_6)),
            (" Sun, 06 Nov 1994 08:49:37 GMT\t", Some(NOV_6)),
            ("sun, 06 nOV 1994 08:49:37 gmt", Some(NOV_6)),
            ("SUN NOV  6 08:49:37 1994", Some(NOV_6)),
            (
                "Wednesday, 09-Nov-94 08:49:37 GMT",
                Some(NOV_6 + 3 * 86_400_000),
            ),
            // The wrong day of the week is ignored (RFC 9111 §4.2)
            ("Mon, 06 Nov 1994 08:49:37 GMT", Some(NOV_6)),
            ("Wednesday, 06-Nov-94 08:49:37 GMT", Some(NOV_6)),
            ("Sat Nov  6 08:49:37 1994", Some(NOV_6)),
            ("Mon, 31 Nov 1994 08:49:37 GMT", None),
            ("Moonday, 06-Nov-94 08:49:37 GMT", None),
            ("Son, 06 Nov 1994 08:49:37 GMT", None),
            (", 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 08:49:37 EST", None),
            ("Sun, 06 Nov 1994 08:49:37 +0000", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06-Nov-1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1894 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT, x", None),
            ("0", None),
            ("-1", None),
            ("784111777", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 \xff\xfe\xfd"), None);
    }

    #[test]
    fn writes_the_preferred_format() {
        // RFC 9110 §5.6.7
        assert_eq!(&format(NOV_6 + 999), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(Millis::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
