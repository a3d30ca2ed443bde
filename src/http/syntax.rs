//! The grammar that HTTP fields share: tokens, quoted strings, list members, delta-seconds
//! (RFC 9110 §5.6, RFC 9111 §1.2.2).

use super::DELTA_MAX;

/// Whether `b` is a `tchar` (RFC 9110 §5.6.2).
pub fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Whether `s` is a `token`: one or more tchars (RFC 9110 §5.6.2).
pub fn is_token(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().copied().all(is_tchar)
}

/// `s` without optional white space (space, tab) at its ends (RFC 9110 §5.6.3).
pub fn trim(s: &[u8]) -> &[u8] {
    let start = s.iter().position(|b| !is_ows(*b)).unwrap_or(s.len());
    let end = s
        .iter()
        .rposition(|b| !is_ows(*b))
        .map_or(start, |last| last + 1);
    s.get(start..end).unwrap_or_default()
}

fn is_ows(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// `1*DIGIT`, saturating at [`DELTA_MAX`] (RFC 9111 §1.2.2). `None` if it is anything else.
pub fn delta_seconds(s: &[u8]) -> Option<u32> {
    digits(s).map(|n| u32::try_from(n).unwrap_or(DELTA_MAX).min(DELTA_MAX))
}

/// `1*DIGIT`, saturating at `u64::MAX`. `None` if it is anything else.
pub fn digits(s: &[u8]) -> Option<u64> {
    if s.is_empty() || !s.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(s.iter().fold(0u64, |n, b| {
        n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
    }))
}
