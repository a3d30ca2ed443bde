//! Rules of HTTP that no other file here has a place for, each on a real nginx.

use std::time::{Duration, SystemTime};

use crate::support::*;

const HOUR: &str = "max-age=3600";

/// RFC 9110 §15.4.5: a 304 carries what caches downstream need, and nothing that describes a body.
#[test]
fn rules_fields_of_a_304() {
    let origin = Origin::start();
    let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(5));
    let kept = [
        ("Cache-Control", HOUR),
        ("Content-Location", "/elsewhere"),
        ("Date", date.as_str()),
        ("ETag", "\"1\""),
        ("Expires", "Mon, 03 Feb 2025 11:00:00 GMT"),
        ("Vary", "X"),
        ("X-Own", "1"),
    ];
    let left_out = [
        ("Content-Type", "text/html"),
        ("Content-Encoding", "br"),
        ("Content-Language", "de"),
        ("Content-Range", "bytes 0-1/2"),
    ];
    let whole = Reply::ok("body");
    let reply = kept
        .iter()
        .chain(&left_out)
        .fold(whole, |reply, (name, value)| reply.header(name, value));
    origin.on("/", reply);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "body");
    let not_modified = nginx.get_with("/", &[("If-None-Match", "\"1\"")]);
    not_modified.is(304, "HIT", "");
    for (name, value) in kept {
        assert_eq!(not_modified.all(name), [value], "{name}");
    }
    for (name, _) in left_out {
        assert_eq!(not_modified.header(name), None, "{name}");
    }
    assert_eq!(not_modified.header("Content-Length"), None);
    assert!(not_modified.age() >= 5);
}

/// RFC 9110 §8.8.2: a `Last-Modified` later than `Date` is not sent on, and no validator of the cache's own takes its place.
#[test]
fn rules_last_modified_in_the_future() {
    let origin = Origin::start();
    let reply = Reply::cached(HOUR, "x").header("Last-Modified", "Fri, 01 Jan 2038 00:00:00 GMT");
    origin.on("/", reply);
    let nginx = Conf::caching(&origin).start();
    for cache in ["MISS", "HIT"] {
        let got = nginx.get("/");
        got.is(200, cache, "x");
        assert_eq!(
            (got.header("Last-Modified"), got.header("ETag")),
            (None, None)
        );
    }
}

/// RFC 9111 §4.4: an unsafe request that succeeds ends what is stored for its target, and for what the response names on the same
/// origin.
/// RFC 9111 §4.4: the target is invalid, whatever the key of the request that has changed it.
#[test]
fn rules_unsafe_requests_invalidate_keys_of_ones_own() {
    let origin = Origin::start();
    for path in ["/method/page", "/path/page", "/cached"] {
        origin.handle(path, |r| match r.method.as_str() {
            "GET" => Reply::cached(HOUR, r.nth.to_string()),
            _ => Reply::new(204),
        });
    }
    origin.handle("/write", |r| {
        let (_, to) = r.target.split_once('?').unwrap_or_default();
        Reply::new(303).header("Location", to)
    });
    let pass = |lines: &str| format!("swr_cache main; {lines} proxy_pass http://{};", origin.addr);
    let nginx = Conf::caching(&origin)
        .location(
            "/method/",
            &pass("swr_cache_key $scheme$request_method$host$request_uri;"),
        )
        .location("/path/", &pass("swr_cache_key $host$uri;"))
        .start();
    let write = |method: &str, path: &str| {
        let answer = nginx
            .client()
            .request(method, path, &[("Content-Length", "0")]);
        assert!(answer.status < 400, "{answer:?}");
    };
    for page in ["/method/page", "/path/page", "/cached"] {
        assert_eq!(nginx.get(page).cache(), "MISS", "{page}");
        for method in ["POST", "DELETE"] {
            assert_eq!(nginx.get(page).cache(), "HIT", "{page}");
            write(method, page);
            assert_eq!(nginx.get(page).cache(), "MISS", "{method} {page}");
        }
        write("POST", &format!("/write?{page}"));
        assert_eq!(nginx.get(page).cache(), "MISS", "Location: {page}");
    }
}

#[test]
fn rules_unsafe_requests_invalidate() {
    let origin = Origin::start();
    let paths = ["/target?x", "/made/1", "/list", "/other"];
    for path in paths {
        let path = path.split('?').next().unwrap_or_default();
        origin.handle(path, |r| match (r.method.as_str(), r.header("X-Fails")) {
            ("GET", _) => Reply::cached(HOUR, r.nth.to_string()),
            (_, Some(_)) => Reply::new(500),
            _ => Reply::new(201)
                .header("Location", "made/1")
                .header(
                    "Content-Location",
                    &format!("http://{}/list#top", r.header("Host").unwrap_or_default()),
                )
                .header("Location", "http://other.example/other"),
        });
    }
    let nginx = Conf::caching_with(&origin, "proxy_set_header Host $http_host;").start();
    let all = |cache: &str| {
        for path in paths {
            assert_eq!(nginx.get(path).cache(), cache, "{path}");
        }
    };
    all("MISS");
    for method in ["GET", "HEAD", "OPTIONS"] {
        nginx.client().request(method, "/target?x", &[]);
    }
    nginx.client().request(
        "POST",
        "/target?x",
        &[("X-Fails", "1"), ("Content-Length", "0")],
    );
    all("HIT");
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        let answer = nginx
            .client()
            .request(method, "/target?x", &[("Content-Length", "0")]);
        assert_eq!(answer.status, 201, "{method}");
        assert_eq!(nginx.get("/other").cache(), "HIT", "another origin's word");
        for path in &paths[..3] {
            assert_eq!(nginx.get(path).cache(), "MISS", "{method} {path}");
        }
        all("HIT");
    }
}

/// `swr_cache_invalidate`: what an anonymous POST may do to a page, and by `Location` to another.
#[test]
fn rules_unsafe_requests_invalidate_as_configured() {
    let origin = Origin::start();
    let page = |nth: usize, method: &str| match method {
        "GET" => Reply::cached("max-age=3600, stale-while-revalidate=60", nth.to_string()),
        _ => Reply::new(201).header("Location", "page"),
    };
    for path in ["/post", "/page"] {
        origin.handle(path, move |r| page(r.nth, r.method.as_str()));
    }
    for (lines, post, page) in [
        ("", "MISS", "MISS"),
        ("swr_cache_invalidate on;", "MISS", "MISS"),
        ("swr_cache_invalidate target;", "MISS", "HIT"),
        ("swr_cache_invalidate soft;", "UPDATING", "UPDATING"),
        ("swr_cache_invalidate off;", "HIT", "HIT"),
    ] {
        let nginx = Conf::caching_with(&origin, lines).start();
        for path in ["/post", "/page"] {
            nginx.get(path);
        }
        let fields = [("Content-Length", "0")];
        nginx.client().request("POST", "/post", &fields);
        assert_eq!(nginx.get("/post").cache(), post, "{lines}");
        assert_eq!(nginx.get("/page").cache(), page, "{lines}");
    }
}

/// RFC 4918 §10.3: a copy is written to its destination. No other method can name one.
#[test]
fn rules_a_copy_invalidates_its_destination() {
    let origin = Origin::start();
    for path in ["/a", "/b"] {
        origin.handle(path, |r| match r.method.as_str() {
            "GET" => Reply::cached(HOUR, "x"),
            _ => Reply::new(201),
        });
    }
    let nginx = Conf::caching_with(&origin, "proxy_set_header Host $http_host;").start();
    for (method, cache) in [("COPY", "MISS"), ("MOVE", "MISS"), ("POST", "HIT")] {
        nginx.get("/b");
        let fields = [("Destination", "/b"), ("Content-Length", "0")];
        nginx.client().request(method, "/a", &fields);
        assert_eq!(nginx.get("/b").cache(), cache, "{method}");
    }
}

/// The origin has answered, wherever nginx leads the request by that answer.
#[test]
fn rules_unsafe_requests_that_are_led_on_invalidate() {
    let origin = Origin::start();
    for (path, status, field) in [
        ("/accel", 200, Some("/shown")),
        ("/named", 200, Some("@shown")),
        ("/moved", 303, None),
        ("/refused", 403, None),
    ] {
        origin.handle(path, move |r| match (r.method.as_str(), field) {
            ("GET", _) => Reply::cached(HOUR, "x"),
            (_, Some(to)) => Reply::new(status).header("X-Accel-Redirect", to),
            _ => Reply::new(status).header("Location", "/elsewhere"),
        });
    }
    let lines = "proxy_intercept_errors on; error_page 303 403 /shown;";
    let nginx = Conf::caching_with(&origin, lines)
        .location("/shown", "return 200 shown;")
        .location("@shown", "return 200 shown;")
        .start();
    for (path, cache) in [
        ("/accel", "MISS"),
        ("/named", "MISS"),
        ("/moved", "MISS"),
        ("/refused", "HIT"),
    ] {
        nginx.get(path).is(200, "MISS", "x");
        let fields = [("Content-Length", "0")];
        let answer = nginx.client().request("POST", path, &fields);
        assert_eq!(answer.text(), "shown", "{path}");
        nginx.get(path).is(200, cache, "x");
    }
}

/// RFC 9111 §5.2.1 with `swr_cache_client_control`; RFC 8246 §2: what is `immutable` is not validated while it is fresh.
#[test]
fn rules_directives_of_clients() {
    let origin = Origin::start();
    origin.on("/", Reply::aged(100, HOUR, "x").header("ETag", "\"1\""));
    origin.on(
        "/fixed",
        Reply::aged(100, "max-age=3600, immutable", "x").header("ETag", "\"1\""),
    );
    origin.on(
        "/stale",
        Reply::aged(100, "max-age=60", "x").header("ETag", "\"1\""),
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_client_control on;").start();
    let ask = |path: &str, control: &str| nginx.get_with(path, &[("Cache-Control", control)]);
    assert_eq!(ask("/", "only-if-cached").status, 504);
    assert_eq!(origin.hits("/"), 0);
    for path in ["/", "/fixed", "/stale"] {
        nginx.get(path).is(200, "MISS", "x");
    }
    for (control, cache) in [
        ("only-if-cached", "HIT"),
        ("max-age=600", "HIT"),
        ("min-fresh=600", "HIT"),
        ("max-age=60", "EXPIRED"),
        ("min-fresh=3590", "EXPIRED"),
        ("no-cache", "EXPIRED"),
        ("max-age=0", "EXPIRED"),
    ] {
        assert_eq!(ask("/", control).cache(), cache, "{control}");
    }
    for control in ["no-cache", "max-age=0"] {
        assert_eq!(ask("/fixed", control).cache(), "HIT", "{control}");
    }
    assert_eq!(ask("/stale", "max-stale=10").cache(), "EXPIRED");
    assert_eq!(ask("/stale", "max-stale=600").cache(), "STALE");
    assert_eq!(ask("/stale", "max-stale").cache(), "STALE");
    assert_eq!(
        nginx.get_with("/", &[("Pragma", "no-cache")]).cache(),
        "EXPIRED"
    );
    nginx.get_with("/secret", &[("Cache-Control", "no-store")]);
    origin.on("/secret", Reply::cached(HOUR, "x"));
    ask("/secret", "no-store").is(200, "MISS", "x");
    nginx.get("/secret").is(200, "MISS", "x");
}

/// RFC 9111 §4.2.2, §5.2.2.3, §3: what is stored without a word of freshness, and what is not for all its words.
#[test]
fn rules_what_is_stored() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    const OLD: (&str, &str) = ("Last-Modified", "Mon, 03 Feb 2025 10:00:00 GMT");
    for (n, (status, fields, second)) in [
        (200, vec![OLD], "HIT"),
        (404, vec![OLD], "HIT"),
        (403, vec![OLD], "MISS"),
        (403, vec![OLD, ("Cache-Control", "public")], "HIT"),
        (200, vec![("Cache-Control", "public")], "MISS"),
        (
            200,
            vec![("Cache-Control", "no-store, must-understand, max-age=60")],
            "HIT",
        ),
        (
            299,
            vec![("Cache-Control", "no-store, must-understand, max-age=60")],
            "MISS",
        ),
        (299, vec![("Cache-Control", "max-age=60")], "HIT"),
        (
            200,
            vec![("Cache-Control", "max-age=60, max-age=0")],
            "MISS",
        ),
        (
            200,
            vec![
                ("Cache-Control", "max-age=60"),
                ("Cache-Control", "no-store"),
            ],
            "MISS",
        ),
        (
            200,
            vec![("Cache-Control", "max-age=99999999999999999999")],
            "HIT",
        ),
        (200, vec![("Expires", "0"), OLD], "EXPIRED"),
        (
            200,
            vec![("Cache-Control", "max-age=60"), ("Age", "100, 0"), OLD],
            "EXPIRED",
        ),
        (
            200,
            vec![("Cache-Control", "max-age=60"), ("Age", "0, 100")],
            "HIT",
        ),
        (
            200,
            vec![("Cache-Control", "max-age=60"), ("Age", "1e9")],
            "HIT",
        ),
        (
            200,
            vec![
                ("CDN-Cache-Control", "max-age=60"),
                ("Cache-Control", "no-store"),
            ],
            "HIT",
        ),
        (
            200,
            vec![
                ("CDN-Cache-Control", "max-age=60, &"),
                ("Cache-Control", "no-store"),
            ],
            "MISS",
        ),
        (
            200,
            vec![
                ("CDN-Cache-Control", "no-store"),
                ("Cache-Control", "max-age=60"),
            ],
            "MISS",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}");
        let reply = fields
            .iter()
            .fold(Reply::new(status).body("x"), |reply, (name, value)| {
                reply.header(name, value)
            });
        origin.on(&path, reply);
        nginx.get(&path).is(status, "MISS", "x");
        let again = nginx.get(&path);
        assert_eq!(
            (again.status, again.cache()),
            (status, second),
            "{status} {fields:?}"
        );
    }
}

/// What is meant for this cache ends here, on every way that a response takes: `Surrogate-Control` (as its specification asks), and
/// tags but for `Cache-Groups` (RFC 9875).
#[test]
fn rules_what_is_for_this_cache_alone() {
    let origin = Origin::start();
    let told = |control: &str| {
        Reply::cached(control, "x")
            .header("Surrogate-Control", control)
            .header("Surrogate-Key", "a b")
            .header("Cache-Tag", "c")
            .header("Cache-Groups", "\"g\"")
            .header("CDN-Cache-Control", control)
    };
    origin.on("/stored", told(HOUR));
    origin.on("/private", told("private"));
    let nginx =
        Conf::caching_with(&origin, "swr_cache_bypass $arg_no; swr_no_cache $arg_no;").start();
    for (path, cache) in [
        ("/stored", "MISS"),
        ("/stored", "HIT"),
        ("/private", "MISS"),
        ("/private", "MISS"),
        ("/stored?no=1", "BYPASS"),
    ] {
        let got = nginx.get(path);
        got.is(200, cache, "x");
        for name in ["Surrogate-Control", "Surrogate-Key", "Cache-Tag"] {
            assert_eq!(got.header(name), None, "{path} {cache} {name}");
        }
        for name in ["Cache-Groups", "CDN-Cache-Control"] {
            assert!(got.header(name).is_some(), "{path} {cache} {name}");
        }
    }
}
