//! The variants that a validation names beside the stale one: any of them may have become what the request selects
//! (RFC 9111 §4.3.1, §4.3.3).
//!
//! Only such as could stand in at once: whole, not large (should the origin name one, its bytes are copied in one go), with
//! an entity tag of the origin's, and in the same content coding. Between codings the tags of real origins don't tell
//! apart what they should (nginx drops the `W/` of a compressed response in its 304, Apache httpd its `-gzip`), and clients that take
//! compressed bytes would be left with plain ones.

use super::policy::Policy;
use super::record::{Head, LineUse, LinesFor};
use super::stored::Stored;
use crate::http::fields::first;
use crate::http::{Comparison, Etag, Fields};
use crate::store::{Millis, Region};

/// Most variants named beside the stale one, and the bytes of their tags together: every origin takes a field of that length.
const MAX_NAMED: usize = 16;
const MAX_BYTES: usize = 1024;

/// The longest body of such a variant: a worker copies it in well under a millisecond.
const MAX_BODY: u64 = 1 << 20;

/// The other variants of `entry`'s key that a validation of it may name, the most recent first.
pub(crate) fn siblings(
    region: &Region,
    entry: &Stored,
    policy: &Policy,
    now: Millis,
) -> Vec<Stored> {
    let meta = entry.object().meta();
    let Some(own) = entry.head().etag(meta).filter(|tag| is_valid(tag)) else {
        return Vec::new();
    };
    let coding = coding(entry.head(), meta);
    let mut seen: Vec<Box<[u8]>> = vec![own.into()];
    let (mut found, mut bytes) = (Vec::new(), own.len());
    for _ in 0..MAX_NAMED {
        let mut wanted = |meta: &[u8]| is_wanted(meta, entry.status(), coding.as_deref(), &seen);
        let looked = region.lookup(entry.object().key(), now, &mut wanted);
        let Some(object) = looked.ok().and_then(|looked| looked.object) else {
            break;
        };
        let Ok(sibling) = Stored::new(object, policy) else {
            break;
        };
        let tag: Box<[u8]> = tag(&sibling).into();
        bytes += tag.len();
        if bytes > MAX_BYTES {
            break;
        }
        seen.push(tag);
        if sibling.is_complete() && sibling.content_length() <= Some(MAX_BODY) {
            found.push(sibling);
        }
    }
    found
}

/// The one of `siblings` that a 304 with these fields names; the most recent, if several have the tag (RFC 9111 §4.3.4).
pub(crate) fn named<'a>(siblings: &'a [Stored], response: &dyn Fields) -> Option<&'a Stored> {
    first(response, "etag", |value| {
        let named = Etag::parse(value)?;
        let how = match named.weak {
            true => Comparison::Weak,
            false => Comparison::Strong,
        };
        let is_named = |sibling: &&Stored| {
            Etag::parse(tag(sibling)).is_some_and(|own| own.matches(&named, how))
        };
        siblings.iter().find(is_named)
    })
}

/// The origin's tag of a stored response.
pub(crate) fn tag(stored: &Stored) -> &[u8] {
    let tag = stored.head().etag(stored.object().meta());
    tag.unwrap_or_default()
}

fn is_wanted(meta: &[u8], status: u16, coding: Option<&[u8]>, seen: &[Box<[u8]>]) -> bool {
    let Some(head) = Head::decode(meta) else {
        return false;
    };
    let is_new = |tag: &[u8]| is_valid(tag) && seen.iter().all(|other| **other != *tag);
    head.status == status
        && head.etag(meta).is_some_and(is_new)
        && self::coding(&head, meta).as_deref() == coding
}

fn is_valid(tag: &[u8]) -> bool {
    Etag::parse(tag).is_some()
}

fn coding(head: &Head, meta: &[u8]) -> Option<Box<[u8]>> {
    let lines = LinesFor {
        lines: head.lines(meta),
        uses: LineUse::SHOWN,
    };
    first(&lines, "content-encoding", |value| Some(value.into()))
}
