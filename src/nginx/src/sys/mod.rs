//! The border to nginx: requests, memory, lists, chains, events, time, logs, panics.

pub(crate) mod boundary;
pub(crate) mod chain;
pub(crate) mod clock;
pub(crate) mod conf;
pub(crate) mod encryption;
pub(crate) mod event;
pub(crate) mod header_list;
pub(crate) mod log;
pub(crate) mod module_index;
pub(crate) mod one_thread;
pub(crate) mod own_connection;
pub(crate) mod pool;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod request_header;
pub(crate) mod response_header;
pub(crate) mod symbol;
pub(crate) mod variables;
