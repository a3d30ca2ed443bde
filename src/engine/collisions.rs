//! Keys with equal hashes: what is stored under one is never served for another. (Real collisions can't be made, as the
//! hash has 64 bits and a secret seed. The region here has a hash function that returns the same value for every key.)

use std::sync::Arc;

use super::*;
use crate::store::{Cursor, Region};

const NOW: u64 = 1_700_000_000_000;

struct Colliding {
    cache: Cache,
    policy: Policy,
}

impl Colliding {
    fn new(policy: Policy) -> Colliding {
        let region = Region::colliding(8 << 20);
        region.enter(None).expect("a slot");
        let cache = Cache::new(Arc::new(region));
        Colliding { cache, policy }
    }

    fn ask(&self, key: &str, now: u64) -> Decision {
        let none: [(&str, &str); 0] = [];
        let request = Request::new(&::http::Method::GET, key.as_bytes(), &none);
        self.cache.decide(&request, &self.policy, Turn::First, now)
    }

    fn answer(&self, mut fetch: Box<Fetch>, control: &str, body: &str) {
        let fields = [("Cache-Control", control)];
        let response = Response {
            status: 200,
            store: &fields,
            received: &fields,
            content_length: None,
            request_time: NOW,
            wall: NOW,
            origin: b"",
            from_failure: None,
            withheld: None,
            own_redirect: false,
            kept: None,
        };
        let none: [(&str, &str); 0] = [];
        let order = fetch.header(&response, &none, &self.policy, NOW);
        if fetch.wants() == Wants::Store {
            fetch.write(body.as_bytes()).expect("room");
            fetch.end(NOW);
            assert_eq!(fetch.reason(), Reason::Fetched);
        } else {
            assert_eq!(control, "no-store", "{order:?}");
        }
    }

    /// The stored body, if the key is a hit.
    fn hit(&self, key: &str, now: u64) -> Option<String> {
        let Decision::Serve(serve) = self.ask(key, now) else {
            return None;
        };
        let mut cursor = Cursor::default();
        let body = serve.object.object().read(&mut cursor, usize::MAX);
        Some(String::from_utf8_lossy(body).into_owned())
    }
}

fn fetch(decision: Decision) -> Box<Fetch> {
    match decision {
        Decision::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_key_has_its_own_response_and_its_own_fetch() {
    let all = Colliding::new(Policy::default());
    let keys: Vec<String> = (0..40).map(|n| format!("http://host/{n}")).collect();
    // All at once: no request waits for the fetch of another key.
    let permits: Vec<_> = keys.iter().map(|key| fetch(all.ask(key, NOW))).collect();
    assert!(matches!(all.ask(&keys[0], NOW), Decision::Wait(_)));
    for (key, permit) in keys.iter().zip(permits) {
        all.answer(permit, "max-age=60", key);
    }
    for key in &keys {
        assert_eq!(all.hit(key, NOW).as_deref(), Some(key.as_str()));
    }
    // A prefix of a key is another key.
    for other in ["http://host/", "http://host/1 ", "http://host/01", ""] {
        assert!(matches!(all.ask(other, NOW), Decision::Fetch(_)), "{other}");
    }
    assert_eq!(all.cache.region().remove_key(keys[3].as_bytes()), 1);
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(all.hit(key, NOW).is_some(), n != 3, "{key}");
    }
    all.cache.region().validate().expect("a sound region");
}

#[test]
fn what_is_remembered_of_a_key_is_its_own() {
    let all = Colliding::new(Policy {
        min_uses: 2,
        ..Policy::default()
    });
    let passed = |key, now| match all.ask(key, now) {
        Decision::Pass(pass) => Some(pass.reason),
        _ => None,
    };
    assert_eq!(passed("a", NOW), Some(Passed::MinUses));
    assert_eq!(passed("b", NOW), Some(Passed::MinUses));
    all.answer(fetch(all.ask("a", NOW)), "no-store", "");
    assert_eq!(passed("a", NOW), Some(Passed::HitForMiss));
    all.answer(fetch(all.ask("b", NOW)), "max-age=60", "b");
    assert_eq!(all.hit("b", NOW).as_deref(), Some("b"));
    assert_eq!(passed("a", NOW), Some(Passed::HitForMiss));
    // The refresh of one key does not hold back the others.
    let stale = "max-age=60, stale-while-revalidate=60";
    for key in ["c", "d"] {
        let _ = all.ask(key, NOW);
        all.answer(fetch(all.ask(key, NOW)), stale, key);
    }
    for key in ["c", "d"] {
        match all.ask(key, NOW + 70_000) {
            Decision::Serve(serve) => assert!(serve.refresh.is_some(), "{key}"),
            other => panic!("{other:?}"),
        }
    }
    all.cache.region().validate().expect("a sound region");
}
