//! nginx's hooks for the start and the end of the master and of each worker, and the timer for the upkeep of the zones.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_LOG_WARN, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_core_conf_t,
    ngx_core_module, ngx_cycle_t, ngx_event_t, ngx_http_conf_ctx_t, ngx_http_module, ngx_int_t,
    ngx_process,
};
use swrcache::store::Busy;

use crate::config::location::MainConf;
use crate::config::zone;
use crate::sys::boundary::guard;
use crate::sys::clock::{self, now};
use crate::sys::event::{Event, PIECE, PostedEvent};
use crate::sys::log::log_cycle;
use crate::sys::module_index::ctx_index;
use crate::sys::one_thread::OneThread;
use crate::worker::{background_job, encoder, parked, wakeup};

/// How often the zones are tidied, in milliseconds, and how many entry slots are visited each time.
const TIDY_EVERY: u64 = 1000;
const TIDY_PLACES: u32 = 1000;

/// The pause before the next try to repair a zone while a stopped process holds its lock, in milliseconds.
const LATER: u64 = 5;

/// The zones of the configuration that this worker serves.
static ZONES: OneThread<Cell<*const MainConf>> = OneThread::new(Cell::new(ptr::null()));

static TIDY: OneThread<Event> = OneThread::new(Event::new());

/// Repairs after a worker's death, in pieces.
static REPAIR: PostedEvent = PostedEvent::new(on_repair);

fn zones<'a>() -> Option<&'a MainConf> {
    // SAFETY: the configuration lives as long as the worker's cycle.
    unsafe { ZONES.get().as_ref() }
}

/// Looks whether workers of another binary use a zone.
fn look_for_strangers(main: &MainConf) {
    let mut caches = main.zones.iter().filter_map(|zone| zone.cache());
    parked::set_strangers(caches.any(|cache| cache.region().has_strangers()));
}

extern "C" fn on_tidy(_: *mut ngx_event_t) {
    guard("the upkeep of the zones", (), || {
        if let Some(main) = zones() {
            for cache in main.zones.iter().filter_map(|zone| zone.cache()) {
                cache.region().reap();
                cache.region().sweep(now(), TIDY_PLACES);
            }
            main.zones.iter().for_each(|zone| zone.tell_of_damage());
            look_for_strangers(main);
            REPAIR.next();
        }
    });
    // The timer keeps no worker from exiting (it is cancelable). As long as clients do, those that read the fill of a dead process must be
    // told of its death.
    TIDY.set_timer(TIDY_EVERY);
}

extern "C" fn on_repair(_: *mut ngx_event_t) {
    guard("the repair of a zone", (), || {
        let Some(main) = zones() else { return };
        let caches = main.zones.iter().filter_map(|zone| zone.cache());
        // One zone at a time.
        let left = caches.map(|cache| cache.region().maintain(PIECE));
        match left.into_iter().find(|done| *done != Ok(true)) {
            Some(Ok(_)) => REPAIR.next(),
            Some(Err(Busy)) => REPAIR.later(LATER),
            None => {}
        }
    });
}

fn main_conf<'a>(cycle: &ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: `conf_ctx[http]` is NULL without an http block, else the context with every module's main_conf.
    unsafe {
        let http: *mut ngx_http_conf_ctx_t =
            (*cycle.conf_ctx.add((*ptr::addr_of!(ngx_http_module)).index)).cast();
        (*http.as_ref()?.main_conf.add(ctx_index()))
            .cast::<MainConf>()
            .as_ref()
    }
}

fn worker_processes(cycle: &ngx_cycle_t) -> usize {
    // SAFETY: the core module always has its configuration.
    unsafe {
        let core: *const ngx_core_conf_t =
            (*cycle.conf_ctx.add((*ptr::addr_of!(ngx_core_module)).index)).cast();
        usize::try_from((*core).worker_processes as c_int).unwrap_or(1)
    }
}

/// Runs in the master, before workers are forked.
///
/// # Safety
/// `cycle` is the new cycle, with its configuration.
pub(crate) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard("module set-up", NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes the new cycle.
        let cycle = unsafe { &mut *cycle };
        clock::start();
        zone::settle(cycle);
        if main_conf(cycle).is_some_and(|main| !main.zones.is_empty()) {
            wakeup::make(worker_processes(cycle));
        }
        NGX_OK as ngx_int_t
    })
}

/// Runs in each worker, after the fork.
///
/// # Safety
/// As [`init_module`], with the cycle that this process serves.
pub(crate) unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard("worker set-up", NGX_OK as ngx_int_t, || {
        // SAFETY: nginx passes the cycle; `ngx_process` is set before.
        let (cycle, kind) = unsafe { (&*cycle, ngx_process as u32) };
        if kind != NGX_PROCESS_WORKER && kind != NGX_PROCESS_SINGLE {
            return NGX_OK as ngx_int_t;
        }
        parked::set_up(cycle);
        if let Some(main) = main_conf(cycle).filter(|main| !main.zones.is_empty()) {
            enter(cycle, main);
        }
        NGX_OK as ngx_int_t
    })
}

/// Enters the zones.
fn enter(cycle: &ngx_cycle_t, main: &MainConf) {
    ZONES.set(main);
    wakeup::claim(cycle);
    TIDY.set_up(Some(on_tidy), TIDY.as_ptr().cast(), cycle.log);
    TIDY.set_cancelable();
    TIDY.set_timer(TIDY_EVERY);
    for zone in &main.zones {
        if zone.cache().is_none() {
            let name = String::from_utf8_lossy(zone.name());
            let text = format!(
                "swr_cache: no free process slot in zone \"{name}\"; caching is disabled in this worker"
            );
            log_cycle(NGX_LOG_WARN, &text);
        }
    }
    look_for_strangers(main);
    if main.encodes() {
        encoder::start(main);
    }
}

/// Runs in each worker, at its end.
///
/// # Safety
/// The cycle of this process is still there.
pub(crate) unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guard("worker end", (), || {
        #[cfg(feature = "counting-by-turns")]
        crate::worker::turns::tell();
        if let Some(main) = zones() {
            background_job::finish_all();
            encoder::stop();
            main.zones.iter().for_each(|zone| zone.leave());
        }
        wakeup::release();
    });
}

/// Runs in the master, at its end, when its workers have ended.
///
/// # Safety
/// `cycle` is the cycle of the master, with its configuration.
pub(crate) unsafe extern "C" fn exit_master(cycle: *mut ngx_cycle_t) {
    guard("master end", (), || {
        // SAFETY: nginx passes its cycle.
        if let Some(main) = main_conf(unsafe { &*cycle }) {
            main.zones.iter().for_each(|zone| zone.seal());
        }
    });
}
