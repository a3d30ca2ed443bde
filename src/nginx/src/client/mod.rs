//! A client's request while the cache answers it.

pub(crate) mod arrival;
pub(crate) mod body;
pub(crate) mod delivery;
pub(crate) mod entry;
pub(crate) mod facts;
pub(crate) mod header;
pub(crate) mod key;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod suspended;
