//! Locations whose bodies nginx rewrites on their way out (`ssi`, `sub_filter`, `addition`, `charset` from another one, `xslt`): they need
//! the original, not an encoded form of it.
//!
//! nginx tells no other module what a filter is configured to do. What is read here are the first fields of the modules' own
//! configurations (ngx_http_ssi_filter_module.c, ngx_http_sub_filter_module.c, ngx_http_addition_filter_module.c,
//! ngx_http_charset_filter_module.c, ngx_http_xslt_filter_module.c), which have been the same since nginx 1.9.4; end-to-end tests of every
//! nginx of the matrix hold them, as far as it has the filter.

use std::ffi::{CStr, c_void};
use std::slice;

use nginx_sys::{ngx_conf_t, ngx_module_t};

/// The first words of the configuration of a filter.
type Words = [usize; WORDS];

/// A filter, by its module; the directives that turn it on; whether its configuration does so.
type Filter = (&'static CStr, &'static str, fn(&Words) -> bool);

const FILTERS: [Filter; 5] = [
    // ngx_flag_t enable
    (c"ngx_http_ssi_filter_module", "ssi", |words| words[0] == 1),
    // ngx_uint_t dynamic, ngx_array_t *pairs
    (c"ngx_http_sub_filter_module", "sub_filter", |words| {
        words[1] != 0
    }),
    // ngx_str_t before_body, ngx_str_t after_body
    (
        c"ngx_http_addition_filter_module",
        "add_before_body or add_after_body",
        |words| words[0] != 0 || words[2] != 0,
    ),
    // ngx_int_t charset, source_charset
    (
        c"ngx_http_charset_filter_module",
        "charset and source_charset",
        |words| words[0] != words[1] && words[0] != CHARSET_OFF && words[1] != CHARSET_OFF,
    ),
    // xmlDtdPtr dtd, ngx_array_t sheets (elts, nelts ...)
    (c"ngx_http_xslt_filter_module", "xslt_stylesheet", |words| {
        words[2] != 0
    }),
];

/// NGX_HTTP_CHARSET_OFF.
const CHARSET_OFF: usize = -2_isize as usize;

/// How many words of a configuration are read; each of them is longer.
const WORDS: usize = 4;

/// The directive by which nginx rewrites the bodies of a location, if there is one; `locations` are the configurations of all modules
/// for it, merged.
///
/// # Safety
/// `cf` is what nginx reads the configuration with, and `locations` has a place for every HTTP module.
pub(super) unsafe fn rewriter(
    cf: *mut ngx_conf_t,
    locations: *mut *mut c_void,
) -> Option<&'static str> {
    // SAFETY: the cycle has all its modules when a configuration is read, and a NULL behind them.
    let modules = unsafe {
        let cycle = &*(*cf).cycle;
        slice::from_raw_parts(cycle.modules.cast_const(), cycle.modules_n)
    };
    FILTERS.iter().find_map(|(name, directive, is_on)| {
        let found = modules.iter().find(|module| is_named(**module, name))?;
        // SAFETY: a module of this name is an HTTP module with a configuration of more than `WORDS` words for each location.
        let words: &Words = unsafe {
            (*locations.add((**found).ctx_index))
                .cast::<Words>()
                .as_ref()?
        };
        is_on(words).then_some(*directive)
    })
}

fn is_named(module: *const ngx_module_t, name: &CStr) -> bool {
    // SAFETY: nginx gives every module a name that ends in NUL (ngx_preinit_modules, ngx_load_module).
    unsafe { module.as_ref() }
        .filter(|module| !module.name.is_null())
        .is_some_and(|module| unsafe { CStr::from_ptr(module.name) } == name)
}
