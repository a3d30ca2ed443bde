//! Purges as other software sends them: each request as that software writes it, what went, and what stayed.

use std::net::SocketAddr;

use crate::support::*;

const METHODS: &str = "swr_cache_purge_method PURGE BAN PURGEKEYS URIBAN from 127.0.0.0/8 ::1;";

/// The hosts of the site, and one that is another's.
const SHOP: &str = "shop.example";
const OTHER: &str = "other.example";

/// A site of a few pages under two schemes and a host of another's, all stored.
struct Site {
    origin: Origin,
    nginx: Nginx,
    /// Where it listens for plain http.
    plain: SocketAddr,
}

/// What is stored: scheme, host, path.
const PAGES: [(&str, &str, &str); 9] = [
    ("http", SHOP, "/"),
    ("http", SHOP, "/a"),
    ("http", SHOP, "/a/b"),
    ("http", SHOP, "/c?x=1"),
    ("http", SHOP, "/feed/"),
    ("https", SHOP, "/"),
    ("https", SHOP, "/a"),
    ("http", OTHER, "/"),
    ("http", OTHER, "/a"),
];

impl Site {
    /// Pages with these tags, in a field of that name, by path.
    fn with(field: &'static str, tags: &'static [(&str, &str)], server: &str) -> Site {
        let origin = Origin::start();
        for (_, _, path) in PAGES {
            let route = path.split('?').next().unwrap_or(path);
            origin.handle(route, move |r| {
                let reply = Reply::cached(
                    "max-age=3600, stale-while-revalidate=3600",
                    r.nth.to_string(),
                );
                match tags.iter().find(|(of, _)| *of == r.target) {
                    Some((_, tags)) => reply.header(field, tags),
                    None => reply,
                }
            });
        }
        let lines = format!("swr_cache main; proxy_pass http://{};", origin.addr);
        let plain = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let nginx = Conf::new()
            .zone()
            .server(server)
            .tls()
            .server(&format!("listen {plain};"))
            .location("/", &lines)
            .location("/purge", "swr_cache_purge zone=main;")
            .location("/denied", &format!("deny all; {lines}"))
            .start();
        let site = Site {
            origin,
            nginx,
            plain,
        };
        for page in PAGES {
            site.get(page);
            assert_eq!(site.get(page).cache(), "HIT", "{page:?}");
        }
        site
    }

    fn get(&self, (scheme, host, path): (&str, &str, &str)) -> Response {
        let mut client = match scheme {
            "https" => self.nginx.client(),
            _ => self.client(),
        };
        client.get_with(path, &[("Host", host)])
    }

    fn client(&self) -> Client {
        Client::connect(self.plain)
    }

    /// Sends a request without a body, checks its answer, what went and that the rest stayed.
    #[track_caller]
    fn purge(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        result: &str,
        gone: &[(&str, &str, &str)],
    ) -> Response {
        let fields = [&[("Host", SHOP)], fields].concat();
        // A field that the software sends itself takes the place of the usual one.
        let host = fields
            .iter()
            .rposition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let fields: Vec<_> = fields
            .iter()
            .enumerate()
            .filter(|(n, (name, _))| !name.eq_ignore_ascii_case("host") || Some(*n) == host)
            .map(|(_, field)| *field)
            .collect();
        let answer = self.client().request(method, path, &fields);
        let about = format!("{method} {path} {fields:?}: {}", answer.text());
        assert_eq!(answer.status, 200, "{about}");
        assert_eq!(
            answer.header("Cache-Purge-Result"),
            Some(&*format!("{result}; count={}", gone.len())),
            "{about}"
        );
        let said = format!("\"purged\":{}", gone.len());
        assert!(answer.text().contains(&said), "{about}");
        let expected = match answer.text().contains("\"soft\":true") {
            true => "UPDATING",
            false => "MISS",
        };
        for page in PAGES {
            let expected = if gone.contains(&page) {
                expected
            } else {
                "HIT"
            };
            assert_eq!(self.get(page).cache(), expected, "{page:?} after {about}");
        }
        for page in gone {
            eventually("it is stored again", || self.get(*page).cache() == "HIT");
        }
        answer
    }

    /// Sends a request that is not understood: it is refused with a reason, and all stays.
    #[track_caller]
    fn refused(&self, method: &str, path: &str, fields: &[(&str, &str)], why: &str) {
        let fields = [&[("Host", SHOP)], fields].concat();
        let answer = self.client().request(method, path, &fields);
        let about = format!("{method} {path} {fields:?}: {}", answer.text());
        assert_eq!(answer.status, 400, "{about}");
        assert!(answer.text().contains(why), "{about}");
        assert_eq!(answer.header("Cache-Purge-Result"), None, "{about}");
        for page in PAGES {
            assert_eq!(self.get(page).cache(), "HIT", "{page:?} after {about}");
        }
    }
}

const HOME: [(&str, &str, &str); 2] = [("http", SHOP, "/"), ("https", SHOP, "/")];
const A: [(&str, &str, &str); 2] = [("http", SHOP, "/a"), ("https", SHOP, "/a")];

/// Everything of a host.
fn all_of(host: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    PAGES.into_iter().filter(|page| page.1 == host).collect()
}

/// nginx-helper for WordPress, "using a GET request to PURGE/url (default option)": class-fastcgi-purger.php, do_remote_get.
#[test]
fn purge_requests_of_nginx_helper() {
    let site = Site::with("X-None", &[], "");
    let agent = ("User-Agent", "WordPress/6.8; https://shop.example");
    site.purge("GET", "/purge/", &[agent], "url", &HOME);
    site.purge("GET", "/purge/a", &[agent], "url", &A);
    site.purge(
        "GET",
        "/purge/c?x=1",
        &[agent],
        "url",
        &[("http", SHOP, "/c?x=1")],
    );
    site.purge(
        "GET",
        "/purge/feed/",
        &[agent],
        "url",
        &[("http", SHOP, "/feed/")],
    );
    let below_a = [
        ("http", SHOP, "/a"),
        ("http", SHOP, "/a/b"),
        ("https", SHOP, "/a"),
    ];
    site.purge("GET", "/purge/a*", &[agent], "prefix", &below_a);
    site.purge("GET", "/purge/*", &[agent], "prefix", &all_of(SHOP));
    for path in ["/purge/feed/atom/", "/purge/c"] {
        let answer = site.client().get_with(path, &[("Host", SHOP)]);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("\"purged\":0"), "{path}");
    }
    let answer = site.client().get("/purge");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
}

/// Proxy Cache Purge for WordPress: varnish-http-purge.php, purge_url and purge_tags.
#[test]
fn purge_requests_of_proxy_cache_purge() {
    let tags = &[
        ("/", "home,p-1"),
        ("/a", "p-1,t-3"),
        ("/a/b", "p-12"),
        ("/feed/", "feed"),
    ];
    let site = Site::with("X-Cache-Tags", tags, METHODS);
    let method = |value| ("X-Purge-Method", value);
    site.purge(
        "PURGE",
        "/a",
        &[("host", SHOP), method("default")],
        "url",
        &A,
    );
    site.purge(
        "PURGE",
        "/c?x=1",
        &[method("default")],
        "url",
        &[("http", SHOP, "/c?x=1")],
    );
    site.purge("PURGE", "/.*", &[method("regex")], "prefix", &all_of(SHOP));
    site.purge(
        "PURGE",
        "/feed/.*",
        &[method("regex")],
        "prefix",
        &[("http", SHOP, "/feed/")],
    );
    let p1: Vec<_> = PAGES
        .into_iter()
        .filter(|page| ["/", "/a"].contains(&page.2))
        .collect();
    let pattern = |value| ("X-Cache-Tags-Pattern", value);
    site.purge(
        "PURGE",
        "/",
        &[method("tags"), pattern("p-1|none")],
        "tags",
        &p1,
    );
    site.purge(
        "PURGE",
        "/",
        &[method("tags"), pattern(r"\bp-12\b")],
        "tags",
        &[("http", SHOP, "/a/b")],
    );
    site.purge(
        "PURGE",
        "/",
        &[method("tags"), pattern("none")],
        "tags",
        &[],
    );
    site.refused("PURGE", "/", &[method("tags")], "no field names any");
    site.refused("PURGE", "/", &[method("tags"), pattern("p-.*")], "p-.*");
    // It is sent by plain http to the address of the proxy, with the host of the site, for a site under https.
    assert_eq!(
        site.get(HOME[1]).header("X-Cache-Tags"),
        None,
        "tags are not for clients"
    );
}

/// Magento 2: module-cache-invalidate, PurgeCache and InvalidateVarnishObserver.
#[test]
fn purge_requests_of_magento() {
    let tags = &[
        ("/a", "cat_p_1,cat_c_2,FPC"),
        ("/a/b", "cat_p_12,FPC"),
        ("/c?x=1", "cat_c_2,FPC"),
        ("/", "FPC"),
    ];
    let site = Site::with("X-Magento-Tags", tags, METHODS);
    let pattern = |value| ("X-Magento-Tags-Pattern", value);
    let of_a: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge(
        "PURGE",
        "/",
        &[pattern("((^|,)cat_p_1(,|$))")],
        "tags",
        &of_a,
    );
    let both: Vec<_> = PAGES
        .into_iter()
        .filter(|page| ["/a", "/c?x=1", "/a/b"].contains(&page.2))
        .collect();
    site.purge(
        "PURGE",
        "/",
        &[pattern("((^|,)cat_c_2(,|$))|((^|,)cat_p_12(,|$))")],
        "tags",
        &both,
    );
    site.purge("PURGE", "/", &[pattern(".*")], "all", &PAGES);
    // A pool of pages by its own tag alone.
    site.refused("PURGE", "/", &[pattern("(^|,)cat_p")], "parts of tags");
    site.refused("PURGE", "/", &[pattern("")], "an empty tag");
}

/// Shopware 6: VarnishReverseProxyGateway, which names tags in `xkey`, and single URLs by BAN.
#[test]
fn purge_requests_of_shopware() {
    let tags = &[
        ("/a", "product-1 category-2"),
        ("/a/b", "product-12"),
        ("/", "category-2"),
    ];
    let site = Site::with("xkey", tags, METHODS);
    let of_a: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge("PURGE", "/", &[("xkey", "product-1")], "tags", &of_a);
    let two: Vec<_> = PAGES
        .into_iter()
        .filter(|page| ["/", "/a", "/a/b"].contains(&page.2))
        .collect();
    site.purge(
        "PURGE",
        "/",
        &[("xkey", "category-2 product-12")],
        "tags",
        &two,
    );
    site.purge("BAN", "/a", &[], "url", &A);
    site.refused("PURGE", "/", &[("xkey", "")], "names no tag");
}

/// FOSHttpCache: ProxyClient\Varnish (purge, ban, tags by ban, tags by xkey, refresh) and ProxyClient\Nginx.
#[test]
fn purge_requests_of_fos_http_cache() {
    let tags = &[
        ("/a", "post-1,blog"),
        ("/a/b", "post-12,blog"),
        ("/", "home"),
    ];
    let server =
        format!("{METHODS} swr_cache_bypass $http_x_refresh; swr_cache_client_control on;");
    let site = Site::with("X-Cache-Tags", tags, &server);
    let agent = ("User-Agent", "FOSHttpCache");
    site.purge("PURGE", "/a", &[agent], "url", &A);
    let any = [("X-Host", ".*"), ("X-Url", ".*"), ("X-Content-Type", ".*")];
    let with = |name, value| [&any[..], &[(name, value)]].concat();
    let of_1: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge(
        "BAN",
        "/",
        &with("X-Cache-Tags", r"(^|,)(post\-1)(,|$)"),
        "tags",
        &of_1,
    );
    let blog: Vec<_> = PAGES
        .into_iter()
        .filter(|page| page.2.starts_with("/a"))
        .collect();
    site.purge(
        "BAN",
        "/",
        &with("X-Cache-Tags", r"(^|,)(blog|none)(,|$)"),
        "tags",
        &blog,
    );
    site.purge(
        "BAN",
        "/",
        &[
            ("X-Host", "^(shop.example)$"),
            ("X-Url", ".*"),
            ("X-Content-Type", ".*"),
        ],
        "prefix",
        &all_of(SHOP),
    );
    let below_a = [
        ("http", SHOP, "/a"),
        ("http", SHOP, "/a/b"),
        ("https", SHOP, "/a"),
    ];
    site.purge(
        "BAN",
        "/",
        &[
            ("X-Host", ".*"),
            ("X-Url", "/a.*"),
            ("X-Content-Type", ".*"),
        ],
        "prefix",
        &below_a,
    );
    site.purge("BAN", "/", &any, "all", &PAGES);
    site.purge(
        "PURGEKEYS",
        "/",
        &[("xkey-purge", "post-12")],
        "tags",
        &[("http", SHOP, "/a/b")],
    );
    site.purge(
        "PURGEKEYS",
        "/",
        &[("xkey-softpurge", "post-12 none")],
        "tags",
        &[("http", SHOP, "/a/b")],
    );
    site.refused(
        "BAN",
        "/",
        &[("X-Host", ".*"), ("X-Url", ".*png$")],
        "X-Url",
    );
    site.refused(
        "BAN",
        "/",
        &[("X-Url", "/a.*"), ("X-Content-Type", "text/html")],
        "x-content-type",
    );
    // Refreshes: by the field of its Varnish client, and by that of its nginx client.
    for field in [("Cache-Control", "no-cache"), ("X-Refresh", "1")] {
        let before = site.get(A[0]).text();
        let anew = site
            .client()
            .get_with("/a", &[("Host", SHOP), field])
            .text();
        assert_ne!(before, anew, "{field:?}");
        assert_eq!(site.get(A[0]).text(), anew, "{field:?}");
    }
}

/// The FOSHttpCache client for nginx with a location for purges: the method PURGE, and the path behind that of the location.
#[test]
fn purge_requests_of_fos_http_cache_to_a_location() {
    let site = Site::with("X-None", &[], "");
    site.purge("PURGE", "/purge/a", &[], "url", &A);
}

/// Drupal's purge_purger_http and varnish_purger: BAN with tags and bars or spaces between, URIBAN for a URL.
#[test]
fn purge_requests_of_drupal() {
    let tags = &[
        ("/a", "node:1 node_list config:system.menu.main"),
        ("/a/b", "node:12"),
        ("/", "node_list"),
    ];
    let site = Site::with("Cache-Tags", tags, METHODS);
    let of_1: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge("BAN", "/", &[("Cache-Tags", "node:1")], "tags", &of_1);
    site.purge(
        "BAN",
        "/",
        &[("Cache-Tags", "config:system.menu.main|node:3")],
        "tags",
        &of_1,
    );
    let two: Vec<_> = PAGES
        .into_iter()
        .filter(|page| ["/", "/a", "/a/b"].contains(&page.2))
        .collect();
    site.purge(
        "BAN",
        "/",
        &[("Cache-Tags", "node_list node:12")],
        "tags",
        &two,
    );
    site.purge("URIBAN", "/a", &[], "url", &A);
    site.purge(
        "BAN",
        "/a*",
        &[],
        "prefix",
        &[
            ("http", SHOP, "/a"),
            ("http", SHOP, "/a/b"),
            ("https", SHOP, "/a"),
        ],
    );
    site.refused("BAN", "/.*a.*", &[], "at its end alone");
}

/// TYPO3's nginx_cache: NginxCacheBackend, remove and flush.
#[test]
fn purge_requests_of_typo3() {
    let site = Site::with("X-None", &[], METHODS);
    site.purge(
        "PURGE",
        "/c?x=1",
        &[("User-Agent", "GuzzleHttp/7")],
        "url",
        &[("http", SHOP, "/c?x=1")],
    );
    site.purge("PURGE", "/*", &[], "prefix", &all_of(SHOP));
}

/// Souin's own API and its clients (API Platform): `Surrogate-Key`, with a comma and a space between.
#[test]
fn purge_requests_of_souin() {
    let tags = &[
        ("/a", "/books/1, /books"),
        ("/a/b", "/books/12"),
        ("/", "/books"),
    ];
    let site = Site::with("Surrogate-Key", tags, METHODS);
    let of_1: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge(
        "PURGE",
        "/",
        &[("Surrogate-Key", "/books/1")],
        "tags",
        &of_1,
    );
    let two: Vec<_> = PAGES
        .into_iter()
        .filter(|page| ["/", "/a", "/a/b"].contains(&page.2))
        .collect();
    site.purge(
        "PURGE",
        "/",
        &[("Surrogate-Key", "/books, /books/12")],
        "tags",
        &two,
    );
}

/// Fastly's clients: a URL by PURGE, softly by a field; keys between spaces; and a refresh that is a soft purge and a HEAD.
#[test]
fn purge_requests_of_fastly_clients() {
    let tags = &[("/a", "one two"), ("/a/b", "three")];
    let site = Site::with("Surrogate-Key", tags, METHODS);
    let key = ("Fastly-Key", "secret");
    site.purge("PURGE", "/a", &[key], "url", &A);
    let soft = ("Fastly-Soft-Purge", "1");
    let answer = site.purge("PURGE", "/a", &[key, soft], "url", &A);
    assert!(answer.text().contains("\"soft\":true"));
    let of_a: Vec<_> = PAGES.into_iter().filter(|page| page.2 == "/a").collect();
    site.purge(
        "PURGE",
        "/",
        &[key, ("Surrogate-Key", "two four")],
        "tags",
        &of_a,
    );
    let before = site.get(A[0]).text();
    let ask = |method: &str, fields: &[(&str, &str)]| {
        let fields = [&[("Host", SHOP)], fields].concat();
        site.client().request(method, "/a", &fields)
    };
    ask("PURGE", &[soft]);
    assert_eq!(ask("HEAD", &[]).cache(), "UPDATING");
    eventually("it is new", || site.get(A[0]).text() != before);
}

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

/// `refresh`: each URL is fetched anew in the background, also one that was not stored, a few at a time; with `soft` no visitor waits.
#[test]
fn purge_requests_that_refresh() {
    let origin = Origin::start();
    let control = "max-age=600, stale-while-revalidate=600";
    let paths: Vec<String> = (0..40).map(|n| format!("/{n}")).collect();
    for path in &paths {
        origin.handle(path, move |r| {
            Reply::cached(control, r.nth.to_string()).header("Vary", "X-Forwarded-Proto")
        });
    }
    origin.on("/private", Reply::cached("no-store", "x"));
    origin.handle("/broken", |r| {
        Reply::new(if r.nth == 0 { 200 } else { 500 }).header("Cache-Control", control)
    });
    let plain = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let nginx = Conf::new()
        .zone()
        .tls()
        .server(&format!(
            "listen {plain}; swr_cache_purge_method PURGE from 127.0.0.1;"
        ))
        .server("deny 192.0.2.1; satisfy all;")
        .location("/purge", "swr_cache_purge zone=main;")
        .location(
            "/",
            &format!(
                "deny all; swr_cache main; proxy_set_header X-Forwarded-Proto $scheme; \
                 proxy_set_header X-Https \"$https\"; proxy_pass http://{};",
                origin.addr
            ),
        )
        .start();
    // Only the cache itself may ask here: what it stores is seen by what the origin was asked.
    let post = |body: String| {
        let length = body.len();
        let mut client = Client::connect(plain);
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let answer = client.receive("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let urls = |scheme: &str, paths: &[String]| {
        let port = if scheme == "https" {
            nginx.addr.port()
        } else {
            plain.port()
        };
        let urls: Vec<_> = paths
            .iter()
            .map(|path| format!("\"{scheme}://localhost:{port}{path}\""))
            .collect();
        urls.join(", ")
    };
    // It warms what is not stored, under either scheme, whatever the purge itself came by.
    for (turn, scheme, on) in [(1, "http", ""), (2, "https", "on")] {
        let said = post(format!(
            "{{\"urls\": [{}], \"refresh\": true}}",
            urls(scheme, &paths)
        ));
        assert!(said.contains("\"purged\":0"), "{said}");
        for path in &paths {
            origin.await_hits(path, turn);
            let asked = origin.last(path);
            assert_eq!(asked.header("X-Forwarded-Proto"), Some(scheme));
            assert_eq!(asked.header("X-Https").unwrap_or_default(), on);
            assert_eq!(
                asked.header("Accept-Encoding"),
                Some("gzip, deflate, br, zstd")
            );
            assert_eq!(asked.header("Cookie"), None);
        }
    }
    // Hard and soft: what is stored is fetched anew, once each.
    for (turn, soft) in [(3, false), (4, true)] {
        let body = format!(
            "{{\"urls\": [{}], \"refresh\": true, \"soft\": {soft}}}",
            urls("http", &paths)
        );
        eventually("all is stored before", || {
            let said = Client::connect(plain).get("/purge/none");
            said.status == 404
        });
        let said = post(body);
        assert!(said.contains("\"purged\":40"), "{said}");
        for path in &paths {
            origin.await_hits(path, turn);
        }
    }
    // What can't be stored, fails, or is another server's does no harm.
    let odd = [
        "/private".to_owned(),
        "/broken".to_owned(),
        "/none".to_owned(),
    ];
    for _ in 0..3 {
        post(format!(
            "{{\"urls\": [{}, \"http://elsewhere.example:1/\"], \"refresh\": true}}",
            urls("http", &odd)
        ));
    }
    origin.await_hits("/private", 1);
    origin.await_hits("/broken", 2);
    // One that comes while another fetches the same shares that fetch.
    origin.await_hits("/none", 1);
}

/// A refresh in one step with a soft purge: visitors get the stale response until the new one is there, and none waits.
#[test]
fn purge_requests_that_refresh_softly_while_visitors_come() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let control = "max-age=600, stale-while-revalidate=600";
    origin.script(
        "/a",
        [
            Reply::cached(control, "old"),
            Reply::cached(control, "new").hold(&gate),
        ],
    );
    let nginx = Conf::caching(&origin)
        .location("/purge", "swr_cache_purge zone=main;")
        .start();
    nginx.get("/a").is(200, "MISS", "old");
    let body = "{\"urls\": [\"http://localhost/a\"], \"soft\": true, \"refresh\": true}";
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.receive("POST").text().contains("\"purged\":1"));
    origin.await_hits("/a", 2);
    nginx.get("/a").is(200, "UPDATING", "old").at_once();
    gate.open();
    eventually("the new one is there", || nginx.get("/a").text() == "new");
    nginx.get("/a").is(200, "HIT", "new");
}
