//! The sequences of statuses and headers that descriptions of asynchronous stale-while-revalidate promise, as one sees
//! them with `curl -I`.

use crate::support::*;

const CATALOG: &str = "public, max-age=600, stale-while-revalidate=86400, stale-if-error=86400";

#[track_caller]
fn curl_i(nginx: &Nginx) -> Response {
    let response = nginx.client().request("HEAD", "/api/catalog", &[]);
    assert_eq!(
        (response.status, response.body.len()),
        (200, 0),
        "{response:?}"
    );
    response
}

/// First fresh with a low `Age`, then an `Age` beyond `max-age` and still from the cache, then an `Age` that fell back.
#[test]
fn seeds_curl_sequence() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let replies = [
        Reply::aged(612, CATALOG, "[]"),
        Reply::cached(CATALOG, "[1]").hold(&gate),
    ];
    origin.script("/api/catalog", replies);
    let nginx = Conf::caching(&origin).start();

    assert_eq!(curl_i(&nginx).cache(), "MISS");
    let stale = curl_i(&nginx);
    assert_eq!(stale.cache(), "UPDATING");
    assert!(stale.age() >= 612);
    gate.open();
    eventually("Age falls back below max-age", || {
        curl_i(&nginx).age() < 600
    });
    assert_eq!(curl_i(&nginx).cache(), "HIT");
}

/// The origin answers 503: a 200 with a high `Age`; when it is well again, `Age` resets.
#[test]
fn seeds_faulted_origin_and_recovery() {
    let origin = Origin::start();
    let control = "max-age=600, stale-if-error=86400";
    origin.on("/api/catalog", Reply::aged(4203, control, "[]"));
    let nginx = Conf::caching(&origin).start();
    curl_i(&nginx);

    origin.on("/api/catalog", Reply::new(503).body("sorry"));
    let stale = curl_i(&nginx);
    assert_eq!(stale.cache(), "STALE");
    assert!(stale.age() >= 4203);

    origin.on("/api/catalog", Reply::cached(control, "[1]"));
    eventually("Age resets", || curl_i(&nginx).age() < 600);
    assert_eq!(nginx.get("/api/catalog").text(), "[1]");
}

/// The table of phases: where in its life, the origin's state, the answer, whether the origin is asked.
#[test]
fn seeds_phase_table() {
    const WINDOWS: &str = "max-age=600, stale-while-revalidate=600, stale-if-error=86400";
    // path, age on arrival, origin up, status, cache status, requests to the origin in all
    let table = [
        ("/fresh-up", 0, true, 200, "HIT", 1),
        ("/fresh-down", 0, false, 200, "HIT", 1),
        ("/swr-up", 700, true, 200, "UPDATING", 2),
        ("/swr-down", 700, false, 200, "UPDATING", 2),
        ("/sie-up", 1300, true, 200, "EXPIRED", 2),
        ("/sie-down", 1300, false, 200, "STALE", 2),
        ("/past-all-down", 90_000, false, 503, "", 2),
    ];
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, age, up, status, cache, requests) in table {
        let then = if up {
            Reply::cached(WINDOWS, "new")
        } else {
            Reply::new(503).body("down")
        };
        origin.script(path, [Reply::aged(age, WINDOWS, "old"), then]);
        assert_eq!(nginx.get(path).cache(), "MISS", "{path}");

        let response = nginx.get(path);
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(
            cache.is_empty() || response.cache() == cache,
            "{path}: {response:?}"
        );
        origin.await_hits(path, requests);
        assert_eq!(origin.hits(path), requests, "{path}");
    }
}

/// The same with an origin that can't be reached at all.
#[test]
fn seeds_phase_table_origin_off() {
    const WINDOWS: &str = "max-age=600, stale-while-revalidate=600, stale-if-error=86400";
    let table = [
        ("/fresh", 0, 200),
        ("/swr", 700, 200),
        ("/sie", 1300, 200),
        ("/past", 90_000, 502),
    ];
    let origin = Origin::start();
    let nginx = Conf::caching(&origin).start();
    for (path, age, _) in table {
        origin.on(path, Reply::aged(age, WINDOWS, path));
        nginx.get(path);
    }
    origin.stop();
    for (path, _, status) in table {
        let response = nginx.get(path);
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(status != 200 || response.text() == path);
    }
}
