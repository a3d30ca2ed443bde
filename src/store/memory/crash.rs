//! For tests: ends the process at a chosen write to shared memory, or lets a scheduler choose whose access is the next.
//! Compiled with the feature `crash-points` only.
//!
//! Every atomic of a region is one of these, and every copy into it passes [`step`], so that no write can be
//! forgotten: a step is taken before each, and in the middle of each copy.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64 as Counter};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

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

std::thread_local! {
    static STEPS: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

/// From now on turns of a repair or of cleaning up, on this thread of the system's, have so many steps and no time; or the
/// clock tells again.
pub fn set_steps_per_budget(steps: Option<u32>) {
    STEPS.set(steps);
}

/// How many steps a time budget has, if that is for the test to say.
pub(crate) fn steps_per_budget() -> Option<u32> {
    STEPS.get()
}

/// What there is outside of a region, where a test plays it: threads of one process stand for processes.
#[derive(Debug)]
pub struct World {
    /// Before each access to shared memory: another may go on first. False: who makes it is dead, and writes nothing.
    pub turn: fn() -> bool,
    /// Somebody waits for another: that one should go on.
    pub wait: fn(),
    /// The time.
    pub now: fn() -> Duration,
    /// Who makes the access.
    pub pid: fn() -> u32,
    /// Whether that one is dead.
    pub has_ended: fn(u32) -> bool,
}

static WORLD: OnceLock<World> = OnceLock::new();

/// From now on this whole process is in that world. Only the first call counts.
pub fn enter(world: World) {
    let _ = WORLD.set(world);
}

#[inline]
fn turn() -> bool {
    WORLD.get().is_none_or(|world| (world.turn)())
}

/// As `std::hint::spin_loop`.
pub(crate) fn spin_loop() {
    WORLD
        .get()
        .map_or_else(std::hint::spin_loop, |world| (world.wait)());
}

/// As `std::thread::yield_now`.
pub(crate) fn yield_now() {
    WORLD
        .get()
        .map_or_else(std::thread::yield_now, |world| (world.wait)());
}

/// As `Instant::now`.
pub(crate) fn now() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    match WORLD.get() {
        Some(world) => *START.get_or_init(Instant::now) + (world.now)(),
        None => Instant::now(),
    }
}

/// The number of this process.
pub(crate) fn pid() -> u32 {
    WORLD
        .get()
        .map_or_else(std::process::id, |world| (world.pid)())
}

/// Whether a process has ended, if that is for the test to say.
pub(crate) fn has_ended(pid: u32) -> Option<bool> {
    WORLD.get().map(|world| (world.has_ended)(pid))
}

/// A lock of private memory, which lets others go on while it cannot be taken.
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        loop {
            turn();
            match self.0.try_lock() {
                Some(guard) => return guard,
                None => yield_now(),
            }
        }
    }
}

/// A write is about to be made.
#[inline]
pub(crate) fn step() {
    turn();
    kill_if_due();
}

#[inline]
fn kill_if_due() {
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

/// The secret of every region: the same, so that the writes of an operation are the same each time.
pub(crate) fn seed() -> u64 {
    42
}

/// Where a copy is cut in two: there is a step before each part.
pub(crate) fn torn_at(len: usize) -> usize {
    len / 2
}

/// As [`step`], and whether the write is to be made.
#[inline]
fn changes() -> bool {
    let lives = turn();
    kill_if_due();
    lives
}

macro_rules! atomic {
    ($name:ident, $core:ty, $value:ty) => {
        /// An atomic of the region, whose writes are counted.
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub struct $name($core);

        impl $name {
            /// As in the standard library.
            #[inline]
            pub fn load(&self, order: Ordering) -> $value {
                turn();
                self.0.load(order)
            }
            /// As in the standard library.
            #[inline]
            pub fn store(&self, value: $value, order: Ordering) {
                if changes() {
                    self.0.store(value, order);
                }
            }
            // What it guards cannot be taken by the dead.
            atomic!(@exchange $value, compare_exchange, |_, now| Err(now));
            // It is tried until it is done: to the dead it looks as if it were.
            atomic!(@exchange $value, compare_exchange_weak, |old, _| Ok(old));
            atomic!(@change $value, swap fetch_add fetch_or fetch_and fetch_max fetch_min);
        }
    };
    (@exchange $value:ty, $method:ident, $to_the_dead:expr) => {
        /// As in the standard library.
        #[inline]
        pub fn $method(
            &self,
            old: $value,
            new: $value,
            ok: Ordering,
            not: Ordering,
        ) -> Result<$value, $value> {
            if changes() {
                return self.0.$method(old, new, ok, not);
            }
            let answer: fn($value, $value) -> Result<$value, $value> = $to_the_dead;
            answer(old, self.0.load(not))
        }
    };
    (@change $value:ty, $($method:ident)+) => {
        $(
            /// As in the standard library.
            #[inline]
            pub fn $method(&self, value: $value, order: Ordering) -> $value {
                if changes() {
                    self.0.$method(value, order)
                } else {
                    self.0.load(Relaxed)
                }
            }
        )+
    };
}

atomic!(AtomicU8, std::sync::atomic::AtomicU8, u8);
atomic!(AtomicU32, std::sync::atomic::AtomicU32, u32);
atomic!(AtomicU64, std::sync::atomic::AtomicU64, u64);

/// For the attributes of objects, which belong to the user of the store.
impl std::ops::Deref for AtomicU64 {
    type Target = std::sync::atomic::AtomicU64;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
