//! Miri's threads. Miri may switch threads at any point, and lets an access see whatever the language's memory order
//! allows. Nothing here may therefore order the accesses of two threads, except a death and its discovery.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
pub(crate) use std::thread::{JoinHandle, spawn, yield_now};

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use crate::world::{FIRST, Fate};

/// A number below `n`, determined by Miri's seed.
pub(crate) fn below(n: u64) -> u64 {
    RandomState::new().hash_one(0) % n
}

pub(crate) fn run_all(run: fn()) {
    run();
}

/// The dead processes, one bit each.
static DEAD: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    static PID: Cell<u32> = const { Cell::new(FIRST) };
    static ACCESS: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// The time when no access is left before something happens. Each thread has a time of its own.
    static THEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// The number of accesses until then. The only word that an access touches: anything more would be too slow.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    static FATE: Cell<Option<Fate>> = const { Cell::new(None) };
    static PERISHED: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn forget_all() {
    DEAD.store(0, Release);
}

/// From now on, this thread stands for that process, and an access takes that long.
pub(crate) fn be(pid: u32, access: Duration) {
    PID.set(pid);
    PERISHED.set(false);
    ACCESS.set(access);
    destine(None);
}

/// The process that this thread stands for.
pub(crate) fn own() -> u32 {
    PID.get()
}

pub(crate) fn is_dead(pid: u32) -> bool {
    DEAD.load(Acquire) >> pid & 1 == 1
}

/// Other processes see that it is dead, and everything that it did.
pub(crate) fn bury(pid: u32) {
    DEAD.fetch_or(1 << pid, Release);
}

/// From now on, the accesses of this thread's process have no effect. Those that it makes while unwinding do not write;
/// they come before it is buried nevertheless, so that they disturb no other process.
pub(crate) fn perish() {
    PERISHED.set(true);
    LEFT.set(0);
}

pub(crate) fn lives() -> bool {
    !PERISHED.get()
}

/// What happens to this process, and after how many more accesses.
pub(crate) fn destine(fate: Option<(u64, Fate)>) {
    let (left, fate) = fate.map_or((u32::MAX, None), |(n, fate)| (n as u32, Some(fate)));
    THEN.set(now() + ACCESS.get() * left);
    LEFT.set(left);
    FATE.set(fate);
}

pub(crate) fn now() -> Duration {
    if !lives() {
        // It waits for no other process.
        THEN.set(THEN.get() + Duration::from_secs(1));
    }
    THEN.get().saturating_sub(ACCESS.get() * LEFT.get())
}

pub(crate) fn choose() {}

/// Lets the others run for a while, by Miri's own clock, which advances with each of their steps.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}

/// Called before an access; returns false if the process is dead.
pub(crate) fn turn() -> bool {
    let left = LEFT.get();
    if left > 0 {
        LEFT.set(left - 1);
        return true;
    }
    if !lives() {
        return false;
    }
    let fate = FATE.get();
    destine(None);
    fate.into_iter().for_each(Fate::befall);
    true
}
