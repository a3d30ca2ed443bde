//! The attributes of an object: the integers that change while it is stored.

/// The state of the back-off, see [`backoff`](crate::engine::backoff).
pub(crate) const BACKOFF: usize = 0;
/// The time of the last request for it (Unix time in ms); kept only if `inactive` is configured.
pub(crate) const ACCESS: usize = 1;
/// The hash of the complete body, never zero; zero while it is unknown. The synthesised `ETag` is made of it.
pub(crate) const HASH: usize = 2;
/// The time since which the body has been the same (Unix time in ms, see [`since`]). `If-Modified-Since` is compared with it if
/// the origin sent no validator. The upper 16 bits describe the encoded forms of the body, see
/// [`form`](crate::engine::encode::form).
pub(crate) const SINCE: usize = 3;
/// The time of the first failed refresh in a row and the cause of the last one, see
/// [`backoff`](crate::engine::backoff).
pub(crate) const FAULT: usize = 4;
/// In [`FAULT`] of an incomplete body: the origin went on, but the store took no more.
pub(crate) const OUTGROWN: u64 = u64::MAX;

/// Bits of [`SINCE`] that are the time; it lasts till the year 10889.
pub(crate) const SINCE_BITS: u32 = 48;

/// The time in the word [`SINCE`].
pub(crate) const fn since(word: u64) -> u64 {
    word & ((1 << SINCE_BITS) - 1)
}
