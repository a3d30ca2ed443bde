//! What lookups of a process ask to be encoded, and who encodes it.

use std::sync::OnceLock;

use super::error::{Error, Result, SWRCACHE_ESTATE, SWRCACHE_EUNSUPPORTED};
use crate::engine::{Cache, EncodeQueue, Encoder};

/// How many responses may wait. What finds no room is asked for again by a later request.
const WAITING: usize = 64;

/// What lookups of a process ask for, from its first call on.
#[derive(Debug, Default)]
pub(crate) struct Encoding(OnceLock<Begun>);

#[derive(Debug)]
struct Begun {
    encoder: Encoder,
    pid: u32,
}

impl Encoding {
    /// The encoder of this process.
    pub(crate) fn encoder(&self, cache: &Cache) -> Result<&Encoder> {
        if !cfg!(feature = "encode") {
            return Err(Error::new(
                SWRCACHE_EUNSUPPORTED,
                "a library without encoders",
            ));
        }
        let begun = self.0.get_or_init(|| {
            let (queue, encoder) = EncodeQueue::new(WAITING);
            cache.encode_by(queue);
            let pid = std::process::id();
            Begun { encoder, pid }
        });
        match begun.is_own() {
            true => Ok(&begun.encoder),
            false => Err(Error::new(
                SWRCACHE_ESTATE,
                "encoding was begun in the process that this one was forked from",
            )),
        }
    }

    /// Lets go of the responses that are asked for, before the memory is left.
    pub(crate) fn end(&self) {
        if let Some(begun) = self.0.get().filter(|begun| begun.is_own()) {
            begun.encoder.clear();
        }
    }
}

impl Begun {
    /// Not of a process that this one was forked from.
    fn is_own(&self) -> bool {
        self.pid == std::process::id()
    }
}
