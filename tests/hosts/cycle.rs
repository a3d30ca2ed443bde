//! The script: what every host has to show.

use crate::host::Host;
use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";

/// Runs the whole script on one host: each part has keys of its own.
pub(crate) fn script(name: &str) {
    let origin = Origin::start();
    let host = Host::start(name, &origin);
    first_after_expiry_never_waits(&host, &origin);
    errors_are_covered(&host, &origin);
    edge_304(&host, &origin);
    origin_304(&host, &origin);
    collapsed(&host, &origin);
    uncacheable(&host, &origin);
    passes_on(&host, &origin);
    streamed(&host, &origin);
    outgrown(&host, &origin);
    bounded(&host, &origin);
    delivery(&host, &origin);
    written_through(&host, &origin);
    if name.contains("mhd") {
        compressed(&host, &origin);
    }
    thousand_at_once(&host, &origin);
    origin_gone(&host, &origin);
    host.quit();
}

/// MISS, HIT, UPDATING at once, HIT.
fn first_after_expiry_never_waits(host: &Host, origin: &Origin) {
    let gate = Gate::closed();
    origin.expired("/cycle", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    let mut client = host.client();
    client.get("/cycle").is(200, "MISS", "old");
    // The client may have the whole body before the store knows that it is: until then there is nothing to refresh.
    eventually("a stale copy is refreshed", || {
        let stale = client.get("/cycle");
        stale.is(200, "UPDATING", "old").at_once();
        assert!(stale.age() >= 100, "{stale:?}");
        origin.hits("/cycle") == 2
    });
    client.get("/cycle").is(200, "UPDATING", "old").at_once();
    gate.open();
    let fresh = host.await_status("/cycle", "HIT");
    fresh.is(200, "HIT", "new").at_once();
    assert!(fresh.age() < 60, "{fresh:?}");
    assert!(fresh.header("Date").is_some(), "{fresh:?}");
    assert_eq!(origin.hits("/cycle"), 2);
}

/// Stale-if-error: the origin answers 503, and the client gets the copy.
fn errors_are_covered(host: &Host, origin: &Origin) {
    origin.script(
        "/sie",
        [
            Reply::aged(100, "max-age=60, stale-if-error=86400", "good"),
            Reply::new(503).body("bad"),
        ],
    );
    host.get("/sie").is(200, "MISS", "good");
    host.get("/sie").is(200, "STALE", "good");
    // While the origin gets its pause, it is not asked.
    host.get("/sie").is(200, "STALE", "good").at_once();
    assert_eq!(origin.hits("/sie"), 2);
}

/// Smart Edge Revalidation: validators that the origin did not send, and 304 by them.
fn edge_304(host: &Host, origin: &Origin) {
    origin.on("/edge", Reply::cached("max-age=3600", "page"));
    host.get("/edge").is(200, "MISS", "page");
    let mut hit = host.get("/edge");
    // It is made of the whole body.
    eventually("there is an ETag", || {
        hit = host.get("/edge");
        hit.header("ETag").is_some()
    });
    hit.is(200, "HIT", "page");
    let etag = hit.header("ETag").expect("an ETag").to_owned();
    let modified = hit.header("Last-Modified").expect("a date").to_owned();
    for fields in [
        [("If-None-Match", etag.as_str())],
        [("If-Modified-Since", modified.as_str())],
    ] {
        let answer = host.get_with("/edge", &fields);
        assert_eq!((answer.status, answer.cache()), (304, "HIT"), "{answer:?}");
        assert!(answer.body.is_empty());
    }
    assert_eq!(origin.hits("/edge"), 1);
}

/// The origin's 304 renews what is stored, and a client's own conditionals and cookies don't go there.
fn origin_304(host: &Host, origin: &Origin) {
    origin.script(
        "/304",
        [
            Reply::aged(100, WINDOWS, "same").header("ETag", "\"v1\""),
            Reply::new(304)
                .header("ETag", "\"v1\"")
                .header("Cache-Control", WINDOWS),
        ],
    );
    host.get("/304").is(200, "MISS", "same");
    host.get_with("/304", &[("Cookie", "a=b"), ("If-None-Match", "\"other\"")])
        .is(200, "UPDATING", "same");
    host.await_status("/304", "HIT").is(200, "HIT", "same");
    let asked = origin.last("/304");
    assert_eq!(asked.header("If-None-Match"), Some("\"v1\""), "{asked:?}");
    assert_eq!(asked.header("Cookie"), None, "{asked:?}");
    assert_eq!(origin.hits("/304"), 2);
}

/// Nothing stored, many at once: one goes to the origin.
fn collapsed(host: &Host, origin: &Origin) {
    let gate = Gate::closed();
    origin.on("/cold", Reply::cached("max-age=60", "page").hold(&gate));
    let addr = host.addr;
    let clients = std::thread::spawn(move || at_once(addr, 20, "/cold", &[]));
    origin.await_hits("/cold", 1);
    std::thread::sleep(AT_ONCE / 2);
    gate.open();
    for answer in clients.join().expect("clients") {
        assert_eq!((answer.status, answer.text().as_str()), (200, "page"));
    }
    assert_eq!(origin.hits("/cold"), 1);
}

fn uncacheable(host: &Host, origin: &Origin) {
    origin.on("/private", Reply::cached("private", "mine"));
    for _ in 0..3 {
        host.get("/private")
            .is(200, host.get("/private").cache(), "mine");
    }
    assert_eq!(origin.hits("/private"), 6);
    origin.on("/500", Reply::new(500).body("oops"));
    let answer = host.get("/500");
    assert_eq!((answer.status, answer.text().as_str()), (500, "oops"));
}

/// A body goes on its way before it is whole, stored or not; and one that is stored is so without the client that asked for it.
fn streamed(host: &Host, origin: &Origin) {
    for (path, control) in [("/grows", "max-age=60"), ("/passes", "private")] {
        for chunked in [true, false] {
            let gate = Gate::closed();
            let path = format!("{path}/{chunked}");
            let reply = Reply::cached(control, "0123456789 and the end").hold_body(10, &gate);
            origin.on(&path, if chunked { reply.chunked() } else { reply });
            let mut client = host.client();
            client.send("GET", &path, &[]);
            assert_eq!(client.receive_head().status, 200);
            let mut begun = Vec::new();
            client
                .exactly(10, &mut |bytes| begun.extend_from_slice(bytes))
                .expect("the beginning of the body");
            assert!(String::from_utf8_lossy(&begun).contains("01234"), "{path}");
            drop(client);
            gate.open();
            for _ in 0..3 {
                assert_eq!(host.get(&path).text(), "0123456789 and the end");
            }
            if control != "private" {
                assert_eq!(origin.hits(&path), 1);
            }
        }
    }
}

/// What is not stored is in the host's memory a piece at a time, also if the client does not read.
fn bounded(host: &Host, origin: &Origin) {
    // Sanitizers and valgrind keep memory of their own.
    if std::env::var_os("SWR_C").is_some() {
        return;
    }
    const LENGTH: u64 = 400 << 20;
    let endless = Reply::new(200).header("Cache-Control", "private");
    origin.on("/endless", endless.huge(LENGTH));
    let mut client = host.client();
    client.send("GET", "/endless", &[]);
    assert_eq!(client.receive_head().status, 200);
    std::thread::sleep(AT_ONCE);
    let mut length = 0;
    client
        .exactly(LENGTH, &mut |bytes| length += bytes.len() as u64)
        .expect("the whole body");
    assert_eq!(length, LENGTH);
    let most = host.most_memory();
    assert!(most < 200 << 20, "{most} bytes");
}

/// HEAD, ranges, a large body, an empty one, a chunked one.
fn delivery(host: &Host, origin: &Origin) {
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    origin.on("/large", Reply::cached("max-age=60", large.clone()));
    assert!(host.get("/large").body == large);
    let hit = host.get("/large");
    assert_eq!(hit.cache(), "HIT");
    assert!(hit.body == large);
    let head = host.client().request("HEAD", "/large", &[]);
    assert_eq!((head.status, head.cache()), (200, "HIT"));
    assert_eq!(head.header("Content-Length"), Some("3000000"), "{head:?}");
    let part = host.get_with("/large", &[("Range", "bytes=1000000-1000009")]);
    assert_eq!(part.status, 206);
    assert_eq!(part.body, &large[1_000_000..1_000_010]);
    assert_eq!(
        part.header("Content-Range"),
        Some("bytes 1000000-1000009/3000000")
    );
    let parts = host.get_with("/large", &[("Range", "bytes=0-1,10-11")]);
    assert_eq!(parts.status, 206);
    assert!(
        parts
            .header("Content-Type")
            .is_some_and(|t| t.starts_with("multipart/byteranges; boundary=")),
        "{parts:?}"
    );
    let none = host.get_with("/large", &[("Range", "bytes=3000000-")]);
    assert_eq!(none.status, 416);

    let page = |body| Reply::cached("max-age=60", body);
    origin.script("/query", [page("first"), page("second")]);
    host.get("/query?a=1").is(200, "MISS", "first");
    host.get("/query?a=2").is(200, "MISS", "second");
    host.get("/query?a=1").is(200, "HIT", "first");

    origin.on("/empty", Reply::cached("max-age=60", ""));
    host.get("/empty").is(200, "MISS", "");
    host.get("/empty").is(200, "HIT", "");
    origin.on(
        "/chunked",
        Reply::cached("max-age=60", "in chunks").chunked(),
    );
    host.get("/chunked").is(200, "MISS", "in chunks");
    host.get("/chunked").is(200, "HIT", "in chunks");
    // A body shorter than announced is not stored.
    origin.on(
        "/cut",
        Reply::cached("max-age=60", "not the whole").cut_body(3),
    );
    for nth in 1..3 {
        if let Some(answer) = host.try_get("/cut") {
            assert_ne!(answer.cache(), "HIT", "{answer:?}");
        }
        origin.await_hits("/cut", nth);
    }
}

fn written_through(host: &Host, origin: &Origin) {
    origin.on("/form", Reply::cached("max-age=60", "form"));
    host.get("/form").is(200, "MISS", "form");
    host.get("/form").is(200, "HIT", "form");
    let answer = host.post("/form", "a=b");
    assert_eq!(answer.status, 200);
    assert_eq!(origin.last("/form").body, b"a=b");
    host.get("/form").is(200, "MISS", "form");

    // What the response names beside its own target (RFC 9111 §4.4).
    origin.on("/list", Reply::cached("max-age=60", "list"));
    origin.on("/add", Reply::new(201).header("Location", "/list"));
    host.get("/list").is(200, "MISS", "list");
    host.get("/list").is(200, "HIT", "list");
    assert_eq!(host.post("/add", "a=b").status, 201);
    host.get("/list").is(200, "MISS", "list");

    // The groups that it names (RFC 9875).
    let member = Reply::cached("max-age=60", "member").header("Cache-Groups", "\"all\"");
    origin.on("/member", member);
    let change = Reply::new(200).header("Cache-Group-Invalidation", "\"all\"");
    origin.on("/change", change);
    host.get("/member").is(200, "MISS", "member");
    host.get("/member").is(200, "HIT", "member");
    assert_eq!(host.post("/change", "a=b").status, 200);
    host.get("/member").is(200, "MISS", "member");
}

/// 1,000 concurrent on an expired key: all are answered at once, and one origin request is made.
fn thousand_at_once(host: &Host, origin: &Origin) {
    let gate = Gate::closed();
    origin.expired("/storm", WINDOWS, Reply::cached(WINDOWS, "new").hold(&gate));
    host.get("/storm").is(200, "MISS", "old");
    for response in at_once(host.addr, 1000, "/storm", &[]) {
        response.is(200, "UPDATING", "old");
    }
    origin.await_hits("/storm", 2);
    gate.open();
    host.await_status("/storm", "HIT").is(200, "HIT", "new");
    assert_eq!(origin.hits("/storm"), 2);
}

fn origin_gone(host: &Host, origin: &Origin) {
    origin.on(
        "/gone",
        Reply::aged(100, "max-age=60, stale-if-error=600", "still"),
    );
    let strict = Reply::aged(100, "max-age=60, must-revalidate", "old").header("ETag", "\"1\"");
    origin.on("/strict", strict);
    host.get("/gone").is(200, "MISS", "still");
    host.get("/strict").is(200, "MISS", "old");
    origin.stop();
    host.get("/gone").is(200, "STALE", "still");
    // RFC 9111 §5.2.2.2
    assert_eq!(host.get("/strict").status, 504);
    assert_eq!(host.get("/never-seen").status, 502);
    origin.resume();
}

/// The least that a proxy must do, for one that shows no status: `PROGRAM PORT ORIGIN_PORT`.
pub(crate) fn proxies(program: &str) {
    let origin = Origin::start();
    let port = free_port();
    let mut command = std::process::Command::new(program);
    command.args([port.to_string(), origin.addr.port().to_string()]);
    let host = Host::run(command, port, program);
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::aged(100, WINDOWS, "old").header("X-Own", "kept"),
            Reply::cached(WINDOWS, "new").hold(&gate),
        ],
    );
    assert_eq!(host.get("/").text(), "old");
    for _ in 0..3 {
        let stale = host.get("/");
        assert_eq!(stale.at_once().text(), "old");
        assert_eq!(stale.header("X-Own"), Some("kept"));
    }
    origin.await_hits("/", 2);
    gate.open();
    eventually("the new page is there", || host.get("/").text() == "new");
    assert_eq!(origin.hits("/"), 2);
    passes_on(&host, &origin);
    streamed(&host, &origin);
    outgrown(&host, &origin);
    let gate = Gate::closed();
    origin.on("/cold", Reply::cached("max-age=60", "page").hold(&gate));
    let addr = host.addr;
    let clients = std::thread::spawn(move || at_once(addr, 20, "/cold", &[]));
    origin.await_hits("/cold", 1);
    gate.open();
    for answer in clients.join().expect("clients") {
        assert_eq!(answer.text(), "page");
    }
    assert_eq!(origin.hits("/cold"), 1);
    origin.stop();
    assert_eq!(host.get("/").text(), "new");
    assert_eq!(host.get("/never-seen").status, 502);
}

/// What is not stored comes as the origin sent it, and what a client sends goes there.
fn passes_on(host: &Host, origin: &Origin) {
    let mine = Reply::cached("private, no-store", "mine").header("Set-Cookie", "id=1");
    origin.on("/private", mine);
    for cookie in ["a=b", "c=d"] {
        let answer = host.get_with("/private", &[("Cookie", cookie)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "mine"));
        assert_eq!(answer.header("Cache-Control"), Some("private, no-store"));
        assert_eq!(answer.header("Set-Cookie"), Some("id=1"));
        assert_eq!(origin.last("/private").header("Cookie"), Some(cookie));
    }
    let login = Reply::new(302)
        .header("Location", "/home")
        .header("Set-Cookie", "session=1")
        .header("Set-Cookie", "theme=dark");
    origin.on("/login", login);
    let answer = host.post("/login", "user=me");
    assert_eq!(
        (answer.status, answer.header("Location")),
        (302, Some("/home"))
    );
    assert_eq!(answer.all("Set-Cookie"), ["session=1", "theme=dark"]);
    assert_eq!(origin.last("/login").body, b"user=me");
    let head = host.client().request("HEAD", "/private", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    // What one site has is not another's, and a field is known by its whole name.
    let site = |name| {
        let mut client = host.client();
        client.send_raw(&format!(
            "GET /site HTTP/1.1\r\nHost: {name}\r\nE: own\r\n\r\n"
        ));
        client.receive("GET").text()
    };
    origin.script(
        "/site",
        ["one", "two"].map(|body| Reply::cached("max-age=60", body)),
    );
    assert_eq!(
        [
            site("one.example"),
            site("two.example"),
            site("one.example")
        ],
        ["one", "two", "one"]
    );
    assert_eq!(origin.last("/site").header("E"), Some("own"));
}

/// A host that has a thread for it serves pages compressed, which it compresses once.
fn compressed(host: &Host, origin: &Origin) {
    let page = "<li>an entry of a list</li>\n".repeat(300);
    let reply = Reply::cached("max-age=600", page.clone()).header("ETag", "\"v1\"");
    origin.on("/compressed", reply.header("Content-Type", "text/html"));
    let gzip = [("Accept-Encoding", "gzip")];
    let mut got = host.get_with("/compressed", &gzip);
    assert_eq!(
        (got.text(), got.all("Vary")),
        (page.clone(), vec!["Accept-Encoding"])
    );
    eventually("the page is compressed", || {
        got = host.get_with("/compressed", &gzip);
        got.header("Content-Encoding") == Some("gzip")
    });
    assert_eq!(got.header("ETag"), Some("\"v1-gzip\""));
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&got.body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut text).expect("gzip");
    assert!(text == page && got.body.len() * 10 < page.len());
    assert_eq!(host.get("/compressed").text(), page);
    let same = [gzip[0], ("If-None-Match", "\"v1-gzip\"")];
    assert_eq!(host.get_with("/compressed", &same).status, 304);
    assert_eq!(origin.hits("/compressed"), 1);
}

/// A body that outgrows the cache comes whole, to who leads; an eighth of 64 MiB is the most.
fn outgrown(host: &Host, origin: &Origin) {
    let huge: Vec<u8> = (0..9_500_000u32).map(|n| (n % 249) as u8).collect();
    origin.on("/huge", Reply::cached("max-age=60", huge.clone()).chunked());
    for _ in 0..2 {
        assert!(host.get("/huge").body == huge);
    }
    assert_eq!(origin.hits("/huge"), 2);
}

macro_rules! hosts {
    ($($test:ident = $name:literal;)*) => {
        $(#[test]
        fn $test() {
            script($name);
        })*
    };
}

hosts! {
    evhttp_gcc_shared = "gcc-shared/evhttp_proxy";
    evhttp_clang_static = "clang-static/evhttp_proxy";
    prefork_gcc_static = "gcc-static/prefork_server 3";
    mhd_gcc_shared = "gcc-shared/mhd_server";
    mhd_clang_static = "clang-static/mhd_server";
    cxx_gcc_static = "g++-static/cxx_server";
    cxx_clang_shared = "clang++-shared/cxx_server";
    prefork_clang_shared = "clang-shared/prefork_server 3";
}
