//! What keeps a region in order: repair, reclaiming what dead processes left, files, the consistency check.

pub(crate) mod clean;
pub(crate) mod create;
pub(crate) mod file;
pub(crate) mod maintenance;
pub(crate) mod membership;
pub(crate) mod options;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod seal;
pub(crate) mod snapshot;
pub(crate) mod validate;
