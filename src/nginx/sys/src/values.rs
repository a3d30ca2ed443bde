//! Strings, arrays, lists and initial values (src/core and src/http).

use std::mem::offset_of;
use std::{ptr, slice};

use crate::bindings::*;

/// Where a directive's `conf` is looked for (src/http/ngx_http_config.h).
pub const NGX_HTTP_MAIN_CONF_OFFSET: usize = offset_of!(ngx_http_conf_ctx_t, main_conf);
/// As above.
pub const NGX_HTTP_LOC_CONF_OFFSET: usize = offset_of!(ngx_http_conf_ctx_t, loc_conf);

impl Default for ngx_str_t {
    /// ngx_null_string
    fn default() -> ngx_str_t {
        ngx_str_t {
            len: 0,
            data: ptr::null_mut(),
        }
    }
}

impl ngx_array_t {
    /// The elements.
    ///
    /// # Safety
    /// It is an array of `T`, which nobody changes meanwhile.
    pub unsafe fn as_slice<T>(&self) -> &[T] {
        if self.nelts == 0 {
            return &[];
        }
        // SAFETY: nginx's arrays have `nelts` elements; their type is as the caller says.
        unsafe { slice::from_raw_parts(self.elts.cast(), self.nelts) }
    }
}

impl ngx_variable_value_t {
    /// The value.
    pub fn as_bytes(&self) -> &[u8] {
        if self.len() == 0 {
            return &[];
        }
        // SAFETY: `data` of a variable's value points to `len` bytes.
        unsafe { slice::from_raw_parts(self.data, self.len() as usize) }
    }
}

impl ngx_command_t {
    /// ngx_null_command, the end of a module's directives.
    pub const fn empty() -> ngx_command_t {
        ngx_command_t {
            name: ngx_str_t {
                len: 0,
                data: ptr::null_mut(),
            },
            type_: 0,
            set: None,
            conf: 0,
            offset: 0,
            post: ptr::null_mut(),
        }
    }
}

impl ngx_module_t {
    /// NGX_MODULE_V1 and NGX_MODULE_V1_PADDING: a module without anything, for this version of nginx.
    pub const fn default() -> ngx_module_t {
        ngx_module_t {
            ctx_index: ngx_uint_t::MAX,
            index: ngx_uint_t::MAX,
            name: ptr::null_mut(),
            spare0: 0,
            spare1: 0,
            version: nginx_version as ngx_uint_t,
            signature: NGX_SIGNATURE.as_ptr(),
            ctx: ptr::null_mut(),
            commands: ptr::null_mut(),
            type_: 0,
            init_master: None,
            init_module: None,
            init_process: None,
            init_thread: None,
            exit_thread: None,
            exit_process: None,
            exit_master: None,
            spare_hook0: 0,
            spare_hook1: 0,
            spare_hook2: 0,
            spare_hook3: 0,
            spare_hook4: 0,
            spare_hook5: 0,
            spare_hook6: 0,
            spare_hook7: 0,
        }
    }
}

/// The time, as of the start of this turn of the event loop.
pub fn ngx_timeofday() -> &'static ngx_time_t {
    // SAFETY: nginx sets it before it loads a module, to one of its static slots.
    unsafe { &*ngx_cached_time }
}

/// Makes a list of elements of `size` bytes, with room for `n` before it grows.
///
/// # Safety
/// `list` can be written, and `pool` lives as long as it.
pub unsafe fn ngx_list_init(
    list: *mut ngx_list_t,
    pool: *mut ngx_pool_t,
    n: ngx_uint_t,
    size: usize,
) -> ngx_int_t {
    // SAFETY: as the caller says.
    unsafe {
        let elts = ngx_palloc(pool, n * size);
        if elts.is_null() {
            return NGX_ERROR as ngx_int_t;
        }
        (*list).part = ngx_list_part_t {
            elts,
            nelts: 0,
            next: ptr::null_mut(),
        };
        (*list).last = &raw mut (*list).part;
        (*list).size = size;
        (*list).nalloc = n;
        (*list).pool = pool;
    }
    NGX_OK as ngx_int_t
}
