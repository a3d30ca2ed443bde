//! An answer from the store: its head as field lines, its body as pieces of the cache's own memory.

use std::ffi::{c_char, c_int};
use std::mem::ManuallyDrop;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use libc::iovec;

use super::cache::Shared;
use super::error::{
    Error, Result, SWRCACHE_EAGAIN, SWRCACHE_EBROKEN, SWRCACHE_EINVAL, SWRCACHE_EOUTGROWN,
};
use super::handle::{Handle, HandleKind, call};
use super::policy::Settings;
use super::status::{status_word, word};
use super::types::{self, Field, Sized_, field, put};
use crate::engine::{Asked, HeadLines, Method, Part, ReadOn, ReplyBody, Serve, cache_status};

/// What is behind a `swrcache_reply`.
pub struct ReplyValue {
    // Before what it points into goes: the lines.
    made: Option<Box<Made>>,
    serve: Serve,
    cache: Arc<Shared>,
    /// The member for `Cache-Status`, boxed because most hosts send none: a reply is moved on its way out.
    tells: Option<Box<str>>,
    /// Whether a body that breaks off goes on elsewhere; for the client that leads its fetch.
    outgrown: Option<Arc<AtomicBool>>,
    /// Bytes of the body that were given out, if they count.
    given: Option<u64>,
    method: Method,
}

impl Drop for ReplyValue {
    fn drop(&mut self) {
        if let Some(bytes @ 1..) = self.given {
            self.cache.engine.count_bytes(self.serve.status, bytes);
        }
    }
}

/// Whom a reply is for.
pub(crate) enum For {
    /// A client whose request was looked up.
    Client,
    /// A client that waited for a fetch.
    Leader(LedFetch),
    /// A host that only looks.
    Nobody,
}

/// What a client that waited for a fetch gets to know of it.
pub(crate) struct LedFetch {
    /// Why the origin was asked.
    pub(crate) asked: Asked,
    /// What it said; 0 is nothing.
    pub(crate) status: u16,
    pub(crate) outgrown: Arc<AtomicBool>,
}

/// What is made of a reply when it is first asked for, so that a lookup pays for nothing that nobody reads.
struct Made {
    head: Option<Lines>,
    body: ReplyBody,
}

impl HandleKind for ReplyValue {
    const MAGIC: u32 = 0x7377_7203;
}

/// A response to deliver. One thread at a time; any thread. It keeps what it delivers from going away until it is freed.
pub type Reply = Handle<ReplyValue>;

/// The head of a reply. Set `struct_size`; the rest is filled in. The strings and the array live as long as the reply.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// `sizeof(swrcache_head)`, set by you.
    pub struct_size: usize,
    /// The status of HTTP to send: 200, 206, 304, 412, 416, or another one that was stored.
    pub status: c_int,
    /// For a status header or the log: `SWRCACHE_STATUS_HIT` and the like.
    pub cache_status: c_int,
    /// Why; static, never NULL.
    pub reason: *const c_char,
    /// The fields to send, `Date`, `Age` and, where it is known, `Content-Length` among them. Not NUL-terminated.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// Bytes of the body that `swrcache_reply_read` will give, -1 while that is not known.
    pub body_length: i64,
    /// Seconds since the origin made or confirmed it.
    pub age: u64,
    /// Seconds of freshness left, negative when stale.
    pub ttl: i64,
    /// 1 if the origin forbids to change the body on its way, such as to compress it (`no-transform`); else 0.
    pub no_transform: c_int,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), its size first; integers and pointers.
unsafe impl Sized_ for Head {
    const LEAST: usize = offset_of!(Head, body_length);
}

/// Field lines, and the memory of those that the store does not have.
struct Lines {
    fields: Vec<Field>,
    made: Vec<Box<[u8]>>,
}

// SAFETY: the pointers lead into `made`, into static strings, or into the object that the reply pins.
unsafe impl Send for Lines {}

impl HeadLines for Lines {
    fn stored(&mut self, name: &[u8], value: &[u8]) {
        self.fields.push(field(name, value));
    }

    fn made(&mut self, name: &'static str, value: Vec<u8>) {
        let value = value.into_boxed_slice();
        // The bytes of a box stay where they are when the box moves.
        self.fields.push(field(name.as_bytes(), &value));
        self.made.push(value);
    }
}

/// The member for `Cache-Status`.
#[cold]
fn member(name: &str, serve: &Serve, whom: &For) -> Box<str> {
    let part = match whom {
        For::Client | For::Nobody => Part::Served {
            serve,
            fwd_status: None,
        },
        For::Leader(fetched) => Part::Led {
            serve,
            fetch: fetched.asked,
            fwd_status: (fetched.status > 0).then_some(fetched.status),
        },
    };
    cache_status(name, &part).into()
}

fn io(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// A reply for C.
pub(crate) fn give(
    cache: &Arc<Shared>,
    policy: &Settings,
    method: Method,
    serve: Serve,
    whom: For,
) -> *mut Reply {
    let serve = ManuallyDrop::new(serve);
    // SAFETY: read once, and not dropped here.
    unsafe { give_from(cache, policy, method, &raw const *serve, whom) }
}

/// As [`give`], out of the place where the delivery lies.
///
/// # Safety
/// `serve` is valid, and neither used nor dropped afterwards.
#[inline]
pub(crate) unsafe fn give_from(
    cache: &Arc<Shared>,
    policy: &Settings,
    method: Method,
    serve: *const Serve,
    whom: For,
) -> *mut Reply {
    let name = policy.status_name();
    // SAFETY: valid, says the caller.
    let tells = name.map(|name| member(name, unsafe { &*serve }, &whom));
    let given = (!matches!(whom, For::Nobody)).then_some(0);
    let outgrown = match whom {
        For::Leader(fetched) => Some(fetched.outgrown),
        For::Client | For::Nobody => None,
    };
    let cache = Arc::clone(cache);
    // SAFETY: all fields are written; the delivery is moved, and the caller leaves it alone.
    unsafe {
        Handle::give_in_place(|at: *mut ReplyValue| {
            (&raw mut (*at).made).write(None);
            (&raw mut (*at).serve).copy_from_nonoverlapping(serve, 1);
            (&raw mut (*at).cache).write(cache);
            (&raw mut (*at).tells).write(tells);
            (&raw mut (*at).outgrown).write(outgrown);
            (&raw mut (*at).given).write(given);
            (&raw mut (*at).method).write(method);
        })
    }
}

impl ReplyValue {
    fn compose(&self, body: &ReplyBody) -> Lines {
        let mut lines = Lines {
            fields: Vec::with_capacity(16),
            made: Vec::new(),
        };
        body.head(&self.serve, &mut lines);
        if let Some(member) = &self.tells {
            lines.made("Cache-Status", member.as_bytes().into());
        }
        lines
    }

    fn head(&mut self) -> Head {
        let mut made = self.made.take().unwrap_or_else(|| self.make());
        let lines = made.head.take();
        let lines = lines.unwrap_or_else(|| self.compose(&made.body));
        let length = made.body.readable();
        let fields = &made.head.insert(lines).fields;
        let head = Head {
            struct_size: 0,
            status: self.serve.status_code().into(),
            cache_status: status_word(Some(self.serve.status)),
            reason: word(self.serve.reason),
            fields: fields.as_ptr(),
            field_count: fields.len(),
            body_length: length.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)),
            age: self.serve.age,
            ttl: self.serve.ttl,
            no_transform: types::flag(self.serve.object.no_transform()),
            reserved: 0,
        };
        self.made = Some(made);
        head
    }

    fn make(&self) -> Box<Made> {
        Box::new(Made {
            head: None,
            body: ReplyBody::new(&self.serve, self.method),
        })
    }

    /// How a body ends that is not whole.
    fn end(&self) -> c_int {
        let outgrown = self.outgrown.as_ref();
        match outgrown.is_some_and(|outgrown| outgrown.load(Acquire)) {
            true => SWRCACHE_EOUTGROWN,
            false => SWRCACHE_EBROKEN,
        }
    }

    /// Fills `out` as far as there is something; how many. Nothing at the end, an error if there is nothing yet.
    fn read(&mut self, out: &mut [std::mem::MaybeUninit<iovec>]) -> Result<usize> {
        if self.made.is_none() {
            self.made = Some(self.make());
        }
        let Some(made) = &mut self.made else {
            return Ok(0);
        };
        let mut filled = 0;
        while filled < out.len() {
            match made.body.read_on(&self.serve) {
                ReadOn::Bytes(bytes) => {
                    self.given = self.given.map(|given| given + bytes.len() as u64);
                    out[filled].write(io(bytes));
                    filled += 1;
                }
                ReadOn::End => break,
                ReadOn::Later | ReadOn::Broken if filled > 0 => break,
                ReadOn::Later if self.serve.object.served().filler_has_died() => {
                    self.cache.engine.region().reap();
                    return Err(SWRCACHE_EBROKEN.into());
                }
                ReadOn::Later => return Err(SWRCACHE_EAGAIN.into()),
                ReadOn::Broken => return Err(self.end().into()),
            }
        }
        Ok(filled)
    }
}

/// Tells the head of a reply.
///
/// Call it as often as you like; what `*head` points to lives as long as the reply and stays as it is. On failure `*head` is as
/// it was. One thread at a time.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if another thread uses the reply.
///
/// # Safety
/// `reply` is NULL or live; `head` is NULL or has `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_reply_head(reply: *const Reply, head: *mut Head) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { Handle::with_mut(reply, |reply| types::write(head, reply.head())) }
    })
}

/// Copies the fields of a reply's head as text, one line "NAME: VALUE" with CR LF for each, for callers to whom an array of pointers is
/// no use; the status line and the empty line at the end are yours.
///
/// Copies at most `size` bytes with their NUL to `buffer`, which may be NULL if `size` is 0; `needed`, if not NULL, gets the size that
/// is needed. One thread at a time.
///
/// Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `reply` is NULL or live; `buffer` has `size` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_reply_head_text(
    reply: *const Reply,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    call(|| {
        let text = |reply: &mut ReplyValue| {
            reply.head();
            let head = reply.made.as_ref().and_then(|made| made.head.as_ref());
            let fields = head.map_or(&[][..], |lines| &lines.fields);
            // SAFETY: the fields of this reply, which is not changed meanwhile.
            unsafe { types::put_lines(fields, (buffer, size), needed) }
        };
        // SAFETY: NULL or live.
        unsafe { Handle::with_mut(reply, text) }
    })
}

/// Reads on in the body, without copying: fills up to `capacity` elements of `iov` with where the next bytes are.
///
/// The bytes are the cache's own memory: don't write to them; they stay where they are until the reply is freed. `*count` is
/// how many elements were filled; 0 with success is the end of the body. On failure it is 0.
///
/// One thread at a time.
///
/// Returns 0; SWRCACHE_EAGAIN if the body is still being fetched and there is nothing more yet: read on when a
/// `swrcache_watch` becomes readable, or use `swrcache_reply_read_wait`; SWRCACHE_EBROKEN if the rest will never come: break the client's
/// connection off, so that it knows; SWRCACHE_EOUTGROWN, to the client that leads the fetch alone, if the rest did not fit into the cache:
/// send it on yourself; SWRCACHE_EINVAL for a NULL or a capacity of 0; SWRCACHE_EBUSY.
///
/// # Safety
/// `reply` is NULL or live; `iov` is NULL or has room for `capacity` elements; `count` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_reply_read(
    reply: *mut Reply,
    iov: *mut iovec,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { read(reply, (iov, capacity), count, Duration::ZERO) }
}

/// As `swrcache_reply_read`, but waits up to `timeout` milliseconds in this thread for more of a body that is being fetched.
///
/// Returns as that, for a NULL too; SWRCACHE_EAGAIN means that the timeout has expired.
///
/// # Safety
/// As `swrcache_reply_read`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_reply_read_wait(
    reply: *mut Reply,
    timeout: u64,
    iov: *mut iovec,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    // A year is for ever.
    let timeout = Duration::from_millis(timeout.min(31_536_000_000));
    // SAFETY: the caller's promise.
    unsafe { read(reply, (iov, capacity), count, timeout) }
}

/// # Safety
/// As `swrcache_reply_read`.
unsafe fn read(
    reply: *mut Reply,
    (iov, capacity): (*mut iovec, usize),
    count: *mut usize,
    timeout: Duration,
) -> c_int {
    call(|| {
        // SAFETY: NULL or writable.
        unsafe { put(count, 0) }?;
        if iov.is_null() || !iov.is_aligned() || capacity == 0 {
            return Err(Error::new(
                SWRCACHE_EINVAL,
                "iov is NULL or misaligned, or its capacity is 0",
            ));
        }
        // More than a system call takes at once is of no use, and a lying capacity does no harm.
        let capacity = capacity.min(1024);
        // SAFETY: room for `capacity` elements, says the caller; they may be uninitialised.
        let out = unsafe { std::slice::from_raw_parts_mut(iov.cast(), capacity) };
        // SAFETY: NULL or live.
        let filled = unsafe { Handle::with_mut(reply, |reply| reply.read_until(out, timeout)) }?;
        // SAFETY: checked above.
        unsafe { put(count, filled) }
    })
}

impl ReplyValue {
    fn read_until(
        &mut self,
        out: &mut [std::mem::MaybeUninit<iovec>],
        timeout: Duration,
    ) -> Result<usize> {
        let mut end = None;
        loop {
            let ticket = self.cache.wake.ticket();
            match self.read(out) {
                Err(e) if e.code == SWRCACHE_EAGAIN && !timeout.is_zero() => {
                    let end = *end.get_or_insert_with(|| Instant::now() + timeout);
                    if !self.cache.wait(ticket, end) {
                        return Err(e);
                    }
                }
                Err(e) if e.code == SWRCACHE_EAGAIN => {
                    self.cache.awaited();
                    return Err(e);
                }
                other => return other,
            }
        }
    }
}

/// Frees a reply: what it gave out is gone. NULL is ignored.
/// When no other thread uses it.
///
/// # Safety
/// `reply` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_reply_free(reply: *mut Reply) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(reply) };
}
