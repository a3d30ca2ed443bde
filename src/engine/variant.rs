//! Variants of a key: which stored response a request selects (RFC 9111 §4.1), and what a new one remembers.

use xxhash_rust::xxh3::Xxh3;

use super::policy::Policy;
use super::record::{Head, Writer};
use crate::http::Fields;
use crate::http::vary::{self, Nominated, Reduce};

/// The fields that `policy` reduces before they are compared; names that can't be reduced are compared as they are.
pub(crate) fn reduce(policy: &Policy) -> Reduce {
    let listed = |field: &str| {
        policy
            .vary_normalize
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field))
    };
    Reduce {
        accept_encoding: listed("accept-encoding"),
        accept_language: listed("accept-language"),
    }
}

/// Whether the stored response with `record` is one for a request with `fields`.
pub(crate) fn selects(record: &[u8], fields: &dyn Fields, policy: &Policy) -> bool {
    let Some(head) = Head::decode(record) else {
        return true;
    };
    if !head.varies() {
        return true;
    }
    let reduce = reduce(policy);
    head.nominated(record).all(|nominated| {
        let stored = nominated.sent.map(|_| nominated.matched);
        std::str::from_utf8(nominated.name)
            .is_ok_and(|name| vary::matches(name, stored, fields, reduce))
    })
}

/// Writes what the nominated fields were in the request `fields`.
pub(crate) fn remember(
    writer: &mut Writer,
    names: &Nominated,
    fields: &dyn Fields,
    policy: &Policy,
) {
    let reduce = reduce(policy);
    let (mut sent, mut matched) = (Vec::new(), Vec::new());
    for name in names.iter() {
        sent.clear();
        matched.clear();
        vary::normalize(name, fields, Reduce::default(), &mut sent);
        let present = vary::normalize(name, fields, reduce, &mut matched);
        writer.nominated(name.as_bytes(), present.then_some(&sent), &matched);
    }
}

/// The sub-key under which requests for the same variant collapse, as far as a stored sibling tells what the key varies
/// by. Zero for a key that is not known to vary.
pub(crate) fn sub_key(sibling: &[u8], fields: &dyn Fields, policy: &Policy) -> u64 {
    let Some(head) = Head::decode(sibling).filter(Head::varies) else {
        return 0;
    };
    let reduce = reduce(policy);
    let mut hash = Xxh3::new();
    let mut matched = Vec::new();
    for nominated in head.nominated(sibling) {
        matched.clear();
        let name = std::str::from_utf8(nominated.name).unwrap_or_default();
        let present = vary::normalize(name, fields, reduce, &mut matched);
        hash.update(nominated.name);
        hash.update(&[0, u8::from(present)]);
        hash.update(&(matched.len() as u64).to_le_bytes());
        hash.update(&matched);
    }
    hash.digest() | 1
}
