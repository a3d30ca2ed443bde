//! The main cycle: fresh, stale while revalidating, stale if error, too old.

use crate::{script, script_with};
use swrcache::engine::{Status, Window};

/// The four phases of an entry (RFC 5861 §3, §4).
#[test]
fn the_four_phases() {
    script(
        r#"
        0      GET /a                                                              -> fetch (absent) unconditional
        0      200 /a [Cache-Control: max-age=60, stale-while-revalidate=300, stale-if-error=600] "one"
                                                                                   -> stored MISS age 0 "one"
        59.999 GET /a                                                              -> HIT age 59 ttl 0 (fresh) "one"
        60     GET /a                                                              -> UPDATING age 60 ttl 0 (swr-refresh) refresh "one"
        60     fail error /a                                                       -> dropped (origin-error)
        359.9  GET /a                                                              -> UPDATING age 359 ttl -300 refresh
        359.9  drop /a
        360    GET /a                                                              -> fetch (sie-window)
        360    503 /a                                                              -> STALE age 360 (sie-fallback) "one"
        659.9  GET /a                                                              -> fetch (sie-window)
        659.9  200 /a [Cache-Control: max-age=60] "two"                            -> stored EXPIRED age 0 "two"
        719.9  GET /a                                                              -> fetch (stale)
        719.9  503 /a                                                              -> relay (origin-status)
        "#
        .replace("\n                                                                                   ->", " ->")
        .as_str(),
    );
}

/// Seed 000: the first request after expiry gets the stale response with UPDATING, and so do all others until the
/// origin answers, after which requests get HIT.
#[test]
fn asynchronous_revalidation_as_told() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=300 | ETag: "1"] "one" -> stored MISS
        30   GET /a -> HIT
        61   GET /a -> UPDATING refresh asks if-none-match "one"
        61   GET /a -> UPDATING (swr-window) "one"
        62   GET /a -> UPDATING (swr-window) "one"
        64   GET /a -> UPDATING (swr-window) age 64 "one"
        64   200 /a [Cache-Control: max-age=60, stale-while-revalidate=300 | ETag: "2"] "two" -> stored "two"
        64   GET /a -> HIT age 0 "two"
        100  GET /a -> HIT age 36 "two"
        "#,
    );
}

/// Seed 001: "0-60 seconds fresh; 60-360 seconds stale, served immediately while a background request fetches; after 360
/// seconds the next request goes to origin."
#[test]
fn explained_by_the_clock() {
    let phases = [
        (1, "HIT"),
        (59, "HIT"),
        (60, "UPDATING refresh"),
        (200, "UPDATING refresh"),
        (359, "UPDATING refresh"),
        (360, "fetch"),
        (4000, "fetch"),
    ];
    for (second, expected) in phases {
        script(&format!(
            r#"
            0        GET /a -> fetch
            0        200 /a [Cache-Control: max-age=60, stale-while-revalidate=300] -> MISS
            {second} GET /a -> {expected}
            "#
        ));
    }
}

/// Seed 003: fresh, "stale but allowed", "too old" with `max-age=60, stale-while-revalidate=30`.
#[test]
fn three_states_of_the_guide() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: public, max-age=60, stale-while-revalidate=30] -> MISS
        45  GET /a -> HIT
        75  GET /a -> UPDATING refresh
        75  drop /a
        90  GET /a -> fetch (stale)
        "#,
    );
}

/// Seed 004: the phase of the request x the state of the origin.
#[test]
fn the_table_of_phases_and_origin_states() {
    const STORED: &str = r#"
        0  GET /a -> fetch
        0  200 /a [Cache-Control: public, max-age=600, stale-while-revalidate=86400, stale-if-error=172800] "one" -> stored MISS
        "#;
    let rows = [
        // Within max-age, origin up: fresh HIT, the origin is not contacted.
        "300 GET /a -> HIT",
        // From max-age to the end of SWR, origin up: stale, the origin is contacted in the background.
        "612 GET /a -> UPDATING age 612 refresh
         613 200 /a [Cache-Control: max-age=600] \"two\" -> stored
         613 GET /a -> HIT age 0 \"two\"",
        // From max-age to the end of SWR, origin down: stale, the failed attempt has no effect.
        "4203 GET /a -> UPDATING age 4203 refresh
         4203 fail error /a -> dropped
         4203 GET /a -> STALE (swr-backoff) \"one\"",
        // Within stale-if-error, origin down: stale, the attempt fails.
        "90000 GET /a -> fetch (sie-window)
         90000 fail timeout /a -> STALE age 90000 \"one\"
         90000 GET /a -> STALE (sie-backoff) \"one\"",
        // After all windows, origin down: an error, for which the request waits.
        "173400 GET /a -> fetch (stale)
         173400 fail error /a -> fails (origin-error)",
        // A 500 from the origin does not replace the stored response.
        "700 GET /a -> UPDATING refresh
         700 500 /a [Cache-Control: max-age=60] -> dropped (origin-status)
         700 GET /a -> STALE \"one\"",
    ];
    for row in rows {
        script(&format!("{STORED}{row}"));
    }
}

/// Seed 001: of 1,000 requests for an expired asset none is blocked, and one refresh is made.
#[test]
fn a_thousand_requests_on_an_expired_asset() {
    let mut lines = String::from(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=60, stale-while-revalidate=300] "one" -> MISS
        61  GET /a -> UPDATING refresh
        "#,
    );
    for n in 1..1000 {
        lines += &format!("61.{n:03} GET /a -> UPDATING (swr-window) \"one\"\n");
    }
    lines += r#"
        63  200 /a [Cache-Control: max-age=60, stale-while-revalidate=300] "two" -> stored
        63  GET /a -> HIT "two"
        "#;
    script(&lines);
}

/// Seed 001, synchronous mode: one request waits for the origin, the other 999 are served stale with UPDATING.
#[test]
fn synchronous_revalidation_is_the_legacy() {
    script_with(
        |policy| policy.background_update = false,
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=60, stale-while-revalidate=300 | ETag: "1"] "one" -> MISS
        61  GET /a -> fetch (synchronous) asks if-none-match
        61  GET /a -> UPDATING (swr-window) "one"
        62  GET /a -> UPDATING (swr-window)
        63  304 /a -> renewed REVALIDATED age 0 "one"
        63  GET /a -> HIT
        130 GET /a -> fetch (synchronous)
        131 200 /a [Cache-Control: max-age=60 | ETag: "2"] "two" -> stored EXPIRED "two"
        "#,
    );
}

/// Two refreshes of an entry never run at the same time; a new one may start once the first has ended.
#[test]
fn one_refresh_at_a_time() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=1, stale-while-revalidate=300] -> MISS
        2   GET /a -> UPDATING refresh
        60  GET /a -> UPDATING (swr-window)
        60  200 /a [Cache-Control: max-age=1, stale-while-revalidate=300] "two" -> stored
        60  GET /a -> HIT "two"
        62  GET /a -> UPDATING refresh
        "#,
    );
}

/// A refresh that the host gives up (no room, shutdown) starts no pause.
#[test]
fn a_refresh_given_up_is_taken_on_by_the_next() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=1, stale-while-revalidate=300] -> MISS
        2   GET /a full -> UPDATING (swr-busy)
        2   GET /a -> UPDATING refresh
        2   drop /a
        2   GET /a -> UPDATING refresh
        2   fail aborted /a -> dropped (aborted)
        2   GET /a -> UPDATING refresh
        "#,
    );
}

/// SWR without a value lasts as long as the freshness lifetime.
#[test]
fn a_window_without_a_value() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=10, stale-while-revalidate] -> MISS
        19  GET /a -> UPDATING refresh
        19  drop /a
        20  GET /a -> fetch
        "#,
    );
}

/// The age of a response when it arrives counts (RFC 9111 §4.2.3).
#[test]
fn age_from_upstream_counts() {
    script(
        r#"
        100  GET /a -> fetch
        100  200 /a [Cache-Control: max-age=60, stale-while-revalidate=30 | Age: 50 | Date: {50}] -> MISS age 50
        105  GET /a -> HIT age 55 ttl 5
        111  GET /a -> UPDATING age 61 refresh
        111  200 /a [Cache-Control: max-age=60 | Date: {111}] "new" -> stored age 0
        "#,
    );
}

/// Only a request causes a refresh; with `refresh_ahead` also one shortly before freshness ends.
#[test]
fn refresh_ahead_keeps_a_hot_entry_fresh() {
    script_with(
        |policy| policy.refresh_ahead = Some(10),
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=60] "one" -> MISS
        53  GET /a -> HIT (fresh)
        55  GET /a -> HIT (refresh-ahead) refresh
        56  GET /a -> HIT (fresh)
        57  fail error /a -> dropped
        57  GET /a -> HIT (fresh)
        59  GET /a -> HIT (refresh-ahead) refresh
        59  200 /a [Cache-Control: max-age=60] "two" -> stored
        70  GET /a -> HIT age 11 "two"
        "#,
    );
}

/// HEAD shares the entries of GET (RFC 9110 §9.3.2).
#[test]
fn head_shares_get() {
    script(
        r#"
        0   HEAD /a -> fetch
        0   200 /a [Cache-Control: max-age=60, stale-while-revalidate=30] "one" -> MISS
        1   GET /a -> HIT "one"
        61  HEAD /a -> UPDATING refresh
        "#,
    );
}

/// The statuses have nginx's names.
#[test]
fn statuses_have_their_words() {
    let words = [
        Status::Hit,
        Status::Miss,
        Status::Bypass,
        Status::Expired,
        Status::Stale,
        Status::Updating,
        Status::Revalidated,
    ];
    let words = words.map(Status::as_str);
    assert_eq!(
        words,
        [
            "HIT",
            "MISS",
            "BYPASS",
            "EXPIRED",
            "STALE",
            "UPDATING",
            "REVALIDATED"
        ]
    );
}

/// Seed 004, steps 3 and 4: windows configured at the edge apply even if the origin sends only `max-age`.
#[test]
fn windows_replicated_at_the_edge() {
    script_with(
        |policy| {
            policy.swr = Window::Force(86_400_000);
            policy.sie = Window::Force(86_400_000);
        },
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=600] "one" -> MISS
        612    GET /a -> UPDATING age 612 refresh
        612    fail error /a -> dropped
        4203   GET /a -> UPDATING age 4203 refresh
        "#,
    );
}

/// The clock is set back by an hour: the age of what was stored before is unknown, so it is stale from now on. Its
/// windows are counted from now, and requests that have to wait for a new response share one fetch.
#[test]
fn the_clock_is_set_back() {
    script(
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=2] "one" -> MISS
        -1     GET /a -> HIT
        -3596  GET /a -> fetch (stale)
        -3596  GET /a -> wait
        -3596  200 /a [Cache-Control: max-age=2] "two" -> EXPIRED "two"
        -3596  woken /a -> HIT "two"
        -3594  GET /a -> fetch (stale)

        0      GET /b -> fetch
        0      200 /b [Cache-Control: max-age=86400, stale-while-revalidate=60, stale-if-error=100 | ETag: "1"] "one" -> MISS
        -3600  GET /b -> UPDATING refresh asks if-none-match "one"
        -3600  fail error /b -> dropped
        -3600  GET /b -> STALE (swr-backoff) "one"
        -3550  GET /b -> UPDATING refresh "one"
        -3550  fail error /b -> dropped
        -3540  GET /b -> fetch (sie-window)
        -3540  fail error /b -> STALE "one"
        -3500  GET /b -> fetch (stale)
        -3500  304 /b [Cache-Control: max-age=86400 | ETag: "1"] -> REVALIDATED "one"
        -3499  GET /b -> HIT age 1 "one"
        "#,
    );
}

/// Everything else that is remembered for a time expires if it would last longer than it ever can.
#[test]
fn what_is_remembered_when_the_clock_is_set_back() {
    script(
        r#"
        # Hit-for-miss.
        0      GET /a -> fetch
        0      200 /a [Cache-Control: no-store] -> relay
        1      GET /a -> pass (hit-for-miss)
        -3600  GET /a -> fetch (absent)
        -3600  200 /a [Cache-Control: no-store] -> relay
        -3599  GET /a -> pass (hit-for-miss)

        # The pause after a failure.
        0      GET /b -> fetch
        0      200 /b [Cache-Control: max-age=10, stale-while-revalidate=60000] "one" -> MISS
        7200   GET /b -> UPDATING refresh
        7200   fail error /b -> dropped
        7200   GET /b -> STALE (swr-backoff)
        3600   GET /b -> UPDATING refresh
        3600   drop /b

        # That a fetch left nothing to those who waited.
        0      GET /c -> fetch
        0      fail error /c -> fails
        -3600  GET /c -> fetch
        -3600  GET /c -> wait
        -3600  GET /c -> wait
        -3600  drop /c
        -3600  woken /c -> fetch
        -3600  woken /c -> wait

        # A soft purge.
        0      GET /d -> fetch
        0      200 /d [Cache-Control: max-age=86400, stale-while-revalidate=60 | Cache-Tag: t] "one" -> MISS
        7200   soft tag t -> purged 1
        7200   GET /d -> UPDATING refresh
        7200   drop /d
        3600   GET /d -> fetch (stale)
        "#,
    );
}

/// The clock is set forward: responses age accordingly.
#[test]
fn the_clock_is_set_forward() {
    script(
        r#"
        0      GET /a -> fetch
        0      200 /a [Cache-Control: max-age=60, stale-while-revalidate=60] "one" -> MISS
        0      GET /b -> fetch
        0      200 /b [Cache-Control: no-store] -> relay
        300    GET /a -> fetch (stale)
        300    GET /b -> fetch (absent)
        "#,
    );
}
