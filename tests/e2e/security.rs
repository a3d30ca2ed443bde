//! What one visitor could get of another's, or could leave for another: none of it, ever.

use crate::support::*;

const HOUR: &str = "max-age=3600";

/// An origin that shows what it was asked, in a response that may be stored for an hour.
fn echo(origin: &Origin, paths: &[&str], say: fn(&Recorded) -> String) {
    for path in paths {
        origin.handle(path, move |r| Reply::cached(HOUR, say(r)));
    }
}

/// RFC 9111 §7.3. A response that sets a cookie is one visitor's; where the location or the response itself has the cookie
/// left out, the rest is stored without it.
#[test]
fn security_a_cookie_is_never_replayed() {
    let origin = Origin::start();
    for path in ["/plain", "/stripped/x", "/named"] {
        let control = match path {
            "/named" => "max-age=3600, no-cache=\"Set-Cookie\"",
            _ => HOUR,
        };
        origin.handle(path, move |r| {
            Reply::cached(control, "x").header("Set-Cookie", &format!("id={}", r.nth))
        });
    }
    let strip = format!(
        "swr_cache main; swr_ignore_headers Set-Cookie; proxy_pass http://{};",
        origin.addr
    );
    let nginx = Conf::caching(&origin)
        .location("/stripped/", &strip)
        .start();
    for n in 0..3 {
        let own = nginx.get("/plain");
        own.is(200, "MISS", "x");
        assert_eq!(own.all("Set-Cookie"), [format!("id={n}")]);
    }
    for path in ["/stripped/x", "/named"] {
        nginx.get(path).is(200, "MISS", "x");
        for _ in 0..2 {
            let hit = nginx.get(path);
            hit.is(200, "HIT", "x");
            assert_eq!(hit.header("Set-Cookie"), None, "{path}");
        }
    }
}

/// The refresh is everybody's: it has none of the credentials of the visitor who caused it.
#[test]
fn security_a_refresh_has_no_credentials() {
    let origin = Origin::start();
    let stale = "max-age=1, public, stale-while-revalidate=600";
    origin.handle("/", move |r| {
        let who = r.header("Cookie").or(r.header("Authorization"));
        Reply::aged(2, stale, who.unwrap_or("nobody"))
    });
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "nobody");
    for (n, field) in [("Cookie", "id=1"), ("Authorization", "Basic eDp5")]
        .into_iter()
        .enumerate()
    {
        // The refresh before may still be under way.
        eventually("a refresh", || {
            nginx.get_with("/", &[field]).is(200, "UPDATING", "nobody");
            origin.hits("/") >= n + 2
        });
        let refresh = origin.last("/");
        assert_eq!(refresh.header("Cookie"), None);
        assert_eq!(refresh.header("Authorization"), None);
        nginx
            .await_status("/", "UPDATING")
            .is(200, "UPDATING", "nobody");
    }
}

/// Without them a refresh would bring back the page of another key. The others of a visitor stay with the visitor.
#[test]
fn security_a_refresh_sends_the_cookies_of_its_key() {
    let origin = Origin::start();
    let stale = "max-age=1, stale-while-revalidate=600";
    for path in ["/named", "/mapped", "/set", "/by-device"] {
        origin.handle(path, move |r| {
            Reply::aged(2, stale, r.header("Cookie").unwrap_or("none"))
        });
    }
    let pass = |lines: &str| format!("{lines} proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .http("map $http_cookie $vary { default ''; '~Vary=(?<of_cookie>[^;]+)' $of_cookie; }")
        .http("map $http_x_device $device { default desk; phone phone; }")
        .server("swr_cache main;")
        .location("/named", &pass("swr_cache_key $uri$cookie_lang;"))
        .location("/mapped", &pass("swr_cache_key $uri?$swr_cache_args$vary;"))
        .location(
            "/set",
            &pass("set $lang $cookie_lang; swr_cache_key $uri$lang;"),
        )
        .location("/by-device", &pass("swr_cache_key $uri$device;"))
        .start();
    for (path, visitor, first, sent) in [
        ("/named", "id=1; lang=de; x=y", None, "lang=de"),
        ("/named", "id=1", None, "none"),
        ("/mapped", "id=1; Vary=eur; x=y", None, "Vary=eur"),
        ("/mapped", "id=1; x=y", None, "none"),
        // `set` has made it of nobody knows what, and `map` reads them all.
        ("/set", "id=1; lang=de", None, "id=1; lang=de"),
        ("/set", "id=1", None, "none"),
        ("/by-device", "id=1", Some("phone"), "none"),
        ("/by-device", "id=1", None, "none"),
    ] {
        let ask = || {
            let device = first.map(|device| ("X-Device", device));
            let fields: Vec<_> = [("Cookie", visitor)].into_iter().chain(device).collect();
            nginx.get_with(path, &fields)
        };
        ask().is(200, "MISS", visitor);
        let asked = origin.hits(path);
        ask().is(200, "UPDATING", visitor);
        eventually("a refresh", || origin.hits(path) > asked);
        let refresh = origin.last(path);
        assert_eq!(refresh.header("Cookie").unwrap_or("none"), sent, "{path}");
        eventually("its page", || ask().text() == sent);
    }
    assert!(!nginx.log().contains("[warn]"), "{}", nginx.log());
}

/// Where the key can't be computed again, nobody knows of which cookies it is made: of none but those that the configuration reads.
#[test]
fn security_a_refresh_sends_no_cookies_that_the_configuration_does_not_read() {
    let origin = Origin::start();
    for path in ["/shop/", "/shop/by-others/", "/set"] {
        origin.on(
            path,
            Reply::aged(2, "max-age=1, stale-while-revalidate=600", "page"),
        );
    }
    let pass = |lines: &str| format!("{lines} proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .server("swr_cache main;")
        .location("~ ^/(?<site>[a-z]+)/", &pass("swr_cache_key $site$1$uri;"))
        .location(
            "/set",
            &pass("set $lang $cookie_Lang; swr_cache_key $uri$lang;"),
        )
        .start();
    for (path, cookies, want) in [
        ("/shop/", "id=1; lang=de", Some("lang=de")),
        ("/set", "id=1; lang=de", Some("lang=de")),
        ("/shop/by-others/", "id=1; x=y", None),
    ] {
        let ask = || nginx.get_with(path, &[("Cookie", cookies)]);
        ask().is(200, "MISS", "page");
        let asked = origin.hits(path);
        ask().is(200, "UPDATING", "page");
        eventually("a refresh", || origin.hits(path) > asked);
        let sent = origin.last(path).header("Cookie").map(str::to_owned);
        assert_eq!(sent.as_deref(), want, "{path}");
    }
}

/// Where `auth_request` tells what the key is made of, the server that it asks has read the cookies.
#[test]
fn security_a_refresh_sends_the_cookies_that_auth_request_has_read() {
    let origin = Origin::start();
    origin.handle("/auth", |r| {
        let is_member = r.header("Cookie").is_some_and(|all| all.contains("s=1"));
        Reply::cached("no-store", "").header("X-Tier", if is_member { "gold" } else { "free" })
    });
    origin.handle("/", |r| {
        let cookies = r.header("Cookie").unwrap_or("none");
        Reply::aged(2, "max-age=1, stale-while-revalidate=600", cookies)
    });
    let pass = format!("proxy_pass http://{};", origin.addr);
    let lines = "swr_cache main; auth_request /auth; auth_request_set $tier $upstream_http_x_tier; swr_cache_key $tier$uri;";
    let nginx = Conf::new()
        .zone()
        .location("= /auth", &format!("internal; {pass}"))
        .location("/", &format!("{lines} {pass}"))
        .start();
    let ask = || nginx.get_with("/", &[("Cookie", "s=1; x=y")]);
    ask().is(200, "MISS", "s=1; x=y");
    let asked = origin.hits("/");
    ask().is(200, "UPDATING", "s=1; x=y");
    eventually("a refresh", || origin.hits("/") > asked);
    assert_eq!(origin.last("/").header("Cookie"), Some("s=1; x=y"));
}

/// While the cookies are tried a regex may match where none has matched the visitor's: it leaves no `$1` behind.
#[test]
fn security_a_refresh_has_no_captures_of_a_key_that_was_tried() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        let sent = r.header("X-Captured").unwrap_or("none");
        Reply::aged(2, "max-age=1, stale-while-revalidate=600", sent)
    });
    let lines = "swr_cache_key $uri$lang; proxy_set_header X-Captured \"$1\";";
    let nginx = Conf::caching_with(&origin, lines)
        .http(r#"map $http_cookie $lang { default none; '' ''; "~^(?!.*b=).*lang=(\w+)" $1; }"#)
        .start();
    let ask = || nginx.get_with("/", &[("Cookie", "lang=english; b=2")]);
    ask().is(200, "MISS", "none");
    let asked = origin.hits("/");
    ask().is(200, "UPDATING", "none");
    eventually("a refresh", || origin.hits("/") > asked);
    assert_eq!(origin.last("/").header("X-Captured"), None);
    assert_eq!(origin.last("/").header("Cookie"), Some("b=2"));
}

/// RFC 9111 §3, §5.2.2.5, §5.2.2.7: cache deception too, since what a path ends in says nothing.
#[test]
fn security_what_is_private_is_not_stored() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (n, control) in [
        "private",
        "no-store",
        "private, max-age=3600",
        "no-store, max-age=3600, public",
        "max-age=3600, no-cache=\"x\", private",
        "PRIVATE, max-age=3600",
        "max-age=3600, x=\"y\", No-Store",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/account/{n}.css");
        let whose = |r: &Recorded| r.header("Cookie").unwrap_or("nobody").to_owned();
        origin.handle(&path, move |r| Reply::cached(control, whose(r)));
        for who in ["id=1", "id=2"] {
            nginx
                .get_with(&path, &[("Cookie", who)])
                .is(200, "MISS", who);
        }
        nginx.get(&path).is(200, "MISS", "nobody");
    }
}

/// A response to `Authorization` is not for others without a word that says so (RFC 9111 §3.5).
#[test]
fn security_authorization_needs_leave() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, control, first, second) in [
        ("/a", HOUR, "BYPASS", "MISS"),
        ("/b", "max-age=3600, public", "MISS", "HIT"),
        ("/c", "s-maxage=3600", "MISS", "HIT"),
        ("/d", "max-age=3600, must-revalidate", "MISS", "HIT"),
        ("/e", "max-age=3600, private", "MISS", "MISS"),
    ] {
        origin.on(path, Reply::cached(control, "x"));
        let me = [("Authorization", "Basic eDp5")];
        nginx.get_with(path, &me).is(200, first, "x");
        nginx.get(path).is(200, second, "x");
    }
}

/// A refresh that turns uncacheable ends the entry; nobody gets the old one or the new one from the store again.
#[test]
fn security_a_refresh_that_turns_uncacheable_ends_the_entry() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, reply) in [
        ("/no-store", Reply::cached("no-store", "new")),
        ("/private", Reply::cached("private, max-age=60", "new")),
        (
            "/cookie",
            Reply::cached(HOUR, "new").header("Set-Cookie", "a=b"),
        ),
    ] {
        let stale = "max-age=1, stale-while-revalidate=600";
        origin.script(path, [Reply::aged(2, stale, "old"), reply]);
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "UPDATING", "old");
        nginx.await_status(path, "MISS").is(200, "MISS", "new");
        nginx.get(path).is(200, "MISS", "new");
    }
}

/// What is not in the key does not change what is stored; what `Vary` names is in the key.
#[test]
fn security_unkeyed_fields() {
    let origin = Origin::start();
    let named = |r: &Recorded| {
        let host = r.header("X-Forwarded-Host").unwrap_or("none");
        Reply::cached(HOUR, host.to_owned())
    };
    origin.handle("/varies", move |r| {
        named(r).header("Vary", "X-Forwarded-Host")
    });
    origin.handle("/", named);
    let nginx = Conf::caching(&origin).start();
    let evil = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Original-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
    ];
    nginx.get("/").is(200, "MISS", "none");
    nginx.get_with("/", &evil).is(200, "HIT", "none");
    nginx
        .get_with("/varies", &evil)
        .is(200, "MISS", "evil.example");
    nginx.get("/varies").is(200, "MISS", "none");
    nginx
        .get_with("/varies", &evil)
        .is(200, "HIT", "evil.example");
    nginx.get("/varies").is(200, "HIT", "none");
}

/// `Host` in all its spellings, to an origin that is given it as it came: an entry is shared where the spelling makes no
/// difference, and only there.
#[test]
fn security_host_and_absolute_targets() {
    let origin = Origin::start();
    echo(&origin, &["/"], |r| {
        r.header("Host").unwrap_or_default().to_owned()
    });
    let nginx = Conf::caching_with(&origin, "proxy_set_header Host $http_host;").start();
    let own = format!("localhost:{}", nginx.addr.port());
    nginx.get("/").is(200, "MISS", "localhost");
    for same in ["LocalHost", "localhost:80", own.as_str()] {
        nginx
            .get_with("/", &[("Host", same)])
            .is(200, "HIT", "localhost");
    }
    for other in [
        "localhost:1337",
        "localhost.",
        "other",
        "localhost:",
        "[::1]",
    ] {
        for cache in ["MISS", "HIT"] {
            nginx
                .get_with("/", &[("Host", other)])
                .is(200, cache, other);
        }
    }
    // An absolute target goes before Host (RFC 9112 §3.2.2), and nginx passes Host on nevertheless.
    let mut client = nginx.client();
    client.get("http://localhost/").is(200, "HIT", "localhost");
    client
        .get_with("http://localhost/", &[("Host", "evil.example")])
        .is(200, "MISS", "evil.example");
    client.get("http://localhost/").is(200, "HIT", "localhost");
    nginx.get("/").is(200, "HIT", "localhost");
    // nginx turns these away before any cache sees them.
    for fields in [
        &[("Host", "localhost"), ("Host", "evil.example")][..],
        &[("Host", "local host")],
        &[("Host", "localhost/x")],
        &[("Host", "")],
    ] {
        let refused = nginx.get_with("/", fields);
        assert!(
            refused.status == 400 || refused.cache() == "MISS",
            "{fields:?}: {refused:?}"
        );
    }
}

/// What reaches the origin as different targets has different entries, however alike nginx finds them.
#[test]
fn security_spellings_of_a_path() {
    let origin = Origin::start();
    let spellings = [
        "/a/b",
        "//a/b",
        "/a//b",
        "/a/./b",
        "/a/c/../b",
        "/%61/b",
        "/a%2Fb",
        "/a/b?",
        "/a/b?x",
        "/a/b?X",
        "/A/b",
        "/a/b/",
        "/a/b;x",
        "/a/b%3Fx",
        "/a/b%00",
        "/a/b%0d%0aX:y",
    ];
    for target in spellings {
        let path = target.split('?').next().unwrap_or_default();
        echo(&origin, &[path], |r| r.target.clone());
    }
    let nginx = Conf::caching(&origin).start();
    for cache in ["MISS", "HIT"] {
        for target in spellings {
            let got = nginx.get(target);
            if target.contains("%00") {
                assert_eq!(got.status, 400, "nginx allows no NUL");
            } else {
                got.is(200, cache, target);
            }
        }
    }
}

/// A key of several variables can't be hit by moving bytes from one to the next, and shows as it is written.
#[test]
fn security_key_confusion() {
    let origin = Origin::start();
    echo(&origin, &["/"], |r| r.target.clone());
    let nginx = Conf::caching_with(&origin, "swr_cache_key $arg_a$arg_b;").start();
    let keys = ["/?a=1&b=23", "/?a=12&b=3", "/?a=123", "/?b=123"];
    for cache in ["MISS", "HIT"] {
        for target in keys {
            let got = nginx.get(target);
            got.is(200, cache, target);
            assert_eq!(got.header("X-Cache-Key"), Some("123"));
        }
    }
    nginx.get("/?b=3&a=12&c=4").is(200, "HIT", "/?a=12&b=3");

    let separated = "swr_cache_key ${arg_a}|$arg_b|$http_x;";
    let nginx = Conf::caching_with(&origin, separated).start();
    for cache in ["MISS", "HIT"] {
        for target in ["/?a=1|2&b=3", "/?a=1&b=2|3"] {
            let got = nginx.get(target);
            got.is(200, cache, target);
            assert_eq!(got.header("X-Cache-Key"), Some("1|2|3|"));
        }
    }
}

/// A header over the limits passes, uncached and whole.
#[test]
fn security_oversize_headers() {
    let origin = Origin::start();
    let long = "x".repeat(40_000);
    origin.on("/long", Reply::cached(HOUR, "x").header("X-Long", &long));
    let many = (0..300).fold(Reply::cached(HOUR, "x"), |reply, n| {
        reply.header(&format!("X-{n}"), "y")
    });
    origin.on("/many", many);
    let buffers = "proxy_buffer_size 128k; proxy_buffers 4 128k; proxy_busy_buffers_size 256k;";
    let nginx = Conf::caching_with(&origin, buffers).start();
    for _ in 0..2 {
        let got = nginx.get("/long");
        got.is(200, "MISS", "x");
        assert_eq!(got.header("X-Long").map(str::len), Some(long.len()));
        let got = nginx.get("/many");
        got.is(200, "MISS", "x");
        assert_eq!(got.header("X-299"), Some("y"));
    }
    // A request's is for nginx to judge.
    let refused = nginx.get_with("/long", &[("X-Long", &long)]);
    assert_eq!(refused.status, 400);
}

/// Nothing stored can forge a line of the next response, or of the next request to the origin.
#[test]
fn security_header_injection() {
    let origin = Origin::start();
    for (path, value) in [
        ("/cr", "a\rSet-Cookie: id=1"),
        ("/nul", "a\0b"),
        ("/folded", "a\r\n Set-Cookie: id=1"),
        ("/tab", "a\tb"),
    ] {
        let raw = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 1\r\nX: {value}\r\n\r\nx"
        );
        origin.on(path, Reply::raw(raw));
    }
    let nginx = Conf::caching(&origin).start();
    for path in ["/cr", "/nul", "/folded", "/tab"] {
        for _ in 0..2 {
            let got = nginx.get(path);
            assert_eq!(got.header("Set-Cookie"), None, "{path}");
            assert!(matches!(got.status, 200 | 502), "{path}: {got:?}");
        }
    }
    // What a request said and Vary names is sent again on a refresh.
    let varies = Reply::aged(2, "max-age=1, stale-while-revalidate=600", "x").header("Vary", "X-V");
    origin.on("/varies", varies);
    let odd = [("X-V", "a\tb \"c\\r\\nX-Evil: 1\" %0d%0a")];
    nginx.get_with("/varies", &odd).is(200, "MISS", "x");
    nginx.get_with("/varies", &odd).is(200, "UPDATING", "x");
    origin.await_hits("/varies", 2);
    let refresh = origin.last("/varies");
    assert_eq!(refresh.header("X-V"), Some(odd[0].1));
    assert_eq!(refresh.header("X-Evil"), None);
}

/// A body that comes with a request for a stored response is read to its end, and no further: what looks like a request
/// in it is none, and the next request on the connection gets its own answer.
#[test]
fn security_a_body_is_no_request() {
    let origin = Origin::start();
    origin.on("/", Reply::cached(HOUR, "stored"));
    origin.on("/next", Reply::cached(HOUR, "next"));
    origin.on("/admin", Reply::cached(HOUR, "admin"));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "stored");
    let smuggled = "GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    );
    let expects = format!("Expect: 100-continue\r\n{length}");
    for method in ["GET", "HEAD", "POST"] {
        for framing in [&length, &chunked, &expects] {
            let mut client = nginx.client();
            client.send_raw(&format!(
                "{method} / HTTP/1.1\r\nHost: localhost\r\n{framing}"
            ));
            let first = client.receive(method);
            let first = match first.status {
                100 => client.receive(method),
                _ => first,
            };
            assert_eq!(first.status, 200, "{method} {framing}: {first:?}");
            assert_ne!(first.text(), "admin");
            client.send("GET", "/next", &[]);
            if let Some(next) = client.try_receive("GET") {
                assert_eq!(next.text(), "next", "{method} {framing}");
            }
        }
    }
    assert_eq!(origin.hits("/admin"), 0);
    // Two framings at once, or one that nginx does not know, end the connection.
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut client = nginx.client();
        client.send_raw(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{framing}"));
        let refused = client.receive("GET");
        assert!(refused.status >= 400, "{framing}: {refused:?}");
    }
}

/// Malformed fields of a response are read as absent or as the past; it passes, and is never an error of the cache's.
#[test]
fn security_malformed_fields_pass() {
    let origin = Origin::start();
    let nginx = Conf::caching_with(&origin, "swr_cache_status_header on;").start();
    for (n, (name, value, second)) in [
        ("Expires", "yesterday", "MISS"),
        ("Cache-Control", "max-age=", "MISS"),
        ("Cache-Control", "=,;\"", "MISS"),
        ("CDN-Cache-Control", "&&&, max-age", "MISS"),
        ("Vary", "a b, ,,;", "MISS"),
        ("ETag", "\"open", "MISS"),
        ("Last-Modified", "Mon, 32 Foo", "MISS"),
        ("Age", "-1", "HIT"),
        ("Date", "never", "HIT"),
        ("Cache-Status", "\"x", "HIT"),
        ("Cache-Groups", "(a", "HIT"),
        ("Content-Range", "bytes x", "HIT"),
        ("Retry-After", "soon", "HIT"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}");
        let reply = Reply::ok("x").header(name, value);
        let reply = match second {
            "HIT" => reply.header("Cache-Control", HOUR),
            _ => reply,
        };
        origin.on(&path, reply);
        nginx.get(&path).is(200, "MISS", "x");
        let again = nginx.get(&path);
        assert_eq!((again.status, again.text().as_str()), (200, "x"), "{name}");
        if second == "HIT" {
            assert_eq!(again.cache(), "HIT", "{name}");
        }
    }
    origin.on("/", Reply::cached(HOUR, "x").header("ETag", "\"a\""));
    nginx.get("/").is(200, "MISS", "x");
    for (name, value) in [
        ("Range", "bytes=9-1,x"),
        ("If-None-Match", "\"open, W/"),
        ("If-Modified-Since", "0"),
        ("If-Range", "\""),
        ("Cache-Control", "=\",max-age=-"),
        ("Pragma", ",,"),
        ("Accept-Encoding", ";q=,*;q=x"),
    ] {
        nginx.get_with("/", &[(name, value)]).is(200, "HIT", "x");
    }
}

/// HTTP/2 has two places for the authority; what one visitor writes into them never shows to another.
#[test]
fn security_authority_of_http2() {
    let origin = Origin::start();
    echo(&origin, &["/"], |r| {
        r.header("Host").unwrap_or_default().to_owned()
    });
    let nginx = Conf::caching_with(&origin, "proxy_set_header Host $http_host;")
        .http2()
        .start();
    let url = format!("http://{}/", nginx.addr);
    let ask = |fields: &[&str]| {
        let fields = fields.iter().flat_map(|field| ["-H", field]);
        let output = std::process::Command::new("nghttp")
            .args(fields)
            .arg(&url)
            .output()
            .expect("nghttp runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // nginx turns these away, or has a place of their own for them.
    for evil in [
        &[":authority: localhost", "host: evil.example"][..],
        &[":authority: evil.example", "host: localhost"],
        &[":authority: localhost@evil.example"],
        &[":authority: localhost", ":path: http://evil.example/"],
        &[":authority: localhost:1337"],
    ] {
        assert_ne!(ask(evil), "localhost", "{evil:?}");
    }
    let mut hits = Vec::new();
    for _ in 0..2 {
        assert_eq!(ask(&[":authority: localhost"]), "localhost");
        assert_eq!(ask(&[":authority: evil.example"]), "evil.example");
        hits.push(origin.hits("/"));
    }
    assert_eq!(hits[0], hits[1], "both are stored");
}
