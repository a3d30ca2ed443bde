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
        // SAFETY: zeros are a number, a null pointer or no function: what all of it begins with.
        let mut module: ngx_module_t = unsafe { std::mem::zeroed() };
        module.ctx_index = ngx_uint_t::MAX;
        module.index = ngx_uint_t::MAX;
        module.signature = NGX_SIGNATURE.as_ptr();
        module.version = NGX_SERVER_VERSION;
        #[cfg(nginx_has = "ngx_module_s.angie_sign")]
        {
            module.angie_sign = NGX_SERVER_SIGN;
        }
        module
    }
}

impl ngx_shm_zone_t {
    /// Whether the memory of the zone of that name in the cycle before may not be taken over.
    pub fn forbid_reuse(&mut self, forbid: bool) {
        #[cfg(nginx_has = "ngx_shm_zone_s.set_noreuse")]
        self.set_noreuse(forbid.into());
        #[cfg(not(nginx_has = "ngx_shm_zone_s.set_noreuse"))]
        {
            self.noreuse = forbid.into();
        }
    }
}

/// Puts a line into a log, if the log takes lines of that level.
///
/// # Safety
/// The log is live.
pub unsafe fn log_line(level: ngx_uint_t, log: *mut ngx_log_t, line: &str) {
    // SAFETY: the caller's log; "%*s" takes a length and that many bytes.
    unsafe {
        if level > (*log).log_level {
            return;
        }
        #[cfg(not(nginx_has = "ngx_module_s.angie_sign"))]
        ngx_log_error_core(level, log, 0, c"%*s".as_ptr(), line.len(), line.as_ptr());
        #[cfg(nginx_has = "ngx_module_s.angie_sign")]
        {
            let file = c"ngx_http_swr_cache_module".as_ptr();
            ngx_log_error_core(
                level,
                log,
                file,
                0,
                c"%*s".as_ptr(),
                line.len(),
                line.as_ptr(),
            );
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
