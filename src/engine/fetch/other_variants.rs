//! The variants that a validation names in addition to the stale one. Any of them may be the response that the request
//! selects now (RFC 9111 §4.3.1, §4.3.3).
//!
//! A variant is named only if it could be served at once: complete, small (if the origin selects it, its body is copied
//! in one go), with an `ETag` of the origin, and in the same content coding. Origins do not keep the tags of different
//! codings apart reliably (in a 304, nginx omits the `W/` and Apache httpd the `-gzip` of a compressed response's tag),
//! so clients that accept compression could be left with uncompressed responses.

use crate::engine::policy::Policy;
use crate::engine::record::stored::Stored;
use crate::engine::record::{LineUse, LinesFor, RecordHead};
use crate::http::fields::first;
use crate::http::{Comparison, Etag, Fields};
use crate::store::{Millis, Region};

/// The maximum number of variants named in addition to the stale one, and the maximum total size of their tags in
/// bytes: every origin accepts a field of that length.
const MAX_NAMED: usize = 16;
const MAX_BYTES: usize = 1024;

/// The maximum body size of such a variant: a worker copies it in well under a millisecond.
const MAX_BODY: u64 = 1 << 20;

/// The properties that a variant must share with the stale one to be named.
struct Alike {
    status: u16,
    coding: Option<Box<[u8]>>,
}

impl Alike {
    fn of(head: &RecordHead, meta: &[u8]) -> Alike {
        Alike {
            status: head.status,
            coding: coding(head, meta),
        }
    }

    /// Returns the tag of the variant with this record, if it has these properties.
    fn tag<'a>(&self, meta: &'a [u8]) -> Option<&'a [u8]> {
        let head = RecordHead::decode(meta)?;
        let tag = head.etag(meta).filter(|tag| is_valid(tag))?;
        let alike = head.status == self.status && coding(&head, meta) == self.coding;
        alike.then_some(tag)
    }
}

/// Returns the tags of the other variants of `entry`'s key that its validation may name, most recent first. The
/// variants are not pinned meanwhile, as the origin may take long.
pub(crate) fn tags(
    region: &Region,
    entry: &Stored,
    policy: &Policy,
    now: Millis,
) -> Vec<Box<[u8]>> {
    let meta = entry.object().meta();
    let alike = Alike::of(entry.head(), meta);
    let Some(own) = alike.tag(meta) else {
        return Vec::new();
    };
    let mut seen: Vec<Box<[u8]>> = vec![own.into()];
    let (mut named, mut bytes) = (Vec::new(), own.len());
    for _ in 0..MAX_NAMED {
        let is_new = |tag: &[u8]| seen.iter().all(|other| **other != *tag);
        let mut select = |meta: &[u8]| alike.tag(meta).is_some_and(is_new);
        let Some(other) = find(region, entry, policy, now, &mut select) else {
            break;
        };
        let tag: Box<[u8]> = tag(&other).into();
        bytes += tag.len();
        if bytes > MAX_BYTES {
            break;
        }
        if is_small(&other) {
            named.push(tag.clone());
        }
        seen.push(tag);
    }
    named
}

/// Returns the variant that a 304 with these fields selects, if its tag is one of `tags` by the given comparison. If
/// several variants have that tag, it is the most recent one (RFC 9111 §4.3.4).
pub(crate) fn named(
    region: &Region,
    (entry, tags): (&Stored, &[Box<[u8]>]),
    (response, how): (&dyn Fields, Comparison),
    policy: &Policy,
    now: Millis,
) -> Option<Stored> {
    let tag = first(response, "etag", |value| {
        let named = Etag::parse(value)?;
        let is_named = |tag: &&[u8]| match how {
            Comparison::Weak => Etag::parse(tag).is_some_and(|own| own.matches(&named, how)),
            // Byte by byte: `W/"x"` and `"x"` may be two variants.
            Comparison::Strong => *tag == value,
        };
        tags.iter().map(|tag| &**tag).find(is_named)
    })?;
    let alike = Alike::of(entry.head(), entry.object().meta());
    let mut select = |meta: &[u8]| alike.tag(meta) == Some(tag);
    find(region, entry, policy, now, &mut select).filter(is_small)
}

fn find(
    region: &Region,
    entry: &Stored,
    policy: &Policy,
    now: Millis,
    select: &mut dyn FnMut(&[u8]) -> bool,
) -> Option<Stored> {
    let looked = region.lookup(entry.object().key(), now, select).ok()?;
    Stored::new(looked.object?, policy).ok()
}

/// Whether the response is complete, and small enough to be copied in one go.
fn is_small(stored: &Stored) -> bool {
    stored.is_complete() && stored.content_length() <= Some(MAX_BODY)
}

/// The `ETag` that the origin gave to a stored response.
pub(crate) fn tag(stored: &Stored) -> &[u8] {
    let tag = stored.head().etag(stored.object().meta());
    tag.unwrap_or_default()
}

fn is_valid(tag: &[u8]) -> bool {
    Etag::parse(tag).is_some()
}

fn coding(head: &RecordHead, meta: &[u8]) -> Option<Box<[u8]>> {
    let lines = LinesFor {
        lines: head.lines(meta),
        uses: LineUse::SHOWN,
    };
    first(&lines, "content-encoding", |value| Some(value.into()))
}
