//! The cache as hosts hold it.

use std::sync::Arc;

use super::stand_in::{Millis, Region};
use super::{Decision, Led, Policy, Request, Serve, Stored, Turn};

/// A cache: policy over one region. Cheap to clone; all methods may be called from any thread.
#[derive(Clone)]
pub struct Cache {
    region: Arc<Region>,
}

impl Cache {
    /// A cache over `region`, which the caller has entered (see `Region::enter`).
    pub fn new(region: Arc<Region>) -> Cache {
        Cache { region }
    }

    /// The region below.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// What to do with `req` at `now`. Never fails: where the cache can't do its part, the answer is a [`Pass`](super::Pass).
    pub fn decide(
        &self,
        _req: &Request<'_>,
        _policy: &Policy,
        _turn: Turn,
        _now: Millis,
    ) -> Decision {
        todo!()
    }

    /// The delivery of what a fetch brought, whatever its freshness, to a client that waited for that fetch.
    pub fn deliver(
        &self,
        _object: &Stored,
        _req: &Request<'_>,
        _policy: &Policy,
        _led: Led,
        _now: Millis,
    ) -> Serve {
        todo!()
    }
}
