//! For measurements (feature `counting-by-turns`): what statistics cost. Requests are counted by turns, so many and then as many
//! not, and the processor's time is taken at each change. At its end a worker logs both times.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nginx_sys::NGX_LOG_WARN;
use swrcache::store::{is_counting, set_counting};

use crate::sys::log::log_cycle;

/// Requests of a turn: many rounds of the event loop, so that each turn has its share of what a round costs.
const TURN: u64 = 512;

/// Requests that this worker has answered.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
/// When the turn began, in nanoseconds of this thread's processor time.
static BEGAN: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of whole turns: without counting, with it.
static TOOK: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Runs when a request is answered. Returns whether it is counted.
pub(crate) fn counts() -> bool {
    let answered = ANSWERED.fetch_add(1, Relaxed);
    if answered % TURN == 0 {
        let now = processor_time().as_nanos() as u64;
        let began = BEGAN.swap(now, Relaxed);
        if answered > 0 {
            TOOK[usize::from(is_counting())].fetch_add(now - began, Relaxed);
            set_counting(!is_counting());
        }
    }
    is_counting()
}

/// Logs what the turns took. As many were counted as not, but for the last.
pub(crate) fn tell() {
    let turns = (ANSWERED.load(Relaxed) / TURN).max(2);
    let each = |took: &AtomicU64| took.load(Relaxed) as f64 / (turns / 2 * TURN) as f64;
    let [without, with] = TOOK.each_ref().map(each);
    log_cycle(
        NGX_LOG_WARN,
        &format!("swr_cache: a request took {with:.1} ns with counting, {without:.1} ns without"),
    );
}

fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec that the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
