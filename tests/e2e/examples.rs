//! Each file of nginx-conf/ does what its comments say; and so does the demo.

use std::process::Command;

use crate::support::*;

const APP: &str = "127.0.0.1:3000";

fn example(name: &str, origin: &Origin) -> Nginx {
    Conf::example(name, &[(APP, &origin.addr.to_string())]).start()
}

#[test]
fn example_minimal() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";
    origin.script(
        "/",
        [
            Reply::aged(100, control, "old"),
            Reply::cached(control, "new"),
        ],
    );
    let nginx = example("minimal.conf", &origin);
    nginx.get("/").is(200, "MISS", "old");
    nginx.get("/").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    origin.stop();
    nginx.get("/").is(200, "HIT", "new");
}

#[test]
fn example_news_site() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::cached("no-cache", "old").header("Age", "90"),
            Reply::cached("no-cache", "new"),
        ],
    );
    origin.on("/ahead", Reply::ok("x").header("Age", "55"));
    let gate = Gate::closed();
    origin.script(
        "/late",
        [
            Reply::ok("old").header("Age", "1000"),
            Reply::ok("new").hold(&gate),
        ],
    );
    let nginx = example("news-site.conf", &origin);
    nginx.get("/?utm_source=a").is(200, "MISS", "old");
    nginx.get("/?utm_source=b").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    nginx
        .get_with("/", &[("Cookie", "editor=1")])
        .is(200, "BYPASS", "new");

    nginx.get("/ahead");
    nginx.get("/ahead").is(200, "HIT", "x");
    origin.await_hits("/ahead", 2);

    nginx.get("/late").is(200, "MISS", "old");
    nginx.get("/late").is(200, "STALE", "old");
    gate.open();
    eventually("the late page", || nginx.get("/late").text() == "new");
}

#[test]
fn example_api() {
    let origin = Origin::start();
    origin.handle("/api/items", |r| {
        let language = r.header("Accept-Language").unwrap_or_default().to_owned();
        Reply::cached("private, no-store", language)
            .header("CDN-Cache-Control", "max-age=60, stale-if-error=600")
            .header("Vary", "Accept-Language")
            .header("ETag", "\"1\"")
    });
    let nginx = example("api.conf", &origin);
    let ask = |language| nginx.get_with("/api/items", &[("Accept-Language", language)]);
    let status = |r: Response| r.header("Cache-Status").unwrap_or_default().to_owned();
    assert!(status(ask("de-CH, de;q=0.9")).contains("fwd=uri-miss"));
    assert!(status(ask("de")).contains("hit"));
    let french = status(ask("fr"));
    assert!(french.contains("fwd=vary-miss"), "{french}");
    assert_eq!(
        nginx
            .get_with(
                "/api/items",
                &[("Accept-Language", "de"), ("If-None-Match", "\"1\"")]
            )
            .status,
        304
    );
    assert_eq!(
        nginx
            .get_with("/api/none", &[("Cache-Control", "only-if-cached")])
            .status,
        504
    );
    assert_eq!(origin.hits("/api/items"), 2);

    // A rate limit is a reason to serve what is there; and a client may take what is stale, or refuse it.
    let limited = Reply::new(429).header("Retry-After", "1");
    let old = Reply::aged(100, "max-age=60, stale-if-error=600", "old");
    origin.script("/api/limited", [old, limited]);
    nginx.get("/api/limited");
    let stale = nginx.get("/api/limited");
    assert_eq!((stale.status, stale.text().as_str()), (200, "old"));
    let hits = origin.hits("/api/limited");
    let content = [("Cache-Control", "max-stale=600")];
    assert_eq!(nginx.get_with("/api/limited", &content).text(), "old");
    assert_eq!(origin.hits("/api/limited"), hits);
    assert_eq!(
        nginx
            .get_with("/api/items", &[("Cache-Control", "no-cache")])
            .status,
        200
    );
    assert_eq!(origin.hits("/api/items"), 3);
}

/// As WordPress: no freshness, `no-cache` for a 404 and for what is personal. Says what it was told.
const PHP: &str = r#"<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/none/') {
    http_response_code(404);
}
if (in_array($path, ['/none/', '/account/'])) {
    header('Cache-Control: no-cache, must-revalidate, max-age=0');
    header('Expires: Wed, 11 Jan 1984 05:00:00 GMT');
}
if ($path === '/old/') {
    header('Age: 4000');
}
echo uniqid('', true), ' software=', $_SERVER['SERVER_SOFTWARE'], ' host=', $_SERVER['HTTP_HOST'],
    ' body=', strlen(file_get_contents('php://input'));
"#;

fn php_example(name: &str, php: &PhpFpm, more: &[(&str, &str)]) -> Nginx {
    let (root, socket) = (php.root(), php.socket());
    std::fs::write(root.join("style.css"), "a { color: red }").expect("a file");
    let changes = [
        ("/var/www/wordpress", root.to_str().expect("a path")),
        ("/run/php/php-fpm.sock", socket.to_str().expect("a path")),
    ];
    let conf = Conf::example(name, &[&changes, more].concat());
    conf.allow("connect() to unix:").start()
}

#[test]
fn example_wordpress_fastcgi() {
    let php = PhpFpm::start(PHP);
    let nginx = php_example("wordpress-fastcgi.conf", &php, &[]);
    let page = nginx.get("/hello-world/?p=1");
    assert_eq!((page.status, page.cache()), (200, "MISS"), "{page:?}");
    assert!(page.text().contains("software=nginx/"), "{page:?}");
    let same = |path| {
        nginx.get(path).is(200, "HIT", &page.text());
    };
    same("/hello-world/?p=1&utm_source=mail&fbclid=x");
    for cookie in [
        "wordpress_logged_in_0a1b=me",
        "a=b; wp-postpass_0a1b=x",
        "comment_author_0a1b=me",
        "woocommerce_items_in_cart=1",
        "wp_woocommerce_session_0a1b=x",
        "wordpress.logged.in_0a1b=as PHP reads it",
    ] {
        let own = nginx.get_with("/hello-world/?p=1", &[("Cookie", cookie)]);
        assert_eq!(own.cache(), "BYPASS", "{cookie}");
        assert_ne!(own.text(), page.text(), "{cookie}");
    }
    let password = nginx.get_with("/hello-world/?p=1", &[("Authorization", "Basic YTph")]);
    assert_eq!(password.cache(), "BYPASS");
    for path in [
        "/checkout/",
        "/my-account/orders/",
        "/en/cart?x=1",
        "/?p=2&preview=true",
        "/?add-to-cart=17",
    ] {
        assert_eq!(nginx.get(path).cache(), "BYPASS", "{path}");
    }
    // A cookie that is of no one in particular.
    let test = nginx.get_with(
        "/hello-world/?p=1",
        &[("Cookie", "wordpress_test_cookie=1")],
    );
    test.is(200, "HIT", &page.text());
    same("/hello-world/?p=1");
}

#[test]
fn example_wordpress_fastcgi_not_found_and_no_cache() {
    let php = PhpFpm::start(PHP);
    let nginx = php_example("wordpress-fastcgi.conf", &php, &[]);
    let none = nginx.get("/none/");
    assert_eq!((none.status, none.cache()), (404, "MISS"));
    let stored = nginx.get("/none/");
    stored.is(404, "HIT", &none.text());
    let control = "no-cache, must-revalidate, max-age=0";
    assert_eq!(
        stored.header("Cache-Control"),
        Some(control),
        "browsers ask again"
    );
    let personal = nginx.get("/account/").text();
    assert_ne!(nginx.get("/account/").text(), personal);
    assert_ne!(nginx.get("/account/").cache(), "HIT");
}

#[test]
fn example_wordpress_fastcgi_files_and_uploads() {
    let php = PhpFpm::start(PHP);
    std::fs::create_dir_all(php.root().join("wp-content/uploads")).expect("a folder");
    for name in [".secret", "wp-content/uploads/x.php"] {
        std::fs::write(php.root().join(name), "secret").expect("a file");
    }
    let nginx = php_example("wordpress-fastcgi.conf", &php, &[]);
    let style = nginx.get("/style.css");
    assert_eq!(
        (style.status, style.header("Content-Type")),
        (200, Some("text/css"))
    );
    for (path, status) in [
        ("/style.css/x.php", 404),
        ("/none.php", 404),
        ("/.secret", 403),
        ("/wp-content/uploads/x.php", 403),
    ] {
        assert_eq!(nginx.get(path).status, status, "{path}");
    }
    let body = "x".repeat(5 << 20);
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /index.php HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = client.receive("POST");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("body=5242880"), "{answer:?}");
    // The host of the key is the one that PHP makes links of.
    client.send_raw("GET http://real.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n");
    let answer = client.receive("GET");
    assert!(answer.text().contains("host=real.example"), "{answer:?}");
}

#[test]
fn example_wordpress_fastcgi_purges_and_outages() {
    let mut php = PhpFpm::start(PHP);
    let nginx = php_example("wordpress-fastcgi.conf", &php, &[]);
    let fill = |path: &str| {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), "HIT", "{path}");
    };
    fill("/b/");
    fill("/a/");
    assert_eq!(nginx.client().request("PURGE", "/a/", &[]).status, 200);
    assert_eq!(nginx.get("/a/").cache(), "MISS");
    assert_eq!(nginx.get("/purge/a/").status, 200);
    assert_eq!(nginx.get("/a/").cache(), "MISS");
    assert_eq!(nginx.get("/b/").cache(), "HIT");
    assert!(nginx.get("/swr").text().contains("wordpress"));

    let page = nginx.get("/a/").text();
    php.kill();
    nginx
        .client()
        .request("PURGE", "/a/", &[("X-Purge-Mode", "soft")]);
    nginx.get("/a/").is(200, "UPDATING", &page);
    nginx.await_status("/a/", "STALE").is(200, "STALE", &page);
    php.restart();
    assert_ne!(nginx.await_status("/a/", "HIT").text(), page);
}

#[test]
fn example_from_fastcgi_cache() {
    let php = PhpFpm::start(PHP);
    let here = [("127.0.0.1:8080", "127.0.0.1:@port@")];
    let nginx = php_example("from-fastcgi-cache.conf", &php, &here);
    let page = nginx.get("/hello/").text();
    nginx.get("/hello/").is(200, "HIT", &page);
    let head = nginx.client().request("HEAD", "/hello/", &[]);
    assert_eq!(head.cache(), "HIT");
    assert_eq!(nginx.get("/hello/?x=1").cache(), "BYPASS");
    let own = [("Cookie", "wordpress_logged_in_x=me")];
    assert_eq!(nginx.get_with("/hello/", &own).cache(), "BYPASS");
    assert_eq!(nginx.get("/old/").cache(), "MISS");
    assert_eq!(nginx.get("/old/").cache(), "UPDATING");

    // nginx-helper: a page, and everything.
    nginx.get("/other/");
    assert_eq!(nginx.get("/purge/hello/").status, 200);
    assert_ne!(nginx.get("/hello/").text(), page);
    assert_eq!(nginx.get("/other/").cache(), "HIT");
    let all = nginx.client().request("PURGE", "/purgeall", &[]);
    assert!(
        all.status == 200 && !all.text().contains("\"purged\":0"),
        "{all:?}"
    );
    for path in ["/hello/", "/other/"] {
        assert_eq!(nginx.get(path).cache(), "MISS", "{path}");
    }
    assert_eq!(nginx.get("/purge/*").status, 200);
    assert_eq!(nginx.get("/hello/").cache(), "MISS");
}

#[test]
fn example_magento() {
    let origin = Origin::start();
    let page = |tags: &'static str| {
        move |r: &Recorded| {
            Reply::cached("max-age=86400, public, s-maxage=86400", r.nth.to_string())
                .header("X-Magento-Tags", tags)
                .header("Set-Cookie", "PHPSESSID=1")
        }
    };
    origin.handle("/chair", page("cat_p_1,cat_c_2,FPC"));
    origin.handle("/table", page("cat_p_12,cat_c_2,FPC"));
    origin.on(
        "/checkout/cart",
        Reply::cached("public, max-age=60", "cart"),
    );
    origin.expired("/old", "public, max-age=60, s-maxage=60", Reply::new(503));
    let nginx = example("magento.conf", &origin);
    let dollars = [("Cookie", "X-Magento-Vary=dollars; PHPSESSID=2")];
    let mine = nginx.get("/chair?color=red&size=1");
    mine.is(200, "MISS", "0");
    assert_eq!(mine.header("X-Magento-Tags"), None);
    let shared = nginx.get("/chair?utm_source=mail&size=1&color=red");
    shared.is(200, "HIT", "0");
    assert_eq!(shared.header("Set-Cookie"), None);
    nginx
        .get_with("/chair?color=red&size=1", &dollars)
        .is(200, "MISS", "1");
    nginx
        .get_with("/chair?color=red&size=1", &dollars)
        .is(200, "HIT", "1");
    nginx.get("/table");

    let tags = [("X-Magento-Tags-Pattern", "((^|,)cat_p_1(,|$))")];
    let answer = nginx.client().request("PURGE", "/", &tags);
    assert_eq!(
        answer.header("Cache-Purge-Result"),
        Some("tags; count=2"),
        "{answer:?}"
    );
    nginx.get("/chair?color=red&size=1").is(200, "MISS", "2");
    assert_eq!(nginx.get("/table").cache(), "HIT");

    // Whatever `s-maxage` implies: stale at once, and stale when the application is down.
    nginx.get("/old").is(200, "MISS", "old");
    nginx.get("/old").is(200, "UPDATING", "old");
    nginx.await_status("/old", "STALE").is(200, "STALE", "old");
    for n in 1..3 {
        assert_eq!(nginx.get("/checkout/cart").text(), "cart");
        assert_eq!(origin.hits("/checkout/cart"), n);
    }
}

#[test]
fn example_symfony() {
    let origin = Origin::start();
    for (path, tags) in [
        ("/chair", "product-17, category-3"),
        ("/table", "product-171, category-3"),
    ] {
        origin.handle(path, move |r| match &*r.method {
            "POST" => Reply::new(303).header("Location", "/table"),
            _ => Reply::cached(
                "public, s-maxage=600, stale-while-revalidate=60, stale-if-error=86400",
                r.nth.to_string(),
            )
            .header("X-Cache-Tags", tags)
            // Of a page with fragments; it says nothing of caching.
            .header("Surrogate-Control", "content=\"SSI/1.0\""),
        });
    }
    origin.on(
        "/account",
        Reply::cached("private, must-revalidate", "mine"),
    );
    let nginx = example("symfony.conf", &origin);
    let fill = || {
        for path in ["/chair", "/table"] {
            nginx.await_status(path, "HIT");
        }
    };
    let are = |chair: &str, table: &str| {
        assert_eq!(nginx.get("/chair").cache(), chair);
        assert_eq!(nginx.get("/table").cache(), table);
    };
    let purge = |method, path, fields: &[(&str, &str)]| {
        let answer = nginx.client().request(method, path, fields);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    fill();
    let any = [("X-Host", ".*"), ("X-Url", ".*"), ("X-Content-Type", ".*")];
    purge(
        "BAN",
        "/",
        &[&any[..], &[("X-Cache-Tags", r"(^|,)(product\-17)(,|$)")]].concat(),
    );
    are("MISS", "HIT");
    fill();
    purge("PURGEKEYS", "/", &[("xkey-softpurge", "product-17")]);
    are("UPDATING", "HIT");
    fill();
    purge("PURGE", "/chair", &[]);
    are("MISS", "HIT");
    fill();
    purge(
        "BAN",
        "/",
        &[
            ("X-Host", "^(localhost)$"),
            ("X-Url", "/.*"),
            ("X-Content-Type", ".*"),
        ],
    );
    are("MISS", "MISS");
    fill();
    let json = r#"{"tags": ["product-17"], "soft": true}"#;
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    ));
    assert_eq!(client.receive("POST").status, 200);
    are("UPDATING", "HIT");
    fill();
    assert_eq!(nginx.client().request("POST", "/chair", &[]).status, 303);
    are("MISS", "HIT");
    for _ in 0..2 {
        nginx.get("/account").is(200, "MISS", "mine");
    }
    assert_eq!(nginx.get("/chair").header("X-Cache-Tags"), None);
}

#[test]
fn example_nextjs() {
    let origin = Origin::start();
    let control = "s-maxage=60, stale-while-revalidate=31535940";
    origin.handle("/blog/x", move |r| {
        let kind = if r.header("RSC").is_some() {
            "data"
        } else {
            "page"
        };
        Reply::cached(control, format!("{kind} {}", "text ".repeat(200)))
            .header("Vary", "RSC, Accept-Encoding")
            .header("Content-Type", "text/html")
    });
    let next = Reply::cached(control, "new");
    origin.script("/old", [Reply::aged(100, control, "old"), next.clone()]);
    origin.script(
        "/down",
        [
            Reply::aged(200, "s-maxage=60, stale-while-revalidate", "old"),
            Reply::new(503),
        ],
    );
    origin.on("/draft", next);
    origin.on(
        "/me",
        Reply::cached(
            "private, no-cache, no-store, max-age=0, must-revalidate",
            "me",
        ),
    );
    let nginx = example("nextjs.conf", &origin);
    nginx.get("/old").is(200, "MISS", "old");
    nginx.get("/old").is(200, "UPDATING", "old");
    nginx.await_status("/old", "HIT").is(200, "HIT", "new");

    let data = [("RSC", "1")];
    for (cache, n) in [("MISS", 1), ("HIT", 1)] {
        let page = nginx.get("/blog/x?utm_source=mail");
        assert_eq!(
            (page.cache(), page.text().starts_with("page")),
            (cache, true)
        );
        let fetched = nginx.get_with("/blog/x", &data);
        assert_eq!(
            (fetched.cache(), fetched.text().starts_with("data")),
            (cache, true),
            "{n}"
        );
    }
    assert_eq!(origin.last("/blog/x").header("Accept-Encoding"), None);
    eventually("a compressed page", || {
        let page = nginx.get_with("/blog/x", &[("Accept-Encoding", "gzip")]);
        page.header("Content-Encoding") == Some("gzip")
    });

    nginx.get("/draft");
    let preview = [("Cookie", "__prerender_bypass=x")];
    nginx.get_with("/draft", &preview).is(200, "BYPASS", "new");
    for _ in 0..2 {
        nginx.get("/me").is(200, "MISS", "me");
    }
    // Nobody waits for what is told anew.
    let before = origin.hits("/old");
    let json = r#"{"urls": ["http://localhost/old"], "soft": true, "refresh": true}"#;
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    ));
    assert_eq!(client.receive("POST").status, 200);
    origin.await_hits("/old", before + 1);
    nginx.await_status("/old", "HIT");

    // Beyond the window, and down.
    nginx.get("/down").is(200, "MISS", "old");
    nginx.get("/down").is(200, "STALE", "old");
}

#[test]
fn example_behind_cloudflare() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("no-cache", "page")
            .header("Surrogate-Control", "max-age=60, stale-while-revalidate=60")
            .header("CDN-Cache-Control", "max-age=1")
            .header("Cache-Tag", "article-17,front"),
    );
    let changes = [
        (APP, &*origin.addr.to_string()),
        (
            "set_real_ip_from 173.245.48.0/20;",
            "set_real_ip_from 127.0.0.1;",
        ),
    ];
    let nginx = Conf::example("behind-cloudflare.conf", &changes).start();
    let visitor = ("CF-Connecting-IP", "203.0.113.9");
    for status in ["fwd=uri-miss", "hit"] {
        let page = nginx.get_with("/", &[visitor]);
        assert!(
            page.header("Cache-Status")
                .is_some_and(|s| s.contains(status)),
            "{page:?}"
        );
        assert_eq!(page.all("Cache-Tag"), ["article-17,front"]);
        assert_eq!(page.all("CDN-Cache-Control"), ["max-age=1"]);
        assert_eq!(page.header("Surrogate-Control"), None);
    }
    assert_eq!(
        origin.last("/").header("X-Forwarded-For"),
        Some("203.0.113.9")
    );

    let purge = |fields: &str| {
        let json = r#"{"tags": ["article-17"]}"#;
        let mut client = nginx.client();
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n{json}",
            json.len()
        ));
        client.receive("POST").status
    };
    assert_eq!(purge("CF-Connecting-IP: 203.0.113.9\r\n"), 403);
    assert_eq!(origin.hits("/"), 1);
    assert_eq!(purge(""), 200);
    nginx.get("/");
    assert_eq!(origin.hits("/"), 2);

    // From anywhere else the field is not believed.
    let nginx = example("behind-cloudflare.conf", &origin);
    nginx.get_with("/", &[visitor]);
    assert_eq!(
        origin.last("/").header("X-Forwarded-For"),
        Some("127.0.0.1")
    );
}

#[test]
fn example_from_varnish() {
    let origin = Origin::start();
    let page = |age: u64| {
        move |r: &Recorded| {
            let reply = Reply::aged(age, "no-cache", r.nth.to_string());
            let reply = reply.header("Set-Cookie", "seen=1");
            reply.header("X-Cache-Tags", "all").header("xkey", "key")
        }
    };
    origin.handle("/list", page(0));
    origin.handle("/grace", page(150));
    origin.script(
        "/sick",
        [Reply::ok("old").header("Age", "7000"), Reply::new(503)],
    );
    origin.handle("/prices/1", page(0));
    let nginx = example("from-varnish.conf", &origin);
    nginx.get("/list?b=2&utm_source=x&a=1").is(200, "MISS", "0");
    let same = nginx.get("/list?a=1&b=2");
    same.is(200, "HIT", "0");
    assert_eq!(same.header("Set-Cookie"), None);
    let own = nginx.get_with("/list?a=1&b=2", &[("Cookie", "session=1")]);
    own.is(200, "BYPASS", "1");
    nginx.get("/grace").is(200, "MISS", "0");
    nginx.get("/grace").is(200, "UPDATING", "0");
    nginx.get("/sick").is(200, "MISS", "old");
    nginx.get("/sick").is(200, "STALE", "old");

    let purge = |method, path, fields: &[(&str, &str)], result| {
        let answer = nginx.client().request(method, path, fields);
        assert_eq!(
            answer.header("Cache-Purge-Result"),
            Some(result),
            "{answer:?}"
        );
    };
    purge("PURGE", "/list?a=1&b=2", &[], "url; count=1");
    nginx.get("/list?a=1&b=2").is(200, "MISS", "2");
    purge(
        "BAN",
        "/",
        &[("x-host", ".*"), ("x-url", "/list.*")],
        "prefix; count=1",
    );
    nginx.get("/list?a=1&b=2").is(200, "MISS", "3");
    purge("PURGE", "/", &[("xkey-softpurge", "key")], "tags; count=2");
    nginx.get("/list?a=1&b=2").is(200, "UPDATING", "3");

    for (currency, cache, body) in [
        ("EUR", "MISS", "0"),
        ("USD", "MISS", "1"),
        ("EUR", "HIT", "0"),
    ] {
        let cookie = format!("currency={currency}");
        nginx
            .get_with("/prices/1", &[("Cookie", &cookie)])
            .is(200, cache, body);
    }
    nginx.await_status("/list?a=1&b=2", "HIT");
    purge(
        "BAN",
        "/",
        &[("X-Cache-Tags", "(^|,)all(,|$)")],
        "tags; count=4",
    );
    nginx
        .get_with("/prices/1", &[("Cookie", "currency=EUR")])
        .is(200, "MISS", "2");
}

#[test]
fn example_static() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("site.css"), "a { color: red }".repeat(100)).expect("a file");
    let root = folder.0.display().to_string();
    let nginx = Conf::example("static.conf", &[("/srv/www", &root)]).start();
    let statuses: Vec<_> = (0..3)
        .map(|n| nginx.get(&format!("/site.css?v={n}")).cache().to_owned())
        .collect();
    assert_eq!(statuses, ["MISS", "MISS", "HIT"]);
    let zipped = nginx.get_with("/site.css", &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (zipped.cache(), zipped.header("Content-Encoding")),
        ("HIT", Some("gzip"))
    );
    assert_eq!(zipped.header("Content-Type"), Some("text/css"));
}

#[test]
fn example_legacy_mode() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    for path in ["/", "/prices/1"] {
        origin.script(
            path,
            [
                Reply::aged(100, control, "old").header("ETag", "\"1\""),
                Reply::aged(100, control, "new").header("ETag", "\"2\""),
                Reply::new(503),
            ],
        );
    }
    let nginx = example("legacy-mode.conf", &origin);
    for path in ["/", "/prices/1"] {
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "EXPIRED", "new");
    }
    nginx.get("/").is(200, "STALE", "new");
    assert_eq!(nginx.get("/prices/1").status, 503);
}

/// No configuration is forgotten here.
#[test]
fn example_files_are_all_tested() {
    let here = concat!(include_str!("examples.rs"), include_str!("tiers.rs"));
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx-conf")).expect("the examples")
    {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        if !name.ends_with(".conf") {
            continue;
        }
        assert!(here.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

/// The demo checks itself: it fails when what it shows is not so.
#[test]
fn example_demo() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo.sh");
    let output = Command::new(script)
        .env("SWR_BUILD", build())
        .output()
        .expect("the demo runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("All as it should be."),
        "{shown}"
    );
}
