//! What is explained is what a request then gets.

use serde_json::Value;

use super::*;

fn explain(nginx: &Nginx, url: &str, more: &str) -> Value {
    let response = nginx.get(&format!("/swr?explain={url}{more}"));
    assert_eq!(response.status, 200, "{url}: {}", response.text());
    serde_json::from_str(&response.text()).expect("JSON")
}

/// What is explained is what a request then gets; and the explanation itself changes nothing.
#[test]
fn statistics_explain_what_a_request_would_get() {
    let origin = Origin::start();
    origin.on(
        "/page",
        Reply::cached("max-age=60", "body").header("ETag", "\"1\""),
    );
    origin.on(
        "/mine",
        Reply::cached("max-age=60", "me").header("Set-Cookie", "a=b"),
    );
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let vary = Reply::cached("max-age=60", "de").header("Vary", "Accept-Language");
    origin.on("/vary", vary);
    let nginx = with(&origin, "swr_cache_bypass $arg_fresh;")
        .location("/moved", "return 301 /page;")
        .location(
            "/plain",
            &format!("swr_cache off; proxy_pass http://{};", origin.addr),
        )
        .start();
    let verdict = |url: &str, more: &str| {
        let said = explain(&nginx, &format!("http://localhost{url}"), more);
        let verdict = &said["verdict"];
        (
            verdict["action"].take_string(),
            verdict["reason"].take_string(),
        )
    };
    let is = |action: &str, reason: &str| (action.to_owned(), reason.to_owned());
    for path in ["/page", "/mine", "/down"] {
        assert_eq!(verdict(path, ""), is("fetch", "absent"), "{path}");
    }
    assert_eq!(
        ["/page", "/mine", "/down"].map(|path| origin.hits(path)),
        [0; 3]
    );
    nginx.get("/page").is(200, "MISS", "body");
    nginx.get("/mine");
    nginx.get("/down");
    nginx.get("/down").is(200, "UPDATING", "old");
    origin.await_hits("/down", 2);
    await_count(&nginx, "/refresh/failed", 1);
    nginx.get_with("/vary", &[("Accept-Language", "de")]);
    assert_eq!(verdict("/page", ""), is("serve", "fresh"));
    assert_eq!(verdict("/page%3Ffresh=1", ""), is("fetch", "bypass"));
    assert_eq!(verdict("/./x/../page", ""), is("fetch", "absent"));
    assert_eq!(verdict("/mine", ""), is("pass", "hit-for-miss"));
    assert_eq!(verdict("/down", ""), is("serve", "swr-backoff"));
    assert_eq!(
        verdict("/vary", "&header=Accept-Language:de"),
        is("serve", "fresh")
    );
    assert_eq!(
        verdict("/vary", "&header=Accept-Language:fr"),
        is("fetch", "vary-miss")
    );
    assert_eq!(
        verdict("/page", "&header=Authorization:x"),
        is("fetch", "authorization")
    );
    let page = explain(&nginx, "http://localhost/page", "");
    assert_eq!(page["key"], "http://localhost/page");
    assert_eq!(
        (&page["zone"], &page["location"]),
        (&"main".into(), &"/".into())
    );
    assert_eq!(page["made_of"], "$scheme$host$request_uri");
    assert_eq!(page["variants"][0]["etag"], "\"1\"");
    assert_eq!(page["variants"][0]["bytes"], 4);
    assert_eq!(
        explain(&nginx, "https://localhost/page", "")["key"],
        "https://localhost/page"
    );
    let before = explain(&nginx, "http://localhost/moved", "");
    assert_eq!(before["status"], 301, "{before:#}");
    let off = explain(&nginx, "http://localhost/plain", "");
    assert!(
        off["says"]
            .as_str()
            .is_some_and(|s| s.contains("does not use the cache")),
        "{off:#}"
    );
    for url in [
        "http://a%20b/",
        "http://localhost:0/",
        "http://localhost:99999/",
        "http:///x",
    ] {
        assert_eq!(
            nginx.get(&format!("/swr?explain={url}")).status,
            400,
            "{url}"
        );
    }
    // Nothing was counted, and the connection goes on.
    let mut client = nginx.client();
    for _ in 0..3 {
        assert_eq!(client.get("/swr?explain=http://localhost/page").status, 200);
        client.get("/page").is(200, "HIT", "body");
    }
    assert_eq!(origin.hits("/page"), 1);
    await_count(&nginx, "/hit/responses", 3);
}

/// nginx leads a request to the location that answers before the cache is asked: files are tried, errors have their pages, and what
/// stands between a client and the cache is passed by.
#[test]
fn statistics_explain_the_location_that_answers() {
    let origin = Origin::start();
    for path in ["/app", "/copy", "/guarded", "/only-inside"] {
        origin.on(path, Reply::cached("max-age=60", "body"));
    }
    let proxied = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let nginx = conf(&origin)
        .location("/front", "try_files /nothing /app?from=$uri;")
        .location("/mirrored", &format!("mirror /copy; {proxied}"))
        .location("/guarded", &format!("deny all; {proxied}"))
        .location("/only-inside", &format!("internal; {proxied}"))
        .location("/gone", "error_page 404 /sorry; return 404;")
        .location("/sorry", &proxied)
        .location(
            "/keyed",
            &format!("swr_cache_key $arg_id$http_x_site; {proxied}"),
        )
        .location("/rewritten", "rewrite ^ /app last;")
        .start();
    let says = |url: &str| explain(&nginx, &format!("http://localhost{url}"), "");
    nginx.get("/front").is(200, "MISS", "body");
    let front = says("/front");
    assert_eq!(
        (&front["location"], &front["verdict"]["reason"]),
        (&"/".into(), &"fresh".into())
    );
    let hits =
        || ["/app", "/copy", "/mirrored", "/guarded", "/only-inside"].map(|path| origin.hits(path));
    let before = hits();
    assert_eq!(says("/mirrored")["verdict"]["action"], "fetch");
    assert_eq!(says("/guarded")["verdict"]["action"], "fetch");
    assert_eq!(says("/only-inside")["status"], 404);
    let gone = says("/gone")["says"].take_string();
    assert!(gone.contains("error page"), "{gone}");
    assert_eq!(says("/rewritten")["location"], "/");
    let keyed = explain(&nginx, "http://localhost/keyed%3Fid=7", "&header=X-Site:de");
    assert_eq!(
        (&keyed["key"], &keyed["made_of"]),
        (&"7de".into(), &"$arg_id$http_x_site".into())
    );
    assert_eq!(hits(), before);
    nginx.get("/guarded").at_once();
    assert_eq!(nginx.get("/guarded").status, 403);
}

/// The connection that asks for an explanation is as it was afterwards.
#[test]
fn statistics_explain_leaves_the_connection_as_it_was() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let other = free_port();
    let nginx = conf(&origin)
        .http(&format!(
            "gzip on; gzip_types *; gzip_min_length 1;
             server {{ listen 127.0.0.1:{other}; server_name localhost; location / {{ return 200 other; }} }}"
        ))
        .start();
    let mut client = nginx.client();
    let there = format!("/swr?explain=http://localhost:{other}/&header=Accept-Encoding:gzip");
    for _ in 0..2 {
        let said = client.get(&there);
        assert_eq!((said.status, said.header("Content-Encoding")), (200, None));
        assert_eq!(said.header("Cache-Control"), Some("no-store"));
        assert!(
            said.text().contains("nginx answers with 200 before"),
            "{}",
            said.text()
        );
        assert_eq!(client.get("/").text(), "body");
    }
    let head = client.request("HEAD", "/swr?explain=http://localhost/", &[]);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    client.get("/").is(200, "HIT", "body");
    for wrong in [
        "http://./",
        "http://[::g]/",
        "http://localhost/&header=Host:x",
        "http://localhost/&header=A:1&header=a:2",
        "http://localhost/&zone=main",
    ] {
        let refused = client.get(&format!("/swr?explain={wrong}"));
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        let said: Value = serde_json::from_str(&refused.text()).expect("JSON");
        assert!(said["error"].is_string(), "{wrong}: {said}");
    }
    client.get("/").is(200, "HIT", "body");
}
