//! How a request has come to its location: as it was sent, led there by a redirect inside nginx, or by an error.
//!
//! The target that a client sent does not tell what it gets: `try_files`, an index, `rewrite`, a named location or an origin's
//! `X-Accel-Redirect` lead the same target to different places. The place is a branch of the key then, so that nothing found
//! in it is given to a request that has not come there.
//!
//! | where the target as sent is read from | whose it is |
//! |---|---|
//! | `$request_uri` | a client's request, whose target nginx took over as it stood |
//! | the note that [`note`] left | a client's request whose target nginx had to decode; a subrequest |

use std::ffi::c_void;

use nginx_sys::{
    NGX_HTTP_MAX_URI_CHANGES, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_pool_cleanup_add,
};

use crate::sys::pool::bytes_of;
use crate::sys::request::Req;

/// A path, decoded, and the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) uri: &'a [u8],
    pub(crate) args: &'a [u8],
}

impl Target<'_> {
    fn of<'a>(r: Req) -> Target<'a> {
        Target {
            uri: bytes_of(&r.raw().uri),
            args: bytes_of(&r.raw().args),
        }
    }
}

/// Where a request was led to.
pub(crate) struct Place<'a> {
    /// The named location; empty if it is none.
    pub(crate) named: &'a [u8],
    pub(crate) target: Target<'a>,
}

/// The target of a request as it was when nginx began with it, in the request's pool.
struct Note {
    owner: Req,
    target: Target<'static>,
}

/// Notes the target of a request that nginx begins with, where it can't be told later.
pub(crate) fn note(r: Req) {
    if is_moved(r) || r.is_main() && is_as_sent(r) {
        return;
    }
    // SAFETY: the pool is live; nginx gives NULL or a cleanup with room for a note, aligned to the machine word. The target
    // lies in the pool or in a buffer of the header: both live as long as the request.
    unsafe {
        let Some(cleanup) = ngx_pool_cleanup_add(r.pool().as_ptr(), size_of::<Note>()).as_mut()
        else {
            return;
        };
        cleanup.handler = Some(forget);
        cleanup.data.cast::<Note>().write(Note {
            owner: r,
            target: Target::of(r),
        });
    }
}

/// A note needs no end of its own. As the handler of a cleanup it tells notes from other cleanups.
#[inline(never)]
extern "C" fn forget(note: *mut c_void) {
    std::hint::black_box(note);
}

/// Notes that a request which an origin has led on looks at what that one said (`$upstream_http_*`): what it gets then depends on more
/// than where it is.
pub(crate) fn note_look_back(r: Req) {
    if !is_moved(r) || r.raw().header_sent() != 0 || looks_back(r) {
        return;
    }
    // SAFETY: the pool is live; nginx gives NULL or a cleanup.
    if let Some(cleanup) = unsafe { ngx_pool_cleanup_add(r.pool().as_ptr(), 0).as_mut() } {
        cleanup.handler = Some(forget_look);
        cleanup.data = r.as_ptr().cast();
    }
}

/// Whether it has done so.
pub(crate) fn looks_back(r: Req) -> bool {
    let mut found = false;
    r.pool().each_cleanup(forget_look, |of| {
        found |= of == r.as_ptr().cast();
        !found
    });
    found
}

/// As [`forget`], of another kind of note.
#[inline(never)]
extern "C" fn forget_look(of: *mut c_void) {
    std::hint::black_box(of.wrapping_byte_add(1));
}

fn noted<'a>(r: Req) -> Option<Target<'a>> {
    let mut found = None;
    r.pool().each_cleanup(forget, |data| {
        // SAFETY: a cleanup with this handler is one of `note`; its data are plain.
        let note = unsafe { &*data.cast::<Note>() };
        if note.owner == r {
            found = Some(note.target);
        }
        found.is_none()
    });
    found
}

/// Whether the path is the very bytes that the client sent.
fn is_as_sent(r: Req) -> bool {
    std::ptr::eq(r.raw().uri.data, r.raw().unparsed_uri.data)
}

/// Whether nginx has led the request elsewhere. `try_files` also changes a target without saying so.
fn is_moved(r: Req) -> bool {
    match r.is_main() {
        true => r.raw().internal() != 0,
        // A subrequest is internal from the start.
        false => r.raw().uri_changes() != NGX_HTTP_MAX_URI_CHANGES + 1,
    }
}

/// The target as it was sent; for a subrequest, as it was begun.
pub(crate) fn sent<'a>(r: Req) -> Option<Target<'a>> {
    if !r.is_main() || !is_as_sent(r) {
        let noted = noted(r);
        if noted.is_some() || !r.is_main() {
            return noted;
        }
    }
    let sent = r.unparsed_uri();
    let (uri, args) = match sent.iter().position(|b| *b == b'?') {
        Some(at) => (&sent[..at], &sent[at + 1..]),
        None => (sent, &b""[..]),
    };
    Some(Target { uri, args })
}

/// Where the request was led to; nothing if it stands where its target leads by itself.
pub(crate) fn place<'a>(r: Req) -> Option<Place<'a>> {
    let place = Place {
        named: named(r),
        target: Target::of(r),
    };
    let is_led = !place.named.is_empty() || is_moved(r) || sent(r) != Some(place.target);
    is_led.then_some(place)
}

/// The name of the named location that the request is in. No other location's begins so (ngx_http_core_location).
pub(crate) fn named<'a>(r: Req) -> &'a [u8] {
    // SAFETY: every request has a core location configuration, which lives as long as the cycle.
    let name = unsafe {
        let index = (*std::ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const ngx_http_core_loc_conf_t = (*r.raw().loc_conf.add(index)).cast();
        bytes_of(&(*core).name)
    };
    match name {
        [b'@', ..] => name,
        _ => b"",
    }
}

/// Whether an error has led the request here: what it gets is nothing for others, and nothing that others got is for it.
///
/// `error_page CODE = ...` beside `recursive_error_pages` leaves no trace; such a request has been led elsewhere all the same,
/// and shares with those alone that came from the same target to the same place.
pub(crate) fn is_by_error(r: Req) -> bool {
    r.raw().err_status != 0 || r.raw().error_page() != 0
}
