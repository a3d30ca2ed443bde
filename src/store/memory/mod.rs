//! The bytes of a region: their layout, and access by checked offset.

pub(crate) mod arena;
pub(crate) mod bitset;
pub(crate) mod block;
pub(crate) mod bytes;
#[cfg(feature = "crash-points")]
pub mod crash;
pub(crate) mod hash;
pub(crate) mod key;
pub(crate) mod lane;
pub(crate) mod layout;
pub(crate) mod platform;
