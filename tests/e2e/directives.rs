//! What a directive shares with its `proxy_cache` namesake, it does as nginx does.

use crate::support::*;

fn cached(body: &str) -> Reply {
    Reply::cached("max-age=60", body)
}

#[test]
fn key_default_and_own() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::cached("max-age=60", r.target.clone()));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/?a=1").is(200, "MISS", "/?a=1");
    nginx.get("/?a=2").is(200, "MISS", "/?a=2");
    nginx.get("/?a=1").is(200, "HIT", "/?a=1");
    assert_eq!(
        nginx.get_with("/?a=1", &[("Host", "other")]).cache(),
        "MISS"
    );

    let nginx = Conf::caching_with(&origin, "swr_cache_key $uri;").start();
    nginx.get("/?a=1").is(200, "MISS", "/?a=1");
    let hit = nginx.get("/?a=2");
    hit.is(200, "HIT", "/?a=1");
    assert_eq!(hit.header("X-Cache-Key"), Some("/"));
}

#[test]
fn zone_by_variable_and_off() {
    let origin = Origin::start();
    origin.on("/", cached("x"));
    let nginx = Conf::new()
        .http("swr_cache_zone zone=one:8m; swr_cache_zone zone=two:8m;")
        .location(
            "/",
            &format!(
                "swr_cache $arg_zone; swr_cache_key same; proxy_pass http://{};",
                origin.addr
            ),
        )
        .start();
    assert_eq!(nginx.get("/?zone=one").cache(), "MISS");
    assert_eq!(nginx.get("/?zone=one").cache(), "HIT");
    assert_eq!(nginx.get("/?zone=two").cache(), "MISS");
    for zone in ["off", ""] {
        let response = nginx.get(&format!("/?zone={zone}"));
        assert_eq!((response.status, response.cache()), (200, ""), "{zone:?}");
    }
}

/// Freshness where the origin gives none, by status; 200, 301 and 302 where no status is named.
#[test]
fn valid_gives_freshness() {
    let origin = Origin::start();
    origin.on("/200", Reply::ok("x"));
    origin.on("/302", Reply::new(302).header("Location", "/200"));
    origin.on("/500", Reply::new(500));
    let second = |lines: &str, path: &str| {
        let nginx = Conf::caching_with(&origin, lines).start();
        nginx.get(path);
        nginx.get(path).cache().to_owned()
    };
    assert_eq!(second("", "/200"), "MISS");
    assert_eq!(second("swr_cache_valid 1m;", "/200"), "HIT");
    assert_eq!(second("swr_cache_valid 1m;", "/302"), "HIT");
    assert_eq!(second("swr_cache_valid 1m;", "/none"), "MISS");
    assert_eq!(
        second("swr_cache_valid 200 1m; swr_cache_valid 404 1m;", "/none"),
        "HIT"
    );
    assert_eq!(second("swr_cache_valid any 1m;", "/500"), "HIT");
    assert_eq!(second("swr_cache_valid 404 1m;", "/200"), "MISS");
}

#[test]
fn valid_does_not_beat_the_origin() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("no-store", "x"));
    let nginx = Conf::caching_with(&origin, "swr_cache_valid any 1m;").start();
    nginx.get("/");
    assert_eq!(nginx.get("/").cache(), "MISS");
}

#[test]
fn methods() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::cached("max-age=60", r.method.clone()));
    let nginx = Conf::caching(&origin).start();
    nginx
        .client()
        .request("POST", "/", &[("Content-Length", "0")])
        .is(200, "", "POST");
    nginx.get("/").is(200, "MISS", "GET");
    nginx.get("/").is(200, "HIT", "GET");

    let nginx = Conf::caching_with(
        &origin,
        "swr_cache_methods GET HEAD POST; swr_cache_key $request_method;",
    )
    .start();
    nginx
        .client()
        .request("POST", "/", &[("Content-Length", "0")])
        .is(200, "MISS", "POST");
    nginx
        .client()
        .request("POST", "/", &[("Content-Length", "0")])
        .is(200, "HIT", "POST");
}

/// RFC 9111 §4.4: a successful unsafe request makes what is stored for the URI invalid; a failed one does not.
#[test]
fn methods_unsafe_ones_invalidate() {
    let origin = Origin::start();
    origin.handle("/", |r| match r.method.as_str() {
        "GET" => Reply::cached("max-age=60", "x"),
        method => Reply::new(if method == "PUT" { 500 } else { 200 }),
    });
    let nginx = Conf::caching(&origin).start();
    let send = |method| {
        nginx
            .client()
            .request(method, "/", &[("Content-Length", "0")])
    };
    nginx.get("/").is(200, "MISS", "x");
    send("PUT");
    nginx.get("/").is(200, "HIT", "x");
    for method in ["POST", "DELETE"] {
        send(method);
        nginx.get("/").is(200, "MISS", "x");
    }
}

#[test]
fn bypass_goes_to_the_origin_and_stores() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::cached("max-age=60", r.nth.to_string()));
    let nginx =
        Conf::caching_with(&origin, "swr_cache_key $uri; swr_cache_bypass $arg_fresh;").start();
    nginx.get("/").is(200, "MISS", "0");
    nginx.get("/?fresh=0").is(200, "HIT", "0");
    nginx.get("/?fresh=1").is(200, "BYPASS", "1");
    nginx.get("/").is(200, "HIT", "1");
}

#[test]
fn no_cache_does_not_store() {
    let origin = Origin::start();
    origin.on("/", cached("x"));
    let nginx = Conf::caching_with(&origin, "swr_no_cache $http_x_private;").start();
    nginx
        .get_with("/", &[("X-Private", "1")])
        .is(200, "MISS", "x");
    nginx.get("/").is(200, "MISS", "x");
    // It only says what is not stored; what is stored is served.
    nginx
        .get_with("/", &[("X-Private", "1")])
        .is(200, "HIT", "x");
}

#[test]
fn ignore_headers() {
    let origin = Origin::start();
    origin.on("/no-store", Reply::cached("no-store", "x"));
    origin.on("/cookie", cached("x").header("Set-Cookie", "id=1"));
    let nginx = Conf::caching(&origin).start();
    for path in ["/no-store", "/cookie"] {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), "MISS", "{path}");
    }
    let lines = "swr_ignore_headers Cache-Control Set-Cookie; swr_cache_valid 1m;";
    let nginx = Conf::caching_with(&origin, lines).start();
    for path in ["/no-store", "/cookie"] {
        nginx.get(path);
        let hit = nginx.get(path);
        hit.is(200, "HIT", "x");
        assert_eq!(hit.header("Set-Cookie"), None, "a cookie is never stored");
    }
}

#[test]
fn x_accel_expires() {
    let origin = Origin::start();
    origin.on(
        "/on",
        Reply::cached("no-store", "x").header("X-Accel-Expires", "60"),
    );
    origin.on("/off", cached("x").header("X-Accel-Expires", "0"));
    let nginx = Conf::caching(&origin).start();
    for (path, second) in [("/on", "HIT"), ("/off", "MISS")] {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), second, "{path}");
    }
}

#[test]
fn min_uses() {
    let origin = Origin::start();
    origin.on("/", cached("x"));
    let nginx = Conf::caching_with(&origin, "swr_cache_min_uses 3;").start();
    let statuses: Vec<_> = (0..4).map(|_| nginx.get("/").cache().to_owned()).collect();
    assert_eq!(statuses, ["MISS", "MISS", "MISS", "HIT"]);
}

/// RFC 9111 §3.5: `Authorization` needs an explicit permission to be shared.
#[test]
fn authorization_is_not_shared() {
    let origin = Origin::start();
    origin.on("/private", cached("x"));
    origin.on("/public", Reply::cached("public, max-age=60", "x"));
    let nginx = Conf::caching(&origin).start();
    let basic = [("Authorization", "Basic eDp5")];
    for (path, second) in [("/private", "BYPASS"), ("/public", "HIT")] {
        nginx.get_with(path, &basic);
        assert_eq!(nginx.get_with(path, &basic).cache(), second, "{path}");
    }
}

#[test]
fn client_control() {
    let origin = Origin::start();
    origin.handle("/", |r| Reply::cached("max-age=60", r.nth.to_string()));
    let no_cache = [("Cache-Control", "no-cache")];
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "0");
    nginx.get_with("/", &no_cache).is(200, "HIT", "0");

    let nginx = Conf::caching_with(&origin, "swr_cache_client_control on;").start();
    let only = [("Cache-Control", "only-if-cached")];
    assert_eq!(nginx.get_with("/", &only).status, 504);
    nginx.get("/").is(200, "MISS", "1");
    nginx.get_with("/", &only).is(200, "HIT", "1");
    assert_eq!(nginx.get_with("/", &no_cache).text(), "2");
    nginx.get("/").is(200, "HIT", "2");
}

/// RFC 9111 §4.1.
#[test]
fn vary_keeps_variants_apart() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        let language = r.header("Accept-Language").unwrap_or("none").to_owned();
        Reply::cached("max-age=60", language).header("Vary", "Accept-Language")
    });
    let nginx = Conf::caching(&origin).start();
    let german = [("Accept-Language", "de")];
    nginx.get_with("/", &german).is(200, "MISS", "de");
    nginx.get("/").is(200, "MISS", "none");
    nginx.get_with("/", &german).is(200, "HIT", "de");
    nginx.get("/").is(200, "HIT", "none");
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn vary_star_never_matches() {
    let origin = Origin::start();
    origin.on("/", cached("x").header("Vary", "*"));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    assert_eq!(nginx.get("/").cache(), "MISS");
}

#[test]
fn vary_accept_encoding_is_normalised() {
    let origin = Origin::start();
    origin.on("/", cached("x").header("Vary", "Accept-Encoding"));
    let nginx = Conf::caching(&origin).start();
    nginx.get_with("/", &[("Accept-Encoding", "gzip, br")]);
    assert_eq!(
        nginx
            .get_with("/", &[("Accept-Encoding", "br,gzip;q=0.9")])
            .cache(),
        "HIT"
    );
    assert_eq!(nginx.get("/").cache(), "MISS");
}

/// A refresh asks for the variant that it is to renew.
#[test]
fn vary_refresh_asks_for_the_stored_variant() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        let language = r.header("Accept-Language").unwrap_or("none").to_owned();
        let age = if r.nth < 2 { 100 } else { 0 };
        let control = "max-age=60, stale-while-revalidate=600";
        Reply::aged(age, control, format!("{language}{}", r.nth)).header("Vary", "Accept-Language")
    });
    let nginx = Conf::caching(&origin).start();
    let german = [("Accept-Language", "de")];
    nginx.get_with("/", &german).is(200, "MISS", "de0");
    nginx.get("/").is(200, "MISS", "none1");
    nginx.get_with("/", &german).is(200, "UPDATING", "de0");
    eventually("the renewed variant", || {
        nginx.get_with("/", &german).text() == "de2"
    });
    nginx.get("/").is(200, "UPDATING", "none1");
}

#[test]
fn inherited_from_http_and_server() {
    let origin = Origin::start();
    origin.on("/a", Reply::ok("x"));
    origin.on("/off", Reply::ok("x"));
    let pass = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .http("swr_cache main;")
        .server("swr_cache_valid 1m;")
        .location("/", &pass)
        .location("/off", &format!("swr_cache off; {pass}"))
        .start();
    nginx.get("/a").is(200, "MISS", "x");
    nginx.get("/a").is(200, "HIT", "x");
    nginx.get("/off").is(200, "", "x");
}

/// Of what may stand several times in a block, each line counts.
#[test]
fn lines_of_a_block_add_up() {
    let origin = Origin::start();
    let replies = |control: &str| Reply::cached(control, "x");
    origin.on("/", replies("max-age=60"));
    origin.on("/vary", replies("no-store").header("Vary", "*"));
    origin.handle("/post", move |r| {
        replies("max-age=60").body(r.method.clone())
    });
    let nginx = Conf::caching_with(
        &origin,
        "swr_cache_bypass $arg_a; swr_cache_bypass $arg_b; swr_no_cache $arg_c; swr_no_cache $arg_d; \
         swr_ignore_headers Cache-Control; swr_ignore_headers Vary; swr_cache_methods POST; swr_cache_methods GET; \
         swr_cache_valid any 1y; swr_cache_valid 404 1s; swr_cache_key $uri$request_method;",
    )
    .start();
    for query in ["a", "b"] {
        assert_eq!(nginx.get(&format!("/?{query}=1")).cache(), "BYPASS");
    }
    for query in ["c", "d"] {
        let nginx =
            Conf::caching_with(&origin, "swr_no_cache $arg_c; swr_no_cache $arg_d;").start();
        for _ in 0..2 {
            assert_eq!(nginx.get(&format!("/?{query}=1")).cache(), "MISS");
        }
    }
    for path in ["/vary", "/vary?2"] {
        assert_eq!(nginx.get(path).status, 200);
    }
    assert_eq!(nginx.get("/vary").cache(), "HIT");
    let post = || {
        nginx
            .client()
            .request("POST", "/post", &[("Content-Length", "0")])
    };
    post().is(200, "MISS", "POST");
    post().is(200, "HIT", "POST");
}

/// As `proxy_cache_convert_head off`, except that a HEAD never answers a GET, whatever the key.
#[test]
fn convert_head_off() {
    let origin = Origin::start();
    origin.handle("/", |r| match r.method.as_str() {
        "HEAD" => Reply::raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 999\r\nX-By: HEAD\r\n\r\n"),
        _ => Reply::cached("max-age=60", "body").header("X-By", "GET"),
    });
    let lines = "swr_cache_convert_head off; swr_cache_purge_method PURGE from 127.0.0.1;";
    let nginx = Conf::caching_with(&origin, lines).start();
    let head = |cache: &str| {
        let head = nginx.client().request("HEAD", "/", &[]);
        head.is(200, cache, "");
        let told = (head.header("X-By"), head.header("Content-Length"));
        assert_eq!(told, (Some("HEAD"), Some("999")), "{head:?}");
        assert_eq!(
            (head.header("ETag"), head.header("Last-Modified")),
            (None, None)
        );
    };
    head("MISS");
    head("HIT");
    nginx.get("/").is(200, "MISS", "body");
    nginx.get("/").is(200, "HIT", "body");
    head("HIT");
    assert_eq!(origin.hits("/"), 2);
    // A purge, and a write, are of both.
    assert_eq!(nginx.client().request("PURGE", "/", &[]).status, 200);
    head("MISS");
    nginx
        .client()
        .request("PUT", "/", &[("Content-Length", "0")]);
    head("MISS");
}

/// As `proxy_cache_max_range_offset`: the part is the origin's to send, and nothing is stored for it.
#[test]
fn max_range_offset() {
    let origin = Origin::start();
    origin.handle("/", |r| match r.header("Range") {
        Some(_) => Reply::new(206)
            .header("Content-Range", "bytes 4-4/10")
            .body("4"),
        None => Reply::cached("max-age=60", "0123456789"),
    });
    let nginx = Conf::caching_with(&origin, "swr_cache_max_range_offset 4;").start();
    let part = |range| nginx.get_with("/", &[("Range", range)]);
    for range in ["bytes=4-4", "bytes=-6"] {
        part(range).is(206, "MISS", "4");
    }
    part("bytes=3-3").is(206, "MISS", "3");
    part("bytes=4-5").is(206, "HIT", "45");
    assert_eq!(origin.hits("/"), 3);
}

/// Tags are for this cache: clients see them with `pass` alone, from the origin as from the store; purges find them either way.
#[test]
fn directives_tag_headers_pass() {
    let origin = Origin::start();
    let fields = ["Surrogate-Key", "Cache-Tag", "xkey", "Cache-Groups"];
    let tagged = |reply: Reply| {
        let tags = ["k", "t", "x", "\"g\""];
        let fields = fields.iter().zip(tags);
        fields.fold(reply, |reply, (name, tag)| reply.header(name, tag))
    };
    origin.on(
        "/",
        tagged(Reply::cached("max-age=60", "page").header("ETag", "\"1\"")),
    );
    origin.on("/private", tagged(Reply::cached("private", "page")));
    let all = "Surrogate-Key Cache-Tag xkey Cache-Groups";
    for (line, seen) in [
        (String::new(), &fields[3..]),
        (format!("swr_cache_tag_headers {all};"), &fields[3..]),
        (format!("swr_cache_tag_headers {all} pass;"), &fields[..]),
        ("swr_cache_tag_headers xkey pass;".to_owned(), &fields[..]),
        ("swr_cache_tag_headers off;".to_owned(), &fields[..]),
    ] {
        let purge = "location /purge { swr_cache_purge zone=main; }";
        let nginx = Conf::caching_with(&origin, &line).server(purge).start();
        let check = |response: &Response| {
            let shown = fields.iter().filter(|name| response.header(name).is_some());
            assert!(shown.eq(seen), "{line}: {response:?}");
        };
        for (path, cache) in [
            ("/", "MISS"),
            ("/", "HIT"),
            ("/private", "MISS"),
            ("/private", "MISS"),
        ] {
            let response = nginx.get(path);
            assert_eq!(response.cache(), cache, "{line}{path}");
            check(&response);
        }
        let not_modified = nginx.get_with("/", &[("If-None-Match", "\"1\"")]);
        assert_eq!(not_modified.status, 304);
        assert_eq!(
            not_modified.header("xkey").is_some(),
            seen.contains(&"xkey"),
            "{line}"
        );
        let body = "{\"tags\": [\"x\"]}";
        let length = body.len().to_string();
        let mut client = nginx.client();
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let purged = if line.contains("off") { 0 } else { 1 };
        let said = client.receive("POST").text();
        assert!(
            said.contains(&format!("\"purged\":{purged}")),
            "{line}: {said}"
        );
    }
}
