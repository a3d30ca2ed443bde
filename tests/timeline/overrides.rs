//! What a location configures, and what a client may request.

use crate::{script, script_with};
use swrcache::engine::{IgnoreFields, Policy, StatusMatch, UseStale, Window};

/// `TIME` is the window if the origin states none; the origin's own window takes precedence.
#[test]
fn a_default_window() {
    script_with(
        |policy| {
            policy.swr = Window::Default(30_000);
            policy.sie = Window::Default(60_000);
        },
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10] -> MISS
        39   GET /a -> UPDATING refresh
        39   drop /a
        40   GET /a -> fetch (sie-window)
        40   drop /a
        70   GET /a -> fetch (stale)
        70   200 /a [Cache-Control: max-age=10, stale-while-revalidate=1, stale-if-error=2] -> EXPIRED
        80.5 GET /a -> UPDATING refresh
        80.5 drop /a
        81.5 GET /a -> fetch (sie-window)
        81.5 drop /a
        82   GET /a -> fetch (stale)
        "#,
    );
}

/// `off`: never served stale while revalidating, whatever the origin says ("Serve stale content while revalidating:
/// off").
#[test]
fn windows_off() {
    script_with(
        |policy| {
            policy.swr = Window::Off;
            policy.sie = Window::Off;
        },
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600, stale-if-error=600] -> MISS
        11   GET /a -> fetch (stale)
        11   fail error /a -> fails
        "#,
    );
}

/// `force` overrides the origin's window.
#[test]
fn windows_forced() {
    script_with(
        |policy| policy.swr = Window::Force(5_000),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600] -> MISS
        14   GET /a -> UPDATING refresh
        14   drop /a
        15   GET /a -> fetch (stale)
        "#,
    );
}

/// `s-maxage` implies `proxy-revalidate` (RFC 9111 §5.2.2.10), but an explicit window in the same field overrides what
/// is merely implied; a configured one does not.
#[test]
fn s_maxage_and_windows() {
    script_with(
        |policy| policy.sie = Window::Default(600_000),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: s-maxage=10, stale-while-revalidate=60] -> MISS
        11   GET /a -> UPDATING refresh
        11   drop /a
        70   GET /a -> fetch (stale)
        "#,
    );
}

/// An explicit `use_stale` grants a window if the origin states none: 24 hours, or the time of the other directives.
#[test]
fn use_stale_grants_a_window() {
    script_with(
        |policy| policy.use_stale = UseStale::listed(UseStale::ERROR | UseStale::UPDATING),
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=10] -> MISS
        11     GET /a -> UPDATING refresh
        11     drop /a
        86409  GET /a -> UPDATING refresh
        86409  drop /a
        86411  GET /a -> fetch (stale)
        "#,
    );
    script_with(
        |policy| policy.use_stale = UseStale::listed(UseStale::ERROR),
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=10] "one" -> MISS
        11     GET /a -> fetch (sie-window)
        11     fail error /a -> STALE "one"
        0      GET /b -> fetch
        0      200 /b [Cache-Control: max-age=10, stale-if-error=5] "one" -> MISS
        16     GET /b -> fetch (stale)
        "#,
    );
}

/// The default `use_stale` grants none.
#[test]
fn the_default_use_stale_grants_nothing() {
    script(
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=10] -> MISS
        11     GET /a -> fetch (stale)
        11     fail error /a -> fails
        "#,
    );
}

/// `swr_cache_valid` gives a lifetime if the origin gives none.
#[test]
fn configured_freshness() {
    script_with(
        |policy| {
            policy.valid = vec![
                (StatusMatch::Code(404), 5_000),
                (StatusMatch::Usual, 20_000),
                (StatusMatch::Any, 1_000),
            ];
        },
        r#"
        0    GET /a -> fetch
        0    200 /a -> stored MISS ttl 20
        0    GET /b -> fetch
        0    404 /b -> stored MISS ttl 5
        0    GET /c -> fetch
        0    403 /c -> stored MISS ttl 1
        0    GET /d -> fetch
        0    200 /d [Cache-Control: max-age=7] -> stored MISS ttl 7
        0    GET /e -> fetch
        0    200 /e [Cache-Control: no-store] -> relay (no-store)
        "#,
    );
}

/// A response without any lifetime that the origin can't validate is not stored, whatever windows the location grants:
/// these extend the use of responses that were fresh once.
#[test]
fn without_a_lifetime_nothing_is_stored() {
    let windows = |policy: &mut Policy| {
        policy.valid = vec![
            (StatusMatch::Code(200), 5_000),
            (StatusMatch::Code(301), 5_000),
        ];
        policy.swr = Window::Default(3_600_000);
        policy.sie = Window::Default(3_600_000);
    };
    let forced = |policy: &mut Policy| {
        policy.swr = Window::Force(3_600_000);
        policy.sie = Window::Force(3_600_000);
    };
    let granted = |policy: &mut Policy| {
        policy.use_stale = UseStale::listed(UseStale::UPDATING | UseStale::ERROR);
    };
    for status in [203, 204, 300, 302, 308, 404, 405, 410, 414, 501, 403, 400] {
        for fields in [
            "X: y",
            "ETag: \"v1\"",
            "Cache-Control: stale-while-revalidate=60",
            "Last-Modified: {0} | Date: {0}",
        ] {
            let answer = format!(
                r#"
                0    GET /a -> fetch
                0    {status} /a [{fields}] -> relay
                "#
            );
            script_with(windows, &answer);
            script_with(forced, &answer);
            script_with(granted, &answer);
        }
    }
    // With a lifetime, the location's windows apply.
    for status in [200, 204, 404, 410] {
        script_with(
            windows,
            &format!(
                r#"
                0    GET /a -> fetch
                0    {status} /a [Cache-Control: max-age=1] -> stored MISS
                3000 GET /a -> UPDATING refresh
                "#
            ),
        );
    }
    // With a validator alone, it is validated at each use.
    for change in [windows as fn(&mut Policy), forced, granted] {
        script_with(
            |policy| {
                change(policy);
                policy.valid.clear();
            },
            r#"
            0    GET /a -> fetch
            0    200 /a [ETag: "v1"] "one" -> stored MISS
            1    GET /a -> fetch (stale) asks if-none-match
            1    503 /a -> relay (origin-status)
            2    GET /a -> fetch (stale)
            2    304 /a -> renewed REVALIDATED "one"
            0    GET /b -> fetch
            0    200 /b [ETag: "v1" | Cache-Control: max-age=0] "one" -> stored MISS
            1    GET /b -> fetch (stale)
            0    GET /c -> fetch
            0    200 /c [Cache-Control: max-age=0] "one" -> relay (no-freshness)
            0    GET /d -> fetch
            0    200 /d "one" -> relay (no-freshness)
            "#,
        );
    }
    // The origin's own windows apply to a response that it declares stale from the start.
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=0, stale-while-revalidate=60] "one" -> stored MISS
        59   GET /a -> UPDATING refresh
        "#,
    );
    // Nothing is validated if the location says so.
    script_with(
        |policy| policy.revalidate = false,
        r#"
        0    GET /a -> fetch
        0    200 /a [ETag: "v1"] -> relay (no-freshness)
        "#,
    );
}

/// `swr_cache_valid ... 0`: a response without a lifetime of its own is not stored, with or without a validator or a
/// heuristic.
#[test]
fn a_configured_lifetime_of_nothing() {
    script_with(
        |policy| {
            policy.valid = vec![(StatusMatch::Code(200), 9_000), (StatusMatch::Any, 0)];
            policy.swr = Window::Default(3_600_000);
        },
        r#"
        0    GET /a -> fetch
        0    404 /a [ETag: "v1" | Last-Modified: {-1000}] -> relay (no-freshness)
        0    GET /b -> fetch
        0    404 /b [Cache-Control: max-age=3] -> stored MISS ttl 3
        0    GET /c -> fetch
        0    200 /c -> stored MISS ttl 9
        10   GET /c -> UPDATING refresh
        10   404 /c -> dropped
        10   GET /c -> fetch (absent)
        "#,
    );
    script_with(
        |policy| policy.valid = vec![(StatusMatch::Usual, 0)],
        r#"
        0    GET /a -> fetch
        0    200 /a [ETag: "v1" | Last-Modified: {-1000}] -> relay (no-freshness)
        "#,
    );
}

/// Heuristic freshness: a tenth of the time since `Last-Modified` (RFC 9111 §4.2.2), never of a synthesised one.
#[test]
fn heuristic_freshness() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Date: {0} | Last-Modified: {-1000}] -> stored MISS ttl 100
        0    GET /b -> fetch
        0    200 /b [Date: {0}] -> relay
        "#,
    );
}

/// `X-Accel-Expires` overrides, as in nginx.
#[test]
fn x_accel_expires() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=1 | X-Accel-Expires: 50] -> stored MISS ttl 50
        0    GET /b -> fetch
        0    200 /b [Cache-Control: max-age=60 | X-Accel-Expires: 0] -> relay (x-accel-expires)
        0    GET /c -> fetch
        0    200 /c [X-Accel-Expires: @1700000030] -> stored MISS ttl 30
        0    GET /d -> fetch
        0    200 /d [X-Accel-Expires: @1 | Cache-Control: stale-while-revalidate=60] -> stored MISS ttl 0
        1    GET /d -> UPDATING refresh
        "#,
    );
    script_with(
        |policy| policy.ignore = IgnoreFields::X_ACCEL_EXPIRES,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=1 | X-Accel-Expires: 50] -> stored MISS ttl 1
        "#,
    );
}

/// Fields that a location ignores.
#[test]
fn ignored_fields() {
    script_with(
        |policy| {
            policy.ignore = IgnoreFields::CACHE_CONTROL.with(IgnoreFields::VARY);
            policy.valid = vec![(StatusMatch::Any, 9_000)];
        },
        r#"
        0    GET /a [X: 1] -> fetch
        0    200 /a [Cache-Control: no-store | Vary: X] -> stored MISS ttl 9
        1    GET /a [X: 2] -> HIT
        "#,
    );
}

/// Targeted control: the first valid field governs, and `Cache-Control` and `Expires` are then ignored (RFC 9213).
/// `CDN-Cache-Control` is forwarded, `Surrogate-Control` is not.
#[test]
fn targeted_control() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: no-store | CDN-Cache-Control: max-age=30 | Surrogate-Control: max-age=5] -> stored MISS ttl 30 shows cdn-cache-control hides surrogate-control
        0    GET /b -> fetch
        0    200 /b [Cache-Control: max-age=9 | Surrogate-Control: max-age=5] -> stored MISS ttl 5
        0    GET /c -> fetch
        0    200 /c [Cache-Control: max-age=9 | CDN-Cache-Control: max-age=] -> stored MISS ttl 9
        "#,
    );
}

/// Tags are hidden, except `Cache-Groups`; the cache sends `Age` and `Date` itself.
#[test]
fn what_clients_see() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | Age: 3 | Date: {0} | Surrogate-Key: a b | Cache-Tag: c | Cache-Groups: "g" | Link: one | Link: two | Connection: x-hop | X-Hop: 1 | Keep-Alive: 5] -> MISS
        1    GET /a -> HIT age 4 hides surrogate-key hides cache-tag shows cache-groups hides age hides date hides connection hides x-hop hides keep-alive shows link: one shows link: two
        "#,
    );
}

/// Bypass: the store is not consulted, but the response is stored; with the no-cache condition too, the cache does
/// nothing.
#[test]
fn bypass_and_no_cache() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60] "one" -> MISS
        1    GET /a bypass -> fetch (bypass) unconditional
        1    200 /a [Cache-Control: max-age=60] "two" -> stored BYPASS "two"
        2    GET /a -> HIT "two"
        3    GET /a bypass no-cache -> pass BYPASS (bypass)
        4    GET /a bypass -> fetch
        4    200 /a [Cache-Control: private] "mine" -> relay (private)
        5    GET /a -> HIT "two"
        6    GET /a no-cache -> HIT "two"
        0    GET /b no-cache -> pass MISS (no-cache-condition)
        0    GET /b -> fetch
        "#,
    );
}

/// A bypassing fetch with an incomplete body leaves the stored response as it is.
#[test]
fn a_broken_bypass_does_no_harm() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60] "one" -> MISS
        1    GET /a bypass -> fetch (bypass)
        1    head 200 /a [Cache-Control: max-age=60] -> beside
        1    body /a "tw"
        1    GET /a -> HIT "one"
        2    cut /a -> broken
        2    GET /a -> HIT "one"
        "#,
    );
}

/// A no-cache condition that holds for the response counts as if the origin forbade storing: the entry is removed and
/// the key remembered, so that not every request causes a refresh.
#[test]
fn no_cache_that_holds_for_the_response() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600] "one" -> MISS
        20   GET /a -> UPDATING refresh
        20   refused 200 /a [Cache-Control: max-age=10] "two" -> dropped (no-cache-condition)
        21   GET /a -> pass (hit-for-miss)
        0    GET /b -> fetch
        0    GET /b -> wait
        0    refused 200 /b [Cache-Control: max-age=10] "one" -> relay (no-cache-condition)
        0    woken /b -> pass (hit-for-miss)
        "#,
    );
}

/// A request whose response is not stored validates nothing: a 304 would freshen the stored response.
#[test]
fn no_cache_asks_for_the_whole() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10 | ETag: "1"] "one" -> MISS
        20   GET /a no-cache -> fetch unconditional
        20   200 /a [Cache-Control: max-age=10] "mine" -> relay (no-cache-condition)
        20   GET /a -> fetch asks if-none-match
        "#,
    );
}

/// With the no-cache condition, the stale response is still served in place of an error, but no response is stored.
#[test]
fn no_cache_keeps_the_fallback() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-if-error=60] "one" -> MISS
        20   GET /a no-cache -> fetch
        20   200 /a [Cache-Control: max-age=10] "mine" -> relay (no-cache-condition)
        20   GET /a no-cache -> fetch
        20   fail error /a -> STALE "one"
        "#,
    );
}

/// Request directives apply only where they are honoured.
#[test]
fn client_directives_are_off_by_default() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60] -> MISS
        1    GET /a [Cache-Control: no-cache] -> HIT
        1    GET /a [Pragma: no-cache] -> HIT
        "#,
    );
}

/// Client directives (RFC 9111 §5.2.1).
#[test]
fn client_directives() {
    script_with(
        |policy| policy.client_control = true,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | ETag: "1"] "one" -> MISS
        10   GET /a [Cache-Control: max-age=20] -> HIT
        10   GET /a [Cache-Control: max-age=5] -> fetch (client-refused) asks if-none-match
        10   drop /a
        10   GET /a [Cache-Control: min-fresh=40] -> HIT
        10   GET /a [Cache-Control: min-fresh=55] -> fetch (client-refused)
        10   drop /a
        10   GET /a [Pragma: no-cache] -> fetch (client-refused)
        10   304 /a -> renewed REVALIDATED age 0
        71   GET /a [Cache-Control: max-stale=10] -> STALE (max-stale) age 61 "one"
        71   GET /a [Cache-Control: only-if-cached, max-stale] -> STALE (max-stale)
        71   GET /a [Cache-Control: only-if-cached] -> 504 (only-if-cached)
        71   GET /x [Cache-Control: only-if-cached] -> 504
        71   GET /x [Cache-Control: no-store] -> pass (client-no-store)
        "#,
    );
}

/// `immutable`: no validation while fresh, even if the client requests it (RFC 8246).
#[test]
fn immutable_is_not_validated() {
    script_with(
        |policy| policy.client_control = true,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, immutable] -> MISS
        10   GET /a [Cache-Control: max-age=0] -> HIT
        10   GET /a [Cache-Control: no-cache] -> HIT
        "#,
    );
}

/// `inactive`: an entry without requests for that long is removed.
#[test]
fn inactive_entries_are_gone() {
    script_with(
        |policy| policy.inactive = Some(100_000),
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=1000] -> MISS
        90   GET /a -> HIT
        180  GET /a -> HIT
        281  GET /a -> fetch (absent)
        "#,
    );
}
