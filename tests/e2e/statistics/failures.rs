//! What the statistics and the log say of refreshes that fail.

use super::*;

#[test]
fn statistics_name_what_fails_and_since_when() {
    let origin = Origin::start();
    let old = || Reply::aged(100, SWR, "old");
    origin.script("/down", [old(), Reply::new(503)]);
    origin.script(
        "/broken",
        [old(), Reply::cached(SWR, "0123456789").cut_body(3)],
    );
    let nginx = conf(&origin).start();
    // One after the other: the list begins with what has failed for longest.
    for (path, failed) in [("/down", 1), ("/broken?<b>", 2)] {
        nginx.get(path);
        nginx.get(path).is(200, "UPDATING", "old");
        await_count(&nginx, "/refresh/failed", failed);
    }
    let tree = tree(&nginx);
    let zone = &tree["zones"]["main"];
    assert_eq!(zone["refresh"]["backing_off"], 2);
    let failing = zone["failing"].as_array().expect("a list");
    let causes: Vec<_> = failing.iter().filter_map(|f| f["cause"].as_str()).collect();
    assert_eq!(causes, ["503", "body-broken"]);
    let now = tree["time"].as_f64().expect("a time");
    for entry in failing {
        assert!(
            entry["since"]
                .as_f64()
                .is_some_and(|t| (now - t).abs() < 60.0),
            "{entry}"
        );
        assert!(
            entry["next_try"].as_f64() > entry["since"].as_f64(),
            "{entry}"
        );
    }
    let said = tree["summary"].as_str().unwrap_or_default();
    assert!(
        said.contains("2 refreshes failing: http://") && said.contains("/down 503"),
        "{said}"
    );
    // And on the page it stands as text.
    let page = nginx.get("/swr?format=html").text();
    assert!(!page.contains("?<b>"), "{page}");
}

/// The log tells of each step of a back-off once, and of the recovery.
#[test]
fn statistics_log_of_failures_and_recovery() {
    let origin = Origin::start();
    let (down, old) = (|| Reply::new(503), Reply::aged(100, SWR, "old"));
    origin.script(
        "/",
        [old, down(), down(), Reply::cached("max-age=60", "new")],
    );
    let nginx = with(&origin, "swr_cache_refresh_backoff 1ms 1ms;").start();
    nginx.get("/");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    eventually("the recovery is told", || {
        nginx.error_log().contains("has succeeded after")
    });
    let log = nginx.error_log();
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        (lines("[warn]"), lines("has succeeded after")),
        (2, 1),
        "{log}"
    );
    for part in [
        "zone \"main\"",
        "http://localhost/\"",
        "503, 2 in a row",
        "next try in",
        "after 2 failures",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

/// However many keys fail at once, the log stays short, and counts them.
#[test]
fn statistics_log_of_a_thousand_failures_is_short() {
    let origin = Origin::start();
    for i in 0..1_000 {
        origin.script(
            &format!("/{i}"),
            [Reply::aged(100, SWR, "old"), Reply::new(503)],
        );
    }
    let nginx = with(&origin, "swr_cache_refresh_max 1000;").start();
    for _ in 0..2 {
        // nginx ends a connection after a thousand requests.
        let mut client = nginx.client();
        (0..1_000).for_each(|i| _ = client.get(&format!("/{i}")));
    }
    await_count(&nginx, "/refresh/failed", 1_000);
    let log = nginx.error_log();
    let lines = log
        .lines()
        .filter(|line| line.contains("swr_cache:"))
        .count();
    assert!((1..=50).contains(&lines), "{lines} lines");
    eventually("how many more there were", || {
        nginx
            .error_log()
            .contains("more refreshes failed in zone \"main\" in the last 10 s")
    });
    let failing = main_zone(&nginx)["failing"].as_array().map_or(0, Vec::len);
    assert_eq!(failing, 20);
}
