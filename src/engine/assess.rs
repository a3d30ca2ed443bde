//! The verdict on a response without a store: for hosts that keep responses themselves.

use super::decide::presence::Presence;
use super::phase::{Windows, binds};
use super::policy::{Method, Policy};
use super::record::{Head, Writer};
use super::request::Request;
use super::storability::{self, Received};
use super::verdict::Unstored;
use crate::http::Fields;
use crate::store::Millis;

/// What a response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assessed {
    /// It may not be stored.
    Refused(Unstored),
    /// It may.
    Storable(Good),
}

/// What a response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// Until when.
    pub windows: Windows,
    /// How old it was when it came.
    pub initial_age: Millis,
    /// How long it is fresh from its making.
    pub lifetime: Millis,
    /// The origin forbids any stale service.
    pub binds: bool,
}

/// Judges the response (`status`, fields) to `req`, sent and answered at these times, as a cache with this policy does.
pub fn assess(
    req: &Request<'_>,
    (status, fields): (u16, &dyn Fields),
    policy: &Policy,
    (request_time, response_time): (Millis, Millis),
) -> Assessed {
    if !policy.methods.has(req.method) {
        return Assessed::Refused(Unstored::Method);
    }
    let case = Received {
        method: match req.method {
            Method::Post => &::http::Method::POST,
            Method::Head if !policy.convert_head => &::http::Method::HEAD,
            _ => &::http::Method::GET,
        },
        status,
        fields,
        own_redirect: false,
        authorised: Presence::of(req.fields).has(Presence::AUTHORIZATION),
        request_time,
        response_time,
        wall: response_time,
    };
    let facts = match storability::of(&case, policy) {
        Ok(storable) => storable.facts,
        Err(reason) => return Assessed::Refused(reason),
    };
    let record = Writer::new(b"").lines().finish(&facts);
    let Some(head) = record.as_deref().and_then(Head::decode) else {
        return Assessed::Refused(Unstored::HeaderTooLarge);
    };
    Assessed::Storable(Good {
        windows: Windows::of(&head, policy),
        initial_age: head.initial_age,
        lifetime: head.lifetime,
        binds: binds(&head),
    })
}
