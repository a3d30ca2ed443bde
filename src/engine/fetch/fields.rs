//! The request fields that a fetch sends.

use super::permit::{Permit, Purpose};
use crate::http::Fields;
use crate::http::fields::is;

/// Request fields of a client that no fetch sends: a fetch asks for the complete response, validates what the cache has
/// stored, and frames its own message.
const NEVER: [&str; 9] = [
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "content-length",
    "transfer-encoding",
    "expect",
];

/// Request fields of a client that no refresh sends: one client's credentials must not decide what all others get.
const NEVER_ON_REFRESH: [&str; 2] = ["cookie", "authorization"];

fn is_among(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|other| is(name, other))
}

/// Calls `each` with the fields to send in place of `client`'s. On a refresh, the fields that `Vary` names are those of
/// the stored request (RFC 9111 §4.3.1). The conditional fields follow.
pub(super) fn each(permit: &Permit, client: &dyn Fields, each: &mut dyn FnMut(&[u8], &[u8])) {
    let refresh = permit.terms.purpose == Purpose::Refresh;
    let entry = permit.terms.entry.as_ref().filter(|_| refresh);
    let nominated = || {
        entry
            .into_iter()
            .flat_map(|entry| entry.head().nominated(entry.object().meta()))
    };
    client.each(&mut |name, value| {
        let stays = is_among(name, &NEVER)
            || refresh && is_among(name, &NEVER_ON_REFRESH)
            || nominated().any(|field| field.name.eq_ignore_ascii_case(name));
        if !stays {
            each(name, value);
        }
    });
    for field in nominated().filter(|field| !is_among(field.name, &NEVER)) {
        if let Some(sent) = field.sent {
            each(field.name, sent);
        }
    }
    permit.conditionals(each);
}
