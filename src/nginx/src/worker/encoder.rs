//! The thread of a worker that encodes stored responses (`swr_cache_compress`): the event loop never does.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{io, ptr, thread};

use nginx_sys::NGX_LOG_WARN;
use swrcache::engine::{EncodeQueue, Encoder};

use crate::config::location::MainConf;
use crate::sys::log::log_cycle;
use crate::sys::one_thread::OneThread;

/// How many responses may wait for it. What finds no room is asked for again by a later request.
const WAITING: usize = 64;

/// What is added to the worker's niceness: requests come first, also where both have the same processor.
///
/// Linux lets the thread go on that has the earlier deadline, its turn divided by its weight (EEVDF, since 6.6). At niceness 19 and [`TURN`]
/// that of this thread is later than that of any worker, whose turn is 3 ms at most; at 10 it was earlier, and a request that woke the
/// worker could wait for the next tick of the scheduler. On a processor that requests fill it still gets a seventieth. SCHED_IDLE would leave
/// it a three-hundredth, and have it wait for long while it holds a lock of the store; nor may an unprivileged thread ever leave it again.
const NICER: i32 = 19;

/// How long it goes on, in nanoseconds, where a request has something to do on the same processor: the least that Linux takes. Its usual
/// turn of one or two milliseconds would be the latency of many a HIT. Linux before 6.12 ignores it.
const TURN: u64 = 100_000;

static QUEUE: OneThread<RefCell<Option<EncodeQueue>>> = OneThread::new(RefCell::new(None));

/// Starts the thread, for all zones.
pub(crate) fn start(main: &MainConf) {
    let (queue, encoder) = EncodeQueue::new(WAITING);
    if let Err(error) = spawn(encoder) {
        let text = format!(
            "swr_cache_compress: can't start the thread that encodes; this worker makes no encoded forms: {error}"
        );
        return log_cycle(NGX_LOG_WARN, &text);
    }
    for cache in main.zones.iter().filter_map(|zone| zone.cache()) {
        cache.encode_by(queue.clone());
    }
    *QUEUE.borrow_mut() = Some(queue);
}

/// Has it store nothing any more: the worker ends. What it encodes at this moment is lost.
pub(crate) fn stop() {
    if let Some(queue) = QUEUE.borrow_mut().take() {
        queue.close();
    }
}

/// The thread takes no signal: nginx's own are for its one thread.
fn spawn(encoder: Encoder) -> io::Result<()> {
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are there for the calls; a set that was filled is initialised.
    let blocked = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr())
    };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    let spawned = thread::Builder::new()
        .name("swr_cache".to_owned())
        .spawn(move || work(&encoder));
    // SAFETY: `old` was written by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
    spawned.map(drop)
}

fn work(encoder: &Encoder) {
    step_back();
    // A panic loses the forms of one response.
    while catch_unwind(AssertUnwindSafe(|| encoder.next())).unwrap_or(true) {}
}

/// Has the calling thread let others go first.
fn step_back() {
    // SAFETY: 0 is the calling thread, whose niceness Linux keeps apart.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let how = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: (nice + NICER).min(19),
        sched_priority: 0,
        sched_runtime: TURN,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: as above; the struct is whole and lives longer than the call. A failure leaves the thread as it was.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const how, 0) };
}
