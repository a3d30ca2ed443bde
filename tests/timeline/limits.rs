//! What does not fit passes: large objects, large headers, parts.

use crate::{script, script_with};

/// A body that is announced larger than an object may be is relayed and remembered.
#[test]
fn announced_too_large() {
    script(
        r#"
        0    GET /a -> fetch
        0    GET /a -> wait
        0    head 200 /a [Cache-Control: max-age=60 | content-length: 100000000] -> relay (too-large)
        0    rung /a -> pass (hit-for-miss)
        "#,
    );
}

/// One that turns out so is given up and remembered; a stale copy of it is over.
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

/// A header over the limits is relayed.
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

/// Parts and interim answers are never stored (RFC 9111 §3.3).
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

/// Beyond `max_range_offset` a part is the origin's to send; what is stored, or being stored, is answered from as ever.
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
