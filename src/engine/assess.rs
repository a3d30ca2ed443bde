//! Assesses a response without a store, for hosts that keep responses themselves.

use super::decide::presence::Presence;
use super::phase::{Windows, binds};
use super::policy::{Method, Policy};
use super::record::{RecordHead, Writer};
use super::request::Request;
use super::storability::{self, Received};
use super::verdict::Unstored;
use crate::http::Fields;
use crate::store::Millis;

/// What a response may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assessed {
    /// It may not be stored, for this reason.
    Refused(Unstored),
    /// It may be stored.
    Storable(Good),
}

/// How long a response that may be stored can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// The ends of its windows.
    pub windows: Windows,
    /// The corrected initial age in milliseconds (RFC 9111 §4.2.3).
    pub initial_age: Millis,
    /// The freshness lifetime in milliseconds.
    pub lifetime: Millis,
    /// Whether the origin forbids all stale service.
    pub binds: bool,
}

/// Assesses the response (`status`, fields) to `req`, with the times at which the request was sent and the response
/// received, as a cache with this policy does.
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
    let Some(head) = record.as_deref().and_then(RecordHead::decode) else {
        return Assessed::Refused(Unstored::HeaderTooLarge);
    };
    Assessed::Storable(Good {
        windows: Windows::of(&head, policy),
        initial_age: head.initial_age,
        lifetime: head.lifetime,
        binds: binds(&head),
    })
}
