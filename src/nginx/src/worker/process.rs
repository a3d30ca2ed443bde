//! What a worker holds: its bell, the clients that are parked in it, and the timer that tidies the zones.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;
use std::sync::{Arc, OnceLock};

use nginx_sys::{
    NGX_ERROR, NGX_LOG_WARN, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_add_timer,
    ngx_core_conf_t, ngx_core_module, ngx_cycle_t, ngx_event_t, ngx_exiting, ngx_get_connection,
    ngx_handle_read_event, ngx_http_conf_ctx_t, ngx_http_module, ngx_int_t, ngx_process,
    ngx_queue_empty, ngx_queue_init, ngx_queue_insert_before, ngx_queue_remove, ngx_queue_t,
};
use swrcache::store::{Busy, WakerId, Wakers};

use crate::client::request::Client;
use crate::config::location::MainConf;
use crate::config::zone;
use crate::module::ctx_index;
use crate::sys::boundary::{guard, log_cycle};
use crate::sys::clock::{self, now};
use crate::sys::posted_event::{PIECE, Turns};
use crate::worker::background_job;

/// How often the zones are tidied, in milliseconds, and how many places are looked at each time.
const TIDY_EVERY: usize = 1000;
const TIDY_PLACES: u32 = 1000;

/// When to try again to mend a zone of which a process that is stopped has a lock, in milliseconds.
const LATER: usize = 5;

/// How long parked clients go unlooked-at where no bell reaches this worker, in milliseconds: where none could be had,
/// and while another binary's workers are in a zone.
const WITHOUT_BELL: usize = 20;

/// One more than nginx's default of 16 workers needs across a reload or two; more workers get more.
const LEAST_BELLS: usize = 64;

/// The bells of all workers of this master, made before the first fork and kept across reloads.
static BELLS: OnceLock<Option<Arc<Wakers>>> = OnceLock::new();

struct Worker {
    bell: Option<WakerId>,
    zones: *const MainConf,
    parked: ngx_queue_t,
    tidy: ngx_event_t,
    look: ngx_event_t,
    /// Processes are in a zone whose bells are others.
    strangers: bool,
}

struct OneThread(UnsafeCell<Worker>);

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for OneThread {}

// SAFETY: all-zero is a valid start for these C structs; the queue is made in `init_process`.
static WORKER: OneThread = OneThread(UnsafeCell::new(unsafe { std::mem::zeroed() }));

/// No caller keeps the reference across a call into nginx.
fn worker() -> &'static mut Worker {
    // SAFETY: see OneThread.
    unsafe { &mut *WORKER.0.get() }
}

fn bells() -> Option<&'static Arc<Wakers>> {
    BELLS.get().and_then(Option::as_ref)
}

/// The bell by which other workers wake this one.
pub(crate) fn bell() -> Option<(Arc<Wakers>, WakerId)> {
    Some((Arc::clone(bells()?), worker().bell?))
}

/// Puts a client among the parked ones, which are looked at when the bell rings.
pub(crate) fn park(link: &mut ngx_queue_t) {
    // SAFETY: the link is part of a live client and in no queue; the head was made in `init_process`.
    unsafe { ngx_queue_insert_before(&mut worker().parked, link) };
    look_later();
}

/// Sees to it that parked clients are looked at where they may not be rung.
fn look_later() {
    let worker = worker();
    let unreached = worker.bell.is_none() || worker.strangers;
    // SAFETY: the queue was made in `init_process`.
    let waiting = unsafe { !ngx_queue_empty(&worker.parked) };
    let look = &mut worker.look;
    if unreached && waiting && look.timer_set() == 0 && look.handler.is_some() {
        // SAFETY: the event is static and has its handler.
        unsafe { ngx_add_timer(look, WITHOUT_BELL) };
    }
}

/// Looks whether another binary's workers are in a zone.
fn look_for_strangers(main: &MainConf) {
    let mut caches = main.zones.iter().filter_map(|zone| zone.cache());
    worker().strangers = caches.any(|cache| cache.region().has_strangers());
    look_later();
}

/// Takes a client out again.
pub(crate) fn unpark(link: &mut ngx_queue_t) {
    if link.next.is_null() {
        return;
    }
    // SAFETY: a link with neighbours is in a queue.
    unsafe { ngx_queue_remove(link) };
    link.next = ptr::null_mut();
    link.prev = ptr::null_mut();
}

/// Looks at every parked client once.
fn look_at_parked() {
    let mut round = ngx_queue_t {
        prev: ptr::null_mut(),
        next: ptr::null_mut(),
    };
    let parked: *mut ngx_queue_t = &mut worker().parked;
    // SAFETY: the whole list moves to a head of our own, so that clients that park again wait for the next ring;
    // a client that ends meanwhile takes itself out of whichever list it is in.
    unsafe {
        if ngx_queue_empty(parked) {
            return;
        }
        round.next = (*parked).next;
        round.prev = (*parked).prev;
        (*round.next).prev = &mut round;
        (*round.prev).next = &mut round;
        ngx_queue_init(parked);
        while !ngx_queue_empty(&round) {
            let link = round.next;
            unpark(&mut *link);
            guard("a parked client", (), || Client::of_link(link).rung());
        }
    }
}

extern "C" fn on_bell(_: *mut ngx_event_t) {
    guard("the bell", (), || {
        if let (Some(bells), Some(bell)) = (bells(), worker().bell) {
            bells.drain(bell);
        }
        look_at_parked();
    });
}

extern "C" fn on_look(_: *mut ngx_event_t) {
    guard("the timer of parked clients", (), || {
        look_at_parked();
        look_later();
    });
}

/// The timer that cleans up.
///
/// # Safety
/// `event` is the timer itself, which is static.
unsafe extern "C" fn on_tidy(event: *mut ngx_event_t) {
    guard("tidying", (), || {
        // SAFETY: the configuration lives as long as the worker's cycle.
        if let Some(main) = unsafe { worker().zones.as_ref() } {
            for cache in main.zones.iter().filter_map(|zone| zone.cache()) {
                cache.region().reap();
                cache.region().sweep(now(), TIDY_PLACES);
            }
            main.zones.iter().for_each(|zone| zone.tell_of_damage());
            look_for_strangers(main);
            MENDING.next();
        }
    });
    // SAFETY: the event is the static one. It keeps no worker from exiting (cancelable), but while clients do, those who
    // read the fill of a process that has died have to learn of it.
    unsafe { ngx_add_timer(event, TIDY_EVERY) };
}

/// After a worker's death there may be more to do than one look is to take.
static MENDING: Turns = Turns::new(on_mending);

extern "C" fn on_mending(_: *mut ngx_event_t) {
    guard("mending", (), || {
        // SAFETY: as in `on_tidy`.
        let Some(main) = (unsafe { worker().zones.as_ref() }) else {
            return;
        };
        let caches = main.zones.iter().filter_map(|zone| zone.cache());
        // One zone after the other.
        let left = caches.map(|cache| cache.region().maintain(PIECE));
        match left.into_iter().find(|done| *done != Ok(true)) {
            Some(Ok(_)) => MENDING.next(),
            Some(Err(Busy)) => MENDING.later(LATER),
            None => {}
        }
    });
}

/// Whether the worker is on its way out and should start nothing new.
pub(crate) fn is_exiting() -> bool {
    // SAFETY: a flag that nginx writes on this thread.
    unsafe { ngx_exiting != 0 }
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

/// In the master, before workers are forked.
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
            BELLS.get_or_init(|| {
                let bells = Wakers::new(LEAST_BELLS.max(4 * worker_processes(cycle)));
                if let Err(e) = &bells {
                    log_cycle(
                        NGX_LOG_WARN as usize,
                        &format!("swr_cache: no eventfd ({e}), waiting clients are polled"),
                    );
                }
                bells.ok().map(Arc::new)
            });
        }
        NGX_OK as ngx_int_t
    })
}

/// In each worker, after the fork.
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
        let worker = worker();
        // SAFETY: the head is static.
        unsafe { ngx_queue_init(&mut worker.parked) };
        let Some(main) = main_conf(cycle).filter(|main| !main.zones.is_empty()) else {
            return NGX_OK as ngx_int_t;
        };
        worker.zones = main;
        worker.bell = bells()
            .and_then(|bells| bells.claim())
            .filter(|bell| listen(cycle, *bell).is_some());
        set_up(&mut worker.look, cycle, on_look);
        set_up(&mut worker.tidy, cycle, on_tidy);
        worker.tidy.set_cancelable(1);
        // SAFETY: the event is static and complete.
        unsafe { ngx_add_timer(&mut worker.tidy, TIDY_EVERY) };
        for zone in &main.zones {
            if zone.cache().is_none() {
                let name = String::from_utf8_lossy(zone.name());
                log_cycle(
                    NGX_LOG_WARN as usize,
                    &format!(
                        "swr_cache: this worker has no place in the zone \"{name}\", its requests are proxied"
                    ),
                );
            }
        }
        look_for_strangers(main);
        NGX_OK as ngx_int_t
    })
}

fn set_up(
    event: &mut ngx_event_t,
    cycle: &ngx_cycle_t,
    handler: unsafe extern "C" fn(*mut ngx_event_t),
) {
    event.handler = Some(handler);
    event.log = cycle.log;
    // nginx's debug log reads a descriptor behind `data`; the event itself is large enough to be read there.
    event.data = ptr::from_mut(event).cast();
}

/// Puts the bell's descriptor into the worker's epoll.
fn listen(cycle: &ngx_cycle_t, bell: WakerId) -> Option<()> {
    let fd = bells()?.fd(bell);
    // SAFETY: the descriptor is open for the life of the process; `channel` keeps nginx from calling it a leaked
    // connection at exit (ngx_worker_process_exit).
    unsafe {
        let c = ngx_get_connection(fd, cycle.log).as_mut()?;
        (*c.read).handler = Some(on_bell);
        (*c.read).log = cycle.log;
        (*c.read).set_channel(1);
        (*c.write).set_channel(1);
        crate::sys::request::is_ok(ngx_handle_read_event(c.read, 0)).then_some(())
    }
}

/// In each worker, at its end.
///
/// # Safety
/// The cycle of this process is still there.
pub(crate) unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guard("worker end", (), || {
        let worker = worker();
        // SAFETY: the configuration outlives this hook.
        if let Some(main) = unsafe { worker.zones.as_ref() } {
            background_job::finish_all();
            main.zones.iter().for_each(|zone| zone.leave());
        }
        if let (Some(bells), Some(bell)) = (bells(), worker.bell.take()) {
            bells.release(bell);
        }
    });
}

/// In the master, at its end, when its workers have ended.
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
