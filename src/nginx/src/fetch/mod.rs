//! A fetch: a request of the cache's own, without a client, and what becomes of its response.

pub(crate) mod charset;
pub(crate) mod connection;
pub(crate) mod interim;
pub(crate) mod orders;
pub(crate) mod origin_header;
pub(crate) mod origin_response;
pub(crate) mod redirect;
pub(crate) mod report;
pub(crate) mod tls;
