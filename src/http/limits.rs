//! Limits on the header of a stored response. A response that exceeds them is forwarded without being stored.

use super::Fields;
use super::syntax::is_token;

/// The maximum number of field lines.
pub const MAX_LINES: usize = 256;
/// The maximum length of a field name in bytes.
pub const MAX_NAME: usize = 256;
/// The maximum length of a field value in bytes.
pub const MAX_VALUE: usize = 32 * 1024;
/// The maximum size of all names and values together in bytes.
pub const MAX_TOTAL: usize = 64 * 1024;
/// The maximum number of fields that `Vary` may nominate.
pub const MAX_VARY: usize = 32;
/// The maximum number of cache groups of a response (RFC 9875 §2 requires at least 32).
pub const MAX_GROUPS: usize = 64;
/// The maximum length of a cache group's name in bytes (RFC 9875 §2 requires at least 32 characters).
pub const MAX_GROUP: usize = 256;
/// The maximum number of ranges in one request.
pub const MAX_RANGES: usize = 16;

/// The limit that a header exceeds.
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
    /// A name is not a token, or a value contains CR, LF or NUL (RFC 9110 §5.1, §5.5): sending it could
    /// inject other field lines.
    Malformed,
}

impl OverLimit {
    /// The fixed word for logs.
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

/// Checks the header of a response; the error is the first limit that it exceeds.
pub fn check(fields: &dyn Fields) -> Result<(), OverLimit> {
    let mut size = HeaderSize::default();
    let mut verdict = Ok(());
    fields.each(&mut |name, value| {
        if verdict.is_ok() {
            verdict = size.line(name, value);
        }
    });
    verdict
}

#[derive(Default)]
struct HeaderSize {
    lines: usize,
    bytes: usize,
}

impl HeaderSize {
    fn line(&mut self, name: &[u8], value: &[u8]) -> Result<(), OverLimit> {
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(name.len() + value.len());
        if self.lines > MAX_LINES {
            return Err(OverLimit::Lines);
        }
        if name.len() > MAX_NAME {
            return Err(OverLimit::Name);
        }
        if value.len() > MAX_VALUE {
            return Err(OverLimit::Value);
        }
        if self.bytes > MAX_TOTAL {
            return Err(OverLimit::Total);
        }
        match is_token(name) && !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            true => Ok(()),
            false => Err(OverLimit::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: usize, name: usize, value: usize) -> Vec<(String, String)> {
        vec![("n".repeat(name), "v".repeat(value)); n]
    }

    #[test]
    fn each_limit_holds() {
        for (fields, want) in [
            (lines(0, 0, 0), Ok(())),
            (lines(MAX_LINES, 1, 1), Ok(())),
            (lines(MAX_LINES + 1, 1, 1), Err(OverLimit::Lines)),
            (lines(1, MAX_NAME, 1), Ok(())),
            (lines(1, MAX_NAME + 1, 1), Err(OverLimit::Name)),
            (lines(1, 1, MAX_VALUE), Ok(())),
            (lines(1, 1, MAX_VALUE + 1), Err(OverLimit::Value)),
            (lines(2, 1, MAX_VALUE), Err(OverLimit::Total)),
        ] {
            assert_eq!(check(&fields), want);
        }
    }

    #[test]
    fn nothing_that_could_forge_a_line_is_stored() {
        // RFC 9110 §5.1, §5.5
        for (name, value, want) in [
            ("X", "a\tb \u{e4}", Ok(())),
            ("X", "", Ok(())),
            ("X", "a\r\nSet-Cookie: b", Err(OverLimit::Malformed)),
            ("X", "a\nb", Err(OverLimit::Malformed)),
            ("X", "a\0", Err(OverLimit::Malformed)),
            ("X Y", "a", Err(OverLimit::Malformed)),
            ("X:", "a", Err(OverLimit::Malformed)),
            ("", "a", Err(OverLimit::Malformed)),
        ] {
            assert_eq!(check(&[(name, value)]), want, "{name:?} {value:?}");
        }
    }
}
