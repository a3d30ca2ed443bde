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

/// The length tells most names apart before any byte is compared.
fn bit(name: &[u8]) -> Seen {
    let is = |wanted: &str, seen: Seen| match name.eq_ignore_ascii_case(wanted.as_bytes()) {
        true => seen,
        false => Seen(0),
    };
    match name.len() {
        5 => is("range", Seen::RANGE),
        6 => is("pragma", Seen::CONTROL),
        8 => is("if-match", Seen::FOR_ORIGIN),
        13 if name[0] | 0x20 == b'a' => is("authorization", Seen::AUTHORIZATION),
        13 if name[0] | 0x20 == b'c' => is("cache-control", Seen::CONTROL),
        13 => is("if-none-match", Seen::CONDITIONAL),
        17 => is("if-modified-since", Seen::CONDITIONAL),
        19 => is("if-unmodified-since", Seen::FOR_ORIGIN),
        _ => Seen(0),
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
