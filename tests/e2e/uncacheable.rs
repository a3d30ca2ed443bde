//! What is not stored passes through, with bounded memory and without being serialised.

use crate::support::*;

const GIB: u64 = 1 << 30;

/// Reads a response to its end; the worker's own memory must not grow with it.
#[track_caller]
fn download(nginx: &Nginx, path: &str, bytes: u64) {
    let worker = nginx.workers()[0];
    nginx.get("/warm-up");
    let before = Nginx::private_memory(worker);
    let (mut got, mut samples) = (0_u64, Vec::new());
    let mut client = nginx.client();
    client.send("GET", path, &[]);
    let response = client.receive_into("GET", &mut |piece| {
        if got % (64 << 20) > (got + piece.len() as u64) % (64 << 20) {
            samples.push(Nginx::private_memory(worker).saturating_sub(before));
        }
        got += piece.len() as u64;
    });
    assert_eq!(
        (response.status, response.broken.as_deref(), got),
        (200, None, bytes)
    );
    println!("the worker grew by so many KiB, every 64 MiB: {samples:?}");
    let (last, half) = (
        samples.last().copied(),
        samples.get(samples.len() / 2).copied(),
    );
    let grew = last
        .zip(half)
        .map_or(0, |(last, half)| last.saturating_sub(half));
    assert!(
        grew < 1024,
        "it grows with the length of the body: {samples:?}"
    );
    assert!(
        samples.iter().all(|growth| *growth < 8 * 1024),
        "{samples:?}"
    );
}

#[test]
fn uncacheable_2_gib_in_bounded_memory() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("no-store", "").huge(2 * GIB));
    let nginx = Conf::caching(&origin).start();
    download(&nginx, "/", 2 * GIB);
}

/// Too large for the cache by its `Content-Length`: proxied, not stored, no error.
#[test]
fn uncacheable_too_large() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "").huge(64 << 20));
    let nginx = Conf::caching(&origin).start();
    download(&nginx, "/", 64 << 20);
    assert_eq!(nginx.get("/").cache(), "MISS");
}

/// Too large, and nobody knows before the end.
#[test]
fn uncacheable_too_large_and_chunked() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "").huge(64 << 20).chunked(),
    );
    let nginx = Conf::caching(&origin).start();
    download(&nginx, "/", 64 << 20);
    assert_eq!(nginx.get("/").cache(), "MISS");
}

#[test]
fn uncacheable_max_object() {
    let origin = Origin::start();
    origin.on("/small", Reply::cached("max-age=60", "x".repeat(1000)));
    origin.on("/large", Reply::cached("max-age=60", "x".repeat(20_000)));
    let nginx = Conf::new()
        .http("swr_cache_zone zone=main:8m max_object=16k;")
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .start();
    for (path, second) in [("/small", "HIT"), ("/large", "MISS")] {
        nginx.get(path);
        let again = nginx.get(path);
        assert_eq!((again.status, again.cache()), (200, second), "{path}");
    }
}

/// The bound is one of the body, to the byte, however it is framed; without one it is an eighth of the zone.
#[test]
fn uncacheable_max_object_is_exact() {
    let origin = Origin::start();
    let framings = ["length", "chunked", "close"];
    let framed = |framing, reply: Reply| match framing {
        "chunked" => reply.chunked(),
        "close" => reply.until_close(),
        _ => reply,
    };
    for framing in framings {
        for bytes in [102_400, 102_401, 1 << 20, (1 << 20) + 1] {
            let reply = Reply::cached("max-age=60", vec![b'q'; bytes]);
            origin.on(&format!("/{framing}/{bytes}"), framed(framing, reply));
        }
    }
    for (options, most) in [("max_object=100k", 102_400), ("", 1 << 20)] {
        let nginx = Conf::new()
            .http(&format!("swr_cache_zone zone=main:8m {options};"))
            .location(
                "/",
                &format!("swr_cache main; proxy_pass http://{};", origin.addr),
            )
            .start();
        for framing in framings {
            for (bytes, second) in [(most, "HIT"), (most + 1, "MISS")] {
                let path = format!("/{framing}/{bytes}");
                assert_eq!(nginx.get(&path).body.len(), bytes, "{path}");
                let again = nginx.get(&path);
                assert_eq!(
                    (again.body.len(), again.cache()),
                    (bytes, second),
                    "{path} {options}"
                );
            }
        }
    }
}

/// A client that does not read holds the origin back, not the worker's memory.
#[test]
fn uncacheable_back_pressure() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("no-store", "").huge(GIB));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/warm-up");
    let worker = nginx.workers()[0];
    let before = Nginx::private_memory(worker);
    let mut clients: Vec<_> = (0..8).map(|_| nginx.client()).collect();
    for client in &mut clients {
        client.send("GET", "/", &[]);
        assert_eq!(client.receive_head().status, 200);
    }
    // Other requests are served all the while, and they show that the worker has had its turns.
    for _ in 0..50 {
        nginx.get("/warm-up");
    }
    let growth = Nginx::private_memory(worker).saturating_sub(before);
    assert!(
        growth < 16 * 1024,
        "the worker grew by {growth} KiB for 8 downloads"
    );
}

/// Remembered: the next requests go straight through, at the same time.
#[test]
fn uncacheable_is_remembered() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::cached("no-store", "x"),
            Reply::cached("no-store", "x").hold(&gate),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "x");
    let mut clients: Vec<_> = (0..5).map(|_| nginx.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET", "/", &[]));
    origin.await_hits("/", 6);
    gate.open();
    for client in &mut clients {
        client.receive("GET").is(200, "MISS", "x");
    }
}

/// A refresh that comes back uncacheable removes the entry: never stale for ever.
#[test]
fn uncacheable_refresh_removes_the_entry() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    for (path, then) in [
        ("/no-store", Reply::cached("no-store", "new")),
        ("/private", Reply::cached("private", "new")),
        (
            "/cookie",
            Reply::cached("max-age=60", "new").header("Set-Cookie", "a=b"),
        ),
    ] {
        origin.script(path, [Reply::aged(100, control, "old"), then]);
        let nginx = Conf::caching(&origin).start();
        nginx.get(path);
        nginx.get(path).is(200, "UPDATING", "old");
        eventually("the old one is gone", || nginx.get(path).text() == "new");
        let cookie = nginx.get(path);
        assert_eq!(cookie.cache(), "MISS", "{path}");
        assert_eq!(cookie.header("Set-Cookie").is_some(), path == "/cookie");
    }
}

#[test]
fn uncacheable_reasons() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, reply) in [
        ("/no-store", Reply::cached("no-store", "x")),
        ("/private", Reply::cached("private, max-age=60", "x")),
        ("/no-freshness", Reply::ok("x")),
        (
            "/cookie",
            Reply::cached("max-age=60", "x").header("Set-Cookie", "a=b"),
        ),
        ("/expired", Reply::ok("x").header("Expires", "0")),
        ("/max-age-0", Reply::cached("max-age=0", "x")),
    ] {
        origin.on(path, reply);
        for _ in 0..3 {
            let response = nginx.get(path);
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "x"),
                "{path}"
            );
            assert_ne!(response.cache(), "HIT", "{path}");
        }
        assert_eq!(origin.hits(path), 3, "{path}");
    }
}

/// Request bodies reach the origin as they are, also where the method is cached.
#[test]
fn uncacheable_post_bodies_pass() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::ok(r.body.clone()));
    let nginx = Conf::caching(&origin).start();
    let mut client = nginx.client();
    for body in ["one", "a longer two"] {
        client.send_raw(&format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.receive("POST").text(), body);
    }
}
