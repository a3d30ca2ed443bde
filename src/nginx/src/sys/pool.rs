//! Memory of an nginx pool, and strings in it.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    ngx_palloc, ngx_pcalloc, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t,
};

/// A pool that lives at least as long as the request or configuration it was taken from.
#[derive(Clone, Copy)]
pub(crate) struct Pool(*mut ngx_pool_t);

impl Pool {
    /// # Safety
    ///
    /// `pool` is a live nginx pool and outlives every use of the result.
    pub(crate) unsafe fn new(pool: *mut ngx_pool_t) -> Pool {
        Pool(pool)
    }

    pub(crate) fn as_ptr(self) -> *mut ngx_pool_t {
        self.0
    }

    /// Zeroed room for a `T` that C fills in; `None` when memory is out.
    pub(crate) fn zeroed<T>(self) -> Option<&'static mut T> {
        // SAFETY: ngx_pcalloc gives NULL or zeroed memory aligned for any nginx type; T is only used for C structs,
        // for which all-zero is a valid value. The pool outlives the use (see `new`).
        unsafe { ngx_pcalloc(self.0, size_of::<T>()).cast::<T>().as_mut() }
    }

    /// Moves `value` into the pool; it is dropped when the pool is destroyed.
    pub(crate) fn keep<T>(self, value: T) -> Option<*mut T> {
        /// # Safety
        /// `data` is a `T` that is dropped nowhere else, and is not used afterwards.
        unsafe extern "C" fn drop_it<T>(data: *mut c_void) {
            // SAFETY: `data` is the `T` that `keep` wrote, and the pool calls this once.
            crate::sys::boundary::guard("cleanup", (), || unsafe {
                ptr::drop_in_place(data.cast::<T>())
            });
        }
        const { assert!(align_of::<T>() <= 16) };
        // SAFETY: the pool is live; ngx_palloc aligns to NGX_ALIGNMENT (at least 8, 16 by ngx_palloc_large/pool data).
        unsafe {
            let cleanup = ngx_pool_cleanup_add(self.0, 0);
            if cleanup.is_null() {
                return None;
            }
            let place: *mut T = ngx_palloc(self.0, size_of::<T>() + align_of::<T>()).cast();
            if place.is_null() {
                return None;
            }
            let place = place.cast::<u8>();
            let place = place.add(place.align_offset(align_of::<T>())).cast::<T>();
            place.write(value);
            (*cleanup).handler = Some(drop_it::<T>);
            (*cleanup).data = place.cast();
            Some(place)
        }
    }

    /// Calls `f` with the data of each cleanup that has this handler, the newest first, until it says stop.
    pub(crate) fn each_cleanup(
        self,
        handler: unsafe extern "C" fn(*mut c_void),
        mut f: impl FnMut(*mut c_void) -> bool,
    ) {
        // SAFETY: the pool is live, and its list of cleanups well-formed.
        let mut cleanup = unsafe { (*self.0).cleanup };
        // SAFETY: as above.
        while let Some(c) = unsafe { cleanup.as_ref() } {
            let is_one = c.handler.is_some_and(|h| ptr::fn_addr_eq(h, handler));
            if is_one && !f(c.data) {
                return;
            }
            cleanup = c.next;
        }
    }

    /// A copy of `bytes` in the pool.
    pub(crate) fn copy(self, bytes: &[u8]) -> Option<ngx_str_t> {
        if bytes.is_empty() {
            return Some(ngx_str_t::default());
        }
        // SAFETY: ngx_pnalloc gives NULL or `len` writable bytes; `bytes` can't overlap fresh memory.
        unsafe {
            let data: *mut u8 = ngx_pnalloc(self.0, bytes.len()).cast();
            if data.is_null() {
                return None;
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            Some(ngx_str_t {
                len: bytes.len(),
                data,
            })
        }
    }

    /// A copy of an nginx string in the pool.
    pub(crate) fn copy_str(self, s: ngx_str_t) -> Option<ngx_str_t> {
        self.copy(bytes_of(&s))
    }
}

/// The bytes of an nginx string; an empty or null one gives an empty slice.
pub(crate) fn bytes_of(s: &ngx_str_t) -> &[u8] {
    if s.len == 0 || s.data.is_null() {
        return &[];
    }
    // SAFETY: a non-empty ngx_str_t points to `len` readable bytes as long as its owner lives.
    unsafe { std::slice::from_raw_parts(s.data, s.len) }
}

/// An nginx string that borrows static bytes.
pub(crate) const fn str_of(s: &'static [u8]) -> ngx_str_t {
    ngx_str_t {
        len: s.len(),
        data: s.as_ptr().cast_mut(),
    }
}

/// An nginx string over bytes that the caller keeps alive (pinned region memory, pool memory).
pub(crate) fn borrow(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t {
        len: bytes.len(),
        data: bytes.as_ptr().cast_mut(),
    }
}

/// A copy of something of `len` bytes in the pool; of nothing, if it is NULL.
pub(crate) fn copy_bytes<T>(pool: Pool, from: *mut T, len: u32) -> Option<*mut T> {
    if from.is_null() {
        return Some(from);
    }
    // SAFETY: an address of `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len as usize) };
    // SAFETY: ngx_palloc aligns for any type.
    let to: *mut u8 = unsafe { ngx_palloc(pool.as_ptr(), bytes.len()).cast() };
    if to.is_null() {
        return None;
    }
    // SAFETY: fresh memory of that size.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    Some(to.cast())
}
