//! The cache's policy: a request, what is stored for it and the time make a [`Decision`].
//!
//! The life of an entry, from the moment it is stored. Every window is counted in *staleness*, so the windows overlap:
//!
//! | phase | when | a request gets | the origin is asked |
//! |---|---|---|---|
//! | fresh | age < lifetime | `HIT` | no (with `refresh_ahead`: towards the end, in the background) |
//! | inside SWR | staleness < stale-while-revalidate | `UPDATING`, at once | once, in the background |
//! | inside SIE only | staleness < stale-if-error | the origin's answer; `STALE` if that fails | once, others wait |
//! | too old | beyond both | the origin's answer, even an error | once, others wait |
//!
//! `must-revalidate`, `proxy-revalidate` and `no-cache` close both windows, whatever the configuration says.
//!
//! ```text
//! decide ── Serve(stored [, refresh: Fetch])
//!        ├─ Wait ── woken ── decide(Waited)
//!        ├─ Fetch(Fetch) ── header ── write.. end ── deliver
//!        │               └─ failed
//!        ├─ Pass
//!        └─ GatewayTimeout
//! ```
//!
//! The life of an entry in a host without a network:
//!
//! ```
//! use http::{HeaderMap, Method, StatusCode, Uri, header};
//! use std::sync::Arc;
//! use swrcache::engine::{Cache, Decision, Order, Policy, ReadOn, ReplyBody, Request, Response, Status, Turn, key};
//! use swrcache::store::{Region, RegionOptions};
//!
//! let region = Region::private(1 << 20, &RegionOptions::default())?;
//! region.enter(None)?;
//! let cache = Cache::new(Arc::new(region));
//! let policy = Policy::default();
//! let (key, fields) = (key::of_uri("http", "example.com", &Uri::from_static("/")), HeaderMap::new());
//! let request = Request::new(&Method::GET, &key, &fields);
//!
//! // Nothing is stored: this request leads the fetch.
//! let now = 1_700_000_000_000;
//! let Decision::Fetch(mut fetch) = cache.decide(&request, &policy, Turn::First, now) else { panic!() };
//! let answered = HeaderMap::from_iter([(header::CACHE_CONTROL, "max-age=60, stale-while-revalidate=600".parse()?)]);
//! let response = Response::new(StatusCode::OK, &answered, (now, now));
//! let Order::Deliver(brought) = fetch.header(&response, &fields, &policy, now) else { panic!() };
//! fetch.write(b"hello")?;
//! fetch.end(now);
//! assert_eq!(brought.status, Status::Miss);
//!
//! // Seventy seconds later it is stale: served at once, and to be refreshed beside.
//! let Decision::Serve(serve) = cache.decide(&request, &policy, Turn::First, now + 70_000) else { panic!() };
//! assert_eq!((serve.status, serve.age), (Status::Updating, 70));
//! assert!(serve.refresh.is_some());
//! let (mut body, mut head) = (ReplyBody::new(&serve, (&Method::GET).into()), HeaderMap::new());
//! body.head(&serve, &mut head);
//! assert_eq!((&head[header::AGE], serve.status_code()), (&"70".parse()?, 200));
//! assert_eq!(body.read_on(&serve), ReadOn::Bytes(b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/axum` is a whole one: a layer in front of the handlers of a server.
//!
//! A [`Fetch`] is the permission to fetch and the state of the fetch: it holds a lease in the store, and dropping it
//! releases the lease. A host reports events to it and carries out the [`Order`]s that it returns. The engine reads no
//! clock and does no I/O; `now` is Unix time in milliseconds, and durations are in milliseconds.
#![forbid(unsafe_code)]

mod assess;
mod backoff;
mod cache;
mod cache_status;
#[cfg(test)]
mod collisions;
mod decide;
pub(crate) mod encode;
mod explain;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hit_for_miss;
pub mod key;
mod phase;
pub mod policy;
mod purge;
mod record;
mod request;
pub mod stats;
mod storability;
pub mod text;
mod verdict;

pub use assess::{Assessed, Good, assess};
pub use backoff::Trouble;
pub use cache::Cache;
pub use cache_status::{Part, cache_status};
pub use decide::decision::{Answer, Decision, Pass, Serve, Wait};
pub use decide::reply::{HeadLines, ReadOn, ReplyBody};
pub use encode::{EncodeQueue, Encoder};
pub use explain::{
    Action, Advice, ExplainedDecision, Explanation, Fails, Remembered, Variant, advice,
    table as reasons_table,
};
pub use fetch::{Aside, Delivery, Failure, Fetch, Order, Response, Wants, Withheld};
pub use phase::{Phase, Windows};
pub use policy::{
    Directives, IgnoreFields, Invalidate, Method, MethodSet, Policy, StatusMatch, UseStale, Window,
};
pub use purge::api::read as read_purge;
pub use purge::by_method::ByMethod;
pub use purge::invalidation::Invalidation;
pub use purge::mode::PurgeMode;
pub use purge::request::{PurgeRequest, Resolved};
pub use purge::{Removal, Selection};
pub use record::stored::{EntityTag, HostFields, Stored};
pub use request::{Request, Turn};
pub use verdict::{Asked, Failed, Passed, Reason, Status, Unstored};
