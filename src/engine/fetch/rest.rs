//! The rest of a response for a client that follows one of which the store takes no more: it asks the origin itself, and
//! skips what it has, as long as that is the same.

use super::outcome::Response;
use crate::engine::record::attributes;
use crate::engine::record::stored::Stored;
use crate::store::{Completeness, Cursor};

/// What a client has of the body.
pub(crate) struct Rest {
    seen: Stored,
    at: Cursor,
}

/// What the next bytes of the second response are to the client.
pub(super) enum Skipped {
    /// It has all of them, and more.
    All,
    /// It has so many of them, and the rest is new.
    Part(usize),
    /// They are not those that it has.
    Differ,
}

/// Whether the store has taken no more of a body that was still coming.
pub(crate) fn is_outgrown(stored: &Stored) -> bool {
    let body = stored.object().body();
    body.completeness == Completeness::Broken
        && body.len > 0
        && stored.word(attributes::FAULT) == attributes::OUTGROWN
}

impl Rest {
    /// The rest of `seen`, if `resp` can be the same response once more.
    pub(super) fn of(seen: Stored, resp: &Response<'_>) -> Option<Rest> {
        let is_the_origins = resp.from_failure.is_none() && resp.withheld.is_none();
        (is_the_origins && resp.status == seen.status()).then(|| Rest {
            seen,
            at: Cursor::default(),
        })
    }

    pub(super) fn skip(&mut self, bytes: &[u8]) -> Skipped {
        let mut left = bytes;
        while !left.is_empty() {
            let seen = self.seen.object().read(&mut self.at, left.len());
            match left.strip_prefix(seen) {
                Some(_) if seen.is_empty() => break,
                Some(rest) => left = rest,
                None => return Skipped::Differ,
            }
        }
        match self.at.pos() < self.seen.object().body().len {
            true => Skipped::All,
            false => Skipped::Part(bytes.len() - left.len()),
        }
    }
}
