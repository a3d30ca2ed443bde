#![no_main]
//! Dates, `Age`, `Expires`, `Retry-After`.

use libfuzzer_sys::fuzz_target;
use swrcache::http::{DELTA_MAX, Times, age, date, retry_after};
use swrcache_fuzz::{fields, lines_of};

fuzz_target!(|data: &[u8]| {
    if let Some(at) = date::parse(data) {
        assert_eq!(date::parse(&date::format(at)), Some(at));
    }
    let seconds = age::parse(&lines_of("Age", data));
    assert!(seconds.is_none_or(|seconds| seconds <= DELTA_MAX));
    Times::read(&fields(data));
    retry_after::parse_value(data, 784_111_777_000);
});
