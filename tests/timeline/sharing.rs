//! Which requests share a fetch, and which must not wait for one: collapsing, hit-for-miss, variants, credentials.

use crate::{script, script_with};
use swrcache::engine::{IgnoreFields, MethodSet};

/// Concurrent misses cause one fetch; the waiters read its response as soon as the header has arrived.
#[test]
fn misses_collapse() {
    script(
        r#"
        0    GET /a -> fetch (absent)
        0    GET /a -> wait (collapsed) until 5
        0    GET /a -> wait
        0.1  head 200 /a [Cache-Control: max-age=60] -> streams
        0.1  body /a "on"
        0.1  woken /a -> HIT collapsed "on"
        0.1  GET /a -> HIT "on"
        0.2  body /a "e"
        0.2  end /a -> stored MISS "one"
        0.2  woken /a -> HIT collapsed "one"
        "#,
    );
}

/// After a spurious wake-up, the request waits again.
#[test]
fn a_spurious_ring_does_no_harm() {
    script(
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait until 5
        1    woken /a -> wait
        2    200 /a [Cache-Control: max-age=60] -> stored
        2    woken /a -> HIT collapsed
        "#,
    );
}

/// Waiters of an uncacheable response are all released at once, and the key is remembered: requests are not serialised.
#[test]
fn uncacheable_responses_release_everyone() {
    for fields in [
        "Cache-Control: no-store",
        "Cache-Control: private, max-age=60",
        "Set-Cookie: a=b | Cache-Control: max-age=60",
        "Vary: * | Cache-Control: max-age=60",
        "X-Nothing: said",
    ] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    GET /a -> wait
            0    GET /a -> wait
            0    GET /a -> wait
            0.1  200 /a [{fields}] -> relay
            0.1  woken /a -> pass MISS (hit-for-miss)
            0.1  woken /a -> pass MISS (hit-for-miss)
            0.1  woken /a -> pass MISS (hit-for-miss)
            5    GET /a -> pass (hit-for-miss)
            "#
        ));
    }
}

/// A response that must be validated at each use is stored, but its waiters fetch for themselves, all at once.
#[test]
fn responses_that_cannot_be_shared_release_everyone() {
    for control in ["no-cache", "max-age=0"] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    GET /a -> wait
            0    GET /a -> wait
            0.1  200 /a [Cache-Control: {control} | ETag: "1"] "one" -> stored MISS "one"
            0.1  woken /a -> fetch asks if-none-match
            0.1  woken /a -> fetch asks if-none-match
            0.2  304 /a -> renewed REVALIDATED "one"
            0.2  304 /a -> renewed REVALIDATED "one"
            1    GET /a -> fetch asks if-none-match
            1    GET /a -> fetch asks if-none-match
            "#
        ));
    }
}

/// A failed fetch releases its waiters as well: one slow failure must not cause a queue.
#[test]
fn failures_release_everyone() {
    script(
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait
        0    GET /a -> wait
        1    fail error /a -> fails (origin-error)
        1    woken /a -> fetch (absent)
        1    woken /a -> fetch (absent)
        1    200 /a [Cache-Control: max-age=60] "one" -> stored
        1    200 /a [Cache-Control: max-age=60] "one" -> stored
        2    GET /a -> HIT
        "#,
    );
}

/// If a leader dies without notice, one of the waiters takes its claim.
#[test]
fn a_leader_that_gives_up_is_followed_by_one() {
    script(
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait
        0    GET /a -> wait
        1    drop /a
        1    woken /a -> fetch
        1    woken /a -> wait
        "#,
    );
}

/// Hit-for-miss: after ten seconds one request at a time probes, and the others still pass.
#[test]
fn hit_for_miss_is_probed_and_forgotten() {
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: no-store] -> relay (no-store)
        9     GET /a -> pass (hit-for-miss)
        11    GET /a -> fetch
        11    GET /a -> pass (hit-for-miss)
        12    200 /a [Cache-Control: no-store] -> relay
        21    GET /a -> pass (hit-for-miss)
        23    GET /a -> fetch
        23    200 /a [Cache-Control: max-age=60] -> stored MISS
        24    GET /a -> HIT
        84    GET /a -> fetch (stale)
        84    GET /a -> wait
        "#,
    );
    script(
        r#"
        0     GET /a -> fetch
        0     200 /a [Cache-Control: no-store] -> relay
        121   GET /a -> fetch
        121   GET /a -> wait
        "#,
    );
}

/// A refresh that brings an uncacheable response removes the entry: it is neither served stale indefinitely, nor does
/// every request reach the origin.
#[test]
fn a_refresh_that_turns_uncacheable() {
    for fields in [
        "Cache-Control: no-store",
        "Cache-Control: private",
        "Cache-Control: max-age=60 | Set-Cookie: a=b",
    ] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600] -> MISS
            11   GET /a -> UPDATING refresh
            11   200 /a [{fields}] -> dropped
            11   GET /a -> pass (hit-for-miss)
            "#
        ));
    }
}

/// Lock timeout: the request is passed untouched, as in nginx. For each `lock_age` that passes, one more fetch may
/// begin, and the response of the first is stored nevertheless, so that a response of an origin slower than `lock_age`
/// is cached.
#[test]
fn lock_timeout_and_age() {
    script_with(
        |policy| policy.lock_age = 8_000,
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait until 5
        5    timeout /a -> pass MISS (lock-timeout)
        7    GET /a -> wait
        8.1  GET /a -> fetch
        8.2  GET /a -> wait
        16   GET /a -> fetch
        17   200 /a [Cache-Control: max-age=60, stale-if-error=600] "first" -> stored MISS
        17   GET /a -> HIT "first"
        18   200 /a [Cache-Control: max-age=60, stale-if-error=600] "second" -> stored MISS
        18   GET /a -> HIT "second"
        18   drop /a
        100  GET /a -> fetch (sie-window)
        107  GET /a -> wait
        108  GET /a -> fetch (sie-window)
        108  GET /a -> wait
        109  200 /a [Cache-Control: max-age=60] "third" -> stored EXPIRED
        109  503 /a -> STALE
        109  GET /a -> HIT "third"
        "#,
    );
}

/// Without the lock every miss fetches; refreshes are collapsed nevertheless.
#[test]
fn without_the_lock() {
    script_with(
        |policy| policy.lock = false,
        r#"
        0    GET /a -> fetch
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60] -> stored
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60] -> stored
        11   GET /a -> UPDATING refresh
        11   GET /a -> UPDATING (swr-window)
        80   GET /a -> fetch
        80   GET /a -> fetch
        "#,
    );
}

/// Variants: a request selects the stored response whose nominated fields match (RFC 9111 §4.1).
#[test]
fn variants_are_selected_by_vary() {
    script(
        r#"
        0    GET /a [Accept-Language: de] -> fetch (absent)
        0    200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "deutsch" -> MISS
        1    GET /a [accept-language: de] -> HIT "deutsch"
        1    GET /a [Accept-Language: en] -> fetch (vary-miss)
        1    GET /a [Accept-Language: en] -> wait
        1    GET /a [Accept-Language: fr] -> fetch (vary-miss)
        1    GET /a -> fetch (vary-miss)
        2    200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "english" -> stored MISS
        2    woken /a -> HIT "english"
        2    200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "francais" -> stored
        2    200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "none" -> stored
        3    GET /a -> HIT "none"
        3    GET /a [Accept-Language: de] -> HIT "deutsch"
        3    GET /a [Accept-Language: en] -> HIT "english"
        "#,
    );
}

/// `Accept-Encoding` is reduced to what can affect the response, and a refresh sends what the stored request sent.
#[test]
fn accept_encoding_is_normalised() {
    script(
        r#"
        0    GET /a [Accept-Encoding: gzip, deflate, br] -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=60 | Vary: Accept-Encoding] "zipped" -> MISS
        1    GET /a [Accept-Encoding: br;q=1.0,  gzip , deflate] -> HIT "zipped"
        1    GET /a -> fetch (vary-miss)
        70   GET /a [Accept-Encoding: br, deflate, gzip] -> UPDATING refresh sends accept-encoding: "gzip, deflate, br"
        "#,
    );
}

/// The number of variants is limited; the oldest is removed.
#[test]
fn variants_are_bounded() {
    script_with(
        |policy| policy.max_variants = 2,
        r#"
        0    GET /a [X: 1] -> fetch
        0    200 /a [Cache-Control: max-age=60 | Vary: X] "1" -> MISS
        1    GET /a [X: 2] -> fetch
        1    200 /a [Cache-Control: max-age=60 | Vary: X] "2" -> MISS
        2    GET /a [X: 3] -> fetch
        2    200 /a [Cache-Control: max-age=60 | Vary: X] "3" -> MISS
        3    GET /a [X: 1] -> fetch (vary-miss)
        3    GET /a [X: 2] -> HIT "2"
        3    GET /a [X: 3] -> HIT "3"
        "#,
    );
}

/// `Authorization`: shared only with `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5), and never a reason to
/// remember the key.
#[test]
fn authorization_is_not_shared() {
    script(
        r#"
        0    GET /a [Authorization: x] -> fetch
        0    GET /a [Authorization: y] -> fetch
        0    200 /a [Cache-Control: max-age=60] "x's" -> relay (authorization)
        0    200 /a [Cache-Control: max-age=60] "y's" -> relay (authorization)
        1    GET /a -> fetch (absent)
        1    200 /a [Cache-Control: max-age=60] "ours" -> stored
        2    GET /a [Authorization: x] -> fetch (authorization)
        2    200 /a [Cache-Control: private] "x's" -> relay
        3    GET /a -> HIT "ours"
        "#,
    );
    script(
        r#"
        0    GET /a [Authorization: x] -> fetch
        0    200 /a [Cache-Control: public, max-age=60, stale-while-revalidate=60] "shared" -> stored
        1    GET /a [Authorization: y] -> HIT "shared"
        1    GET /a -> HIT "shared"
        "#,
    );
}

/// An entry that answered a request with credentials is not refreshed without them: an authorised request fetches,
/// others get the stale response.
#[test]
fn what_credentials_brought_is_renewed_with_credentials() {
    script(
        r#"
        0    GET /a [Authorization: x] -> fetch
        0    200 /a [Cache-Control: public, max-age=60, stale-while-revalidate=60] "shared" -> stored
        61   GET /a -> UPDATING (swr-busy) "shared"
        61   GET /a [Authorization: x] -> fetch (synchronous)
        61   GET /a [Authorization: y] -> UPDATING (swr-window)
        62   200 /a [Cache-Control: public, max-age=60] "more" -> stored EXPIRED "more"
        200  GET /a -> fetch (stale)
        200  401 /a -> relay
        200  GET /a [Authorization: x] -> fetch (stale) asks if-modified-since
        "#,
    );
}

/// `swr_cache_min_uses`.
#[test]
fn stored_after_enough_uses() {
    script_with(
        |policy| policy.min_uses = 3,
        r#"
        0    GET /a -> pass MISS (min-uses)
        1    GET /a -> pass MISS (min-uses)
        2    GET /a -> fetch (absent)
        "#,
    );
}

/// Methods that are not cached are written through (RFC 9111 §4); POST is cached only where configured.
#[test]
fn methods() {
    script(
        r#"
        0    PUT /a -> pass - (method)
        0    POST /a -> pass - (method)
        "#,
    );
    script_with(
        |policy| policy.methods = MethodSet::GET.with(MethodSet::POST),
        r#"
        0    HEAD /a -> pass - (method)
        0    POST /a -> fetch
        0    200 /a [Cache-Control: max-age=60] -> stored MISS
        1    POST /a -> HIT
        "#,
    );
}

/// A response whose `Set-Cookie` is ignored is stored without that field.
#[test]
fn an_ignored_cookie_is_never_replayed() {
    script_with(
        |policy| policy.ignore = IgnoreFields::SET_COOKIE,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | Set-Cookie: a=b | X-Kept: yes] -> stored MISS
        1    GET /a -> HIT hides set-cookie shows x-kept
        "#,
    );
}

/// A purge wins over a fill or refresh that began before it.
#[test]
fn a_purge_wins() {
    script(
        r#"
        0    GET /a -> fetch
        0    head 200 /a [Cache-Control: max-age=60] -> streams
        0    body /a "old"
        1    purge /a
        2    end /a -> superseded MISS "old"
        2    GET /a -> fetch (absent)
        2    200 /a [Cache-Control: max-age=1, stale-while-revalidate=60 | ETag: "1"] "new" -> stored
        5    GET /a -> UPDATING refresh
        6    purge /a
        7    304 /a -> dropped (superseded)
        7    GET /a -> fetch (absent)
        "#,
    );
}

/// The response to a POST is stored with explicit freshness only (RFC 9110 §9.3.3), and never validated: the origin
/// would answer 412 (§13.2.2).
#[test]
fn answers_to_post() {
    script_with(
        |policy| policy.methods = MethodSet::GET.with(MethodSet::POST),
        r#"
        0    POST /a -> fetch
        0    200 /a [Last-Modified: {-100000}] -> relay (no-freshness)
        0    POST /b -> fetch
        0    200 /b [Last-Modified: {-100000} | Cache-Control: public] -> relay (no-freshness)
        0    GET /c -> fetch
        0    200 /c [Last-Modified: {-100000}] -> stored
        0    POST /d -> fetch
        0    200 /d [Cache-Control: max-age=10, stale-while-revalidate=60 | ETag: "1"] "one" -> stored
        5    POST /d [If-None-Match: "1"] -> HIT full
        20   POST /d -> UPDATING refresh unconditional
        20   200 /d [Cache-Control: max-age=10 | ETag: "1"] "two" -> stored
        90   POST /d -> fetch (stale) unconditional
        "#,
    );
}

/// Of several stored responses that match, the most recent by `Date` is used (RFC 9111 §4): an origin whose clock is
/// behind, or another cache before this one, may have sent an older one later.
#[test]
fn the_most_recent_by_date_is_used() {
    script(
        r#"
        100  GET /a [X: 1] -> fetch
        100  200 /a [Cache-Control: max-age=600 | Vary: X | Date: {100}] "new" -> MISS
        110  GET /a [X: 2] -> fetch
        110  200 /a [Cache-Control: max-age=600 | Date: {50}] "old" -> MISS
        111  GET /a [X: 1] -> HIT "new"
        111  GET /a [X: 2] -> HIT "old"
        120  GET /a [X: 3] bypass -> fetch
        120  200 /a [Cache-Control: max-age=600 | Date: {120}] "newest" -> BYPASS
        121  GET /a [X: 1] -> HIT "newest"
        121  GET /a [X: 2] -> HIT "newest"
        "#,
    );
}
