#![no_main]
//! `Cache-Control` and `Pragma` of responses and requests.

use libfuzzer_sys::fuzz_target;
use swrcache::http::{Bind, CacheControl, DELTA_MAX, RequestControl, StoredFacts};
use swrcache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let lines = lines_of("Cache-Control", data);
    let response = CacheControl::response(&lines);
    for seconds in [response.max_age, response.s_maxage, response.stale_if_error] {
        assert!(seconds.is_none_or(|seconds| seconds <= DELTA_MAX));
    }
    let request = RequestControl::request(&lines);
    for (fresh_for, stale_for) in [(1_000, 0), (0, 1_000)] {
        request.judge(&StoredFacts {
            age: 2_000,
            fresh_for,
            stale_for,
            immutable: response.immutable,
            bind: Bind::Free,
        });
    }
    RequestControl::request(&lines_of("Pragma", data));
    // One more directive can only restrict.
    let mut more = lines.clone();
    more.push((b"Cache-Control".into(), b"no-store, max-age=0".into()));
    let more = CacheControl::response(&more);
    assert!(more.no_store && more.max_age == Some(0));
});
