//! The age of a response (RFC 9111 §4.2.3, §5.1).

use super::fields::first;
use super::syntax::{delta_seconds, members};
use super::{Fields, Millis, seconds};

/// Returns the value of `Age` in seconds: the first list member of the first line. Returns `None` if the
/// field is absent or malformed; a cache treats both alike (RFC 9111 §5.1).
pub fn parse(fields: &dyn Fields) -> Option<u32> {
    first(fields, "age", parse_line)
}

pub(super) fn parse_line(line: &[u8]) -> Option<u32> {
    members(line).next().and_then(delta_seconds)
}

/// The inputs of the corrected initial age (RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug)]
pub struct AgeInput {
    /// The response's `Date`, if it is valid.
    pub date: Option<Millis>,
    /// The response's `Age` in seconds, if it is valid.
    pub age: Option<u32>,
    /// The time at which the request was sent.
    pub request_time: Millis,
    /// The time at which the response header arrived.
    pub response_time: Millis,
}

/// `corrected_initial_age` (RFC 9111 §4.2.3) in milliseconds: the age at `response_time`.
///
/// `Date` has a resolution of one second, so the apparent age is computed in whole seconds; otherwise every
/// response would appear up to a second older than it is.
pub fn initial(input: &AgeInput) -> Millis {
    let whole_second = input.response_time / 1000 * 1000;
    let apparent_age = input
        .date
        .map_or(0, |date| whole_second.saturating_sub(date));
    let response_delay = input.response_time.saturating_sub(input.request_time);
    let corrected_age_value = input.age.map_or(0, seconds).saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

/// `current_age` (RFC 9111 §4.2.3) in milliseconds: the corrected initial age plus the time that the response
/// has resided in this cache.
pub fn current(initial: Millis, response_time: Millis, now: Millis) -> Millis {
    initial.saturating_add(now.saturating_sub(response_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_member_counts() {
        // RFC 9111 §5.1
        for (lines, want) in [
            (&["7200"][..], Some(7200)),
            (&["0"], Some(0)),
            (&["7200, 0"], Some(7200)),
            (&["0, 7200"], Some(0)),
            (&["7200", "0"], Some(7200)),
            (&["a, 7200"], None),
            (&["a", "7200"], None),
            (&["-7200"], None),
            (&["7200.0"], None),
            (&["7200a"], None),
            (&["7200;a=b"], None),
            (&["\"7200\""], None),
            (&["99999999999999999999"], Some(1 << 31)),
            (&[""], None),
            (&[], None),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("Age", line)).collect();
            assert_eq!(parse(&fields), want, "{lines:?}");
        }
    }

    #[test]
    fn initial_age() {
        // RFC 9111 §4.2.3: (Date, Age in s, request, response) -> corrected_initial_age
        for (date, age, request_time, response_time, want) in [
            (Some(100_000), None, 100_000, 100_000, 0),
            (Some(100_000), None, 100_200, 100_900, 700),
            (Some(100_000), None, 105_000, 105_400, 5_000),
            (Some(100_000), Some(10), 105_000, 105_400, 10_400),
            (Some(100_000), Some(1), 105_000, 105_400, 5_000),
            (Some(900_000), None, 100_000, 103_000, 3_000), // Date in the future
            (None, None, 100_000, 103_000, 3_000),
            (None, Some(60), 100_000, 103_000, 63_000),
            (None, None, 103_000, 100_000, 0), // the clock was set back
            (Some(0), Some(1 << 31), 0, u64::MAX, u64::MAX),
        ] {
            let input = AgeInput {
                date,
                age,
                request_time,
                response_time,
            };
            assert_eq!(initial(&input), want, "{input:?}");
        }
    }

    #[test]
    fn current_age_grows_with_residence() {
        // RFC 9111 §4.2.3
        assert_eq!(current(700, 100_000, 130_000), 30_700);
        assert_eq!(current(700, 100_000, 90_000), 700);
    }
}
