//! The atomics that a region is made of, and what else comes from outside of it: the standard library's, or with the
//! feature `crash-points` those of `crash.rs`, by which a test can end the process at any write, and choose who goes on.

#[cfg(feature = "crash-points")]
pub(crate) use crate::store::memory::crash::{
    AtomicU8, AtomicU32, AtomicU64, Mutex, has_ended, now, pid, seed, spin_loop, step,
    steps_per_budget, torn_at, yield_now,
};
#[cfg(not(feature = "crash-points"))]
pub(crate) use parking_lot::Mutex;
pub(crate) use parking_lot::MutexGuard;
#[cfg(not(feature = "crash-points"))]
pub(crate) use std::hint::spin_loop;
#[cfg(not(feature = "crash-points"))]
pub(crate) use std::process::id as pid;
#[cfg(not(feature = "crash-points"))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
#[cfg(not(feature = "crash-points"))]
pub(crate) use std::thread::yield_now;

/// The time, for patience.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Whether a process has ended, where that is not for the system to say.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn has_ended(_pid: u32) -> Option<bool> {
    None
}

/// How many steps a time budget has, where that is not for the clock to say.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn steps_per_budget() -> Option<u32> {
    None
}

/// The secret of a new region.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

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
