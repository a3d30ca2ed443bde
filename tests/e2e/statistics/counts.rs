//! What is counted, and what is not.

use std::time::Duration;

use serde_json::Value;

use super::*;

#[test]
fn statistics_count_what_happens() {
    let origin = Origin::start();
    origin.on(
        "/page",
        Reply::cached("max-age=60", "0123456789").header("Surrogate-Key", "a b"),
    );
    origin.on(
        "/mine",
        Reply::cached("max-age=60", "me").header("Set-Cookie", "a=b"),
    );
    let old = Reply::aged(100, SWR, "old").header("ETag", "\"1\"");
    origin.script("/old", [old, Reply::new(304).header("Cache-Control", SWR)]);
    let nginx = with(&origin, "swr_cache_bypass $http_x_bypass;").start();
    let before = main_zone(&nginx);
    assert_eq!(before["summary"], "No requests yet");
    nginx.get("/page").is(200, "MISS", "0123456789");
    (0..3).for_each(|_| _ = nginx.get("/page").is(200, "HIT", "0123456789"));
    nginx.get_with("/page", &[("X-Bypass", "1")]);
    (0..2).for_each(|_| _ = nginx.get("/mine"));
    nginx.get("/old").is(200, "MISS", "old");
    nginx.get("/old").is(200, "UPDATING", "old");
    nginx.await_status("/old", "HIT");
    await_count(&nginx, "/refresh/not_modified", 1);
    let zone = main_zone(&nginx);
    let at = |pointer: &str| zone.pointer(pointer).cloned().unwrap_or(Value::Null);
    for (pointer, count) in [
        ("/miss/responses", 4),
        ("/miss/responses_written", 2),
        ("/miss/bytes_written", 13),
        ("/bypass/responses", 1),
        ("/bypass/bytes", 10),
        ("/reasons/set-cookie", 1),
        ("/reasons/hit-for-miss", 1),
        ("/refresh/started", 1),
        ("/refresh/failed", 0),
        ("/refresh/in_flight", 0),
        ("/waited/responses", 0),
        ("/origin/seconds/not_modified/count", 1),
        ("/origin/seconds/stored/count", 3),
        ("/origin/requests", 6),
        ("/entries/stale", 0),
        ("/recovery/dead_workers", 0),
    ] {
        assert_eq!(at(pointer), count, "{pointer}: {zone:#}");
    }
    assert!(at("/hit/bytes").as_u64() >= Some(30));
    assert_eq!(at("/entries/fresh"), 2, "{zone:#}");
    assert_eq!(at("/top/tags/0/name"), "a");
    assert!(
        at("/top/keys/0/name")
            .as_str()
            .is_some_and(|key| key.starts_with("http://"))
    );
    let used: u64 = ["bodies", "heads", "encodings", "index", "free"]
        .iter()
        .filter_map(|use_| zone["used"][use_].as_u64())
        .sum();
    assert_eq!(at("/size").as_u64(), Some(used));
    let summary = at("/summary");
    let said = summary.as_str().unwrap_or_default();
    assert!(said.ends_with(" from memory, nobody waited"), "{said}");
}

/// Reading counts nothing and changes nothing.
#[test]
fn statistics_of_reading_alone() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let nginx = conf(&origin).start();
    nginx.get("/");
    await_count(&nginx, "/miss/responses", 1);
    let mut first = main_zone(&nginx);
    for path in [
        "/swr",
        "/swr?format=html",
        "/swr?format=prometheus",
        "/swr?zone=main",
    ] {
        assert_eq!(nginx.get(path).status, 200, "{path}");
    }
    let mut last = main_zone(&nginx);
    for zone in [&mut first, &mut last] {
        zone["entries"] = Value::Null;
    }
    assert_eq!(first, last);
}

/// The promise: inside the stale-while-revalidate window nobody waits, whatever the origin does.
#[test]
fn statistics_nobody_waits_whatever_the_origin_does() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let old = || Reply::aged(100, SWR, "old");
    origin.script("/slow", [old(), Reply::cached(SWR, "new").hold(&gate)]);
    origin.script("/down", [old(), Reply::new(503)]);
    origin.script(
        "/broken",
        [old(), Reply::cached(SWR, "0123456789").cut_body(3)],
    );
    origin.script("/silent", [old(), Reply::silence()]);
    origin.script("/nonsense", [old(), Reply::raw("nonsense\r\n\r\n")]);
    let paths = ["/slow", "/down", "/broken", "/silent", "/nonsense"];
    let silent = format!(
        "swr_cache main; proxy_read_timeout 500ms; proxy_pass http://{};",
        origin.addr
    );
    let nginx = conf(&origin).location("/silent", &silent).start();
    for path in paths {
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "UPDATING", "old");
    }
    origin.await_hits("/slow", 2);
    await_count(&nginx, "/refresh/failed", 4);
    for path in paths {
        assert_eq!(nginx.get(path).text(), "old");
    }
    let zone = main_zone(&nginx);
    assert_eq!(zone["waited"]["responses"], 0, "{zone:#}");
    assert_eq!(zone["refresh"]["in_flight"], 1, "{zone:#}");
    assert_eq!(zone["refresh"]["started"], 5, "{zone:#}");
    gate.open();
    await_count(&nginx, "/refresh/modified", 1);
}

/// In the legacy mode one waits, and is counted, and for how long.
#[test]
fn statistics_of_those_who_wait() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let new = Reply::cached(SWR, "new").hold(&gate);
    origin.script("/", [Reply::aged(100, SWR, "old"), new]);
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let nginx = with(&origin, "swr_cache_background_update off;").start();
    nginx.get("/");
    let mut first = nginx.client();
    first.send("GET", "/", &[]);
    origin.await_hits("/", 2);
    nginx.get("/").is(200, "UPDATING", "old");
    std::thread::sleep(Duration::from_millis(300));
    gate.open();
    first.receive("GET").is(200, "EXPIRED", "new");
    await_count(&nginx, "/waited/responses", 1);
    let waited = main_zone(&nginx)["waited"]["seconds"]["sum"]
        .as_f64()
        .unwrap_or(0.0);
    assert!((0.3..5.0).contains(&waited), "{waited}");
    // Those who get the stale copy in the end have waited, too.
    nginx.get("/down");
    nginx.get("/down").is(200, "STALE", "old");
    await_count(&nginx, "/waited/responses", 2);
    let summary = main_zone(&nginx)["summary"].take();
    assert!(
        summary
            .as_str()
            .is_some_and(|s| s.contains("2 visitors waited")),
        "{summary}"
    );
}

/// Each worker counts for itself; what a killed one had counted stays, a reload keeps all, and with a file a restart does, too.
#[test]
fn statistics_outlive_deaths_reloads_and_restarts() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=600", "body"));
    let folder = Folder::new();
    let file = folder.0.join("zone");
    let zone = format!("swr_cache_zone zone=main:8m file={};", file.display());
    let proxied = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let conf = Conf::new()
        .workers(3)
        .http(&zone)
        .location("/", &proxied)
        .location("/swr", "swr_cache_stats;")
        .allow("exited on signal 9");
    let nginx = conf.start();
    nginx.get("/").is(200, "MISS", "body");
    let mut hits = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            nginx.get("/").is(200, "HIT", "body");
            hits += 1;
        }
        await_count(&nginx, "/hit/responses", hits);
        nginx.kill_worker();
        await_count(&nginx, "/hit/responses", hits);
    }
    nginx.reload();
    await_count(&nginx, "/hit/responses", hits);
    let nginx = nginx.restart(&conf);
    await_count(&nginx, "/hit/responses", hits);
    let zone = main_zone(&nginx);
    assert_eq!(zone["restored"], 1, "{zone:#}");
    assert_eq!(zone["miss"]["responses"], 1, "{zone:#}");
    nginx.get("/").is(200, "HIT", "body");
    await_count(&nginx, "/hit/responses", hits + 1);
}

/// A purge by method has a status and reasons of its own; all purges are counted.
#[test]
fn statistics_of_purges() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "body").header("Cache-Tag", "t"),
    );
    let lines = "swr_cache_purge_method PURGE from 127.0.0.1;";
    let refusing = format!(
        "swr_cache main; swr_cache_purge_method PURGE from 10.0.0.0/8; proxy_pass http://{};",
        origin.addr
    );
    let nginx = with(&origin, lines)
        .location("/purge", "swr_cache_purge zone=main;")
        .location("/other", &refusing)
        .start();
    let purge = |path: &str| {
        let answer = nginx.client().request("PURGE", path, &[]);
        let reason = answer.header("X-Reason").unwrap_or_default().to_owned();
        assert_eq!(answer.cache(), "PURGE", "{path}: {answer:?}");
        (answer.status, reason)
    };
    nginx.get("/").is(200, "MISS", "body");
    assert_eq!(purge("/"), (200, "purged".to_owned()));
    assert_eq!(purge("/"), (200, "purged-nothing".to_owned()));
    assert_eq!(purge("/other"), (403, "purge-refused".to_owned()));
    nginx.get("/").is(200, "MISS", "body");
    let body = r#"{"tags": ["t"], "soft": true}"#;
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.receive("POST").status, 200);
    let zone = main_zone(&nginx);
    assert_eq!(zone["purges"]["url"]["hard"], 2, "{zone:#}");
    assert_eq!(zone["purges"]["tag"]["soft"], 1, "{zone:#}");
    assert_eq!(zone["purged"], 2, "{zone:#}");
}

/// What is put off is told once, and counted.
#[test]
fn statistics_of_refreshes_that_are_put_off() {
    let origin = Origin::start();
    let gate = Gate::closed();
    for path in ["/a", "/b"] {
        let new = Reply::cached("max-age=60", "new").hold(&gate);
        origin.script(path, [Reply::aged(100, SWR, "old"), new]);
    }
    let nginx = with(&origin, "swr_cache_refresh_max 1;").start();
    for path in ["/a", "/b"] {
        nginx.get(path);
    }
    nginx.get("/a").is(200, "UPDATING", "old");
    origin.await_hits("/a", 2);
    (0..3).for_each(|_| _ = nginx.get("/b").text());
    await_count(&nginx, "/refresh/deferred", 3);
    assert_eq!(
        nginx
            .error_log()
            .matches("swr_cache_refresh_max (1)")
            .count(),
        1
    );
    eventually("how many more there were", || {
        let more = "2 more refreshes were deferred in zone \"main\" by the location \"/\" in the last 10 s";
        nginx.error_log().contains(more)
    });
    gate.open();
    nginx.await_status("/a", "HIT");
}

/// UPDATING is a refresh under way; while the pause after a failed one runs, it is STALE. What goes by for its credentials was
/// none of the cache's business.
#[test]
fn statistics_status_words() {
    let origin = Origin::start();
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    origin.on("/private", Reply::cached("max-age=60", "mine"));
    let nginx = with(&origin, "swr_cache_refresh_backoff 60s 60s;").start();
    nginx.get("/down");
    nginx.get("/down").is(200, "UPDATING", "old");
    origin.await_hits("/down", 2);
    nginx.await_status("/down", "STALE").is(200, "STALE", "old");
    let credentials = [("Authorization", "Basic eDp5")];
    nginx
        .get_with("/private", &credentials)
        .is(200, "BYPASS", "mine");
    await_count(&nginx, "/reasons/authorization", 1);
}
