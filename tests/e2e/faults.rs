//! An origin that fails, in every way: with a stale copy in its window the client sees a clean 200 and nothing stored
//! is harmed; without one it sees what nginx alone would send, and nothing broken is ever stored.

use std::time::Duration;

use crate::support::*;

const SIE: &str = "max-age=60, stale-if-error=86400";
const SWR: &str = "max-age=60, stale-while-revalidate=600, stale-if-error=86400";

fn body() -> String {
    "0123456789".repeat(2_000)
}

/// Each fault, by name; all of them would be cacheable if they came whole.
fn faults() -> Vec<(&'static str, Reply)> {
    let whole = || Reply::cached("max-age=60", body());
    vec![
        ("/cut-head", whole().cut_head()),
        ("/reset-head", whole().cut_head().with_reset()),
        ("/cut-body", whole().cut_body(9_000)),
        ("/reset-body", whole().cut_body(9_000).with_reset()),
        ("/cut-chunked", whole().chunked().cut_body(9_000)),
        ("/no-body", whole().cut_body(0)),
        (
            "/bad-chunk",
            Reply::raw(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ),
        ),
        (
            "/garbage",
            Reply::raw("HTTP/1.1 200 OK\r\nno\0field\r\n\r\nbody"),
        ),
        ("/nothing", Reply::raw("")),
        ("/silent", Reply::silence()),
        ("/500", Reply::new(500).body("bad")),
        ("/502", Reply::new(502).body("bad")),
        ("/503", Reply::new(503).body("bad")),
        ("/504", Reply::new(504).body("bad")),
    ]
}

fn conf(origin: &Origin) -> Conf {
    Conf::caching_with(
        origin,
        "proxy_read_timeout 1s; swr_cache_refresh_backoff 60s 60s;",
    )
}

/// Inside stale-if-error only: the request waits, the origin fails, the stale copy is the answer, whole and clean.
#[test]
fn faults_with_a_stale_copy() {
    let origin = Origin::start();
    let nginx = conf(&origin).start();
    for (path, fault) in faults() {
        origin.script(path, [Reply::aged(100, SIE, "good"), fault]);
        nginx.get(path).is(200, "MISS", "good");
        let response = nginx.client().try_request("GET", path, &[]);
        assert_eq!(
            (
                response.status,
                response.cache(),
                response.text().as_str(),
                response.broken.as_deref()
            ),
            (200, "STALE", "good", None),
            "{path}: {response:?}"
        );
        nginx.get(path).is(200, "STALE", "good");
    }
}

/// Inside stale-while-revalidate: nobody sees anything of it, and the entry stays as it was.
#[test]
fn faults_of_a_refresh() {
    let origin = Origin::start();
    let nginx = conf(&origin).start();
    for (path, fault) in faults() {
        origin.script(path, [Reply::aged(100, SWR, "good"), fault]);
        nginx.get(path).is(200, "MISS", "good");
        nginx.get(path).is(200, "UPDATING", "good").at_once();
        origin.await_hits(path, 2);
    }
    for (path, _) in faults() {
        for _ in 0..3 {
            let response = nginx.get(path);
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "good"),
                "{path}: {response:?}"
            );
        }
        assert_eq!(origin.hits(path), 2, "{path}: the back-off holds");
    }
}

/// Nothing stored: what nginx alone would send, status and brokenness alike; and the next request finds nothing.
#[test]
fn faults_without_a_copy() {
    let origin = Origin::start();
    let nginx = conf(&origin).start();
    let plain = Conf::new()
        .plain()
        .location(
            "/",
            &format!("proxy_pass http://{}; proxy_read_timeout 1s;", origin.addr),
        )
        .start();
    for (path, fault) in faults() {
        origin.on(path, fault);
        let ask = |nginx: &Nginx| {
            let mut client = nginx.client();
            client.send("GET", path, &[]);
            client.try_receive("GET")
        };
        let (with, without) = (ask(&nginx), ask(&plain));
        // To break off before the first byte of the body is the same with a head as without one.
        let seen = |r: &Option<Response>| {
            let r = r
                .as_ref()
                .filter(|r| r.broken.is_none() || !r.body.is_empty())?;
            Some((r.status, r.broken.is_some()))
        };
        assert_eq!(
            seen(&with),
            seen(&without),
            "{path}: {with:?}, nginx alone: {without:?}"
        );

        origin.on(path, Reply::cached("max-age=60", "well again"));
        nginx.get(path).is(200, "MISS", "well again");
        nginx.get(path).is(200, "HIT", "well again");
    }
}

#[test]
fn faults_refused_with_and_without_a_copy() {
    let origin = Origin::start();
    origin.on("/sie", Reply::aged(100, SIE, "good"));
    origin.on("/swr", Reply::aged(100, SWR, "good"));
    let nginx = conf(&origin).start();
    nginx.get("/sie");
    nginx.get("/swr");
    origin.stop();
    nginx.get("/sie").is(200, "STALE", "good");
    nginx.get("/swr").is(200, "UPDATING", "good");
    let response = nginx.get("/none");
    assert_eq!(response.status, 502);
    origin.resume();
    assert_eq!(nginx.get("/none").status, 404);
}

/// Waiters of a fill that breaks see it break; none of them sees a short body as whole.
#[test]
fn faults_break_for_waiters_too() {
    let origin = Origin::start();
    let nginx = conf(&origin).workers(2).start();
    let whole = Reply::cached("max-age=60", body()).cut_body(9_000);
    for (path, reply) in [("/length", whole.clone()), ("/chunked", whole.chunked())] {
        let gate = Gate::closed();
        origin.on(path, reply.hold_body(5_000, &gate));
        let mut clients: Vec<_> = (0..4).map(|_| nginx.client()).collect();
        clients
            .iter_mut()
            .for_each(|client| client.send("GET", path, &[]));
        origin.await_hits(path, 1);
        gate.open();
        for client in &mut clients {
            let response = client.receive("GET");
            assert!(
                response.status != 200 || response.broken.is_some(),
                "{path}: {response:?}"
            );
        }
    }
}

#[test]
fn faults_slow_drip_is_patient() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "slow but sure").drip(Duration::from_millis(20)),
    );
    let nginx = conf(&origin).start();
    nginx.get("/").is(200, "MISS", "slow but sure");
    nginx.get("/").is(200, "HIT", "slow but sure");
}

/// A zone that is full, or too small for anything, is never an error.
#[test]
fn faults_full_zone() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::cached("max-age=60", r.target.repeat(3_000)));
    let nginx = Conf::new()
        .http("swr_cache_zone zone=main:2m;")
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .start();
    for round in 0..300 {
        let target = format!("/?{round:03}");
        let response = nginx.get(&target);
        assert_eq!(
            (response.status, response.text()),
            (200, target.repeat(3_000))
        );
    }
    let last = nginx.get("/?299");
    assert_eq!((last.status, last.text()), (200, "/?299".repeat(3_000)));
}

/// Headers beyond any limit: passed on, as nginx alone would.
#[test]
fn faults_large_headers_pass() {
    let origin = Origin::start();
    let mut reply = Reply::cached("max-age=60", "x");
    for number in 0..200 {
        reply = reply.header(&format!("X-{number}"), &"v".repeat(100));
    }
    origin.on("/", reply);
    let nginx = Conf::caching_with(&origin, "proxy_buffer_size 64k; proxy_buffers 8 64k;").start();
    for _ in 0..3 {
        let response = nginx.get("/");
        assert_eq!(
            (
                response.status,
                response.text().as_str(),
                response.header("X-199").is_some()
            ),
            (200, "x", true)
        );
    }
}

/// Clients that leave at any moment harm nothing.
#[test]
fn faults_clients_leave() {
    let origin = Origin::start();
    let (head, rest) = (Gate::closed(), Gate::closed());
    origin.on(
        "/",
        Reply::cached("max-age=60", body())
            .hold(&head)
            .hold_body(5_000, &rest),
    );
    let nginx = conf(&origin).start();
    let mut clients: Vec<_> = (0..10).map(|_| nginx.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET", "/", &[]));
    origin.await_hits("/", 1);
    clients.truncate(6);
    head.open();
    for client in &mut clients {
        client.receive_head();
    }
    clients.truncate(3);
    rest.open();
    drop(clients);
    nginx.await_status("/", "HIT").is(200, "HIT", &body());
    assert_eq!(origin.hits("/"), 1);
}
