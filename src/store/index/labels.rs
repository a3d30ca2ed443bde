//! A filter per bucket that tells which labels its entries may have: two of its 32 bits for each label.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;

/// Adds the labels of an entry to the filter of its bucket. Call it before the entry is linked.
pub(crate) fn note_labels(core: &Core, at: &EntryAt<'_>) {
    let bits = label_bits(at);
    match core.filter(core.bucket_of(at.e.hash.load(Relaxed))) {
        Some(filter) if bits != 0 => _ = filter.fetch_or(bits, Release),
        _ => {}
    }
}

/// Whether all of these bits are set in a filter.
pub(crate) fn holds(filter: &crate::store::memory::platform::AtomicU32, bits: u32) -> bool {
    filter.load(Acquire) & bits == bits
}

/// The filter bits of an entry's labels.
pub(crate) fn label_bits(at: &EntryAt<'_>) -> u32 {
    at.labels().fold(0, |all, l| all | bits(l))
}

/// The two filter bits of a label.
pub(crate) fn bits(label: u64) -> u32 {
    let mixed = label.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 59) | 1 << (mixed >> 54 & 31)
}
