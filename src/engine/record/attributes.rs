//! The words of an object: what changes while it is stored.

/// Back-off state, see [`backoff`](crate::engine::backoff).
pub(crate) const BACKOFF: usize = 0;
/// When it was last asked for (Unix time in ms); kept only where `inactive` is configured.
pub(crate) const ACCESS: usize = 1;
/// Hash of the complete body, never zero; zero while it is not known. Makes the synthesised `ETag`.
pub(crate) const HASH: usize = 2;
/// Since when the cache knows these bytes (Unix time in ms): what `If-Modified-Since` is compared with where the origin sent no
/// validator.
pub(crate) const SINCE: usize = 3;
/// Since when its refresh has failed, and how it failed last, see [`backoff`](crate::engine::backoff).
pub(crate) const FAULT: usize = 4;
