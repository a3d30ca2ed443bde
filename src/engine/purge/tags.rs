//! Tags of a response, by which purges find it: from `swr_cache_tag_headers`, each field by its own grammar.
//!
//! | field | members | |
//! |---|---|---|
//! | `Cache-Groups` | a structured List of Strings (RFC 9875 §2) | each is a tag, and also a group of its origin |
//! | `Surrogate-Key` | separated by white space | a comma inside a tag is part of it, one at its end or beginning is not |
//! | any other, such as `Cache-Tag` | separated by commas, bars or white space | |
//!
//! Tags are compared byte by byte. The store gets a hash of each; if two tags have the same hash, a purge
//! removes too much, which is safe.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::engine::policy::Policy;
use crate::http::cache_groups::{self, GROUPS};
use crate::http::fields::{each_named, is};
use crate::http::{Fields, invalidation};
use crate::store::MAX_LABELS;

/// Distinguishes groups from tags of the same name.
const GROUP_SEED: u64 = 9875;

/// The labels of a response from `origin` (scheme and authority) with these lists of fields. `None` if they are more than the
/// store takes: a purge of one that is left out would find nothing.
pub(crate) fn labels(of: &[&dyn Fields], policy: &Policy, origin: &[u8]) -> Option<Vec<u64>> {
    let mut labels = Vec::new();
    for fields in of {
        for name in &policy.tag_fields {
            collect(*fields, name, origin, &mut labels);
        }
    }
    labels.sort_unstable();
    labels.dedup();
    (labels.len() <= MAX_LABELS).then_some(labels)
}

fn collect(fields: &dyn Fields, name: &str, origin: &[u8], labels: &mut Vec<u64>) {
    if is(name.as_bytes(), GROUPS) {
        for group in cache_groups::parse(fields, GROUPS) {
            labels.push(tag(group.as_bytes()));
            labels.extend(self::group(origin, &group));
        }
        return;
    }
    each_named(fields, name, &mut |value| {
        each_of(name.as_bytes(), value, &mut |member| {
            labels.push(tag(member))
        });
    });
}

/// Calls `each` with the tags in a line of the field `name`, which is not `Cache-Groups`.
pub(crate) fn each_of(name: &[u8], value: &[u8], each: &mut dyn FnMut(&[u8])) {
    let by_space = is(name, "surrogate-key");
    let parts = |b: &u8| b.is_ascii_whitespace() || !by_space && matches!(b, b',' | b'|');
    for member in value.split(parts) {
        let member = match by_space {
            true => without_commas(member),
            false => member,
        };
        if !member.is_empty() {
            each(member);
        }
    }
}

/// In lists such as "a, b", the comma is not part of a tag.
fn without_commas(mut member: &[u8]) -> &[u8] {
    while let [b',', rest @ ..] | [rest @ .., b','] = member {
        member = rest;
    }
    member
}

/// Calls `each` with the tags in these fields, all of which hold tags.
pub(crate) fn each_name(fields: &dyn Fields, each: &mut dyn FnMut(&[u8])) {
    for group in cache_groups::parse(fields, GROUPS) {
        each(group.as_bytes());
    }
    fields.each(&mut |name, value| {
        if is(name, GROUPS) {
            return;
        }
        each_of(name, value, each);
    });
}

/// The label of a tag.
pub(crate) fn tag(tag: &[u8]) -> u64 {
    xxh3_64(tag)
}

/// The label of a cache group of an origin (RFC 9875 §2.1); `None` if the origin is unknown.
pub(crate) fn group(origin: &[u8], group: &str) -> Option<u64> {
    let origin = invalidation::origin(std::str::from_utf8(origin).ok()?)?;
    let text = format!("{origin} {group}");
    Some(xxh3_64_with_seed(text.as_bytes(), GROUP_SEED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(fields: &[(&str, &str)], origin: &str) -> Vec<u64> {
        labels(&[&fields], &Policy::default(), origin.as_bytes()).expect("not too many")
    }

    fn sorted(mut labels: Vec<u64>) -> Vec<u64> {
        labels.sort_unstable();
        labels
    }

    #[test]
    fn each_field_by_its_grammar() {
        let tags = |tags: &[&str]| sorted(tags.iter().map(|t| tag(t.as_bytes())).collect());
        assert_eq!(
            all(&[("surrogate-key", "a,b  c\td")], ""),
            tags(&["a,b", "c", "d"])
        );
        assert_eq!(
            all(&[("Cache-Tag", "a,b , c d,,")], ""),
            tags(&["a", "b", "c", "d"])
        );
        for field in ["X-Magento-Tags", "xkey", "X-Cache-Tags", "Cache-Tags"] {
            assert_eq!(
                all(&[(field, "a,b|c d")], ""),
                tags(&["a", "b", "c", "d"]),
                "{field}"
            );
        }
        assert_eq!(
            all(&[("Surrogate-Key", "/a, /b ,/c,")], ""),
            tags(&["/a", "/b", "/c"])
        );
        assert_eq!(
            all(&[("Cache-Tag", "x"), ("cache-tag", "y, x")], ""),
            tags(&["x", "y"])
        );
        assert_eq!(
            all(&[("Cache-Groups", "\"g h\", \"i\"")], ""),
            tags(&["g h", "i"])
        );
        assert_eq!(
            all(&[("Cache-Groups", "\"open"), ("X-Tag", "z")], ""),
            [0; 0]
        );
    }

    #[test]
    fn groups_are_of_one_origin() {
        // RFC 9875 §2.1
        let of = |origin: &str| group(origin.as_bytes(), "g");
        assert_eq!(of("https://H.example:443"), of("https://h.example"));
        assert_ne!(of("https://h.example"), of("http://h.example"));
        assert_ne!(of("https://h.example"), of("https://h.example:444"));
        assert_ne!(of("https://h.example"), Some(tag(b"g")));
        assert_eq!(of("nothing"), None);
        let labels = all(&[("Cache-Groups", "\"g\"")], "https://h.example");
        assert_eq!(labels.len(), 2);
        assert!(labels.contains(&of("https://h.example").expect("an origin")));
    }

    #[test]
    fn all_of_them_or_none() {
        let of = |count: usize| {
            let many: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            let value = many.join(" ");
            let fields: &[(&str, &str)] = &[("Surrogate-Key", &value)];
            let found = labels(&[&fields], &Policy::default(), b"");
            found.map(|labels| labels.len())
        };
        assert_eq!(of(MAX_LABELS), Some(MAX_LABELS));
        assert_eq!(of(MAX_LABELS + 1), None);
    }
}
