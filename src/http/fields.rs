//! A list of field lines, in order, as a message carries them (RFC 9110 §5.2, §5.3).
//!
//! Names are compared without case; values are bytes. The slices passed to a callback live only
//! for that call, so that a host may hand out its own memory.

/// Field lines of one message, in the order received, repeated names kept apart.
pub trait Fields {
    /// Calls `f(name, value)` for each field line. Values carry no surrounding white space that
    /// matters: readers here trim it.
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

/// Whether `name` is the field `wanted`; field names have no case (RFC 9110 §5.1).
pub fn is(name: &[u8], wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted.as_bytes())
}

/// Calls `f(value)` for each line of the field `wanted`, in order, without surrounding white space.
pub fn each_named(fields: &dyn Fields, wanted: &str, f: &mut dyn FnMut(&[u8])) {
    fields.each(&mut |name, value| {
        if is(name, wanted) {
            f(super::syntax::trim(value));
        }
    });
}

/// What a field that should stand alone on one line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single<T> {
    /// No such field.
    Absent,
    /// One line, and what the parser made of it (`None`: malformed).
    One(Option<T>),
    /// Several lines: a singleton field sent more than once (RFC 9110 §5.3).
    Many,
}

/// Reads a singleton field: `parse` sees the first line's value.
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

/// The parsed value of the first line of a field, if there is one and it is valid.
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

/// Number of lines of the field `wanted`.
pub fn count(fields: &dyn Fields, wanted: &str) -> usize {
    let mut n = 0;
    each_named(fields, wanted, &mut |_| n += 1);
    n
}
