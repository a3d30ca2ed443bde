//! An origin that fails, in every way: with a stale copy in its window the client sees a clean 200 and nothing stored
//! is harmed; without one it sees what nginx alone would send, and nothing broken is ever stored.

use std::io::{Read, Write};
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

/// A record of FastCGI of the first request.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    let head = [1, kind, 0, 1, length[0], length[1], 0, 0];
    [&head, content].concat()
}

/// An origin that announces 20,000 bytes by FastCGI and ends its answer after 9,000, or 100 and 11.
fn short_fastcgi() -> std::net::SocketAddr {
    const STDOUT: u8 = 6;
    const END: u8 = 3;
    let listener = free_listener();
    let addr = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut sent = Vec::new();
            let mut piece = [0; 4096];
            // The empty record of the body ends a request.
            while !sent.ends_with(&record(5, b"")) {
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => sent.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            let control = match sent.windows(6).any(|w| w == b"stored") {
                true => "max-age=60",
                false => "no-store",
            };
            let (announced, length) = match sent.windows(4).any(|w| w == b"tiny") {
                true => (100, 11),
                false => (20_000, 9_000),
            };
            let head = format!(
                "Content-Type: text/html\r\nContent-Length: {announced}\r\nCache-Control: {control}\r\n\r\n"
            );
            let start = [head.as_bytes(), &body().as_bytes()[..length]].concat();
            let answer = [
                record(STDOUT, &start),
                record(STDOUT, b""),
                record(END, &[0; 8]),
            ];
            // nginx may have closed it: the client's side is what is looked at.
            let _ = stream.write_all(&answer.concat());
        }
    });
    addr
}

/// A body that ends early, by whatever protocol and through whatever buffers, looks to clients as it does without a cache, and is
/// never stored as if it were whole.
#[test]
fn faults_bodies_that_end_early() {
    let fastcgi = short_fastcgi();
    let (http, scgi, uwsgi) = (Origin::start(), Origin::start_scgi(), Origin::start_uwsgi());
    let origins = [("proxy", &http), ("scgi", &scgi), ("uwsgi", &uwsgi)];
    let mut passes = vec![("fastcgi", fastcgi)];
    passes.extend(origins.map(|(name, origin)| (name, origin.addr)));
    let mut paths = Vec::new();
    let mut configuration = [
        Conf::new().zone().server("swr_cache main;"),
        Conf::new().plain(),
    ];
    for (name, addr) in passes {
        let parameters = match name {
            "proxy" => "proxy_http_version 1.1;".to_owned(),
            name => [
                "REQUEST_METHOD $request_method",
                "REQUEST_URI $request_uri",
                "CONTENT_LENGTH 0",
            ]
            .map(|pair| format!("{name}_param {pair};"))
            .concat(),
        };
        let scheme = if name == "proxy" { "http://" } else { "" };
        for buffering in ["on", "off"] {
            for gzip in ["on", "off"] {
                let place = format!("/{name}/{buffering}/{gzip}/");
                let lines = format!(
                    "{parameters} {name}_pass {scheme}{addr}; {name}_buffering {buffering}; gzip {gzip};"
                );
                configuration = configuration.map(|conf| conf.location(&place, &lines));
                let ends = ["stored", "relayed", "tiny-stored", "tiny-relayed"];
                paths.extend(ends.map(|end| format!("{place}{end}")));
            }
        }
    }
    for (_, origin) in origins {
        for path in &paths {
            let control = if path.ends_with("stored") {
                "max-age=60"
            } else {
                "no-store"
            };
            let (length, cut) = match path.contains("tiny") {
                true => (100, 11),
                false => (20_000, 9_000),
            };
            let reply = Reply::cached(control, &body().as_bytes()[..length]);
            origin.on(
                path,
                reply.header("Content-Type", "text/html").cut_body(cut),
            );
        }
    }
    let [cached, alone] = configuration.map(|conf| conf.start());
    let broken = |nginx: &Nginx, path: &str| {
        let fields = [("Accept-Encoding", "gzip")];
        let response = nginx.client().try_request("GET", path, &fields);
        (
            response.broken.is_some(),
            response.header("X-Cache") == Some("HIT"),
        )
    };
    let mut shown_alone = 0;
    for path in &paths {
        let (wanted, _) = broken(&alone, path);
        shown_alone += usize::from(wanted);
        for _ in 0..2 {
            let (seen, is_hit) = broken(&cached, path);
            assert!(seen || !wanted, "{path} looks whole");
            assert!(!is_hit, "{path} is stored");
        }
    }
    assert!(
        shown_alone > paths.len() / 2,
        "{shown_alone} are cut without a cache"
    );
}
