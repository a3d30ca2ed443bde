#![no_main]
//! Entity tags, and preconditions with them.

use http::Method;
use libfuzzer_sys::fuzz_target;
use swrcache::http::conditional::{self, Precondition};
use swrcache::http::etag::{self, Comparison};
use swrcache::http::{Role, Selected};
use swrcache_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    for tag in etag::list(data) {
        assert!(tag.matches(&tag, Comparison::Weak));
        assert_eq!(tag.matches(&tag, Comparison::Strong), !tag.weak);
    }
    let request = fields(data);
    let selected = Selected {
        status: 200,
        etag: Some(data),
        last_modified: Some(784_111_777_000),
        date: 784_111_800_000,
        synthesised: false,
    };
    let cache = conditional::evaluate(&Method::GET, &request, &selected, Role::Cache);
    assert_ne!(cache, Precondition::Failed);
    conditional::evaluate(&Method::PUT, &request, &selected, Role::Origin);
    conditional::if_range(&request, &selected);
});
