//! Content codings that the cache makes itself.

/// A content coding that the cache makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Coding {
    /// Every coding.
    pub const ALL: [Coding; 3] = [Coding::Gzip, Coding::Br, Coding::Zstd];

    /// Its name in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Br => "br",
            Coding::Zstd => "zstd",
        }
    }

    /// The least and the greatest level, and the one that is used where none is named: better than on the fly, since nobody waits.
    pub(crate) const fn levels(self) -> (u32, u32, u32) {
        match self {
            Coding::Gzip => (1, 9, 9),
            Coding::Br => (0, 11, 9),
            Coding::Zstd => (1, 19, 15),
        }
    }
}
