//! The allocator: two-level segregated fit (TLSF) over blocks that know the size of the preceding block.
//!
//! | step | writes | if the holder dies there |
//! |---|---|---|
//! | split | the rest's header, then a single store of the smaller size | the chain of blocks is consistent at every moment |
//! | merge | a single store of the larger size | the same |
//! | free lists, sizes of preceding blocks, counters | several stores | rebuilt by `repair.rs` |
//!
//! Everything happens under the arena lock. Values read from the region are checked; an inconsistency poisons the
//! region.

use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::store::memory::block::{Block, Kind, content};
use crate::store::memory::bytes::{GRANULE, Memory};
use crate::store::memory::layout::{ArenaControl, CLASS_BITS, CLASSES, Geometry, Header, LEVELS};
use crate::store::memory::platform::AtomicU32;

/// Blocks tried in a class whose blocks may be too small, before the classes whose blocks are always large enough.
const TRIES: usize = 8;
/// The minimum size of a block in granules: the header and two links.
pub(crate) const MIN_BLOCK: u32 = 2;

/// The allocator of a region. The arena lock must be held for every call that changes something.
#[derive(Clone, Copy)]
pub(crate) struct Arena<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) header: &'a Header,
    pub(crate) geometry: &'a Geometry,
}

/// The level and class of a block of `size` granules.
pub(crate) fn class_of(size: u32) -> (usize, usize) {
    if (size as usize) < CLASSES {
        return (0, size as usize);
    }
    let log = 31 - size.leading_zeros();
    let class = (size >> (log - CLASS_BITS)) as usize & (CLASSES - 1);
    ((log - CLASS_BITS + 1) as usize, class)
}

impl<'a> Arena<'a> {
    fn control(self) -> &'a ArenaControl {
        &self.header.arena
    }

    /// The header of a block; `None` if its number lies outside the arena.
    #[inline]
    pub(crate) fn block(self, at: u32) -> Option<&'a Block> {
        if at < self.geometry.arena || at > self.geometry.end {
            return None;
        }
        self.memory.at(at as usize * GRANULE)
    }

    /// The size in granules and the kind of a block, if it lies within the arena entirely.
    #[inline]
    pub(crate) fn look(self, at: u32) -> Option<(u32, Kind)> {
        let (size, kind) = self.block(at)?.get()?;
        let least = if kind == Kind::End { 1 } else { MIN_BLOCK };
        (size >= least && u64::from(at) + u64::from(size) <= u64::from(self.geometry.end) + 1)
            .then_some((size, kind))
    }

    fn links(self, at: u32) -> Option<(&'a AtomicU32, &'a AtomicU32)> {
        self.block(at)?;
        Some((
            self.memory.at(content(at))?,
            self.memory.at(content(at) + 4)?,
        ))
    }

    fn head(self, level: usize, class: usize) -> Option<&'a AtomicU32> {
        self.control().heads.get(level)?.get(class)
    }

    /// Makes the arena a single free block.
    pub(crate) fn format(self) -> Option<()> {
        let (first, end) = (self.geometry.arena, self.geometry.end);
        let size = end - first;
        self.clear_lists();
        self.block(end)?
            .word
            .store(Block::pack(1, Kind::End), Relaxed);
        self.block(end)?.prev.store(size, Relaxed);
        self.block(first)?.prev.store(0, Relaxed);
        self.block(first)?
            .word
            .store(Block::pack(size, Kind::Free), Release);
        self.insert(first, size)
    }

    /// Empties the free lists, to be rebuilt.
    pub(crate) fn clear_lists(self) {
        let c = self.control();
        c.levels.store(0, Relaxed);
        c.classes.iter().for_each(|b| b.store(0, Relaxed));
        c.heads.iter().flatten().for_each(|h| h.store(0, Relaxed));
    }

    /// Overwrites a free block, so that Miri reports any access that still reads it.
    #[cfg(miri)]
    fn wipe(self, at: u32, size: u32) {
        let from = content(at);
        let end = (at + size) as usize * GRANULE;
        // SAFETY: a free block is not referred to, and the arena lock is held.
        unsafe { self.memory.zero(from, end - from) };
    }

    /// Adds a free block to its list.
    pub(crate) fn insert(self, at: u32, size: u32) -> Option<()> {
        #[cfg(miri)]
        self.wipe(at, size);
        let (level, class) = class_of(size);
        let head = self.head(level, class)?;
        let (next, prev) = self.links(at)?;
        let old = head.load(Relaxed);
        next.store(old, Relaxed);
        prev.store(0, Relaxed);
        if old != 0 {
            self.links(old)?.1.store(at, Relaxed);
        }
        head.store(at, Relaxed);
        let c = self.control();
        c.classes[level].store(c.classes[level].load(Relaxed) | 1 << class, Relaxed);
        c.levels.store(c.levels.load(Relaxed) | 1 << level, Relaxed);
        Some(())
    }

    fn take_out(self, at: u32, size: u32) -> Option<()> {
        let (level, class) = class_of(size);
        let head = self.head(level, class)?;
        let (next, prev) = self.links(at)?;
        let (next, prev) = (next.load(Relaxed), prev.load(Relaxed));
        if next != 0 {
            self.links(next)?.1.store(prev, Relaxed);
        }
        if prev != 0 {
            self.links(prev)?.0.store(next, Relaxed);
            return Some(());
        }
        head.store(next, Relaxed);
        if next == 0 {
            let c = self.control();
            let left = c.classes[level].load(Relaxed) & !(1 << class);
            c.classes[level].store(left, Relaxed);
            if left == 0 {
                c.levels
                    .store(c.levels.load(Relaxed) & !(1 << level), Relaxed);
            }
        }
        Some(())
    }

    /// Finds a free block of at least `size`: in a list where all blocks are large enough, or within a few tries in the
    /// list where some may be.
    fn find(self, size: u32) -> Option<u32> {
        let (level, class) = class_of(size);
        self.try_class(level, class, size)
            .or_else(|| self.first_above(level, class))
    }

    fn try_class(self, level: usize, class: usize, size: u32) -> Option<u32> {
        let mut at = self.head(level, class)?.load(Relaxed);
        for _ in 0..TRIES {
            if at == 0 || self.look(at)?.0 >= size {
                break;
            }
            at = self.links(at)?.0.load(Relaxed);
        }
        (at != 0 && self.look(at)?.0 >= size).then_some(at)
    }

    fn first_above(self, level: usize, class: usize) -> Option<u32> {
        let c = self.control();
        let here = c.classes.get(level)?.load(Relaxed) & (!0u32 << class << 1);
        if here != 0 {
            return Some(
                self.head(level, here.trailing_zeros() as usize)?
                    .load(Relaxed),
            )
            .filter(|at| *at != 0);
        }
        let levels = c.levels.load(Relaxed) & (!0u32 << level << 1);
        if levels == 0 {
            return None;
        }
        let level = levels.trailing_zeros() as usize;
        let class = c.classes.get(level)?.load(Relaxed).trailing_zeros() as usize;
        Some(self.head(level, class)?.load(Relaxed)).filter(|at| *at != 0)
    }

    /// The size of one of the largest free blocks, in granules; 0 if there is none.
    pub(crate) fn largest(self) -> u32 {
        let c = self.control();
        let levels = c.levels.load(Relaxed);
        if levels == 0 {
            return 0;
        }
        let level = 31 - levels.leading_zeros() as usize;
        let classes = c.classes.get(level).map_or(0, |b| b.load(Relaxed));
        if classes == 0 {
            return 0;
        }
        let class = 31 - classes.leading_zeros() as usize;
        let at = self.head(level, class).map_or(0, |h| h.load(Relaxed));
        self.look(at).map_or(0, |(size, _)| size)
    }

    /// Allocates a block of `size` granules (or one more); its kind is then `Raw`.
    pub(crate) fn allocate(self, size: u32) -> Option<u32> {
        let size = size.max(MIN_BLOCK);
        let at = self.find(size)?;
        let listed = self.look(at);
        let Some((found, _)) = listed.filter(|(f, kind)| *kind == Kind::Free && *f >= size) else {
            self.poison();
            return None;
        };
        self.take_out(at, found)?;
        let taken = self.cut(at, found, size, Kind::Raw)?;
        let used = &self.control().used;
        used.store(used.load(Relaxed).wrapping_add(u64::from(taken)), Relaxed);
        Some(at)
    }

    /// Cuts a block of `found` granules down to `size`, and frees the rest if it is large enough to be a block.
    fn cut(self, at: u32, found: u32, size: u32, kind: Kind) -> Option<u32> {
        let rest = found - size;
        if rest < MIN_BLOCK {
            self.block(at)?
                .word
                .store(Block::pack(found, kind), Release);
            return Some(found);
        }
        let tail = self.block(at + size)?;
        tail.prev.store(size, Relaxed);
        tail.word.store(Block::pack(rest, Kind::Free), Relaxed);
        self.block(at + found)?.prev.store(rest, Relaxed);
        self.block(at)?.word.store(Block::pack(size, kind), Release);
        self.insert(at + size, rest)?;
        Some(size)
    }

    /// Frees a block, and merges it with free neighbours.
    pub(crate) fn free(self, at: u32) -> Option<()> {
        let (size, kind) = self.look(at)?;
        if matches!(kind, Kind::Free | Kind::End) {
            self.poison();
            return None;
        }
        let used = &self.control().used;
        used.store(used.load(Relaxed).saturating_sub(u64::from(size)), Relaxed);
        self.release(at, size)
    }

    fn release(self, at: u32, size: u32) -> Option<()> {
        let (mut first, mut whole) = (at, size);
        let before = self.block(at)?.prev.load(Relaxed);
        if before != 0 && before <= at - self.geometry.arena {
            let (prev_size, kind) = self.look(at - before)?;
            if kind == Kind::Free && prev_size == before {
                self.take_out(at - before, before)?;
                (first, whole) = (at - before, whole + before);
            }
        }
        let (next_size, next_kind) = self.look(at + size)?;
        if next_kind == Kind::Free {
            self.take_out(at + size, next_size)?;
            whole += next_size;
        }
        self.block(first)?
            .word
            .store(Block::pack(whole, Kind::Free), Release);
        self.block(first + whole)?.prev.store(whole, Relaxed);
        self.insert(first, whole)
    }

    /// Sets the kind of an allocated block.
    pub(crate) fn set_kind(self, at: u32, kind: Kind) -> Option<()> {
        let (size, _) = self.look(at)?;
        self.block(at)?.word.store(Block::pack(size, kind), Release);
        Some(())
    }

    /// Shrinks a block.
    pub(crate) fn shrink(self, at: u32, size: u32) -> Option<()> {
        let (found, kind) = self.look(at)?;
        let size = size.max(MIN_BLOCK);
        if size >= found || found - size < MIN_BLOCK {
            return Some(());
        }
        let rest = found - size;
        let tail = self.block(at + size)?;
        tail.prev.store(size, Relaxed);
        tail.word.store(Block::pack(rest, Kind::Raw), Relaxed);
        self.block(at + found)?.prev.store(rest, Relaxed);
        self.block(at)?.word.store(Block::pack(size, kind), Release);
        self.free(at + size)
    }

    pub(crate) fn poison(self) {
        self.header.poisoned.store(1, Release);
    }

    /// Visits all blocks in order; `None` if they do not fill the arena exactly.
    pub(crate) fn each_block(self, mut visit: impl FnMut(u32, u32, Kind)) -> Option<()> {
        let mut at = self.geometry.arena;
        while at < self.geometry.end {
            let (size, kind) = self.look(at)?;
            if kind == Kind::End {
                return None;
            }
            visit(at, size, kind);
            at += size;
        }
        (at == self.geometry.end && self.look(at)?.1 == Kind::End).then_some(())
    }

    /// The free blocks on the lists, for the consistency check.
    pub(crate) fn listed(self) -> Result<Vec<u32>, String> {
        let mut all = Vec::new();
        for level in 0..LEVELS {
            for class in 0..CLASSES {
                self.list(level, class, &mut all)?;
            }
        }
        Ok(all)
    }

    fn list(self, level: usize, class: usize, all: &mut Vec<u32>) -> Result<(), String> {
        let c = self.control();
        let first = self.head(level, class).map_or(0, |h| h.load(Relaxed));
        let bit = c.classes[level].load(Relaxed) >> class & 1 == 1;
        let level_bit = c.levels.load(Relaxed) >> level & 1 == 1;
        if bit != (first != 0) || (bit && !level_bit) {
            return Err(format!("class {level}/{class}: bitmap and list differ"));
        }
        let (mut at, mut before) = (first, 0);
        while at != 0 {
            let (size, kind) = self
                .look(at)
                .ok_or_else(|| format!("free list leads to {at}"))?;
            let (next, prev) = self.links(at).ok_or("links")?;
            if kind != Kind::Free
                || class_of(size) != (level, class)
                || prev.load(Relaxed) != before
            {
                return Err(format!(
                    "block {at} ({size}, {kind:?}) is wrong in list {level}/{class}"
                ));
            }
            all.push(at);
            if all.len() > self.geometry.end as usize {
                return Err("a free list is a cycle".into());
            }
            (before, at) = (at, next.load(Relaxed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_by_size() {
        let mut last = (0, 0);
        for size in 2..100_000 {
            let class = class_of(size);
            assert!(
                class >= last && class.0 < LEVELS && class.1 < CLASSES,
                "{size}"
            );
            last = class;
        }
        assert!(class_of(u32::MAX).0 < LEVELS);
    }
}
