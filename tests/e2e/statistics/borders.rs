//! The statistics and explanations at their borders: in subrequests, for clients that leave, over any version of HTTP, and with keys
//! that hold anything.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::clients::curl;
use crate::support::*;

const EXPLAIN: &str = "/swr?explain=http://localhost/page";

fn conf(origin: &Origin, lines: &str) -> Conf {
    Conf::caching_with(origin, lines).location("/swr", "swr_cache_stats;")
}

/// A subrequest has no connection of its own that could become another's.
#[test]
fn statistics_explain_nothing_in_a_subrequest() {
    let origin = Origin::start();
    let include = format!("<!--#include virtual=\"{EXPLAIN}\" -->");
    origin.on("/page", Reply::cached("max-age=60", "x"));
    origin.on(
        "/ssi",
        Reply::new(200)
            .header("Content-Type", "text/html")
            .body(include),
    );
    let nginx = conf(&origin, "ssi on;")
        .location(
            "/guarded",
            &format!("auth_request /auth; proxy_pass http://{};", origin.addr),
        )
        .location("= /auth", &format!("rewrite ^ {EXPLAIN} last;"))
        .start();
    let worker = nginx.workers();
    assert!(nginx.get("/ssi").text().contains("subrequest"));
    assert_eq!(nginx.get("/guarded").status, 500);
    assert_eq!(nginx.workers(), worker);
}

/// The answer to one subrequest may end its siblings, if the client is gone. nginx learns that only when it sends: the page is a file.
#[test]
fn statistics_for_subrequests_whose_client_is_gone() {
    let page = "x".repeat(8_000) + &"<!--#include virtual=\"/swr\" -->".repeat(4);
    // What is freed no longer looks like anything. A large zone takes several turns.
    let nginx = conf(&Origin::start(), "")
        .env("MALLOC_PERTURB_", "165".into())
        .http("swr_cache_zone zone=large:512m;")
        .location("/pages", "root .; ssi on; ssi_types *;")
        .start();
    fs::create_dir(nginx.dir().join("pages")).expect("a folder");
    fs::write(nginx.dir().join("pages/ssi"), page).expect("a file");
    let worker = nginx.workers();
    for _ in 0..20 {
        let mut gone = TcpStream::connect(nginx.addr).expect("nginx");
        gone.write_all(b"GET /pages/ssi HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("sent");
        gone.read_exact(&mut [0]).expect("a page that begins");
        forget_on_close(&gone).expect("set");
        drop(gone);
        assert_eq!(nginx.get("/swr").status, 200);
    }
    assert_eq!(nginx.workers(), worker);
}

/// Sends a request, and reads until nginx closes the connection.
fn until_closed(nginx: &Nginx, request: &str) -> String {
    let mut wire = TcpStream::connect(nginx.addr).expect("nginx");
    wire.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    wire.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    wire.read_to_string(&mut text)
        .unwrap_or_else(|e| panic!("{request} is not closed: {e}; {text}"));
    text
}

#[test]
fn statistics_explain_over_every_version() {
    let origin = Origin::start();
    let nginx = conf(&origin, "")
        .http("log_format versions '$server_protocol $request_uri'; access_log versions.log versions;")
        .start();
    let old = format!("GET {EXPLAIN} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let said = until_closed(&nginx, &old);
    assert!(said.contains("Connection: close"), "{said}");
    let last = format!("GET {EXPLAIN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    until_closed(&nginx, &last);
    // What is explained may close its connection; the one that asks stays.
    let mut client = nginx.client();
    for _ in 0..2 {
        let there = format!("{EXPLAIN}&header=Connection:close");
        assert_eq!(client.get(&there).status, 200);
    }
    let http2 = conf(&origin, "").http2().start();
    let url = format!("http://{}{EXPLAIN}", http2.addr);
    let (head, text) = curl(&["--http2-prior-knowledge", "-H", "Host: localhost", &url]);
    assert!(
        head.starts_with("http/2 200") && text.contains("\"says\""),
        "{head}{text}"
    );
}

/// The statistics are made for each request: nothing that a client has is still the same.
#[test]
fn statistics_are_never_not_modified() {
    let nginx = conf(&Origin::start(), "").start();
    assert_eq!(
        nginx.get_with("/swr", &[("If-None-Match", "*")]).status,
        200
    );
}

/// A key may hold what a visitor has sent decoded: it must not forge a line.
#[test]
fn statistics_log_keeps_keys_in_their_line() {
    let origin = Origin::start();
    let old = Reply::aged(100, "max-age=60, stale-while-revalidate=600", "old");
    origin.script("/a%0aforged%1b[31m", [old, Reply::new(503)]);
    let nginx = conf(&origin, "swr_cache_key K$uri;").start();
    // Of nginx's own, `add_header` puts the key into the header as it is.
    let request = "GET /a%0aforged%1b[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        until_closed(&nginx, request);
    }
    eventually("the failure is told", || {
        nginx.error_log().contains("\"K/a\\nforged\\u{1b}[31m\"")
    });
    let log = nginx.error_log();
    assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
}

/// Beyond the list of failing entries, they are still counted.
#[test]
fn statistics_count_every_failing_entry() {
    let origin = Origin::start();
    const WINDOW: &str = "max-age=60, stale-while-revalidate=600";
    for i in 0..30 {
        let path = format!("/{i}");
        origin.script(&path, [Reply::aged(100, WINDOW, "old"), Reply::new(503)]);
    }
    let nginx = conf(&origin, "swr_cache_refresh_backoff 1ms 1ms;").start();
    for _ in 0..2 {
        (0..30).for_each(|i| _ = nginx.get(&format!("/{i}")));
    }
    eventually("all are counted", || {
        nginx
            .get("/swr")
            .text()
            .contains("; 30 refreshes failing: ")
    });
}
