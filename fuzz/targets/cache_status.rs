#![no_main]
//! A member of `Cache-Status`: whatever the names in it, one member of a list and one line.

use libfuzzer_sys::fuzz_target;
use swrcache::http::{Handling, Member};

fuzz_target!(|data: &str| {
    let (cache, rest) = data.split_once('\n').unwrap_or((data, data));
    let member = Member {
        cache,
        handling: Handling::Hit,
        ttl: Some(-1),
        key: Some(rest),
        detail: Some(rest),
    };
    let text = member.to_string();
    assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text:?}");
});
