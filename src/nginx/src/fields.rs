//! nginx's lists of header fields, as the engine reads them.

use nginx_sys::{ngx_list_part_t, ngx_list_t, ngx_str_t, ngx_table_elt_t};
use swrcache::http::Fields;

use crate::pool::bytes_of;

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

/// The fields of `headers_out` and the two that nginx keeps beside the list.
pub(crate) struct Visible<'a> {
    pub(crate) list: &'a ngx_list_t,
    pub(crate) content_type: &'a ngx_str_t,
    /// Less than the whole if parameters follow, among them the `charset` that nginx has noted.
    pub(crate) content_type_len: usize,
    pub(crate) charset: &'a ngx_str_t,
    pub(crate) last_modified: Option<&'a [u8]>,
    /// nginx would add `Vary: Accept-Encoding` below (gzip_static).
    pub(crate) by_encoding: bool,
}

impl Fields for Visible<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        let media_type = bytes_of(self.content_type);
        if !media_type.is_empty() {
            match bytes_of(self.charset) {
                charset if !charset.is_empty() && media_type.len() == self.content_type_len => f(
                    b"Content-Type",
                    &[media_type, b"; charset=", charset].concat(),
                ),
                _ => f(b"Content-Type", media_type),
            }
        }
        if let Some(date) = self.last_modified {
            f(b"Last-Modified", date);
        }
        if self.by_encoding {
            f(b"Vary", b"Accept-Encoding");
        }
        List::of(self.list).each(f);
    }
}
