//! How to purge.

use crate::store::Effect;

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is dropped.
    Hard,
    /// It is stale from now on: served as its windows allow, counted from now, and refreshed at the next request.
    Soft,
}

impl Manner {
    pub(crate) fn effect(self) -> Effect {
        match self {
            Manner::Hard => Effect::Remove,
            Manner::Soft => Effect::Age,
        }
    }
}
