//! What keeps a region in order: repairs, cleaning up after processes, files, the consistency check.

pub(crate) mod file;
pub(crate) mod maintenance;
pub(crate) mod reap;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod snapshot;
pub(crate) mod validate;
