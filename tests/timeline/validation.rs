//! Validation: towards the origin (304, 200), towards clients (preconditions, ranges), and Smart Edge Revalidation.

use swrcache::engine::MethodSet;

use crate::{script, script_with};

/// A 304 freshens the entry: the same body, a new lifetime and new fields (RFC 9111 §4.3.4, §3.2).
#[test]
fn not_modified_renews() {
    script(
        r#"
        0    GET /a -> fetch unconditional
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=300 | ETag: "v1" | Last-Modified: {-1000} | X-Kept: old | X-New: old | Content-Type: text/plain] "one" -> MISS
        61   GET /a -> UPDATING refresh asks if-none-match asks if-modified-since
        62   304 /a [Cache-Control: max-age=30, stale-while-revalidate=300 | ETag: "v1" | X-New: new | Content-Type: text/html] -> renewed "one"
        62   GET /a -> HIT age 0 ttl 30 "one" shows x-new: new shows x-kept: old shows content-type: text/html lm -1000
        93   GET /a -> UPDATING refresh
        93   304 /a -> renewed
        100  GET /a -> HIT age 7 ttl 23
        "#,
    );
}

/// A client that waits for the validation gets REVALIDATED or EXPIRED.
#[test]
fn who_waits_is_told_how() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10 | ETag: "v1"] "one" -> MISS
        20   GET /a -> fetch (stale) asks if-none-match
        20   GET /a -> wait
        20   304 /a -> renewed REVALIDATED age 0 "one"
        20   woken /a -> HIT collapsed "one"
        40   GET /a -> fetch
        40   200 /a [Cache-Control: max-age=10 | ETag: "v2"] "two" -> stored EXPIRED age 0 "two"
        "#,
    );
}

/// A 304 with the tag of another response must not freshen (RFC 9111 §4.3.4): the stored response is kept, and the same
/// fetch asks again unconditionally, once. No other request has to wait for that.
#[test]
fn a_foreign_304_does_not_update() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | ETag: "v1"] "one" -> MISS
        20   GET /a -> UPDATING refresh
        20   304 /a [ETag: "other"] -> again refresh unconditional
        20   GET /a -> UPDATING (swr-window) "one"
        21   200 /a [Cache-Control: max-age=10 | ETag: "other"] "two" -> stored
        21   GET /a -> HIT "two"
        50   GET /a -> fetch (stale) asks if-none-match
        50   GET /a -> wait
        50   304 /a [ETag: "v3" | Cache-Control: max-age=99] -> again unconditional
        50   GET /a -> wait
        51   200 /a [Cache-Control: max-age=10 | ETag: "v3"] "three" -> stored EXPIRED "three"
        51   woken /a -> HIT "three"
        "#,
    );
}

/// A 304 to an unconditional request is invalid and counts as a failure, after which the stored response is served
/// within its windows.
#[test]
fn a_304_that_nobody_asked_for() {
    script_with(
        |policy| policy.revalidate = false,
        r#"
        0    GET /a -> fetch
        0    304 /a -> again unconditional
        0    304 /a -> relay (foreign-validator)
        1    GET /a -> fetch (absent)
        1    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60, stale-if-error=600] "one" -> MISS
        20   GET /a -> UPDATING refresh unconditional
        20   304 /a -> again refresh
        20   304 /a -> dropped (foreign-validator)
        20   GET /a -> STALE (swr-backoff) "one"
        100  GET /a -> fetch (sie-window) unconditional
        100  304 /a [Cache-Control: max-age=60] -> again
        100  304 /a [Cache-Control: max-age=60] -> STALE (sie-fallback) "one"
        100  GET /a -> STALE (sie-backoff) "one"
        200  GET /a -> fetch
        200  304 /a -> again
        201  503 /a -> STALE "one"
        300  GET /a -> fetch
        300  304 /a -> again
        301  fail timeout /a -> STALE "one"
        400  GET /a -> fetch
        400  304 /a -> again
        401  404 /a -> relay
        "#,
    );
    script_with(
        |policy| policy.methods = MethodSet::GET.with(MethodSet::POST),
        r#"
        0    POST /a -> fetch
        0    304 /a -> relay (foreign-validator)
        "#,
    );
}

/// An origin that compresses weakens the tag of its 200, but sends the strong one with its 304 (nginx with `gzip_vary
/// on`): each variant is freshened by its own 304 and no other, at every expiry (RFC 9110 §13.1.2).
#[test]
fn variants_in_two_codings_stay_refreshable() {
    let zip = r#"Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: Accept-Encoding | Content-Encoding: gzip | ETag: W/"x""#;
    let plain = r#"Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: Accept-Encoding | ETag: "x""#;
    let mut lines = format!(
        r#"
        0    GET /a [Accept-Encoding: gzip] -> fetch
        0    200 /a [{zip}] "zip" -> MISS
        0    GET /a -> fetch
        0    200 /a [{plain}] "plain" -> MISS
        "#
    );
    for at in [20, 40, 60, 80] {
        // Its 304 lacks Content-Encoding, and sometimes a tag.
        let tag = if at == 60 {
            "X-No: tag"
        } else {
            r#"ETag: "x""#
        };
        lines += &format!(
            r#"
            {at}  GET /a [Accept-Encoding: gzip] -> UPDATING refresh names x tags 1 "zip"
            {at}  304 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: Accept-Encoding | {tag}] -> renewed "zip"
            {at}  GET /a [Accept-Encoding: gzip] -> HIT age 0 "zip" shows content-encoding: gzip
            {at}  GET /a -> UPDATING refresh names x tags 1 "plain"
            {at}  304 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: Accept-Encoding | {tag}] -> renewed "plain"
            {at}  GET /a -> HIT age 0 "plain" hides content-encoding
            "#
        );
    }
    script(&lines);
}

/// Of two variants whose tags differ only in weakness, a 304 means the one whose tag is equal byte by byte.
#[test]
fn a_304_names_its_variant_exactly() {
    for (own, other, named, body) in [
        (r#"W/"x""#, r#""x""#, r#""x""#, "other"),
        (r#"W/"x""#, r#""x""#, r#"W/"x""#, "own"),
        (r#""x""#, r#"W/"x""#, r#"W/"x""#, "other"),
        (r#""x""#, r#"W/"x""#, r#""x""#, "own"),
        (r#""y""#, r#"W/"x""#, r#""x""#, "other"),
        (r#""y""#, r#"W/"x""#, r#"W/"y""#, "own"),
    ] {
        script(&format!(
            r#"
            0    GET /a [X: 1] -> fetch
            0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: X | ETag: {own}] "own" -> MISS
            0    GET /a [X: 2] -> fetch
            0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: X | ETag: {other}] "other" -> MISS
            20   GET /a [X: 1] -> UPDATING refresh tags 2 "own"
            20   304 /a [ETag: {named} | Cache-Control: max-age=10] -> renewed "{body}"
            "#
        ));
    }
}

/// Only a stored 200 is validated: a 304 can't stand for another status (RFC 9110 §15.4.5), and would freshen a 404
/// when the page exists again.
#[test]
fn only_a_200_is_validated() {
    for status in [203, 204, 300, 301, 302, 308, 404, 405, 410, 414, 501] {
        script(&format!(
            r#"
            0    GET /a -> fetch
            0    {status} /a [Cache-Control: max-age=10, stale-while-revalidate=60 | ETag: "v1" | Last-Modified: {{-100}}] "none" -> MISS status {status}
            20   GET /a -> UPDATING refresh unconditional
            21   200 /a [Cache-Control: max-age=10 | Last-Modified: {{-9999}}] "page" -> stored
            22   GET /a -> HIT status 200 "page"
            0    GET /b -> fetch
            0    {status} /b [Cache-Control: max-age=10] "none" -> MISS
            20   GET /b -> fetch (stale) unconditional
            "#
        ));
    }
}

/// A validation names the other variants too (RFC 9111 §4.3.1). A 304 that selects one of them makes it the response
/// for this request from now on (§4.3.3); for its own requests, that variant stays as it was (§4.3.4).
#[test]
fn a_304_that_names_another_variant() {
    let variants = r#"
        0    GET /a [X: 1] -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600 | Vary: X | ETag: "v1" | Last-Modified: {-100} | X-Own: 1] "one" -> MISS
        1    GET /a [X: 2] -> fetch
        1    200 /a [Cache-Control: max-age=60, stale-while-revalidate=600 | Vary: X | ETag: "v2" | X-Own: 2] "two" -> MISS
        2    GET /a [X: 3] -> fetch
        2    200 /a [Cache-Control: max-age=60, stale-while-revalidate=600 | Vary: X] "three" -> MISS
        20   GET /a [X: 1] -> UPDATING refresh "one" sends x: 1 tags 2 names v1 names v2
    "#;
    for (tag, body, own) in [
        ("\"v1\"", "one", "1"),
        ("\"v2\"", "two", "2"),
        ("W/\"v2\"", "two", "2"),
    ] {
        script(&format!(
            r#"
            {variants}
            20   304 /a [Cache-Control: max-age=60 | ETag: {tag} | X-New: yes] -> renewed "{body}"
            21   GET /a [X: 1] -> HIT age 1 ttl 59 "{body}" shows x-own: {own} shows x-new: yes
            21   GET /a [X: 2] -> HIT age 20 "two" shows x-own: 2 hides x-new
            21   GET /a [X: 3] -> HIT age 19 "three"
            90   GET /a [X: 1] -> fetch names v2
            "#
        ));
    }
    // A tag that was not named, or none: nothing is freshened, and the origin is asked again unconditionally.
    for fields in ["ETag: \"v3\"", "X-New: yes"] {
        script(&format!(
            r#"
            {variants}
            20   304 /a [Cache-Control: max-age=60 | {fields}] -> again refresh unconditional
            21   GET /a [X: 1] -> UPDATING (swr-window) "one"
            21   200 /a [Cache-Control: max-age=60 | Vary: X] "new" -> stored
            21   GET /a [X: 1] -> HIT age 0 "new"
            21   GET /a [X: 2] -> HIT age 20 "two"
            "#
        ));
    }
}

/// A client that waits for the validation gets the variant that the 304 selects; if that may not be stored any longer,
/// it is used for the last time.
#[test]
fn who_waits_gets_the_variant_that_is_named() {
    script(
        r#"
        0    GET /a [X: 1] -> fetch
        0    200 /a [Cache-Control: max-age=10 | Vary: X | ETag: "v1"] "one" -> MISS
        1    GET /a [X: 2] -> fetch
        1    200 /a [Cache-Control: max-age=60 | Vary: X | ETag: "v2"] "two" -> MISS
        20   GET /a [X: 1] -> fetch tags 2
        20   304 /a [Cache-Control: max-age=60 | Vary: X | ETag: "v2"] -> renewed REVALIDATED age 0 "two"
        20   GET /a [X: 1] -> HIT "two"
        90   GET /a [X: 2] -> fetch tags 1
        90   304 /a [Cache-Control: no-store | ETag: "v2"] -> renewed REVALIDATED "two"
        "#,
    );
}

/// Only usable variants are named: with the same coding, with a tag of the origin, limited in number; and none for
/// credentials.
#[test]
fn variants_that_are_not_named() {
    let zipped = r#"
        0    GET /a [X: z] -> fetch
        0    200 /a [Cache-Control: max-age=10 | Vary: X | ETag: "z" | Content-Encoding: gzip] "zip" -> MISS
        0    GET /a [X: m] -> fetch
        0    200 /a [Cache-Control: max-age=10 | Vary: X | ETag: malformed] "mal" -> MISS
        0    GET /a [X: 0] -> fetch
        0    200 /a [Cache-Control: max-age=10, public | Vary: X | ETag: "v0"] "zero" -> MISS
    "#;
    let many: String = (1..=20)
        .map(|n| {
            format!(
                "0 GET /a [X: {n}] -> fetch\n0 200 /a [Cache-Control: max-age=10 | Vary: X | ETag: \"v{n}\"] -> MISS\n"
            )
        })
        .collect();
    script(&format!(
        "{zipped}
         20 GET /a [X: 0] -> fetch tags 1 names v0
         20 drop /a
         20 GET /a [X: m] -> fetch asks if-none-match: malformed
         20 drop /a
         {many}
         20 GET /a [X: 0 | Authorization: me] -> fetch tags 1 names v0
         20 drop /a
         20 GET /a [X: 0] -> fetch tags 17 names v0 names v20 names v5"
    ));
}

/// A 304 that forbids storing answers its client, and removes the entry.
#[test]
fn a_304_that_forbids_storing() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10 | ETag: "v1"] "one" -> MISS
        20   GET /a -> fetch
        20   304 /a [Cache-Control: no-store | ETag: "v1"] -> renewed REVALIDATED "one"
        20   GET /a -> pass (hit-for-miss)
        "#,
    );
}

/// `swr_cache_revalidate off`: no conditional requests.
#[test]
fn revalidation_off() {
    script_with(
        |policy| policy.revalidate = false,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | ETag: "v1"] "one" -> MISS
        20   GET /a -> UPDATING refresh unconditional
        "#,
    );
}

/// Clients' preconditions are evaluated on stored responses (RFC 9111 §4.3.2), including stale ones.
#[test]
fn client_conditionals() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=60 | ETag: "v1" | Last-Modified: {-1000}] "one" -> MISS
        1    GET /a [If-None-Match: "v1"] -> HIT 304
        1    GET /a [If-None-Match: W/"v1"] -> HIT 304
        1    GET /a [If-None-Match: "v0", "v1"] -> HIT 304
        1    GET /a [If-None-Match: "v0"] -> HIT full
        1    GET /a [If-None-Match: "v0" | If-Modified-Since: {0}] -> HIT full
        1    GET /a [If-Modified-Since: {-1000}] -> HIT 304
        1    GET /a [If-Modified-Since: {-1001}] -> HIT full
        1    GET /a [If-Modified-Since: yesterday] -> HIT full
        61   GET /a [If-None-Match: "v1"] -> UPDATING 304 refresh
        "#,
    );
}

/// The preconditions of a client that led a fetch are evaluated too.
#[test]
fn conditionals_of_a_leader() {
    script(
        r#"
        0    GET /a [If-None-Match: "v1"] -> fetch unconditional
        0    200 /a [Cache-Control: max-age=60 | ETag: "v1"] "one" -> stored MISS 304
        "#,
    );
}

/// Ranges (RFC 9110 §14), and `If-Range` with strong validators only (§13.1.5).
#[test]
fn ranges() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | ETag: "v1"] "0123456789" -> MISS
        1    GET /a [Range: bytes=0-3] -> HIT 206 0-3
        1    GET /a [Range: bytes=-2] -> HIT 206 8-9
        1    GET /a [Range: bytes=0-1,8-] -> HIT 206 0-1,8-9
        1    GET /a [Range: bytes=10-] -> HIT 416
        1    GET /a [Range: lines=1-2] -> HIT full
        1    HEAD /a [Range: bytes=0-3] -> HIT full
        1    GET /a [Range: bytes=0-3 | If-Range: "v1"] -> HIT 206 0-3
        1    GET /a [Range: bytes=0-3 | If-Range: "v0"] -> HIT full
        1    GET /a [Range: bytes=0-3 | If-None-Match: "v1"] -> HIT 304
        "#,
    );
}

/// A growing body of unknown length is never sent in part.
#[test]
fn ranges_of_a_growing_body() {
    script(
        r#"
        0    GET /a [Range: bytes=0-3] -> fetch
        0    head 200 /a [Cache-Control: max-age=60] -> streams
        0    body /a "01234"
        0    GET /a [Range: bytes=0-3] -> HIT full
        0    end /a -> stored 206 0-3
        "#,
    );
}

/// Smart Edge Revalidation (seed 000): without validators from the origin, `Last-Modified` is the `Date` of the copy,
/// so that no browser derives a heuristic lifetime from the two, and `If-Modified-Since` is compared with the time at
/// which the response was cached.
#[test]
fn edge_revalidation() {
    script(
        r#"
        5.7  GET /a -> fetch
        5.7  200 /a [Cache-Control: max-age=60 | Date: {6}] "one" -> MISS lm 6 weak
        9    GET /a -> HIT lm 6 weak
        9    GET /a [If-Modified-Since: {6}] -> HIT 304 lm 6
        9    GET /a [If-Modified-Since: {5}] -> HIT 304
        9    GET /a [If-Modified-Since: {4}] -> HIT full
        9    GET /a [Range: bytes=0-1 | If-Range: {5}] -> HIT full
        "#,
    );
}

/// It is never later than the response's `Date`.
#[test]
fn synthesised_never_later_than_date() {
    script(
        r#"
        100  GET /a -> fetch
        100  200 /a [Cache-Control: max-age=600 | Date: {50}] "one" -> MISS lm 50
        101  GET /a [If-Modified-Since: {50}] -> HIT 304
        101  GET /a [If-Modified-Since: {49}] -> HIT full
        "#,
    );
}

/// A browser gets the `Date` of each copy as its `Last-Modified`, and a 304 with any of these as long as the bytes are
/// the same; with none of them once they have changed, even in the same second, or from an origin whose clock is
/// behind.
#[test]
fn every_date_of_the_same_bytes_gets_a_304() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600 | Date: {0}] "one" -> MISS lm 0
        20   GET /a -> UPDATING refresh lm 0
        20   200 /a [Cache-Control: max-age=10, stale-while-revalidate=600 | Date: {20}] "one" -> same
        21   GET /a -> HIT lm 20
        40   GET /a -> UPDATING refresh lm 20
        40   304 /a [Cache-Control: max-age=10, stale-while-revalidate=600 | Date: {40}] -> renewed
        41   GET /a [If-Modified-Since: {0}] -> HIT 304 lm 40
        41   GET /a [If-Modified-Since: {20}] -> HIT 304
        41   GET /a [If-Modified-Since: {40}] -> HIT 304
        41   GET /a [If-Modified-Since: {-1}] -> HIT full
        60   GET /a -> UPDATING refresh
        60   200 /a [Cache-Control: max-age=10, stale-while-revalidate=600 | Date: {30}] "two" -> stored
        61   GET /a [If-Modified-Since: {0}] -> UPDATING refresh full lm 30
        61   GET /a [If-Modified-Since: {40}] -> UPDATING full
        61   200 /a [Cache-Control: max-age=10 | Date: {61}] "two" -> same
        62   GET /a [If-Modified-Since: {40}] -> HIT full lm 61
        62   GET /a [If-Modified-Since: {61}] -> HIT 304

        0.2  GET /b -> fetch
        0.2  200 /b [Cache-Control: max-age=60 | Date: {0}] "one" -> MISS lm 0
        0.8  GET /b bypass -> fetch
        0.8  200 /b [Cache-Control: max-age=60 | Date: {0}] "two" -> BYPASS
        1    GET /b [If-Modified-Since: {0}] -> HIT full "two"
        "#,
    );
}

/// If the origin sends one validator, none is synthesised; nor if the feature is off.
#[test]
fn no_synthesis_beside_the_origins_own() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | Last-Modified: {-9}] "one" -> MISS lm -9
        1    GET /a [If-Modified-Since: {-9}] -> HIT 304
        "#,
    );
    script_with(
        |policy| policy.edge_revalidation = false,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=60] "one" -> MISS
        61   GET /a -> UPDATING refresh unconditional
        61   200 /a [Cache-Control: max-age=60] "one" -> stored
        "#,
    );
}

/// A refresh that brings the same bytes keeps the synthesised validators; other bytes change them.
#[test]
fn the_same_bytes_keep_their_validators() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] "one" -> MISS lm 0
        61   GET /a -> UPDATING refresh asks if-modified-since
        62   200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] "one" -> same
        63   GET /a [If-Modified-Since: {0}] -> HIT age 1 304 lm 62 "one"
        123  GET /a -> UPDATING refresh
        124  200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] "two" -> stored
        125  GET /a [If-Modified-Since: {0}] -> HIT full lm 124 "two"
        185  GET /a -> UPDATING refresh
        185  200 /a [Cache-Control: max-age=60] "tw" -> stored
        186  GET /a -> HIT lm 185 "tw"
        "#,
    );
}

/// The same holds if the entry was too old to be kept beside the new object, so that readers follow the new body while
/// it grows.
#[test]
fn the_same_bytes_after_all_windows() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60] "one" -> MISS lm 0
        100  GET /a -> fetch (stale) asks if-modified-since
        100  200 /a [Cache-Control: max-age=60] "one" -> stored EXPIRED lm 100
        101  GET /a [If-Modified-Since: {0}] -> HIT 304 lm 100
        200  GET /a -> fetch (stale)
        200  200 /a [Cache-Control: max-age=60] "two" -> stored EXPIRED lm 200
        "#,
    );
}

/// The bytes may arrive in different pieces, or differ only in the last one.
#[test]
fn the_same_bytes_in_other_pieces() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] "abcdef" -> MISS
        61   GET /a -> UPDATING refresh
        62   head 200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] -> beside
        62   body /a "ab"
        62   body /a "cdef"
        62   end /a -> same
        123  GET /a -> UPDATING refresh
        124  head 200 /a [Cache-Control: max-age=60] -> beside
        124  body /a "abcde"
        124  body /a "F"
        124  end /a -> stored
        125  GET /a -> HIT "abcdeF" lm 124
        "#,
    );
}

/// A 304 without validators is accepted if a single response is stored (RFC 9111 §4.3.4).
#[test]
fn a_304_without_validators() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=600] "one" -> MISS lm 0
        61   GET /a -> UPDATING refresh asks if-modified-since
        61   304 /a -> renewed
        62   GET /a [If-Modified-Since: {0}] -> HIT age 1 304 lm 61 weak "one"
        "#,
    );
}

/// A HEAD that passes to the origin freshens the stored response or makes it stale (RFC 9111 §4.3.5).
#[test]
fn a_head_that_passes() {
    let stored = r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | ETag: "v1" | X-Kept: 1 | X-New: old] "12345" -> MISS
        0    GET /lm -> fetch
        0    200 /lm [Cache-Control: max-age=60 | Last-Modified: {-100} | X-New: old] "12345" -> MISS
        0    GET /bare -> fetch
        0    200 /bare [Cache-Control: max-age=60 | X-New: old] "12345" -> MISS
        70   HEAD /a [If-Match: "v1"] -> pass (precondition)
        70   HEAD /lm [If-Match: "v1"] -> pass
        70   HEAD /bare [If-Match: "v1"] -> pass
    "#;
    script(&format!(
        r#"
        {stored}
        70   passed 200 /a [Cache-Control: max-age=100 | ETag: "v1" | Content-Length: 5 | X-New: new]
        71   GET /a -> HIT age 1 ttl 99 "12345" shows x-new: new shows x-kept: 1
        70   passed 200 /lm [Cache-Control: max-age=100 | Last-Modified: {{-100}} | X-New: new]
        71   GET /lm -> HIT ttl 99 shows x-new: new
        70   passed 200 /bare [Cache-Control: max-age=100 | Content-Length: 5 | X-New: new]
        71   GET /bare -> HIT ttl 99 shows x-new: new
        "#
    ));
    let fresh = stored.replace("70  ", "30  ");
    for (path, fields) in [
        ("/a", "ETag: \"v2\""),
        ("/a", "ETag: W/\"v1\""),
        ("/a", "ETag: \"v1\" | Content-Length: 6"),
        ("/lm", "Last-Modified: {-99}"),
        ("/lm", "ETag: \"new\""),
        ("/bare", "Content-Length: 4"),
        ("/bare", "Content-Length: none"),
        ("/a", "ETag: \"v1\" | Set-Cookie: id=1"),
        ("/a", "ETag: \"v1\" | Cache-Control: private"),
    ] {
        script(&format!(
            "{fresh}
             30 passed 200 {path} [Cache-Control: max-age=100 | {fields}]
             30 GET {path} -> fetch (stale)"
        ));
    }
    // No field to compare; another status; a condition of the location or credentials that make the response one
    // client's.
    script(&format!(
        r#"
        {fresh}
        30   passed 200 /bare [Cache-Control: max-age=100 | X-New: new]
        30   passed 404 /a [ETag: "v2"]
        30   GET /bare -> HIT age 30 shows x-new: old
        30   GET /a -> HIT age 30
        30   HEAD /a bypass no-cache -> pass
        30   passed 200 /a [ETag: "v2"]
        30   HEAD /a [Authorization: me | If-Match: "v1"] -> pass
        30   passed 200 /a [ETag: "v2"]
        30   GET /a -> HIT age 30
        "#
    ));
}

/// A response that a HEAD made stale is served by the usual rules: the HEAD makes no other client wait.
#[test]
fn a_head_makes_nobody_wait() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60, stale-while-revalidate=60 | ETag: "v1"] "one" -> MISS
        30   HEAD /a [If-Match: "v1"] -> pass
        30   passed 200 /a [ETag: "v2"]
        31   GET /a -> UPDATING refresh asks if-none-match "one"
        31   304 /a [Cache-Control: max-age=60] -> renewed
        32   GET /a -> HIT ttl 59
        "#,
    );
}

/// While a refresh is in progress, the refresh decides.
#[test]
fn a_head_beside_a_refresh() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | ETag: "v1"] "one" -> MISS
        20   GET /a -> UPDATING refresh
        20   HEAD /a [If-Match: "v1"] -> pass
        20   passed 200 /a [Cache-Control: max-age=100 | ETag: "v1"]
        21   GET /a -> UPDATING
        21   304 /a [Cache-Control: max-age=20] -> renewed
        22   GET /a -> HIT ttl 19
        "#,
    );
}

/// If the location ignores dates, clients' `If-Modified-Since` is ignored.
#[test]
fn dates_of_clients_can_be_left_out() {
    script_with(
        |p| p.if_modified_since = false,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | ETag: "v1" | Last-Modified: {-1000}] "one" -> MISS
        1    GET /a [If-Modified-Since: {-1000}] -> HIT full
        1    GET /a [If-Modified-Since: {-1000} | If-None-Match: "v2"] -> HIT full
        1    GET /a [If-Modified-Since: {0} | If-None-Match: "v1"] -> HIT 304
        99   GET /a -> fetch asks if-modified-since
        "#,
    );
}

/// A tag without quotes is compared as it is, by clients and towards the origin.
#[test]
fn unquoted_tags_are_validators_all_the_same() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | ETag: v1] "one" -> MISS
        1    GET /a [If-None-Match: v1] -> HIT 304
        1    GET /a [If-None-Match: "x", W/v1] -> HIT 304
        1    GET /a [If-None-Match: "v1"] -> HIT full
        1    GET /a [If-None-Match: v2] -> HIT full
        61   GET /a [If-None-Match: v1] -> fetch asks if-none-match: v1
        61   304 /a [ETag: v1] -> renewed REVALIDATED 304
        "#,
    );
}

/// RFC 9111 §4.2: a wrong day of the week is ignored.
#[test]
fn a_wrong_weekday_is_ignored() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Expires: Thu Aug  8 02:01:18 2050] "one" -> MISS
        9999 GET /a [If-Modified-Since: Mon, 06 Nov 1994 08:49:37 GMT] -> HIT full
        "#,
    );
}

/// Without conversion, a HEAD is fetched as a HEAD and its response stored separately; a purge of the key removes it
/// too.
#[test]
fn a_head_that_stays_one_answers_no_get() {
    script_with(
        |p| p.convert_head = false,
        r#"
        0    HEAD /a -> fetch (absent) as-head
        0    GET /a -> fetch (absent) as-get
        0    head 200 /a [Cache-Control: max-age=60 | content-length: 999] -> streams
        0    end /a -> stored MISS length 999 ""
        1    HEAD /a -> HIT length 999 hides content-length
        1    GET /a -> wait
        2    200 /a [Cache-Control: max-age=60] "body" -> stored
        3    GET /a -> HIT "body" length 4
        3    HEAD /a -> HIT length 999 "" hides etag
        4    HEAD /b -> fetch as-head
        4    head 200 /b [Cache-Control: max-age=60] -> streams
        4    end /b -> MISS
        5    HEAD /b -> HIT ""
        6    hard key /a -> purged 2
        7    HEAD /a -> fetch (absent) as-head
        "#,
    );
    script("0 HEAD /a -> fetch as-get");
}

/// What a fetch forwards of its client's request: never a range or a precondition, and on a refresh no credentials.
#[test]
fn what_a_fetch_sends() {
    script(
        r#"
        0    GET /a [Cookie: c | Authorization: b | Accept: d | X-Kind: e | Range: bytes=0-1 | If-Range: "x" | If-None-Match: "x" | If-Modified-Since: {0} | If-Match: "x" | Expect: f | Content-Length: 0] -> pass (precondition)
        0    GET /a [Cookie: c | Accept: d | X-Kind: e | Range: bytes=0-1 | If-Range: "x" | If-None-Match: "x" | If-Modified-Since: {0} | Expect: f | Content-Length: 0] -> fetch unconditional sends cookie: c sends accept: d sends x-kind: e withholds range withholds if-range withholds expect withholds content-length
        0    200 /a [Cache-Control: public, max-age=10, stale-while-revalidate=60, stale-if-error=600 | Vary: X-Kind | ETag: "1"] "one" -> MISS
        20   GET /a [Authorization: b | Cookie: c | Accept: g | X-Kind: e | If-None-Match: "x"] -> UPDATING refresh names 1 tags 1 sends accept: g sends x-kind: e withholds cookie withholds authorization
        20   fail error /a -> dropped
        100  GET /a [Authorization: b | Cookie: c | X-Kind: e] -> fetch names 1 sends authorization: b sends cookie: c
        "#,
    );
}

/// On a refresh, the fields that `Vary` names are sent as in the stored request, whichever they are.
#[test]
fn a_refresh_sends_what_its_variant_was_stored_for() {
    script(
        r#"
        0    GET /a [Cookie: kind=1] -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=60 | Vary: Cookie, If-None-Match | ETag: "1"] "one" -> MISS
        20   GET /a [Cookie: kind=1] -> UPDATING refresh sends cookie: kind=1 tags 1
        "#,
    );
}
