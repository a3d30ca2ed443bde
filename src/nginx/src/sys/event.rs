//! Events of the module's own: timers, and what is posted for the same turn of the event loop or the next one.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem;
use std::ptr::{self, NonNull};
use std::time::Duration;

use nginx_sys::{
    ngx_add_timer, ngx_cycle, ngx_del_timer, ngx_delete_posted_event, ngx_event_handler_pt,
    ngx_event_t, ngx_log_t, ngx_msec_t, ngx_post_event, ngx_posted_events, ngx_posted_next_events,
};

use crate::sys::one_thread::OneThread;

/// How long a piece of work between two turns of the event loop may take.
pub(crate) const PIECE: Duration = Duration::from_micros(500);

/// An event. It stays where it is from the first time that it is set until it is cancelled.
#[repr(transparent)]
pub(crate) struct Event(UnsafeCell<ngx_event_t>);

impl Event {
    pub(crate) const fn new() -> Event {
        // SAFETY: all-zero is a valid start for this C struct: no handler, in no tree and no queue.
        Event(UnsafeCell::new(unsafe { mem::zeroed() }))
    }

    pub(crate) fn as_ptr(&self) -> *mut ngx_event_t {
        self.0.get()
    }

    /// Sets the handler, which gets this event. `data` is for the handler, and must point to as many bytes as an event has: nginx's debug log
    /// reads a descriptor behind it.
    pub(crate) fn set_up(
        &self,
        handler: ngx_event_handler_pt,
        data: *mut c_void,
        log: *mut ngx_log_t,
    ) {
        let event = self.as_ptr();
        // SAFETY: the event is ours; nginx looks at it on this thread only, and no reference to it is kept.
        unsafe {
            (*event).handler = handler;
            (*event).data = data;
            (*event).log = log;
        }
    }

    /// Calls the handler in so many milliseconds. A timer that is set already moves.
    pub(crate) fn set_timer(&self, ms: u64) {
        // SAFETY: as in `set_up`; the event stays in its place while the timer is set (see the type).
        unsafe { ngx_add_timer(self.as_ptr(), ngx_msec_t::try_from(ms).unwrap_or(0)) }
    }

    pub(crate) fn has_timer(&self) -> bool {
        // SAFETY: as in `set_up`.
        unsafe { (*self.as_ptr()).timer_set() != 0 }
    }

    pub(crate) fn is_posted(&self) -> bool {
        // SAFETY: as in `set_up`.
        unsafe { (*self.as_ptr()).posted() != 0 }
    }

    pub(crate) fn stop_timer(&self) {
        if self.has_timer() {
            // SAFETY: the flag says that it is in the tree.
            unsafe { ngx_del_timer(self.as_ptr()) }
        }
    }

    /// Takes the event out of the tree of timers and out of the queue of posted events.
    pub(crate) fn cancel(&self) {
        self.stop_timer();
        if self.is_posted() {
            // SAFETY: the flag says that it is in a queue.
            unsafe { ngx_delete_posted_event(self.as_ptr()) }
        }
    }

    /// Whether the timer has called the handler; to be asked once.
    pub(crate) fn take_timeout(&self) -> bool {
        // SAFETY: as in `set_up`.
        unsafe {
            let timed_out = (*self.as_ptr()).timedout() != 0;
            (*self.as_ptr()).set_timedout(0);
            timed_out
        }
    }

    /// Has the timer keep no worker from exiting.
    pub(crate) fn set_cancelable(&self) {
        // SAFETY: as in `set_up`.
        unsafe { (*self.as_ptr()).set_cancelable(1) }
    }

    /// What others notify the owner by. To be dropped before the event is gone.
    pub(crate) fn notifier(&self) -> Notifier {
        Notifier(NonNull::from(self).cast())
    }
}

/// Has an event's handler called in this turn of the event loop; valid as long as the event is.
pub(crate) struct Notifier(NonNull<ngx_event_t>);

impl Notifier {
    pub(crate) fn notify(&self) {
        // SAFETY: whoever owns the event takes this notifier out of others' reach, and the event out of the queue, before it goes.
        unsafe { ngx_post_event(self.0.as_ptr(), &raw mut ngx_posted_events) }
    }
}

/// A static event for work in pieces, between the other events of a worker. The handler is called again only if it asks for that.
pub(crate) struct PostedEvent {
    event: OneThread<Event>,
    handler: unsafe extern "C" fn(*mut ngx_event_t),
}

impl PostedEvent {
    pub(crate) const fn new(handler: unsafe extern "C" fn(*mut ngx_event_t)) -> PostedEvent {
        PostedEvent {
            event: OneThread::new(Event::new()),
            handler,
        }
    }

    fn event(&'static self) -> &'static Event {
        // SAFETY: nginx has its cycle as long as a process runs.
        let log = unsafe { (*ngx_cycle).log };
        let event = &*self.event;
        event.set_up(Some(self.handler), event.as_ptr().cast(), log);
        event.set_cancelable();
        event
    }

    /// Calls the handler at the next turn of the event loop (ngx_post_event on the queue of the next one), unless it is due later.
    pub(crate) fn next(&'static self) {
        let event = self.event();
        if !event.is_posted() && !event.has_timer() {
            // SAFETY: the event is static; nginx has made the queue (ngx_event_process_init).
            unsafe { ngx_post_event(event.as_ptr(), ptr::addr_of_mut!(ngx_posted_next_events)) }
        }
    }

    /// Calls the handler after so many milliseconds, unless it is due before that.
    pub(crate) fn at_latest_in(&'static self, ms: u64) {
        let event = self.event();
        if !event.is_posted() && !event.has_timer() {
            event.set_timer(ms);
        }
    }

    /// Calls the handler after so many milliseconds.
    pub(crate) fn later(&'static self, ms: u64) {
        self.event().set_timer(ms);
    }
}
