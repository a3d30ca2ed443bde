//! A response on its way into the store.

use super::stand_in::{Millis, NoSpace};
use super::{Policy, Reason, Stored};

/// An object being filled. Dropping it breaks the body off, as [`Filling::broken`] but with nothing remembered.
#[derive(Debug)]
pub struct Filling {
    streaming: bool,
}

/// What a completed fill has become.
#[derive(Debug)]
pub enum Finished {
    /// The entry of its key.
    New(Stored),
    /// The bytes were those already stored: the entry was renewed and keeps its body and synthesised validators.
    Same(Stored),
    /// A purge or a newer fill came in between: complete, for those who have it, but in the store no more.
    Superseded(Stored),
    /// The body was not as long as announced. With the stale copy to serve instead, if there is one.
    Broken(Option<Stored>),
}

impl Finished {
    /// What to deliver to the client that led.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Finished::New(stored) | Finished::Same(stored) | Finished::Superseded(stored) => {
                Some(stored)
            }
            Finished::Broken(stale) => stale.as_ref(),
        }
    }
}

impl Filling {
    /// Appends to the body. An error leaves what there is; the caller then calls [`Filling::abandon`].
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), NoSpace> {
        todo!()
    }

    /// The response being filled: to be delivered as it grows if [`Filling::streaming`].
    pub fn stored(&self) -> Stored {
        todo!()
    }

    /// `true`: readers may follow the body as it grows. `false`: it fills beside a usable stale copy and is seen only when finished.
    pub fn streaming(&self) -> bool {
        self.streaming
    }

    /// The body is complete.
    pub fn finish(self, _now: Millis) -> Finished {
        todo!()
    }

    /// The body broke off: counts as a failed fetch. Gives the stale copy to serve instead, if stale-if-error allows one.
    pub fn broken(self, _policy: &Policy, _now: Millis) -> Option<Stored> {
        todo!()
    }

    /// The host gives the fill up for `reason` (too large): the key is remembered to be passed by.
    pub fn abandon(self, _reason: Reason, _now: Millis) {
        todo!()
    }
}
