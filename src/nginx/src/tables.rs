//! What nginx's loader looks for in a module's file. nginx's own build (`config`) makes these tables itself.

use std::ffi::c_char;
use std::ptr;

use nginx_sys::ngx_module_t;

use crate::module::ngx_http_swr_cache_module;

/// The modules of this file.
// SAFETY: the loader looks these three names up; nothing else of that name is linked in.
#[unsafe(no_mangle)]
static mut ngx_modules: [*const ngx_module_t; 2] =
    [&raw const ngx_http_swr_cache_module, ptr::null()];

/// Their names.
// SAFETY: as above.
#[unsafe(no_mangle)]
static mut ngx_module_names: [*const c_char; 2] =
    [c"ngx_http_swr_cache_module".as_ptr(), ptr::null()];

/// Where they stand among nginx's modules: behind all the others, since no name follows ours (ngx_add_module appends).
///
/// Filters run from the last module to the first, so ours see a response before not_modified, range, gzip or headers
/// touch it: what a fetch stores is what the origin sent.
// SAFETY: as above.
#[unsafe(no_mangle)]
static mut ngx_module_order: [*const c_char; 2] =
    [c"ngx_http_swr_cache_module".as_ptr(), ptr::null()];
