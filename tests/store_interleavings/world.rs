//! What there is outside of the store: the time, and who lives.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::time::Duration;

use swrcache::store::crash::World;

use crate::threads::*;

/// The first process of each run, which outlives the others.
const FIRST: u32 = 1;
/// How much each access lets the time go on: patience outlasts most holds of a lock, or hardly any.
const ACCESS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// For how many turns of the others one stands still.
const STILL: u32 = 600;

/// What unwinds a process that dies.
pub(crate) struct Death;

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Dies,
    /// It stands still for a while.
    Stops,
}

#[derive(Default)]
struct Now {
    accesses: u32,
    hurry: usize,
    /// The process of each task of the scheduler's.
    pids: HashMap<usize, u32>,
    dead: Vec<u32>,
    /// After how many more accesses something happens to a process.
    fates: HashMap<u32, (u64, Fate)>,
    /// What the dead have waited for.
    afterlife: Duration,
}

std::thread_local! {
    // The scheduler's tasks share one thread of the system's.
    static STATE: RefCell<Now> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut Now, u32) -> T) -> T {
    let task = me();
    STATE.with_borrow_mut(|now| {
        let pid = now.pids.get(&task).copied().unwrap_or(FIRST);
        act(now, pid)
    })
}

/// A run begins.
pub(crate) fn begin() {
    STATE.take();
    let hurry = below(2);
    with(|now, _| now.hurry = hurry as usize);
}

/// From now on this thread is that process.
pub(crate) fn live_as(pid: u32) {
    let task = me();
    with(|now, _| now.pids.insert(task, pid));
}

/// The process of this thread has ended.
pub(crate) fn end() {
    with(|now, pid| now.dead.push(pid));
}

pub(crate) fn is_dead(pid: u32) -> bool {
    with(|now, _| now.dead.contains(&pid))
}

fn turn() -> bool {
    if with(|now, pid| now.dead.contains(&pid)) {
        return false;
    }
    // Any access of the scheduler's own lets it choose.
    AtomicBool::new(false).load(SeqCst);
    let fate = with(|now, pid| {
        now.accesses += 1;
        let (left, fate) = now.fates.get_mut(&pid)?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fate = *fate;
        now.fates.remove(&pid);
        if fate == Fate::Dies {
            now.dead.push(pid);
        }
        Some(fate)
    });
    match fate {
        None => {}
        Some(Fate::Stops) => (0..STILL).for_each(|_| yield_now()),
        Some(Fate::Dies) => resume_unwind(Box::new(Death)),
    }
    true
}

fn wait() {
    if !with(|now, pid| now.dead.contains(&pid)) {
        yield_now();
    }
}

pub(crate) const WORLD: World = World {
    turn,
    wait,
    now: || {
        with(|now, pid| {
            if now.dead.contains(&pid) {
                // It waits for nobody.
                now.afterlife += Duration::from_secs(1);
            }
            now.accesses * ACCESS[now.hurry] + now.afterlife
        })
    },
    pid: || with(|_, pid| pid),
    has_ended: is_dead,
};

/// From now on this process has at most so many accesses to live, or until it stands still; or it goes on well.
pub(crate) fn mortal(most: u64) {
    let (n, fate) = match below(5) {
        0 => return,
        1 => (below(most), Fate::Stops),
        _ => (below(most), Fate::Dies),
    };
    if !cfg!(miri) {
        with(|now, pid| now.fates.insert(pid, (n, fate)));
    }
}

/// It lives, after all.
pub(crate) fn immortal() {
    with(|now, pid| now.fates.remove(&pid));
}
