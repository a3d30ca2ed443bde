//! The module's statics: what nginx reads when it loads the file.

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{NGX_HTTP_MODULE, ngx_http_module_t, ngx_int_t, ngx_module_t, ngx_uint_t};

use crate::api::{explain, statistics, variables};
use crate::client::entry;
use crate::config::directives::COMMANDS;
use crate::config::{location, proxy_target};
use crate::filters;
use crate::worker::process;

static MODULE_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(variables::register),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(location::create_main),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(location::create_location),
    merge_loc_conf: Some(location::merge_location),
};

/// The one module of this file.
#[expect(non_upper_case_globals, reason = "nginx's naming of modules")]
pub(crate) static mut ngx_http_swr_cache_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(MODULE_CONTEXT).cast_mut().cast(),
    commands: COMMANDS.0.as_ptr().cast_mut(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(process::init_module),
    init_process: Some(process::init_process),
    exit_process: Some(process::exit_process),
    exit_master: Some(process::exit_master),
    ..ngx_module_t::default()
};

/// The modules of this file, for nginx's loader.
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

/// The module's place in the `ctx` of a request and in the configuration of a context.
pub(crate) fn ctx_index() -> usize {
    // SAFETY: nginx writes the index while it reads its configuration, before any request.
    unsafe { (*ptr::addr_of!(ngx_http_swr_cache_module)).ctx_index }
}

/// The tag by which nginx knows our shared memory zones.
pub(crate) fn tag() -> *mut c_void {
    ptr::addr_of_mut!(ngx_http_swr_cache_module).cast()
}

/// The configuration has been read.
///
/// # Safety
/// `cf` is what nginx has read it with.
unsafe extern "C" fn postconfiguration(cf: *mut nginx_sys::ngx_conf_t) -> ngx_int_t {
    crate::sys::boundary::guard(
        "postconfiguration",
        nginx_sys::NGX_ERROR as ngx_int_t,
        || match entry::install(cf)
            .and_then(|()| statistics::install(cf))
            .and_then(|()| explain::install(cf))
        {
            Some(()) => {
                filters::install();
                variables::install(cf);
                proxy_target::let_go();
                nginx_sys::NGX_OK as ngx_int_t
            }
            None => nginx_sys::NGX_ERROR as ngx_int_t,
        },
    )
}
