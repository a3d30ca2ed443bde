//! The freshness lifetime of a response (RFC 9111 §4.2.1, §4.2.2).

use super::fields::is;
use super::syntax::trim;
use super::{Control, Fields, Millis, Source, age, date, seconds};

/// The value of `Expires` (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The field is absent.
    Absent,
    /// The field is malformed (`0`, for example) and means the past.
    Past,
    /// A date; of several lines, the earliest.
    At(Millis),
}

impl Expiry {
    /// Takes another line into account: the most restrictive one wins, and a malformed one means the past
    /// (RFC 9111 §4.2.1, §5.3).
    fn earlier(self, line: Option<Millis>) -> Expiry {
        match (self, line) {
            (Expiry::Past, _) | (_, None) => Expiry::Past,
            (Expiry::At(old), Some(new)) => Expiry::At(old.min(new)),
            (Expiry::Absent, Some(new)) => Expiry::At(new),
        }
    }
}

/// The dates and the age that a response states, read in one pass over its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `Date`, if valid.
    pub date: Option<Millis>,
    /// `Expires`.
    pub expires: Expiry,
    /// `Last-Modified`, if valid.
    pub last_modified: Option<Millis>,
    /// `Age` in seconds, if valid.
    pub age: Option<u32>,
}

impl Times {
    /// Reads them from the fields of a response. Of several lines of `Date`, `Last-Modified` or `Age`, the
    /// first one counts (RFC 9110 §5.3).
    pub fn read(fields: &dyn Fields) -> Times {
        let (mut sent, mut modified, mut aged) = (None, None, None);
        let mut expires = Expiry::Absent;
        fields.each(&mut |name, value| {
            let value = trim(value);
            if is(name, "date") {
                sent.get_or_insert_with(|| date::parse(value));
            } else if is(name, "last-modified") {
                modified.get_or_insert_with(|| date::parse(value));
            } else if is(name, "age") {
                aged.get_or_insert_with(|| age::parse_line(value));
            } else if is(name, "expires") {
                expires = expires.earlier(date::parse(value));
            }
        });
        Times {
            date: sent.flatten(),
            expires,
            last_modified: modified.flatten(),
            age: aged.flatten(),
        }
    }
}

/// The rule that determined a freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage`.
    SMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires` minus `Date`.
    Expires,
    /// A tenth of the time since `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic,
}

impl LifetimeSource {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            LifetimeSource::SMaxAge => "s-maxage",
            LifetimeSource::MaxAge => "max-age",
            LifetimeSource::Expires => "expires",
            LifetimeSource::Heuristic => "heuristic",
        }
    }
}

/// A freshness lifetime: the response is fresh while this is greater than its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The lifetime in milliseconds.
    pub value: Millis,
    /// The rule that determined it.
    pub source: LifetimeSource,
}

/// The inputs of the freshness lifetime.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The directives that govern the response.
    pub control: &'a Control,
    /// The response's dates; `last_modified` is the origin's, never a synthesised one.
    pub times: &'a Times,
    /// The response's status code.
    pub status: u16,
    /// The time at which the response header arrived; it replaces a missing `Date`.
    pub response_time: Millis,
}

/// Returns the lifetime that the origin states (RFC 9111 §4.2.1): `s-maxage`, else `max-age`, else `Expires`
/// minus `Date`. A lifetime from a host's configuration ranks between this and [`heuristic`].
pub fn explicit(basis: &Basis<'_>) -> Option<Lifetime> {
    let control = &basis.control.directives;
    let (value, source) = match (control.s_maxage, control.max_age) {
        (Some(s), _) => (seconds(s), LifetimeSource::SMaxAge),
        (None, Some(s)) => (seconds(s), LifetimeSource::MaxAge),
        (None, None) => (until_expiry(basis)?, LifetimeSource::Expires),
    };
    Some(Lifetime { value, source })
}

/// Returns `Expires` minus `Date`, or `None` if a targeted field governs, which makes `Expires` irrelevant
/// (RFC 9213 §2.2).
fn until_expiry(basis: &Basis<'_>) -> Option<Millis> {
    if basis.control.source != Source::CacheControl {
        return None;
    }
    match basis.times.expires {
        Expiry::Absent => None,
        Expiry::Past => Some(0),
        Expiry::At(at) => Some(at.saturating_sub(generated(basis))),
    }
}

/// Returns the time at which the response was generated, in whole seconds as `Date` states it (RFC 9110
/// §6.6.1).
fn generated(basis: &Basis<'_>) -> Millis {
    let received = basis.response_time / 1000 * 1000;
    basis.times.date.unwrap_or(received)
}

/// The upper bound of a heuristic lifetime. RFC 9111 names none; a day limits the harm of a wrong one.
pub const HEURISTIC_MAX: Millis = 24 * 3600 * 1000;

/// Returns the heuristic lifetime if the origin states none (RFC 9111 §4.2.2): a tenth of the time from
/// `Last-Modified` to `Date`, for heuristically cacheable statuses and for responses with `public`
/// (§5.2.2.9).
pub fn heuristic(basis: &Basis<'_>) -> Option<Lifetime> {
    let allowed = is_heuristically_cacheable(basis.status) || basis.control.directives.public;
    if !allowed || explicit(basis).is_some() {
        return None;
    }
    let unchanged_for = generated(basis).checked_sub(basis.times.last_modified?)?;
    Some(Lifetime {
        value: (unchanged_for / 10).min(HEURISTIC_MAX),
        source: LifetimeSource::Heuristic,
    })
}

/// Returns the [`explicit`] lifetime, or else the [`heuristic`] one.
pub fn lifetime(basis: &Basis<'_>) -> Option<Lifetime> {
    explicit(basis).or_else(|| heuristic(basis))
}

/// Returns whether a response with this status may be stored on a heuristic lifetime alone (RFC 9110 §15.1).
/// 206 is omitted, because partial responses are not stored.
pub fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use LifetimeSource::{Expires, Heuristic, MaxAge, SMaxAge};

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const T: Millis = 784_111_777_000;
    const DATE: (&str, &str) = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const LATER: (&str, &str) = ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT");
    const MODIFIED: (&str, &str) = ("Last-Modified", "Sun, 06 Nov 1994 08:32:57 GMT"); // -1000 s

    fn of(status: u16, fields: &[(&str, &str)]) -> Option<(Millis, LifetimeSource)> {
        let control = Control::of(&fields, &["CDN-Cache-Control"]);
        let times = Times::read(&fields);
        let basis = Basis {
            control: &control,
            times: &times,
            status,
            response_time: T + 10_500,
        };
        lifetime(&basis).map(|l| (l.value / 1000, l.source))
    }

    #[test]
    fn the_first_rule_that_applies() {
        // RFC 9111 §4.2.1
        for (fields, want) in [
            (
                vec![("Cache-Control", "s-maxage=1, max-age=2"), DATE, LATER],
                Some((1, SMaxAge)),
            ),
            (
                vec![("Cache-Control", "max-age=2"), DATE, LATER],
                Some((2, MaxAge)),
            ),
            (
                vec![("Cache-Control", "max-age=0"), DATE, LATER],
                Some((0, MaxAge)),
            ),
            (
                vec![("Cache-Control", "s-maxage=0, max-age=2")],
                Some((0, SMaxAge)),
            ),
            (
                vec![("Cache-Control", "private"), DATE, LATER],
                Some((60, Expires)),
            ),
            (vec![DATE, LATER], Some((60, Expires))),
            (vec![LATER], Some((50, Expires))), // received at T + 10 s
            (vec![DATE], None),
            (vec![], None),
        ] {
            assert_eq!(of(200, &fields), want, "{fields:?}");
        }
    }

    #[test]
    fn a_malformed_or_repeated_expires_restricts() {
        // RFC 9111 §5.3, §4.2.1
        for (fields, want) in [
            (vec![DATE, ("Expires", "0")], 0),
            (vec![DATE, ("Expires", "-1")], 0),
            (vec![DATE, ("Expires", "Sun, 06 Nov 1994 08:50:37 EST")], 0),
            (vec![DATE, ("Expires", "Sun, 06 Nov 1994 08:40:37 GMT")], 0),
            (vec![DATE, LATER, ("Expires", "0")], 0),
            (vec![DATE, ("Expires", "0"), LATER], 0),
            (
                vec![DATE, LATER, ("Expires", "Sun, 06 Nov 1994 08:49:57 GMT")],
                20,
            ),
            (vec![("Date", "yesterday"), LATER], 50),
        ] {
            assert_eq!(of(200, &fields), Some((want, Expires)), "{fields:?}");
        }
    }

    #[test]
    fn a_targeted_field_leaves_the_others_out() {
        // RFC 9213 §2.2
        let cdn = |value| {
            [
                DATE,
                LATER,
                ("Cache-Control", "max-age=2"),
                ("CDN-Cache-Control", value),
            ]
        };
        assert_eq!(of(200, &cdn("max-age=9")), Some((9, MaxAge)));
        assert_eq!(of(200, &cdn("none")), None);
        assert_eq!(of(200, &cdn("")), Some((2, MaxAge)));
    }

    #[test]
    fn heuristics_guess_a_tenth() {
        // RFC 9111 §4.2.2
        for (status, fields, want) in [
            (200, vec![DATE, MODIFIED], Some((100, Heuristic))),
            (404, vec![DATE, MODIFIED], Some((100, Heuristic))),
            (200, vec![MODIFIED], Some((101, Heuristic))),
            (302, vec![DATE, MODIFIED], None),
            (
                302,
                vec![DATE, MODIFIED, ("Cache-Control", "public")],
                Some((100, Heuristic)),
            ),
            (206, vec![DATE, MODIFIED], None),
            (500, vec![DATE, MODIFIED], None),
            (
                200,
                vec![DATE, MODIFIED, ("Cache-Control", "max-age=1")],
                Some((1, MaxAge)),
            ),
            (
                200,
                vec![DATE, MODIFIED, ("Expires", "0")],
                Some((0, Expires)),
            ),
            (
                200,
                vec![DATE, ("Last-Modified", "Mon, 07 Nov 1994 08:49:37 GMT")],
                None,
            ),
            (200, vec![DATE, ("Last-Modified", "x")], None),
            (
                200,
                vec![DATE, ("Last-Modified", "Sun, 06 Nov 1983 08:49:37 GMT")],
                Some((86_400, Heuristic)),
            ),
        ] {
            assert_eq!(of(status, &fields), want, "{status} {fields:?}");
        }
    }

    #[test]
    fn the_first_of_repeated_dates_counts() {
        // RFC 9110 §5.3
        let fields = [DATE, ("Date", "x"), ("Age", "5"), ("Age", "9")];
        let times = Times::read(&fields);
        assert_eq!((times.date, times.age), (Some(T), Some(5)));
    }
}
