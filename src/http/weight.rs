//! Weights of the members of a list (RFC 9110 §12.4.2).

use super::syntax::trim;

/// A member's name and its weight in thousandths (RFC 9110 §12.4.2); a malformed weight is as none.
pub(crate) fn weighted(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|b| *b == b';').map(trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', value @ ..] => thousandths(value),
        _ => None,
    });
    (name, weight.unwrap_or(1000))
}

fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |b| u16::from(b - b'0'));
    match whole {
        b'0' => Some(digit(0) * 100 + digit(1) * 10 + digit(2)),
        b'1' => Some(1000),
        _ => None,
    }
}
