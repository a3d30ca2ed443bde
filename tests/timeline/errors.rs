//! Failures of the origin: stale-if-error, back-off, patience, incomplete bodies.

use crate::{script, script_with};
use swrcache::engine::{UseStale, Window};

/// Every kind of failure inside the window is answered with the stale response.
#[test]
fn every_failure_is_covered() {
    let failures = [
        "100 fail error /a",
        "100 fail timeout /a",
        "100 fail invalid /a",
        "100 fail aborted /a",
        "100 500 /a",
        "100 502 /a",
        "100 503 /a",
        "100 504 /a",
        "100 made 502 error /a",
        "100 made 504 timeout /a",
        "100 made 200 error /a",
    ];
    for failure in failures {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    200 /a [Cache-Control: max-age=60, stale-if-error=600] "one" -> MISS
            100  GET /a -> fetch (sie-window)
            {failure} -> STALE (sie-fallback) age 100 "one"
            "#
        ));
    }
}

/// 408, 425, 429 and any 5xx are failures, also for a request that waits: the stored response is kept, and a pause
/// follows.
#[test]
fn who_cannot_answer_now_has_failed() {
    for status in [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 520, 599] {
        for fields in [
            "X: y",
            "Cache-Control: max-age=60",
            "Cache-Control: no-store",
            "Set-Cookie: a=b",
        ] {
            script(&format!(
                r#"
                0    GET /a -> fetch
                0    200 /a [Cache-Control: max-age=1, stale-while-revalidate=60, stale-if-error=600] "one" -> MISS
                2    GET /a -> UPDATING refresh
                2    {status} /a [Retry-After: 5 | {fields}] -> dropped (origin-status)
                6.9  GET /a -> STALE (swr-backoff) "one"
                7    GET /a -> UPDATING refresh
                7    {status} /a [{fields}] -> dropped
                100  GET /a -> fetch (sie-window)
                100  {status} /a [Retry-After: 5 | {fields}] -> STALE (sie-fallback) "one"
                104  GET /a -> STALE (sie-backoff) "one"
                105  GET /a -> fetch (sie-window)
                105  200 /a [Cache-Control: max-age=60] "two" -> EXPIRED "two"
                "#
            ));
        }
    }
}

/// `swr_cache_use_stale http_403 http_404` counts these statuses as failures.
#[test]
fn what_the_location_counts_as_a_failure() {
    for status in [403, 404] {
        script_with(
            |policy| policy.use_stale = UseStale::listed(UseStale::HTTP_403 | UseStale::HTTP_404),
            &format!(
                r#"
                0    GET /a -> fetch
                0    200 /a [Cache-Control: max-age=1, stale-while-revalidate=60, stale-if-error=600] "one" -> MISS
                2    GET /a -> UPDATING refresh
                2    {status} /a [Cache-Control: max-age=60] -> dropped (origin-status)
                2    GET /a -> STALE (swr-backoff) "one"
                100  GET /a -> fetch
                100  {status} /a [Cache-Control: max-age=60] -> STALE "one"
                200  GET /a -> fetch
                200  410 /a -> relay
                200  GET /a -> fetch (absent)
                "#
            ),
        );
    }
}

/// In synchronous mode, the request that waits for the refresh gets the stale response if the refresh fails, like the
/// requests that don't wait.
#[test]
fn a_synchronous_refresh_that_fails() {
    script_with(
        |policy| policy.background_update = false,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60] "one" -> MISS
        20   GET /a -> fetch (synchronous)
        20   GET /a -> UPDATING (swr-window) "one"
        20   429 /a [Retry-After: 5] -> STALE "one"
        21   GET /a -> STALE (swr-backoff) "one"
        30   GET /a -> fetch (synchronous)
        30   fail timeout /a -> STALE "one"
        80   GET /a -> fetch (stale)
        80   fail timeout /a -> fails
        "#,
    );
}

/// An entry whose refresh never succeeds is not served beyond the end of its windows.
#[test]
fn failures_do_not_lengthen_the_windows() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=20, stale-if-error=50] "one" -> MISS
        29   GET /a -> UPDATING refresh
        29   429 /a [Retry-After: 3600] -> dropped
        30   GET /a -> STALE (sie-backoff)
        59.9 GET /a -> STALE (sie-backoff)
        60   GET /a -> fetch (stale)
        60   429 /a -> relay (origin-status)
        "#,
    );
}

/// 404 and 410, and 401, 403, 407, are answers, not failures: they replace or remove the stored response.
#[test]
fn not_found_is_an_answer() {
    for status in [404, 410, 401, 403, 407] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    200 /a [Cache-Control: max-age=60, stale-if-error=600, stale-while-revalidate=60] "one" -> MISS
            61   GET /a -> UPDATING refresh
            61   {status} /a [Cache-Control: max-age=5] "gone" -> stored
            62   GET /a -> HIT status {status} "gone"
            "#
        ));
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    200 /a [Cache-Control: max-age=60, stale-if-error=600] "one" -> MISS
            130  GET /a -> fetch (sie-window)
            130  {status} /a -> relay
            131  GET /a -> fetch (absent)
            131  {status} /a -> relay
            132  GET /a -> pass MISS (hit-for-miss)
            "#
        ));
    }
}

/// A 5xx with freshness of its own never replaces an entry inside its stale-if-error window; outside, it is stored like
/// any response (RFC 9111 §3).
#[test]
fn a_fresh_503_does_not_replace() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-if-error=600] "one" -> MISS
        100  GET /a -> fetch
        100  503 /a [Cache-Control: max-age=60] -> STALE "one"
        100  GET /a -> STALE (sie-backoff) "one"
        700  GET /a -> fetch (stale)
        700  503 /a [Cache-Control: max-age=60] "sorry" -> stored EXPIRED status 503 "sorry"
        710  GET /a -> HIT status 503 "sorry"
        "#,
    );
}

/// SWR does not imply SIE, nor the reverse.
#[test]
fn neither_window_implies_the_other() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=10] "one" -> MISS
        100  GET /a -> fetch (stale)
        100  fail error /a -> fails
        0    GET /b -> fetch
        0    200 /b [Cache-Control: max-age=60, stale-if-error=100] "one" -> MISS
        61   GET /b -> fetch (sie-window)
        "#,
    );
}

/// A failed refresh starts the back-off: the stale response is served without contacting the origin, then one request
/// tries again, and the pause doubles (stretched by up to a quarter).
#[test]
fn the_back_off_doubles() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-while-revalidate=1000] "one" -> MISS
        20    GET /a -> UPDATING refresh
        20    fail error /a -> dropped (origin-error)
        20.9  GET /a -> STALE (swr-backoff)
        21.3  GET /a -> UPDATING refresh
        21.3  502 /a -> dropped (origin-status)
        23.2  GET /a -> STALE (swr-backoff)
        23.9  GET /a -> UPDATING refresh
        23.9  fail timeout /a -> dropped (origin-timeout)
        27.8  GET /a -> STALE (swr-backoff)
        29    GET /a -> UPDATING refresh
        29    200 /a [Cache-Control: max-age=10, stale-while-revalidate=1000] "two" -> stored
        40    GET /a -> UPDATING refresh
        40    fail error /a -> dropped
        41.3  GET /a -> UPDATING refresh
        "#,
    );
}

/// `Retry-After` is honoured (RFC 9110 §10.2.3) up to the location's longest pause: an origin that is in maintenance
/// for a second but asks for ten minutes does not freeze a page.
#[test]
fn retry_after_lengthens_the_pause() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-while-revalidate=1000] "one" -> MISS
        20    GET /a -> UPDATING refresh
        20    503 /a [Retry-After: 30] -> dropped
        49    GET /a -> STALE (swr-backoff)
        50    GET /a -> UPDATING refresh
        50    503 /a [Retry-After: {90}] -> dropped
        89    GET /a -> STALE (swr-backoff)
        90    GET /a -> UPDATING refresh
        90    503 /a [Retry-After: 600] -> dropped
        149   GET /a -> STALE (swr-backoff)
        150   GET /a -> UPDATING refresh
        "#,
    );
}

/// Outside all windows the pause has no effect: each request gets the origin's error.
#[test]
fn past_all_windows_errors_are_passed_on() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-if-error=10] "one" -> MISS
        19.9  GET /a -> fetch
        19.9  fail error /a -> STALE
        20    GET /a -> fetch (stale)
        20    fail error /a -> fails (origin-error)
        20    GET /a -> fetch (stale)
        "#,
    );
}

/// `must-revalidate`, `proxy-revalidate` and `no-cache` override both windows, even forced ones (RFC 9111 §4.2.4).
#[test]
fn must_revalidate_binds() {
    for directive in ["must-revalidate", "proxy-revalidate"] {
        script_with(
            |policy| {
                policy.swr = Window::Force(600_000);
                policy.sie = Window::Force(600_000);
            },
            &format!(
                r#"
                0    GET /a -> fetch
                0    200 /a [Cache-Control: max-age=60, {directive}, stale-while-revalidate=600, stale-if-error=600] "one" -> MISS
                59   GET /a -> HIT
                61   GET /a -> fetch (must-revalidate)
                61   fail error /a -> 504 (must-revalidate)
                "#
            ),
        );
    }
}

/// `swr_cache_use_stale` selects the failures that are covered.
#[test]
fn only_listed_failures_are_covered() {
    script_with(
        |policy| policy.use_stale = UseStale::listed(UseStale::TIMEOUT | UseStale::HTTP_429),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=10000] "one" -> MISS
        20   GET /a -> fetch
        20   fail error /a -> fails (origin-error)
        100  GET /a -> fetch
        100  503 /a -> relay (origin-status)
        200  GET /a -> fetch
        200  429 /a [Retry-After: 1] -> STALE "one"
        300  GET /a -> fetch
        300  fail timeout /a -> STALE "one"
        "#,
    );
    script_with(
        |policy| policy.use_stale = UseStale::OFF,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=10000] "one" -> MISS
        20   GET /a -> fetch (stale)
        20   fail error /a -> fails (origin-error)
        "#,
    );
}

/// With a usable stale response, a request waits for the origin only as long as the location's patience.
#[test]
fn patience_ends_the_wait() {
    script_with(
        |policy| policy.revalidate_timeout = Some(500),
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-if-error=600] "one" -> MISS
        20    GET /a -> fetch patience 20.5
        20    GET /a -> wait until 20.5
        20.5  timeout /a -> STALE (sie-patience) "one"
        25    200 /a [Cache-Control: max-age=10] "two" -> stored "two"
        25    GET /a -> HIT "two"
        36    GET /a -> fetch (stale)
        "#,
    );
}

/// An incomplete body is answered with the stale response if there is one, which stays as it was; without one, clients
/// that read it see that it breaks off, and it is never stored.
#[test]
fn a_broken_body() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-if-error=600] "one" -> MISS
        20    GET /a -> fetch
        20    head 200 /a [Cache-Control: max-age=10 | content-length: 6] -> beside
        20    body /a "two"
        20    GET /a -> wait
        21    cut /a -> broken STALE "one"
        21    woken /a -> STALE (sie-backoff) collapsed "one"
        50    GET /a -> fetch
        50    head 200 /a [Cache-Control: max-age=10 | content-length: 6] -> beside
        50    body /a "two"
        51    end /a -> broken STALE "one"

        0     GET /b -> fetch
        0     head 200 /b [Cache-Control: max-age=10 | content-length: 6] -> streams
        0     body /b "one"
        1     GET /b -> HIT "one"
        1     cut /b -> broken
        1     GET /b -> fetch (absent)
        "#,
    );
}

/// A refresh with an incomplete body keeps the entry, and a pause follows.
#[test]
fn a_broken_refresh() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-while-revalidate=600] "one" -> MISS
        20    GET /a -> UPDATING refresh
        20    head 200 /a [Cache-Control: max-age=10] -> beside
        20    body /a "tw"
        20    GET /a -> UPDATING (swr-window) "one"
        21    cut /a -> broken
        21    GET /a -> STALE (swr-backoff) "one"
        "#,
    );
}

/// The client's own `stale-if-error` applies where request directives are honoured (RFC 5861 §4).
#[test]
fn stale_if_error_of_the_request() {
    script_with(
        |policy| policy.client_control = true,
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10] "one" -> MISS
        20    GET /a [Cache-Control: stale-if-error=60] -> fetch
        20    fail error /a -> STALE "one"
        120   GET /a [Cache-Control: stale-if-error=60] -> fetch
        120   fail error /a -> fails
        "#,
    );
}

/// After the lock timeout, a request with a stale response makes a fetch of its own, and can be served stale if that
/// fails.
#[test]
fn a_lock_timeout_beside_a_stale_copy() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: max-age=10, stale-if-error=600] "one" -> MISS
        20    GET /a -> fetch
        20    GET /a -> wait until 25
        24.9  timeout /a -> fetch (sie-window)
        "#,
    );
}

/// A response that must be validated but can't be yields a 504 (RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10); an
/// error status from the origin is forwarded.
#[test]
fn what_must_be_validated_and_cannot_be() {
    for control in [
        "max-age=10, must-revalidate, stale-if-error=600",
        "max-age=10, proxy-revalidate, stale-if-error=600",
        "max-age=10, no-cache, stale-if-error=600",
        "s-maxage=10",
    ] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    200 /a [Cache-Control: {control} | ETag: "v1"] "one" -> MISS
            20   GET /a -> fetch asks if-none-match
            20   fail error /a -> 504 (must-revalidate)
            20   GET /a -> fetch
            20   made 504 timeout /a -> 504 (must-revalidate)
            20   GET /a -> fetch
            20   made 502 invalid /a -> relay (origin-invalid)
            20   GET /a -> fetch
            20   fail aborted /a -> fails (aborted)
            20   GET /a -> fetch
            20   503 /a -> relay (origin-status)
            20   GET /a -> fetch asks if-none-match
            20   304 /a -> renewed REVALIDATED "one"
            "#
        ));
    }
}

/// No 504 is ordered for a response that may be served stale or was never stored: the host reports the failure.
#[test]
fn a_failure_that_is_no_gateway_timeout() {
    script(
        r#"
        0    GET /a -> fetch
        0    fail error /a -> fails (origin-error)
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10] "one" -> MISS
        20   GET /a -> fetch
        20   fail timeout /a -> fails (origin-timeout)
        0    GET /b -> fetch
        0    200 /b [Cache-Control: s-maxage=10, stale-if-error=60] "one" -> MISS
        20   GET /b -> fetch (sie-window)
        20   fail error /b -> STALE "one"
        "#,
    );
}

/// However long a client has waited, no stale response is served beyond its window.
#[test]
fn patience_ends_after_the_window() {
    script_with(
        |policy| policy.revalidate_timeout = Some(5_000),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=50] "one" -> MISS
        57   GET /a -> fetch (sie-window) patience 62
        59.9 patience /a -> STALE (sie-patience) age 59 "one"
        60   fail error /a -> dropped (origin-error)
        70   GET /b -> fetch
        70   200 /b [Cache-Control: max-age=10, stale-if-error=50] "one" -> MISS
        127  GET /b -> fetch (sie-window) patience 132
        132  patience /b -> waits
        140  200 /b [Cache-Control: max-age=10] "two" -> EXPIRED (fetched) "two"
        "#,
    );
}

/// The same holds after a download that took longer than the window.
#[test]
fn a_download_outlasts_the_window() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=50] "one" -> MISS
        20   GET /a -> fetch (sie-window)
        20   head 200 /a [Cache-Control: max-age=10, stale-if-error=50 | content-length: 9] -> beside
        21   body /a "tw"
        60   cut /a -> fails EXPIRED (body-broken) broken
        100  GET /b -> fetch
        100  200 /b [Cache-Control: max-age=10, stale-if-error=50] "one" -> MISS
        120  GET /b -> fetch (sie-window)
        120  head 200 /b [Cache-Control: max-age=10, stale-if-error=50 | content-length: 9] -> beside
        121  body /b "tw"
        159.9 end /b -> broken STALE (sie-fallback) "one"
        162  GET /b -> fetch (stale)
        "#,
    );
}

/// A client whose patience is over gets the stale response even while a new body arrives beside it.
#[test]
fn patience_during_a_download() {
    script_with(
        |policy| policy.revalidate_timeout = Some(5_000),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=50] "one" -> MISS
        20   GET /a -> fetch (sie-window) patience 25
        21   head 200 /a [Cache-Control: max-age=10] -> beside
        21   body /a "two"
        25   patience /a fill -> STALE (sie-patience) "one"
        26   end /a -> stored "two"
        26   GET /a -> HIT "two"
        "#,
    );
}

/// A response that outgrows the store is the origin's answer: its client gets all of it, even if a stale response could
/// be served.
#[test]
fn what_outgrows_the_store_is_no_failure() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=20, stale-if-error=500] "one" -> MISS
        40   GET /a -> fetch (sie-window)
        40   head 200 /a [Cache-Control: max-age=10] -> beside
        40   body /a "tw"
        41   large /a -> rest EXPIRED (too-large) "tw"
        42   GET /a -> pass (hit-for-miss)
        50   GET /b -> fetch
        50   head 200 /b [Cache-Control: max-age=10] -> streams
        50   body /b "tw"
        51   large /b -> rest MISS (fetched) "tw"
        60   GET /c -> fetch
        60   200 /c [Cache-Control: max-age=10, stale-while-revalidate=20] "one" -> MISS
        75   GET /c -> UPDATING refresh
        75   head 200 /c [Cache-Control: max-age=10] -> beside
        75   body /c "tw"
        75   large /c -> dropped (too-large)
        75   GET /c -> pass (hit-for-miss)
        "#,
    );
}

/// If the leading client goes, a fill continues for the store, and a relayed response is discarded.
#[test]
fn leaders_that_go() {
    script(
        r#"
        0    GET /a -> fetch
        0    head 200 /a [Cache-Control: max-age=10] -> streams
        0    body /a "one"
        1    gone /a fill
        2    end /a -> stored
        2    GET /a -> HIT "one"
        3    GET /b -> fetch
        3    gone /b
        4    200 /b [Cache-Control: no-store] -> dropped (no-store)
        5    GET /c -> fetch
        5    gone /c
        6    fail error /c -> dropped (origin-error)
        "#,
    );
}
