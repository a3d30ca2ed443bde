//! nginx's lists of header fields, as the engine reads them.

#[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
use nginx_sys::{ngx_array_create, ngx_array_push, ngx_array_t};
use nginx_sys::{
    ngx_list_init, ngx_list_part_t, ngx_list_push, ngx_list_t, ngx_str_t, ngx_table_elt_t,
};
use swrcache::http::Fields;

use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::is_ok;

/// Every live field of a list of `ngx_table_elt_t`, in order.
pub(crate) struct List<'a>(&'a ngx_list_t);

impl<'a> List<'a> {
    pub(crate) fn of(list: &'a ngx_list_t) -> List<'a> {
        List(list)
    }

    /// Calls `f` with each element that was not deleted (`hash` 0 marks a deleted one in `headers_out`).
    pub(crate) fn elements(&self, mut f: impl FnMut(&'a ngx_table_elt_t)) {
        let mut part: *const ngx_list_part_t = &self.0.part;
        // SAFETY: a list's parts hang together by `next`, each with `nelts` elements; header lists hold table elements.
        while let Some(p) = unsafe { part.as_ref() } {
            for i in 0..p.nelts {
                // SAFETY: as above.
                f(unsafe { &*p.elts.cast::<ngx_table_elt_t>().add(i) });
            }
            part = p.next;
        }
    }
}

/// Appends a line to those of a field that nginx keeps together (ngx_http_upstream_copy_multi_header_lines), after the others.
#[cfg(nginx_has = "ngx_table_elt_s.next")]
pub(crate) fn append(
    _: Pool,
    lines: &mut *mut ngx_table_elt_t,
    line: *mut ngx_table_elt_t,
) -> Option<()> {
    let mut end = lines;
    // SAFETY: elements of the request's own list hang together by `next`, and end with NULL.
    while let Some(other) = unsafe { end.as_mut() } {
        end = &mut other.next;
    }
    *end = line;
    Some(())
}

/// Before 1.23.0 they are in an array.
#[cfg(not(nginx_has = "ngx_table_elt_s.next"))]
pub(crate) fn append(
    pool: Pool,
    lines: &mut ngx_array_t,
    line: *mut ngx_table_elt_t,
) -> Option<()> {
    // SAFETY: an array of pointers to elements, all-zero until it has one; a push gives room for one more.
    unsafe {
        if lines.elts.is_null() {
            *lines =
                *ngx_array_create(pool.as_ptr(), 2, size_of::<*mut ngx_table_elt_t>()).as_ref()?;
        }
        let place: *mut *mut ngx_table_elt_t = ngx_array_push(lines).cast();
        *place.as_mut()? = line;
    }
    Some(())
}

/// Makes `list` one of `n` header fields, and of more as it grows.
pub(crate) fn new_list(pool: Pool, list: &mut ngx_list_t, n: usize) -> Option<()> {
    // SAFETY: lists of header fields hold such elements.
    let rc = unsafe { ngx_list_init(list, pool.as_ptr(), n, size_of::<ngx_table_elt_t>()) };
    is_ok(rc).then_some(())
}

/// Pushes a field line to a list of the same pool; gives the element.
pub(crate) fn push_to(
    list: &mut ngx_list_t,
    name: ngx_str_t,
    value: ngx_str_t,
) -> Option<&'static mut ngx_table_elt_t> {
    // SAFETY: the list of a live request; ngx_list_push gives NULL or room for one element.
    let e = unsafe { ngx_list_push(list).cast::<ngx_table_elt_t>().as_mut()? };
    // SAFETY: all-zero is a valid element.
    *e = unsafe { std::mem::zeroed() };
    e.hash = 1;
    e.key = name;
    e.value = value;
    Some(e)
}

/// Takes back the field line that was pushed last.
pub(crate) fn take_back(list: &mut ngx_list_t) {
    // SAFETY: a list has a last part, which has the line that was pushed last.
    unsafe { (*list.last).nelts -= 1 };
}

/// Deletes the fields of a response whose names `goes` picks.
pub(crate) fn delete(list: &mut ngx_list_t, goes: impl Fn(&[u8]) -> bool) {
    let mut part: *mut ngx_list_part_t = &mut list.part;
    // SAFETY: as in `elements`.
    while let Some(p) = unsafe { part.as_ref() } {
        for i in 0..p.nelts {
            // SAFETY: as above; nobody else looks at the list meanwhile.
            let e = unsafe { &mut *p.elts.cast::<ngx_table_elt_t>().add(i) };
            if goes(bytes_of(&e.key)) {
                e.hash = 0;
            }
        }
        part = p.next;
    }
}

impl Fields for List<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.elements(|e| {
            if e.hash != 0 {
                f(bytes_of(&e.key), bytes_of(&e.value));
            }
        });
    }
}
