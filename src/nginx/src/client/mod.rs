//! A client's request while the cache answers it.

pub(crate) mod arrival;
pub(crate) mod deliver;
pub(crate) mod entry;
pub(crate) mod request;
