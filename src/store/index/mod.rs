//! The index: from an offset to a checked entry, and all operations on entries.

pub(crate) mod arena_guard;
pub(crate) mod body;
pub(crate) mod builder;
pub(crate) mod checksum;
pub(crate) mod core;
pub(crate) mod counting;
pub(crate) mod evict;
pub(crate) mod ghosts;
pub(crate) mod labels;
pub(crate) mod lanes;
pub(crate) mod lease;
pub(crate) mod pin;
pub(crate) mod purge_log;
pub(crate) mod queue;
pub(crate) mod stats;
pub(crate) mod survey;
pub(crate) mod sweep;
