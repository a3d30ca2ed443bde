//! A region in a file.
//!
//! Who opens the file holds its lock (flock) until it is laid out or found sound, so that of several processes that start at
//! once one makes it and the others take it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::error::StoreError;
use super::memory::Memory;
use super::region::Region;

/// How often a file may be replaced under our hands.
const TRIES: u32 = 8;

/// Makes a region of mapped memory; told whether the memory is fresh.
type Make<'a> = &'a mut dyn FnMut(Memory, bool) -> Result<Region, StoreError>;

/// Opens or makes the file, and the region in it.
pub(crate) fn open(path: &Path, len: usize, make: Make<'_>) -> Result<Region, StoreError> {
    for _ in 0..TRIES {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        flock(&file, libc::LOCK_EX)?;
        // Replaced by another process before we had the lock?
        if !is_at(&file, path)? {
            continue;
        }
        let taken = take(&file, len, make);
        // Closing the file would not do: the mapping keeps it open, and with it the lock.
        flock(&file, libc::LOCK_UN)?;
        match taken {
            Err(StoreError::Version { .. } | StoreError::Corrupt(_)) => fs::remove_file(path)?,
            other => return other,
        }
    }
    Err(StoreError::Os(io::Error::other(
        "the file is replaced again and again",
    )))
}

fn take(file: &File, len: usize, make: Make<'_>) -> Result<Region, StoreError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(StoreError::Foreign);
    }
    let found = metadata.len();
    if found == 0 {
        allocate(file, len)?;
        return make(Memory::file(file, len)?, true);
    }
    if found != len as u64 {
        return Err(StoreError::Length {
            found,
            given: len as u64,
        });
    }
    let memory = Memory::file(file, len)?;
    // Who made it died before it was laid out: there is no magic yet, and nobody else can have taken it.
    let unfinished = memory
        .at::<super::atomic::AtomicU64>(0)
        .is_some_and(|magic| magic.load(std::sync::atomic::Ordering::Acquire) == 0);
    make(memory, unfinished)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes the lock, waiting for it, or gives it back. One of a process that dies the kernel gives back.
fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: flock takes no pointers.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// Gives the file all its bytes now: a hole that can't be filled later would be a SIGBUS.
fn allocate(file: &File, len: usize) -> io::Result<()> {
    let bytes = libc::off_t::try_from(len).map_err(io::Error::other)?;
    // SAFETY: posix_fallocate takes no pointers.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        e => Err(io::Error::from_raw_os_error(e)),
    }
}
