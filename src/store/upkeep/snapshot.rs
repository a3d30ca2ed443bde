//! A copy of the region in a file that others may be using, in private memory of this process.
//!
//! The file is opened for reading only, no lock is taken, and nothing is written to it. What is copied while it changes
//! is a mixture of different times; as in a takeover, nothing in the copy is trusted unless its checksum matches.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::store::error::StoreError;
use crate::store::index::checksum::Coverage;
use crate::store::memory::bytes::Memory;
use crate::store::memory::layout::{Geometry, MAGIC};
use crate::store::upkeep::create;
use crate::store::upkeep::file::Predecessor;
use crate::store::upkeep::membership::Shared;
use crate::store::upkeep::recover::recover;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;
/// How many copies are made until the blocks of one are consistent: an allocation may be in progress during a copy.
const TRIES: usize = 5;

/// Copies the part of a file's region that is in use into private memory of this process.
pub(crate) fn snapshot(path: &Path) -> Result<(Arc<Shared>, Predecessor), StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    let mut magic = [0; 8];
    if !meta.is_file() || file.read_at(&mut magic, 0)? < 8 || magic != MAGIC.to_le_bytes() {
        return Err(StoreError::Foreign);
    }
    let len = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    let mut failed = StoreError::Corrupt("its blocks");
    for _ in 0..TRIES {
        match understand(copy(&file, len)?) {
            Ok(found) => return Ok(found),
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

fn copy(file: &File, len: usize) -> Result<Memory, StoreError> {
    Geometry::of(len)?;
    let memory = Memory::private(len)?;
    let mut piece = vec![0; PIECE.min(len)];
    let mut at = 0;
    while at < len {
        let want = piece.len().min(len - at);
        file.read_exact_at(&mut piece[..want], at as u64)?;
        // Memory that was never used remains untouched here.
        if piece[..want].iter().any(|byte| *byte != 0) {
            // SAFETY: this thread alone uses the memory.
            unsafe { memory.write(at, &piece[..want]) };
        }
        at += want;
    }
    Ok(memory)
}

fn understand(memory: Memory) -> Result<(Arc<Shared>, Predecessor), StoreError> {
    let shared = create::attach(memory)?;
    let header = shared.core.header();
    let clean = header.clean.load(Acquire) != 0;
    let sealed = match clean {
        true => Coverage::Sealed,
        false => Coverage::Lasting,
    };
    let recovered = recover(&shared, sealed).ok_or(StoreError::Corrupt("its blocks"))?;
    header.clean.store(0, Relaxed);
    let found = Predecessor::Region {
        kept: recovered.kept,
        dropped: recovered.dropped,
        clean,
    };
    Ok((shared, found))
}
