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

/// Returns whether `name` is the field `wanted`; field names are case-insensitive (RFC 9110 §5.1).
pub fn is(name: &[u8], wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted.as_bytes())
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
