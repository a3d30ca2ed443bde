//! Watchers: how an event loop learns that it is time to look again.

use std::ffi::c_int;
use std::sync::Arc;

use super::cache::{Cache, Shared};
use super::error::{Error, Result, SWRCACHE_ESTATE};
use super::handle::{Handle, HandleKind, call};
use super::types::put;
use super::wake::Watcher;

/// What is behind a `swrcache_watch`.
pub struct WatchValue {
    watcher: Watcher,
    /// The cache whose wake-ups it reports.
    pid: u32,
    /// Keeps the eventfd open.
    _cache: Arc<Shared>,
}

impl HandleKind for WatchValue {
    const MAGIC: u32 = 0x7377_7206;
}

/// A watcher of an event loop. Any thread may use it at any time.
pub type Watch = Handle<WatchValue>;

/// Makes a watcher: a descriptor that becomes readable when something has moved that this process waits for.
///
/// Each event loop has one of its own, as many as there are: every watcher reports every wake-up, and none takes one from another, nor
/// from threads that wait (`swrcache_lookup_wait`, `swrcache_wait`, `swrcache_reply_read_wait`). `*watch` is yours, to be freed with
/// `swrcache_watch_free`; NULL on failure. It is of this process alone: make it after `swrcache_after_fork`. Make it before the loop
/// first looks up.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_ESYS if the system refused a descriptor; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `cache` is NULL or live; `watch` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_watch_new(cache: *mut Cache, watch: *mut *mut Watch) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(watch, std::ptr::null_mut()) }?;
        let made = |shared: &Arc<Shared>| {
            Ok(Handle::give(WatchValue {
                watcher: shared.wake.watcher()?,
                pid: std::process::id(),
                _cache: Arc::clone(shared),
            }))
        };
        // SAFETY: NULL or live.
        let made = unsafe { Handle::with_ref(cache, |cache| made(&cache.0)) }?;
        // SAFETY: see above.
        unsafe { put(watch, made) }
    })
}

/// Runs a call on a watcher of this process; the pointer's soundness is what every function of the header asks for.
fn on(watch: *const Watch, f: impl FnOnce(&Watcher) -> Result<()>) -> Result<()> {
    // SAFETY: NULL or live, by the contract of each caller.
    unsafe {
        Handle::with_ref(watch, |watch| match watch.pid == std::process::id() {
            true => f(&watch.watcher),
            // Its descriptor is shared with the parent, from which it would take wake-ups.
            false => Err(Error::new(
                SWRCACHE_ESTATE,
                "the watcher is of the process that this one was forked from",
            )),
        })
    }
}

/// Tells the descriptor to watch for reading.
///
/// When it is readable, call `swrcache_watch_clear`, then look up again all requests of this loop that were told to wait, and read on
/// in all its replies that said SWRCACHE_EAGAIN. It may become readable without a change, also the first time. It is an epoll, to be watched
/// level-triggered or edge-triggered by poll, select, epoll or io_uring; neither read nor close it: it lives as long as the watcher.
/// Where processes share a `SWRCACHE_FILE` that were not forked from one another, or are more than the options said, nobody can wake another:
/// then it becomes readable by itself, 20 ms after something was to be waited for.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_ESTATE in a process that was forked after the watcher was made; SWRCACHE_EINVAL for a NULL. On failure `*fd` is
/// -1.
///
/// # Safety
/// `watch` is NULL or live; `fd` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_watch_fd(watch: *const Watch, fd: *mut c_int) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(fd, -1) }?;
        // SAFETY: see above.
        on(watch, |watcher| unsafe { put(fd, watcher.fd()) })
    })
}

/// Makes the descriptor unreadable again. Clear first, then look what has moved.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_ESTATE in a process that was forked after the watcher was made; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `watch` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_watch_clear(watch: *mut Watch) -> c_int {
    call(|| {
        on(watch, |watcher| {
            watcher.clear();
            Ok(())
        })
    })
}

/// Frees a watcher and closes its descriptor: take that out of the loop before. NULL is ignored.
/// When no other thread uses it.
///
/// # Safety
/// `watch` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_watch_free(watch: *mut Watch) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(watch) };
}
