//! A set of granules of the arena, in private memory.

/// Words that are searched for the next member.
const NEAR: usize = 8;

/// A set of granules.
pub(crate) struct BitSet {
    first: u32,
    bits: Vec<u64>,
}

impl BitSet {
    pub(crate) fn new(first: u32, end: u32) -> BitSet {
        BitSet {
            first,
            bits: vec![0; (end - first) as usize / 64 + 1],
        }
    }
    /// Adds a granule; returns false if it is already a member or out of range.
    pub(crate) fn add(&mut self, at: u32) -> bool {
        let i = at.wrapping_sub(self.first) as usize;
        let Some(word) = self.bits.get_mut(i / 64) else {
            return false;
        };
        let new = *word >> (i % 64) & 1 == 0;
        *word |= 1 << (i % 64);
        new
    }
    /// The first member at or after a granule, if it is near.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let i = from.wrapping_sub(self.first) as usize;
        let mut at = i / 64;
        let mut word = self.bits.get(at)? & (!0 << (i % 64));
        while word == 0 && at < i / 64 + NEAR {
            at += 1;
            word = *self.bits.get(at)?;
        }
        (word != 0).then(|| self.first + (at * 64) as u32 + word.trailing_zeros())
    }
    /// See [`shorten`].
    pub(crate) fn shorten(&mut self) -> bool {
        shorten(&mut self.bits)
    }
    /// Prefetches the word of a granule; a hint only.
    pub(crate) fn prefetch(&self, at: u32) {
        if let Some(word) = self.bits.get(at.wrapping_sub(self.first) as usize / 64) {
            prefetch(word);
        }
    }
    pub(crate) fn has(&self, at: u32) -> bool {
        let i = at.wrapping_sub(self.first) as usize;
        self.bits
            .get(i / 64)
            .is_some_and(|w| w >> (i % 64) & 1 == 1)
    }
}

/// Bytes of a list that are released at a time.
const AT_ONCE: usize = 2 << 20;

/// Releases the end of a list to the system. Returns false if nothing was left.
pub(crate) fn shorten<T>(list: &mut Vec<T>) -> bool {
    let some = list.capacity() > 0;
    let len = list.capacity().saturating_sub(AT_ONCE / size_of::<T>());
    list.truncate(len);
    list.shrink_to(len);
    some
}

#[cfg(target_arch = "x86_64")]
fn prefetch(word: &u64) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the address is that of a reference, and a prefetch has no observable effect.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) };
}
#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_: &u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_found_in_any_word() {
        let mut bits = BitSet::new(1000, 3000);
        assert_eq!(bits.next(1000), None);
        assert!(bits.add(1000) && bits.add(1063) && bits.add(1290));
        assert!(!bits.add(1290) && !bits.add(999) && !bits.add(5000));
        assert_eq!(bits.next(1000), Some(1000));
        assert_eq!(bits.next(1001), Some(1063));
        assert_eq!(bits.next(1064), Some(1290));
        assert_eq!((bits.next(1291), bits.next(9000)), (None, None));
        assert!(bits.add(2800));
        assert_eq!((bits.next(1291), bits.next(2400)), (None, Some(2800)));
    }
}
