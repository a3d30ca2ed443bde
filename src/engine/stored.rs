//! A stored response: a pinned object with its decoded head.

use super::stand_in::Etag;
use super::stand_in::{Millis, Object};

/// A stored response. Cloning pins once more; dropping unpins.
#[derive(Clone, Debug)]
pub struct Stored {
    object: Object,
}

impl Stored {
    /// The status.
    pub fn status(&self) -> u16 {
        todo!()
    }

    /// The field lines to deliver, in the origin's order, duplicates kept: with `Content-Type`, the origin's own `ETag` and
    /// `Last-Modified`; without `Date` ([`Stored::date`]), `Age` (`Serve::age`), `Content-Length`
    /// ([`Stored::content_length`]), tags, and the synthesised validators ([`Stored::synthesised`]).
    pub fn visible(&self, _each: &mut dyn FnMut(&[u8], &[u8])) {
        todo!()
    }

    /// Those of [`Stored::visible`] that a 304 carries (RFC 9110 §15.4.5).
    pub fn fields_of_304(&self, _each: &mut dyn FnMut(&[u8], &[u8])) {
        todo!()
    }

    /// The origin's `Date`, or when the response came if it had none (RFC 9110 §6.6.1). Unix time in ms.
    pub fn date(&self) -> Millis {
        todo!()
    }

    /// The origin's `Last-Modified`, or the synthesised one (Smart Edge Revalidation). Unix time in ms, whole seconds.
    pub fn last_modified(&self) -> Option<Millis> {
        todo!()
    }

    /// The origin's `ETag`; or the synthesised weak one, once the body is complete.
    pub fn etag(&self) -> Option<Etag> {
        todo!()
    }

    /// Whether the validators are the cache's own: the origin sent neither.
    pub fn synthesised(&self) -> bool {
        todo!()
    }

    /// The length of the body, once it is known.
    pub fn content_length(&self) -> Option<u64> {
        todo!()
    }

    /// The object: its body is read from here.
    pub fn object(&self) -> &Object {
        &self.object
    }
}
