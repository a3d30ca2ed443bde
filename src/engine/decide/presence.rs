//! Which of the fields that matter to a cache a request has, found in one pass.
//!
//! Most requests have none, and then no field is parsed. `Cookie` is not considered: the key and the bypass condition
//! decide what a cookie selects.

use crate::http::Fields;

/// The fields of interest that a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Presence(u8);

impl Presence {
    pub(crate) const CONDITIONAL: Presence = Presence(1);
    pub(crate) const RANGE: Presence = Presence(1 << 1);
    pub(crate) const CONTROL: Presence = Presence(1 << 2);
    pub(crate) const AUTHORIZATION: Presence = Presence(1 << 3);
    /// Preconditions that only the origin may evaluate (RFC 9111 §4.3.2).
    pub(crate) const FOR_ORIGIN: Presence = Presence(1 << 4);
    pub(crate) const ACCEPT_ENCODING: Presence = Presence(1 << 5);

    /// Examines every field line once.
    pub(crate) fn of(fields: &dyn Fields) -> Presence {
        let mut seen = 0;
        fields.each(&mut |name, _| seen |= bit(name).0);
        Presence(seen)
    }

    pub(crate) const fn has(self, other: Presence) -> bool {
        self.0 & other.0 != 0
    }
}

/// Compares the length and the first letter first, which rules out nearly all other names.
#[inline]
fn bit(name: &[u8]) -> Presence {
    let Some(first) = name.first() else {
        return Presence(0);
    };
    let (wanted, seen) = match (name.len(), first | 0x20) {
        (5, b'r') => ("range", Presence::RANGE),
        (6, b'p') => ("pragma", Presence::CONTROL),
        (8, b'i') => ("if-match", Presence::FOR_ORIGIN),
        (13, b'a') => ("authorization", Presence::AUTHORIZATION),
        (13, b'c') => ("cache-control", Presence::CONTROL),
        (13, b'i') => ("if-none-match", Presence::CONDITIONAL),
        (15, b'a') => ("accept-encoding", Presence::ACCEPT_ENCODING),
        (17, b'i') => ("if-modified-since", Presence::CONDITIONAL),
        (19, b'i') => ("if-unmodified-since", Presence::FOR_ORIGIN),
        _ => return Presence(0),
    };
    match name.eq_ignore_ascii_case(wanted.as_bytes()) {
        true => seen,
        false => Presence(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_others_are_not() {
        let seen = |name: &str| Presence::of(&[(name, "x")]);
        assert!(seen("RANGE").has(Presence::RANGE));
        assert!(seen("If-None-Match").has(Presence::CONDITIONAL));
        assert!(seen("Authorization").has(Presence::AUTHORIZATION));
        assert!(seen("pragma").has(Presence::CONTROL));
        assert!(seen("Accept-Encoding").has(Presence::ACCEPT_ENCODING));
        for other in ["Cookie", "If-Range", "accept-charset", "Content-Lengt", ""] {
            assert_eq!(seen(other), Presence(0), "{other}");
        }
    }
}
