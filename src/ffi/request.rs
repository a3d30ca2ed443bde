//! A request of the caller's, as the engine sees it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use smallvec::SmallVec;

use super::error::{Error, Result, SWRCACHE_EINVAL};
use super::types::{self, Field, Lines, Owned, SWRCACHE_NUL, Sized_, bytes};
use crate::engine::{self, Method, Turn};

/// `swrcache_request.flags`: don't use what is stored.
pub const SWRCACHE_BYPASS: u32 = 1;
/// `swrcache_request.flags`: don't store the response.
pub const SWRCACHE_NO_CACHE: u32 = 2;
/// `swrcache_request.flags`: the server has no room for a background fetch now.
pub const SWRCACHE_NO_REFRESH: u32 = 4;

/// `swrcache_request.turn`: the request asks for the first time.
pub const SWRCACHE_FIRST: c_int = 0;
/// `swrcache_request.turn`: it was told to wait, and something has moved.
pub const SWRCACHE_WAITED: c_int = 1;
/// `swrcache_request.turn`: it was told to wait, and the timeout has expired.
pub const SWRCACHE_TIMED_OUT: c_int = 2;

/// A request. Zero it, set `struct_size` and what there is. The library keeps none of your pointers after the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// `sizeof(swrcache_request)`.
    pub struct_size: usize,
    /// The method, ending with NUL, such as "GET".
    pub method: *const c_char,
    /// The key under which responses are stored: any bytes that tell resources apart, such as the URL. What has a key of 1 MiB or more
    /// is not stored.
    pub key: *const c_char,
    /// Bytes of the key, or `SWRCACHE_NUL`.
    pub key_len: usize,
    /// The request's header fields, in order.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// `SWRCACHE_BYPASS` and the like, or 0.
    pub flags: u32,
    /// `SWRCACHE_FIRST` and the like.
    pub turn: c_int,
    /// Scheme and authority as the client wrote them, such as `https://example.com:8443`, ending with NUL; NULL if you don't tell.
    /// Cache groups (RFC 9875) and what an unsafe request makes invalid beside its own key are of one origin.
    pub origin: *const c_char,
    /// Path and query as the client wrote them, ending with NUL; NULL if you don't tell. Where the key ends in them, it is known
    /// what keys other targets of the origin have, which a `Location` may name.
    pub target: *const c_char,
    /// Anything of yours, which the library hands back with the fetch (`swrcache_fetch_request`) and does not look at. What it points to
    /// has to live as long as the fetch does, which a refresh may do longer than the request.
    pub user: *mut c_void,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Request {
    const LEAST: usize = offset_of!(Request, flags);
}

impl Request {
    pub(crate) const NONE: Request = Request {
        struct_size: 0,
        method: ptr::null(),
        key: ptr::null(),
        key_len: 0,
        fields: ptr::null(),
        field_count: 0,
        flags: 0,
        turn: SWRCACHE_FIRST,
        origin: ptr::null(),
        target: ptr::null(),
        user: ptr::null_mut(),
    };
}

/// Room for a key: most fit onto the stack.
pub(crate) type Key = SmallVec<[u8; 256]>;

/// A request of the caller's, checked.
pub(crate) struct LookupRequest<'a> {
    pub(crate) method: Method,
    /// In the engine's form.
    pub(crate) key: &'a [u8],
    pub(crate) lines: Lines<'a>,
    /// As it was sent.
    pub(crate) word: &'a [u8],
    pub(crate) origin: &'a [u8],
    pub(crate) target: &'a [u8],
    flags: u32,
    pub(crate) turn: Turn,
    user: *mut c_void,
}

impl<'a> LookupRequest<'a> {
    /// `room` is for the key.
    ///
    /// # Safety
    /// As `swrcache_lookup`.
    #[inline(always)]
    pub(crate) unsafe fn read(
        request: *const Request,
        room: &'a mut Key,
    ) -> Result<LookupRequest<'a>> {
        // SAFETY: the caller's promise, here and below.
        let request = unsafe { types::read(request) }?;
        if request.flags & !(SWRCACHE_BYPASS | SWRCACHE_NO_CACHE | SWRCACHE_NO_REFRESH) != 0 {
            return Err(Error::new(SWRCACHE_EINVAL, "unknown flags of a request"));
        }
        // SAFETY: see above.
        let (method, key) = unsafe {
            (
                bytes(request.method, SWRCACHE_NUL)?,
                bytes(request.key, request.key_len)?,
            )
        };
        // SAFETY: see above.
        let lines = unsafe { Lines::new(request.fields, request.field_count) }?;
        // SAFETY: see above.
        let (origin, target) = unsafe { (told(request.origin)?, told(request.target)?) };
        keyed(key, room);
        Ok(LookupRequest {
            method: method_of(method),
            key: room,
            lines,
            word: method,
            origin,
            target,
            flags: request.flags,
            user: request.user,
            turn: match request.turn {
                SWRCACHE_FIRST => Turn::First,
                SWRCACHE_WAITED => Turn::Waited,
                SWRCACHE_TIMED_OUT => Turn::TimedOut,
                _ => return Err(Error::new(SWRCACHE_EINVAL, "unknown turn")),
            },
        })
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// As the engine sees it.
    pub(crate) fn request(&self, may_refresh: bool) -> engine::Request<'_> {
        engine::Request {
            method: self.method,
            key: self.key,
            fields: &self.lines,
            bypass: self.has(SWRCACHE_BYPASS),
            no_cache: self.has(SWRCACHE_NO_CACHE),
            may_refresh: may_refresh && !self.has(SWRCACHE_NO_REFRESH),
            is_part: false,
        }
    }

    /// As the engine sees it, whatever is stored and whatever the flags say.
    pub(crate) fn unstored(&self) -> engine::Request<'_> {
        engine::Request {
            bypass: true,
            no_cache: false,
            ..self.request(false)
        }
    }

    pub(crate) fn client(&self) -> OwnedRequest {
        OwnedRequest {
            method: self.method,
            key: self.key.into(),
            origin: CString::new(self.origin).unwrap_or_default(),
            target: CString::new(self.target).unwrap_or_default(),
            user: self.user,
            fields: self.lines.to_owned(),
        }
    }
}

/// A copy of the request that led to a fetch.
pub(crate) struct OwnedRequest {
    pub(crate) method: Method,
    /// In the engine's form.
    pub(crate) key: Box<[u8]>,
    pub(crate) origin: CString,
    pub(crate) target: CString,
    pub(crate) user: *mut c_void,
    pub(crate) fields: Owned,
}

// SAFETY: `user` is the host's, and only handed back.
unsafe impl Send for OwnedRequest {}

impl OwnedRequest {
    /// The method of the request to the origin, unless it stays a HEAD (`convert_head`): that is answered from the whole, which a GET fetches.
    pub(crate) fn sends(&self) -> &'static CStr {
        match self.method {
            Method::Post => c"POST",
            _ => c"GET",
        }
    }

    pub(crate) fn request(&self) -> engine::Request<'_> {
        engine::Request {
            method: self.method,
            key: &self.key,
            fields: &self.fields,
            bypass: false,
            no_cache: false,
            may_refresh: false,
            is_part: false,
        }
    }
}

/// Writes a key of the caller's in the engine's form, as one of a single part: so its text can be told, and prefixes of it.
#[inline]
pub(crate) fn keyed(text: &[u8], key: &mut Key) {
    key.extend_from_slice(text);
    key.push(0);
}

/// What the caller gave as a key.
pub(crate) fn unkeyed(key: &[u8]) -> &[u8] {
    key.split_last().map_or(key, |(_, text)| text)
}

/// # Safety
/// NULL, or ends with NUL.
#[inline]
unsafe fn told<'a>(text: *const c_char) -> Result<&'a [u8]> {
    match text.is_null() {
        true => Ok(&[]),
        // SAFETY: the caller's promise.
        false => unsafe { bytes(text, SWRCACHE_NUL) },
    }
}

fn method_of(method: &[u8]) -> Method {
    match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        _ => Method::Other,
    }
}
