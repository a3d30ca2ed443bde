//! The border to nginx: requests, memory, lists, events, time, panics.

pub(crate) mod boundary;
pub(crate) mod clock;
pub(crate) mod header_list;
pub(crate) mod pool;
pub(crate) mod posted_event;
pub(crate) mod record;
pub(crate) mod request;
