#![no_main]
//! `Range` against bodies of several lengths.

use libfuzzer_sys::fuzz_target;
use swrcache::http::RangeVerdict;
use swrcache::http::range;

fuzz_target!(|data: &[u8]| {
    for length in [0, 1, 10, 1_000, u64::MAX] {
        if let RangeVerdict::Satisfiable(ranges) = range::parse(data, length) {
            assert!(!ranges.is_empty());
            assert!(ranges.iter().all(|r| r.first <= r.last && r.last < length));
            let total: u128 = ranges.iter().map(|r| u128::from(r.size())).sum();
            assert!(total <= u128::from(length), "they share no byte");
        }
    }
});
