//! Branches of keys.
//!
//! ```text
//! trunk                                          a key without a branch
//! trunk | branch | its length (u32, LE) | 255    a branch of it
//! ```
//!
//! Keys are compared in full. All branches of a trunk have the same hash and so lie in one bucket: removing a key
//! removes them too, without a search.

/// The last byte of a key with a branch.
pub(crate) const BRANCHED: u8 = u8::MAX;

/// The key without its branch.
#[inline]
pub(crate) fn trunk(key: &[u8]) -> &[u8] {
    match key {
        [.., BRANCHED] => cut(key).unwrap_or(key),
        _ => key,
    }
}

fn cut(key: &[u8]) -> Option<&[u8]> {
    let (before, length) = key.split_last()?.1.split_last_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    before.get(..before.len().checked_sub(length)?)
}
