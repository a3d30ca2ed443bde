//! What the `swr_cache_*` directives make of a location and of a zone.

pub(crate) mod binary_interface;
pub(crate) mod location;
pub(crate) mod proxied;
pub(crate) mod proxy_target;
mod rewriting;
pub(crate) mod value;
pub(crate) mod words;
pub(crate) mod zone;
