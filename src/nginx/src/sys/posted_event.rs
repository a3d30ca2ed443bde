//! Work in pieces at the turns of a worker's event loop, between its events.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use nginx_sys::{
    ngx_add_timer, ngx_cycle, ngx_event_t, ngx_posted_next_events, ngx_queue_insert_before,
};

/// How long a piece may take: clients don't notice so much.
pub(crate) const PIECE: Duration = Duration::from_micros(500);

/// When a piece is done, after which the handler is called again only if it asks for that.
pub(crate) struct Turns {
    event: UnsafeCell<MaybeUninit<ngx_event_t>>,
    handler: unsafe extern "C" fn(*mut ngx_event_t),
}

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for Turns {}

impl Turns {
    pub(crate) const fn new(handler: unsafe extern "C" fn(*mut ngx_event_t)) -> Turns {
        Turns {
            // All-zero is a valid start for this C struct.
            event: UnsafeCell::new(MaybeUninit::zeroed()),
            handler,
        }
    }

    /// Nobody keeps the reference.
    #[expect(clippy::mut_from_ref, reason = "one thread; see the SAFETY note")]
    fn event(&'static self) -> &'static mut ngx_event_t {
        // SAFETY: zeroed at the start, which is a valid value; one thread, and nginx's references to it last for its calls only.
        let event = unsafe { (*self.event.get()).assume_init_mut() };
        // SAFETY: nginx has its cycle as long as a process runs.
        event.log = unsafe { (*ngx_cycle).log };
        event.handler = Some(self.handler);
        // nginx's debug log reads a descriptor behind `data`; the event itself is large enough to be read there.
        event.data = ptr::from_mut(event).cast();
        // It keeps no worker from exiting.
        event.set_cancelable(1);
        event
    }

    /// At the next turn of the event loop (ngx_post_event on the queue of the next one), unless it is to be later.
    pub(crate) fn next(&'static self) {
        let event = self.event();
        if event.posted() == 0 && event.timer_set() == 0 {
            event.set_posted(1);
            // SAFETY: the event is static and in no queue; nginx has made the head (ngx_event_process_init).
            unsafe {
                ngx_queue_insert_before(&raw mut ngx_posted_next_events, &raw mut event.queue);
            }
        }
    }

    /// After so many milliseconds.
    pub(crate) fn later(&'static self, ms: usize) {
        // SAFETY: the event is static and complete.
        unsafe { ngx_add_timer(self.event(), ms) };
    }
}
