//! The main job: fresh from the cache, then stale at once while a fetch that nobody waits for brings the new one.

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";

/// The status sequence of asynchronous stale-while-revalidate: the first request after expiry gets `UPDATING` at once,
/// all following ones too until the origin responds, then `HIT`.
#[test]
fn cycle_first_request_after_expiry_never_waits() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::aged(100, WINDOWS, "old"),
            Reply::cached(WINDOWS, "new").hold(&gate),
        ],
    );
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
    origin.script(
        "/",
        [
            Reply::aged(100, WINDOWS, "old"),
            Reply::cached(WINDOWS, "new").hold(&gate),
        ],
    );
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
