//! `Retry-After` (RFC 9110 §10.2.3).

use super::fields::first;
use super::syntax::delta_seconds;
use super::{DELTA_MAX, Fields, Millis, date, seconds};

/// Returns how long the origin asks clients to wait, in milliseconds from `now`. The field holds
/// delta-seconds or a date (0 if that is past). Returns `None` if it is absent or malformed.
pub fn parse(fields: &dyn Fields, now: Millis) -> Option<Millis> {
    first(fields, "retry-after", |value| parse_value(value, now))
}

/// Parses one value of the field, as [`parse`] does.
pub fn parse_value(value: &[u8], now: Millis) -> Option<Millis> {
    if let Some(delta) = delta_seconds(value) {
        return Some(seconds(delta));
    }
    let until = date::parse(value)?;
    Some(until.saturating_sub(now).min(seconds(DELTA_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delta_or_date() {
        // RFC 9110 §10.2.3
        let now = 784_111_777_000;
        for (value, want) in [
            ("120", Some(120_000)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(seconds(DELTA_MAX))),
            ("99999999999", Some(seconds(DELTA_MAX))),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
        ] {
            assert_eq!(parse(&[("Retry-After", value)], now), want, "{value:?}");
        }
        assert_eq!(parse(&[("X", "120")], now), None);
    }
}
