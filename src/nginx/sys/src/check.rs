//! Compiles only where the bindings have every field where the C compiler has it.
//!
//! `layout.rs`, which a C program printed, consists of the macros below.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "rustc 1.85 counts no use in `const _`"
)]

use std::mem::ManuallyDrop;
use std::mem::{align_of, offset_of, size_of};

use crate::bindings::*;

/// A struct and its bytes.
#[repr(C)]
union Seen<T, const N: usize> {
    value: ManuallyDrop<T>,
    bytes: [u8; N],
}

/// What a pointer to a field points to.
const fn size_of_field<S, F>(_: fn(*const S) -> *const F) -> usize {
    size_of::<F>()
}

macro_rules! size_is {
    ($of:ident, $size:literal, $align:literal) => {
        const _: () = assert!(
            size_of::<$of>() == $size && align_of::<$of>() == $align,
            concat!(stringify!($of), " is of another size for the C compiler")
        );
    };
}

macro_rules! field_is {
    ($of:ident, $field:ident, $offset:literal, $size:literal) => {
        const _: () = assert!(
            offset_of!($of, $field) == $offset
                // SAFETY: nothing is read; only the type of the pointer counts.
                && size_of_field(|s: *const $of| unsafe { &raw const (*s).$field }) == $size,
            concat!(stringify!($of), ".", stringify!($field), " is elsewhere for the C compiler")
        );
    };
}

macro_rules! bits_are {
    ($of:ident, $get:ident, $set:ident $(, $index:literal: $byte:literal)+) => {
        const _: () = {
            const N: usize = size_of::<$of>();
            // Ones in that field and zeros elsewhere, and the contrary.
            let (mut field, mut others, mut ones) = ([0u8; N], [u8::MAX; N], 0);
            $(
                field[$index] = $byte;
                others[$index] = !$byte;
                ones += ($byte as u8).count_ones();
            )+
            let all = u64::MAX >> (64 - ones);
            let (full, bare) = (Seen::<$of, N> { bytes: field }, Seen::<$of, N> { bytes: others });
            let mut set = Seen::<$of, N> { bytes: [0; N] };
            // SAFETY: a struct of nginx holds numbers and pointers, and of them all only the bit field is read.
            let right = unsafe {
                (*(&raw mut set.value).cast::<$of>()).$set(!0);
                (*(&raw const full.value).cast::<$of>()).$get() as u64 & all == all
                    && (*(&raw const bare.value).cast::<$of>()).$get() as u64 == 0
                    && same(&set.bytes, &field)
            };
            assert!(
                right,
                concat!(stringify!($of), ".", stringify!($get), " has other bits for the C compiler")
            );
        };
    };
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len()
}

include!(concat!(env!("OUT_DIR"), "/layout.rs"));
