//! Byte ranges (RFC 9110 §14).

use super::Fields;

/// A range of bytes inside a representation, both ends included, `first <= last < length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// Number of bytes; at least one.
    pub fn size(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a `Range` comes to against a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeVerdict {
    /// Answer with the whole: no `Range`, another unit, malformed, or refused (too many, overlapping).
    Ignore,
    /// 206 with these, in the order asked for; at least one.
    Satisfiable(Vec<ByteRange>),
    /// 416.
    Unsatisfiable,
}

/// Evaluates the `Range` field of a GET request. More than one line is malformed.
pub fn evaluate(_request: &dyn Fields, _length: u64) -> RangeVerdict {
    RangeVerdict::Ignore
}

/// Parses one `Range` value against the length of the representation.
pub fn parse(_value: &[u8], _length: u64) -> RangeVerdict {
    RangeVerdict::Ignore
}
