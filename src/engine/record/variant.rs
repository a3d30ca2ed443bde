//! Variants of a key: which stored response a request selects (RFC 9111 §4.1), and what a new one records for that.

use xxhash_rust::xxh3::Xxh3;

use crate::engine::policy::Policy;
use crate::engine::record::{self, RecordHead, Writer};
use crate::http::Fields;
use crate::http::fields::each_named;
use crate::http::vary::{self, Nominated, Reduce};

/// The fields that `policy` normalises before they are compared; names that can't be normalised are compared unchanged.
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

/// Whether a request with `fields` selects the stored response with `record`.
pub(crate) fn selects(record: &[u8], fields: &dyn Fields, policy: &Policy) -> bool {
    let Some(head) = RecordHead::decode(record) else {
        return true;
    };
    if !head.varies() {
        return true;
    }
    let reduce = reduce(policy);
    head.nominated(record).all(|nominated| {
        let stored = nominated.sent.map(|_| nominated.matched);
        let name = || std::str::from_utf8(nominated.name);
        is_as_sent(&nominated, fields)
            || name().is_ok_and(|name| vary::matches(name, stored, fields, reduce))
    })
}

/// Whether the request has the field exactly as the stored request did. Then it need not be normalised to be compared,
/// which is the case for most requests of one browser for one page.
fn is_as_sent(nominated: &record::NominatedField<'_>, fields: &dyn Fields) -> bool {
    let (mut lines, mut equal) = (0, true);
    fields.each(&mut |name, value| {
        if name.len() == nominated.name.len() && name.eq_ignore_ascii_case(nominated.name) {
            lines += 1;
            equal &= nominated.sent == Some(value);
        }
    });
    match nominated.sent {
        Some(_) => lines == 1 && equal,
        None => lines == 0,
    }
}

/// Combines the lines of a request field (RFC 9110 §5.3).
fn combined(name: &str, fields: &dyn Fields, out: &mut Vec<u8>) {
    each_named(fields, name, &mut |value| {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    });
}

/// Writes the values that the nominated fields have in the request `fields`.
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
        combined(name, fields, &mut sent);
        let present = vary::normalize(name, fields, reduce, &mut matched);
        writer.nominated(name.as_bytes(), present.then_some(&sent), &matched);
    }
}

/// The sub-key under which requests for the same variant are collapsed, as far as another stored variant (`other`)
/// tells what the response varies by. Zero for a key whose response is not known to vary.
pub(crate) fn sub_key(other: &[u8], fields: &dyn Fields, policy: &Policy) -> u64 {
    let Some(head) = RecordHead::decode(other).filter(RecordHead::varies) else {
        return 0;
    };
    let reduce = reduce(policy);
    let mut hash = Xxh3::new();
    let mut matched = Vec::new();
    for nominated in head.nominated(other) {
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
