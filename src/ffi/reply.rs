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
use super::handle::{Handle, Kind, call};
use super::policy::Settings;
use super::status::{status_word, word};
use super::types::{self, Field, Sized_, field, put};
use crate::engine::{Answer, Asked, Method, Part, Serve, cache_status};
use crate::http::{ByteRange, date};
use crate::store::{Completeness, Cursor, Object};

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
    method: Method,
}

/// What a client that waited for a fetch gets to know of it.
pub(crate) struct Fetched {
    /// Why the origin was asked.
    pub(crate) asked: Asked,
    /// What it said; 0 is nothing.
    pub(crate) status: u16,
    pub(crate) outgrown: Arc<AtomicBool>,
}

/// What is made of a reply when it is first asked for, so that a lookup pays for nothing that nobody reads.
struct Made {
    head: Option<Lines>,
    parts: Parts,
}

impl Kind for ReplyValue {
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

impl Lines {
    fn add(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        let value = value.into().into_boxed_slice();
        // The bytes of a box stay where they are when the box moves.
        self.fields.push(field(name.as_bytes(), &value));
        self.made.push(value);
    }

    fn pass_on(&mut self, name: &[u8], value: &[u8]) {
        self.fields.push(field(name, value));
    }
}

/// A piece of a body.
enum Piece {
    /// Lines between the parts of a multipart body.
    Text(Box<[u8]>),
    /// Stored bytes up to the end that is given, or else to the end of the body.
    Stored(Cursor, Option<u64>),
}

/// What is still to be read.
#[derive(Default)]
struct Parts {
    pieces: Vec<Piece>,
    at: usize,
    /// How far the text at `at` has been given: it is given whole.
    length: Option<u64>,
    multipart: Option<String>,
}

fn range(range: &ByteRange) -> Piece {
    Piece::Stored(Cursor::at(range.first), Some(range.last + 1))
}

impl Parts {
    fn of(serve: &Serve, method: Method) -> Parts {
        let total = serve.object.content_length();
        let mut parts = Parts::default();
        match &serve.answer {
            Answer::Full => {
                parts.length = total;
                parts.pieces.push(Piece::Stored(Cursor::default(), None));
            }
            Answer::Partial(ranges) if ranges.len() == 1 => {
                parts.length = ranges.first().map(ByteRange::size);
                parts.pieces.extend(ranges.iter().map(range));
            }
            Answer::Partial(ranges) => parts.multipart(serve, ranges, total.unwrap_or(0)),
            Answer::NotModified => {}
            Answer::PreconditionFailed | Answer::Unsatisfiable => parts.length = Some(0),
        }
        if method == Method::Head {
            parts.pieces.clear();
        }
        parts
    }

    /// RFC 9110 section 14.6.
    fn multipart(&mut self, serve: &Serve, ranges: &[ByteRange], total: u64) {
        // The body is not known to lack any text; this one it would have to be made for.
        let boundary = format!("swrcache-{:016x}-{:x}", serve.object.object().id(), total);
        let mut media_type = Vec::new();
        serve.object.visible(&mut |name, value| {
            if name.eq_ignore_ascii_case(b"content-type") {
                media_type = value.to_vec();
            }
        });
        let mut length = 0u64;
        for (nth, part) in ranges.iter().enumerate() {
            let mut text = Vec::new();
            let before = if nth == 0 { "--" } else { "\r\n--" };
            text.extend_from_slice(before.as_bytes());
            text.extend_from_slice(boundary.as_bytes());
            if !media_type.is_empty() {
                text.extend_from_slice(b"\r\nContent-Type: ");
                text.extend_from_slice(&media_type);
            }
            let range_line = format!(
                "\r\nContent-Range: bytes {}-{}/{total}\r\n\r\n",
                part.first, part.last
            );
            text.extend_from_slice(range_line.as_bytes());
            length = length.saturating_add(text.len() as u64 + part.size());
            self.pieces.push(Piece::Text(text.into()));
            self.pieces.push(range(part));
        }
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        self.length = Some(length.saturating_add(end.len() as u64));
        self.pieces.push(Piece::Text(end.into()));
        self.multipart = Some(boundary);
    }
}

impl Parts {
    fn next(&mut self, object: &Object) -> Got {
        match self.pieces.get_mut(self.at) {
            None => Got::Next,
            Some(Piece::Text(text)) => {
                self.at += 1;
                Got::Piece(io(text))
            }
            Some(Piece::Stored(cursor, end)) => {
                let left = |pos: u64| end.map_or(u64::MAX, |end| end.saturating_sub(pos));
                let max = usize::try_from(left(cursor.pos())).unwrap_or(usize::MAX);
                if max == 0 {
                    return Got::Next;
                }
                let mut bytes = object.read(cursor, max);
                if bytes.is_empty() && object.body().completeness == Completeness::Growing {
                    // Asked to be rung, one has to look once more.
                    object.watch();
                    bytes = object.read(cursor, max);
                }
                if !bytes.is_empty() {
                    return Got::Piece(io(bytes));
                }
                let body = object.body();
                match body.completeness {
                    _ if cursor.pos() < body.len => {
                        // Published between our look at the bytes and at the phase.
                        match object.read(cursor, max) {
                            [] => Got::Broken,
                            bytes => Got::Piece(io(bytes)),
                        }
                    }
                    Completeness::Growing => Got::Later,
                    Completeness::Complete if end.is_none() => Got::Next,
                    Completeness::Complete | Completeness::Broken => Got::Broken,
                }
            }
        }
    }
}

/// The member for `Cache-Status`.
#[cold]
fn member(name: &str, serve: &Serve, fetched: Option<&Fetched>) -> Box<str> {
    let part = match fetched {
        None => Part::Served {
            serve,
            fwd_status: None,
        },
        Some(fetched) => Part::Led {
            serve,
            fetch: fetched.asked,
            fwd_status: (fetched.status > 0).then_some(fetched.status),
        },
    };
    cache_status(name, &part).into()
}

/// What one turn of reading came to.
enum Got {
    Piece(iovec),
    /// The piece is over.
    Next,
    /// Nothing yet.
    Later,
    Broken,
}

fn io(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// A reply for C; to a client that waited for a fetch, what it gets to know of it.
pub(crate) fn give(
    cache: &Arc<Shared>,
    policy: &Settings,
    method: Method,
    serve: Serve,
    fetched: Option<Fetched>,
) -> *mut Reply {
    let serve = ManuallyDrop::new(serve);
    // SAFETY: read once, and not dropped here.
    unsafe { give_from(cache, policy, method, &raw const *serve, fetched) }
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
    fetched: Option<Fetched>,
) -> *mut Reply {
    let name = policy.status_name();
    // SAFETY: valid, says the caller.
    let tells = name.map(|name| member(name, unsafe { &*serve }, fetched.as_ref()));
    let outgrown = fetched.map(|fetched| fetched.outgrown);
    let cache = Arc::clone(cache);
    // SAFETY: all fields are written; the delivery is moved, and the caller leaves it alone.
    unsafe {
        Handle::give_in_place(|at: *mut ReplyValue| {
            (&raw mut (*at).made).write(None);
            (&raw mut (*at).serve).copy_from_nonoverlapping(serve, 1);
            (&raw mut (*at).cache).write(cache);
            (&raw mut (*at).tells).write(tells);
            (&raw mut (*at).outgrown).write(outgrown);
            (&raw mut (*at).method).write(method);
        })
    }
}

impl ReplyValue {
    fn status(&self) -> u16 {
        match &self.serve.answer {
            Answer::Full => self.serve.object.status(),
            Answer::Partial(_) => 206,
            Answer::NotModified => 304,
            Answer::PreconditionFailed => 412,
            Answer::Unsatisfiable => 416,
        }
    }

    fn compose(&self, parts: &Parts) -> Lines {
        let stored = &self.serve.object;
        let mut lines = Lines {
            fields: Vec::with_capacity(16),
            made: Vec::new(),
        };
        lines.add("Date", date::format(stored.date()));
        if !matches!(self.serve.answer, Answer::PreconditionFailed) {
            lines.add("Age", self.serve.age.to_string());
            self.stored_fields(parts, &mut lines);
        }
        self.describe(parts, &mut lines);
        if let Some(member) = &self.tells {
            lines.add("Cache-Status", member.as_bytes());
        }
        lines
    }

    fn stored_fields(&self, parts: &Parts, lines: &mut Lines) {
        let stored = &self.serve.object;
        let multipart = parts.multipart.is_some();
        match &self.serve.answer {
            // The text of an error is no stored body.
            Answer::Unsatisfiable => {}
            _ => self.serve.fields(&mut |name, value| {
                if !(multipart && name.eq_ignore_ascii_case(b"content-type")) {
                    lines.pass_on(name, value);
                }
            }),
        }
        if stored.synthesised() {
            if let Some(at) = stored.last_modified() {
                lines.add("Last-Modified", date::format(at));
            }
            if let Some(etag) = stored.etag() {
                lines.add("ETag", etag.as_bytes());
            }
        }
    }

    fn describe(&self, parts: &Parts, lines: &mut Lines) {
        let total = self.serve.object.content_length().unwrap_or(0);
        match (&self.serve.answer, &parts.multipart) {
            (Answer::Partial(_), Some(boundary)) => lines.add(
                "Content-Type",
                format!("multipart/byteranges; boundary={boundary}"),
            ),
            (Answer::Partial(ranges), None) => {
                if let Some(r) = ranges.first() {
                    lines.add(
                        "Content-Range",
                        format!("bytes {}-{}/{total}", r.first, r.last),
                    );
                }
            }
            (Answer::Unsatisfiable, _) => lines.add("Content-Range", format!("bytes */{total}")),
            _ => {}
        }
        if let Some(length) = parts.length {
            lines.add("Content-Length", length.to_string());
        }
    }

    fn head(&mut self) -> Head {
        let mut made = self.made.take().unwrap_or_else(|| self.make());
        let lines = made.head.take();
        let lines = lines.unwrap_or_else(|| self.compose(&made.parts));
        let length = match made.parts.pieces.is_empty() {
            true => Some(0),
            false => made.parts.length,
        };
        let fields = &made.head.insert(lines).fields;
        let head = Head {
            struct_size: 0,
            status: self.status().into(),
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
            parts: Parts::of(&self.serve, self.method),
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
        let parts = &mut made.parts;
        let object = self.serve.object.object();
        let mut filled = 0;
        while filled < out.len() {
            match parts.next(object) {
                Got::Piece(piece) => {
                    out[filled].write(piece);
                    filled += 1;
                }
                Got::Next if parts.at < parts.pieces.len() => parts.at += 1,
                Got::Next => break,
                Got::Later | Got::Broken if filled > 0 => break,
                Got::Later if object.filler_has_died() => {
                    self.cache.engine.region().reap();
                    return Err(SWRCACHE_EBROKEN.into());
                }
                Got::Later => return Err(SWRCACHE_EAGAIN.into()),
                Got::Broken => return Err(self.end().into()),
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
/// `swrcache_watch` rings, or use `swrcache_reply_read_wait`; SWRCACHE_EBROKEN if the rest will never come: break the client's
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
/// Returns as that, for a NULL too; SWRCACHE_EAGAIN means that the time is over.
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
            return Err(Error::new(SWRCACHE_EINVAL, "no room for the pieces"));
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
