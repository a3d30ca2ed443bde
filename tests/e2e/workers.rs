//! Several workers, their deaths, reloads and the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300";

#[test]
fn workers_share_entries() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let nginx = Conf::caching(&origin).workers(4).start();
    nginx.get("/");
    for response in at_once(nginx.addr, 100, "/", &[]) {
        response.is(200, "HIT", "x");
    }
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn workers_killed_entries_stay() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let nginx = Conf::caching(&origin)
        .workers(2)
        .allow("exited on signal 9")
        .start();
    nginx.get("/");
    for _ in 0..3 {
        nginx.kill_worker();
        nginx.get("/").is(200, "HIT", "x");
    }
    assert_eq!(origin.hits("/"), 1);
}

/// A worker dies in the middle of a fill: its claim ends with it, and what it had is never served.
#[test]
fn workers_killed_in_a_fill() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let whole = "0123456789".repeat(10_000);
    origin.script(
        "/",
        [
            Reply::cached("max-age=60", "x".repeat(100_000)).hold_body(50_000, &gate),
            Reply::cached("max-age=60", whole.clone()),
        ],
    );
    let nginx = Conf::caching(&origin).allow("exited on signal 9").start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    assert_eq!(client.receive_head().status, 200);
    nginx.kill_worker();
    let after = nginx.get("/");
    assert_eq!(
        (after.status, after.text()),
        (200, whole.clone()),
        "{:?}",
        after.headers
    );
    nginx.await_status("/", "HIT").is(200, "HIT", &whole);
}

#[test]
fn workers_killed_in_a_refresh() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::aged(100, WINDOWS, "old"),
            Reply::cached(WINDOWS, "lost").hold(&gate),
            Reply::cached(WINDOWS, "new"),
        ],
    );
    let nginx = Conf::caching(&origin).allow("exited on signal 9").start();
    nginx.get("/");
    nginx.get("/").is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
    nginx.kill_worker();
    let killed = Instant::now();
    eventually("the new one", || nginx.get("/").at_once().text() == "new");
    // Its lease is that of `swr_cache_lock_age`, and ends with its process.
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
}

#[test]
fn reload_keeps_entries() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let conf = Conf::caching(&origin);
    let nginx = conf.start();
    nginx.get("/");
    nginx.reload();
    nginx.get("/").is(200, "HIT", "x");
    nginx.rewrite(&conf.http("swr_cache_zone zone=another:8m;"));
    nginx.reload();
    nginx.get("/").is(200, "HIT", "x");
    assert_eq!(origin.hits("/"), 1);
}

/// A zone of another size starts empty; so does one whose options changed, or it keeps its entries, but it works.
#[test]
fn reload_with_another_zone_size() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let location = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let conf = |size| {
        Conf::new()
            .http(&format!("swr_cache_zone zone=main:{size};"))
            .location("/", &location)
    };
    let nginx = conf("16m").start();
    nginx.get("/");
    nginx.rewrite(&conf("24m"));
    nginx.reload();
    nginx.get("/").is(200, "MISS", "x");
    nginx.get("/").is(200, "HIT", "x");
    let log = nginx.log();
    assert!(
        log.contains("\"main\": its size has changed from 16777216 to 25165824 bytes"),
        "{log}"
    );
}

/// No request fails while nginx is reloaded again and again.
#[test]
fn reload_under_load() {
    let origin = Origin::start();
    origin.handle("/", |_| {
        Reply::aged(
            59,
            "max-age=60, stale-while-revalidate=300",
            "x".repeat(5_000),
        )
    });
    origin.on("/no-store", Reply::cached("no-store", "y"));
    let nginx = Conf::caching(&origin).workers(2).start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in ["/", "/", "/no-store"] {
            let (nginx, stop) = (&nginx, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let response = nginx.get(path);
                    assert_eq!(response.status, 200, "{response:?}");
                }
            });
        }
        for _ in 0..5 {
            nginx.reload();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// A reload while a refresh and a fill are on their way: both come to their end.
#[test]
fn reload_in_the_middle_of_fetches() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired(
        "/refresh",
        WINDOWS,
        Reply::cached(WINDOWS, "new").hold(&gate),
    );
    origin.on("/fill", Reply::cached(WINDOWS, "filled").hold(&gate));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/refresh");
    nginx.get("/refresh").is(200, "UPDATING", "old");
    let mut client = nginx.client();
    client.send("GET", "/fill", &[]);
    origin.await_hits("/fill", 1);
    origin.await_hits("/refresh", 2);
    nginx.reload();
    gate.open();
    client.receive("GET").is(200, "MISS", "filled");
    nginx.await_status("/refresh", "HIT").is(200, "HIT", "new");
    nginx.await_status("/fill", "HIT").is(200, "HIT", "filled");
}

/// A graceful end waits for the client that is served, and for nothing else for ever.
#[test]
fn quit_in_the_middle_of_a_fill() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Reply::cached(WINDOWS, "to the end").hold(&gate));
    let nginx = Conf::caching(&origin).start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    nginx.ask_to_quit();
    gate.open();
    assert_eq!(client.receive("GET").text(), "to the end");
    nginx.quit();
}

#[test]
fn quit_with_a_refresh_under_way() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let nginx = Conf::caching(&origin)
        .main("worker_shutdown_timeout 1s;")
        .start();
    nginx.get("/");
    nginx.get("/").is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
    // The gate stays closed.
    nginx.quit();
}
