//! A fetch: a request of the cache's own, without a client, and what becomes of its response.

pub(crate) mod body;
pub(crate) mod buffering;
pub(crate) mod cache_below;
pub(crate) mod carrier;
pub(crate) mod charset;
pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod interim;
pub(crate) mod key_cookies;
pub(crate) mod mailbox;
pub(crate) mod origin_header;
pub(crate) mod origin_response;
pub(crate) mod own_request;
pub(crate) mod redirect;
pub(crate) mod relay;
pub(crate) mod report;
pub(crate) mod request_copy;
pub(crate) mod response_copy;
pub(crate) mod tls;
pub(crate) mod upstream_states;
