//! The threads of the scheduler, or those of Miri.

#[cfg(not(miri))]
pub(crate) use shuttle_threads::*;
#[cfg(miri)]
pub(crate) use std_threads::*;

#[cfg(not(miri))]
mod shuttle_threads {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    pub(crate) use shuttle::thread::{JoinHandle, spawn, yield_now};

    use shuttle::rand::Rng;
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

    /// The number of this task.
    pub(crate) fn me() -> usize {
        shuttle::current::me().into()
    }

    /// A number below `n`.
    pub(crate) fn below(n: u64) -> u64 {
        shuttle::rand::thread_rng().gen_range(0..n)
    }

    /// Under schedules that choose anew at each access, and under such that let one go on for long.
    pub(crate) fn run_all(run: fn()) {
        let count =
            std::env::var("SWRCACHE_SCHEDULES").map_or(20, |n| n.parse().expect("a number"));
        let under = |scheduler: Box<dyn Scheduler + Send>| {
            let mut config = shuttle::Config::new();
            config.stack_size = 1 << 20;
            // The seed is printed anyway.
            config.failure_persistence = shuttle::FailurePersistence::None;
            shuttle::Runner::new(scheduler, config).run(run);
        };
        under(Box::new(RandomScheduler::new(count)));
        under(Box::new(PctScheduler::new(3, count)));
    }
}

#[cfg(miri)]
mod std_threads {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    pub(crate) use std::thread::{JoinHandle, spawn, yield_now};

    use std::hash::{BuildHasher, RandomState};

    pub(crate) fn me() -> usize {
        0
    }

    /// A number below `n`, by Miri's seed.
    pub(crate) fn below(n: u64) -> u64 {
        RandomState::new().hash_one(0) % n
    }

    pub(crate) fn run_all(run: fn()) {
        run();
    }
}
