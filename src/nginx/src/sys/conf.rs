//! nginx's configuration contexts, while the configuration is being read.

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_module,
};

use crate::sys::module_index::ctx_index;

/// NGX_CONF_ERROR: what the function of a directive gives back if it fails.
pub(crate) const FAILED: *mut c_char = ptr::without_provenance_mut(usize::MAX);

/// The index of the core module among those of HTTP.
pub(crate) fn core_index() -> usize {
    // SAFETY: nginx writes the index before it reads any configuration, and never again.
    unsafe { (*ptr::addr_of!(ngx_http_core_module)).ctx_index }
}

/// What this module has in the `http` block.
///
/// # Safety
///
/// `cf` reads inside `http`, and the module's main configuration is a `T`.
pub(crate) unsafe fn main_of<T>(cf: *mut ngx_conf_t) -> *mut T {
    // SAFETY: inside `http`, `cf.ctx` is its context, with a place for every module.
    unsafe { (*(*context(cf)).main_conf.add(ctx_index())).cast() }
}

/// What this module has in the location, or in what stands for one, that is being read.
///
/// # Safety
///
/// As [`main_of`], of the module's configuration of a location.
pub(crate) unsafe fn location_of<T>(cf: *mut ngx_conf_t) -> *mut T {
    // SAFETY: as in `main_of`.
    unsafe { (*(*context(cf)).loc_conf.add(ctx_index())).cast() }
}

/// What the core module has in the `http` block. No caller keeps the reference.
pub(crate) fn core_main<'a>(cf: *mut ngx_conf_t) -> &'a mut ngx_http_core_main_conf_t {
    // SAFETY: as in `main_of`; nginx reads its configuration on one thread.
    unsafe { &mut *(*(*context(cf)).main_conf.add(core_index())).cast() }
}

/// What the core module has in the location that is being read or merged. No caller keeps the reference.
pub(crate) fn core_location<'a>(cf: *mut ngx_conf_t) -> &'a mut ngx_http_core_loc_conf_t {
    // SAFETY: as in `core_main`.
    unsafe { &mut *(*(*context(cf)).loc_conf.add(core_index())).cast() }
}

/// The configurations of all modules for the location that is being read or merged, by the modules' indexes. nginx keeps them as long as
/// the cycle.
pub(crate) fn locations(cf: *mut ngx_conf_t) -> *mut *mut c_void {
    // SAFETY: as in `core_main`.
    unsafe { (*context(cf)).loc_conf }
}

/// The configuration of the server that is being read or merged, as its requests have it (`r->srv_conf`).
pub(crate) fn server(cf: *mut ngx_conf_t) -> *mut *mut c_void {
    // SAFETY: as in `core_main`.
    unsafe { (*context(cf)).srv_conf }
}

/// # Safety
///
/// `cf` reads inside `http`.
unsafe fn context(cf: *mut ngx_conf_t) -> *mut ngx_http_conf_ctx_t {
    // SAFETY: as the caller says.
    unsafe { (*cf).ctx.cast() }
}
