//! Lays out a new region, and attaches to an existing one.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::error::StoreError;
use crate::store::index::core::Core;
use crate::store::memory::arena::Arena;
use crate::store::memory::block::Kind;
use crate::store::memory::bytes::{GRANULE, Memory};
use crate::store::memory::layout::{Geometry, Header, MAGIC, VERSION};
use crate::store::memory::platform::seed;
use crate::store::upkeep::membership::Shared;

/// Lays out a new region in unused memory. `max_object` as for [`Core::set_max_object`].
pub(crate) fn format(memory: Memory, max_object: u64) -> Result<Arc<Shared>, StoreError> {
    let geometry = Geometry::of(memory.len())?;
    memory.want_huge_pages();
    // SAFETY: nothing uses the memory yet, as the caller of `create` guarantees.
    unsafe { memory.zero(0, geometry.arena as usize * GRANULE) };
    let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("its header"))?;
    header.version.store(VERSION, Relaxed);
    header.era.store(1, Relaxed);
    header.len.store(memory.len() as u64, Relaxed);
    header.seed.store(seed(), Relaxed);
    header.soonest.store(u64::MAX, Relaxed);
    header.soonest_seen.store(u64::MAX, Relaxed);
    let shared = wrap(memory, geometry)?;
    shared.core.set_max_object(max_object);
    shared
        .core
        .arena()
        .format()
        .ok_or(StoreError::Corrupt("its arena"))?;
    // Last of all: memory with the magic number is a complete region.
    shared.core.header().magic.store(MAGIC, Release);
    Ok(shared)
}

/// Attaches to the region in the memory.
pub(crate) fn attach(memory: Memory) -> Result<Arc<Shared>, StoreError> {
    let geometry = Geometry::of(memory.len())?;
    check(&memory, &geometry)?;
    wrap(memory, geometry)
}

fn wrap(memory: Memory, geometry: Geometry) -> Result<Arc<Shared>, StoreError> {
    let core = Core::new(memory, geometry)?;
    Ok(Arc::new(Shared::new(core)?))
}

/// Checks that the memory holds a region of this layout and length.
fn check(memory: &Memory, geometry: &Geometry) -> Result<(), StoreError> {
    let header: &Header = memory.at(0).ok_or(StoreError::Corrupt("its header"))?;
    if header.magic.load(Acquire) != MAGIC {
        return Err(StoreError::Foreign);
    }
    let found = header.version.load(Relaxed);
    if found != VERSION {
        return Err(StoreError::Version {
            found,
            expected: VERSION,
        });
    }
    let (found, given) = (header.len.load(Relaxed), memory.len() as u64);
    if found != given {
        return Err(StoreError::Length { found, given });
    }
    if header.poisoned.load(Relaxed) != 0 {
        return Err(StoreError::Corrupt("it was found damaged before"));
    }
    let arena = Arena {
        memory,
        header,
        geometry,
    };
    match (arena.look(geometry.arena), arena.look(geometry.end)) {
        (Some(_), Some((1, Kind::End))) => Ok(()),
        _ => Err(StoreError::Corrupt("the ends of its arena")),
    }
}
