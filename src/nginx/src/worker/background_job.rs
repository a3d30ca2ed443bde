//! Purges, and what writes have made invalid, that a worker carries out in pieces between its events, so that its clients don't notice.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nginx_sys::{NGX_LOG_ERR, ngx_event_t};
use swrcache::engine::Removal;
use swrcache::store::Busy;

use crate::api::purge::{self, Asker};
use crate::sys::boundary::{guard, log_cycle};
use crate::sys::posted_event::{PIECE, Turns};
use crate::sys::request::Req;

/// How many places are looked at between two looks at the clock.
pub(crate) const PLACES: u32 = 1024;
/// When to try again where a lock is held by a process that is stopped, in milliseconds, and how often: half a minute long.
const LATER: usize = 20;
const TRIES: u32 = 1500;
/// How often at the end of the worker.
const TRIES_AT_END: u32 = 50;

/// A removal under way.
struct Errand {
    removal: Removal,
    /// Who is to be told of its end; `None` if nobody asked, or the client has gone: the removal goes on.
    asker: Option<Asker>,
    /// What is purged, and where, for the log.
    about: String,
    tries: u32,
}

struct Errands {
    list: UnsafeCell<VecDeque<Errand>>,
}

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for Errands {}

static ERRANDS: Errands = Errands {
    list: UnsafeCell::new(VecDeque::new()),
};

/// What is left when the worker exits is done then.
static TURNS: Turns = Turns::new(on_turn);

/// No caller keeps the reference across a call into nginx or another function of this file.
fn list() -> &'static mut VecDeque<Errand> {
    // SAFETY: see Errands.
    unsafe { &mut *ERRANDS.list.get() }
}

/// Does it, soon. The asker, if there is one, is told by [`purge::done`].
pub(crate) fn start(removal: Removal, asker: Option<Asker>, about: String) {
    list().push_back(Errand {
        removal,
        asker,
        about,
        tries: 0,
    });
    TURNS.next();
}

/// The request ends before its purge does.
pub(crate) fn forget(r: Req) {
    for errand in list() {
        if errand.asker.as_ref().is_some_and(|asker| asker.r == r) {
            errand.asker = None;
        }
    }
}

/// Ends what is under way: the worker exits.
pub(crate) fn finish_all() {
    for errand in list().drain(..) {
        let mut removal = errand.removal;
        let done = (0..TRIES_AT_END).any(|_| {
            let done = removal.step(u32::MAX) == Ok(true);
            if !done {
                // Another puts the zone in order, and says no at once. No client is left here to notice.
                sleep(Duration::from_millis(LATER as u64));
            }
            done
        });
        if !done {
            failed(&errand.about);
        }
    }
}

extern "C" fn on_turn(_: *mut ngx_event_t) {
    guard("a purge", (), || {
        match work() {
            Some(Ok(())) => {
                if let Some(errand) = list().pop_front() {
                    tell(errand.asker, Some(errand.removal.removed()));
                }
            }
            Some(Err(Busy)) => return try_later(),
            None => {}
        }
        if !list().is_empty() {
            TURNS.next();
        }
    });
}

/// A piece of the first errand; nothing if it is not done yet.
fn work() -> Option<Result<(), Busy>> {
    let errand = list().front_mut()?;
    let began = Instant::now();
    while began.elapsed() < PIECE {
        match errand.removal.step(PLACES) {
            Ok(true) => return Some(Ok(())),
            Ok(false) => {}
            Err(busy) => return Some(Err(busy)),
        }
    }
    None
}

fn try_later() {
    let Some(errand) = list().front_mut() else {
        return;
    };
    errand.tries += 1;
    if errand.tries > TRIES {
        let errand = list().pop_front();
        if let Some(errand) = errand {
            failed(&errand.about);
            tell(errand.asker, None);
        }
    }
    if !list().is_empty() {
        TURNS.later(LATER);
    }
}

/// Tells of a purge that could not be carried out.
pub(crate) fn failed(about: &str) {
    let text = format!(
        "swr_cache: the purge of {about} failed: the zone was busy, or its memory is damaged; some of it may still be served until it expires, \
         purge it again"
    );
    log_cycle(NGX_LOG_ERR as usize, &text);
}

fn tell(asker: Option<Asker>, purged: Option<u64>) {
    if let Some(asker) = asker {
        asker.r.outside(|| purge::done(&asker, purged));
    }
}
