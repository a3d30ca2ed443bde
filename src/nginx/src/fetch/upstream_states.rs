//! The states of a fetch's upstream, for the access log of the client that leads it (`$upstream_addr`, `$upstream_status` ...).

use std::mem;

use nginx_sys::{ngx_array_create, ngx_array_push, ngx_http_upstream_state_t, ngx_str_t};

use crate::sys::request::Req;

/// How many states a request has.
pub(crate) fn count(r: Req) -> usize {
    // SAFETY: NULL or an array of states.
    unsafe { r.raw().upstream_states.as_ref() }.map_or(0, |states| states.nelts)
}

/// Copies the states of `fetch` to `client`, behind the `earlier` ones that it had: those of what it was redirected from.
pub(crate) fn copy(fetch: Req, client: Req, earlier: usize) -> Option<()> {
    // SAFETY: NULL or an array of states; the copies' strings are copied too.
    unsafe {
        let from = fetch.raw().upstream_states.as_ref()?;
        let states: &[ngx_http_upstream_state_t] = from.as_slice();
        let pool = client.pool();
        let array = &mut client.raw().upstream_states;
        if array.is_null() {
            *array = ngx_array_create(
                pool.as_ptr(),
                states.len().max(1),
                size_of::<ngx_http_upstream_state_t>(),
            );
        }
        let array = *array;
        array.as_mut()?.nelts = earlier;
        // One without a peer stands for the redirect (ngx_http_upstream_addr_variable).
        let redirect = (earlier > 0).then(|| mem::zeroed());
        for state in redirect.iter().chain(states) {
            let place: *mut ngx_http_upstream_state_t = ngx_array_push(array).cast();
            let (place, peer) = (place.as_mut()?, pool.zeroed::<ngx_str_t>()?);
            *place = *state;
            if let Some(name) = state.peer.as_ref() {
                *peer = pool.copy_str(*name).unwrap_or_default();
                place.peer = peer;
            }
        }
    }
    Some(())
}
