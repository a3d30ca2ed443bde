//! What the module keeps with a request, by type: the record of the request, which nginx hands back at once, and notes.
//!
//! | kept | how many | found by | for |
//! |---|---|---|---|
//! | record | the newest one counts: a request that nginx redirects gets another one where it meets the cache again | `r->ctx` | what the request is: a client's, a fetch, one that is explained, a purge |
//! | note | any number | a walk over the cleanups of the pool | what is rarely asked for |
//!
//! Both live in the request's pool and are dropped with it, after logging. There are only shared references to them, since a filter or a
//! variable may read a record in the middle of a call on it: what changes in one is a `Cell`.

use std::any::TypeId;
use std::ffi::c_void;
use std::ptr::{self, NonNull};

use nginx_sys::{ngx_palloc, ngx_pool_cleanup_add};

use crate::sys::boundary::guard;
use crate::sys::request::Req;

/// The type of a record.
pub(crate) trait RecordKind: 'static {
    /// Whether the record holds after nginx has redirected the request. If not, it holds in the location where the request got it.
    const FOLLOWS: bool;
}

/// What stands before every record and note.
struct Preamble {
    kind: TypeId,
    owner: Req,
    is_record: bool,
    follows: bool,
    /// `r->uri_changes`, the number of redirects that are left, when the request got the record.
    uri_changes: u32,
    /// Drops the value behind the preamble.
    drop: unsafe fn(NonNull<Preamble>),
}

#[repr(C)]
struct Kept<T> {
    // First, so that a pointer to the whole is one to the preamble.
    preamble: Preamble,
    value: T,
}

/// The record of a request, of whatever type.
#[derive(Clone, Copy)]
pub(crate) struct Record(NonNull<Preamble>);

/// Makes `value` the record of the request.
pub(crate) fn attach<'a, T: RecordKind>(r: Req, value: T) -> Option<&'a T> {
    let kept = keep(r, value, true, T::FOLLOWS)?;
    r.set_ctx(kept.as_ptr().cast());
    // SAFETY: just written; it lives as long as the pool, and nobody has more than a shared reference to it.
    Some(unsafe { &kept.as_ref().value })
}

/// The record of the request, if it has one of this type.
pub(crate) fn of<'a, T: RecordKind>(r: Req) -> Option<&'a T> {
    Record::of(r)?.get()
}

/// Keeps `value` with the request, beside its record.
pub(crate) fn note<'a, T: 'static>(r: Req, value: T) -> Option<&'a T> {
    let kept = keep(r, value, false, true)?;
    // SAFETY: as in `attach`.
    Some(unsafe { &kept.as_ref().value })
}

/// The newest note of this type.
pub(crate) fn noted<'a, T: 'static>(r: Req) -> Option<&'a T> {
    let found = find(r, |preamble| {
        preamble.kind == TypeId::of::<T>() && !preamble.is_record
    })?;
    // SAFETY: the kind says that a `T` stands behind the preamble; it lives as long as the pool.
    Some(unsafe { &found.cast::<Kept<T>>().as_ref().value })
}

impl Record {
    /// The record of the request, if it has one.
    pub(crate) fn of(r: Req) -> Option<Record> {
        match NonNull::new(r.ctx().cast()) {
            Some(preamble) => Some(Record(preamble)),
            None if r.raw().internal() != 0 || r.raw().filter_finalize() != 0 => recover(r),
            None => None,
        }
    }

    /// The record, unless nginx has redirected the request since it got it.
    pub(crate) fn here(r: Req) -> Option<Record> {
        Record::of(r).filter(|record| {
            let preamble = record.preamble();
            preamble.follows || preamble.uri_changes == r.raw().uri_changes()
        })
    }

    /// The record, if it is a `T`.
    pub(crate) fn get<'a, T: RecordKind>(self) -> Option<&'a T> {
        if self.preamble().kind != TypeId::of::<T>() {
            return None;
        }
        // SAFETY: the kind says that a `T` stands behind the preamble; it lives as long as the pool, and is only ever shared.
        Some(unsafe { &self.0.cast::<Kept<T>>().as_ref().value })
    }

    fn preamble<'a>(self) -> &'a Preamble {
        // SAFETY: `attach` wrote it, it is never changed, and lives as long as the pool.
        unsafe { self.0.as_ref() }
    }
}

fn keep<T: 'static>(r: Req, value: T, is_record: bool, follows: bool) -> Option<NonNull<Kept<T>>> {
    let pool = r.pool().as_ptr();
    const { assert!(align_of::<Kept<T>>() <= 8) };
    // SAFETY: the pool is live; ngx_palloc aligns to the machine word, which is all that is needed (asserted).
    unsafe {
        let cleanup = ngx_pool_cleanup_add(pool, 0).as_mut()?;
        let place = NonNull::new(ngx_palloc(pool, size_of::<Kept<T>>()).cast::<Kept<T>>())?;
        place.write(Kept {
            preamble: Preamble {
                kind: TypeId::of::<T>(),
                owner: r,
                is_record,
                follows,
                uri_changes: r.raw().uri_changes(),
                drop: drop_value::<T>,
            },
            value,
        });
        cleanup.handler = Some(drop_kept);
        cleanup.data = place.as_ptr().cast();
        Some(place)
    }
}

/// Finds the record again after an internal redirect, which clears `r->ctx` (ngx_http_internal_redirect); the realip
/// module does likewise.
fn recover(r: Req) -> Option<Record> {
    let found = find(r, |preamble| preamble.is_record)?;
    r.set_ctx(found.as_ptr().cast());
    Some(Record(found))
}

/// The newest that the request keeps of those that `is_one` picks. Subrequests share the pool.
fn find(r: Req, is_one: impl Fn(&Preamble) -> bool) -> Option<NonNull<Preamble>> {
    let mut found = None;
    r.pool().each_cleanup(drop_kept, |data| {
        // SAFETY: a cleanup with this handler carries what `keep` wrote, which lives as long as the pool.
        let preamble = NonNull::new(data.cast::<Preamble>())
            .filter(|preamble| unsafe { preamble.as_ref() }.owner == r)
            .filter(|preamble| is_one(unsafe { preamble.as_ref() }));
        found = preamble;
        found.is_none()
    });
    found
}

/// # Safety
/// `preamble` is that of a `Kept<T>`, whose value is dropped nowhere else and is not used afterwards.
unsafe fn drop_value<T>(preamble: NonNull<Preamble>) {
    // SAFETY: as the caller says.
    unsafe { ptr::drop_in_place(&raw mut (*preamble.cast::<Kept<T>>().as_ptr()).value) }
}

/// Drops what is kept, with the pool. The handler also identifies the cleanups of this file.
///
/// # Safety
/// `data` is what `keep` wrote; the pool calls this once.
#[inline(never)]
unsafe extern "C" fn drop_kept(data: *mut c_void) {
    guard("cleanup", (), || {
        if let Some(preamble) = NonNull::new(data.cast::<Preamble>()) {
            // SAFETY: as the caller says; `drop` is that of the value's type.
            unsafe { (preamble.as_ref().drop)(preamble) }
        }
    });
}
