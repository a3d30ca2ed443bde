//! The scheduler's threads, all of which share one operating-system thread.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
pub(crate) use shuttle::thread::{JoinHandle, spawn, yield_now};

use std::cell::RefCell;
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

use crate::world::{FIRST, Fate};

/// More than any run has of threads and of processes.
const MOST: usize = 8;

/// A number below `n`.
pub(crate) fn below(n: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..n)
}

/// Runs it under schedules that choose anew at each access, and under such that let one thread run for long.
pub(crate) fn run_all(run: fn()) {
    let count = std::env::var("SWRCACHE_SCHEDULES").map_or(20, |n| n.parse().expect("a number"));
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

#[derive(Default)]
struct State {
    time: Duration,
    /// By how much the next access advances the time.
    access: Duration,
    /// The process of each thread; 0 is the first one.
    pids: [u32; MOST],
    dead: [bool; MOST],
    /// The number of accesses after which something happens to a process.
    fates: [Option<(u64, Fate)>; MOST],
}

std::thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut State, usize) -> T) -> T {
    let thread: usize = shuttle::current::me().into();
    STATE.with_borrow_mut(|state| {
        let pid = state.pids[thread].max(FIRST);
        act(state, pid as usize)
    })
}

pub(crate) fn forget_all() {
    STATE.take();
}

/// From now on, this thread stands for that process, and an access takes that long.
pub(crate) fn be(pid: u32, access: Duration) {
    let thread: usize = shuttle::current::me().into();
    with(|state, _| {
        state.pids[thread] = pid;
        state.access = access;
    });
}

/// The process that this thread stands for.
pub(crate) fn own() -> u32 {
    with(|_, pid| pid as u32)
}

pub(crate) fn is_dead(pid: u32) -> bool {
    with(|state, _| state.dead[pid as usize])
}

/// Other processes see that it is dead.
pub(crate) fn bury(pid: u32) {
    with(|state, _| state.dead[pid as usize] = true);
}

/// From now on, the accesses of this thread's process have no effect.
pub(crate) fn perish() {
    bury(own());
}

pub(crate) fn lives() -> bool {
    !is_dead(own())
}

/// What happens to this process, and after how many more accesses.
pub(crate) fn destine(fate: Option<(u64, Fate)>) {
    with(|state, pid| state.fates[pid] = fate);
}

/// The time is the same for all.
pub(crate) fn now() -> Duration {
    with(|state, pid| {
        if state.dead[pid] {
            // It waits for no other process.
            state.time += Duration::from_secs(1);
        }
        state.time
    })
}

/// Any access of the scheduler's own types lets it choose.
pub(crate) fn choose() {
    AtomicBool::new(false).load(SeqCst);
}

/// Lets the others run.
pub(crate) fn pause() {
    yield_now();
}

/// Called before an access; returns false if the process is dead.
pub(crate) fn turn() -> bool {
    if !lives() {
        return false;
    }
    choose();
    let due = with(|state, pid| {
        state.time += state.access;
        let (left, fate) = state.fates[pid].as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fate = *fate;
        state.fates[pid] = None;
        Some(fate)
    });
    due.into_iter().for_each(Fate::befall);
    true
}
