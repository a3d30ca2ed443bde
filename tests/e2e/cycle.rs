//! The main job: fresh from the cache, then stale at once while a fetch that nobody waits for brings the new one.

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";

/// The status sequence of asynchronous stale-while-revalidate: the first request after expiry gets `UPDATING` at once,
/// all following ones too until the origin responds, then `HIT`.
#[test]
fn cycle_first_request_after_expiry_never_waits() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let nginx = Conf::caching(&origin).start();
    let mut client = nginx.client();

    client.get("/").is(200, "MISS", "old");
    for _ in 0..5 {
        let stale = client.get("/");
        stale.is(200, "UPDATING", "old").at_once();
        assert!(stale.age() >= 100, "{stale:?}");
    }
    origin.await_hits("/", 2);
    client.get("/").is(200, "UPDATING", "old").at_once();
    gate.open();
    let fresh = nginx.await_status("/", "HIT");
    fresh.is(200, "HIT", "new");
    assert!(fresh.age() < 60, "{fresh:?}");
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn cycle_fresh_is_served_without_the_origin() {
    let origin = Origin::start();
    origin.on("/", Reply::cached(WINDOWS, "page").header("X-Own", "kept"));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "page");
    for _ in 0..3 {
        let hit = nginx.get("/");
        hit.is(200, "HIT", "page").at_once();
        assert_eq!(hit.header("X-Own"), Some("kept"));
        assert!(hit.age() < 60);
    }
    assert_eq!(origin.hits("/"), 1);
}

/// 1,000 simultaneous requests for an expired asset: none blocked, one origin request.
#[test]
fn cycle_thousand_at_once_on_an_expired_key() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let nginx = Conf::caching(&origin).workers(2).start();
    nginx.get("/").is(200, "MISS", "old");

    for response in at_once(nginx.addr, 1000, "/", &[]) {
        response.is(200, "UPDATING", "old");
    }
    origin.await_hits("/", 2);
    gate.open();
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    assert_eq!(origin.hits("/"), 2);
}

/// Expiry by the clock, not by `Age`: the whole cycle in real seconds.
#[test]
fn cycle_by_the_clock() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        Reply::cached(
            "max-age=1, stale-while-revalidate=60",
            format!("take {}", r.nth),
        )
    });
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "take 0");
    nginx.get("/").is(200, "HIT", "take 0");
    nginx
        .await_status("/", "UPDATING")
        .is(200, "UPDATING", "take 0");
    nginx.await_status("/", "HIT").is(200, "HIT", "take 1");
}

/// A client's keep-alive connection is not held until the refresh ends, and the next request on it is served at once.
#[test]
fn cycle_same_connection_is_not_held() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    origin.on("/other", Reply::cached(WINDOWS, "other"));
    let nginx = Conf::caching(&origin).http("tcp_nopush on;").start();
    let mut client = nginx.client();
    client.get("/");
    client.get("/").is(200, "UPDATING", "old").at_once();
    client.get("/other").is(200, "MISS", "other").at_once();
    client.get("/").is(200, "UPDATING", "old").at_once();
    gate.open();
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
}

/// A refresh is caused by a request (RFC 5861 §5): no request, no refresh; and one refresh, not one a request.
#[test]
fn cycle_refresh_is_caused_by_a_request() {
    let origin = Origin::start();
    origin.on("/", Reply::aged(100, WINDOWS, "old"));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    assert_eq!(origin.hits("/"), 1);
    nginx.get("/").is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
}

/// Hot entries never go stale: asked for in the last part of its freshness, an entry is refreshed while it is a HIT.
#[test]
fn cycle_refresh_ahead() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::aged(95, "max-age=100", "old"),
            Reply::cached("max-age=100", "new"),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_refresh_ahead 10;").start();
    nginx.get("/").is(200, "MISS", "old");
    nginx.get("/").is(200, "HIT", "old").at_once();
    eventually("the new one", || nginx.get("/").text() == "new");
    assert_eq!(origin.hits("/"), 2);
}

/// Beyond `swr_cache_refresh_max` stale is served and the refresh left to a later request.
#[test]
fn cycle_refresh_max() {
    let origin = Origin::start();
    let gate = Gate::closed();
    for path in ["/1", "/2", "/3"] {
        origin.expired(path, WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    }
    let nginx = Conf::caching_with(&origin, "swr_cache_refresh_max 2;").start();
    for path in ["/1", "/2", "/3"] {
        nginx.get(path);
        nginx.get(path).is(200, "UPDATING", "old").at_once();
    }
    origin.await_hits("/1", 2);
    origin.await_hits("/2", 2);
    assert_eq!(origin.hits("/3"), 1);
    gate.open();
    for path in ["/1", "/2", "/3"] {
        nginx.await_status(path, "HIT").is(200, "HIT", "new");
    }
}

/// The legacy mode: the first request after expiry waits for the origin, the others get stale meanwhile.
#[test]
fn legacy_first_waits_others_do_not() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let nginx = Conf::caching_with(&origin, "swr_cache_background_update off;").start();
    nginx.get("/").is(200, "MISS", "old");
    let mut first = nginx.client();
    first.send("GET", "/", &[]);
    origin.await_hits("/", 2);
    for _ in 0..3 {
        nginx.get("/").is(200, "UPDATING", "old").at_once();
    }
    gate.open();
    first.receive("GET").is(200, "EXPIRED", "new");
    nginx.get("/").is(200, "HIT", "new");
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn legacy_revalidated_by_304() {
    let origin = Origin::start();
    let old = Reply::aged(100, WINDOWS, "same").header("ETag", "\"1\"");
    origin.script(
        "/",
        [
            old,
            Reply::new(304)
                .header("Cache-Control", WINDOWS)
                .header("ETag", "\"1\""),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_background_update off;").start();
    nginx.get("/");
    nginx.get("/").is(200, "REVALIDATED", "same");
    nginx.get("/").is(200, "HIT", "same");
}
