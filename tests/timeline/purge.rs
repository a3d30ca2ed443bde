//! Explicit purges: by tag, prefix and key, hard and soft.

use crate::{script, script_with};

#[test]
fn by_tag() {
    script(
        r#"
        0  GET /a -> fetch
        0  200 /a [Cache-Control: max-age=60 | Surrogate-Key: news front | Cache-Tag: x,y] "a" -> stored hides surrogate-key hides cache-tag
        0  GET /b -> fetch
        0  200 /b [Cache-Control: max-age=60 | Surrogate-Key: news] "b" -> stored
        0  GET /c -> fetch
        0  200 /c [Cache-Control: max-age=60 | Cache-Groups: "news", "g"] "c" -> stored
        1  hard tag front -> purged 1
        1  GET /a -> fetch (absent) unconditional
        1  200 /a [Cache-Control: max-age=60 | Cache-Tag: x,y] "a" -> stored
        2  hard tag nothing -> purged 0
        2  hard tag front -> purged 0
        2  GET /a -> HIT
        2  hard tag news -> purged 2
        2  GET /b -> fetch (absent)
        2  drop /b
        2  GET /c -> fetch (absent)
        2  drop /c
        2  hard tag y -> purged 1
        "#,
    );
}

#[test]
fn all_variants_go() {
    script(
        r#"
        0  GET /a [Accept-Language: de] -> fetch
        0  200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "de" -> stored
        0  GET /a [Accept-Language: fr] -> fetch
        0  200 /a [Cache-Control: max-age=60 | Vary: Accept-Language] "fr" -> stored
        1  GET /a [Accept-Language: de] -> HIT "de"
        1  hard key /a -> purged 2
        1  GET /a [Accept-Language: de] -> fetch (absent)
        1  200 /a [Cache-Control: max-age=60] "new" -> stored
        1  hard prefix /b -> purged 0
        1  hard prefix / -> purged 1
        1  hard all -> purged 0
        "#,
    );
}

/// A soft purge ends freshness; the windows are counted from the purge.
#[test]
fn soft() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=30 | ETag: "1" | Cache-Tag: t] "a" -> stored
        5   GET /a -> HIT
        10  soft tag t -> purged 1
        10  GET /a -> UPDATING age 10 ttl 0 refresh asks if-none-match "a"
        11  GET /a -> UPDATING (swr-window)
        11  304 /a [Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=30 | ETag: "1"] -> renewed
        12  GET /a -> HIT age 1
        15  soft tag t -> purged 1
        26  GET /a -> fetch (sie-window) asks if-none-match
        26  fail error /a -> STALE "a"
        46  GET /a -> fetch (stale)
        46  fail error /a -> fails
        46  soft key /a -> purged 1
        46  hard key /a -> purged 1
        46  GET /a -> fetch (absent)
        "#,
    );
}

/// A softly purged response counts as stale for request directives, whatever its lifetime was.
#[test]
fn clients_judge_what_was_softly_purged_as_stale() {
    script_with(
        |policy| policy.client_control = true,
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=600, stale-while-revalidate=60, immutable | Cache-Tag: t] "one" -> MISS
        5    GET /a [Cache-Control: no-cache] -> HIT
        10   soft tag t -> purged 1
        15   GET /a [Cache-Control: no-cache] -> fetch (client-refused)
        15   drop /a
        15   GET /a [Cache-Control: min-fresh=10] -> fetch (client-refused)
        15   drop /a
        90   GET /a [Cache-Control: max-stale=79] -> fetch (stale)
        90   drop /a
        90   GET /a [Cache-Control: max-stale=80] -> STALE (max-stale) "one"
        "#,
    );
}

/// The response to a HEAD sent before a soft purge does not make the purged response fresh again.
#[test]
fn a_head_that_was_asked_before() {
    script(
        r#"
        0   GET /a -> fetch
        0   200 /a [Cache-Control: max-age=60, stale-while-revalidate=10 | ETag: "1" | Cache-Tag: t] "a" -> stored
        5   HEAD /a [If-Match: "1"] -> pass
        6   soft tag t -> purged 1
        7   passed 200 /a [Cache-Control: max-age=60, stale-while-revalidate=10 | ETag: "1"]
        7   GET /a -> UPDATING refresh "a"
        7   drop /a
        8   HEAD /a [If-Match: "1"] -> pass
        9   passed 200 /a [Cache-Control: max-age=60, stale-while-revalidate=10 | ETag: "1"]
        9   GET /a -> HIT age 1
        "#,
    );
}

/// A purge wins over a fill or refresh that began before it.
#[test]
fn what_was_asked_for_before() {
    script(
        r#"
        0   GET /a -> fetch
        1   hard tag t -> purged 0
        2   200 /a [Cache-Control: max-age=60 | Cache-Tag: t] "before" -> superseded "before"
        3   GET /a -> fetch (absent)
        3   200 /a [Cache-Control: max-age=60, stale-while-revalidate=60 | Cache-Tag: t] "after" -> stored
        64  GET /a -> UPDATING refresh
        65  hard prefix /a -> purged 1
        66  200 /a [Cache-Control: max-age=60 | Cache-Tag: t] "before" -> superseded
        66  GET /a -> fetch (absent)
        67  soft tag t -> purged 0
        68  200 /a [Cache-Control: max-age=60, stale-while-revalidate=60 | Cache-Tag: t] "aged" -> stored "aged"
        69  GET /a -> UPDATING ttl -2 refresh "aged"
        "#,
    );
}
