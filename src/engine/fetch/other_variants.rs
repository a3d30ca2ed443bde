//! The variants that a validation names beside the stale one: any of them may have become what the request selects
//! (RFC 9111 §4.3.1, §4.3.3).
//!
//! Only such as could stand in at once: whole, not large (should the origin name one, its bytes are copied in one go), with
//! an entity tag of the origin's, and in the same content coding. Between codings the tags of real origins don't tell
//! apart what they should (nginx drops the `W/` of a compressed response in its 304, Apache httpd its `-gzip`), and clients that take
//! compressed bytes would be left with plain ones.

use crate::engine::policy::Policy;
use crate::engine::record::stored::Stored;
use crate::engine::record::{Head, LineUse, LinesFor};
use crate::http::fields::first;
use crate::http::{Comparison, Etag, Fields};
use crate::store::{Millis, Region};

/// Most variants named beside the stale one, and the bytes of their tags together: every origin takes a field of that length.
const MAX_NAMED: usize = 16;
const MAX_BYTES: usize = 1024;

/// The longest body of such a variant: a worker copies it in well under a millisecond.
const MAX_BODY: u64 = 1 << 20;

/// What a variant must be to be named beside another one.
struct Alike {
    status: u16,
    coding: Option<Box<[u8]>>,
}

impl Alike {
    fn of(head: &Head, meta: &[u8]) -> Alike {
        Alike {
            status: head.status,
            coding: coding(head, meta),
        }
    }

    /// The tag of the variant with this record, if it is such a one.
    fn tag<'a>(&self, meta: &'a [u8]) -> Option<&'a [u8]> {
        let head = Head::decode(meta)?;
        let tag = head.etag(meta).filter(|tag| is_valid(tag))?;
        let alike = head.status == self.status && coding(&head, meta) == self.coding;
        alike.then_some(tag)
    }
}

/// The tags of the other variants of `entry`'s key that a validation of it may name, the most recent first. The variants are
/// not held meanwhile: the origin may take its time.
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

/// The variant that a 304 with these fields names, if its tag is one of `tags`, compared so; the most recent, if several have it
/// (RFC 9111 §4.3.4).
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
            // Byte for byte: `W/"x"` and `"x"` are two variants.
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

/// Whether it is whole, and can be copied in one go.
fn is_small(stored: &Stored) -> bool {
    stored.is_complete() && stored.content_length() <= Some(MAX_BODY)
}

/// The origin's tag of a stored response.
pub(crate) fn tag(stored: &Stored) -> &[u8] {
    let tag = stored.head().etag(stored.object().meta());
    tag.unwrap_or_default()
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
