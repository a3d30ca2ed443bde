//! `swr_cache_query` and `$swr_cache_args`: what of the query string belongs to the key.

use crate::support::*;

/// An origin that says which target it was asked for, before a cache with these lines; `/purge` and `/stats` beside it.
fn start(lines: &str) -> (Origin, Nginx) {
    let origin = Origin::start();
    for path in ["/a", "/b"] {
        origin.handle(path, |r| Reply::cached("max-age=600", r.target.clone()));
    }
    let nginx = Conf::caching_with(&origin, lines)
        .location("/purge", "swr_cache_purge zone=main;")
        .location("/stats", "swr_cache_stats;")
        .start();
    (origin, nginx)
}

#[test]
fn query_as_it_comes_unless_it_is_said() {
    for lines in ["", "swr_cache_query as-is;"] {
        let (_origin, nginx) = start(lines);
        for target in ["/a", "/a?", "/a?x=1&y=2", "/a?y=2&x=1", "/a?utm_source=x"] {
            nginx.get(target).is(200, "MISS", target);
            nginx.get(target).is(200, "HIT", target);
        }
    }
}

/// The origin gets the query as it came.
#[test]
fn query_without_what_is_dropped() {
    let (origin, nginx) = start("swr_cache_query sort drop tracking ref;");
    let first = "/a?utm_source=mail&y=2&x=1&fbclid=f";
    nginx.get(first).is(200, "MISS", first);
    assert_eq!(origin.last("/a").target, first);
    for same in [
        "/a?x=1&y=2",
        "/a?y=2&ref=r&x=1",
        "/a?gclid=1&x=1&%75tm_id=3&y=2",
    ] {
        let hit = nginx.get(same);
        hit.is(200, "HIT", first);
        assert_eq!(hit.header("X-Cache-Key"), Some("httplocalhost/a?x=1&y=2"));
    }
    for other in [
        "/a",
        "/a?x=2&y=1",
        "/a?x=1&y=2&UTM_SOURCE=m",
        "/a?x=1&y=2&utm_source=a;z=1",
    ] {
        nginx.get(other).is(200, "MISS", other);
    }
    nginx.get("/a?utm_medium=m").is(200, "HIT", "/a");
    assert_eq!(origin.hits("/a"), 5);
}

#[test]
fn query_with_what_is_kept_alone() {
    let (_origin, nginx) = start("swr_cache_query keep page p_*;");
    nginx
        .get("/a?x=1&page=2&p_a=3")
        .is(200, "MISS", "/a?x=1&page=2&p_a=3");
    nginx
        .get("/a?page=2&p_a=3&y")
        .is(200, "HIT", "/a?x=1&page=2&p_a=3");
    nginx
        .get("/a?p_a=3&page=2")
        .is(200, "MISS", "/a?p_a=3&page=2");
    nginx.get("/a").is(200, "MISS", "/a");
    nginx.get("/a?x").is(200, "HIT", "/a");
    // An origin reads these as the page: they must not become the first one's.
    for spelling in ["/a?p%61ge=9", "/a?page[]=9", "/a?x=1;page=9"] {
        nginx.get(spelling).is(200, "MISS", spelling);
    }
    nginx.get("/a").is(200, "HIT", "/a");
}

#[test]
fn query_in_keys_of_ones_own_and_in_variables() {
    let (origin, nginx) = start(
        "swr_cache_key $host$uri?$swr_cache_args; swr_cache_query drop utm_*; add_header X-Args \"[$swr_cache_args]\"; add_header X-Cache $swr_cache_status;",
    );
    let first = nginx.get("/a?b=1&utm_x=2&c");
    first.is(200, "MISS", "/a?b=1&utm_x=2&c");
    assert_eq!(first.header("X-Args"), Some("[b=1&c]"));
    nginx
        .get("/a?utm_y=3&b=1&c")
        .is(200, "HIT", "/a?b=1&utm_x=2&c");
    assert_eq!(nginx.get("/a?utm_y=3").header("X-Args"), Some("[]"));
    assert_eq!(origin.hits("/a"), 2);
}

/// A front controller gets the query among its arguments: what is dropped tells its responses apart no more.
#[test]
fn query_of_requests_that_are_led_elsewhere() {
    let origin = Origin::start();
    origin.handle("/index", |r| Reply::cached("max-age=600", r.target.clone()));
    let lines = format!(
        "internal; swr_cache main; swr_cache_query keep p; proxy_pass http://{};",
        origin.addr
    );
    let nginx = Conf::new()
        .zone()
        .location("/", "try_files $uri /index?q=$uri&$args;")
        .location("= /index", &lines)
        .location("/lang", "rewrite ^ /index?lang=$http_accept_language last;")
        .start();
    nginx
        .get("/a?x=1&p=2")
        .is(200, "MISS", "/index?q=/a&x=1&p=2");
    nginx
        .get("/a?p=2&x=9")
        .is(200, "HIT", "/index?q=/a&x=1&p=2");
    nginx.get("/a?p=3").is(200, "MISS", "/index?q=/a&p=3");
    nginx.get("/b?p=2").is(200, "MISS", "/index?q=/b&p=2");
    // What the configuration has added stays, whatever is kept of the client's.
    let ask = |language: &str| nginx.get_with("/lang?x=1", &[("Accept-Language", language)]);
    ask("de").is(200, "MISS", "/index?lang=de&x=1");
    ask("en").is(200, "MISS", "/index?lang=en&x=1");
    ask("de").is(200, "HIT", "/index?lang=de&x=1");
}

#[test]
fn query_of_what_is_purged_and_explained() {
    let (_origin, nginx) =
        start("swr_cache_query sort drop tracking; swr_cache_purge_method PURGE from 127.0.0.1;");
    let ask = |method: &str, target: &str| nginx.client().request(method, target, &[]);
    let post = |body: &str| {
        let length = body.len().to_string();
        let mut client = nginx.client();
        client.send_raw(&format!(
            "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        client.receive("POST").text()
    };
    let refill = || {
        nginx
            .get("/a?y=2&x=1&utm_source=s")
            .is(200, "MISS", "/a?y=2&x=1&utm_source=s");
        nginx.get("/b");
    };
    refill();
    let said = post(r#"{"urls": ["http://localhost/a?y=2&gclid=9&x=1"]}"#);
    assert!(said.contains("\"purged\":1"), "{said}");
    refill();
    let said = ask("PURGE", "/a?utm_id=1&y=2&x=1").text();
    assert!(said.contains("\"purged\":1"), "{said}");
    refill();
    // RFC 9111 §4.4, of the target and of what the response names.
    ask("DELETE", "/a?utm_id=1&y=2&x=1");
    refill();
    let said = ask(
        "GET",
        "/stats?explain=http%3A%2F%2Flocalhost%2Fa%3Fy%3D2%26utm_id%3D1%26x%3D1",
    )
    .text();
    for part in [
        "\"key\":\"http://localhost/a?x=1&y=2\"",
        "\"made_of\":\"$scheme$host$request_uri\"",
        "\"query\":\"sort drop tracking\"",
        "HIT",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(nginx.get("/b").cache(), "HIT");
}

#[test]
fn query_of_what_a_location_names() {
    let origin = Origin::start();
    origin.handle("/list", |r| Reply::cached("max-age=600", r.nth.to_string()));
    origin.on(
        "/make",
        Reply::new(201).header("Location", "/list?utm_source=x&page=2"),
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_query drop utm_*;").start();
    nginx.get("/list?page=2").is(200, "MISS", "0");
    nginx
        .client()
        .request("POST", "/make?utm_source=y", &[("Content-Length", "0")]);
    nginx.get("/list?page=2").is(200, "MISS", "1");
}

#[test]
fn query_configurations_that_are_refused() {
    for (lines, why) in [
        ("swr_cache_query;", "invalid number of arguments"),
        ("swr_cache_query page;", "\"page\""),
        ("swr_cache_query drop;", "names of query parameters"),
        ("swr_cache_query keep a*b;", "\"a*b\""),
        ("swr_cache_query drop a keep b;", "\"keep\""),
        ("swr_cache_query sort; swr_cache_query drop a;", "twice"),
    ] {
        let said = Conf::new().zone().location("/", lines).check();
        let said = said.err().unwrap_or_else(|| panic!("accepted: {lines}"));
        assert!(
            said.contains("swr_cache_query") && said.contains(why),
            "{lines}: {said}"
        );
    }
}
