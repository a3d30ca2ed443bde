//! What a process holds: pinned objects, claims, fills, purges in progress.

pub(crate) mod claim;
pub(crate) mod fill;
pub(crate) mod marker;
pub(crate) mod object;
pub(crate) mod purge;
