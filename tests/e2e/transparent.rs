//! Switched on, the cache changes nothing but speed: what a client, an origin and an operator see is what nginx alone shows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::clients::curl;
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

#[test]
fn transparent_events_of_fastcgi() {
    let php = PhpFpm::start(
        "<?php header('Cache-Control: no-cache'); if ($_GET['gate'] == 'accel') header('X-Accel-Buffering: no'); \
         while (ob_get_level()) ob_end_flush(); echo \"data: first\\n\\n\"; flush(); \
         for ($n = 0; $n < 1000 && !file_exists($_GET['gate']); $n++) { usleep(5000); clearstatcache(); } echo \"data: second\\n\\n\";",
    );
    let root = php.root();
    let parameters = format!(
        "fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string; \
         fastcgi_param SCRIPT_FILENAME {}/index.php; fastcgi_pass unix:{};",
        root.display(),
        php.socket().display()
    );
    // There are two workers, both held until their gate is a file.
    for (gate, lines) in [("off", "fastcgi_buffering off;"), ("accel", "")] {
        let nginx = streaming(&format!("{lines} {parameters}"));
        for who in ["leads", "passes"] {
            let mut client = nginx.client();
            client.send("GET", &format!("/?gate={gate}"), &[]);
            first_event(&mut client, &format!("{gate} {who}"));
        }
        std::fs::write(root.join(gate), "").expect("a file");
    }
}

/// A stream of HTTP/2 gets each event as it comes, and so does one beside it on the same connection.
#[test]
fn transparent_events_over_http2() {
    let origin = Origin::start();
    for (path, control) in [("/relayed", "no-cache"), ("/stored", "max-age=60")] {
        let gate = Gate::closed();
        let reply = Reply::cached(control, EVENTS).chunked();
        origin.on(path, reply.hold_body(EVENT.len(), &gate));
        let lines = "proxy_http_version 1.1;";
        let nginx = Conf::caching_with(&origin, lines).http2().start();
        for who in ["leads", "follows"] {
            let url = format!("http://{}{path}", nginx.addr);
            let mut curl = std::process::Command::new("curl")
                .args(["-sN", "--max-time", "15", "--http2-prior-knowledge", &url])
                .args(["-H", "Host: localhost"])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("curl runs");
            let began = std::time::Instant::now();
            let mut seen = [0; EVENT.len()];
            let mut output = curl.stdout.take().expect("its output");
            output.read_exact(&mut seen).expect("an event");
            assert_eq!(&seen, EVENT.as_bytes(), "{path} {who}");
            assert!(began.elapsed() < Duration::from_secs(5), "{path} {who}");
            curl.kill().expect("it is under way");
            curl.wait().expect("it ends");
        }
        gate.open();
    }
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
        let first = origin.last(path).connection;
        for _ in 0..5 {
            client.request("HEAD", path, &[]);
        }
        assert!(origin.is_open(first), "{path}");
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
    let led = origin.last("/").connection;
    eventually("the origin's connection is closed", || !origin.is_open(led));
}

/// The numbers of `stub_status`: requests, and connections reading.
fn counted(nginx: &Nginx) -> (u64, u64, u64) {
    let text = nginx.get("/status").text();
    // "Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0"; Tengine has a
    // fourth number in the middle.
    let numbers: Vec<u64> = text.split_ascii_whitespace().flat_map(str::parse).collect();
    (numbers[0], numbers[3], numbers[numbers.len() - 3])
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
pub(crate) fn raw(nginx: &Nginx, path: &str) -> String {
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
    let conf = Conf::caching_with(&origin, "proxy_http_version 1.1; proxy_pass_trailers on;")
        .http("log_format l '$upstream_trailer_x_sum';")
        .server("access_log access.log l;");
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
    eventually("the log has both", || {
        let log = std::fs::read_to_string(nginx.dir().join("access.log"));
        log.is_ok_and(|log| log == "42\n42\n")
    });
}

/// What nginx's own variables tell of the origin's response, on every way that it can take, is what nginx alone tells.
#[test]
fn transparent_variables_of_the_response() {
    let origin = Origin::start();
    for (path, control) in [("/stored", "max-age=60"), ("/relayed", "no-store")] {
        let reply = Reply::cached(control, "x").header("X-Real", "yes");
        origin.on(path, reply.header("Server", "origin"));
    }
    let nginx = Conf::caching_with(
        &origin,
        "proxy_hide_header X-Real; add_header X-Copy $upstream_http_x_real; add_header X-Of $upstream_http_server; \
         add_header X-Length $upstream_http_content_length; add_header X-Status $upstream_cache_status; \
         add_header X-To $proxy_host;",
    );
    let nginx = nginx.start();
    for (path, statuses) in [
        ("/stored", ["MISS", "HIT", "HIT"]),
        ("/relayed", ["MISS"; 3]),
    ] {
        for status in statuses {
            let response = nginx.get(path);
            let told = |name: &str| response.header(name).unwrap_or_default().to_owned();
            assert_eq!(
                [
                    told("X-Copy"),
                    told("X-Of"),
                    told("X-Length"),
                    told("X-Status"),
                    told("X-Real")
                ],
                ["yes", "origin", "1", status, ""],
                "{path}"
            );
        }
    }
}

#[test]
fn transparent_cookies_of_a_relayed_response() {
    let origin = Origin::start();
    let reply = Reply::ok("x").header("Set-Cookie", "a=1; Path=/");
    origin.on("/", reply.header("Set-Cookie", "sid=42; Path=/"));
    let lines = "add_header X-Sid $upstream_cookie_sid; add_header X-A $upstream_cookie_a;";
    let nginx = Conf::caching_with(&origin, lines).start();
    for _ in 0..2 {
        let response = nginx.get("/");
        assert_eq!(
            (response.header("X-Sid"), response.header("X-A")),
            (Some("42"), Some("1"))
        );
    }
}

/// Nothing is told of an origin where none was asked.
#[test]
fn transparent_no_variables_without_an_origin() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin)
        .location(
            "/files/",
            "swr_cache main; swr_cache_valid 1m; alias files/; add_header X-Type $upstream_http_content_type;",
        )
        .start();
    let files = nginx.dir().join("files");
    std::fs::create_dir_all(&files).expect("a folder");
    std::fs::write(files.join("a.txt"), "a file").expect("a file");
    for _ in 0..2 {
        let response = nginx.get("/files/a.txt");
        assert_eq!((response.status, response.header("X-Type")), (200, None));
    }
}

#[test]
fn transparent_auth_request_set() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("no-store", "x"));
    for control in ["max-age=60", "no-store"] {
        origin.on(
            "/auth",
            Reply::cached(control, "").header("X-User", "alice"),
        );
        let nginx = Conf::caching_with(
            &origin,
            "auth_request /auth; auth_request_set $user $upstream_http_x_user; add_header X-User $user;",
        )
        .location(
            "= /auth",
            &format!(
                "internal; swr_cache main; swr_cache_key auth; proxy_pass http://{};",
                origin.addr
            ),
        )
        .start();
        for _ in 0..3 {
            assert_eq!(nginx.get("/").header("X-User"), Some("alice"), "{control}");
        }
    }
}

/// A condition that looks at the response is not answered before the response is there.
#[test]
fn transparent_conditions_on_the_response() {
    let origin = Origin::start();
    let reply = Reply::cached("max-age=60", "x");
    origin.on("/secret", reply.clone().header("X-Private", "yes"));
    origin.on("/open", reply);
    let nginx = Conf::caching_with(
        &origin,
        "swr_no_cache $secret; add_header X-Secret $secret; add_header X-Cache $swr_cache_status;",
    )
    .http("map $upstream_http_x_private $secret { default 0; yes 1; }")
    .start();
    for (path, secret, second) in [("/secret", "1", "MISS"), ("/open", "0", "HIT")] {
        for cache in ["MISS", second] {
            let response = nginx.get(path);
            assert_eq!(response.header("X-Secret"), Some(secret), "{path}");
            response.is(200, cache, "x");
        }
    }
}

/// The `hash` of an upstream may be of the key: a fetch knows it, for whomever it is, and so what of the query is in it.
#[test]
fn transparent_key_and_args_in_a_fetch() {
    let origin = Origin::start();
    let window = "max-age=60, stale-while-revalidate=600";
    origin.expired("/page", window, Reply::cached(window, "new"));
    let include = "<!--# include virtual=\"/part?x=1&utm_source=2\" -->";
    let whole = Reply::cached(window, include).header("Content-Type", "text/html");
    origin.on("/whole", whole);
    origin.on("/part", Reply::cached(window, "part"));
    let nginx = Conf::caching_with(
        &origin,
        "swr_cache_query drop tracking; ssi on; set $early $swr_cache_key; \
         proxy_set_header X-Key $swr_cache_key; proxy_set_header X-Args [$swr_cache_args];",
    )
    .start();
    let page = "/page?a=1&utm_source=x";
    nginx.get(page).is(200, "MISS", "old");
    nginx.get(page).is(200, "UPDATING", "old");
    origin.await_hits("/page", 2);
    nginx.get("/whole");
    let told = |r: &Recorded| ["X-Key", "X-Args"].map(|name| r.header(name).map(str::to_owned));
    let expected =
        |key: &str, args: &str| [format!("httplocalhost{key}"), format!("[{args}]")].map(Some);
    for refresh_or_miss in origin.requests("/page") {
        assert_eq!(told(&refresh_or_miss), expected("/page?a=1", "a=1"));
    }
    assert_eq!(told(&origin.last("/part")), expected("/part?x=1", "x=1"));
}

/// What a request computes once, its fetch has too.
#[test]
fn transparent_request_id() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::aged(100, "max-age=60, stale-while-revalidate=600", "x"),
            Reply::cached("max-age=60", "x"),
        ],
    );
    let nginx = Conf::caching_with(
        &origin,
        "proxy_set_header X-Id $request_id; proxy_set_header X-Connection $connection/$connection_requests; \
         add_header X-Id $request_id; add_header X-Connection $connection/$connection_requests;",
    )
    .start();
    let mut client = nginx.client();
    for hits in [1, 2] {
        let response = client.get("/");
        origin.await_hits("/", hits);
        let sent = origin.last("/");
        for name in ["X-Id", "X-Connection"] {
            assert_eq!(response.header(name), sent.header(name), "{name}");
        }
    }
}

/// What nginx knows of the client's connection, the origin is told by the fetch, a refresh included.
#[test]
fn transparent_variables_of_the_connection() {
    let origin = Origin::start();
    let old = Reply::aged(100, "max-age=60, stale-while-revalidate=600", "x");
    origin.script("/", [old.clone(), old, Reply::cached("max-age=60", "x")]);
    let names = "$http2 $server_protocol $scheme $remote_port $server_port $connection";
    let nginx = Conf::caching_with(
        &origin,
        &format!("proxy_set_header X-Told \"{names}\"; add_header X-Told \"{names}\";"),
    )
    .http2()
    .start();
    let url = format!("http://{}/", nginx.addr);
    for hits in [1, 2] {
        let (head, _) = curl(&["--http2-prior-knowledge", "-H", "Host: localhost", &url]);
        origin.await_hits("/", hits);
        let told = origin.last("/").header("X-Told").map(str::to_lowercase);
        let told = told.unwrap_or_default();
        assert!(told.starts_with("h2c http/2.0 http "), "{told}");
        assert!(
            head.contains(&format!("x-told: {told}\r\n")),
            "{told}: {head}"
        );
    }
}

/// The origin slows its response down: on every way.
#[test]
fn transparent_accel_limit_rate() {
    let origin = Origin::start();
    for (path, control) in [("/stored", "max-age=60"), ("/relayed", "no-store")] {
        let reply = Reply::cached(control, "z".repeat(50_000));
        origin.on(path, reply.header("X-Accel-Limit-Rate", "20000"));
    }
    origin.on("/file", Reply::cached("max-age=60", "z".repeat(50_000)));
    let reply = Reply::ok("").header("X-Accel-Redirect", "/file");
    origin.on("/led", reply.header("X-Accel-Limit-Rate", "20000"));
    let ignoring = "swr_ignore_headers X-Accel-Limit-Rate;";
    let (nginx, fast) = (
        Conf::caching(&origin).start(),
        Conf::caching_with(&origin, ignoring).start(),
    );
    for path in ["/stored", "/relayed", "/led"] {
        for _ in 0..2 {
            let response = nginx.get(path);
            assert!(
                response.total > Duration::from_millis(900),
                "{path} {}: {:?}",
                response.cache(),
                response.total
            );
        }
    }
    for cache in ["MISS", "HIT"] {
        assert_eq!(fast.get("/stored").at_once().cache(), cache);
    }
}

#[test]
fn transparent_accel_charset() {
    let origin = Origin::start();
    for (path, control) in [("/stored", "max-age=60"), ("/relayed", "no-store")] {
        let reply = Reply::cached(control, "x").header("Content-Type", "text/html");
        origin.on(path, reply.header("X-Accel-Charset", "koi8-r"));
    }
    let nginx = Conf::caching_with(&origin, "charset utf-8;")
        .location("/other", "charset koi8-r;")
        .start();
    for path in ["/stored", "/stored", "/relayed", "/relayed"] {
        let response = nginx.get(path);
        let told = response.header("Content-Type");
        assert_eq!(told, Some("text/html; charset=koi8-r"), "{path}");
    }
}

/// What an origin tells its host of the delivery has no bearing on where a redirect leads.
#[test]
fn transparent_accel_charset_of_a_redirect() {
    let origin = Origin::start();
    let reply = Reply::new(302)
        .header("Cache-Control", "max-age=60")
        .header("Location", "/there");
    origin.on("/moved", reply.header("X-Accel-Charset", "koi8-r"));
    let nginx = Conf::caching(&origin).start();
    for cache in ["MISS", "HIT"] {
        let response = nginx.get("/moved");
        assert_eq!(response.cache(), cache);
        assert_eq!(response.header("Location"), Some("/there"));
    }
}

/// What nginx does with a response that it buffers, it does for a fetch.
#[test]
fn transparent_limit_rate_and_store() {
    let origin = Origin::start();
    origin.on("/file", Reply::cached("max-age=60", "z".repeat(50_000)));
    let slow = Conf::caching_with(&origin, "proxy_limit_rate 20000;").start();
    let response = slow.get("/file");
    assert!(
        response.total > Duration::from_millis(900),
        "{:?}",
        response.total
    );
    slow.get("/file").at_once();

    let storing = Conf::caching_with(&origin, "root files; proxy_store on;").start();
    let files = storing.dir().join("files");
    std::fs::create_dir_all(&files).expect("a folder");
    // The worker may be nobody.
    std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o777)).expect("its mode");
    for cache in ["MISS", "HIT"] {
        let response = storing.get("/file");
        assert_eq!((response.cache(), response.body.len()), (cache, 50_000));
    }
    let file = files.join("file");
    eventually("the file is there", || {
        std::fs::metadata(&file).is_ok_and(|data| data.len() == 50_000)
    });
}

/// `$proxy_host` is part of nginx's own default key: two origins share nothing.
#[test]
fn transparent_proxy_host() {
    let (one, two) = (Origin::start(), Origin::start());
    one.on("/x", Reply::cached("max-age=60", "one"));
    two.on("/x", Reply::cached("max-age=60", "two"));
    let tell = "add_header X-To $proxy_host; add_header X-Port $proxy_port; add_header X-Cache $swr_cache_status;";
    let cached = |pass: String| {
        format!("swr_cache main; swr_cache_key $scheme$proxy_host/x; {tell} proxy_pass {pass};")
    };
    let nginx = Conf::new()
        .zone()
        .http(&format!("upstream named {{ server {}; }}", two.addr))
        .location("/one/", &cached(format!("http://{}/", one.addr)))
        .location("/two/", &cached("http://named/".to_owned()))
        .location("~ ^/three/", &cached("http://$arg_to/x".to_owned()))
        .location(
            "/four/",
            &format!(
                "{} if ($arg_q) {{ {tell} }}",
                cached(format!("http://{}/", two.addr))
            ),
        )
        .start();
    let (to_one, to_two) = (one.addr.to_string(), two.addr.to_string());
    let (one_port, two_port) = (one.addr.port().to_string(), two.addr.port().to_string());
    let three = format!("/three/x?to={to_one}");
    for (path, cache, body, host, port) in [
        ("/one/x", "MISS", "one", &*to_one, &*one_port),
        ("/one/x", "HIT", "one", &to_one, &one_port),
        ("/two/x", "MISS", "two", "named", "80"),
        ("/two/x", "HIT", "two", "named", "80"),
        (&three, "HIT", "one", &to_one, &one_port),
        ("/four/x", "MISS", "two", &to_two, &two_port),
        ("/four/x?q=1", "HIT", "two", &to_two, &two_port),
    ] {
        let response = nginx.get(path);
        response.is(200, cache, body);
        let told = (response.header("X-To"), response.header("X-Port"));
        assert_eq!(told, (Some(host), Some(port)), "{path}");
    }
    // The module looks on each time that nginx reads its configuration, and leaves nothing behind when it is unloaded.
    nginx.reload();
    nginx.get("/one/x").is(200, "HIT", "one");
}

/// A part of a page whose origin is out of reach: the page's author has said what stands in for it.
#[test]
fn transparent_ssi_stub() {
    let origin = Origin::start();
    let page = "<!--# block name=\"one\" -->stub<!--# endblock -->[<!--# include virtual=\"/dead\" stub=\"one\" -->]";
    let reply = Reply::cached("max-age=60", page).header("Content-Type", "text/html");
    origin.on("/", reply);
    let nginx = Conf::caching_with(&origin, "ssi on;")
        .location(
            "/dead",
            &format!(
                "swr_cache main; proxy_pass http://127.0.0.1:{};",
                free_port()
            ),
        )
        .start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").text(), "[stub]");
    }
}
