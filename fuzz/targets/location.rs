#![no_main]
//! `Location` and `Content-Location`: what they name is of the same origin, or nothing.

use libfuzzer_sys::fuzz_target;
use swrcache::http::invalidation::{named_target, same_origin};

fuzz_target!(|data: &str| {
    if let Some(uri) = same_origin("http://h.example/a/b?c", data) {
        assert!(uri.starts_with("http://h.example/"), "{uri}");
        assert!(uri.bytes().all(|b| b.is_ascii_graphic()), "{uri:?}");
        assert_eq!(same_origin("http://h.example/", &uri), Some(uri));
    }
    let (target, reference) = data.split_once('\n').unwrap_or((data, data));
    if let Some(named) = named_target("https://h.example:8443", target, reference) {
        assert!(named.starts_with('/'));
    }
});
