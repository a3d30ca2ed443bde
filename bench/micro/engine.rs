//! Lookup and decision, single thread: the budget is 300 ns for a hit, and no heap allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use criterion::{Criterion, criterion_group, criterion_main};
use swrcache::engine::*;
use swrcache::http::Fields;
use swrcache::store::{Region, RegionOptions};

/// Counts allocations, to hold the hit path to none.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every call on to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: what `alloc` gave, with its layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

mod support;

use support::{BROWSER, KEY, NOW};

/// A cache with one response stored under `KEY`.
fn cache_with(response: &[(&str, &str)]) -> Cache {
    let region = Region::anonymous(64 << 20, &RegionOptions::default()).expect("a region");
    region.enter(None).expect("a slot");
    let cache = Cache::new(Arc::new(region));
    let policy = Policy::default();
    let decision = cache.decide(&ask(&BROWSER), &policy, Turn::First, NOW);
    let Decision::Fetch(mut fetch) = decision else {
        panic!("{decision:?}")
    };
    let fields = response.to_vec();
    let response = Response {
        status: 200,
        store: &fields,
        received: &fields,
        content_length: Some(1024),
        request_time: NOW,
        wall: NOW,
        origin: b"",
        from_failure: None,
        withheld: None,
        own_redirect: false,
        kept: None,
    };
    fetch.header(&response, &BROWSER, &policy, NOW);
    fetch.write(&[b'x'; 1024]).expect("it may be stored");
    fetch.end(NOW);
    cache
}

fn ask(fields: &dyn Fields) -> Request<'_> {
    Request::new(&http::Method::GET, KEY, fields)
}

/// Measures decisions at `seconds` after the response was stored, and says what they allocate.
fn measure(c: &mut Criterion, name: &str, response: &[(&str, &str)], seconds: u64) {
    let cache = cache_with(response);
    let policy = Policy::default();
    let decide = || {
        cache.decide(
            black_box(&ask(&BROWSER)),
            &policy,
            Turn::First,
            NOW + seconds * 1000,
        )
    };
    // The first may win the claim to refresh; it is kept, so that the others find it taken.
    let first = decide();
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..1000 {
        drop(black_box(decide()));
    }
    let per_thousand = ALLOCATIONS.load(Relaxed) - before;
    println!(
        "{name}: {per_thousand} allocations in 1,000 decisions ({})",
        kind(&first)
    );
    c.bench_function(name, |b| b.iter(|| drop(black_box(decide()))));
    drop(first);
}

fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::Serve(serve) => serve.status.as_str(),
        _ => "not served",
    }
}

const PLAIN: [(&str, &str); 4] = [
    ("Content-Type", "text/html"),
    ("Cache-Control", "max-age=60, stale-while-revalidate=300"),
    ("ETag", "\"v1\""),
    ("Server", "origin"),
];

const VARYING: [(&str, &str); 3] = [
    ("Content-Type", "text/html"),
    ("Cache-Control", "max-age=60, stale-while-revalidate=300"),
    ("Vary", "Accept-Encoding"),
];

/// What `swr_cache_query` adds to a request: the budget is 100 ns for five parameters.
fn queries(c: &mut Criterion) {
    const TARGET: &[u8] =
        b"/some/path/to/a/page.html?page=2&sort=price&utm_source=newsletter&color=red&gclid=EAIaIQ";
    const SORTED: &[u8] =
        b"/some/path/to/a/page.html?color=red&page=2&per_page=50&q=shoes&sort=price";
    for (words, target) in [
        (&["as-is"][..], TARGET),
        (&["drop", "tracking"], SORTED),
        (&["drop", "tracking"], TARGET),
        (&["keep", "page", "sort", "color"], TARGET),
        (&["sort"], SORTED),
        (&["sort", "drop", "tracking"], TARGET),
    ] {
        let mut block = Directives::default();
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        block.add("query", &bytes).expect("a directive");
        let query = block.policy().query;
        let before = ALLOCATIONS.load(Relaxed);
        drop(black_box(query.of_target(black_box(target))));
        let made = ALLOCATIONS.load(Relaxed) - before;
        let changes = query.of_target(target) != target;
        let name = format!("query {} (changes it: {changes})", words.join(" "));
        println!("{name}: {made} allocations");
        c.bench_function(&name, |b| {
            b.iter(|| drop(black_box(query.of_target(black_box(target)))));
        });
    }
}

fn benches(c: &mut Criterion) {
    measure(c, "hit", &PLAIN, 1);
    measure(c, "hit with Vary: Accept-Encoding", &VARYING, 1);
    measure(c, "updating, refresh under way", &PLAIN, 61);
}

criterion_group!(engine, benches, queries);
criterion_main!(engine);
