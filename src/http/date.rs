//! HTTP dates (RFC 9110 §5.6.7, RFC 9111 §4.2).

use super::Millis;
use super::syntax::trim;
use std::time::{SystemTime, UNIX_EPOCH};

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
///
/// Every hit writes one or two dates; formatting with `HttpDate` takes three times as many instructions, most of them in
/// `fmt`.
pub fn format(at: Millis) -> [u8; LEN] {
    const NAMES: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let at = (at / 1000).min(LAST_SECOND);
    let (days, second) = ((at / 86_400) as u32, (at % 86_400) as u32);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    put(&mut text, 0, NAMES[days as usize % NAMES.len()]);
    put(&mut text, 5, &two(day));
    put(&mut text, 8, MONTHS[month as usize % MONTHS.len()]);
    put(&mut text, 12, &two(year / 100));
    put(&mut text, 14, &two(year % 100));
    put(&mut text, 17, &two(second / 3600));
    put(&mut text, 20, &two(second / 60 % 60));
    put(&mut text, 23, &two(second % 60));
    text
}

/// Converts a number of days since 1970 to a year, a month (from 0) and a day of the Gregorian calendar. Years are counted from March, so
/// that a leap day is the last day of its year: five months have 153 days then, and 400 years have 146,097.
fn civil(days: u32) -> (u32, u32, u32) {
    // 719,468 days lie between the first of March of the year 0 and 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = (march + 2) % 12;
    (400 * era + year + u32::from(month < 2), month, day)
}

fn two(n: u32) -> [u8; 2] {
    [b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]
}

fn put<const N: usize>(text: &mut [u8; LEN], at: usize, piece: &[u8; N]) {
    if let Some(place) = text.get_mut(at..at + N) {
        place.copy_from_slice(piece);
    }
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

    #[test]
    fn every_day_is_written_as_it_is_read() {
        // 1970 to 9999, each at another second of the day.
        for day in 0..=LAST_SECOND / 86_400 {
            let at = day * 86_400 + day * 7919 % 86_400;
            let text = format(at * 1000);
            let date = UNIX_EPOCH + std::time::Duration::from_secs(at);
            assert_eq!(
                std::str::from_utf8(&text),
                Ok(httpdate::fmt_http_date(date).as_str())
            );
        }
    }
}
