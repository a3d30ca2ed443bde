//! Rings of links (src/core/ngx_queue.h).

use crate::bindings::ngx_queue_t;

/// Makes an empty ring.
///
/// # Safety
/// `head` can be written.
pub unsafe fn ngx_queue_init(head: *mut ngx_queue_t) {
    // SAFETY: as the caller says.
    unsafe { (*head).prev = head };
    // SAFETY: as above.
    unsafe { (*head).next = head };
}

/// Whether nothing but the head is in the ring.
///
/// # Safety
/// `head` is the head of a ring.
pub unsafe fn ngx_queue_empty(head: *const ngx_queue_t) -> bool {
    // SAFETY: as the caller says.
    unsafe { (*head).prev.cast_const() == head }
}

/// Puts a link before another one; before the head is at the end.
///
/// # Safety
/// `place` is in a ring, `link` in none, and `link` stays where it is as long as it is in the ring.
pub unsafe fn ngx_queue_insert_before(place: *mut ngx_queue_t, link: *mut ngx_queue_t) {
    // SAFETY: the neighbours in a ring are valid.
    unsafe {
        (*link).prev = (*place).prev;
        (*link).next = place;
        (*(*place).prev).next = link;
        (*place).prev = link;
    }
}

/// Takes a link out of its ring.
///
/// # Safety
/// `link` is in a ring.
pub unsafe fn ngx_queue_remove(link: *mut ngx_queue_t) {
    // SAFETY: the neighbours in a ring are valid.
    unsafe {
        (*(*link).next).prev = (*link).prev;
        (*(*link).prev).next = (*link).next;
    }
}
