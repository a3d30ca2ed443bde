//! Conditional requests: of the cache to the origin, and of browsers to the cache (Smart Edge Revalidation).

use crate::support::*;

const SWR: &str = "max-age=60, stale-while-revalidate=600";

fn not_modified() -> Reply {
    Reply::new(304).header("Cache-Control", SWR)
}

/// RFC 9111 §4.3.1, §4.3.4: the stored ETag goes to the origin; its 304 renews the entry and brings its fields.
#[test]
fn revalidation_by_etag() {
    let origin = Origin::start();
    let old = Reply::aged(100, "max-age=60", "body")
        .header("ETag", "\"v1\"")
        .header("X-Turn", "1");
    let renewed = Reply::new(304)
        .header("Cache-Control", "max-age=60")
        .header("ETag", "\"v1\"")
        .header("X-Turn", "2");
    origin.script("/", [old, renewed]);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "body");
    let response = nginx.get("/");
    response.is(200, "REVALIDATED", "body");
    assert_eq!(response.header("X-Turn"), Some("2"));
    assert_eq!(origin.last("/").header("If-None-Match"), Some("\"v1\""));
    let hit = nginx.get("/");
    hit.is(200, "HIT", "body");
    assert!(hit.age() < 60);
    assert_eq!(
        (hit.header("X-Turn"), hit.header("ETag")),
        (Some("2"), Some("\"v1\""))
    );
}

#[test]
fn revalidation_by_last_modified() {
    const THEN: &str = "Mon, 03 Feb 2025 10:00:00 GMT";
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::aged(100, SWR, "body").header("Last-Modified", THEN),
            not_modified(),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    nginx.get("/").is(200, "UPDATING", "body");
    let hit = nginx.await_status("/", "HIT");
    hit.is(200, "HIT", "body");
    assert!(hit.age() < 60);
    assert_eq!(hit.header("Last-Modified"), Some(THEN));
    assert_eq!(origin.last("/").header("If-Modified-Since"), Some(THEN));
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn revalidation_200_replaces() {
    let origin = Origin::start();
    let v =
        |age, tag: &str| Reply::aged(age, "max-age=60", tag).header("ETag", &format!("\"{tag}\""));
    origin.script("/", [v(100, "one"), v(0, "two")]);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    nginx.get("/").is(200, "EXPIRED", "two");
    let hit = nginx.get("/");
    hit.is(200, "HIT", "two");
    assert_eq!(hit.header("ETag"), Some("\"two\""));
}

#[test]
fn revalidation_off() {
    let origin = Origin::start();
    let old = Reply::aged(100, SWR, "old").header("ETag", "\"1\"");
    origin.script("/", [old, Reply::cached("max-age=60", "new")]);
    let nginx = Conf::caching_with(&origin, "swr_cache_revalidate off;").start();
    nginx.get("/");
    nginx.get("/").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    let asked = origin.last("/");
    assert_eq!(
        (
            asked.header("If-None-Match"),
            asked.header("If-Modified-Since")
        ),
        (None, None)
    );
}

/// Another visitor's credentials must not decide what everybody gets; a miss sends what proxy_pass would, less
/// what would make the answer partial.
#[test]
fn revalidation_what_the_origin_is_sent() {
    let origin = Origin::start();
    origin.on("/", Reply::aged(100, SWR, "public"));
    let nginx = Conf::caching(&origin).start();
    let fields = [
        ("Cookie", "a=b"),
        ("Authorization", "Basic eDp5"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"mine\""),
        ("X-Own", "1"),
    ];
    let mine = &fields[2..];
    nginx.get_with("/", mine);
    let miss = origin.last("/");
    assert_eq!(
        (miss.header("Range"), miss.header("If-None-Match")),
        (None, None)
    );
    assert_eq!(miss.header("X-Own"), Some("1"));

    nginx
        .client()
        .request("GET", "/", &[("Cookie", "a=b"), ("X-Own", "2")]);
    origin.await_hits("/", 2);
    let refresh = origin.last("/");
    for name in ["Cookie", "Authorization", "Range", "If-None-Match"] {
        assert_eq!(refresh.header(name), None, "{name}");
    }
    assert_eq!(refresh.header("X-Own"), Some("2"));
}

/// RFC 9110 §13: a client's conditions are answered from the store.
#[test]
fn conditional_client_with_the_origins_validators() {
    let origin = Origin::start();
    const THEN: &str = "Mon, 03 Feb 2025 10:00:00 GMT";
    let page = Reply::cached("max-age=60", "page")
        .header("ETag", "\"v1\"")
        .header("Last-Modified", THEN);
    origin.on("/", page);
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    let ask = |name, value| nginx.get_with("/", &[(name, value)]).status;
    assert_eq!(ask("If-None-Match", "\"v1\""), 304);
    assert_eq!(ask("If-None-Match", "W/\"v1\""), 304);
    assert_eq!(ask("If-None-Match", "\"v0\", \"v1\""), 304);
    assert_eq!(ask("If-None-Match", "*"), 304);
    assert_eq!(ask("If-None-Match", "\"v2\""), 200);
    assert_eq!(ask("If-Modified-Since", THEN), 304);
    assert_eq!(
        ask("If-Modified-Since", "Mon, 03 Feb 2025 09:59:59 GMT"),
        200
    );
    // If-None-Match goes before If-Modified-Since.
    let both = [("If-None-Match", "\"v2\""), ("If-Modified-Since", THEN)];
    assert_eq!(nginx.get_with("/", &both).status, 200);
    let not_modified = nginx.get_with("/", &[("If-None-Match", "\"v1\"")]);
    assert_eq!(
        (not_modified.header("ETag"), not_modified.body.len()),
        (Some("\"v1\""), 0)
    );
    assert_eq!(origin.hits("/"), 1);
}

/// RFC 9111 §4.3.2: `If-Match` and `If-Unmodified-Since` are not for a cache to judge; they reach the origin.
#[test]
fn conditional_client_with_what_only_the_origin_judges() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::cached("max-age=60", "page").header("ETag", "\"v1\""),
            Reply::new(412),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/").is(200, "MISS", "page");
    let failed = nginx.get_with("/", &[("If-Match", "\"v2\"")]);
    assert_eq!((failed.status, failed.cache()), (412, "BYPASS"));
    assert_eq!(origin.last("/").header("If-Match"), Some("\"v2\""));
    nginx.get("/").is(200, "HIT", "page");
}

/// Smart Edge Revalidation: the origin sends no validator, and browsers get 304 all the same.
#[test]
fn edge_revalidation_answers_304() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "page"));
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    let hit = nginx.get("/");
    let modified = hit
        .header("Last-Modified")
        .expect("a Last-Modified")
        .to_owned();
    let etag = hit.header("ETag").expect("an ETag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    assert_eq!(
        nginx
            .get_with("/", &[("If-Modified-Since", &modified)])
            .status,
        304
    );
    assert_eq!(nginx.get_with("/", &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(
        nginx
            .get_with("/", &[("If-None-Match", "W/\"other\"")])
            .status,
        200
    );
    // No time between them of which a browser would take a tenth for a lifetime (RFC 9111 §4.2.2).
    assert_eq!(hit.header("Date"), Some(modified.as_str()), "{hit:?}");
    assert_eq!(origin.hits("/"), 1);
}

/// The same bytes again: browsers keep getting 304; other bytes: they get the page.
#[test]
fn edge_revalidation_same_bytes() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let same = Reply::cached("max-age=60", "same").header("X-Turn", "2");
    origin.script("/same", [Reply::aged(100, SWR, "same"), same.hold(&gate)]);
    origin.script(
        "/other",
        [
            Reply::aged(100, SWR, "one"),
            Reply::cached("max-age=60", "two"),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    let validators = |path: &str| {
        nginx.get(path);
        let stale = nginx.get(path);
        let field = |name| {
            stale
                .header(name)
                .unwrap_or_else(|| panic!("no {name}: {stale:?}"))
                .to_owned()
        };
        (field("Last-Modified"), field("ETag"))
    };
    let (modified, etag) = validators("/same");
    // A `Last-Modified` of a later second would tell the two apart.
    eventually("the next second", || {
        httpdate::fmt_http_date(std::time::SystemTime::now()) > modified
    });
    gate.open();
    let hit = nginx.await_status("/same", "HIT");
    assert_eq!(hit.header("ETag"), Some(&*etag));
    // Of the copy that is sent, and no browser makes a lifetime of it.
    assert_eq!(hit.header("Last-Modified"), hit.header("Date"));
    assert_ne!(hit.header("Last-Modified"), Some(&*modified));
    assert_eq!(hit.header("X-Turn"), Some("2"));
    let again = nginx.get_with("/same", &[("If-Modified-Since", &modified)]);
    assert_eq!(again.status, 304);
    assert_eq!(again.header("Last-Modified"), again.header("Date"));
    let head = nginx.client().request("HEAD", "/same", &[]);
    assert_eq!(head.header("Last-Modified"), head.header("Date"));
    assert_eq!(
        nginx.get_with("/same", &[("If-None-Match", &etag)]).status,
        304
    );
    assert_eq!(
        nginx
            .get_with("/same", &[("If-Modified-Since", &modified)])
            .status,
        304
    );

    let (_, etag) = validators("/other");
    nginx.await_status("/other", "HIT").is(200, "HIT", "two");
    assert_eq!(
        nginx.get_with("/other", &[("If-None-Match", &etag)]).status,
        200
    );
}

#[test]
fn edge_revalidation_off() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "page"));
    let nginx = Conf::caching_with(&origin, "swr_cache_edge_revalidation off;").start();
    nginx.get("/");
    let hit = nginx.get("/");
    assert_eq!(
        (hit.header("Last-Modified"), hit.header("ETag")),
        (None, None)
    );
    // RFC 9111 §4.3.2: without Last-Modified, If-Modified-Since is compared with the stored Date.
    let date = hit.header("Date").expect("a Date");
    let ask = |since| nginx.get_with("/", &[("If-Modified-Since", since)]).status;
    assert_eq!(
        (ask(date), ask("Mon, 03 Feb 2025 10:00:00 GMT")),
        (304, 200)
    );
}

/// The origin's own validators stay as they are.
#[test]
fn edge_revalidation_leaves_the_origins_alone() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "page").header("ETag", "\"own\""),
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    let hit = nginx.get("/");
    assert_eq!(
        (hit.header("Last-Modified"), hit.all("ETag")),
        (None, vec!["\"own\""])
    );
}

/// An origin without a clock: the response gets a `Date`, and edge revalidation works all the same (RFC 9110 §6.6.1).
#[test]
fn edge_revalidation_without_a_date() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "page").dateless());
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    let hit = nginx.get("/");
    assert_eq!((hit.cache(), hit.all("Date").len()), ("HIT", 1));
    let modified = hit.header("Last-Modified").expect("a Last-Modified");
    assert_eq!(
        nginx
            .get_with("/", &[("If-Modified-Since", modified)])
            .status,
        304
    );
}

/// RFC 9111 §4.3.1, §4.3.3: the tags of all variants go to the origin, and its 304 says which one a request selects now.
#[test]
fn revalidation_among_variants() {
    let origin = Origin::start();
    origin.handle("/", |r| {
        let german = r.header("Accept-Language") == Some("de");
        let known = r.header("If-None-Match").unwrap_or_default();
        match (german, known.contains("\"en\"")) {
            // There is no German page any more: the English one is for all.
            (_, true) => Reply::new(304)
                .header("Cache-Control", "max-age=60")
                .header("ETag", "\"en\"")
                .header("X-Turn", "2"),
            (true, _) => Reply::aged(100, SWR, "deutsch").header("ETag", "\"de\""),
            (false, _) => Reply::cached("max-age=60", "english").header("ETag", "\"en\""),
        }
        .header("Vary", "Accept-Language")
    });
    let nginx = Conf::caching(&origin).start();
    let ask = |language| nginx.get_with("/", &[("Accept-Language", language)]);
    ask("de").is(200, "MISS", "deutsch");
    ask("en").is(200, "MISS", "english");
    ask("de").is(200, "UPDATING", "deutsch");
    eventually("the other variant", || ask("de").cache() == "HIT");
    let german = ask("de");
    german.is(200, "HIT", "english");
    assert_eq!(german.header("X-Turn"), Some("2"));
    assert_eq!(ask("en").header("X-Turn"), None);
    let asked = origin.last("/");
    assert_eq!(asked.header("If-None-Match"), Some("\"de\", \"en\""));
    assert_eq!(asked.header("Accept-Language"), Some("de"));
    assert_eq!(origin.hits("/"), 3);
}

/// RFC 9111 §4.3.5: a HEAD that goes to the origin itself brings the stored response up to date, or makes it stale.
#[test]
fn revalidation_by_a_head_that_passes() {
    let origin = Origin::start();
    let page = |tag: &str, turn: &str| {
        Reply::cached("max-age=60", "page")
            .header("ETag", tag)
            .header("X-Turn", turn)
    };
    for (path, tag) in [("/same", "\"1\""), ("/other", "\"2\"")] {
        origin.script(path, [page("\"1\"", "1"), page(tag, "2")]);
    }
    // The location's own condition: what comes is not what others get.
    origin.script("/own", [page("\"1\"", "1"), page("\"2\"", "2")]);
    let lines = "swr_cache_bypass $http_x_own; swr_no_cache $http_x_own;";
    let nginx = Conf::caching_with(&origin, lines).start();
    for (path, second, turn) in [
        ("/same", "HIT", Some("2")),
        ("/other", "EXPIRED", Some("2")),
        ("/own", "HIT", Some("1")),
    ] {
        nginx.get(path).is(200, "MISS", "page");
        let field = match path {
            "/own" => ("X-Own", "1"),
            _ => ("If-Match", "*"),
        };
        let head = nginx.client().request("HEAD", path, &[field]);
        assert_eq!(
            (head.status, origin.last(path).method.as_str()),
            (200, "HEAD")
        );
        let got = nginx.get(path);
        got.is(200, second, "page");
        assert_eq!(got.header("X-Turn"), turn, "{path}");
    }
}

/// A 304 with another tag than was sent: what is stored is kept, and the same fetch asks again without conditions. Nobody becomes
/// a MISS for it, and the origin hears the same of the client both times.
#[test]
fn revalidation_by_a_304_that_does_not_fit() {
    let origin = Origin::start();
    let old = |control| Reply::aged(100, control, "one").header("ETag", "\"v1\"");
    let foreign = || Reply::new(304).header("ETag", "\"v2\"");
    let new = || Reply::cached("max-age=60", "two").header("ETag", "\"v2\"");
    origin.script("/refresh", [old(SWR), foreign(), new()]);
    origin.script("/wait", [old("max-age=60"), foreign(), new()]);
    // It says 304 to anything: that is a failure.
    origin.script("/never", [old(SWR), foreign()]);
    let lines =
        "set $said $http_x_said; proxy_set_header X-Said $said; proxy_set_header X-Scheme $scheme;";
    let nginx = Conf::caching_with(&origin, lines).tls().start();
    for path in ["/refresh", "/wait", "/never"] {
        nginx.get(path).is(200, "MISS", "one");
    }
    nginx
        .get_with("/refresh", &[("X-Said", "me")])
        .is(200, "UPDATING", "one");
    eventually("the new response", || {
        let got = nginx.get("/refresh");
        assert!(matches!(got.cache(), "UPDATING" | "HIT"), "{got:?}");
        got.text() == "two"
    });
    nginx
        .get_with("/wait", &[("X-Said", "me"), ("If-None-Match", "\"v0\"")])
        .is(200, "EXPIRED", "two");
    for path in ["/refresh", "/wait"] {
        let asked = origin.requests(path);
        let [_, first, second] = &asked[..] else {
            panic!("{path}: {asked:?}");
        };
        assert_eq!(first.header("If-None-Match"), Some("\"v1\""));
        assert_eq!(second.header("If-None-Match"), None);
        for asked in [first, second] {
            assert_eq!(asked.header("X-Said"), Some("me"), "{path}");
            assert_eq!(asked.header("X-Scheme"), Some("https"), "{path}");
        }
    }
    nginx.get("/never").is(200, "UPDATING", "one");
    origin.await_hits("/never", 3);
    nginx.await_status("/never", "STALE");
    for _ in 0..3 {
        nginx.get("/never").is(200, "STALE", "one");
    }
    assert_eq!(origin.hits("/never"), 3);
}
