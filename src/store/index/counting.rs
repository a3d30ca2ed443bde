//! Whether statistics are counted: always, but in a build that measures what counting costs.
//!
//! Such a build (feature `counting-by-turns`) counts for some requests and not for the next ones, in one process: two processes
//! of one build differ by more than counting costs.

#[cfg(feature = "counting-by-turns")]
mod by_turns {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    static COUNTING: AtomicBool = AtomicBool::new(true);

    /// Whether this process counts now.
    #[inline]
    pub fn is_counting() -> bool {
        COUNTING.load(Relaxed)
    }

    /// Says whether this process counts from now on.
    #[inline]
    pub fn set_counting(counting: bool) {
        COUNTING.store(counting, Relaxed);
    }
}

#[cfg(feature = "counting-by-turns")]
pub use by_turns::*;

/// Whether this process counts now.
#[cfg(not(feature = "counting-by-turns"))]
pub(crate) const fn is_counting() -> bool {
    true
}
