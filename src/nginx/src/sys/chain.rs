//! Chains of buffers: built, sent, recycled, copied and drained.

use std::mem;
use std::ptr;
use std::slice;

use nginx_sys::{
    ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_chain_update_chains, ngx_create_temp_buf,
    ngx_file_t, ngx_int_t, ngx_read_file,
};

use crate::sys::module_index::tag;
use crate::sys::pool::Pool;
use crate::sys::request::Req;

/// How much is read from a file at once.
const PIECE: usize = 32 * 1024;

/// Chain links that are free to use again, and those still on their way to the client.
pub(crate) struct Bufs {
    free: *mut ngx_chain_t,
    busy: *mut ngx_chain_t,
}

impl Default for Bufs {
    fn default() -> Bufs {
        Bufs {
            free: ptr::null_mut(),
            busy: ptr::null_mut(),
        }
    }
}

impl Bufs {
    /// Sends `out` (or, if NULL, what waits), and sorts the links after.
    pub(crate) fn send(&mut self, r: Req, out: *mut ngx_chain_t) -> ngx_int_t {
        let rc = r.output(out);
        self.sort(r, out);
        rc
    }

    /// Finds out which links nginx has sent.
    pub(crate) fn sort(&mut self, r: Req, mut out: *mut ngx_chain_t) {
        // SAFETY: all links are of the request's pool and carry our tag.
        unsafe {
            ngx_chain_update_chains(
                r.pool().as_ptr(),
                &mut self.free,
                &mut self.busy,
                &mut out,
                tag(),
            );
        }
    }

    /// A link with an empty buffer of ours.
    pub(crate) fn link(&mut self, r: Req) -> Option<*mut ngx_chain_t> {
        // SAFETY: links in `free` are ours and carry a buffer each; fresh ones get one from the pool.
        unsafe {
            if let Some(link) = self.free.as_mut() {
                self.free = link.next;
                link.next = ptr::null_mut();
                *link.buf = mem::zeroed();
                (*link.buf).tag = tag();
                return Some(link);
            }
        }
        Bufs::made(r)
    }

    /// A link to use again, whose buffer of its own memory is emptied: where all links were made by [`with_memory`].
    pub(crate) fn emptied(&mut self) -> Option<*mut ngx_chain_t> {
        // SAFETY: links in `free` are ours, each with a buffer that has memory from `start` to `end`.
        unsafe {
            let link = self.free.as_mut()?;
            self.free = link.next;
            link.next = ptr::null_mut();
            let (start, end) = ((*link.buf).start, (*link.buf).end);
            *link.buf = ngx_buf_t {
                start,
                end,
                pos: start,
                last: start,
                tag: tag(),
                ..mem::zeroed()
            };
            Some(link)
        }
    }

    /// Whether no link is free.
    pub(crate) fn is_used_up(&self) -> bool {
        self.free.is_null()
    }

    /// A fresh link with an empty buffer of ours.
    pub(crate) fn made(r: Req) -> Option<*mut ngx_chain_t> {
        // SAFETY: the pool gives NULL or room.
        unsafe {
            let link = ngx_alloc_chain_link(r.pool().as_ptr()).as_mut()?;
            link.buf = r.pool().zeroed::<ngx_buf_t>()?;
            link.next = ptr::null_mut();
            (*link.buf).tag = tag();
            Some(link)
        }
    }
}

/// A fresh link whose buffer has memory for so many bytes; `None` when memory is out.
pub(crate) fn with_memory(r: Req, bytes: usize) -> Option<*mut ngx_chain_t> {
    // SAFETY: the pool gives NULL or room.
    unsafe {
        let link = ngx_alloc_chain_link(r.pool().as_ptr()).as_mut()?;
        link.buf = ngx_create_temp_buf(r.pool().as_ptr(), bytes);
        link.next = ptr::null_mut();
        let buf = link.buf.as_mut()?;
        buf.tag = tag();
        buf.set_temporary(0);
        Some(link)
    }
}

/// A chain under construction.
pub(crate) struct Building {
    pub(crate) head: *mut ngx_chain_t,
    tail: *mut ngx_chain_t,
}

impl Building {
    pub(crate) const fn new() -> Building {
        Building {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
        }
    }

    pub(crate) fn add(&mut self, link: *mut ngx_chain_t) {
        // SAFETY: `tail` is NULL or the last link added.
        match unsafe { self.tail.as_mut() } {
            Some(tail) => tail.next = link,
            None => self.head = link,
        }
        self.tail = link;
    }

    pub(crate) fn last_buf(&mut self) -> Option<&mut ngx_buf_t> {
        // SAFETY: every link added has a buffer.
        unsafe { self.tail.as_mut().map(|link| &mut *link.buf) }
    }
}

/// Marks the end of the body: of the response, or of a subrequest's part in it (ngx_http_send_special).
pub(crate) fn mark_last(r: Req, buf: &mut ngx_buf_t) {
    buf.set_last_buf(u32::from(r.is_main()));
    buf.set_sync(u32::from(!r.is_main() && size(buf) == 0));
    buf.set_last_in_chain(1);
}

/// Gives a link back to its pool, for the next one who needs one (ngx_free_chain).
pub(crate) fn free_link(owner: Pool, link: &mut ngx_chain_t) {
    // SAFETY: the link is of this pool, and nothing refers to it any more.
    unsafe {
        link.next = (*owner.as_ptr()).chain;
        (*owner.as_ptr()).chain = link;
    }
}

/// The bytes that a buffer still has, in memory or in a file.
pub(crate) fn size(buf: &ngx_buf_t) -> u64 {
    if is_in_memory(buf) {
        return (buf.last as usize).saturating_sub(buf.pos as usize) as u64;
    }
    if buf.in_file() != 0 {
        u64::try_from(buf.file_last - buf.file_pos).unwrap_or(0)
    } else {
        0
    }
}

fn is_in_memory(buf: &ngx_buf_t) -> bool {
    buf.temporary() != 0 || buf.memory() != 0 || buf.mmap() != 0
}

/// Moves as many bytes as fit from one buffer to another; gives their number.
pub(crate) fn take(from: &mut ngx_buf_t, to: &mut ngx_buf_t) -> Result<u64, ()> {
    let room = to.end as usize - to.last as usize;
    if is_in_memory(from) {
        let n = room.min(from.last as usize - from.pos as usize);
        // SAFETY: `pos..last` are readable, `last..end` are writable, and they are different buffers.
        unsafe {
            ptr::copy_nonoverlapping(from.pos, to.last, n);
            from.pos = from.pos.add(n);
            to.last = to.last.add(n);
        }
        if from.in_file() != 0 {
            from.file_pos += n as i64;
        }
        return Ok(n as u64);
    }
    let n = room.min(usize::try_from(from.file_last - from.file_pos).map_err(|_| ())?);
    // SAFETY: the buffer's file is open, and `n` bytes fit behind `last`.
    let got = unsafe { read_file(from.file, to.last, n, from.file_pos) };
    let got = usize::try_from(got).ok().filter(|got| *got > 0).ok_or(())?;
    from.file_pos += got as i64;
    // SAFETY: `got` is at most `n`.
    to.last = unsafe { to.last.add(got) };
    Ok(got as u64)
}

/// Reads from a file that `directio` may have opened for aligned reads only (as ngx_output_chain_copy_buf does).
///
/// # Safety
///
/// The file is open, and there is room for `n` bytes at `to`.
unsafe fn read_file(file: *mut ngx_file_t, to: *mut u8, n: usize, at: i64) -> isize {
    // SAFETY: see above; the flags of an open descriptor are read and written.
    unsafe {
        let fd = (*file).fd;
        let flags = match (*file).directio() != 0 {
            true => libc::fcntl(fd, libc::F_GETFL),
            false => -1,
        };
        if flags != -1 {
            libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_DIRECT);
        }
        let got = ngx_read_file(file, to, n, at);
        if flags != -1 {
            libc::fcntl(fd, libc::F_SETFL, flags);
        }
        got
    }
}

/// Feeds the bytes of a buffer to `sink`, as pieces; consumes them.
pub(crate) fn drain(buf: &mut ngx_buf_t, sink: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), ()> {
    if is_in_memory(buf) {
        // SAFETY: `pos..last` are readable.
        let bytes = unsafe { slice::from_raw_parts(buf.pos, buf.last as usize - buf.pos as usize) };
        if !bytes.is_empty() && !sink(bytes) {
            return Err(());
        }
        buf.pos = buf.last;
        buf.file_pos = buf.file_last;
        return Ok(());
    }
    let mut piece = vec![0u8; PIECE.min(size(buf) as usize)];
    while size(buf) > 0 {
        let n = piece.len().min(size(buf) as usize);
        // SAFETY: the buffer's file is open; `piece` has room for `n`.
        let got = unsafe { read_file(buf.file, piece.as_mut_ptr(), n, buf.file_pos) };
        let got = usize::try_from(got).ok().filter(|got| *got > 0).ok_or(())?;
        if !sink(&piece[..got]) {
            return Err(());
        }
        buf.file_pos += got as i64;
    }
    Ok(())
}

/// Marks so many bytes of a buffer as used.
pub(crate) fn advance(buf: &mut ngx_buf_t, bytes: usize) {
    if is_in_memory(buf) {
        // SAFETY: the caller has been shown these bytes by `drain`.
        buf.pos = unsafe { buf.pos.add(bytes) };
    }
    if buf.in_file() != 0 {
        buf.file_pos += bytes as i64;
    }
}

/// Marks all of a buffer as used.
pub(crate) fn use_up(buf: &mut ngx_buf_t) {
    buf.pos = buf.last;
    buf.file_pos = buf.file_last;
}

/// Calls `f` with each buffer of a chain.
pub(crate) fn each(chain: *mut ngx_chain_t, mut f: impl FnMut(&mut ngx_buf_t)) {
    let mut link = chain;
    // SAFETY: a chain of a live request; every link has a buffer.
    while let Some(l) = unsafe { link.as_mut() } {
        // SAFETY: as above.
        f(unsafe { &mut *l.buf });
        link = l.next;
    }
}
