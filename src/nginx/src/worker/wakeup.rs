//! How one worker wakes another: an eventfd for each, made before the first fork and kept across reloads.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use nginx_sys::{
    NGX_LOG_WARN, ngx_cycle_t, ngx_event_t, ngx_get_connection, ngx_handle_read_event,
};
use swrcache::store::{WakerId, Wakers};

use crate::sys::boundary::guard;
use crate::sys::log::log_cycle;
use crate::sys::one_thread::OneThread;
use crate::sys::request::is_ok;
use crate::worker::parked;

/// The least number of eventfds: enough for 16 workers across some reloads. More workers get more.
const LEAST: usize = 64;

/// The eventfds of all workers of this master.
static WAKERS: OnceLock<Option<Arc<Wakers>>> = OnceLock::new();

/// The one of this worker.
static OWN: OneThread<Cell<Option<WakerId>>> = OneThread::new(Cell::new(None));

fn wakers() -> Option<&'static Arc<Wakers>> {
    WAKERS.get().and_then(Option::as_ref)
}

/// Makes them, in the master, before its workers are forked.
pub(crate) fn make(workers: usize) {
    WAKERS.get_or_init(|| {
        let wakers = Wakers::new(LEAST.max(4 * workers));
        if let Err(e) = &wakers {
            let text = format!(
                "swr_cache: can't make an eventfd ({e}); requests that wait for the fetch of another worker look for its response every {} ms",
                parked::UNREACHED
            );
            log_cycle(NGX_LOG_WARN, &text);
        }
        wakers.ok().map(Arc::new)
    });
}

/// Takes one for this worker, after the fork, and has nginx watch it.
pub(crate) fn claim(cycle: &ngx_cycle_t) {
    let own = wakers()
        .and_then(|wakers| wakers.claim())
        .filter(|own| watch(cycle, *own).is_some());
    OWN.set(own);
    parked::set_reached(own.is_some());
}

/// Gives it back, at the worker's end.
pub(crate) fn release() {
    if let (Some(wakers), Some(own)) = (wakers(), OWN.take()) {
        wakers.release(own);
    }
}

/// What other workers wake this one by.
pub(crate) fn own() -> Option<(Arc<Wakers>, WakerId)> {
    Some((Arc::clone(wakers()?), OWN.get()?))
}

/// Puts the descriptor into the worker's epoll.
fn watch(cycle: &ngx_cycle_t, own: WakerId) -> Option<()> {
    let fd = wakers()?.fd(own);
    // SAFETY: the descriptor is open for the life of the process; `channel` keeps nginx from calling it a leaked
    // connection at exit (ngx_worker_process_exit).
    unsafe {
        let c = ngx_get_connection(fd, cycle.log).as_mut()?;
        (*c.read).handler = Some(on_wakeup);
        (*c.read).log = cycle.log;
        (*c.read).set_channel(1);
        (*c.write).set_channel(1);
        is_ok(ngx_handle_read_event(c.read, 0)).then_some(())
    }
}

extern "C" fn on_wakeup(_: *mut ngx_event_t) {
    guard("a wake-up by another worker", (), || {
        if let (Some(wakers), Some(own)) = (wakers(), OWN.get()) {
            wakers.drain(own);
        }
        parked::look();
    });
}
