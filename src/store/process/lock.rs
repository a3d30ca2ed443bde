//! A lock that survives the death of its holder.
//!
//! | word | meaning | transitions |
//! |---|---|---|
//! | 0 | free | any process: -> own token |
//! | token of a live process | held | the holder: -> 0 |
//! | token of a dead process | abandoned | any process that notices: -> own token; it learns that the lock was abandoned |
//!
//! Waiting is bounded: a stopped holder must not stall the event loops of the other processes.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::store::memory::platform::{AtomicU32, now, spin_loop, yield_now};
use crate::store::process::local::Local;
use crate::store::process::table::{Processes, Token};

/// How long to wait for a lock before giving up.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long to wait for a holder that was just waited for without success: it is probably stopped.
const LITTLE_PATIENCE: Duration = Duration::from_micros(100);
/// How long a holder is considered stopped before it is waited for again with full patience.
const STOPPED_FOR: Duration = Duration::from_millis(200);
/// How often to ask the system whether the holder is alive.
const CHECK_EVERY: Duration = Duration::from_millis(2);

/// A held lock; dropping it releases the lock.
pub(crate) struct Guard<'a> {
    word: &'a AtomicU32,
    /// Whether the previous holder died while it held the lock.
    pub(crate) abandoned: bool,
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.word.store(0, Release);
    }
}

/// Takes the lock if it is free, abandoned by a process known to be dead, or released soon; never waits long.
pub(crate) fn acquire_soon<'a>(
    word: &'a AtomicU32,
    own: Token,
    processes: Processes<'_>,
) -> Option<Guard<'a>> {
    for _ in 0..256 {
        let holder = word.load(Relaxed);
        let gone = holder != 0 && holder != own && processes.is_gone(holder);
        if (holder == 0 || gone) && take(word, holder, own) {
            return Some(Guard {
                word,
                abandoned: gone,
            });
        }
        spin_loop();
    }
    None
}

/// Takes the lock; `None` after [`PATIENCE`].
#[inline]
pub(crate) fn acquire<'a>(
    word: &'a AtomicU32,
    local: &Local,
    processes: Processes<'_>,
) -> Option<Guard<'a>> {
    if take(word, 0, local.token) {
        return Some(Guard {
            word,
            abandoned: false,
        });
    }
    acquire_slowly(word, local, processes)
}

#[inline]
fn take(word: &AtomicU32, old: Token, own: Token) -> bool {
    word.compare_exchange(old, own, Acquire, Relaxed).is_ok()
}

#[cold]
fn acquire_slowly<'a>(
    word: &'a AtomicU32,
    local: &Local,
    processes: Processes<'_>,
) -> Option<Guard<'a>> {
    let (own, began) = (local.token, now());
    let mut checked = began;
    loop {
        for _ in 0..128 {
            if word.load(Relaxed) == 0 && take(word, 0, own) {
                return Some(Guard {
                    word,
                    abandoned: false,
                });
            }
            spin_loop();
        }
        let now = now();
        let holder = word.load(Relaxed);
        if holder != 0
            && is_dead(holder, own, processes, now, &mut checked)
            && take(word, holder, own)
        {
            return Some(Guard {
                word,
                abandoned: true,
            });
        }
        let stuck = holder != 0 && seems_stopped(local, holder, now);
        if now - began > if stuck { LITTLE_PATIENCE } else { PATIENCE } {
            // It may have died since the last check.
            if stuck && holder != own && processes.check(holder) {
                continue;
            }
            if holder != 0 && !stuck {
                *local.stopped.lock() = Some((holder, now));
            }
            return None;
        }
        yield_now();
    }
}

fn seems_stopped(local: &Local, holder: Token, now: Instant) -> bool {
    let stopped = *local.stopped.lock();
    stopped.is_some_and(|(token, since)| token == holder && now - since < STOPPED_FOR)
}

fn is_dead(
    holder: Token,
    own: Token,
    processes: Processes<'_>,
    now: Instant,
    checked: &mut Instant,
) -> bool {
    if holder == own {
        return false;
    }
    if processes.is_gone(holder) {
        return true;
    }
    let due = now - *checked > CHECK_EVERY;
    if due {
        *checked = now;
    }
    due && processes.check(holder)
}
