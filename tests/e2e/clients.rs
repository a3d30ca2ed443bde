//! Clients of every kind: HTTP/1.0, keep-alive, pipelining, TLS, HTTP/2.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";

/// What curl got: head and body.
#[track_caller]
pub(crate) fn curl(arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "15"])
        .args(arguments)
        .output()
        .expect("curl runs");
    assert!(
        output.status.success(),
        "curl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn client_http_1_0() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "x".repeat(50_000)).chunked(),
    );
    let nginx = Conf::caching(&origin).start();
    for status in ["MISS", "HIT"] {
        let mut client = nginx.client();
        client.send_raw("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let response = client.receive("GET");
        assert_eq!(response.header("Transfer-Encoding"), None);
        response.is(200, status, &"x".repeat(50_000));
    }
}

#[test]
fn client_keep_alive_and_pipelining() {
    let origin = Origin::start();
    origin.on("/a", Reply::cached("max-age=60", "a"));
    origin.on("/b", Reply::cached("max-age=60", "b"));
    origin.on("/c", Reply::cached("no-store", "c"));
    let nginx = Conf::caching(&origin).start();
    let mut client = nginx.client();
    for _ in 0..10 {
        for path in ["/a", "/b", "/c"] {
            assert_eq!(client.get(path).text(), path[1..]);
        }
    }
    let one = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send_raw(&["/a", "/c", "/b", "/new", "/a"].map(one).concat());
    for (status, body) in [
        (200, "a"),
        (200, "c"),
        (200, "b"),
        (404, "no such route"),
        (200, "a"),
    ] {
        let response = client.receive("GET");
        assert_eq!((response.status, response.text().as_str()), (status, body));
    }
}

#[test]
fn client_tls() {
    let origin = Origin::start();
    let body = "sealed ".repeat(50_000);
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, body.clone()));
    let lines = "proxy_set_header X-Forwarded-Proto $scheme;";
    let nginx = Conf::caching_with(&origin, lines).tls().start();
    let mut client = nginx.client();
    client.get("/").is(200, "MISS", "old");
    client.get("/").is(200, "UPDATING", "old").at_once();
    nginx.await_status("/", "HIT").is(200, "HIT", &body);
    client.get("/").is(200, "HIT", &body);
    // The refresh knows that its client came by TLS.
    assert_eq!(origin.last("/").header("X-Forwarded-Proto"), Some("https"));
}

/// Long bodies are encrypted where they lie, also those that the client does not take at once; the short ones between them share records,
/// and what a filter rewrites goes through nginx's buffer.
#[test]
fn client_tls_takes_long_bodies_late() {
    let origin = Origin::start();
    let body = |length: usize| -> String { (0..length / 8).map(|n| format!("{n:>8}")).collect() };
    let lengths = [100, 70_000, 131_072, 1_500_000, 3_000_000];
    for length in lengths {
        origin.on(
            &format!("/{length}"),
            Reply::cached("max-age=60", body(length)).header("Content-Type", "text/plain"),
        );
    }
    let nginx = [
        ("/sub", "sub_filter_types text/plain; sub_filter 17 xx;"),
        ("/slow", "limit_rate 100k;"),
    ]
    .iter()
    .fold(Conf::caching(&origin).tls(), |conf, (path, lines)| {
        let pass = format!("swr_cache main; proxy_pass http://{}/;", origin.addr);
        conf.location(&format!("{path}/"), &format!("{pass} {lines}"))
    })
    .start();
    for length in lengths {
        nginx.await_status(&format!("/{length}"), "HIT");
    }
    let mut client = nginx.client();
    // More than the connection carries before its client reads.
    let asked: Vec<_> = lengths.iter().cycle().take(25).collect();
    for length in &asked {
        client.send("GET", &format!("/{length}"), &[]);
    }
    thread::sleep(Duration::from_millis(300));
    for length in &asked {
        client.receive("GET").is(200, "HIT", &body(**length));
    }
    for path in ["/sub/131072", "/slow/131072"] {
        nginx.await_status(path, "HIT");
    }
    let rewritten = body(131_072).replacen("17", "xx", 1);
    client.get("/sub/131072").is(200, "HIT", &rewritten);
    let slow = client.get("/slow/131072");
    slow.is(200, "HIT", &body(131_072));
    // What is above the rate of a second comes later.
    assert!(slow.total >= Duration::from_millis(200), "{slow:?}");
    client.get("/100").is(200, "HIT", &body(100));
}

/// The client that caused a refresh is gone, with its TLS session, before the refresh is at its end.
#[test]
fn client_tls_gone_before_its_refresh() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let lines =
        "proxy_set_header X-Cipher $ssl_cipher; proxy_set_header X-Forwarded-Proto $scheme;";
    let nginx = Conf::caching_with(&origin, lines).tls().start();
    nginx.get("/");
    nginx.get("/").is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
    assert!(
        origin
            .last("/")
            .header("X-Cipher")
            .is_some_and(|cipher| !cipher.is_empty())
    );
    gate.open();
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
}

#[test]
fn client_http2() {
    let origin = Origin::start();
    let body = "frame ".repeat(50_000);
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, body.clone()));
    let nginx = Conf::caching(&origin).http2().start();
    let url = format!("http://{}/", nginx.addr);
    let get = |url: &str| curl(&["--http2-prior-knowledge", "-H", "Host: localhost", url]);
    let (head, text) = get(&url);
    assert!(
        head.starts_with("http/2 200") && head.contains("x-cache: miss") && text == "old",
        "{head}"
    );
    let (head, text) = get(&url);
    assert!(
        head.contains("x-cache: updating") && text == "old",
        "{head}"
    );
    eventually("the new one", || get(&url).1 == body);
    let (head, _) = get(&url);
    assert!(
        head.contains("x-cache: hit") && head.contains("\nage: "),
        "{head}"
    );
    let (head, text) = curl(&[
        "--http2-prior-knowledge",
        "-r",
        "6-10",
        "-H",
        "Host: localhost",
        &url,
    ]);
    assert!(head.starts_with("http/2 206") && text == "frame", "{head}");
}

#[test]
fn client_http2_over_tls() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let nginx = Conf::caching(&origin).tls().http2().start();
    let url = format!("https://{}/", nginx.addr);
    let get = || curl(&["--http2", "-k", "-H", "Host: localhost", &url]);
    let (head, text) = get();
    assert!(head.starts_with("http/2 200") && text == "old", "{head}");
    let (head, text) = get();
    assert!(
        head.contains("x-cache: updating") && text == "old",
        "{head}"
    );
    gate.open();
    eventually("the new one", || get().1 == "new");
}

/// Many streams of one connection, for one cold key.
#[test]
fn client_http2_many_streams() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "shared ".repeat(10_000)));
    let nginx = Conf::caching(&origin).http2().start();
    let url = format!("http://{}/", nginx.addr);
    let output = Command::new("nghttp")
        .args(["-n", "-m", "50", "-s", &url])
        .output()
        .expect("nghttp runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.lines().filter(|line| line.contains(" 200 ")).count(),
        50,
        "{text}"
    );
    assert_eq!(origin.hits("/"), 1);
}

/// A gRPC call keeps its trailers: the cache has no part in it, even where it stores the answers to POST.
#[test]
fn client_grpc_trailers() {
    let port = free_port();
    let origin = format!(
        "server {{ listen 127.0.0.1:{port} http2; default_type application/grpc; \
         location / {{ add_trailer grpc-status 0; add_trailer grpc-message fine; \
         add_header Cache-Control max-age=60; return 200 answer; }} }}"
    );
    for methods in [
        "",
        "swr_cache_methods GET HEAD POST; swr_cache_key $uri$request_body;",
    ] {
        let lines = format!("swr_cache main; {methods} grpc_pass grpc://127.0.0.1:{port};");
        let nginx = Conf::new()
            .zone()
            .http(&origin)
            .http2()
            .location("/", &lines)
            .start();
        let url = format!("http://{}/service/Call", nginx.addr);
        let folder = Folder::new();
        let call = folder.0.join("call");
        std::fs::write(&call, "call").expect("a file");
        for _ in 0..2 {
            let output = Command::new("nghttp")
                .args(["-v", "-H", "content-type: application/grpc"])
                .args(["-H", "te: trailers", "-d"])
                .args([&call, std::path::Path::new(&url)])
                .output()
                .expect("nghttp runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            for line in [":status: 200", "grpc-status: 0", "grpc-message: fine"] {
                assert!(said.contains(line), "{methods} {line}: {said}");
            }
            assert!(
                said.contains("answer") && !said.contains("x-cache: HIT"),
                "{said}"
            );
        }
    }
}
