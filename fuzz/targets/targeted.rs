#![no_main]
//! `CDN-Cache-Control`, `Surrogate-Control` and `Cache-Groups`: structured fields.

use libfuzzer_sys::fuzz_target;
use swrcache::http::{DELTA_MAX, cache_groups, limits, targeted};
use swrcache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let groups = cache_groups::parse(&lines_of("Cache-Groups", data), cache_groups::GROUPS);
    assert!(groups.len() <= limits::MAX_GROUPS);
    for name in ["CDN-Cache-Control", "Surrogate-Control"] {
        let control = targeted::parse(&lines_of(name, data), name);
        assert!(control.is_none_or(|c| c.max_age.is_none_or(|seconds| seconds <= DELTA_MAX)));
    }
});
