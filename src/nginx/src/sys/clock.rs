//! The time that the cache uses: Unix time in milliseconds, as of the current turn of the event loop. It never goes back.
//!
//! When the wall clock is set back, everything stored before would look younger by as much. So time goes on with nginx's
//! monotonic clock; where the wall clock goes further (the machine has slept), it is followed. How far the one is ahead of the
//! other is kept in memory that all workers share, since each judges what the others have stored.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use nginx_sys::{ngx_current_msec, ngx_timeofday};

/// What is added to the monotonic clock.
static AHEAD: OnceLock<&AtomicU64> = OnceLock::new();

/// Runs in the master, before workers are forked.
pub(crate) fn start() {
    now();
}

/// The time.
pub(crate) fn now() -> u64 {
    let ahead = AHEAD.get_or_init(shared);
    // SAFETY: nginx's variable, which its one thread writes.
    let steady = unsafe { ngx_current_msec } as u64;
    let wall = wall();
    let at = steady.wrapping_add(ahead.load(Relaxed));
    if wall > at {
        ahead.fetch_max(wall.wrapping_sub(steady), Relaxed);
    }
    at.max(wall)
}

/// What the wall clock shows: to be compared with the dates of others.
pub(crate) fn wall() -> u64 {
    let t = ngx_timeofday();
    (t.sec as u64) * 1000 + t.msec as u64
}

/// A number that is zero, shared with the processes that are forked from this one; its own, if there is no memory for that.
fn shared() -> &'static AtomicU64 {
    // SAFETY: a new mapping, of zeroes.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<AtomicU64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Box::leak(Box::new(AtomicU64::new(0)));
    }
    // SAFETY: the mapping is aligned to a page, as long as this number, zero, and never taken back.
    unsafe { &*page.cast::<AtomicU64>() }
}
