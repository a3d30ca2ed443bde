//! The module's statics: what nginx reads when it loads the file.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_MODULE, NGX_OK, ngx_conf_t, ngx_http_module_t, ngx_int_t, ngx_module_t,
    ngx_uint_t,
};

use crate::api::{explain, variables};
use crate::config::location::MainConf;
use crate::config::{binary_interface, location, proxy_target};
use crate::directives::COMMANDS;
use crate::sys::boundary::guard;
use crate::sys::module_index;
use crate::worker::process;
use crate::{filters, phases};

static MODULE_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(location::create_location),
    merge_loc_conf: Some(location::merge_location),
};

/// The one module of this file. nginx's own build (`config`) takes it by this name.
#[cfg_attr(
    feature = "export-modules",
    expect(non_upper_case_globals, reason = "nginx's naming of modules")
)]
// SAFETY: no other module has this name, by which nginx tells modules apart (ngx_add_module).
#[cfg_attr(not(feature = "export-modules"), unsafe(no_mangle))]
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

/// Every module has its main configuration, and no directive of `http` has been read.
///
/// # Safety
/// As [`create_main_conf`].
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard("preconfiguration", NGX_ERROR as ngx_int_t, || {
        if let Some(difference) = binary_interface::difference(cf) {
            let what = "ngx_http_swr_cache_module was built for another nginx of this version";
            location::report(cf, &format!("{what}, build it for this one: {difference}"));
            return NGX_ERROR as ngx_int_t;
        }
        // SAFETY: the caller's promise.
        unsafe { variables::register(cf) }
    })
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
