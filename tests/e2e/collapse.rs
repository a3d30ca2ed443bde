//! One fetch for many: concurrent misses share a fill, and nobody waits for it longer than it helps.

use crate::support::*;

#[test]
fn collapse_cold_key() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Reply::cached("max-age=60", "one for all").hold(&gate));
    let nginx = Conf::caching(&origin).workers(2).start();
    let responses = std::thread::scope(|scope| {
        let all = scope.spawn(|| at_once(nginx.addr, 50, "/", &[]));
        origin.await_hits("/", 1);
        gate.open();
        all.join().expect("the clients")
    });
    for response in &responses {
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "one for all")
        );
        assert!(matches!(response.cache(), "MISS" | "HIT"), "{response:?}");
    }
    assert!(responses.iter().any(|r| r.cache() == "MISS"));
    assert_eq!(origin.hits("/"), 1);
}

/// Waiters read a fill as it grows; they do not wait for its end.
#[test]
fn collapse_waiters_read_along() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let body = "x".repeat(100_000);
    origin.on(
        "/",
        Reply::cached("max-age=60", body.clone()).hold_body(50_000, &gate),
    );
    let nginx = Conf::caching(&origin).workers(2).start();
    let mut clients: Vec<_> = (0..4).map(|_| nginx.client()).collect();
    for client in &mut clients {
        client.send("GET", "/", &[]);
    }
    let heads: Vec<_> = clients
        .iter_mut()
        .map(|client| (client.receive_head(), client.one_byte()))
        .collect();
    gate.open();
    assert!(
        heads
            .iter()
            .all(|(head, byte)| head.status == 200 && byte.as_ref().ok() == Some(&b'x'))
    );
    nginx.await_status("/", "HIT").is(200, "HIT", &body);
    assert_eq!(origin.hits("/"), 1);
}

/// A chunked body, whose length nobody knows before its end, is collapsed all the same.
#[test]
fn collapse_unknown_length() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let body = "chunk ".repeat(30_000);
    origin.on(
        "/",
        Reply::cached("max-age=60", body.clone())
            .chunked()
            .hold_body(60_000, &gate),
    );
    let nginx = Conf::caching(&origin).start();
    let (mut one, mut two) = (nginx.client(), nginx.client());
    one.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    two.send("GET", "/", &[]);
    gate.open();
    assert_eq!(one.receive("GET").text(), body);
    assert_eq!(two.receive("GET").text(), body);
    nginx.get("/").is(200, "HIT", &body);
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn collapse_lock_off() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Reply::cached("max-age=60", "each its own").hold(&gate));
    let nginx = Conf::caching_with(&origin, "swr_cache_lock off;").start();
    let mut clients: Vec<_> = (0..3).map(|_| nginx.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET", "/", &[]));
    origin.await_hits("/", 3);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive("GET").text(), "each its own");
    }
}

/// Past `swr_cache_lock_timeout` a waiter goes to the origin itself; its answer is not stored, as in nginx.
#[test]
fn collapse_lock_timeout() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::cached("max-age=60", "first").hold(&gate),
            Reply::cached("max-age=60", "second"),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_lock_timeout 200ms;").start();
    let mut first = nginx.client();
    first.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    nginx.get("/").is(200, "MISS", "second");
    gate.open();
    first.receive("GET").is(200, "MISS", "first");
    nginx.get("/").is(200, "HIT", "first");
}

/// Past `swr_cache_lock_age` another request may fill, and the entry is its.
#[test]
fn collapse_lock_age() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::cached("max-age=60", "first").hold(&gate),
            Reply::cached("max-age=60", "second"),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_lock_age 200ms;").start();
    let mut first = nginx.client();
    first.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    assert_eq!(nginx.get("/").text(), "second");
    nginx.get("/").is(200, "HIT", "second");
    gate.open();
    assert_eq!(first.receive("GET").text(), "first");
}

/// The client that led the fetch goes away: the fill goes on for the others and for later.
#[test]
fn collapse_leader_gone() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Reply::cached("max-age=60", "goes on").hold(&gate));
    let nginx = Conf::caching(&origin).start();
    let mut leader = nginx.client();
    leader.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    let mut waiter = nginx.client();
    waiter.send("GET", "/", &[]);
    drop(leader);
    gate.open();
    assert_eq!(waiter.receive("GET").text(), "goes on");
    nginx.get("/").is(200, "HIT", "goes on");
    assert_eq!(origin.hits("/"), 1);
}

/// The same in the middle of the body, with nobody else waiting.
#[test]
fn collapse_leader_gone_mid_body() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let body = "0123456789".repeat(50_000);
    origin.on(
        "/",
        Reply::cached("max-age=60", body.clone()).hold_body(100_000, &gate),
    );
    let nginx = Conf::caching(&origin).start();
    let mut leader = nginx.client();
    leader.send("GET", "/", &[]);
    leader.receive_head();
    drop(leader);
    gate.open();
    nginx.await_status("/", "HIT").is(200, "HIT", &body);
    assert_eq!(origin.hits("/"), 1);
}

/// A client that does not read slows no one: the fill ends, and others have it all.
#[test]
fn collapse_slow_client_slows_no_one() {
    let origin = Origin::start();
    let body = "0123456789".repeat(300_000);
    origin.on("/", Reply::cached("max-age=60", body.clone()));
    let nginx = Conf::caching(&origin).start();
    let mut slow = nginx.client();
    slow.send("GET", "/", &[]);
    slow.receive_head();
    nginx.await_status("/", "HIT").is(200, "HIT", &body);
}

/// Found uncacheable, waiters are released at once and not one after the other.
#[test]
fn collapse_uncacheable_releases_all() {
    let origin = Origin::start();
    let (first, rest) = (Gate::closed(), Gate::closed());
    let no_store = || Reply::cached("no-store", "mine");
    origin.script("/", [no_store().hold(&first), no_store().hold(&rest)]);
    let nginx = Conf::caching(&origin).workers(2).start();
    let mut clients: Vec<_> = (0..8).map(|_| nginx.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET", "/", &[]));
    origin.await_hits("/", 1);
    first.open();
    // All of the others are at the origin at the same time.
    origin.await_hits("/", 8);
    rest.open();
    for client in &mut clients {
        assert_eq!(client.receive("GET").text(), "mine");
    }
}

/// The fill fails: whoever waited is not left alone.
#[test]
fn collapse_failed_fill_releases_waiters() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::ok("x").cut_head().hold(&gate),
            Reply::cached("max-age=60", "fine"),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    let mut leader = nginx.client();
    leader.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    let mut waiter = nginx.client();
    waiter.send("GET", "/", &[]);
    gate.open();
    assert_eq!(leader.receive("GET").status, 502);
    let waited = waiter.receive("GET");
    assert!(matches!(waited.status, 200 | 502), "{waited:?}");
    assert_eq!(nginx.get("/").text(), "fine");
}
