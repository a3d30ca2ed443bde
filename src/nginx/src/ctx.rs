//! What the module remembers with a request: of a client's request or of a fetch.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{ngx_palloc, ngx_pool_cleanup_add};

use crate::client::Client;
use crate::fetch::Fetch;
use crate::guard::guard;
use crate::request::Req;

/// Tells our records apart from a foreign one when an internal redirect made nginx forget ours.
const MAGIC: u64 = 0x7377_7263_6163_6865;

/// A request's record, in the request's pool.
pub(crate) struct Ctx {
    magic: u64,
    owner: Req,
    pub(crate) role: Role,
}

/// Whose request it is.
#[expect(
    clippy::large_enum_variant,
    reason = "a client's, the common one, shall need no second allocation"
)]
pub(crate) enum Role {
    /// A client's, or a subrequest of one.
    Client(Client),
    /// The cache's own.
    Fetch(Fetch),
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
                magic: MAGIC,
                owner: r,
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

    /// The record of a client's request.
    pub(crate) fn client<'a>(r: Req) -> Option<&'a mut Client> {
        match &mut Ctx::of(r)?.role {
            Role::Client(client) => Some(client),
            Role::Fetch(_) => None,
        }
    }

    /// The record of a fetch.
    pub(crate) fn fetch<'a>(r: Req) -> Option<&'a mut Fetch> {
        match &mut Ctx::of(r)?.role {
            Role::Fetch(fetch) => Some(fetch),
            Role::Client(_) => None,
        }
    }
}

/// Finds the record again after an internal redirect, which clears `r->ctx` (ngx_http_internal_redirect); the realip
/// module does likewise.
fn recover<'a>(r: Req) -> Option<&'a mut Ctx> {
    // SAFETY: the pool's cleanup list is well-formed; a cleanup with our handler carries a Ctx (checked by MAGIC too).
    unsafe {
        let mut cleanup = (*r.pool().as_ptr()).cleanup;
        while let Some(c) = cleanup.as_ref() {
            if c.handler
                .is_some_and(|h| ptr::fn_addr_eq(h, drop_ctx as unsafe extern "C" fn(*mut c_void)))
            {
                let ctx: *mut Ctx = c.data.cast();
                if (*ctx).magic == MAGIC && (*ctx).owner == r {
                    r.set_ctx(ctx.cast());
                    return Some(&mut *ctx);
                }
            }
            cleanup = c.next;
        }
    }
    None
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
