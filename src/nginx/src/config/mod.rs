//! The `swr_cache_*` directives and what they make of a location and of a zone.

pub(crate) mod directives;
pub(crate) mod location;
pub(crate) mod proxy_target;
pub(crate) mod zone;
