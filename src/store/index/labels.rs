//! A filter a bucket: which labels its entries may bear, two bits of thirty-two a label.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::store::index::core::Core;
use crate::store::memory::block::EntryAt;

/// Notes the labels of an entry in the filter of its bucket, before it is linked.
pub(crate) fn note_labels(core: &Core, at: &EntryAt<'_>) {
    let bits = label_bits(at);
    match core.filter(core.bucket_of(at.e.hash.load(Relaxed))) {
        Some(filter) if bits != 0 => _ = filter.fetch_or(bits, Release),
        _ => {}
    }
}

/// Whether the bits of a filter have been seen to hold all of these.
pub(crate) fn holds(filter: &crate::store::memory::platform::AtomicU32, bits: u32) -> bool {
    filter.load(Acquire) & bits == bits
}

/// The bits of an entry's labels in a filter.
pub(crate) fn label_bits(at: &EntryAt<'_>) -> u32 {
    at.labels().fold(0, |all, l| all | bits(l))
}

/// The two bits of a label in a filter.
pub(crate) fn bits(label: u64) -> u32 {
    let mixed = label.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 59) | 1 << (mixed >> 54 & 31)
}
