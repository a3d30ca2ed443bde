//! Which request fields a fetch sends.

use super::permit::{Permit, Purpose};
use crate::http::Fields;
use crate::http::fields::is;

/// Fields of a client that no fetch sends: a fetch wants the whole, validates what the cache has, and frames a message of its own.
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

/// Fields of a client that no refresh sends: one visitor's credentials must not decide what everybody gets.
const NEVER_ON_REFRESH: [&str; 2] = ["cookie", "authorization"];

fn is_among(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|other| is(name, other))
}

/// Shows `each` the fields to send in place of `client`'s: on a refresh those that `Vary` names as the stored request had them, none
/// where it had none (RFC 9111 §4.3.1); and the conditions of a validation.
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
