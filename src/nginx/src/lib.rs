//! The nginx module: puts the cache into nginx.
//!
//! A request meets the cache in the PRECONTENT phase (`phases`, `client::entry`), where rewriting and access control are done and no
//! content handler has begun. The engine decides; this package carries the decision out:
//!
//! | floor | what it holds |
//! |---|---|
//! | `tables`, `module`, `directives`, `filters`, `phases` | what nginx calls: hooks, the table of directives, the two filters at the top of the chain, phase handlers |
//! | `api` | purges over HTTP, statistics, `?explain=`, the variables |
//! | `client` | a client's request: whether it enters, its key, its states, its header and body |
//! | `fetch` | a request of the cache's own, without a client, and what becomes of its response |
//! | `worker` | what a worker process holds: its wake-ups, its parked requests, its background jobs |
//! | `config` | the `swr_cache_*` directives, what they make of a location, and the zones |
//! | `sys` | the border to nginx: requests, records, memory, lists, events, time, panics |
//!
//! Each floor uses those below it alone. nginx runs one thread in a worker; nothing here is shared between threads. nginx calls filters,
//! variables and handlers in the middle of what a request does, so there are only shared references to the records of requests
//! ([`sys::record`]): what changes in one is a `Cell`.

mod api;
mod client;
mod config;
mod directives;
mod fetch;
mod filters;
mod module;
mod phases;
mod sys;
#[cfg(feature = "export-modules")]
mod tables;
mod worker;
