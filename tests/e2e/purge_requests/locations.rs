//! Which locations and zones a purge concerns, who may send it, and how it purges.

use super::*;

#[test]
fn purge_requests_that_are_soft_by_configuration_or_by_a_field() {
    let site = Site::with(
        "X-None",
        &[],
        "swr_cache_purge_method PURGE from 127.0.0.1 soft;",
    );
    assert!(
        site.purge("PURGE", "/a", &[], "url", &A)
            .text()
            .contains("\"soft\":true")
    );
    let site = Site::with("X-None", &[], METHODS);
    assert!(
        site.purge("PURGE", "/a", &[("X-Purge-Mode", "soft")], "url", &A)
            .text()
            .contains("\"soft\":true")
    );
    assert!(
        site.purge("PURGE", "/a", &[("X-Purge-Mode", "hard")], "url", &A)
            .text()
            .contains("\"soft\":false")
    );
    site.refused("PURGE", "/a", &[("X-Purge-Mode", "quiet")], "X-Purge-Mode");
    assert_eq!(site.origin.hits("/purge"), 0);
}

/// A method for a whole server purges whatever its locations do with a request; others' addresses, and whom nginx refuses, are refused.
#[test]
fn purge_requests_for_every_url_of_a_server() {
    let origin = Origin::start();
    for path in ["/index.php", "/dir/index.php", "/app"] {
        origin.handle(path, |r| Reply::cached("max-age=600", r.nth.to_string()));
    }
    let cached = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let html = Folder::new();
    std::fs::create_dir(html.0.join("dir")).expect("a folder");
    for folder in [html.0.clone(), html.0.join("dir")] {
        std::fs::write(folder.join("index.php"), "").expect("an index");
    }
    let nginx = Conf::new()
        .zone()
        .server(&format!(
            "{METHODS} root {}; index index.php;",
            html.0.display()
        ))
        .server("if ($arg_old) { return 301 /new; }")
        .location("/", "try_files $uri $uri/ /index.php?$args;")
        .location("~ \\.php$", &cached)
        .location("/moved", "return 302 /elsewhere;")
        .location("/app", "try_files /none @app;")
        .location("@app", &cached)
        .location("/denied", &format!("deny all; {cached}"))
        .start();
    for path in ["/", "/dir/", "/some/page?x=1", "/app", "/index.php"] {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), "HIT", "{path}");
    }
    let purge = |path: &str| nginx.client().request("PURGE", path, &[]);
    for path in ["/", "/dir/", "/some/page?x=1", "/app"] {
        let answer = purge(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(
            answer.header("Cache-Purge-Result"),
            Some("url; count=1"),
            "{path}"
        );
        assert_eq!(nginx.get(path).cache(), "MISS", "{path}");
    }
    assert_eq!(
        nginx.get("/index.php").cache(),
        "HIT",
        "another URL that led to the same file"
    );
    for path in ["/moved", "/?old=1", "/nothing"] {
        assert_eq!(
            purge(path).header("Cache-Purge-Result"),
            Some("url; count=0"),
            "{path}"
        );
    }
    assert_eq!(purge("/denied").status, 403);
    assert_eq!(
        nginx.client().request("DELETE", "/moved", &[]).status,
        302,
        "another method"
    );
}

#[test]
fn purge_requests_from_elsewhere() {
    let site = Site::with(
        "X-None",
        &[],
        "swr_cache_purge_method PURGE BAN from 10.0.0.0/8;",
    );
    for (method, fields) in [
        ("PURGE", vec![]),
        ("BAN", vec![("X-Url", ".*")]),
        ("PURGE", vec![("xkey", "a")]),
    ] {
        let answer =
            site.client()
                .request(method, "/a", &[&[("Host", SHOP)], &fields[..]].concat());
        assert_eq!(answer.status, 403, "{method}");
        assert_eq!(answer.header("Cache-Purge-Result"), None);
    }
    for page in PAGES {
        assert_eq!(site.get(page).cache(), "HIT", "{page:?}");
    }
}

/// The real address counts, as the realip module finds it for the location.
#[test]
fn purge_requests_through_a_proxy() {
    let origin = Origin::start();
    origin.on("/a", Reply::cached("max-age=600", "x"));
    let nginx = Conf::caching_with(
        &origin,
        "swr_cache_purge_method PURGE from 127.0.0.1; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;",
    )
    .start();
    nginx.get("/a");
    let purge = |fields: &[(&str, &str)]| nginx.client().request("PURGE", "/a", fields).status;
    assert_eq!(purge(&[("X-Real-IP", "192.0.2.1")]), 403);
    assert_eq!(nginx.get("/a").cache(), "HIT");
    assert_eq!(purge(&[]), 200);
    assert_eq!(nginx.get("/a").cache(), "MISS");
}

/// Locations of a server in two zones, and in one that requests name.
#[test]
fn purge_requests_in_every_zone_of_the_server() {
    let origin = Origin::start();
    for path in ["/one", "/two", "/three"] {
        origin.handle(path, |r| {
            Reply::cached("max-age=600", r.nth.to_string()).header("xkey", "t")
        });
    }
    let to = |zone: &str| format!("swr_cache {zone}; proxy_pass http://{};", origin.addr);
    let nginx = Conf::new()
        .http("swr_cache_zone zone=one:8m; swr_cache_zone zone=two:8m;")
        .server(METHODS)
        .location("/one", &to("one"))
        .location("/two", &to("two"))
        .location("/three", &to("$arg_zone"))
        .start();
    for path in ["/one", "/two", "/three?zone=two"] {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), "HIT", "{path}");
    }
    let answer = nginx.client().request("PURGE", "/", &[("xkey", "t")]);
    assert_eq!(answer.header("Cache-Purge-Result"), Some("tags; count=3"));
    for path in ["/one", "/two", "/three?zone=two"] {
        assert_eq!(nginx.get(path).cache(), "MISS", "{path}");
    }
}

/// Keys of the configuration's own: wherever a URL tells all, it finds them; else the answer says so.
#[test]
fn purge_requests_where_keys_are_made_otherwise() {
    let start = |key: &str| {
        let origin = Origin::start();
        origin.handle("/a", |r| Reply::cached("max-age=600", r.nth.to_string()));
        let nginx = Conf::caching_with(&origin, &format!("swr_cache_key {key};"))
            .server(METHODS)
            .location("/purge", "swr_cache_purge zone=main;")
            .start();
        nginx.get("/a?x=1&y=2");
        assert_eq!(nginx.get("/a?x=1&y=2").cache(), "HIT", "{key}");
        (origin, nginx)
    };
    let post = |nginx: &Nginx, body: &str| {
        let length = body.len();
        let mut client = nginx.client();
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        client.receive("POST")
    };
    for key in [
        "$scheme$request_method$host$request_uri",
        "$host$uri$is_args$args",
        "$uri",
        "$scheme://$http_host$uri?$arg_x",
        "$host$uri?$swr_cache_args",
        "same",
    ] {
        let (_origin, nginx) = start(key);
        let answer = post(&nginx, r#"{"urls": ["http://localhost/a?x=1&y=2"]}"#);
        assert_eq!(
            answer.text(),
            "{\"purged\":1,\"soft\":false,\"zone\":\"main\"}\n",
            "{key}"
        );
        nginx.get("/a?x=1&y=2");
        let answer = nginx.client().request("PURGE", "/a?x=1&y=2", &[]);
        assert_eq!(
            answer.header("Cache-Purge-Result"),
            Some("url; count=1"),
            "{key}"
        );
        assert_eq!(nginx.get("/a?x=1&y=2").cache(), "MISS", "{key}");
    }
    let (_origin, nginx) = start("$host$request_uri$cookie_lang");
    let answer = post(&nginx, r#"{"urls": ["http://localhost/a?x=1&y=2"]}"#);
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("$host$request_uri$cookie_lang"),
        "{}",
        answer.text()
    );
    let answer = nginx
        .client()
        .request("PURGE", "/a?x=1&y=2", &[("Cookie", "lang=de")]);
    assert_eq!(answer.header("Cache-Purge-Result"), Some("url; count=0"));
    assert!(answer.text().contains("\"warning\":"), "{}", answer.text());
    assert_eq!(nginx.get("/a?x=1&y=2").cache(), "HIT");
    let answer = nginx.client().request("PURGE", "/a?x=1&y=2", &[]);
    assert_eq!(
        answer.header("Cache-Purge-Result"),
        Some("url; count=1"),
        "by its own key"
    );
}

/// The members of the API beyond those that it always had.
#[test]
fn purge_requests_to_the_api() {
    let site = Site::with("X-None", &[], "");
    let post = |body: &str| {
        let length = body.len();
        let mut client = site.client();
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        client.receive("POST").text()
    };
    let check = |body: &str, gone: &[(&str, &str, &str)]| {
        let said = format!(
            "{{\"purged\":{},\"soft\":false,\"zone\":\"main\"}}\n",
            gone.len()
        );
        assert_eq!(post(body), said, "{body}");
        for page in PAGES {
            let expected = if gone.contains(&page) { "MISS" } else { "HIT" };
            assert_eq!(site.get(page).cache(), expected, "{page:?} after {body}");
        }
    };
    check(r#"{"files": ["http://shop.example/a"]}"#, &A[..1]);
    check(r#"{"hosts": ["SHOP.example"]}"#, &all_of(SHOP));
    check(r#"{"hosts": ["example", "shop.exampl"]}"#, &[]);
    check(r#"{"purge_everything": true}"#, &PAGES);
}
