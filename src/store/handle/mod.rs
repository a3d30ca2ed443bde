//! What a process holds: a pinned object, a claim, a growing object, a purge under way.

pub(crate) mod claim;
pub(crate) mod fill;
pub(crate) mod marker;
pub(crate) mod object;
pub(crate) mod purge;
