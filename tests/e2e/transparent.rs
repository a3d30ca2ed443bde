//! Switched on, the cache changes nothing but speed: what a client, an origin and an operator see is what nginx alone shows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::*;

/// An event that comes at once, before the gate opens, and one behind it.
const EVENT: &str = "data: first\n\n";
const EVENTS: &str = "data: first\n\ndata: second\n\n";

/// nginx in front of `origin`, with a location for each protocol.
fn streaming(pass: &str) -> Nginx {
    Conf::new()
        .zone()
        .http("gzip_min_length 1; gzip_types *;")
        .location("/", &format!("swr_cache main; {pass}"))
        .start()
}

/// Reads the first event of an answer whose end is held back.
#[track_caller]
fn first_event(client: &mut Client, who: &str) {
    let head = client.try_head().unwrap_or_else(|e| panic!("{who}: {e}"));
    assert_eq!(head.status, 200, "{who}");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(EVENT) {
        seen.push(client.one_byte().unwrap_or_else(|e| panic!("{who}: {e}")));
    }
    assert!(head.first < AT_ONCE, "{who}: {:?}", head.first);
}

/// Who leads the fetch, who follows it, and who passes: all get an event when it comes.
#[test]
fn transparent_events_come_at_once() {
    let origin = Origin::start();
    for (path, control) in [("/relayed", "no-cache"), ("/stored", "max-age=60")] {
        for lines in ["", "gzip on;"] {
            let gate = Gate::closed();
            let reply = Reply::cached(control, EVENTS).chunked();
            origin.on(path, reply.hold_body(EVENT.len(), &gate));
            let nginx = streaming(&format!(
                "{lines} proxy_http_version 1.1; proxy_pass http://{};",
                origin.addr
            ));
            let mut clients: Vec<_> = (0..3).map(|_| nginx.client()).collect();
            for (n, client) in clients.iter_mut().enumerate() {
                client.send("GET", path, &[]);
                first_event(client, &format!("{path} {lines} client {n}"));
            }
            gate.open();
        }
    }
}

/// A compressor holds nothing back of it either.
#[test]
fn transparent_events_are_compressed_at_once() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let reply = Reply::cached("no-cache", EVENTS).header("Content-Type", "text/html");
    origin.on("/", reply.chunked().hold_body(EVENT.len(), &gate));
    let nginx = streaming(&format!(
        "gzip on; proxy_http_version 1.1; proxy_pass http://{};",
        origin.addr
    ));
    let mut client = nginx.client();
    client.send("GET", "/", &[("Accept-Encoding", "gzip")]);
    let head = client.receive_head();
    assert_eq!(head.header("Content-Encoding"), Some("gzip"));
    // The length of a chunk, ten bytes of gzip's own, and the event.
    let mut seen = 0;
    let read = client.exactly(4 + 10 + EVENT.len() as u64, &mut |piece| {
        seen += piece.len()
    });
    assert!(read.is_ok(), "{seen} bytes: {read:?}");
    gate.open();
}

/// Where nginx alone does not wait for full buffers, the fetch does not.
#[test]
fn transparent_events_of_other_protocols() {
    let (scgi, uwsgi) = (Origin::start_scgi(), Origin::start_uwsgi());
    let gate = Gate::closed();
    for origin in [&scgi, &uwsgi] {
        let reply = Reply::cached("no-cache", EVENTS).until_close();
        origin.on("/off", reply.clone().hold_body(EVENT.len(), &gate));
        let reply = reply.header("X-Accel-Buffering", "no");
        origin.on("/accel", reply.hold_body(EVENT.len(), &gate));
    }
    for (name, origin) in [("scgi", &scgi), ("uwsgi", &uwsgi)] {
        let parameters = format!(
            "{name}_param REQUEST_METHOD $request_method; {name}_param REQUEST_URI $request_uri; \
             {name}_param CONTENT_LENGTH 0; {name}_pass {};",
            origin.addr
        );
        for (path, lines) in [
            ("/off", format!("{name}_buffering off;")),
            ("/accel", String::new()),
        ] {
            let nginx = streaming(&format!("{lines} {parameters}"));
            for who in ["leads", "passes"] {
                let mut client = nginx.client();
                client.send("GET", path, &[]);
                first_event(&mut client, &format!("{name} {path} {who}"));
            }
        }
    }
    gate.open();
}

/// The header does not wait for the body.
#[test]
fn transparent_a_header_comes_alone() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let reply = Reply::cached("no-cache", EVENTS).chunked();
    origin.on("/", reply.hold_body(0, &gate));
    let nginx = Conf::caching_with(&origin, "proxy_http_version 1.1;").start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    let head = client.receive_head();
    assert!(head.first < AT_ONCE, "{:?}", head.first);
    gate.open();
}

/// A stream that does not end, to a client that does not read: the worker does not grow with it.
#[test]
fn transparent_endless_streams_in_bounded_memory() {
    let origin = Origin::start();
    let event = "data: of some length\n\n";
    let reply = Reply::cached("no-cache", event).huge(1 << 40);
    origin.on("/", reply.chunked());
    let lines = "proxy_http_version 1.1; proxy_max_temp_file_size 0;";
    let nginx = Conf::caching_with(&origin, lines).start();
    nginx.get("/warm-up");
    let worker = nginx.workers()[0];
    let before = Nginx::private_memory(worker);
    let mut clients: Vec<_> = (0..4).map(|_| nginx.client()).collect();
    for client in &mut clients {
        client.send("GET", "/", &[]);
        assert_eq!(client.receive_head().status, 200);
    }
    let mut left = 64 << 20;
    let read = clients[0].exactly(left, &mut |piece| left -= piece.len() as u64);
    assert!(read.is_ok(), "{read:?}");
    let growth = Nginx::private_memory(worker).saturating_sub(before);
    assert!(growth < 8 * 1024, "the worker grew by {growth} KiB");
}

/// An origin that answers without a header has not answered.
#[test]
fn transparent_no_header_is_no_answer() {
    let origin = Origin::start();
    origin.on("/", Reply::raw("hello, I know no HTTP\n"));
    let lines = "swr_cache_valid any 1m;";
    let nginx = Conf::caching_with(&origin, lines).start();
    for _ in 0..2 {
        let response = nginx.get("/");
        assert_eq!((response.status, response.cache()), (502, "MISS"));
    }
    assert_eq!(origin.hits("/"), 2);
}

/// And what is stored stands in for it.
#[test]
fn transparent_stale_instead_of_no_header() {
    let origin = Origin::start();
    let then = Reply::raw("hello, I know no HTTP\n");
    origin.expired("/", "max-age=60, stale-if-error=600", then);
    let nginx = Conf::caching(&origin).start();
    let old = nginx.get("/").text();
    nginx.get("/").is(200, "STALE", &old);
}

/// A part that is there is a whole answer: its connection is free, though the object is still on its way.
#[test]
fn transparent_parts_of_a_growing_object() {
    let origin = Origin::start();
    let body = "0123456789".repeat(1000);
    for (path, control) in [("/stored", "max-age=60"), ("/relayed", "no-store")] {
        let gate = Gate::closed();
        let reply = Reply::cached(control, body.clone()).header("Accept-Ranges", "bytes");
        origin.on(path, reply.hold_body(8000, &gate));
        let lines = "proxy_buffering off; proxy_http_version 1.1;";
        let nginx = Conf::caching_with(&origin, lines).start();
        let mut client = nginx.client();
        client
            .get_with(path, &[("Range", "bytes=0-9")])
            .is(206, "MISS", "0123456789")
            .at_once();
        if path == "/stored" {
            for (range, text) in [("bytes=15-17", "567"), ("bytes=4000-4001", "01")] {
                let part = client.get_with(path, &[("Range", range)]);
                part.is(206, "HIT", text).at_once();
            }
        }
        gate.open();
        let whole = nginx.await_status(path, if path == "/stored" { "HIT" } else { "MISS" });
        assert_eq!(whole.text(), body);
    }
}

/// The connection to the origin survives a HEAD.
#[test]
fn transparent_head_keeps_the_connection_of_the_origin() {
    let origin = Origin::start();
    for path in ["/length", "/chunked"] {
        let reply = Reply::cached("no-store", "x".repeat(10_000));
        origin.on(
            path,
            if path == "/chunked" {
                reply.chunked()
            } else {
                reply
            },
        );
        let nginx = Conf::new()
            .zone()
            .http(&format!(
                "upstream app {{ server {}; keepalive 4; }}",
                origin.addr
            ))
            .location(
                "/",
                "swr_cache main; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app;",
            )
            .start();
        let mut client = nginx.client();
        let head = client.request("HEAD", path, &[]);
        assert_eq!((head.status, head.cache()), (200, "MISS"));
        let (first, mut then) = (origin.last(path).connection, 0);
        eventually("the connection is used again", || {
            client.request("HEAD", path, &[]);
            let last = origin.last(path).connection;
            let again = last == first || last == then;
            then = last;
            again
        });
        assert_eq!(then, first, "{path}");
    }
}

/// A HEAD of a stream without end does not keep the origin at it.
#[test]
fn transparent_head_of_an_endless_stream_ends_it() {
    let origin = Origin::start();
    let reply = Reply::cached("no-cache", "").huge(1 << 40).chunked();
    origin.on("/", reply.drip(Duration::from_millis(20)));
    let nginx = Conf::caching_with(&origin, "proxy_http_version 1.1;").start();
    let head = nginx.client().request("HEAD", "/", &[]);
    assert_eq!(head.status, 200);
    eventually("the origin's connection is closed", || {
        origin.connections() == 0
    });
}

/// The numbers of `stub_status`: requests, and connections reading.
fn counted(nginx: &Nginx) -> (u64, u64, u64) {
    let text = nginx.get("/status").text();
    let number = |at: usize| {
        let word = text.split_ascii_whitespace().nth(at).unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("{at}: {text}"))
    };
    // "Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0"
    (number(2), number(9), number(11))
}

#[test]
fn transparent_a_fetch_is_no_request_of_a_visitor() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/held", Reply::cached("max-age=60", "x").hold(&gate));
    origin.on("/", Reply::cached("max-age=60", "x"));
    origin.on("/passed", Reply::cached("no-store", "x"));
    let nginx = Conf::caching(&origin)
        .location("/status", "stub_status;")
        .start();
    let before = counted(&nginx);
    for path in ["/", "/", "/passed", "/passed"] {
        nginx.get(path);
    }
    let mut client = nginx.client();
    client.send("GET", "/held", &[]);
    origin.await_hits("/held", 1);
    let (active, requests, reading) = counted(&nginx);
    assert_eq!(requests, before.1 + 4 + 1 + 1);
    assert_eq!((active, reading), (2, 0), "the held client, and this one");
    gate.open();
    client.receive("GET");
    drop(client);
    eventually("all counts are as before", || {
        let after = counted(&nginx);
        (after.0, after.2) == (before.0, before.2)
    });
}

#[test]
fn transparent_alias_with_try_files() {
    let origin = Origin::start();
    let conf = Conf::caching(&origin).location(
        "~ ^/alias/(.*)$",
        "swr_cache main; swr_cache_valid 1m; alias files; try_files /$1 =404;",
    );
    let nginx = conf.start();
    let files = nginx.dir().join("files");
    std::fs::create_dir_all(&files).expect("a folder");
    std::fs::write(files.join("a.txt"), "a file").expect("a file");
    assert_eq!(origin.hits("/alias/a.txt"), 0);
    for cache in ["MISS", "HIT"] {
        nginx.get("/alias/a.txt").is(200, cache, "a file");
    }
}

/// All that comes for one request, to the end of the connection.
fn raw(nginx: &Nginx, path: &str) -> String {
    let mut wire = TcpStream::connect(nginx.addr).expect("a connection");
    wire.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    write!(
        wire,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("it is sent");
    let mut text = Vec::new();
    wire.read_to_end(&mut text).expect("an answer");
    String::from_utf8_lossy(&text).into_owned()
}

/// A relayed answer has its trailers, the first time as the second. (nginx passes trailers since 1.27.2.)
#[test]
fn transparent_trailers() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::raw(
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
        ),
    );
    let conf = Conf::caching_with(&origin, "proxy_http_version 1.1; proxy_pass_trailers on;");
    if let Err(said) = conf.check() {
        assert!(
            said.contains("unknown directive \"proxy_pass_trailers\""),
            "{said}"
        );
        println!("this nginx passes no trailers");
        return;
    }
    let nginx = conf.start();
    for _ in 0..2 {
        let all = raw(&nginx, "/");
        assert!(
            all.ends_with("4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n"),
            "{all}"
        );
    }
}
