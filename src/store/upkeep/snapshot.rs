//! A look into the file of a region that others may have in use: a copy of it, in memory of this process alone.
//!
//! The file is opened to be read, no lock of it is taken, and nothing is ever written to it. What is copied while it
//! changes is a mixture of times; so nothing of the copy is believed that has not its sums, as when a region is taken over.

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
use crate::store::upkeep::file::Found;
use crate::store::upkeep::membership::Shared;
use crate::store::upkeep::recover::recover;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;
/// Copies that are made until the blocks of one make sense: an allocation may be under way while it is made.
const TRIES: usize = 5;

/// A copy of the region in a file, in memory of this process: as much of it as the file has in use.
pub(crate) fn snapshot(path: &Path) -> Result<(Arc<Shared>, Found), StoreError> {
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
        // What was never used stays unused here.
        if piece[..want].iter().any(|byte| *byte != 0) {
            // SAFETY: nobody else has the memory.
            unsafe { memory.write(at, &piece[..want]) };
        }
        at += want;
    }
    Ok(memory)
}

fn understand(memory: Memory) -> Result<(Arc<Shared>, Found), StoreError> {
    let shared = create::attach(memory)?;
    let header = shared.core.header();
    let clean = header.clean.load(Acquire) != 0;
    let sealed = match clean {
        true => Coverage::Sealed,
        false => Coverage::Lasting,
    };
    let recovered = recover(&shared, sealed).ok_or(StoreError::Corrupt("its blocks"))?;
    header.clean.store(0, Relaxed);
    let found = Found::Region {
        kept: recovered.kept,
        dropped: recovered.dropped,
        clean,
    };
    Ok((shared, found))
}
