//! The index: from an offset to a checked entry, and everything that is done to entries.

pub(crate) mod arena_guard;
pub(crate) mod checksum;
pub(crate) mod core;
pub(crate) mod evict;
pub(crate) mod lease;
pub(crate) mod pin;
pub(crate) mod queue;
pub(crate) mod stats;
pub(crate) mod survey;
