//! The bytes of a region, accessed by offset and never by pointer. Every access is checked against the length.
//!
//! Several processes access the region, and its contents may be damaged. It is therefore accessed only as atomics (for
//! which every bit pattern is valid) or as bytes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::store::memory::platform::{AtomicU32, AtomicU64, step, torn_at};

/// Types that any bytes of the region may be viewed as.
///
/// # Safety
/// The type is `repr(C)` and consists of atomic integers only, so that every bit pattern is valid and concurrent access
/// is defined; its alignment is at most [`GRANULE`].
pub(crate) unsafe trait Shared {}

// SAFETY: an atomic integer of alignment 4, at most GRANULE.
unsafe impl Shared for AtomicU32 {}
// SAFETY: an atomic integer of alignment 8, at most GRANULE.
unsafe impl Shared for AtomicU64 {}

/// The size in bytes from which on huge pages are requested.
#[cfg(not(miri))]
const LARGE: usize = 64 << 20;

/// The unit of allocation and of references, in bytes.
pub(crate) const GRANULE: usize = 16;

/// A range of memory that several processes may share.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    len: usize,
    mapped: bool,
    /// The file, whose lock is held as long as the memory is mapped.
    file: Option<File>,
}

// SAFETY: the memory is accessed only as atomics, and as byte ranges that the store publishes before they are read, and
// never writes while they are pinned.
unsafe impl Send for Memory {}
// SAFETY: as for Send.
unsafe impl Sync for Memory {}

impl Memory {
    /// Wraps memory that the caller owns.
    ///
    /// # Safety
    /// `len` bytes at `base` must be readable and writable as long as the value lives; `base` must be aligned to 64
    /// bytes.
    pub(crate) unsafe fn borrowed(base: NonNull<u8>, len: usize) -> Memory {
        Memory {
            base,
            len,
            mapped: false,
            file: None,
        }
    }

    /// Maps anonymous shared memory, zeroed.
    pub(crate) fn anonymous(len: usize) -> io::Result<Memory> {
        Memory::mapped(len, libc::MAP_SHARED)
    }

    /// Maps anonymous private memory, zeroed.
    pub(crate) fn private(len: usize) -> io::Result<Memory> {
        Memory::mapped(len, libc::MAP_PRIVATE)
    }

    fn mapped(len: usize, sharing: libc::c_int) -> io::Result<Memory> {
        let base = map(len, sharing | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1)?;
        Ok(Memory {
            base,
            len,
            mapped: true,
            file: None,
        })
    }

    /// Maps the first `len` bytes of a file, which must have them, and keeps it open.
    pub(crate) fn of_file(file: File, len: usize) -> io::Result<Memory> {
        let base = map(len, libc::MAP_SHARED, file.as_raw_fd())?;
        Ok(Memory {
            base,
            len,
            mapped: true,
            file: Some(file),
        })
    }

    /// The file that is mapped, if any.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Requests huge pages if the memory is large: a lookup reads a few places anywhere in it, and with small pages
    /// each read also misses the TLB. The system may ignore the request. Not used for files: a huge page of a file is
    /// written back entirely even if one byte has changed.
    pub(crate) fn want_huge_pages(&self) {
        #[cfg(not(miri))]
        if self.len >= LARGE && self.file.is_none() {
            let skipped = self.base.as_ptr().align_offset(PAGE);
            // SAFETY: the range consists of whole pages within the memory, and the call does not change their contents.
            unsafe {
                let at = self.base.as_ptr().add(skipped);
                libc::madvise(at.cast(), self.len - skipped, libc::MADV_HUGEPAGE)
            };
        }
    }

    /// Waits until the first `len` bytes are on the disk, if the memory maps a file.
    pub(crate) fn sync(&self, len: usize) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        // SAFETY: the mapping begins at the base and has at least this length; the call does not change it.
        match unsafe { libc::msync(self.base.as_ptr().cast(), len.min(self.len), libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The value at an offset; `None` if it does not lie in the region or is not aligned.
    #[inline]
    pub(crate) fn at<T: Shared>(&self, off: usize) -> Option<&T> {
        let end = off.checked_add(size_of::<T>())?;
        if end > self.len || off % align_of::<T>() != 0 {
            return None;
        }
        // SAFETY: `off..end` lies in the memory and is aligned (the base is aligned to 64); `T: Shared` allows any
        // bytes and any concurrent access.
        Some(unsafe { &*self.base.as_ptr().add(off).cast::<T>() })
    }

    /// Consecutive values; `None` as for [`Memory::at`].
    pub(crate) fn row<T: Shared>(&self, off: usize, count: usize) -> Option<&[T]> {
        let end = off.checked_add(count.checked_mul(size_of::<T>())?)?;
        if end > self.len || off % align_of::<T>() != 0 {
            return None;
        }
        // SAFETY: as in `at`, for each value.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(off).cast::<T>(), count) })
    }

    /// A range of bytes of the region; `None` if it does not lie in the region.
    ///
    /// # Safety
    /// The bytes must not be written while the slice lives (they are published, and pinned or under a lock).
    #[inline]
    pub(crate) unsafe fn bytes(&self, off: usize, len: usize) -> Option<&[u8]> {
        if off.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the range was checked; the caller guarantees that it is not written.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(off), len) })
    }

    /// Prefetches memory that will be read soon; a hint only.
    #[inline]
    pub(crate) fn prefetch(&self, off: usize) {
        #[cfg(target_arch = "x86_64")]
        if off < self.len {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the address lies in the memory, and a prefetch has no observable effect.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.base.as_ptr().add(off).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = off;
    }

    /// Copies bytes into the region; returns false if they would not lie in it.
    ///
    /// # Safety
    /// The target must not be read or written meanwhile (it is unpublished, and the caller owns it).
    pub(crate) unsafe fn write(&self, off: usize, bytes: &[u8]) -> bool {
        match off.checked_add(bytes.len()) {
            Some(end) if end <= self.len => {}
            _ => return false,
        }
        // In two parts, so that tests can end the process between them.
        let (first, second) = bytes.split_at(torn_at(bytes.len()));
        for (off, part) in [(off, first), (off + first.len(), second)] {
            step();
            // SAFETY: the range was checked, and the caller owns it. `bytes` may lie in the region too (the key of
            // another entry), and in a damaged region they may overlap, which `ptr::copy` allows.
            unsafe {
                self.base
                    .as_ptr()
                    .add(off)
                    .copy_from(part.as_ptr(), part.len())
            };
        }
        true
    }

    /// Sets bytes of the region to zero; returns false if they would not lie in it.
    ///
    /// # Safety
    /// As [`Memory::write`].
    pub(crate) unsafe fn zero(&self, off: usize, len: usize) -> bool {
        match off.checked_add(len) {
            Some(end) if end <= self.len => {}
            _ => return false,
        }
        step();
        // SAFETY: the range was checked, and the caller owns it.
        unsafe { self.base.as_ptr().add(off).write_bytes(0, len) };
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.mapped {
            unmap(self.base, self.len);
        }
    }
}

/// A word of private memory.
type PrivateWord = std::sync::atomic::AtomicU64;

/// A private page that reads as zero in a forked child, so that its contents belong to one process only.
#[derive(Debug)]
pub(crate) struct WipedPage {
    base: NonNull<u8>,
}

const PAGE: usize = 4096;

// SAFETY: the page is accessed only as an atomic.
unsafe impl Send for WipedPage {}
// SAFETY: as for Send.
unsafe impl Sync for WipedPage {}

impl WipedPage {
    pub(crate) fn new() -> io::Result<WipedPage> {
        let base = map(PAGE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        let page = WipedPage { base };
        wipe_on_fork(base)?;
        Ok(page)
    }

    /// The word at the start of the page.
    pub(crate) fn word(&self) -> &PrivateWord {
        // SAFETY: the page is mapped as long as `self` lives and is aligned, and zero is a valid value.
        unsafe { self.base.cast::<PrivateWord>().as_ref() }
    }
}

impl Drop for WipedPage {
    fn drop(&mut self) {
        unmap(self.base, PAGE);
    }
}

#[cfg(not(miri))]
fn map(len: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<NonNull<u8>> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses affects no memory in use.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

#[cfg(not(miri))]
fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: the range was mapped by `map`, and its owner is being dropped.
    unsafe { libc::munmap(base.as_ptr().cast(), len) };
}

/// Makes a private page read as zero in forked children.
#[cfg(not(miri))]
fn wipe_on_fork(base: NonNull<u8>) -> io::Result<()> {
    // SAFETY: the page was just mapped, private and anonymous as MADV_WIPEONFORK requires.
    match unsafe { libc::madvise(base.as_ptr().cast(), PAGE, libc::MADV_WIPEONFORK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// Miri runs a single process and supports no shared mappings: the heap is used in their place.

#[cfg(miri)]
fn heap(len: usize) -> io::Result<std::alloc::Layout> {
    std::alloc::Layout::from_size_align(len, PAGE).map_err(io::Error::other)
}

#[cfg(miri)]
fn map(len: usize, _: libc::c_int, _: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: the layout has a non-zero size, as no region is empty.
    let base = unsafe { std::alloc::alloc_zeroed(heap(len)?) };
    NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(miri)]
fn unmap(base: NonNull<u8>, len: usize) {
    if let Ok(layout) = heap(len) {
        // SAFETY: the memory was allocated by `map` with this layout.
        unsafe { std::alloc::dealloc(base.as_ptr(), layout) };
    }
}

#[cfg(miri)]
fn wipe_on_fork(_: NonNull<u8>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_beyond_the_end_is_refused() {
        let m = Memory::anonymous(4096).expect("map");
        assert!(m.at::<AtomicU64>(4088).is_some());
        assert!(m.at::<AtomicU64>(4089).is_none());
        assert!(m.at::<AtomicU64>(4092).is_none());
        assert!(m.at::<AtomicU64>(usize::MAX - 3).is_none());
        // SAFETY: this thread alone uses the memory.
        unsafe {
            assert!(m.bytes(4000, 97).is_none());
            assert!(m.bytes(usize::MAX, 2).is_none());
            assert!(!m.write(4090, b"1234567"));
            assert!(!m.zero(4095, 2));
        }
    }
}
