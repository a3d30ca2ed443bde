//! swrcache: an HTTP cache that never makes a visitor wait for a revalidation.
//!
//! The house has these rooms, and each knows only what stands beside it here:
//!
//! | room | what it is | may use |
//! |---|---|---|
//! | [`http`] | the caching semantics of RFC 9111 and its neighbours, pure | nothing of ours, no clock, no I/O |
//! | [`store`] | a region of shared memory that holds objects, opaque to it | nothing of ours, no HTTP, no clock |
//! | [`engine`] | policy: request + stored object + now -> decision | `http`, `store` |
//! | `ffi` | the C ABI: convert, call, convert back | `engine`, a clock; no policy |
//!
//! The nginx module is a package of its own in `src/nginx`: *the cache has never heard of nginx;
//! `src/nginx` puts it into a module.*

pub mod engine;
#[cfg(feature = "ffi")]
pub mod ffi;
pub mod http;
pub mod store;
