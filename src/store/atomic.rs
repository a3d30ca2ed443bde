//! The atomics that a region is made of: the standard library's, or with the feature `crash-points` ones that can end
//! the process at any write.

#[cfg(feature = "crash-points")]
pub(crate) use super::crash::{AtomicU8, AtomicU32, AtomicU64, step, torn_at};
#[cfg(not(feature = "crash-points"))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// A write that is no atomic is about to be made.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn step() {}

/// Where a copy is cut in two.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn torn_at(len: usize) -> usize {
    len
}
