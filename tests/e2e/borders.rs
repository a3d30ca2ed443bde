//! The border to nginx: what its other modules, its timers and its shutdown make of a cache in the middle.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300";

fn pass(origin: &Origin) -> String {
    format!("proxy_pass http://{};", origin.addr)
}

/// Reads a body to its end, `slowly` at first; gives how much came and why no more did.
fn read_all(client: &mut Client, slowly: Duration) -> (u64, Option<String>) {
    let mut got = 0;
    let response = client.receive_into("GET", &mut |piece| {
        if got == 0 {
            thread::sleep(slowly);
        }
        got += piece.len() as u64;
    });
    (got, response.broken)
}

/// The fetch behind a relay ends with its client, in the middle of what the origin sends, and the worker lives on.
#[test]
fn a_client_leaves_its_relay() {
    let origin = Origin::start();
    let gate = Gate::closed();
    for path in ["/1", "/2", "/unbuffered"] {
        let reply = Reply::cached("no-store", "").huge(1 << 20);
        origin.on(path, reply.hold_body(100_000, &gate));
    }
    let nginx = Conf::caching(&origin)
        .location(
            "/unbuffered",
            &format!("swr_cache main; proxy_buffering off; {}", pass(&origin)),
        )
        .start();
    let workers = nginx.workers();
    for path in ["/1", "/2", "/unbuffered"] {
        let mut client = nginx.client();
        client.send("GET", path, &[]);
        client.receive_head();
        drop(client);
    }
    origin.on("/", Reply::cached("max-age=60", "here"));
    nginx.get("/").is(200, "MISS", "here");
    gate.open();
    nginx.get("/").is(200, "HIT", "here");
    assert_eq!(nginx.workers(), workers);
}

/// nginx notes a charset apart from the type that names it.
#[test]
fn a_charset_comes_once() {
    let origin = Origin::start();
    let named = Reply::cached("max-age=60", "ä").header("Content-Type", "text/html; charset=utf-8");
    origin.on("/", named);
    let nginx = Conf::caching(&origin).start();
    for status in ["MISS", "HIT"] {
        let response = nginx.get("/");
        response.is(200, status, "ä");
        assert_eq!(
            response.all("Content-Type"),
            ["text/html; charset=utf-8"],
            "{status}"
        );
    }
}

/// The charset filter converts what it delivers, stored or not.
#[test]
fn a_charset_is_converted() {
    let origin = Origin::start();
    let named = Reply::cached("max-age=60", "п").header("Content-Type", "text/html; charset=utf-8");
    origin.on("/", named);
    let nginx = Conf::caching(&origin)
        .http("charset_map koi8-r utf-8 { D0 D0BF; }")
        .server("charset koi8-r; override_charset on;")
        .start();
    for _ in 0..2 {
        let response = nginx.get("/");
        assert_eq!(
            response.header("Content-Type"),
            Some("text/html; charset=koi8-r")
        );
        assert_eq!(response.body, [0xD0]);
    }
}

/// A request of the cache's own asks the origin for what the client asked for, byte for byte.
#[test]
fn an_unescaped_path_stays_as_it_is() {
    let origin = Origin::start();
    origin.on("/there/ä{", Reply::cached("max-age=60", "x"));
    let nginx = Conf::new()
        .zone()
        .location(
            "/here/",
            &format!("swr_cache main; proxy_pass http://{}/there/;", origin.addr),
        )
        .start();
    nginx.get("/here/ä{").is(200, "MISS", "x");
}

/// limit_req counts a request once, however often it is redirected inside.
#[test]
fn limits_count_once() {
    let origin = Origin::start();
    origin.on("/", Reply::ok("").header("X-Accel-Redirect", "/inside"));
    origin.on("/inside", Reply::cached("max-age=60", "inside"));
    let limited = format!("limit_req zone=once; {}", pass(&origin));
    let nginx = Conf::new()
        .zone()
        .http("limit_req_zone $binary_remote_addr zone=once:1m rate=1r/m;")
        .location("/", &format!("swr_cache main; {limited}"))
        .location("= /inside", &format!("internal; {limited}"))
        .start();
    assert_eq!((nginx.get("/").status, origin.hits("/inside")), (200, 1));
}

/// A location that asks for parts by itself gives whole responses, as without the cache.
#[test]
fn slices_make_a_whole() {
    let origin = Origin::start();
    let whole: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
    let body = whole.clone();
    origin.handle("/", move |r| {
        let range = r.header("Range").and_then(|r| r.strip_prefix("bytes="));
        let (from, to) = range.and_then(|r| r.split_once('-')).expect("a range");
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        let to = to.min(body.len() - 1);
        Reply::new(206)
            .body(&body[from..=to])
            .header("ETag", "\"e\"")
            .header("Cache-Control", "max-age=60")
            .header(
                "Content-Range",
                &format!("bytes {from}-{to}/{}", body.len()),
            )
    });
    let nginx =
        Conf::caching_with(&origin, "slice 1k; proxy_set_header Range $slice_range;").start();
    for _ in 0..3 {
        let response = nginx.get("/");
        assert_eq!((response.status, response.body == whole), (200, true));
    }
}

/// `try_files` chooses the location whose access rules count, for a hit as for a miss.
#[test]
fn try_files_leads_to_the_rules_that_count() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "guarded"));
    let nginx = Conf::new()
        .zone()
        .server("swr_cache main; set_real_ip_from 127.0.0.1; real_ip_header X-Ip;")
        .location("/", "try_files /nothing @app;")
        .location(
            "@app",
            &format!("deny 10.0.0.2; allow all; {}", pass(&origin)),
        )
        .start();
    let ask = |ip| nginx.get_with("/", &[("X-Ip", ip)]).status;
    assert_eq!(
        (ask("10.0.0.2"), ask("10.0.0.1"), ask("10.0.0.2")),
        (403, 200, 403)
    );
    nginx.get("/").is(200, "HIT", "guarded");
}

/// A mirror is for requests, not for fetches.
#[test]
fn hits_are_mirrored() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    origin.on("/mirror", Reply::ok(""));
    let nginx = Conf::caching_with(&origin, "mirror /mirror;")
        .location("= /mirror", &format!("internal; {}", pass(&origin)))
        .start();
    for _ in 0..3 {
        nginx.get("/");
    }
    origin.await_hits("/mirror", 3);
    assert_eq!(origin.hits("/"), 1);
}

/// `swr_no_cache` may look at the response, as `proxy_no_cache` does.
#[test]
fn no_cache_by_a_field_of_the_response() {
    let origin = Origin::start();
    origin.on("/no", Reply::cached("max-age=60", "x").header("X-No", "1"));
    origin.on("/yes", Reply::cached("max-age=60", "x").header("X-No", "0"));
    let nginx = Conf::caching_with(&origin, "swr_no_cache $upstream_http_x_no;").start();
    for (path, second) in [("/no", "MISS"), ("/yes", "HIT")] {
        nginx.get(path).is(200, "MISS", "x");
        nginx.get(path).is(200, second, "x");
    }
}

/// A refresh that `swr_no_cache` refuses by its response is over, entry and all: not one refresh a request.
#[test]
fn no_cache_by_a_field_of_the_response_to_a_refresh() {
    let origin = Origin::start();
    let stale = "max-age=60, stale-while-revalidate=600";
    let no = Reply::cached(stale, "new").header("X-No", "1");
    origin.script("/", [Reply::aged(100, stale, "old"), no]);
    let nginx = Conf::caching_with(&origin, "swr_no_cache $upstream_http_x_no;").start();
    nginx.get("/").is(200, "MISS", "old");
    nginx.get("/").is(200, "UPDATING", "old");
    nginx.await_status("/", "MISS").is(200, "MISS", "new");
    assert_eq!(nginx.get("/").header("X-Reason"), Some("hit-for-miss"));
}

/// A refresh begins behind the visitor's answer, and does not go by what that has computed of the stored response.
#[test]
fn no_cache_by_what_the_answer_of_a_visitor_has_computed() {
    let origin = Origin::start();
    let stale = "max-age=60, stale-while-revalidate=600";
    let no = Reply::cached(stale, "new").header("X-No", "1");
    origin.script("/", [Reply::aged(100, stale, "old"), no]);
    let nginx = Conf::caching_with(
        &origin,
        "swr_no_cache $no; add_header X-Is $no; add_header X-Cache $swr_cache_status;",
    )
    .http("map $upstream_http_x_no $no { default 0; 1 1; }")
    .start();
    nginx.get("/").is(200, "MISS", "old");
    let response = nginx.get("/");
    assert_eq!(response.header("X-Is"), Some("0"));
    response.is(200, "UPDATING", "old");
    let response = nginx.await_status("/", "MISS");
    assert_eq!(response.header("X-Is"), Some("1"));
    response.is(200, "MISS", "new");
}

/// The end of a fetch is not the end of its client's connection.
#[test]
fn lingering_stays_with_the_client() {
    let origin = Origin::start();
    for path in ["/1", "/2"] {
        origin.on(path, Reply::cached("max-age=60", "x"));
    }
    for tls in [false, true] {
        let conf = Conf::caching(&origin).server("lingering_close always;");
        let nginx = if tls { conf.tls() } else { conf }.start();
        let mut client = nginx.client();
        for (path, status) in [("/1", "MISS"), ("/2", "MISS"), ("/1", "HIT"), ("/2", "HIT")] {
            client.get(path).is(200, status, "x");
        }
    }
}

/// A file that nginx opened for direct reads.
#[test]
fn direct_files() {
    let nginx = Conf::new()
        .zone()
        .location("/", "swr_cache main; swr_cache_valid 1m; directio 512;")
        .start();
    let body: Vec<u8> = (0..100_001u32).map(|i| (i % 251) as u8).collect();
    std::fs::create_dir(nginx.dir().join("html")).expect("a folder");
    std::fs::write(nginx.dir().join("html/f"), &body).expect("a file");
    for status in ["MISS", "HIT"] {
        let response = nginx.get("/f");
        assert_eq!(
            (response.cache(), response.body == body),
            (status, true),
            "{:?}",
            response.broken
        );
    }
}

/// What a refresh leaves out, a variable that the client's request has looked at does not bring back.
#[test]
fn a_refresh_sends_no_credentials_by_variables() {
    let origin = Origin::start();
    let replies = [
        Reply::aged(100, WINDOWS, "old"),
        Reply::cached(WINDOWS, "new"),
    ];
    origin.script("/", replies);
    let lines = "if ($http_cookie ~ none) { return 403; } if ($cookie_id = none) { return 403; } \
                 proxy_set_header Cookie $http_cookie; proxy_set_header X-Id $cookie_id;";
    let nginx = Conf::caching_with(&origin, lines).start();
    nginx.get("/").is(200, "MISS", "old");
    nginx
        .get_with("/", &[("Cookie", "id=secret")])
        .is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
    let refresh = origin.last("/");
    assert_eq!(
        (refresh.header("Cookie"), refresh.header("X-Id")),
        (None, None)
    );
}

/// A client that is held back by `limit_rate` is not one that takes nothing.
#[test]
fn a_slow_relay_outlasts_send_timeout() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("no-store", "").huge(500_000));
    let nginx = Conf::caching_with(
        &origin,
        "proxy_max_temp_file_size 0; send_timeout 100ms; limit_rate 100k; limit_rate_after 200k;",
    )
    .start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    assert_eq!(read_all(&mut client, Duration::ZERO), (500_000, None));
}

/// A pause of the origin is not one of its client: `send_timeout` counts only while the client takes nothing.
#[test]
fn a_pause_of_the_origin_is_no_send_timeout() {
    const HALF: u64 = 12 << 20;
    let origin = Origin::start();
    let nginx = Conf::new()
        .http("swr_cache_zone zone=main:64m max_object=32m;")
        .server("send_timeout 1s;")
        .location(
            "/",
            &format!("swr_cache main; proxy_buffering off; {}", pass(&origin)),
        )
        .start();
    for (path, control) in [("/stored", "max-age=60"), ("/relayed", "no-store")] {
        let gate = Gate::closed();
        let reply = Reply::cached(control, "").huge(2 * HALF);
        origin.on(path, reply.hold_body(HALF as usize, &gate));
        let mut client = nginx.client();
        client.send("GET", path, &[]);
        let mut got = 0;
        let response = client.receive_into("GET", &mut |piece| {
            let before = got;
            got += piece.len() as u64;
            if before == 0 {
                // nginx has to wait for the client, then for the origin, then for the client.
                thread::sleep(Duration::from_millis(500));
            }
            if before < HALF && got >= HALF {
                thread::sleep(Duration::from_millis(1500));
                gate.open();
                thread::sleep(Duration::from_millis(500));
            }
        });
        assert_eq!((got, response.broken), (2 * HALF, None), "{path}");
    }
}

/// An include that is not stored, and a client that is slow to take it.
#[test]
fn a_large_include_reaches_a_slow_client() {
    const LARGE: u64 = 24 << 20;
    let origin = Origin::start();
    let page = "<!--#include virtual=\"/large\" -->END";
    origin.on(
        "/",
        Reply::cached("max-age=60", page).header("Content-Type", "text/html"),
    );
    origin.on("/large", Reply::cached("no-store", "").huge(LARGE));
    let nginx = Conf::caching_with(&origin, "ssi on;").start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    let slowly = Duration::from_millis(500);
    assert_eq!(read_all(&mut client, slowly), (LARGE + 3, None));
}

/// An include whose end comes by itself: it ends nothing but the include.
#[test]
fn an_include_of_unknown_length() {
    let origin = Origin::start();
    let page = "<!--#include virtual=\"/part\" -->END";
    origin.on(
        "/",
        Reply::cached("max-age=60", page).header("Content-Type", "text/html"),
    );
    let gate = Gate::closed();
    let part = Reply::cached("no-store", "part").until_close();
    origin.on("/part", part.hold_body(4, &gate));
    let nginx = Conf::caching_with(&origin, "ssi on; proxy_buffering off;").start();
    thread::scope(|scope| {
        let page = scope.spawn(|| nginx.get("/").text());
        origin.await_hits("/part", 1);
        thread::sleep(Duration::from_millis(100));
        gate.open();
        assert_eq!(page.join().expect("the page"), "partEND");
    });
}

/// The path of an include, decoded, is not taken for a path with arguments.
#[test]
fn an_include_has_a_key_of_its_own() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "<!--#include virtual=\"/a%3Fb\" -->")
            .header("Content-Type", "text/html"),
    );
    origin.on("/a%3Fb", Reply::cached("max-age=60", "path"));
    origin.on("/a", Reply::cached("max-age=60", "arguments"));
    let nginx = Conf::new()
        .zone()
        .location(
            "/",
            &format!(
                "ssi on; swr_cache main; proxy_pass http://{}/;",
                origin.addr
            ),
        )
        .start();
    assert_eq!(nginx.get("/").text(), "path");
    nginx.get("/a?b").is(200, "MISS", "arguments");
}

/// A filter that converts in place does not convert what is stored.
#[test]
fn what_is_stored_is_not_written_to() {
    let origin = Origin::start();
    let named = Reply::cached("max-age=60", [0xEF, 0xEF])
        .header("Content-Type", "text/html; charset=windows-1251");
    origin.on("/", named);
    let nginx = Conf::caching(&origin)
        .http("charset_map koi8-r windows-1251 { D0 EF; }")
        .server("charset koi8-r; override_charset on;")
        .start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").body, [0xD0, 0xD0]);
    }
}

/// `worker_shutdown_timeout` holds for fetches too.
#[test]
fn shutdown_waits_no_longer_than_it_may() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let reply = Reply::cached("max-age=60", "").huge(200_000);
    origin.on("/", reply.hold_body(100_000, &gate));
    for ignore in ["on", "off"] {
        let nginx = Conf::caching_with(&origin, &format!("proxy_ignore_client_abort {ignore};"))
            .main("worker_shutdown_timeout 300ms;")
            .start();
        let mut client = nginx.client();
        client.send("GET", "/", &[]);
        client.receive_head();
        let asked = Instant::now();
        nginx.quit();
        assert!(
            asked.elapsed() < PATIENCE / 3,
            "{ignore}: {:?}",
            asked.elapsed()
        );
    }
}

/// A worker that is to end waits for its clients, whichever worker fetches what they read.
#[test]
fn a_reload_leaves_readers_their_worker() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let reply = Reply::cached("max-age=60", "").huge(200_000);
    origin.on("/", reply.hold_body(100_000, &gate));
    let nginx = Conf::caching_with(&origin, "swr_cache_lock_timeout 100ms;")
        .location("= /pid", "return 200 $pid;")
        .workers(4)
        .start();
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = nginx.client();
        client.get("/pid");
        client.send("GET", "/", &[]);
        client.receive_head();
        clients.push(client);
    }
    nginx.reload();
    thread::sleep(Duration::from_millis(1500));
    gate.open();
    for client in &mut clients {
        let mut got = 0;
        loop {
            match client.one_byte() {
                Ok(_) => got += 1,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
                Err(e) => panic!("after {got} bytes: {e}"),
            }
            if got == 200_000 {
                break;
            }
        }
        assert_eq!(got, 200_000);
    }
}
