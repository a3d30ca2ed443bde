#![no_main]
//! Requests to purge: the data as the body of the API, as fields of a purge by method, as its path, and as a pattern of tags.

use libfuzzer_sys::fuzz_target;
use swrcache::engine::key::query::Query;
use swrcache::engine::key::recipe::Recipe;
use swrcache::engine::{ByMethod, PurgeMode, PurgeRequest, read_purge};
use swrcache_fuzz::two;

fn check(request: &PurgeRequest) {
    let recipes = [
        Recipe::new(None, &Query::default()),
        Recipe::new(Some("$scheme$request_method$host$uri$is_args$arg_a"), &Query::default()),
    ];
    let found = request.found_by(&recipes);
    assert!(found.missed.is_empty() || found.warning().is_some());
    assert!(request.tags.iter().all(|tag| !tag.is_empty()));
}

fn by_method(fields: &[(Vec<u8>, Vec<u8>)], target: &[u8]) {
    let by = ByMethod {
        fields: &fields,
        authority: b"H:80",
        host: b"h",
        target,
        mode: PurgeMode::Hard,
    };
    match by.read() {
        Ok(request) => {
            let PurgeRequest { all, urls, below, hosts, tags, .. } = &request;
            // Every request asks for something.
            assert!(*all || !(urls.is_empty() && below.is_empty() && hosts.is_empty() && tags.is_empty()));
            check(&request);
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = read_purge(data) {
        check(&request);
    }
    let (fields, more) = two(data);
    by_method(&fields, b"/");
    by_method(&more, b"/a.*");
    by_method(&[], data);
    by_method(&[(b"X-Magento-Tags-Pattern".to_vec(), data.to_vec())], b"/");
    by_method(&[(b"X-Url".to_vec(), data.to_vec()), (b"X-Host".to_vec(), b"h".to_vec())], b"/");
});
