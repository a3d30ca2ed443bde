//! The permission to fetch.

use super::stand_in::Fields;
use super::stand_in::Millis;
use super::{Failure, Outcome, Policy, Response, Stored};

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nobody waits for it: send none of the client's credentials.
    Refresh,
    /// A client waits for it.
    Fetch,
}

/// The permission to fetch a key, with what is known of the stale copy. Dropping it gives up: the place is free for the
/// next, nothing is remembered.
#[derive(Debug)]
pub struct Permit {
    purpose: Purpose,
}

impl Permit {
    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The conditional fields to send to the origin: `If-None-Match`, `If-Modified-Since` (RFC 9111 §4.3.1). The client's own
    /// conditionals, `Range` and `If-Range` are never sent on a fetch.
    pub fn conditionals(&self, _each: &mut dyn FnMut(&str, &[u8])) {
        todo!()
    }

    /// The fields of the stored request that `Vary` names, to be sent on a refresh in place of the client's (§4.3.1).
    pub fn stored_request_fields(&self, _each: &mut dyn FnMut(&[u8], &[u8])) {
        todo!()
    }

    /// The copy that stale-if-error allows should this fetch fail or outlast the patience.
    pub fn stale(&self) -> Option<Stored> {
        todo!()
    }

    /// The origin (or the host in its place) has answered. `req_fields` are those that were sent to it.
    pub fn respond(
        self,
        _resp: &Response<'_>,
        _req_fields: &dyn Fields,
        _policy: &Policy,
        _now: Millis,
    ) -> Outcome {
        todo!()
    }

    /// No answer came. `retry_after` is a pause that the origin asked for, from now.
    pub fn fail(
        self,
        _failure: Failure,
        _retry_after: Option<Millis>,
        _policy: &Policy,
        _now: Millis,
    ) -> Outcome {
        todo!()
    }
}
