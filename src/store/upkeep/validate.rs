//! The consistency check: visits everything under all locks and verifies the invariants.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::{Core, lease_owner};
use crate::store::index::labels::label_bits;
use crate::store::index::queue::{LIMBO, MAIN, SMALL};
use crate::store::memory::bitset::BitSet;
use crate::store::memory::block::{COMPLETE, EntryAt, GROWING, Kind, UNKNOWN};
use crate::store::memory::bytes::GRANULE;
use crate::store::memory::layout::{SLOTS, UNLINKED};
use crate::store::process::budget::TimeBudget;
use crate::store::process::lock;
use crate::store::process::table::{SlotState, pin_of, slot_of};
use crate::store::upkeep::membership::Shared;

/// Returns an error with a message unless the condition holds.
macro_rules! ensure {
    ($cond:expr, $($message:tt)+) => {
        if !$cond {
            return Err(format!($($message)+));
        }
    };
}

/// What [`Region::validate`](crate::store::Region::validate) found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects that lookups can find.
    pub objects: u64,
    /// Markers.
    pub markers: u64,
    /// Objects and markers that lookups can't find.
    pub limbo: u64,
    /// Growing objects.
    pub growing: u64,
    /// Pins: pairs of an object or marker and a process.
    pub pins: u64,
    /// Claims, including expired ones.
    pub claims: u64,
    /// The bytes in use.
    pub used: u64,
    /// The free bytes.
    pub free: u64,
    /// The number of free blocks.
    pub holes: u64,
    /// Locks that were held when the check began.
    pub held_locks: u64,
}

/// What the walk over the blocks found.
struct BlockMap {
    starts: BitSet,
    entries: Vec<u32>,
    /// The number of references from entries to bodies.
    refs: HashMap<u32, u32>,
    extents: BitSet,
    extent_count: u64,
    free: Vec<u32>,
}

/// Visits everything under all locks and verifies the invariants.
pub(crate) fn validate(shared: &Shared) -> Result<Summary, String> {
    let core = &shared.core;
    let held_locks = held_locks(core);
    let member = shared
        .member()
        .ok_or("this process has not entered, or the region is damaged")?;
    let whole = &mut TimeBudget::whole();
    let guard = shared.maintenance(member).arena_guard_within(whole);
    let guard = guard.map_err(|_| "the arena is busy")?;
    let mut shards = Vec::new();
    for shard in 0..core.geometry.shards {
        let word = core.shard(shard).ok_or("shard")?;
        shards.push(lock::acquire(word, &member.local, core.processes()).ok_or("a shard is busy")?);
    }
    let mut summary = Summary {
        held_locks,
        ..Summary::default()
    };
    let mut blocks = blocks(&guard, &mut summary)?;
    check_free(&guard, &blocks)?;
    let linked = check_chains(&guard, &blocks)?;
    check_queues(&guard, &blocks, &linked)?;
    for block in blocks.entries.clone() {
        let at = core
            .entry(block)
            .ok_or_else(|| format!("entry {block} is longer than its block"))?;
        check_entry(&guard, &at, linked.has(block), &mut blocks, &mut summary)?;
    }
    check_bodies(&guard, &blocks)?;
    check_counts(&guard, &summary)?;
    Ok(summary)
}

fn held_locks(core: &Core) -> u64 {
    let shards = (0..core.geometry.shards).filter_map(|s| core.shard(s));
    let all = shards.chain(std::iter::once(&core.header().arena.lock));
    all.filter(|lock| lock.load(Acquire) != 0).count() as u64
}

fn blocks(guard: &ArenaGuard<'_>, summary: &mut Summary) -> Result<BlockMap, String> {
    let geometry = guard.core.geometry;
    let bits = || BitSet::new(geometry.arena, geometry.end);
    let mut s = BlockMap {
        starts: bits(),
        entries: Vec::new(),
        refs: HashMap::new(),
        extents: bits(),
        extent_count: 0,
        free: Vec::new(),
    };
    let (mut before, mut problem) = ((0, Kind::End), None);
    let whole = guard.arena().each_block(|at, size, kind| {
        s.starts.add(at);
        let prev = guard.arena().block(at).map_or(0, |b| b.prev.load(Relaxed));
        if prev != before.0 || kind == Kind::Raw || (kind == Kind::Free && before.1 == Kind::Free) {
            problem.get_or_insert(format!(
                "block {at} ({size}, {kind:?}) after {before:?}, says {prev}"
            ));
        }
        let bytes = u64::from(size) * GRANULE as u64;
        if kind == Kind::Free {
            summary.free += bytes
        } else {
            summary.used += bytes
        }
        match kind {
            Kind::Free => s.free.push(at),
            Kind::Entry => s.entries.push(at),
            Kind::Body => drop(s.refs.insert(at, 0)),
            Kind::Extent => s.extent_count += 1,
            Kind::Raw | Kind::End => {}
        }
        before = (size, kind);
    });
    ensure!(whole.is_some(), "the blocks do not fill the arena");
    summary.holes = s.free.len() as u64;
    problem.map_or(Ok(s), Err)
}

fn check_free(guard: &ArenaGuard<'_>, blocks: &BlockMap) -> Result<(), String> {
    let mut listed = guard.arena().listed()?;
    listed.sort_unstable();
    ensure!(
        listed == blocks.free,
        "{} blocks are free, {} are listed",
        blocks.free.len(),
        listed.len()
    );
    Ok(())
}

fn check_chains(guard: &ArenaGuard<'_>, blocks: &BlockMap) -> Result<BitSet, String> {
    let core = guard.core;
    let mut linked = BitSet::new(core.geometry.arena, core.geometry.end);
    for bucket in 0..core.geometry.buckets {
        let mut next = core.bucket(bucket).ok_or("bucket")?.load(Acquire);
        while next != 0 {
            ensure!(
                blocks.starts.has(next),
                "bucket {bucket} leads to {next}, where no block begins"
            );
            let at = core
                .entry(next)
                .ok_or_else(|| format!("bucket {bucket} leads to {next}, no entry"))?;
            ensure!(linked.add(next), "entry {next} is linked twice");
            let hash = at.e.hash.load(Relaxed);
            ensure!(
                core.bucket_of(hash) == bucket,
                "entry {next} is in bucket {bucket}"
            );
            ensure!(
                core.hash_key.of_key(at.key()) == hash,
                "entry {next} has another hash than its key"
            );
            let filter = core.filter(bucket).ok_or("filter")?.load(Relaxed);
            ensure!(
                !at.is_current() || filter & label_bits(&at) == label_bits(&at),
                "the filter of bucket {bucket} lacks labels of entry {next}"
            );
            next = at.e.next.load(Acquire);
        }
    }
    Ok(linked)
}

fn check_queues(guard: &ArenaGuard<'_>, blocks: &BlockMap, linked: &BitSet) -> Result<(), String> {
    let mut total = 0;
    for queue in [SMALL, MAIN, LIMBO] {
        let q = &guard.header().queues[queue as usize];
        let (mut count, mut cost, mut before) = (0, 0, 0);
        let mut next = q.head.load(Relaxed);
        while next != 0 {
            let at = guard
                .core
                .entry(next)
                .ok_or_else(|| format!("queue {queue} leads to {next}"))?;
            ensure!(
                at.e.queue.load(Relaxed) == queue,
                "entry {next} says another queue than {queue}"
            );
            ensure!(
                at.e.older.load(Relaxed) == before,
                "entry {next} has a wrong older one"
            );
            ensure!(
                linked.has(next) == (queue != LIMBO),
                "entry {next} is in queue {queue}"
            );
            count += 1;
            ensure!(count <= blocks.entries.len(), "queue {queue} is a cycle");
            cost += u64::from(at.e.cost.load(Relaxed));
            before = next;
            next = at.e.newer.load(Relaxed);
        }
        ensure!(
            q.tail.load(Relaxed) == before,
            "queue {queue} has a wrong end"
        );
        ensure!(
            q.count.load(Relaxed) == count as u64,
            "queue {queue} has {count} entries"
        );
        ensure!(
            q.cost.load(Relaxed) == cost,
            "queue {queue} costs {cost}, says {}",
            q.cost.load(Relaxed)
        );
        total += count;
    }
    ensure!(
        total == blocks.entries.len(),
        "{} entries, {total} in queues",
        blocks.entries.len()
    );
    Ok(())
}

fn check_entry(
    guard: &ArenaGuard<'_>,
    at: &EntryAt<'_>,
    linked: bool,
    blocks: &mut BlockMap,
    summary: &mut Summary,
) -> Result<(), String> {
    let (block, e) = (at.block, at.e);
    let attributes = [e.pins[0].load(Acquire), e.pins[1].load(Acquire)];
    for word in attributes {
        ensure!(
            (word & UNLINKED == 0) == linked,
            "entry {block} linked: {linked}, says {attributes:x?}"
        );
    }
    let pins = [attributes[0] & !UNLINKED, attributes[1] & !UNLINKED];
    ensure!(
        linked || pins != [0, 0],
        "entry {block} is neither linked nor pinned"
    );
    check_slots(guard, pins).map_err(|s| format!("entry {block} is pinned by free slot {s}"))?;
    let lease = e.lease.load(Acquire);
    if lease != 0 {
        let owner = slot_of(lease_owner(lease));
        let state = guard.core.processes().identity(owner).state();
        ensure!(
            state != SlotState::Free,
            "entry {block} is leased by free slot {owner}"
        );
        summary.claims += 1;
    }
    summary.pins += u64::from(pins[0].count_ones() + pins[1].count_ones());
    match (linked, at.is_object()) {
        (false, _) => summary.limbo += 1,
        (true, true) => summary.objects += 1,
        (true, false) => summary.markers += 1,
    }
    if at.is_object() {
        check_body(guard, at, blocks, summary)
    } else {
        Ok(())
    }
}

fn check_slots(guard: &ArenaGuard<'_>, mask: [u64; 2]) -> Result<(), usize> {
    let set = |slot: &usize| {
        let (w, bit) = pin_of(*slot);
        mask[w] & bit != 0 && guard.core.processes().identity(*slot).state() == SlotState::Free
    };
    (0..SLOTS).find(set).map_or(Ok(()), Err)
}

fn check_body(
    guard: &ArenaGuard<'_>,
    at: &EntryAt<'_>,
    blocks: &mut BlockMap,
    summary: &mut Summary,
) -> Result<(), String> {
    let (block, body_block) = (at.block, at.body());
    let (body, _, mut room) = guard
        .core
        .body(body_block)
        .ok_or_else(|| format!("entry {block} has no body at {body_block}"))?;
    let refs = blocks
        .refs
        .get_mut(&body_block)
        .ok_or_else(|| format!("{body_block} is no body"))?;
    *refs += 1;
    let phase = body.phase.load(Acquire);
    summary.growing += u64::from(phase == GROWING);
    let len = body.len.load(Acquire);
    let total = body.total.load(Acquire);
    ensure!(
        total == UNKNOWN || len <= total,
        "body {body_block}: {len} of {total}"
    );
    ensure!(
        phase == COMPLETE || !at.is_whole(),
        "entry {block} calls its body whole, which is in phase {phase}"
    );
    ensure!(
        phase != COMPLETE || len == total,
        "body {body_block} is complete with {len} of {total}"
    );
    let first = *refs == 1;
    let (mut next, mut whole) = (body.next.load(Acquire), room as u64);
    while next != 0 {
        let (extent, _, more) = guard
            .core
            .extent(next)
            .ok_or_else(|| format!("body {body_block} leads to {next}"))?;
        ensure!(
            !first || blocks.extents.add(next),
            "extent {next} belongs to two bodies"
        );
        ensure!(
            extent.start.load(Relaxed) == whole,
            "extent {next} begins not at {whole}"
        );
        room = more;
        whole += room as u64;
        next = extent.next.load(Acquire);
        blocks.extent_count -= u64::from(first);
    }
    ensure!(len <= whole, "body {body_block} has {len} bytes in {whole}");
    Ok(())
}

fn check_bodies(guard: &ArenaGuard<'_>, blocks: &BlockMap) -> Result<(), String> {
    for (block, found) in &blocks.refs {
        let says = guard
            .core
            .body(*block)
            .map_or(0, |(b, ..)| b.refs.load(Relaxed));
        ensure!(
            says == *found && says > 0,
            "body {block} has {found} references, says {says}"
        );
    }
    ensure!(
        blocks.extent_count == 0,
        "{} extents belong to no body",
        blocks.extent_count
    );
    Ok(())
}

fn check_counts(guard: &ArenaGuard<'_>, summary: &Summary) -> Result<(), String> {
    let header = guard.header();
    let used = header.arena.used.load(Relaxed).wrapping_mul(GRANULE as u64);
    ensure!(
        used == summary.used,
        "{} bytes are used, the count says {used}",
        summary.used
    );
    let says = (
        header.counts.objects.load(Relaxed),
        header.counts.markers.load(Relaxed),
    );
    let found = (summary.objects, summary.markers);
    ensure!(
        says == found,
        "objects and markers: {found:?}, the counts say {says:?}"
    );
    Ok(())
}
