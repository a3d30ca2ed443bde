//! Seals a region in a file when it is closed cleanly, so that a later start can trust everything in it.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::store::index::checksum::{Checksums, Coverage};
use crate::store::memory::block::Kind;
use crate::store::process::budget::TimeBudget;
use crate::store::upkeep::membership::Shared;

/// Computes all checksums for a later start, unless another process is in the region. Returns whether the region is
/// sealed.
pub(crate) fn seal(shared: &Shared) -> bool {
    let core = &shared.core;
    if !Checksums::of(core).is_durable() || core.is_poisoned() {
        return false;
    }
    let alone = shared.join(None).is_ok() && {
        core.processes().find_dead();
        core.processes().live() == 1 && seal_entries(shared).is_some()
    };
    shared.leave();
    if !alone {
        return false;
    }
    core.header().clean.store(1, Relaxed);
    // Pairs with the fence in `Region::enter`: a process that enters meanwhile either removes the mark, or we see it
    // here.
    fence(SeqCst);
    if core.processes().live() > 0 {
        core.header().clean.store(0, Relaxed);
        return false;
    }
    true
}

fn seal_entries(shared: &Shared) -> Option<()> {
    let core = &shared.core;
    let whole = &mut TimeBudget::whole();
    let maintenance = shared.maintenance(shared.member()?);
    let guard = maintenance.arena_guard_within(whole).ok()?;
    guard.arena().each_block(|at, _, kind| {
        let entry = (kind == Kind::Entry).then(|| core.entry(at)).flatten();
        let sealed = entry.filter(|entry| entry.is_object() && entry.is_linked());
        if let Some(entry) = sealed {
            Checksums::of(core).write(&entry, Coverage::Sealed);
        }
    })
}
