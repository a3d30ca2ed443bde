//! The list of field lines of a message, in order (RFC 9110 §5.2, §5.3).
//!
//! Names are compared case-insensitively; values are bytes. The slices passed to a callback are valid during
//! that call only, so that a host may pass its own memory.

/// The field lines of one message, in the order received; repeated names are separate lines.
///
/// ```
/// use http::{HeaderMap, header};
/// use swrcache::http::{CacheControl, fields};
///
/// let mut map = HeaderMap::new();
/// map.append(header::CACHE_CONTROL, "max-age=60".parse().unwrap());
/// map.append(header::CACHE_CONTROL, "stale-while-revalidate=600".parse().unwrap());
/// assert_eq!(fields::count(&map, "Cache-Control"), 2);
/// let list = [("Cache-Control", "max-age=60, stale-while-revalidate=600")];
/// assert_eq!(CacheControl::response(&map), CacheControl::response(&list));
/// ```
pub trait Fields {
    /// Calls `f(name, value)` for each field line. A value may be surrounded by white space, which readers
    /// trim.
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8]));
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self {
            f(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const K: usize> Fields for [(N, V); K] {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.as_slice().each(f);
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for Vec<(N, V)> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.as_slice().each(f);
    }
}

impl<T: Fields + ?Sized> Fields for &T {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        (**self).each(f);
    }
}

impl Fields for ::http::HeaderMap {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self {
            f(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Returns whether `name` is the field `wanted`; field names are case-insensitive (RFC 9110 §5.1). Compares by words, since a HIT
/// compares a dozen names.
#[inline]
pub fn is(name: &[u8], wanted: &str) -> bool {
    let wanted = wanted.as_bytes();
    if name.len() != wanted.len() {
        return false;
    }
    // Two words that may overlap cover what is longer than one and no longer than both.
    let (first, last) = (name.first_chunk(), name.last_chunk());
    match (first, last, wanted.first_chunk(), wanted.last_chunk()) {
        (Some(first), Some(last), Some(wanted_first), Some(wanted_last)) if name.len() <= 16 => {
            is_word(first, wanted_first) && is_word(last, wanted_last)
        }
        _ => name.eq_ignore_ascii_case(wanted),
    }
}

/// Whether eight bytes are the same but for the case of letters.
#[inline]
fn is_word(name: &[u8; 8], wanted: &[u8; 8]) -> bool {
    const ALL: u64 = u64::MAX / 0xff;
    let (name, wanted) = (u64::from_le_bytes(*name), u64::from_le_bytes(*wanted));
    // The upper bit of each byte tells whether it is a letter: not below `a`, and not above `z`. No sum carries into the next byte, as
    // bytes beyond ASCII count without their upper bit and are left out after.
    let lower = (wanted & (ALL * 0x7f)) | (ALL * 0x20);
    let from_a = lower + ALL * (0x80 - b'a' as u64);
    let above_z = lower + ALL * (0x7f - b'z' as u64);
    let letters = from_a & !above_z & !wanted & (ALL * 0x80);
    // The bit 0x20 is the case of a letter.
    (name ^ wanted) & !(letters >> 2) == 0
}

/// Calls `f(value)` for each line of the field `wanted`, in order, with the surrounding white space trimmed.
pub fn each_named(fields: &dyn Fields, wanted: &str, f: &mut dyn FnMut(&[u8])) {
    fields.each(&mut |name, value| {
        if is(name, wanted) {
            f(super::syntax::trim(value));
        }
    });
}

/// The value of a singleton field, which should occur on one line only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single<T> {
    /// The field is absent.
    Absent,
    /// One line: the parsed value, or `None` if it is malformed.
    One(Option<T>),
    /// Several lines: the field occurs more often than RFC 9110 §5.3 allows for a singleton.
    Many,
}

/// Reads the singleton field; `parse` is called with the first line's value.
pub fn single<T>(
    fields: &dyn Fields,
    wanted: &str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Single<T> {
    let mut found = Single::Absent;
    each_named(fields, wanted, &mut |value| {
        found = match found {
            Single::Absent => Single::One(parse(value)),
            _ => Single::Many,
        };
    });
    found
}

/// Returns the parsed value of the field's first line, or `None` if the field is absent or malformed.
pub fn first<T>(
    fields: &dyn Fields,
    wanted: &str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    each_named(fields, wanted, &mut |value| {
        if found.is_none() {
            found = Some(parse(value));
        }
    });
    found.flatten()
}

/// Returns the number of lines of the field `wanted`.
pub fn count(fields: &dyn Fields, wanted: &str) -> usize {
    let mut n = 0;
    each_named(fields, wanted, &mut |_| n += 1);
    n
}

/// The announced length of a body: a single number, and the body is not chunked (RFC 9112 §6.3).
pub fn announced_length(fields: &dyn Fields) -> Option<u64> {
    if count(fields, "transfer-encoding") > 0 {
        return None;
    }
    match single(fields, "content-length", super::syntax::digits) {
        Single::One(length) => length,
        Single::Absent | Single::Many => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_ascii_without_case() {
        for wanted in [
            "vary",
            "last-mod",
            "content-type",
            "x-{a}_[z]@`~9-zZ",
            "x-longer-than-two-words",
        ] {
            let same = wanted.as_bytes();
            for at in 0..same.len() {
                for byte in 0..=u8::MAX {
                    let mut name = same.to_vec();
                    name[at] = byte;
                    let want = name.eq_ignore_ascii_case(same);
                    assert_eq!(is(&name, wanted), want, "{byte} at {at} of {wanted}");
                }
            }
            assert!(is(&same.to_ascii_uppercase(), wanted));
            assert!(!is(&same[1..], wanted) && !is(&[same, b"s"].concat(), wanted));
        }
    }
}
