//! The mode of a purge.

use crate::store::Effect;

/// What happens to the purged responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PurgeMode {
    /// They are removed.
    #[default]
    Hard,
    /// They are stale from now on: served as their windows allow, which are counted from now, and refreshed
    /// at the next request.
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
