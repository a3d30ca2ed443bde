//! `$swr_cache_status` and its siblings.

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_conf_t, ngx_http_add_variable,
    ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t,
};

use swrcache::engine::key;

use crate::client::Client;
use crate::ctx::Ctx;
use crate::guard::guard;
use crate::pool::str_of;
use crate::request::Req;

type Text = fn(&Client) -> Option<Vec<u8>>;

/// The variables, in the order of their numbers.
const VARIABLES: [(&str, Text); 6] = [
    ("swr_cache_status", |c| {
        c.seen.status.map(|s| s.as_str().into())
    }),
    ("swr_cache_reason", |c| {
        c.seen.reason.map(|r| r.as_str().into())
    }),
    ("swr_cache_age", |c| {
        c.seen.age.map(|n| n.to_string().into())
    }),
    ("swr_cache_ttl", |c| {
        c.seen.ttl.map(|n| n.to_string().into())
    }),
    ("swr_cache_key", |c| Some(key::text(c.key()).to_vec())),
    ("swr_cache_fetch_time", |c| {
        c.seen
            .fetch_took
            .map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000).into())
    }),
];

/// Makes the variables known.
///
/// # Safety
/// `cf` is what nginx is about to read the configuration with.
pub(crate) unsafe extern "C" fn register(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard("the variables", NGX_ERROR as ngx_int_t, || {
        for (number, (name, _)) in VARIABLES.iter().enumerate() {
            let mut name = str_of(name.as_bytes());
            // SAFETY: `cf` is nginx's, which copies the name.
            let Some(v) = (unsafe {
                ngx_http_add_variable(cf, &mut name, NGX_HTTP_VAR_NOCACHEABLE as usize).as_mut()
            }) else {
                return NGX_ERROR as ngx_int_t;
            };
            v.get_handler = Some(get);
            v.data = number;
        }
        NGX_OK as ngx_int_t
    })
}

/// The value of a variable.
///
/// # Safety
/// `r` is a live request, and `v` the value to fill.
unsafe extern "C" fn get(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    number: usize,
) -> ngx_int_t {
    guard("a variable", NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes a live request and the value to fill.
        let (r, v) = unsafe { (Req::new(r), &mut *v) };
        let text = Ctx::client(r)
            .and_then(|c| (VARIABLES.get(number)?.1)(c))
            .filter(|t| !t.is_empty());
        let copy = text.and_then(|text| r.pool().copy(&text));
        match copy {
            Some(s) => {
                v.data = s.data;
                v.set_len(s.len as u32);
                v.set_valid(1);
                v.set_no_cacheable(0);
                v.set_not_found(0);
            }
            None => v.set_not_found(1),
        }
        NGX_OK as ngx_int_t
    })
}
