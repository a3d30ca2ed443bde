//! The nginx module: puts the cache into nginx.
//!
//! A request meets the cache in the PRECONTENT phase ([`handler`]), where rewriting and access control are done and no
//! content handler has begun. The engine decides; this package carries the decision out:
//!
//! | file | what it does |
//! |---|---|
//! | `directives`, `conf` | the `swr_cache_*` directives and what they make of a location |
//! | `zone`, `worker` | the shared zone; what a worker holds: its bell, its timers, its parked clients |
//! | `handler` | the way in: request -> decision -> deed |
//! | `arrival`, `redirect` | how a request came to its location; redirects inside nginx, which no fetch follows |
//! | `client` | a client's request while the cache answers it: parked, reading, relaying |
//! | `deliver` | a stored response becomes nginx header fields and buffers |
//! | `detached`, `fetch` | a fetch: a request of the cache's own, without a client, and what becomes of its response |
//! | `filters` | the two filters at the top of the chain, which swallow the output of a fetch |
//! | `statistics` | `swr_cache_stats`, and the counting of responses |
//! | `explain` | `?explain=` of the statistics |
//! | `report` | what error.log says of refreshes |
//! | `answer` | whole answers of our own |
//! | `purge`, `errand`, `turns` | the purge API; what a worker does in pieces between its events |
//! | `variables`, `origin_header`, `proxy_target` | `$swr_cache_*`; nginx's own variables of the origin and its response |
//! | `guard`, `request`, `ctx`, `fields`, `pool`, `tls`, `clock` | the border to nginx: panics, pointers, lists, memory, TLS, time |
//!
//! nginx runs one thread in a worker; nothing here is shared between threads.

mod answer;
mod arrival;
mod charset;
mod client;
mod clock;
mod conf;
mod ctx;
mod deliver;
mod detached;
mod directives;
mod errand;
mod explain;
mod fetch;
mod fields;
mod filters;
mod guard;
mod handler;
mod interim;
mod module;
mod origin_header;
mod pool;
mod proxy_target;
mod purge;
mod redirect;
mod report;
mod request;
mod response;
mod statistics;
mod tls;
mod turns;
mod variables;
mod worker;
mod zone;
