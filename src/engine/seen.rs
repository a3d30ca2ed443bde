//! One pass over a request's fields: which of those that matter to a cache are there at all.
//!
//! Most requests carry none, and then no field is parsed. `Cookie` is not looked at: what a cookie selects is the
//! business of key and bypass condition.

use crate::http::Fields;

/// The fields of interest that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Seen(u8);

impl Seen {
    pub(crate) const CONDITIONAL: Seen = Seen(1);
    pub(crate) const RANGE: Seen = Seen(1 << 1);
    pub(crate) const CONTROL: Seen = Seen(1 << 2);
    pub(crate) const AUTHORIZATION: Seen = Seen(1 << 3);
    /// Preconditions that only the origin may judge (RFC 9111 §4.3.2).
    pub(crate) const FOR_ORIGIN: Seen = Seen(1 << 4);

    /// Looks at every field line once.
    pub(crate) fn of(fields: &dyn Fields) -> Seen {
        let mut seen = 0;
        fields.each(&mut |name, _| seen |= bit(name).0);
        Seen(seen)
    }

    pub(crate) const fn has(self, other: Seen) -> bool {
        self.0 & other.0 != 0
    }
}

/// Length and first letter tell all but a few names apart before more is compared.
#[inline]
fn bit(name: &[u8]) -> Seen {
    let Some(first) = name.first() else {
        return Seen(0);
    };
    let (wanted, seen) = match (name.len(), first | 0x20) {
        (5, b'r') => ("range", Seen::RANGE),
        (6, b'p') => ("pragma", Seen::CONTROL),
        (8, b'i') => ("if-match", Seen::FOR_ORIGIN),
        (13, b'a') => ("authorization", Seen::AUTHORIZATION),
        (13, b'c') => ("cache-control", Seen::CONTROL),
        (13, b'i') => ("if-none-match", Seen::CONDITIONAL),
        (17, b'i') => ("if-modified-since", Seen::CONDITIONAL),
        (19, b'i') => ("if-unmodified-since", Seen::FOR_ORIGIN),
        _ => return Seen(0),
    };
    match name.eq_ignore_ascii_case(wanted.as_bytes()) {
        true => seen,
        false => Seen(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_others_are_not() {
        let seen = |name: &str| Seen::of(&[(name, "x")]);
        assert!(seen("RANGE").has(Seen::RANGE));
        assert!(seen("If-None-Match").has(Seen::CONDITIONAL));
        assert!(seen("Authorization").has(Seen::AUTHORIZATION));
        assert!(seen("pragma").has(Seen::CONTROL));
        for other in ["Cookie", "If-Range", "accept-charset", "Content-Lengt", ""] {
            assert_eq!(seen(other), Seen(0), "{other}");
        }
    }
}
