//! HTTP caching semantics, pure: no clock, no I/O, no allocation the caller did not ask for.
#![forbid(unsafe_code)]
