//! Switched on, the cache changes nothing but speed: the same location with it and without, asked the same.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clients::curl;
use crate::http3::with_http3;
use crate::support::*;
use crate::transparent::raw;

/// The same location twice: `/on/` with the cache, `/off/` without.
fn twins(origin: &Origin, lines: &str) -> Conf {
    let pass = format!("proxy_pass http://{}/; {lines}", origin.addr);
    Conf::new()
        .zone()
        .location("/off/", &pass)
        .location("/on/", &format!("swr_cache main; {pass}"))
}

/// What a client sees of `name`, line by line, whichever twin answered.
fn seen(response: &Response, name: &str) -> Vec<String> {
    let lines = response.all(name).into_iter();
    lines.map(|line| line.replace("/off/", "/on/")).collect()
}

/// Asks again until the answer took no change of the second, since fields like `Expires` count from it.
fn within_a_second<T>(mut ask: impl FnMut() -> T) -> T {
    let second = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").as_secs()
    };
    loop {
        let begun = second();
        let answer = ask();
        if second() == begun {
            return answer;
        }
    }
}

/// Asks both twins, the one with the cache three times: when nothing is stored, and twice more.
#[track_caller]
fn alike(nginx: &Nginx, path: &str, fields: &[(&str, &str)], names: &[&str]) {
    for turn in 1..=3 {
        let [alone, cached] = within_a_second(|| {
            ["off", "on"].map(|twin| nginx.get_with(&format!("/{twin}{path}"), fields))
        });
        assert_eq!(cached.status, alone.status, "{path}, turn {turn}");
        for name in names {
            let (got, want) = (seen(&cached, name), seen(&alone, name));
            assert_eq!(got, want, "{name} of {path} {fields:?}, turn {turn}");
        }
        assert_eq!(cached.text(), alone.text(), "{path}, turn {turn}");
    }
}

const REDIRECTS: [(&str, u16, &str); 7] = [
    ("/path", 302, "/login?next=1"),
    ("/scheme-relative", 301, "//cdn.example/x"),
    ("/relative", 302, "../up"),
    ("/absolute", 308, "https://other.example/y"),
    ("/empty", 302, ""),
    ("/created", 201, "/new/1"),
    ("/own", 302, "http://app.example/new/1"),
];

fn redirecting() -> Origin {
    let origin = Origin::start();
    for control in ["max-age=60", "no-store"] {
        for (path, status, to) in REDIRECTS {
            let reply = Reply::new(status).header("Location", to);
            origin.on(
                &format!("/{control}{path}"),
                reply.header("Cache-Control", control),
            );
        }
    }
    origin
}

/// An origin's relative `Location` is its own affair; only nginx's own redirects, and those that `proxy_redirect` rewrites, are
/// made absolute (ngx_http_upstream_rewrite_location).
#[test]
fn twins_redirects() {
    let origin = redirecting();
    for lines in [
        "",
        "absolute_redirect off;",
        "proxy_redirect off;",
        "proxy_redirect http://app.example/ /;",
        "proxy_redirect http://app.example/ /; absolute_redirect off;",
        "proxy_redirect http://app.example/ /; port_in_redirect off;",
        "proxy_redirect http://app.example/ /; server_name_in_redirect on;",
    ] {
        let nginx = twins(&origin, lines).start();
        for control in ["max-age=60", "no-store"] {
            for (path, ..) in REDIRECTS {
                alike(&nginx, &format!("/{control}{path}"), &[], &["Location"]);
            }
        }
    }
}

#[test]
fn twins_redirects_over_http2() {
    let origin = redirecting();
    let nginx = twins(&origin, "proxy_redirect http://app.example/ /;")
        .http2()
        .start();
    let location = |twin: &str, path: &str| {
        let url = format!("http://{}/{twin}/max-age=60{path}", nginx.addr);
        let (head, _) = curl(&["--http2-prior-knowledge", "-H", "Host: localhost", &url]);
        let mut lines = head.lines().filter(|line| line.starts_with("location:"));
        (lines.next().map(str::to_owned), lines.count())
    };
    for (path, ..) in REDIRECTS {
        for _ in 0..2 {
            assert_eq!(location("on", path), location("off", path), "{path}");
        }
    }
}

#[test]
fn twins_redirects_over_http3() {
    let origin = redirecting();
    let conf = twins(&origin, "proxy_redirect http://app.example/ /;")
        .tls()
        .http3();
    let Some(nginx) = with_http3(&conf) else {
        return;
    };
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    for (path, ..) in REDIRECTS {
        let alone = client.get(&format!("/off/max-age=60{path}"), &[]);
        for _ in 0..2 {
            let cached = client.get(&format!("/on/max-age=60{path}"), &[]);
            assert_eq!(
                seen(&cached, "location"),
                seen(&alone, "location"),
                "{path}"
            );
        }
    }
}

/// Fields of which nginx keeps all lines together: its filters and variables find each of them, in order.
#[test]
fn twins_fields_of_several_lines() {
    let origin = Origin::start();
    for control in ["max-age=60", "no-store"] {
        origin.on(
            &format!("/{control}"),
            Reply::cached(control, "x")
                .header("Cache-Control", "no-transform")
                .header("Expires", "Thu, 01 Jan 2037 00:00:00 GMT")
                .header("Link", "</a>; rel=preload")
                .header("Link", "</b>; rel=preload")
                .header("Vary", "X-One")
                .header("Vary", "X-Two")
                .header("WWW-Authenticate", "Basic realm=one")
                .header("WWW-Authenticate", "Bearer realm=two")
                .header("X-Own", "1")
                .header("X-Own", "2"),
        );
    }
    let names = [
        "Cache-Control",
        "Expires",
        "Link",
        "Vary",
        "WWW-Authenticate",
        "X-Own",
        "X-Sent-Control",
        "X-Sent-Link",
        "X-Sent-Own",
        "X-Sent-Expires",
    ];
    for lines in [
        "",
        "expires 1h;",
        "expires -1;",
        "add_header Cache-Control s-maxage=9;",
    ] {
        let told = "add_header X-Sent-Control $sent_http_cache_control; add_header X-Sent-Link $sent_http_link; \
                    add_header X-Sent-Own $sent_http_x_own; add_header X-Sent-Expires $sent_http_expires;";
        let nginx = twins(&origin, &format!("{lines} {told}")).start();
        for control in ["max-age=60", "no-store"] {
            alike(&nginx, &format!("/{control}"), &[], &names);
        }
    }
}

/// `auth_request` passes on the challenges of the server that it asks: all of them since nginx 1.23.
#[test]
fn twins_challenges_of_auth_request() {
    let origin = Origin::start();
    for control in ["max-age=60", "no-store"] {
        origin.on(
            &format!("/auth/{control}"),
            Reply::new(401)
                .header("Cache-Control", control)
                .header("WWW-Authenticate", "Basic realm=one")
                .header("WWW-Authenticate", "Bearer realm=two"),
        );
    }
    for control in ["max-age=60", "no-store"] {
        let auth = format!(
            "internal; proxy_pass http://{}/auth/{control};",
            origin.addr
        );
        let nginx = Conf::new()
            .zone()
            .location("= /auth-on", &format!("swr_cache main; {auth}"))
            .location("= /auth-off", &auth)
            .location("/on/", "auth_request /auth-on;")
            .location("/off/", "auth_request /auth-off;")
            .start();
        alike(&nginx, "/x", &[], &["WWW-Authenticate"]);
    }
}

/// `Accept-Ranges` comes once, as with `proxy_cache` in the cache's name where parts can be had; it is the origin's where the
/// response only goes by.
#[test]
fn twins_accept_ranges() {
    let origin = Origin::start();
    for offer in ["bytes", "none"] {
        let reply = |control| {
            let reply = Reply::cached(control, "0123456789").header("ETag", "\"a\"");
            reply.header("Accept-Ranges", offer)
        };
        origin.on(&format!("/stored/{offer}"), reply("max-age=60"));
        origin.on(&format!("/relayed/{offer}"), reply("no-store"));
    }
    let part = Reply::cached("no-store", "0123456789").header("Content-Range", "bytes 0-9/10");
    origin.on("/part", part.header("Accept-Ranges", "bytes"));
    let nginx = twins(&origin, "").start();
    let range = [("Range", "bytes=2-3")];
    for offer in ["bytes", "none"] {
        let path = format!("/on/stored/{offer}");
        for fields in [
            &[][..],
            &[("Range", "lines=1-2")],
            &[("Range", "bytes=2-3"), ("If-Range", "\"b\"")],
        ] {
            for _ in 0..2 {
                let response = nginx.get_with(&path, fields);
                assert_eq!(
                    response.all("Accept-Ranges"),
                    ["bytes"],
                    "{offer} {fields:?}"
                );
            }
        }
        assert_eq!(nginx.get_with(&path, &range).text(), "23");
        let not_modified = nginx.get_with(&path, &[("If-None-Match", "\"a\"")]);
        assert_eq!(
            (not_modified.status, not_modified.header("Accept-Ranges")),
            (304, None)
        );
        alike(
            &nginx,
            &format!("/relayed/{offer}"),
            &[],
            &["Accept-Ranges"],
        );
    }
    // An origin that takes no ranges shows the whole, who leads the fetch and who passes after.
    alike(
        &nginx,
        "/relayed/none",
        &range,
        &["Accept-Ranges", "Content-Range"],
    );
    alike(&nginx, "/part", &range, &["Accept-Ranges", "Content-Range"]);
    let led = twins(&origin, "")
        .start()
        .get_with("/on/relayed/bytes", &range);
    assert_eq!((led.status, led.text().as_str()), (206, "23"));
    let none = twins(&origin, "max_ranges 0;").start();
    for _ in 0..2 {
        let response = none.get_with("/on/stored/bytes", &range);
        assert_eq!(
            (response.status, response.header("Accept-Ranges")),
            (200, None)
        );
    }
}

/// A tag without quotes, and dates, are compared as nginx does with its own cache.
#[test]
fn twins_if_modified_since_off() {
    let origin = Origin::start();
    let date = "Thu, 01 Jan 2015 00:00:00 GMT";
    origin.on(
        "/",
        Reply::cached("max-age=60", "x")
            .header("Last-Modified", date)
            .header("ETag", "v1"),
    );
    for (value, by_date) in [("off", 200), ("exact", 304), ("before", 304)] {
        let nginx = Conf::caching_with(&origin, &format!("if_modified_since {value};")).start();
        nginx.get("/").is(200, "MISS", "x");
        let status = |name, sent| nginx.get_with("/", &[(name, sent)]).status;
        assert_eq!(status("If-Modified-Since", date), by_date, "{value}");
        assert_eq!(
            status("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT"),
            by_date,
            "{value}"
        );
        assert_eq!(
            status("If-Modified-Since", "Thu, 01 Jan 2014 00:00:00 GMT"),
            200,
            "{value}"
        );
        assert_eq!(status("If-None-Match", "v1"), 304, "{value}");
    }
}

/// An error page answers with the status that it comes to, and nginx's own redirect takes the place of the one before it.
#[test]
fn twins_error_pages_that_redirect() {
    let origin = Origin::start();
    origin.on("/moved", Reply::new(302).header("Location", "/there"));
    origin.on(
        "/kept",
        Reply::new(302)
            .header("Location", "/there")
            .header("Cache-Control", "max-age=60"),
    );
    let nginx = |cache: &str| {
        let pass = format!("{cache} proxy_pass http://{};", origin.addr);
        let nginx = Conf::new()
            .zone()
            .server(cache)
            .location("/get", "error_page 405 /d; return 405;")
            .location("/d", &format!("{cache} root .;"))
            .location("/first", "error_page 302 /moved; return 302 /elsewhere;")
            .location("/second", "error_page 302 /kept; return 302 /elsewhere;")
            .location("/third", "error_page 404 =302 /kept; return 404;")
            .location(
                "/fourth",
                "error_page 404 =302 http://x.example/y; return 404;",
            )
            .location("/fifth", "error_page 302 /d; return 302 /elsewhere;")
            .location("/moved", &pass)
            .location("/kept", &pass)
            .start();
        std::fs::create_dir_all(nginx.dir().join("d")).expect("a folder");
        nginx
    };
    let (on, off) = (nginx("swr_cache main;"), nginx(""));
    let port = |text: &str, nginx: &Nginx| text.replace(&nginx.addr.port().to_string(), "PORT");
    for path in [
        "/get", "/first", "/second", "/third", "/fourth", "/fifth", "/d",
    ] {
        let alone = off.get(path);
        let locations = |response: &Response, nginx| -> Vec<String> {
            response
                .all("Location")
                .iter()
                .map(|line| port(line, nginx))
                .collect()
        };
        let wanted = locations(&alone, &off);
        for turn in 1..=2 {
            let cached = on.get(path);
            assert_eq!(cached.status, alone.status, "{path}, turn {turn}");
            let got = locations(&cached, &on);
            assert_eq!(got, wanted, "{path}, turn {turn}");
        }
    }
}

/// A listing cuts names in UTF-8 between characters, by a charset that the location's filters set.
#[test]
fn twins_names_of_a_listing() {
    let name = "ж".repeat(70);
    for lines in [
        "charset utf-8;",
        "charset koi8-r; source_charset utf-8;",
        "",
    ] {
        let nginx = Conf::new()
            .zone()
            .http("charset_map koi8-r utf-8 { D6 D0B6; }")
            .location("/off/", &format!("alias d/; autoindex on; {lines}"))
            .location(
                "/on/",
                &format!("swr_cache main; alias d/; autoindex on; {lines}"),
            )
            .location(
                "/kept/",
                &format!("swr_cache main; swr_cache_valid 1m; alias d/; autoindex on; {lines}"),
            )
            .start();
        std::fs::create_dir_all(nginx.dir().join("d")).expect("a folder");
        std::fs::write(nginx.dir().join("d").join(&name), "x").expect("a file");
        let alone = nginx.get("/off/");
        for path in ["/on/", "/on/", "/kept/", "/kept/"] {
            let cached = nginx.get(path);
            let body = String::from_utf8_lossy(&cached.body).replace(path, "/off/");
            assert_eq!(body, String::from_utf8_lossy(&alone.body), "{path} {lines}");
            assert_eq!(
                seen(&cached, "Content-Type"),
                seen(&alone, "Content-Type"),
                "{path} {lines}"
            );
        }
    }
}

/// Who takes gzip gets the file that is there compressed, whoever asked first; `Vary` is said where `gzip_vary` says it.
#[test]
fn twins_compressed_files() {
    for lines in [
        "gzip_static on;",
        "gzip_static on; gzip_vary on;",
        "gzip_static on; gzip_vary on; gzip on; gzip_types *; gzip_min_length 1;",
        "gzip_static always; gunzip on;",
    ] {
        let conf = Conf::new()
            .zone()
            .http("swr_cache_zone zone=small:8m max_object=16;")
            .location("/off/", &format!("alias d/; {lines}"))
            .location("/on/", &format!("swr_cache main; alias d/; {lines}"))
            .location("/large/", &format!("swr_cache small; alias d/; {lines}"));
        if let Err(log) = conf.check() {
            assert!(log.contains("unknown directive \"gzip_static\""), "{log}");
            return;
        }
        let nginx = conf.start();
        let dir = nginx.dir().join("d");
        std::fs::create_dir_all(&dir).expect("a folder");
        for file in ["a.txt", "b.txt"] {
            std::fs::write(dir.join(file), "a text, a text, a text").expect("a file");
            let gzip = std::process::Command::new("gzip")
                .arg("-k")
                .arg(dir.join(file))
                .status();
            assert!(gzip.is_ok_and(|status| status.success()));
        }
        let gzip = [("Accept-Encoding", "gzip")];
        for (file, turns) in [("a.txt", [&gzip[..], &[]]), ("b.txt", [&[], &gzip[..]])] {
            for fields in turns {
                let names = ["Content-Encoding", "Vary", "Content-Type"];
                let alone = nginx.get_with(&format!("/off/{file}"), fields);
                for twin in ["on", "on", "on", "large", "large"] {
                    let cached = nginx.get_with(&format!("/{twin}/{file}"), fields);
                    for name in names {
                        assert_eq!(
                            seen(&cached, name),
                            seen(&alone, name),
                            "{name} {twin} {file} {fields:?} {lines}"
                        );
                    }
                    assert_eq!(cached.body, alone.body, "{file} {fields:?} {lines}");
                }
            }
        }
    }
}

/// nginx with the cache for all and without it: what both show of `paths`, thrice, each time by a connection of its own.
#[track_caller]
fn both_show(conf: impl Fn() -> Conf, paths: &[&str], names: &[&str]) {
    let (on, off) = (conf().server("swr_cache main;").start(), conf().start());
    for path in paths {
        let alone = off.get(path);
        for turn in 1..=3 {
            let cached = on.get(path);
            let shown = |response: &Response| {
                let fields = names.iter().map(|name| seen(response, name));
                (response.status, fields.collect::<Vec<_>>(), response.text())
            };
            assert_eq!(shown(&cached), shown(&alone), "{path}, turn {turn}");
        }
    }
}

/// Where an origin leads on by `X-Accel-Redirect`, what it said and what was computed for it goes along.
#[test]
fn twins_what_goes_along_with_a_redirect() {
    let origin = Origin::start();
    origin.on("/file", Reply::cached("max-age=60", "a file"));
    origin.on("/other", Reply::cached("max-age=60", "another file"));
    for (path, to, url) in [
        ("/go", "/said", "file"),
        ("/get", "/fetched", "file"),
        ("/get-other", "/fetched", "other"),
        ("/named", "@named", "file"),
    ] {
        let reply = Reply::cached("max-age=60", "").header("X-Accel-Redirect", to);
        let reply = reply.header("X-Accel-Charset", "koi8-r");
        let reply = reply.header("Content-Type", "text/html");
        let reply = reply.header("X-Note", path);
        let url = format!("http://{}/{url}", origin.addr);
        origin.on(path, reply.header("X-Url", &url));
    }
    let said = "add_header X-Said $upstream_http_x_note; add_header X-Uri $mapped;";
    let conf = || {
        Conf::new()
            .zone()
            .http("map $uri $mapped { default $uri; }")
            .server("charset utf-8;")
            .location("/koi", "charset koi8-r;")
            .location(
                "/",
                &format!(
                    "proxy_set_header X-Uri $mapped; proxy_pass http://{};",
                    origin.addr
                ),
            )
            .location("/said", &format!("{said} return 200 $mapped;"))
            .location(
                "/fetched",
                &format!("{said} set $url $upstream_http_x_url; proxy_pass $url;"),
            )
            .location(
                "@named",
                &format!("{said} set $url $upstream_http_x_url; proxy_pass $url;"),
            )
    };
    both_show(
        conf,
        &["/go", "/get", "/get-other", "/named"],
        &["Content-Type", "X-Said", "X-Uri"],
    );
}

/// The status line is the origin's, each time, and what nginx makes of a response by it.
#[test]
fn twins_status_lines() {
    let origin = Origin::start();
    for control in ["max-age=60", "no-store"] {
        for line in [
            "204 Nothing here",
            "404 NOT FOUND",
            "302 FOUND",
            "200 Fine",
            "200 OK",
        ] {
            let status = line.split(' ').next().unwrap_or_default();
            origin.on(
                &format!("/{control}/{}", line.replace(' ', "-")),
                Reply::raw(format!(
                    "HTTP/1.1 {line}\r\nCache-Control: {control}\r\nContent-Type: text/x-own\r\nLocation: /there\r\n\
                     {}\r\n",
                    if status == "204" { "" } else { "Content-Length: 0\r\n" }
                )),
            );
        }
    }
    let nginx = twins(&origin, "").start();
    for control in ["max-age=60", "no-store"] {
        for path in [
            "204-Nothing-here",
            "404-NOT-FOUND",
            "302-FOUND",
            "200-Fine",
            "200-OK",
        ] {
            let shown = |twin: &str| {
                let all = raw(&nginx, &format!("/{twin}/{control}/{path}"));
                let lines = all.lines().filter(|line| {
                    ["HTTP", "Content-", "Transfer-", "Connection", "Location"]
                        .iter()
                        .any(|start| line.starts_with(start))
                });
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            for turn in 1..=3 {
                assert_eq!(shown("on"), shown("off"), "{control} {path}, turn {turn}");
            }
        }
    }
}

/// What the access log tells of the origins, where one leads on to another.
#[test]
fn twins_origins_in_the_log() {
    let (app, files) = (Origin::start(), Origin::start());
    files.on("/file", Reply::cached("max-age=60", "a file"));
    app.on("/go", Reply::ok("").header("X-Accel-Redirect", "/file"));
    app.on("/error", Reply::new(404));
    let dead = free_port();
    let conf = || {
        Conf::new()
            .zone()
            .http(&format!(
                "log_format l '$upstream_addr,$upstream_status,$upstream_bytes_sent,$upstream_response_length'; \
                 upstream some {{ server 127.0.0.1:{dead}; server {} backup; }}",
                app.addr
            ))
            .server("access_log access.log l; proxy_intercept_errors on; error_page 404 = /file;")
            .location("/", &format!("proxy_pass http://{};", app.addr))
            .location("/file", &format!("proxy_pass http://{};", files.addr))
            .location("/some/", "proxy_pass http://some/;")
            .allow("connect() failed")
            .allow("temporarily disabled")
    };
    let (on, off) = (conf().server("swr_cache main;").start(), conf().start());
    for path in ["/go", "/error", "/some/go", "/some/error", "/file?x"] {
        let told = |nginx: &Nginx| {
            let log = nginx.dir().join("access.log");
            let before = std::fs::read_to_string(&log).unwrap_or_default();
            assert_eq!(nginx.get(path).text(), "a file", "{path}");
            let mut line = String::new();
            eventually("a line of log", || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                line = text[before.len()..].to_owned();
                line.ends_with('\n')
            });
            line
        };
        assert_eq!(told(&on), told(&off), "{path}");
    }
}
