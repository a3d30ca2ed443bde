//! How a stored response reaches a client: HEAD, ranges, variables, `Cache-Status`, fields.

use crate::support::*;

const DIGITS: &str = "0123456789abcdefghij";

fn digits() -> (Origin, Nginx) {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", DIGITS)
            .header("ETag", "\"d\"")
            .header("Content-Type", "text/plain"),
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", DIGITS);
    (origin, nginx)
}

/// RFC 9110 §9.3.2.
#[test]
fn head_shares_the_entry_of_get() {
    let (origin, nginx) = digits();
    let head = nginx.client().request("HEAD", "/", &[]);
    head.is(200, "HIT", "");
    assert_eq!(head.header("Content-Length"), Some("20"));
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn head_first_fills_for_get() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", DIGITS));
    let nginx = Conf::caching(&origin).start();
    let head = nginx.client().request("HEAD", "/", &[]);
    head.is(200, "MISS", "");
    assert_eq!(head.header("Content-Length"), Some("20"));
    nginx.await_status("/", "HIT").is(200, "HIT", DIGITS);
    assert_eq!(origin.hits("/"), 1);
}

/// RFC 9110 §14.
#[test]
fn range_single() {
    let (origin, nginx) = digits();
    for (asked, part, told) in [
        ("bytes=0-3", "0123", "bytes 0-3/20"),
        ("bytes=15-", "fghij", "bytes 15-19/20"),
        ("bytes=-2", "ij", "bytes 18-19/20"),
        ("bytes=18-99", "ij", "bytes 18-19/20"),
    ] {
        let response = nginx.get_with("/", &[("Range", asked)]);
        response.is(206, "HIT", part);
        assert_eq!(response.header("Content-Range"), Some(told), "{asked}");
    }
    let outside = nginx.get_with("/", &[("Range", "bytes=30-40")]);
    assert_eq!(
        (outside.status, outside.header("Content-Range")),
        (416, Some("bytes */20"))
    );
    nginx
        .get_with("/", &[("Range", "lines=1-2")])
        .is(200, "HIT", DIGITS);
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn range_multipart() {
    let (_origin, nginx) = digits();
    let response = nginx.get_with("/", &[("Range", "bytes=0-1,10-11")]);
    assert_eq!(response.status, 206);
    let kind = response.header("Content-Type").expect("a type").to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let text = response.text();
    assert_eq!(text.matches(&format!("--{boundary}")).count(), 3, "{text}");
    for part in [
        "Content-Range: bytes 0-1/20\r\n\r\n01\r\n",
        "Content-Range: bytes 10-11/20\r\n\r\nab\r\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn range_if_range() {
    let (_origin, nginx) = digits();
    let ask = |condition| {
        nginx
            .get_with("/", &[("Range", "bytes=0-3"), ("If-Range", condition)])
            .status
    };
    assert_eq!(ask("\"d\""), 206);
    assert_eq!(ask("\"other\""), 200);
    assert_eq!(ask("W/\"d\""), 200);
}

/// A range of something that is not stored: the whole is fetched and stored, the part is sent.
#[test]
fn range_on_a_miss() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", DIGITS));
    let nginx = Conf::caching(&origin).start();
    let response = nginx.get_with("/", &[("Range", "bytes=2-4")]);
    assert!(
        matches!(
            (response.status, response.text().as_str()),
            (206, "234") | (200, DIGITS)
        ),
        "{response:?}"
    );
    nginx.await_status("/", "HIT").is(200, "HIT", DIGITS);
    assert_eq!(
        (origin.hits("/"), origin.last("/").header("Range").is_none()),
        (1, true)
    );
}

#[test]
fn range_of_a_large_object() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "").huge(3_000_000));
    let nginx = Conf::caching(&origin).start();
    let whole = nginx.get("/").body;
    let part = nginx.get_with("/", &[("Range", "bytes=1048570-2097160")]);
    assert_eq!((part.status, part.cache()), (206, "HIT"));
    assert!(part.body == whole[1_048_570..=2_097_160], "other bytes");
}

#[test]
fn variables() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=600";
    origin.script(
        "/",
        [
            Reply::aged(100, control, "x"),
            Reply::aged(10, control, "y"),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    let number = |r: &Response, name| r.header(name).and_then(|v| v.parse::<f64>().ok());
    let miss = nginx.get("/");
    assert_eq!(miss.header("X-Cache-Key"), Some("httplocalhost/"));
    assert!(number(&miss, "X-Fetch-Time").is_some(), "{miss:?}");
    let stale = nginx.get("/");
    assert!(number(&stale, "X-Cache-Age") >= Some(100.0), "{stale:?}");
    assert!(number(&stale, "X-Cache-TTL") <= Some(-40.0), "{stale:?}");
    assert!(stale.header("X-Reason").is_some(), "{stale:?}");
    let hit = nginx.await_status("/", "HIT");
    assert!(
        number(&hit, "X-Cache-Age").is_some_and(|age| (10.0..20.0).contains(&age)),
        "{hit:?}"
    );
    assert!(
        number(&hit, "X-Cache-TTL").is_some_and(|ttl| (40.0..=50.0).contains(&ttl)),
        "{hit:?}"
    );
    assert_eq!(hit.header("X-Fetch-Time"), None);
}

/// Users look at these in their logs: a MISS shows the upstream, a HIT shows none.
#[test]
fn variables_of_the_upstream_in_the_log() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let nginx = Conf::caching(&origin)
        .http("log_format l '$swr_cache_status $upstream_addr $upstream_status $upstream_response_time';")
        .server("access_log access.log l;")
        .start();
    nginx.get("/");
    nginx.get("/");
    let mut lines = Vec::new();
    eventually("two lines of log", || {
        let text = std::fs::read_to_string(nginx.dir().join("access.log")).unwrap_or_default();
        lines = text.lines().map(str::to_owned).collect();
        lines.len() == 2
    });
    assert!(
        lines[0].starts_with(&format!("MISS {} 200 0.0", origin.addr)),
        "{lines:?}"
    );
    assert_eq!(lines[1], "HIT - - -");
}

/// RFC 9211.
#[test]
fn cache_status_header() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "x").header("Cache-Status", "\"Origin Shield\"; hit"),
    );
    origin.on("/no-store", Reply::cached("no-store", "x"));
    let nginx = Conf::caching_with(&origin, "swr_cache_status_header on;").start();
    let status = |path| nginx.get(path).all("Cache-Status").join(", ");
    let miss = status("/");
    assert!(miss.starts_with("\"Origin Shield\"; hit, "), "{miss}");
    assert!(
        miss.contains("fwd=uri-miss") && miss.contains("stored") && miss.contains("fwd-status=200"),
        "{miss}"
    );
    let hit = status("/");
    assert!(hit.ends_with("; hit") || hit.contains("; hit;"), "{hit}");
    assert!(hit.contains("ttl=") && !hit.contains("fwd"), "{hit}");
    // What the origin answered, not what the client gets (§2.3).
    let stale = Reply::aged(9, "max-age=5, stale-if-error=600", "x").header("ETag", "\"a\"");
    origin.script(
        "/304",
        [stale.clone(), Reply::new(304).header("ETag", "\"a\"")],
    );
    origin.script("/503", [stale, Reply::new(503)]);
    for (path, answered) in [("/304", "fwd-status=304"), ("/503", "fwd-status=503")] {
        status(path);
        let forward = status(path);
        assert!(
            forward.contains("fwd=stale") && forward.contains(answered),
            "{forward}"
        );
    }
    let passed = status("/no-store");
    assert!(
        passed.contains("fwd=") && !passed.contains("stored"),
        "{passed}"
    );
}

/// What the origin answered; nothing where it did not, and nginx answers in its place (RFC 9211 §2.3).
#[test]
fn cache_status_header_tells_what_the_origin_said() {
    let origin = Origin::start();
    origin.on("/", Reply::new(404).header("Cache-Control", "no-store"));
    let nginx = Conf::caching_with(&origin, "swr_cache_status_header on;")
        .allow("connect() failed")
        .start();
    // Which leads a fetch, and which passes.
    let requests: [&[(&str, &str)]; 2] = [&[], &[("If-Match", "\"x\"")]];
    let status = |path, fields| {
        let response = nginx.get_with(path, fields);
        let told = response.all("Cache-Status").join(", ");
        (response.status, told)
    };
    for fields in requests {
        let (shown, told) = status("/", fields);
        assert!(shown == 404 && told.contains("fwd-status=404"), "{told}");
    }
    origin.stop();
    for fields in requests {
        let (shown, told) = status("/gone", fields);
        assert!(shown == 502 && told.contains("fwd="), "{told}");
        assert!(!told.contains("fwd-status"), "{told}");
    }
}

#[test]
fn cache_status_header_for_those_who_ask() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    origin.on("/no-store", Reply::cached("no-store", "x"));
    let line = "swr_cache_status_header $http_swr_debug $arg_debug;";
    let nginx = Conf::caching_with(&origin, line).start();
    for path in ["/", "/", "/no-store"] {
        let told = |value| {
            nginx
                .get_with(path, &[("Swr-Debug", value)])
                .all("Cache-Status")
                .len()
        };
        assert_eq!([told("1"), told("0"), told("")], [1, 0, 0], "{path}");
        assert_eq!(nginx.get(path).all("Cache-Status").len(), 0, "{path}");
    }
    assert_eq!(nginx.get("/?debug=yes").all("Cache-Status").len(), 1);
}

/// RFC 9111 §3.1, §5.1; RFC 9110 §6.6.1, §7.6.1.
#[test]
fn fields_that_stay_and_fields_that_go() {
    let origin = Origin::start();
    const DATE: &str = "Mon, 03 Feb 2025 10:00:00 GMT";
    let reply = Reply::cached("max-age=999999999", "x")
        .header("Date", DATE)
        .header("Link", "</a>")
        .header("Link", "</b>")
        .header("X-Unknown", "kept")
        .header("Keep-Alive", "timeout=5")
        .header("Connection", "X-Hop")
        .header("X-Hop", "gone");
    origin.on("/", reply);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    let hit = nginx.get("/");
    assert_eq!(hit.cache(), "HIT");
    assert_eq!(hit.all("Link"), ["</a>", "</b>"]);
    assert_eq!(
        (hit.header("X-Unknown"), hit.all("Date")),
        (Some("kept"), vec![DATE])
    );
    assert_eq!(
        (hit.header("X-Hop"), hit.header("Keep-Alive")),
        (None, None)
    );
    assert_eq!(hit.all("Age").len(), 1);
    assert_eq!(hit.all("Content-Length"), ["1"]);
}

/// What is stored is the origin's; gzip, sub_filter and add_header work on each delivery.
#[test]
fn filters_work_on_each_delivery() {
    let origin = Origin::start();
    let body = "a word and a word ".repeat(100);
    origin.on(
        "/",
        Reply::cached("max-age=60", body.clone()).header("Content-Type", "text/plain"),
    );
    let lines = "sub_filter word $arg_with; sub_filter_once off; sub_filter_types text/plain; swr_cache_key $uri; \
                 gzip on; gzip_types text/plain; gzip_min_length 1;";
    let nginx = Conf::caching_with(&origin, lines).start();
    for with in ["one", "two", "three"] {
        assert_eq!(
            nginx.get(&format!("/?with={with}")).text(),
            body.replace("word", with)
        );
    }
    let zipped = nginx.get_with("/?with=x", &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (zipped.cache(), zipped.header("Content-Encoding")),
        ("HIT", Some("gzip"))
    );
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn empty_bodies() {
    let origin = Origin::start();
    origin.on("/empty", Reply::cached("max-age=60", ""));
    origin.on(
        "/204",
        Reply::new(204).header("Cache-Control", "max-age=60"),
    );
    origin.on("/chunked", Reply::cached("max-age=60", "").chunked());
    let nginx = Conf::caching(&origin).start();
    for (path, status) in [("/empty", 200), ("/204", 204), ("/chunked", 200)] {
        nginx.get(path).is(status, "MISS", "");
        nginx.get(path).is(status, "HIT", "");
    }
}

/// RFC 9111 §5.2.2.6: what the origin wants unchanged is not compressed on its way, from the store or through it.
#[test]
fn delivery_no_transform() {
    let origin = Origin::start();
    let body = "0123456789".repeat(500);
    for (path, control) in [
        ("/free", "max-age=60"),
        ("/kept", "max-age=60, no-transform"),
    ] {
        let reply = Reply::cached(control, body.clone()).header("Content-Type", "text/html");
        origin.on(path, reply);
    }
    let targeted = Reply::cached("no-transform", body.clone())
        .header("CDN-Cache-Control", "max-age=60")
        .header("Content-Type", "text/html");
    origin.on("/targeted", targeted);
    let nginx = Conf::caching_with(&origin, "gzip on; gzip_proxied any;").start();
    for cache in ["MISS", "HIT"] {
        for (path, coding) in [
            ("/free", Some("gzip")),
            ("/kept", None),
            ("/targeted", None),
        ] {
            let got = nginx.get_with(path, &[("Accept-Encoding", "gzip")]);
            assert_eq!((got.status, got.cache()), (200, cache), "{path}");
            assert_eq!(got.header("Content-Encoding"), coding, "{path}");
        }
    }
}

/// Trailers are not stored (RFC 9111 §3.1).
#[test]
fn delivery_trailers() {
    let origin = Origin::start();
    let trailers = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTrailer: X-Sum\r\n\
                    Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n";
    origin.on("/trailers", Reply::raw(trailers));
    let nginx = Conf::caching_with(&origin, "proxy_http_version 1.1;").start();
    for cache in ["MISS", "HIT"] {
        let got = nginx.get("/trailers");
        got.is(200, cache, "x");
        for name in ["X-Sum", "Set-Cookie", "Trailer"] {
            assert_eq!(got.header(name), None, "{name}");
        }
    }
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nX-Accel-Expires: 9\r\nConnection: X-Hop\r\n\
                     X-Hop: 1\r\nSet-Cookie: no=1\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbody";

/// An interim response goes to the client that leads the fetch (RFC 9110 §15.2), and nothing of it is stored (RFC 9111 §3).
#[test]
fn delivery_interim_responses() {
    let origin = Origin::start();
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    origin.on("/", Reply::raw([processing, go_on, HINTS, FINAL].concat()));
    let nginx = Conf::caching_with(&origin, "proxy_http_version 1.1;").start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    assert_eq!(client.receive_head().status, 102);
    let hints = client.receive_head();
    assert_eq!(
        (hints.status, hints.all("Link")),
        (103, vec!["</a>", "</b>"])
    );
    for name in [
        "X-Hop",
        "Connection",
        "X-Accel-Expires",
        "Server",
        "Date",
        "X-Cache",
    ] {
        assert_eq!(hints.header(name), None, "{name} {hints:?}");
    }
    for cache in ["MISS", "HIT"] {
        if cache == "HIT" {
            client.send("GET", "/", &[]);
        }
        let got = client.receive("GET");
        got.is(200, cache, "body");
        assert_eq!((got.header("Link"), got.header("Set-Cookie")), (None, None));
    }
    // HTTP/1.0 knows no such thing.
    origin.on("/old", Reply::raw([HINTS, FINAL].concat()));
    let mut client = nginx.client();
    client.send_raw("GET /old HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client.receive("GET").is(200, "MISS", "body");
}

/// However they come: in pieces, before a refresh's answer, before a 304, from the second server; and not without end.
#[test]
fn delivery_interim_responses_of_every_kind() {
    let origin = Origin::start();
    let stale = "max-age=60, stale-while-revalidate=600";
    let renewed = format!("{HINTS}HTTP/1.1 304 Not Modified\r\nCache-Control: {stale}\r\n\r\n");
    origin.script(
        "/refresh",
        [
            Reply::aged(100, stale, "body").header("ETag", "\"1\""),
            Reply::raw(renewed),
        ],
    );
    origin.on(
        "/private",
        Reply::raw(format!("{HINTS}{}", FINAL.replace("max-age=60", "private"))),
    );
    origin.on("/endless", Reply::raw(HINTS.repeat(40) + FINAL));
    origin.on("/cut", Reply::raw(HINTS));
    let dead = free_port();
    let nginx = Conf::new()
        .zone()
        .http(&format!(
            "upstream two {{ server 127.0.0.1:{dead}; server {} backup; }}",
            origin.addr
        ))
        .location(
            "/",
            "swr_cache main; proxy_http_version 1.1; proxy_buffer_size 16k; proxy_buffers 4 16k; proxy_pass http://two;",
        )
        .allow("upstream sent")
        .allow("connect() failed")
        .allow("prematurely closed")
        .start();
    let old = |path: &str| {
        let mut client = nginx.client();
        client.send_raw(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        client.receive("GET")
    };
    nginx.get("/refresh").is(200, "MISS", "body");
    nginx.get("/refresh").is(200, "UPDATING", "body");
    let hit = nginx.await_status("/refresh", "HIT");
    hit.is(200, "HIT", "body");
    assert_eq!(hit.header("Link"), None);
    old("/private").is(200, "MISS", "body");
    assert_eq!(old("/endless").status, 502);
    assert_eq!(old("/cut").status, 502);
}

/// Over TLS too, on a connection with more requests; of several who wait, only the one that leads is told.
#[test]
fn delivery_interim_responses_over_tls() {
    let origin = Origin::start();
    origin.on("/", Reply::raw([HINTS, FINAL].concat()));
    let lines = "proxy_http_version 1.1;";
    let nginx = Conf::caching_with(&origin, lines).tls().start();
    let mut client = nginx.client();
    // Two requests at once: the second is the first's hit, or waits for it.
    let one = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send_raw(&one.repeat(2));
    assert_eq!(client.receive_head().all("Link"), ["</a>", "</b>"]);
    client.receive("GET").is(200, "MISS", "body");
    client.receive("GET").is(200, "HIT", "body");
    // Only who leads is told.
    let gate = Gate::closed();
    origin.on("/slow", Reply::raw([HINTS, FINAL].concat()).hold(&gate));
    let mut clients: Vec<_> = (0..4).map(|_| nginx.client()).collect();
    for client in &mut clients {
        client.send("GET", "/slow", &[]);
    }
    origin.await_hits("/slow", 1);
    gate.open();
    let mut told = 0;
    for client in &mut clients {
        let mut first = client.receive_head();
        if first.status == 103 {
            told += 1;
            first = client.receive("GET");
            assert_eq!(first.text(), "body");
        }
        assert_eq!(first.status, 200);
    }
    assert_eq!((told, origin.hits("/slow")), (1, 1));
}

/// nginx has known hints since 1.29.0, and then its own `early_hints` says who gets them; over HTTP/2 they go too.
#[test]
fn delivery_early_hints_that_nginx_knows() {
    let origin = Origin::start();
    let hints = HINTS.replace("X-Hop", "X-Secret");
    for path in ["/all", "/some", "/some?h=1", "/two"] {
        origin.on(path, Reply::raw([&hints, FINAL].concat()));
    }
    let lines = |more: &str| {
        let addr = origin.addr;
        format!("swr_cache main; proxy_http_version 1.1; proxy_pass http://{addr}; {more}")
    };
    let conf = Conf::new()
        .zone()
        .tls()
        .http2()
        .location("/", &lines("early_hints 1;"))
        .location("/some", &lines("early_hints $arg_h;"))
        .location("/two", &lines("proxy_hide_header X-Secret;"));
    if let Err(log) = conf.check() {
        assert!(log.contains("unknown directive \"early_hints\""), "{log}");
        return;
    }
    let nginx = conf.start();
    for (path, expected) in [("/all", 103), ("/some", 200), ("/some?h=1", 103)] {
        let mut client = nginx.client();
        client.send("GET", path, &[]);
        let mut first = client.receive_head();
        assert_eq!(first.status, expected, "{path}");
        if first.status == 103 {
            assert_eq!(first.all("Link"), ["</a>", "</b>"]);
            first = client.receive("GET");
            first.is(200, "MISS", "body");
            assert_eq!(first.header("Link"), None);
        }
    }
    let output = std::process::Command::new("nghttp")
        .args(["-v", &format!("https://{}/two", nginx.addr)])
        .output()
        .expect("nghttp runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let place = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
    assert!(place(":status: 103") < place("link: </a>"), "{text}");
    assert!(place("link: </b>") < place(":status: 200"), "{text}");
    assert!(!text.contains("x-secret"), "{text}");
}

/// Over HTTP/3 they go, and from a gRPC server they come.
#[test]
fn delivery_early_hints_over_http3_and_of_grpc() {
    let origin = Origin::start();
    origin.on("/http", Reply::raw([HINTS, FINAL].concat()));
    origin.on("/grpc", Reply::raw([HINTS, FINAL].concat()));
    let port = free_port();
    let pass = format!("proxy_http_version 1.1; proxy_pass http://{};", origin.addr);
    let server = format!(
        "server {{ listen 127.0.0.1:{port}; http2 on; location / {{ early_hints 1; {pass} }} }}"
    );
    let grpc = format!("swr_cache main; early_hints 1; grpc_pass grpc://127.0.0.1:{port};");
    let conf = Conf::new()
        .zone()
        .tls()
        .http3()
        .http(&server)
        .location("/http", &format!("swr_cache main; early_hints 1; {pass}"))
        .location("/grpc", &grpc);
    if let Err(log) = conf.check() {
        let old = ["\"early_hints\"", "\"http2\"", "\"quic\""];
        assert!(old.iter().any(|word| log.contains(word)), "{log}");
        return;
    }
    let nginx = conf.start();
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    for path in ["/http", "/grpc"] {
        let (interim, response) = client.get_with_interim(path);
        let hints: Vec<_> = interim.iter().map(|r| (r.status, r.all("link"))).collect();
        assert_eq!(hints, [(103, vec!["</a>", "</b>"])], "{path}");
        response.is(200, "MISS", "body");
        client.get(path, &[]).is(200, "HIT", "body");
    }
}

/// The port that the client named is known in a fetch too, where nginx has variables for it (1.29.3).
#[test]
fn delivery_the_port_that_was_asked_for() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let conf = Conf::caching_with(
        &origin,
        "proxy_set_header X-Asked $host$is_request_port$request_port;",
    );
    if let Err(log) = conf.check() {
        assert!(
            log.contains("unknown \"is_request_port\" variable"),
            "{log}"
        );
        return;
    }
    let nginx = conf.start();
    let mut client = nginx.client();
    client.send_raw("GET / HTTP/1.1\r\nHost: example.org:8080\r\n\r\n");
    client.receive("GET").is(200, "MISS", "x");
    assert_eq!(origin.last("/").header("X-Asked"), Some("example.org:8080"));
}

/// Byte for byte, over one connection to the origin that is used again.
#[test]
fn delivery_interim_responses_in_pieces() {
    use std::io::{Read, Write};
    let slow = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = slow.local_addr().expect("its address");
    let served = std::thread::spawn(move || {
        let (mut wire, _) = slow.accept().expect("nginx");
        wire.set_nodelay(true).expect("no delay");
        for _ in 0..3 {
            let _ = wire.read(&mut [0; 4096]).expect("a request");
            for byte in [HINTS, HINTS, FINAL].concat().bytes() {
                wire.write_all(&[byte]).expect("nginx reads");
            }
        }
    });
    let nginx = Conf::new()
        .zone()
        .http(&format!("upstream app {{ server {addr}; keepalive 4; }}"))
        .location(
            "/",
            "swr_cache main; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app;",
        )
        .start();
    let mut client = nginx.client();
    for path in ["/1", "/2", "/3"] {
        client.send("GET", path, &[]);
        for _ in 0..2 {
            assert_eq!(client.receive_head().all("Link"), ["</a>", "</b>"]);
        }
        client.receive("GET").is(200, "MISS", "body");
    }
    served.join().expect("the origin");
}

/// RFC 9110 §14.4: `Content-Range` says nothing in a 200; it is kept there, as any field is, and never in a part that is made of it.
#[test]
fn delivery_content_range_of_a_whole_response() {
    let origin = Origin::start();
    let reply = Reply::cached("max-age=60", "0123456789").header("Content-Range", "bytes 3-5/9");
    origin.on("/", reply);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "0123456789");
    assert_eq!(nginx.get("/").all("Content-Range"), ["bytes 3-5/9"]);
    let part = nginx.get_with("/", &[("Range", "bytes=2-4")]);
    part.is(206, "HIT", "234");
    assert_eq!(part.all("Content-Range"), ["bytes 2-4/10"]);
    let parts = nginx.get_with("/", &[("Range", "bytes=0-0,9-9")]);
    assert_eq!((parts.status, parts.all("Content-Range")), (206, vec![]));
    let beyond = nginx.get_with("/", &[("Range", "bytes=10-")]);
    assert_eq!(
        (beyond.status, beyond.all("Content-Range")),
        (416, vec!["bytes */10"])
    );
}

/// RFC 9111 §3.3: an origin that answers a request for the whole with a part has nothing that could be stored; each client gets
/// what its own request brings.
#[test]
fn delivery_a_part_that_nobody_asked_for() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        let (part, of) = match r.header("Range") {
            Some("bytes=6-7") => ("67", "bytes 6-7/10"),
            _ => ("0123", "bytes 0-3/10"),
        };
        Reply::new(206)
            .body(part)
            .header("Cache-Control", "max-age=60")
            .header("Content-Range", of)
    });
    let nginx = Conf::caching(&origin).start();
    for _ in 0..2 {
        let asked = nginx.get_with("/", &[("Range", "bytes=6-7")]);
        asked.is(206, "MISS", "67");
        assert_eq!(asked.all("Content-Range"), ["bytes 6-7/10"]);
        let whole = nginx.get("/");
        whole.is(206, "MISS", "0123");
        assert_eq!(whole.all("Content-Range"), ["bytes 0-3/10"]);
    }
}
