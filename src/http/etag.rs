//! Entity tags (RFC 9110 §8.8.3).

/// How two entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal opaque tags, and neither is weak.
    Strong,
    /// Equal opaque tags.
    Weak,
}

/// An entity tag: a weakness flag and the opaque tag without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag<'a> {
    /// Whether it was marked `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> Etag<'a> {
    /// Parses one entity tag that fills `value`, white space around it aside.
    pub fn parse(_value: &'a [u8]) -> Option<Etag<'a>> {
        None
    }

    /// Compares two entity tags.
    pub fn matches(&self, other: &Etag<'_>, how: Comparison) -> bool {
        self.opaque == other.opaque && (how == Comparison::Weak || (!self.weak && !other.weak))
    }
}

/// The entity tags of a list field's line; members that are not entity tags are skipped. Commas may
/// stand inside the quotes.
pub fn list(_line: &[u8]) -> impl Iterator<Item = Etag<'_>> {
    std::iter::empty()
}

/// Length of a tag written by [`of_hash`].
pub const HASH_LEN: usize = 20;

/// The weak entity tag made of a body's hash: `W/"0123456789abcdef"`, quotes included.
pub fn of_hash(_hash: u64) -> [u8; HASH_LEN] {
    [b' '; HASH_LEN]
}
