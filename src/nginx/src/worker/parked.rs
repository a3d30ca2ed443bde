//! Requests that wait for another request's fetch, perhaps in another worker. All of them are looked at when this worker is woken, and
//! periodically where nothing wakes it.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    ngx_cycle_t, ngx_event_t, ngx_queue_empty, ngx_queue_init, ngx_queue_insert_before,
    ngx_queue_remove, ngx_queue_t,
};

use crate::sys::boundary::guard;
use crate::sys::event::Event;
use crate::sys::one_thread::OneThread;

/// How often parked requests are looked at where nothing wakes this worker, in milliseconds: where it has no eventfd, and while workers of
/// another binary use a zone.
pub(crate) const UNREACHED: u64 = 20;

/// A request's place among the parked ones; part of the request's record.
#[repr(C)]
pub(crate) struct Parked {
    // First, so that a pointer to the link is one to the whole.
    link: UnsafeCell<ngx_queue_t>,
    /// The function that is called, and its argument.
    look: Cell<Option<(Look, *const c_void)>>,
}

/// Looks at a parked request, which may end then.
///
/// # Safety
/// The pointer is the one that was given with the function, to a record that is still there.
pub(crate) type Look = unsafe fn(*const c_void);

struct Worker {
    queue: UnsafeCell<ngx_queue_t>,
    timer: Event,
    /// Other workers can wake this one.
    is_reached: Cell<bool>,
    /// Workers of another binary, which can't, use a zone.
    has_strangers: Cell<bool>,
}

const EMPTY: ngx_queue_t = ngx_queue_t {
    prev: ptr::null_mut(),
    next: ptr::null_mut(),
};

static WORKER: OneThread<Worker> = OneThread::new(Worker {
    queue: UnsafeCell::new(EMPTY),
    timer: Event::new(),
    is_reached: Cell::new(false),
    has_strangers: Cell::new(false),
});

impl Parked {
    pub(crate) const fn new() -> Parked {
        Parked {
            link: UnsafeCell::new(EMPTY),
            look: Cell::new(None),
        }
    }

    /// Parks the request until the next look at all that are: `look` is then called with `record`, once.
    ///
    /// # Safety
    ///
    /// The place is in a record that stays where it is until [`Parked::leave`] has been called, and `look` is for such a record.
    pub(crate) unsafe fn park(&self, look: Look, record: *const c_void) {
        self.leave();
        self.look.set(Some((look, record)));
        let link: *const Parked = self;
        // SAFETY: the link, the first field, is in no queue, and stays where it is (see above); the head was made in `set_up`.
        unsafe { ngx_queue_insert_before(WORKER.queue.get(), link.cast_mut().cast()) };
        look_later();
    }

    /// Takes the place out of the queue, if it is in one.
    pub(crate) fn leave(&self) {
        let link = self.link.get();
        // SAFETY: a link with neighbours is in a queue, whose links are all live.
        unsafe {
            if (*link).next.is_null() {
                return;
            }
            ngx_queue_remove(link);
            *link = EMPTY;
        }
    }
}

/// Sets up the queue, in each worker, before its first event.
pub(crate) fn set_up(cycle: &ngx_cycle_t) {
    let timer = &WORKER.timer;
    timer.set_up(Some(on_timer), timer.as_ptr().cast(), cycle.log);
    // SAFETY: the head is static.
    unsafe { ngx_queue_init(WORKER.queue.get()) };
}

/// Notes whether other workers can wake this one.
pub(crate) fn set_reached(is_reached: bool) {
    WORKER.is_reached.set(is_reached);
}

/// Notes whether workers of another binary, which can't, use a zone.
pub(crate) fn set_strangers(has_strangers: bool) {
    WORKER.has_strangers.set(has_strangers);
    look_later();
}

/// Starts the timer if there are parked requests and nothing may wake the worker.
fn look_later() {
    let is_unreached = !WORKER.is_reached.get() || WORKER.has_strangers.get();
    // SAFETY: the queue was made in `set_up`.
    let is_empty = unsafe { ngx_queue_empty(WORKER.queue.get()) };
    if is_unreached && !is_empty && !WORKER.timer.has_timer() {
        WORKER.timer.set_timer(UNREACHED);
    }
}

/// Looks at every parked request once.
pub(crate) fn look() {
    let mut round = EMPTY;
    let parked = WORKER.queue.get();
    // SAFETY: the whole list moves to a head of our own, so that requests that park again wait for the next look;
    // one that ends meanwhile takes itself out of whichever list it is in. A link is the start of its place.
    unsafe {
        if ngx_queue_empty(parked) {
            return;
        }
        round.next = (*parked).next;
        round.prev = (*parked).prev;
        (*round.next).prev = &raw mut round;
        (*round.prev).next = &raw mut round;
        ngx_queue_init(parked);
        while !ngx_queue_empty(&raw const round) {
            let place: *const Parked = round.next.cast();
            (*place).leave();
            if let Some((look, record)) = (*place).look.get() {
                guard("a parked request", (), || look(record));
            }
        }
    }
}

extern "C" fn on_timer(_: *mut ngx_event_t) {
    guard("the timer of parked requests", (), || {
        look();
        look_later();
    });
}
