//! Test support: ends the process at a chosen write to shared memory, or lets a scheduler choose which access comes
//! next. Compiled with the feature `crash-points` only.
//!
//! Every atomic of a region is one of these types, and every copy into it calls [`step`], so that no write can be
//! missed: there is a step before each write, and one in the middle of each copy.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64 as Counter};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

static ARMED: AtomicBool = AtomicBool::new(false);
static LEFT: Counter = Counter::new(u64::MAX);
static TAKEN: Counter = Counter::new(0);

/// From now on, this process is killed before its `n`th write (0 is the next one).
pub fn arm(n: u64) {
    TAKEN.store(0, Relaxed);
    LEFT.store(n, Relaxed);
    ARMED.store(true, Relaxed);
}

/// Disarms the crash point. Returns the number of writes since [`arm`].
pub fn disarm() -> u64 {
    ARMED.store(false, Relaxed);
    TAKEN.load(Relaxed)
}

std::thread_local! {
    static STEPS: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

/// Sets the number of steps in each turn of a repair or of cleaning up on this operating-system thread, in place of a
/// time limit; `None` restores the time limit.
pub fn set_steps_per_budget(steps: Option<u32>) {
    STEPS.set(steps);
}

/// The number of steps in a time budget, if a test sets it.
pub(crate) fn steps_per_budget() -> Option<u32> {
    STEPS.get()
}

/// Replaces the environment of a region in tests in which threads of one process stand for processes.
#[derive(Debug)]
pub struct World {
    /// Called before each access to shared memory, so that another thread may run first. False: the process that makes
    /// the access is dead, and writes nothing.
    pub turn: fn() -> bool,
    /// Called when a thread waits for another one, which should run.
    pub wait: fn(),
    /// Returns the time.
    pub now: fn() -> Duration,
    /// Returns the process id of the caller.
    pub pid: fn() -> u32,
    /// Returns whether a process is dead.
    pub has_ended: fn(u32) -> bool,
}

static WORLD: OnceLock<World> = OnceLock::new();

/// Places this process in that environment. Only the first call has an effect.
pub fn enter(world: World) {
    let _ = WORLD.set(world);
}

#[inline]
fn turn() -> bool {
    WORLD.get().is_none_or(|world| (world.turn)())
}

/// Replaces `std::hint::spin_loop`.
pub(crate) fn spin_loop() {
    WORLD
        .get()
        .map_or_else(std::hint::spin_loop, |world| (world.wait)());
}

/// Replaces `std::thread::yield_now`.
pub(crate) fn yield_now() {
    WORLD
        .get()
        .map_or_else(std::thread::yield_now, |world| (world.wait)());
}

/// Replaces `Instant::now`.
pub(crate) fn now() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    match WORLD.get() {
        Some(world) => *START.get_or_init(Instant::now) + (world.now)(),
        None => Instant::now(),
    }
}

/// The id of this process.
pub(crate) fn pid() -> u32 {
    WORLD
        .get()
        .map_or_else(std::process::id, |world| (world.pid)())
}

/// Whether a process has ended, if a test decides.
pub(crate) fn has_ended(pid: u32) -> Option<bool> {
    WORLD.get().map(|world| (world.has_ended)(pid))
}

/// A lock in private memory that lets other threads run while it is taken.
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

/// Announces a write.
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
            // SAFETY: the call ends this process, and none of its code runs afterwards.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            loop {
                std::hint::spin_loop();
            }
        }
    }
}

/// The seed of every region: constant, so that an operation makes the same writes each time.
pub(crate) fn seed() -> u64 {
    42
}

/// Where a copy is split: there is a step before each part.
pub(crate) fn torn_at(len: usize) -> usize {
    len / 2
}

/// Like [`step`], and returns whether to make the write.
#[inline]
fn changes() -> bool {
    let lives = turn();
    kill_if_due();
    lives
}

macro_rules! atomic {
    ($name:ident, $core:ty, $value:ty) => {
        /// An atomic of the region whose writes are counted.
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
            // A dead process can't take what the exchange guards.
            atomic!(@exchange $value, compare_exchange, |_, now| Err(now));
            // Callers repeat this until it succeeds, so for a dead process it seems to succeed.
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

/// For the attributes of objects, which the user of the store accesses.
impl std::ops::Deref for AtomicU64 {
    type Target = std::sync::atomic::AtomicU64;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
