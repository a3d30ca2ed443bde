//! Purges that have what they purged fetched anew.

use super::*;

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
