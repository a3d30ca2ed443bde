//! Timers and posted events (src/event/ngx_event_timer.h, src/event/ngx_event_posted.h).

use crate::bindings::*;
use crate::queue::{ngx_queue_insert_before, ngx_queue_remove};

/// Has `event` run in `ms` milliseconds.
///
/// A timer that is set already and would move by less than NGX_TIMER_LAZY_DELAY stays as it is.
///
/// # Safety
/// `event` is in no other thread's hands, and stays where it is until the timer has run or is deleted.
pub unsafe fn ngx_add_timer(event: *mut ngx_event_t, ms: ngx_msec_t) {
    // SAFETY: the caller's event; nginx's tree of timers and its clock belong to this one thread.
    unsafe {
        let key = ngx_current_msec.wrapping_add(ms);
        if (*event).timer_set() != 0 {
            if key.abs_diff((*event).timer.key) < NGX_TIMER_LAZY_DELAY as ngx_msec_t {
                return;
            }
            ngx_del_timer(event);
        }
        (*event).timer.key = key;
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).set_timer_set(1);
    }
}

/// Takes the timer of `event` back.
///
/// # Safety
/// It is set, by [`ngx_add_timer`] or nginx.
pub unsafe fn ngx_del_timer(event: *mut ngx_event_t) {
    // SAFETY: a node of nginx's tree of timers, which belongs to this one thread.
    unsafe {
        ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).set_timer_set(0);
    }
}

/// Has `event` run when the queue does, once.
///
/// # Safety
/// `queue` is one of nginx's queues of events, and `event` stays where it is until it has run or is deleted from there.
pub unsafe fn ngx_post_event(event: *mut ngx_event_t, queue: *mut ngx_queue_t) {
    // SAFETY: as the caller says.
    unsafe {
        if (*event).posted() == 0 {
            (*event).set_posted(1);
            ngx_queue_insert_before(queue, &raw mut (*event).queue);
        }
    }
}

/// Takes `event` out of the queue that it is posted in.
///
/// # Safety
/// It is posted.
pub unsafe fn ngx_delete_posted_event(event: *mut ngx_event_t) {
    // SAFETY: a posted event is a link of its queue.
    unsafe {
        (*event).set_posted(0);
        ngx_queue_remove(&raw mut (*event).queue);
    }
}
