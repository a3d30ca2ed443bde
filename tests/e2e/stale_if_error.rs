//! stale-if-error: what counts as a failure, whose window it is, and how often a failing origin is asked.

use std::thread;
use std::time::Duration;

use crate::support::*;

const SIE: &str = "max-age=60, stale-if-error=86400";

/// 408, 425, 429 and every 5xx are failures (RFC 5861 §4, RFC 6585 §4); a 404 or 410 is an answer, and so is 403 by default.
#[test]
fn sie_which_statuses_are_failures() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for code in [408, 425, 429, 500, 501, 502, 503, 504, 520] {
        let path = format!("/{code}");
        origin.script(
            &path,
            [Reply::aged(100, SIE, "old"), Reply::new(code).body("bad")],
        );
        nginx.get(&path);
        nginx.get(&path).is(200, "STALE", "old");
    }
    for code in [401, 403, 404, 410] {
        let path = format!("/{code}");
        origin.script(
            &path,
            [Reply::aged(100, SIE, "old"), Reply::new(code).body("no")],
        );
        nginx.get(&path);
        let response = nginx.get(&path);
        assert_eq!(
            (response.status, response.text().as_str()),
            (code, "no"),
            "{response:?}"
        );
    }
}

#[test]
fn sie_use_stale_names_the_failures() {
    let origin = Origin::start();
    let nginx = Conf::caching_with(&origin, "swr_cache_use_stale http_404 http_429;").start();
    for (code, status) in [(404, 200), (429, 200), (503, 503)] {
        let path = format!("/{code}");
        origin.script(
            &path,
            [Reply::aged(100, SIE, "old"), Reply::new(code).body("bad")],
        );
        nginx.get(&path);
        assert_eq!(nginx.get(&path).status, status, "{path}");
    }
}

/// An origin that asks to be spared is spared: what is stored is kept, and served without asking, for as long as it says, but no
/// longer than the location's longest pause.
#[test]
fn sie_an_origin_that_asks_to_be_spared() {
    const CONTROL: &str = "max-age=1, stale-while-revalidate=60, stale-if-error=600";
    let origin = Origin::start();
    let nginx = Conf::caching_with(&origin, "swr_cache_refresh_backoff 1s 2s;").start();
    for code in [408, 425, 429, 503] {
        let busy = |seconds| Reply::new(code).header("Retry-After", seconds).body("busy");
        origin.script(
            &format!("/{code}"),
            [
                Reply::aged(10, CONTROL, "old"),
                busy("1000"),
                Reply::cached("max-age=60", "new"),
            ],
        );
        let path = format!("/{code}");
        nginx.get(&path).is(200, "MISS", "old");
        nginx.get(&path).is(200, "UPDATING", "old");
        origin.await_hits(&path, 2);
        for _ in 0..5 {
            let got = nginx.get(&path);
            assert_eq!((got.status, got.text().as_str()), (200, "old"), "{got:?}");
        }
        assert_eq!(origin.hits(&path), 2, "{path}");
    }
    for code in [408, 425, 429, 503] {
        nginx
            .await_status(&format!("/{code}"), "HIT")
            .is(200, "HIT", "new");
    }
}

#[test]
fn sie_use_stale_off() {
    let origin = Origin::start();
    origin.script(
        "/",
        [Reply::aged(100, SIE, "old"), Reply::new(503).body("bad")],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_use_stale off;").start();
    nginx.get("/");
    assert_eq!(nginx.get("/").status, 503);
}

/// Stale-while-revalidate does not imply stale-if-error: beyond the one window, without the other, an error is an error.
#[test]
fn sie_is_not_implied_by_swr() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=10";
    origin.script(
        "/",
        [
            Reply::aged(100, control, "old"),
            Reply::new(503).body("bad"),
        ],
    );
    let nginx = Conf::caching(&origin).start();
    nginx.get("/");
    assert_eq!(nginx.get("/").status, 503);
}

/// RFC 9111 §5.2.2.2: `must-revalidate` beats the window; an unreachable origin is an error then.
#[test]
fn sie_must_revalidate_beats_it() {
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, strict) in [
        ("/must", "must-revalidate"),
        ("/proxy", "proxy-revalidate"),
        ("/no-cache", "no-cache"),
    ] {
        let control =
            format!("max-age=60, stale-while-revalidate=600, stale-if-error=600, {strict}");
        origin.on(
            path,
            Reply::aged(100, &control, "old").header("ETag", "\"1\""),
        );
        nginx.get(path);
    }
    origin.stop();
    for path in ["/must", "/proxy", "/no-cache"] {
        let response = nginx.get(path);
        assert!(matches!(response.status, 502 | 504), "{path}: {response:?}");
    }
}

/// A 5xx that calls itself fresh never replaces a good entry inside its window.
#[test]
fn sie_cacheable_error_replaces_nothing() {
    let origin = Origin::start();
    let bad = Reply::new(503)
        .header("Cache-Control", "max-age=600")
        .body("bad");
    origin.script("/sie", [Reply::aged(100, SIE, "good"), bad.clone()]);
    origin.script(
        "/swr",
        [
            Reply::aged(
                100,
                "max-age=60, stale-while-revalidate=600, stale-if-error=600",
                "good",
            ),
            bad,
        ],
    );
    let nginx = Conf::caching(&origin).start();
    for path in ["/sie", "/swr"] {
        nginx.get(path);
        nginx.get(path);
        origin.await_hits(path, 2);
        for _ in 0..3 {
            let response = nginx.get(path);
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "good"),
                "{path}: {response:?}"
            );
        }
    }
}

/// After a failure the origin is left alone for a while, in both windows, and stale is served meanwhile.
#[test]
fn sie_backoff_spares_the_origin() {
    let origin = Origin::start();
    let both = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    origin.script("/swr", [Reply::aged(100, both, "old"), Reply::new(503)]);
    origin.script("/sie", [Reply::aged(100, SIE, "old"), Reply::new(503)]);
    let nginx = Conf::caching_with(&origin, "swr_cache_refresh_backoff 60s 60s;").start();
    for path in ["/swr", "/sie"] {
        nginx.get(path);
        nginx.get(path);
        origin.await_hits(path, 2);
        for _ in 0..20 {
            assert_eq!(nginx.get(path).at_once().text(), "old");
        }
        assert_eq!(origin.hits(path), 2, "{path}");
    }
}

#[test]
fn sie_backoff_ends() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::aged(100, SIE, "old"),
            Reply::new(503),
            Reply::cached(SIE, "new"),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_refresh_backoff 1s 1s;").start();
    nginx.get("/");
    nginx.get("/").is(200, "STALE", "old");
    nginx.get("/").is(200, "STALE", "old");
    eventually("the new one", || nginx.get("/").text() == "new");
}

/// A waiting request gets the stale copy when the origin takes too long; the fetch goes on.
#[test]
fn sie_revalidate_timeout() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            Reply::aged(100, SIE, "old"),
            Reply::cached(SIE, "new").hold(&gate),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_revalidate_timeout 200ms;").start();
    nginx.get("/");
    nginx.get("/").is(200, "STALE", "old");
    gate.open();
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    assert_eq!(origin.hits("/"), 2);
}

/// Patience that ends after the window does not lengthen it: the client waits on.
#[test]
fn sie_revalidate_timeout_beyond_the_window() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.script(
        "/",
        [
            // A second of the window is left.
            Reply::aged(99, "max-age=10, stale-if-error=90", "old"),
            Reply::cached("max-age=60", "new").hold(&gate),
        ],
    );
    let nginx = Conf::caching_with(&origin, "swr_cache_revalidate_timeout 1300ms;").start();
    nginx.get("/");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(1800));
            gate.open();
        });
        nginx.get("/").is(200, "EXPIRED", "new");
    });
}

/// What outgrows the zone is the origin's answer, not its failure.
#[test]
fn sie_a_body_that_outgrows_the_zone_is_no_failure() {
    let origin = Origin::start();
    let long = "x".repeat(300_000);
    origin.script(
        "/",
        [
            Reply::aged(100, SIE, "old"),
            Reply::cached(SIE, long.clone()).chunked(),
        ],
    );
    let nginx = Conf::new()
        .http("swr_cache_zone zone=main:8m max_object=64k;")
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .start();
    nginx.get("/");
    let response = nginx.get("/");
    response.is(200, "EXPIRED", &long);
    assert_eq!(response.header("X-Reason"), Some("too-large"));
    nginx.get("/").is(200, "MISS", &long);
}

/// Judged by what the upstream did, not by what `error_page` makes of it.
#[test]
fn sie_sees_through_error_page() {
    let origin = Origin::start();
    origin.script(
        "/",
        [Reply::aged(100, SIE, "old"), Reply::new(503).body("bad")],
    );
    let nginx = Conf::caching_with(
        &origin,
        "proxy_intercept_errors on; error_page 503 =200 /sorry;",
    )
    .location("= /sorry", "return 200 sorry;")
    .start();
    nginx.get("/");
    nginx.get("/").is(200, "STALE", "old");
}

/// RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10: what must be validated and can't be, since the origin is out of reach, is a
/// 504, also where the location grants stale service; an error that the origin answers with is passed on.
#[test]
fn sie_must_revalidate_and_no_origin() {
    let origin = Origin::start();
    let lines = "swr_cache_use_stale error timeout http_503; error_page 504 /504.html;";
    let nginx = Conf::caching_with(&origin, lines)
        .location("= /504.html", "return 200 shown;")
        .location(
            "= /own",
            &format!(
                "swr_cache main; proxy_pass http://{}; error_page 502 504 =200 /own.html;",
                origin.addr
            ),
        )
        .location("= /own.html", "return 200 own;")
        .start();
    let controls = [
        "max-age=60, must-revalidate, stale-if-error=600",
        "max-age=60, proxy-revalidate",
        "no-cache",
        "s-maxage=60",
    ];
    for (n, control) in controls.iter().enumerate() {
        let old = Reply::aged(100, control, "old").header("ETag", "\"1\"");
        origin.script(&format!("/{n}"), [old, Reply::new(503).body("busy")]);
        nginx.get(&format!("/{n}")).is(200, "MISS", "old");
        nginx.get(&format!("/{n}")).is(503, "EXPIRED", "busy");
    }
    let old = Reply::aged(100, controls[0], "old").header("ETag", "\"1\"");
    origin.on("/own", old);
    nginx.get("/own").is(200, "MISS", "old");
    nginx.get("/own");
    origin.stop();
    for (n, control) in controls.iter().enumerate() {
        let failed = nginx.get(&format!("/{n}"));
        let got = (failed.status, failed.text());
        assert_eq!(got, (504, "shown".to_owned()), "{control}");
    }
    // What was never stored is nginx's own affair.
    assert_eq!(nginx.get("/never").status, 502);
    // So is what the location makes of a failure.
    assert_eq!(
        (nginx.get("/own").status, nginx.get("/own").text()),
        (200, "own".to_owned())
    );
}
