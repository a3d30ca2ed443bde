//! What there is outside of the store: the time, and who lives.

use std::panic::resume_unwind;
use std::time::Duration;

use swrcache::store::crash::World;

use crate::threads::*;

/// The first process of each run, which outlives the others.
pub(crate) const FIRST: u32 = 1;
/// How much an access lets the time go on: patience outlasts most holds of a lock, or hardly any.
const ACCESS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];
/// For how many turns of the others one stands still.
const STILL: u32 = 600;

/// What unwinds a process that dies.
pub(crate) struct Death;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Dies,
    /// It stands still for a while.
    Stops,
}

impl Fate {
    /// It befalls the process of this thread.
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

/// From now on this thread is that process.
pub(crate) fn live_as(pid: u32) {
    be(pid, ACCESS[below(2) as usize]);
}

/// From now on this process has at most so many accesses to live, or until it stands still; or it goes on well.
pub(crate) fn mortal(most: u64) {
    let (n, fate) = match below(5) {
        0 => return,
        1 => (below(most), Fate::Stops),
        _ => (below(most), Fate::Dies),
    };
    destine(Some((n, fate)));
}

/// It lives, after all.
pub(crate) fn immortal() {
    destine(None);
}
