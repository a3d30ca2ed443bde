//! The atomics that a region consists of, and the other dependencies on the environment: those of the standard library,
//! or with the feature `crash-points` those of `crash.rs`, which let a test end the process at any write and choose
//! which thread runs next.

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

/// The time, for timeouts.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Whether a process has ended, if a test decides.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn has_ended(_pid: u32) -> Option<bool> {
    None
}

/// The number of steps in a time budget, if a test sets it.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn steps_per_budget() -> Option<u32> {
    None
}

/// The seed of a new region.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Announces a write that is not atomic.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn step() {}

/// Where a copy is split.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn torn_at(len: usize) -> usize {
    len
}
