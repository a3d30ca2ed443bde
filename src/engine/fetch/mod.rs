//! The life of a fetch.

pub(super) mod outcomes;
