//! The table of the `swr_cache_*` directives: names, contexts, and what reads each.

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET, NGX_HTTP_SRV_CONF, ngx_command_t, ngx_conf_t,
    ngx_str_t,
};

use crate::api::{purge, statistics};
use crate::config::location::{LocConf, MainConf};
use crate::config::words::{
    self, Line, Parsed, TWICE, choice, key, more, once, purge_method, read, status_header,
};
use crate::sys::boundary::guard;
use crate::sys::conf::FAILED;

/// Wraps a parser of location settings into the callback that nginx wants.
macro_rules! location {
    ($name:literal, $parser:expr) => {
        command!(
            $name,
            NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
            NGX_HTTP_LOC_CONF_OFFSET,
            LocConf,
            $parser
        )
    };
}

/// A directive whose words the engine understands, by its own name of it.
macro_rules! engine {
    ($name:literal, $own:literal) => {
        location!($name, |line, conf| {
            if conf.directives.is_taken($own) {
                return Err(TWICE.into());
            }
            conf.directives.add($own, &line.words)
        })
    };
}

macro_rules! command {
    ($name:literal, $contexts:expr, $offset:expr, $conf:ty, $parser:expr) => {{
        /// # Safety
        /// `cf` is what nginx reads the configuration with, with the directive's arguments; `conf` is what our create
        /// function made for this context.
        unsafe extern "C" fn set(cf: *mut ngx_conf_t, _: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
            guard(concat!("the directive ", $name), FAILED, || {
                // SAFETY: nginx passes the configuration that our create function made for this context.
                let conf = unsafe { &mut *conf.cast::<$conf>() };
                let parser: fn(&Line<'_>, &mut $conf) -> Parsed<()> = $parser;
                read(cf, $name, |line| parser(line, conf))
            })
        }
        ngx_command_t {
            // nginx compares up to a NUL (ngx_conf_handler).
            name: ngx_str_t { len: $name.len(), data: concat!($name, "\0").as_ptr().cast_mut() },
            type_: $contexts as usize,
            set: Some(set),
            conf: $offset as usize,
            offset: 0,
            post: ptr::null_mut(),
        }
    }};
}

/// The table of directives, ended by an empty one.
pub(crate) struct Commands(pub(crate) [ngx_command_t; 39]);

// SAFETY: nginx only reads the table, on its one thread.
unsafe impl Sync for Commands {}

pub(crate) static COMMANDS: Commands = Commands([
    command!(
        "swr_cache_zone",
        NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE,
        NGX_HTTP_MAIN_CONF_OFFSET,
        MainConf,
        words::zone
    ),
    location!("swr_cache", |l, c| once(&mut c.settings.zone, choice(l))),
    location!("swr_cache_key", |l, c| once(&mut c.settings.key, key(l))),
    location!("swr_cache_bypass", |l, c| more(
        &mut c.settings.bypass,
        l.values()
    )),
    location!("swr_no_cache", |l, c| more(
        &mut c.settings.no_cache,
        l.values()
    )),
    location!("swr_cache_status_header", |l, c| once(
        &mut c.settings.status_header,
        status_header(l)
    )),
    location!("swr_cache_purge_method", |l, c| once(
        &mut c.settings.purge_method,
        purge_method(l)
    )),
    engine!("swr_ignore_headers", "ignore_headers"),
    engine!("swr_cache_methods", "methods"),
    engine!("swr_cache_convert_head", "convert_head"),
    engine!("swr_cache_max_range_offset", "max_range_offset"),
    engine!("swr_cache_valid", "valid"),
    engine!("swr_cache_min_uses", "min_uses"),
    engine!("swr_cache_use_stale", "use_stale"),
    engine!("swr_cache_stale_while_revalidate", "stale_while_revalidate"),
    engine!("swr_cache_stale_if_error", "stale_if_error"),
    engine!("swr_cache_background_update", "background_update"),
    engine!("swr_cache_revalidate", "revalidate"),
    engine!("swr_cache_edge_revalidation", "edge_revalidation"),
    engine!("swr_cache_lock", "lock"),
    engine!("swr_cache_lock_timeout", "lock_timeout"),
    engine!("swr_cache_lock_age", "lock_age"),
    engine!("swr_cache_control_headers", "control_headers"),
    engine!("swr_cache_client_control", "client_control"),
    engine!("swr_cache_refresh_max", "refresh_max"),
    engine!("swr_cache_refresh_backoff", "refresh_backoff"),
    engine!("swr_cache_refresh_ahead", "refresh_ahead"),
    engine!("swr_cache_revalidate_timeout", "revalidate_timeout"),
    engine!("swr_cache_vary_normalize", "vary_normalize"),
    engine!("swr_cache_max_variants", "max_variants"),
    engine!("swr_cache_query", "query"),
    engine!("swr_cache_invalidate", "invalidate"),
    engine!("swr_cache_tag_headers", "tag_headers"),
    engine!("swr_cache_compress", "compress"),
    engine!("swr_cache_compress_types", "compress_types"),
    engine!("swr_cache_compress_min_length", "compress_min_length"),
    command!(
        "swr_cache_stats",
        NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS,
        NGX_HTTP_LOC_CONF_OFFSET,
        LocConf,
        |line, _| {
            line.set_handler(Some(statistics::handler));
            Ok(())
        }
    ),
    command!(
        "swr_cache_purge",
        NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
        NGX_HTTP_LOC_CONF_OFFSET,
        LocConf,
        |line, conf| {
            line.set_handler(Some(purge::handler));
            words::purge(line, conf)
        }
    ),
    ngx_command_t::empty(),
]);
