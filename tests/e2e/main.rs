//! End-to-end tests: the module in a real nginx, between a scripted origin and a client that looks at every byte.
//!
//! `make e2e` builds what they need and runs them. By hand: `SWR_NGINX` and `SWR_MODULE` name the nginx and the
//! module (default: those in build/vendored), then `cargo nextest run --test e2e` or `cargo test --test e2e`.

mod support;

mod borders;
mod chaos;
mod clients;
mod clock;
mod collapse;
mod compress;
mod compressing_origins;
mod config;
mod ctl;
mod cycle;
mod damage;
mod delivery;
mod directives;
mod documents;
mod examples;
mod faults;
mod growing;
mod handlers;
mod harness;
mod http3;
mod http_rules;
mod many_nodes;
mod overrides;
mod persist;
mod purge;
mod purge_requests;
mod query;
mod redirects;
mod revalidation;
mod security;
mod seeds;
mod stale_if_error;
mod statistics;
mod subrequests;
mod tiers;
mod transparent;
mod twins;
mod uncacheable;
mod visitors;
mod workers;
