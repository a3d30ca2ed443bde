//! Many threads at once on one key cause one fetch, whichever comes first.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use swrcache::engine::*;
use swrcache::store::{Region, RegionOptions};

use crate::runner::EPOCH;

const THREADS: usize = 8;
const EACH: usize = 125;

const STORED: [(&str, &str); 1] = [("Cache-Control", "max-age=60, stale-while-revalidate=300")];
const NONE: [(&str, &str); 0] = [];

fn cache() -> Cache {
    let region = Region::anonymous(8 << 20, &RegionOptions::default()).expect("a region");
    region.enter(None).expect("a slot");
    Cache::new(Arc::new(region))
}

fn ask(cache: &Cache, turn: Turn, now: u64) -> Decision {
    let request = Request::new(&http::Method::GET, b"key", &NONE);
    cache.decide(&request, &Policy::default(), turn, now)
}

fn store(mut fetch: Box<Fetch>, body: &[u8], now: u64) {
    let response = Response {
        status: 200,
        store: &STORED,
        received: &STORED,
        content_length: None,
        request_time: now,
        wall: now,
        origin: b"",
        from_failure: None,
        withheld: None,
        own_redirect: false,
        kept: None,
    };
    fetch.header(&response, &NONE, &Policy::default(), now);
    fetch.write(body).expect("it may be stored");
    fetch.end(now);
    assert_eq!(fetch.reason(), Reason::Fetched);
}

/// A thousand concurrent requests from eight threads.
fn storm(cache: &Cache, turn: Turn, now: u64) -> Vec<Decision> {
    let decisions = Mutex::new(Vec::new());
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                let mine: Vec<_> = (0..EACH).map(|_| ask(cache, turn, now)).collect();
                decisions.lock().expect("no panic").extend(mine);
            });
        }
    });
    decisions.into_inner().expect("no panic")
}

/// Seed 001: "if 1,000 requests arrive simultaneously for an expired asset, all 1,000 are served from cache immediately and
/// no visitor is blocked"; and the origin sees one.
#[test]
fn a_thousand_at_once_on_an_expired_key() {
    let cache = cache();
    let Decision::Fetch(fetch) = ask(&cache, Turn::First, EPOCH) else {
        panic!("a miss");
    };
    store(fetch, b"one", EPOCH);
    let now = EPOCH + 61_000;
    let mut refreshes = Vec::new();
    for decision in storm(&cache, Turn::First, now) {
        let Decision::Serve(serve) = decision else {
            panic!("blocked: {decision:?}");
        };
        assert_eq!(serve.status, Status::Updating);
        refreshes.extend(serve.refresh);
    }
    assert_eq!(refreshes.len(), 1);
    store(refreshes.remove(0), b"two", now);
    let hits = storm(&cache, Turn::First, now);
    assert!(
        hits.iter()
            .all(|hit| matches!(hit, Decision::Serve(serve) if serve.status == Status::Hit))
    );
    drop(hits);
    cache.region().validate().expect("a sound region");
}

/// On a cold key one request fetches, the others wait, and all of them get its response.
#[test]
fn a_thousand_at_once_on_a_cold_key() {
    let cache = cache();
    let mut fetches = Vec::new();
    let mut waits = 0;
    for decision in storm(&cache, Turn::First, EPOCH) {
        match decision {
            Decision::Fetch(fetch) => fetches.push(fetch),
            Decision::Wait(_) => waits += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((fetches.len(), waits), (1, THREADS * EACH - 1));
    store(fetches.remove(0), b"one", EPOCH + 100);
    for decision in storm(&cache, Turn::Waited, EPOCH + 100) {
        assert!(matches!(decision, Decision::Serve(serve) if serve.collapsed));
    }
    cache.region().validate().expect("a sound region");
}
