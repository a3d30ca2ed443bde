//! The module's statics: what nginx reads when it loads the file.

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_MODULE, NGX_OK, ngx_conf_t, ngx_http_module_t, ngx_int_t, ngx_module_t,
    ngx_uint_t,
};

use crate::api::{explain, variables};
use crate::config::location::MainConf;
use crate::config::{location, proxy_target};
use crate::directives::COMMANDS;
use crate::sys::boundary::guard;
use crate::sys::module_index;
use crate::worker::process;
use crate::{filters, phases};

static MODULE_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(variables::register),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(location::create_location),
    merge_loc_conf: Some(location::merge_location),
};

/// The one module of this file.
#[expect(non_upper_case_globals, reason = "nginx's naming of modules")]
static mut ngx_http_swr_cache_module: ngx_module_t = ngx_module_t {
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

/// The first of the module that nginx calls when it reads a configuration.
///
/// # Safety
/// `cf` is what nginx reads the configuration with, and has a pool.
unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx has written the index (ngx_http_block).
    module_index::assign(unsafe { (*ptr::addr_of!(ngx_http_swr_cache_module)).ctx_index });
    proxy_target::look_on(cf);
    // SAFETY: the caller's promise.
    unsafe { location::create_main(cf) }
}

/// The configuration has been read.
///
/// # Safety
/// `cf` is what nginx has read it with.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard("postconfiguration", NGX_ERROR as ngx_int_t, || {
        if phases::install(cf).is_none() {
            return NGX_ERROR as ngx_int_t;
        }
        filters::install();
        variables::install(cf);
        explain::install(cf);
        proxy_target::let_go();
        MainConf::of(cf).settle_encoding(cf);
        NGX_OK as ngx_int_t
    })
}
