//! Responses that exceed a limit pass: large objects, large headers, partial responses.

use crate::{script, script_with};

/// A body with an announced length above the object limit is relayed, and the key is remembered.
#[test]
fn announced_too_large() {
    script(
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait
        0    head 200 /a [Cache-Control: max-age=60 | content-length: 100000000] -> relay (too-large)
        0    woken /a -> pass (hit-for-miss)
        "#,
    );
}

/// A body that turns out to be too large is given up and the key remembered; the stale entry is removed.
#[test]
fn turned_out_too_large() {
    script(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=10, stale-while-revalidate=600] -> MISS
        11   GET /a -> UPDATING refresh
        11   head 200 /a [Cache-Control: max-age=10] -> beside
        12   large /a -> dropped (too-large)
        12   GET /a -> pass (hit-for-miss)
        "#,
    );
}

/// A header that exceeds the limits is relayed.
#[test]
fn header_too_large() {
    let long = "x".repeat(70_000);
    script(&format!(
        r#"
        0    GET /a -> fetch
        0    200 /a [Cache-Control: max-age=60 | X-Long: {long}] -> relay (header-too-large)
        "#
    ));
}

/// Partial and interim responses are never stored (RFC 9111 §3.3).
#[test]
fn parts_are_not_stored() {
    script(
        r#"
        0    GET /a -> fetch
        0    206 /a [Cache-Control: max-age=60 | Content-Range: bytes 0-3/10] -> elsewhere (partial)
        0    GET /b -> fetch
        0    101 /b [Cache-Control: max-age=60] -> relay (status)
        "#,
    );
}

/// A range beyond `max_range_offset` is passed to the origin; a stored response, or one being stored, still answers it.
#[test]
fn ranges_far_in_pass() {
    let entry = "200 /a [Cache-Control: max-age=10 | Content-Length: 4] \"body\" -> MISS 416";
    script_with(
        |p| p.max_range_offset = Some(100),
        &format!(
            r#"
            0    GET /a [Range: bytes=100-] -> pass MISS (range-offset)
            0    GET /a [Range: bytes=-1] -> pass MISS (range-offset)
            0    GET /a [Range: bytes=99-] -> fetch (absent)
            0    GET /a [Range: bytes=100-] -> pass (range-offset)
            0    {entry}
            5    GET /a [Range: bytes=-1] -> HIT 206 3-3
            20   GET /a [Range: bytes=100-] -> pass EXPIRED (range-offset)
            20   GET /a bypass [Range: bytes=100-] -> pass BYPASS (range-offset)
            20   GET /a [Range: bytes=0-] -> fetch (stale)
            "#
        ),
    );
}
