//! The cache in subrequests, and beside the access phase: SSI, auth_request, mirror, error_page, internal redirects.

use crate::clients::curl;
use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300";

#[test]
fn ssi_includes_come_from_the_cache() {
    let origin = Origin::start();
    let page = "<!--#include virtual=\"/part\" -->, <!--#include virtual=\"/part\" --> and <!--#include virtual=\"/late\" -->";
    origin.on(
        "/page",
        Reply::cached("max-age=60", page).header("Content-Type", "text/html"),
    );
    origin.on("/part", Reply::cached("max-age=60", "part"));
    origin.expired("/late", WINDOWS, Reply::cached(WINDOWS, "new"));
    let nginx = Conf::caching_with(&origin, "ssi on;").start();
    assert_eq!(nginx.get("/page").text(), "part, part and old");
    assert_eq!(nginx.get("/page").text(), "part, part and old");
    eventually("the refreshed include", || {
        nginx.get("/page").text() == "part, part and new"
    });
    assert_eq!(
        (
            origin.hits("/page"),
            origin.hits("/part"),
            origin.hits("/late")
        ),
        (1, 1, 2)
    );
}

/// Access is decided for each client, also for what is stored; and a refresh does not decide it again.
#[test]
fn auth_request_guards_what_is_stored() {
    let origin = Origin::start();
    origin.handle("/auth", |r| {
        Reply::new(if r.header("X-Key") == Some("open") {
            204
        } else {
            403
        })
    });
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new"));
    let pass = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .location("/", &format!("auth_request /auth; swr_cache main; {pass}"))
        .location("= /auth", &format!("internal; {pass}"))
        .start();
    let key = [("X-Key", "open")];
    nginx.get_with("/", &key).is(200, "MISS", "old");
    assert_eq!(nginx.get("/").status, 403);
    nginx.get_with("/", &key).is(200, "UPDATING", "old");
    eventually("the refresh", || nginx.get_with("/", &key).text() == "new");
    let asked = origin.hits("/auth");
    assert_eq!(nginx.get("/").status, 403);
    assert_eq!((origin.hits("/auth"), origin.hits("/")), (asked + 1, 2));
}

/// Answers of an auth_request can be cached like anything else.
#[test]
fn auth_request_answers_are_cached() {
    let origin = Origin::start();
    origin.on("/auth", Reply::cached("max-age=60", ""));
    origin.on("/", Reply::ok("secret"));
    let pass = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .location("/", &format!("auth_request /auth; {pass}"))
        .location(
            "= /auth",
            &format!("internal; swr_cache main; swr_cache_key auth; {pass}"),
        )
        .start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").text(), "secret");
    }
    assert_eq!((origin.hits("/auth"), origin.hits("/")), (1, 3));
}

/// What `set`, `map` and `auth_request_set` said for the client holds for its fetch.
#[test]
fn variables_hold_in_the_fetch() {
    let origin = Origin::start();
    origin.on("/auth", Reply::new(204).header("X-Tenant", "blue"));
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new"));
    let pass = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .http("map $http_x_color $shade { default pale; red deep; }")
        .location(
            "/",
            &format!(
                "auth_request /auth; auth_request_set $tenant $upstream_http_x_tenant; set $own mine; swr_cache main; \
                 proxy_set_header X-Tenant $tenant; proxy_set_header X-Own $own; proxy_set_header X-Shade $shade; {pass}"
            ),
        )
        .location("= /auth", &format!("internal; {pass}"))
        .start();
    let red = [("X-Color", "red")];
    nginx.get_with("/", &red);
    nginx.get_with("/", &red).is(200, "UPDATING", "old");
    origin.await_hits("/", 2);
    for request in origin.requests("/") {
        let field = |name| request.header(name).unwrap_or_default().to_owned();
        assert_eq!(
            (field("X-Tenant"), field("X-Own"), field("X-Shade")),
            ("blue".into(), "mine".into(), "deep".into())
        );
    }
}

#[test]
fn try_files_shares_by_the_key() {
    let origin = Origin::start();
    origin.on("/fallback", Reply::cached("max-age=60", "fallback"));
    let folder = Folder::new();
    let pass = format!(
        "swr_cache main; swr_cache_key $uri; proxy_pass http://{}/fallback;",
        origin.addr
    );
    let nginx = Conf::new()
        .zone()
        .server(&format!("root {};", folder.0.display()))
        .location("/", "try_files $uri /dynamic;")
        .location("= /dynamic", &pass)
        .start();
    nginx.get("/nowhere").is(200, "MISS", "fallback");
    nginx.get("/elsewhere").is(200, "HIT", "fallback");
    nginx.get("/dynamic").is(200, "MISS", "fallback");
}

/// A mirror sees every request, those that the cache answers too.
#[test]
fn mirror_sees_hits() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    origin.on("/copy", Reply::new(200));
    let (main, copy) = (
        format!(
            "mirror /copy; swr_cache main; proxy_pass http://{};",
            origin.addr
        ),
        format!("internal; proxy_pass http://{}/copy;", origin.addr),
    );
    let nginx = Conf::new()
        .zone()
        .location("/", &main)
        .location("= /copy", &copy)
        .start();
    nginx.get("/").is(200, "MISS", "x");
    nginx.get("/");
    origin.await_hits("/copy", 2);
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn mirror_is_harmless() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    origin.on("/copy", Reply::cached("max-age=60", "copy"));
    let nginx = Conf::new()
        .zone()
        .location(
            "/",
            &format!(
                "mirror /copy; swr_cache main; proxy_pass http://{};",
                origin.addr
            ),
        )
        .location(
            "= /copy",
            &format!(
                "internal; swr_cache main; swr_cache_key copy; proxy_pass http://{}/copy;",
                origin.addr
            ),
        )
        .start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").text(), "x");
    }
    // Every request is mirrored, hits too; the mirror's location has a cache of its own.
    origin.await_hits("/copy", 1);
    assert_eq!((origin.hits("/"), origin.hits("/copy")), (1, 1));
}

/// A refresh begins behind the visitor's answer, whose filters may match regular expressions of their own.
#[test]
fn captures_hold_in_a_refresh() {
    let origin = Origin::start();
    let old = Reply::aged(100, "max-age=60, stale-while-revalidate=600", "old");
    origin.script("/b/a", [old, Reply::cached("max-age=60", "new")]);
    let nginx = Conf::new()
        .zone()
        .http("map $swr_cache_status $letters { ~^(.)(.) $1$2; }")
        .location(
            "~ ^/of/(.+)/and/(.+)$",
            &format!(
                "swr_cache main; add_header X-Letters $letters; add_header X-Cache $swr_cache_status; proxy_pass http://{}/$2/$1;",
                origin.addr
            ),
        )
        .start();
    nginx.get("/of/a/and/b").is(200, "MISS", "old");
    let response = nginx.get("/of/a/and/b");
    assert_eq!(response.header("X-Letters"), Some("UP"));
    response.is(200, "UPDATING", "old");
    origin.await_hits("/b/a", 2);
    let response = nginx.await_status("/of/a/and/b", "HIT");
    response.is(200, "HIT", "new");
}

/// nginx counts a match of a regex without groups as a capture, without noting where; groups are noted, and hold in a fetch.
#[test]
fn captures_hold_in_the_fetch() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "x"));
    let nginx = Conf::new()
        .zone()
        .location("~ ^/(never)(at)(all)$", "return 204;")
        .location(
            "~ ^/of/(.+)/and/(.+)$",
            &format!("swr_cache main; proxy_pass http://{}/$2/$1;", origin.addr),
        )
        .location(
            "~ \\.txt$",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .start();
    for n in 0..200 {
        assert_eq!(nginx.get(&format!("/{n}.txt")).status, 404);
    }
    origin.on("/b/a", Reply::cached("max-age=60", "by captures"));
    nginx.get("/of/a/and/b").is(200, "MISS", "by captures");
    // A header that fills more than one of nginx's buffers.
    origin.on("/d/c", Reply::cached("max-age=60", "by captures"));
    let long = "x".repeat(3000);
    let fields = [("Cookie", long.as_str()), ("X-More", long.as_str())];
    nginx
        .get_with("/of/c/and/d", &fields)
        .is(200, "MISS", "by captures");
}

/// The text that has been matched may lie in the memory of the request, of its header, of the stream or of the connection.
#[test]
fn captures_hold_wherever_their_text_is() {
    let origin = Origin::start();
    let places = ["/path/a", "/name", "/address", "/field"];
    for path in places {
        origin.handle(path, |r| {
            let captured = r.header("X-Captured").unwrap_or("none").to_owned();
            Reply::aged(2, "max-age=1, stale-while-revalidate=600", captured)
        });
    }
    let pass = |lines: &str| format!("{lines} proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .zone()
        .tls()
        .http2()
        .server("server_name ~^(\\w+)\\.shops$;")
        .server("swr_cache main; swr_cache_key $server_protocol$uri; proxy_set_header X-Captured \"$1\";")
        .location("~ ^/path/(.*)$", &pass(""))
        .location("/name", &pass(""))
        .location("/address", &pass("if ($remote_addr ~ ^(127)) { set $is 1; }"))
        .location("/field", &pass("if ($http_user_agent ~ ^(cu)) { set $is 1; }"))
        .start();
    let to = format!("one.shops:{}:127.0.0.1", nginx.addr.port());
    for version in ["--http1.1", "--http2"] {
        for (path, want) in places.into_iter().zip(["a", "one", "127", "cu"]) {
            let url = format!("https://one.shops:{}{path}", nginx.addr.port());
            for n in 0..2 {
                let asked = origin.hits(path);
                let (head, text) = curl(&[version, "-k", "--resolve", &to, &url]);
                assert_eq!(text, want, "{version} {path} {n}: {head}");
                origin.await_hits(path, asked + 1);
                let sent = origin.last(path).header("X-Captured").map(str::to_owned);
                assert_eq!(sent.as_deref(), Some(want), "{version} {path} {n}");
            }
        }
    }
}

/// The key, the zone's name and the conditions are computed before the content handler, and may match regular expressions of their own:
/// what the location has captured stays for `proxy_pass`.
#[test]
fn captures_hold_behind_the_key() {
    let origin = Origin::start();
    let stale = "max-age=1, stale-while-revalidate=600";
    origin.on("/page", Reply::aged(2, stale, "page"));
    let map = |name: &str, value: &str| {
        format!(
            r#"map $http_user_agent ${name} {{ volatile; default {value}; "~(iphone|android)" {value}; }}"#
        )
    };
    let pass = |lines: &str| format!("{lines} proxy_pass http://{}/$1;", origin.addr);
    let nginx = Conf::new()
        .zone()
        .http(&map("device", "mobile"))
        .http(&map("is_robot", "0"))
        .http(&map("zone", "main"))
        .location(
            "~ ^/key/(.*)$",
            &pass("swr_cache main; swr_cache_key $device$uri;"),
        )
        .location(
            "~ ^/bypass/(.*)$",
            &pass("swr_cache main; swr_cache_bypass $is_robot;"),
        )
        .location(
            "~ ^/no-cache/(.*)$",
            &pass("swr_cache main; swr_no_cache $is_robot;"),
        )
        .location("~ ^/zone/(.*)$", &pass("swr_cache $zone;"))
        .start();
    let fields = [("User-Agent", "iphone")];
    for place in ["key", "bypass", "no-cache", "zone"] {
        let path = format!("/{place}/page");
        let asked = origin.hits("/page");
        nginx.get_with(&path, &fields).is(200, "MISS", "page");
        nginx.get_with(&path, &fields).is(200, "UPDATING", "page");
        origin.await_hits("/page", asked + 2);
        let empty = ("Content-Length", "0");
        let written = nginx.client().request("POST", &path, &[fields[0], empty]);
        assert_eq!(written.text(), "page", "{path}");
    }
}

/// A regex that the fetch matches may have more groups than the one that the visitor's request has matched last.
#[test]
fn captures_of_the_fetch_have_room() {
    let origin = Origin::start();
    let nginx = Conf::new()
        .zone()
        .http("map $upstream_http_x_letters $is_backward { \"~^(.)(.)(.)(.)(.)(.)(.)(.)$\" $8; }")
        .location(
            "~ ^/(.+)$",
            &format!(
                "swr_cache main; swr_no_cache $is_backward; proxy_pass http://{}/$1;",
                origin.addr
            ),
        )
        .start();
    for (n, letters) in ["12345670", "76543210", "1234567x"].into_iter().enumerate() {
        let reply = Reply::cached("max-age=60", letters);
        origin.on(&format!("/{n}"), reply.header("X-Letters", letters));
        let second = match letters {
            "1234567x" => "MISS",
            _ => "HIT",
        };
        nginx.get(&format!("/{n}")).is(200, "MISS", letters);
        nginx.get(&format!("/{n}")).is(200, second, letters);
    }
}

/// nginx tells the active request of a connection, which may be a subrequest, that the client has gone. The fetch goes on.
#[test]
fn subrequests_whose_client_goes() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let page = Reply::cached("max-age=60", "<!--#include virtual=\"/slow\" -->");
    origin.on("/", page.header("Content-Type", "text/html"));
    origin.on("/slow", Reply::cached("max-age=60", "x").hold(&gate));
    let lines = "ssi on; access_log gone.log;";
    let nginx = Conf::caching_with(&origin, lines).start();
    let log = nginx.dir().join("gone.log");
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    origin.await_hits("/slow", 1);
    drop(client);
    eventually("the end of the request", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("GET / "))
    });
    gate.open();
    nginx.await_status("/slow", "HIT").is(200, "HIT", "x");
    assert_eq!(origin.hits("/slow"), 1);
}

/// An include may be answered before the page that has it is at its end, though nothing of either is stored.
#[test]
fn subrequests_that_are_answered_at_once() {
    let origin = Origin::start();
    let page = "<!--#include virtual=\"/now\" -->, <!--#include virtual=\"/now\" -->.";
    for i in 0..20 {
        let reply = Reply::cached("no-store", page).header("Content-Type", "text/html");
        origin.on(&format!("/{i}"), reply);
    }
    let nginx = Conf::caching_with(&origin, "ssi on;")
        .location("/now", "return 200 now;")
        .start();
    for i in 0..20 {
        nginx.get(&format!("/{i}")).is(200, "MISS", "now, now.");
    }
}
