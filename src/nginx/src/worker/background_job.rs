//! Removals (of purges, and of what writes have made invalid) that a worker carries out in pieces between its events, so that no request is
//! delayed by them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nginx_sys::{NGX_LOG_ERR, ngx_event_t};
use swrcache::engine::Removal;
use swrcache::store::Busy;

use crate::sys::boundary::guard;
use crate::sys::event::{PIECE, PostedEvent};
use crate::sys::log::log_cycle;
use crate::sys::one_thread::OneThread;
use crate::sys::request::Req;

/// How many entry slots are visited between two looks at the clock.
pub(crate) const PLACES: u32 = 1024;
/// The pause before the next try while a stopped process holds a lock, in milliseconds, and how often to try: for half a minute.
const LATER: u64 = 20;
const TRIES: u32 = 1500;
/// How often to try when the worker exits.
const TRIES_AT_END: u32 = 50;

/// A request that waits for the end of a job, and what answers it then: with the number of responses removed, or with nothing if the job
/// could not be carried out.
pub(crate) struct Asker {
    pub(crate) r: Req,
    pub(crate) answer: Box<dyn FnOnce(Option<u64>)>,
}

/// Removals under way, one behind the other.
struct Job {
    removals: VecDeque<Removal>,
    /// The number of responses that those have removed which are done.
    removed: u64,
    /// `None` if no request waits, or its client has gone: the removal goes on.
    asker: Option<Asker>,
    /// What is removed, and where, for the log.
    about: String,
    tries: u32,
}

/// No borrow is held while a request is answered, which may start another job.
static JOBS: OneThread<RefCell<VecDeque<Job>>> = OneThread::new(RefCell::new(VecDeque::new()));

/// The next piece of work.
static TURN: PostedEvent = PostedEvent::new(on_turn);

/// Starts removals, which go on between the worker's events.
pub(crate) fn start(
    removals: impl IntoIterator<Item = Removal>,
    asker: Option<Asker>,
    about: String,
) {
    JOBS.borrow_mut().push_back(Job {
        removals: removals.into_iter().collect(),
        removed: 0,
        asker,
        about,
        tries: 0,
    });
    TURN.next();
}

/// Forgets the request: it ends before its job does.
pub(crate) fn forget(r: Req) {
    for job in JOBS.borrow_mut().iter_mut() {
        if job.asker.as_ref().is_some_and(|asker| asker.r == r) {
            job.asker = None;
        }
    }
}

/// Finishes all jobs: the worker exits.
pub(crate) fn finish_all() {
    let jobs = JOBS.take();
    for mut job in jobs {
        job.removals.retain(|removal| {
            let in_vain = removal.is_in_vain();
            if in_vain {
                log_failure(&job.about);
            }
            !in_vain
        });
        let done = (0..TRIES_AT_END).any(|_| {
            job.removals
                .retain_mut(|removal| removal.step(u32::MAX) != Ok(true));
            let done = job.removals.is_empty();
            if !done {
                // Another process is repairing the zone. This worker has no clients left that could be delayed.
                sleep(Duration::from_millis(LATER));
            }
            done
        });
        if !done {
            log_failure(&job.about);
        }
    }
}

extern "C" fn on_turn(_: *mut ngx_event_t) {
    guard("a purge", (), || {
        match work() {
            Some(Ok(())) => {
                let done = JOBS.borrow_mut().pop_front();
                if let Some(job) = done {
                    tell(job.asker, Some(job.removed));
                }
            }
            Some(Err(Busy)) => return try_later(),
            None => {}
        }
        if !JOBS.borrow().is_empty() {
            TURN.next();
        }
    });
}

/// Does a piece of the first job; gives nothing if more is left to do.
fn work() -> Option<Result<(), Busy>> {
    let mut jobs = JOBS.borrow_mut();
    let job = jobs.front_mut()?;
    let began = Instant::now();
    while began.elapsed() < PIECE {
        let Some(removal) = job.removals.front_mut() else {
            return Some(Ok(()));
        };
        match removal.step(PLACES) {
            Ok(true) => {
                job.removed += removal.removed();
                job.removals.pop_front();
            }
            Ok(false) => {}
            Err(busy) => return Some(Err(busy)),
        }
    }
    None
}

fn try_later() {
    if let Some(job) = given_up() {
        log_failure(&job.about);
        tell(job.asker, None);
    }
    if !JOBS.borrow().is_empty() {
        TURN.later(LATER);
    }
}

/// The first job, if it has been tried for too long, or its zone is damaged.
fn given_up() -> Option<Job> {
    let mut jobs = JOBS.borrow_mut();
    let job = jobs.front_mut()?;
    job.tries += 1;
    let in_vain = job.removals.front().is_some_and(Removal::is_in_vain);
    if in_vain || job.tries > TRIES {
        jobs.pop_front()
    } else {
        None
    }
}

/// Logs that a purge could not be carried out.
pub(crate) fn log_failure(about: &str) {
    let text = format!(
        "swr_cache: the purge of {about} failed: the zone was busy, or its memory is damaged; some of it may still be served until it expires, \
         purge it again"
    );
    log_cycle(NGX_LOG_ERR, &text);
}

fn tell(asker: Option<Asker>, removed: Option<u64>) {
    if let Some(Asker { r, answer }) = asker {
        r.outside(|| answer(removed));
    }
}
