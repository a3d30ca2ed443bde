//! For tests: ends the process at a chosen write to shared memory. Compiled with the feature `crash-points` only.
//!
//! Every atomic of a region is one of these, and every copy into it passes [`step`], so that no write can be
//! forgotten: a step is taken before each, and in the middle of each copy.

use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64 as Counter};

static ARMED: AtomicBool = AtomicBool::new(false);
static LEFT: Counter = Counter::new(u64::MAX);
static TAKEN: Counter = Counter::new(0);

/// From now on this process is killed before its `n`th write (0 is the next one).
pub fn arm(n: u64) {
    TAKEN.store(0, Relaxed);
    LEFT.store(n, Relaxed);
    ARMED.store(true, Relaxed);
}

/// From now on nothing happens. Returns how many writes there were since [`arm`].
pub fn disarm() -> u64 {
    ARMED.store(false, Relaxed);
    TAKEN.load(Relaxed)
}

/// A write is about to be made.
#[inline]
pub(crate) fn step() {
    if ARMED.load(Relaxed) {
        TAKEN.fetch_add(1, Relaxed);
        if LEFT.fetch_sub(1, Relaxed) == 0 {
            // SAFETY: ends this very process; nothing of it runs on.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            loop {
                std::hint::spin_loop();
            }
        }
    }
}

/// Where a copy is cut in two: there is a step before each part.
pub(crate) fn torn_at(len: usize) -> usize {
    len / 2
}

macro_rules! atomic {
    ($name:ident, $inner:ty, $value:ty) => {
        /// An atomic of the region, whose writes are counted.
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub struct $name($inner);

        impl $name {
            /// As in the standard library.
            #[inline]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }
            /// As in the standard library.
            #[inline]
            pub fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }
            /// As in the standard library.
            #[inline]
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                ok: Ordering,
                not: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(old, new, ok, not)
            }
            /// As in the standard library.
            #[inline]
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                ok: Ordering,
                not: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, ok, not)
            }
            atomic!(@change $value, swap fetch_add fetch_or fetch_and fetch_max fetch_min);
        }
    };
    (@change $value:ty, $($method:ident)+) => {
        $(
            /// As in the standard library.
            #[inline]
            pub fn $method(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.$method(value, order)
            }
        )+
    };
}

atomic!(AtomicU8, std::sync::atomic::AtomicU8, u8);
atomic!(AtomicU32, std::sync::atomic::AtomicU32, u32);
atomic!(AtomicU64, std::sync::atomic::AtomicU64, u64);

/// For the words of objects, which belong to the user of the store.
impl std::ops::Deref for AtomicU64 {
    type Target = std::sync::atomic::AtomicU64;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
