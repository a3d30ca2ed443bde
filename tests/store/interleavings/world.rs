//! The environment of the store: the time, and which processes are alive.

use std::panic::resume_unwind;
use std::time::Duration;

use swrcache::store::crash::World;

use crate::threads::*;

/// The first process of each run, which outlives the others.
pub(crate) const FIRST: u32 = 1;
/// By how much an access advances the time: either nearly all or hardly any holds of a lock end before the patience of
/// a waiter.
const ACCESS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];
/// For how many turns of the others a process stands still.
const STILL: u32 = 600;

/// Unwinds a process that dies.
pub(crate) struct Death;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Dies,
    /// The process stands still for a while.
    Stops,
}

impl Fate {
    /// Applies it to the process of this thread.
    pub(crate) fn befall(self) {
        match self {
            Fate::Stops => (0..STILL).for_each(|_| yield_now()),
            Fate::Dies => {
                perish();
                resume_unwind(Box::new(Death));
            }
        }
    }
}

pub(crate) const WORLD: World = World {
    turn,
    wait: || {
        if lives() {
            yield_now();
        }
    },
    now,
    pid: own,
    has_ended: is_dead,
};

/// A run begins.
pub(crate) fn begin() {
    forget_all();
    live_as(FIRST);
}

/// From now on, this thread stands for that process.
pub(crate) fn live_as(pid: u32) {
    be(pid, ACCESS[below(2) as usize]);
}

/// From now on, this process dies or stands still within at most so many accesses; or nothing happens to it.
pub(crate) fn mortal(most: u64) {
    let (n, fate) = match below(5) {
        0 => return,
        1 => (below(most), Fate::Stops),
        _ => (below(most), Fate::Dies),
    };
    destine(Some((n, fate)));
}

/// The process no longer dies.
pub(crate) fn immortal() {
    destine(None);
}
