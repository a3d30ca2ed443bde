//! What the module remembers with a request: of a client's request or of a fetch.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{ngx_palloc, ngx_pool_cleanup_add};
use swrcache::engine::Reason;

use crate::api::explain::Explained;
use crate::client::request::Client;
use crate::fetch::orders::Fetch;
use crate::sys::boundary::guard;
use crate::sys::request::Req;

/// A request's record, in the request's pool. One that nginx leads elsewhere gets another where it meets the cache again; the
/// newest counts.
pub(crate) struct Ctx {
    owner: Req,
    /// What nginx still allowed the request of redirects when it got the record.
    uri_changes: u32,
    pub(crate) role: Role,
}

/// Whose request it is.
pub(crate) enum Role {
    /// A client's, or a subrequest of one.
    Client(Client),
    /// The cache's own.
    Fetch(Fetch),
    /// One that is to be explained, and is not carried out.
    Explain(Explained),
    /// A purge by method, and what came of it.
    Purge(Reason),
}

impl Ctx {
    /// Attaches `role` to the request; it is dropped with the request's pool, after logging.
    pub(crate) fn attach(r: Req, role: Role) -> Option<&'static mut Ctx> {
        let pool = r.pool().as_ptr();
        const { assert!(align_of::<Ctx>() <= 8) };
        // SAFETY: the pool is live; ngx_palloc aligns to the machine word, which is all that Ctx needs (asserted).
        unsafe {
            let cleanup = ngx_pool_cleanup_add(pool, 0).as_mut()?;
            let place: *mut Ctx = ngx_palloc(pool, size_of::<Ctx>()).cast();
            if place.is_null() {
                return None;
            }
            place.write(Ctx {
                owner: r,
                uri_changes: r.raw().uri_changes(),
                role,
            });
            cleanup.handler = Some(drop_ctx);
            cleanup.data = place.cast();
            r.set_ctx(place.cast());
            Some(&mut *place)
        }
    }

    /// The request's record, if it has one.
    pub(crate) fn of<'a>(r: Req) -> Option<&'a mut Ctx> {
        let ctx: *mut Ctx = r.ctx().cast();
        if !ctx.is_null() {
            // SAFETY: only `attach` and `recover` set this pointer, to a record that lives as long as the pool.
            return Some(unsafe { &mut *ctx });
        }
        if r.raw().internal() != 0 || r.raw().filter_finalize() != 0 {
            recover(r)
        } else {
            None
        }
    }

    /// The record, unless nginx has led the client's request elsewhere since. A fetch has the same one to its end, and so has one
    /// that is explained.
    pub(crate) fn here<'a>(r: Req) -> Option<&'a mut Ctx> {
        Ctx::of(r).filter(|ctx| {
            matches!(ctx.role, Role::Fetch(_) | Role::Explain(_))
                || ctx.uri_changes == r.raw().uri_changes()
        })
    }

    /// The record of a client's request.
    pub(crate) fn client<'a>(r: Req) -> Option<&'a mut Client> {
        match &mut Ctx::of(r)?.role {
            Role::Client(client) => Some(client),
            Role::Fetch(_) | Role::Explain(_) | Role::Purge(_) => None,
        }
    }

    /// The record of a fetch.
    pub(crate) fn fetch<'a>(r: Req) -> Option<&'a mut Fetch> {
        match &mut Ctx::of(r)?.role {
            Role::Fetch(fetch) => Some(fetch),
            Role::Client(_) | Role::Explain(_) | Role::Purge(_) => None,
        }
    }
}

/// Finds the record again after an internal redirect, which clears `r->ctx` (ngx_http_internal_redirect); the realip
/// module does likewise.
fn recover<'a>(r: Req) -> Option<&'a mut Ctx> {
    let mut found = ptr::null_mut::<Ctx>();
    r.pool().each_cleanup(drop_ctx, |data| {
        let ctx: *mut Ctx = data.cast();
        // SAFETY: a cleanup with our handler carries a record, which lives as long as the pool.
        if unsafe { (*ctx).owner == r } {
            found = ctx;
            r.set_ctx(data);
        }
        found.is_null()
    });
    // SAFETY: as above.
    unsafe { found.as_mut() }
}

/// The record of a request goes with its pool.
///
/// # Safety
/// `data` is a [`Ctx`] that is dropped nowhere else, and is not used afterwards.
#[inline(never)]
unsafe extern "C" fn drop_ctx(data: *mut c_void) {
    // SAFETY: `data` is the record that `attach` wrote; the pool calls this once.
    guard("cleanup", (), || unsafe {
        ptr::drop_in_place(data.cast::<Ctx>())
    });
}
