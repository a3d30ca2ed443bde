//! Targeted cache control (RFC 9213), and which field governs a response.
//!
//! A targeted field is a Dictionary of RFC 9651. An empty one, or one with any parse error, is
//! ignored. The first valid one of the target list governs, and then `Cache-Control` and `Expires` are
//! ignored. `Surrogate-Control` is read the same way.

use super::{CacheControl, Fields};

/// Where the governing directives came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Cache-Control` (possibly absent); `Expires` counts.
    CacheControl,
    /// The targeted field with this index in the target list; `Expires` does not count.
    Targeted(usize),
}

/// The directives that govern a response, and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The directives.
    pub directives: CacheControl,
    /// Their field.
    pub source: Source,
}

impl Control {
    /// Picks the governing field: the first of `targets` that is valid and not empty, else
    /// `Cache-Control` (RFC 9213 §2.2). `targets` are field names in order of priority.
    pub fn of<T: AsRef<str>>(fields: &dyn Fields, _targets: &[T]) -> Control {
        Control {
            directives: CacheControl::response(fields),
            source: Source::CacheControl,
        }
    }
}

/// Reads one targeted field over all its lines. `None`: absent, empty or malformed (RFC 9213 §2.1).
pub fn parse(_fields: &dyn Fields, _name: &str) -> Option<CacheControl> {
    None
}
