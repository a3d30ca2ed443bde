//! The requests of each piece of software that purges.

use super::*;

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
    let p1 = at(&["/", "/a"]);
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
    let of_a = at(&["/a"]);
    site.purge(
        "PURGE",
        "/",
        &[pattern("((^|,)cat_p_1(,|$))")],
        "tags",
        &of_a,
    );
    let both = at(&["/a", "/c?x=1", "/a/b"]);
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
    let of_a = at(&["/a"]);
    site.purge("PURGE", "/", &[("xkey", "product-1")], "tags", &of_a);
    let two = at(&["/", "/a", "/a/b"]);
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
    let of_1 = at(&["/a"]);
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
    let of_1 = at(&["/a"]);
    site.purge("BAN", "/", &[("Cache-Tags", "node:1")], "tags", &of_1);
    site.purge(
        "BAN",
        "/",
        &[("Cache-Tags", "config:system.menu.main|node:3")],
        "tags",
        &of_1,
    );
    let two = at(&["/", "/a", "/a/b"]);
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
    let of_1 = at(&["/a"]);
    site.purge(
        "PURGE",
        "/",
        &[("Surrogate-Key", "/books/1")],
        "tags",
        &of_1,
    );
    let two = at(&["/", "/a", "/a/b"]);
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
    let of_a = at(&["/a"]);
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
