//! How to purge.

use crate::store::Effect;

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PurgeMode {
    /// It is dropped.
    #[default]
    Hard,
    /// It is stale from now on: served as its windows allow, counted from now, and refreshed at the next request.
    Soft,
}

impl PurgeMode {
    pub(crate) fn effect(self) -> Effect {
        match self {
            PurgeMode::Hard => Effect::Remove,
            PurgeMode::Soft => Effect::Age,
        }
    }
}
