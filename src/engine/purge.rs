//! Purging on purpose.

use super::cache::Cache;
use super::tags;
use crate::store::{Busy, Effect, Millis, Purge, Targets};

/// What to purge: everything that any of these finds, with all its variants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// All that is stored.
    pub all: bool,
    /// Whole keys.
    pub keys: Vec<Box<[u8]>>,
    /// The texts of keys of the form that [`key`](super::key) describes, whatever the parts.
    pub texts: Vec<Box<[u8]>>,
    /// Beginnings of the texts of keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// Tags that responses came with (`swr_cache_tag_headers`).
    pub tags: Vec<Box<[u8]>>,
}

/// How to purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is dropped.
    Hard,
    /// It is stale from now on: served as its windows allow, counted from now, and refreshed at the next request.
    Soft,
}

impl Cache {
    /// Begins a purge; what was asked of the origin before it never comes to be served as if it were new. Call
    /// [`Purge::step`] until it is done; it then counts the responses it has found.
    pub fn purge(&self, what: Selection, how: Manner, now: Millis) -> Result<Purge, Busy> {
        let targets = Targets {
            all: what.all,
            keys: what.keys,
            texts: what.texts,
            prefixes: what.prefixes,
            labels: what.tags.iter().map(|t| tags::tag(t)).collect(),
        };
        let effect = match how {
            Manner::Hard => Effect::Remove,
            Manner::Soft => Effect::Age,
        };
        self.region().purge(targets, effect, now)
    }
}
