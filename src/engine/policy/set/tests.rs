//! What each directive reads, and what it says of what it does not.

use super::*;

fn add(block: &mut Directives, line: &str) -> Result<(), Refusal> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let (name, words) = words.split_first().expect("a name");
    block.add(&text(name), words)
}

fn policy(lines: &[&str]) -> Policy {
    let mut block = Directives::default();
    for line in lines {
        add(&mut block, line).unwrap_or_else(|why| panic!("{line} {why}"));
    }
    block.policy()
}

#[test]
fn every_directive_is_read() {
    let default = format!("{:?}", Policy::default());
    for line in [
        "methods GET post",
        "valid 200 302 10m",
        "ignore_headers set-cookie VARY",
        "use_stale error updating http_404",
        "convert_head OFF",
        "max_range_offset 10m",
        "min_uses 2",
        "stale_while_revalidate 30s force",
        "stale_if_error off",
        "background_update off",
        "revalidate off",
        "edge_revalidation off",
        "lock off",
        "lock_timeout 500ms",
        "lock_age 1h30m",
        "control_headers My-Control",
        "client_control On",
        "refresh_max 0",
        "refresh_backoff 2s 2s",
        "refresh_ahead 20",
        "revalidate_timeout 200ms",
        "inactive 1h",
        "vary_normalize off",
        "max_variants 65536",
        "query sort drop tracking page*",
        "invalidate soft",
        "tag_headers X-Tags",
        "tag_headers Surrogate-Key Cache-Tag pass",
        "if_modified_since off",
    ] {
        assert_ne!(format!("{:?}", policy(&[line])), default, "{line}");
        let name = line.split(' ').next();
        assert!(TABLE.iter().any(|d| Some(d.name) == name), "{line}");
    }
    assert_eq!(format!("{:?}", policy(&[])), default);
}

#[test]
fn what_is_wrong_is_named() {
    for (line, why) in [
        ("nonsense on", "is not a directive of the cache"),
        (
            "lock maybe",
            "has the invalid value \"maybe\", expected \"on\" or \"off\"",
        ),
        ("lock", "takes one value, \"on\" or \"off\", but has 0"),
        (
            "lock on off",
            "takes one value, \"on\" or \"off\", but has 2",
        ),
        (
            "lock_age 1x",
            "has the invalid value \"1x\", expected a time such as 500ms, 5s, 10m or 1d",
        ),
        (
            "methods PUT",
            "has the invalid value \"PUT\", expected GET, HEAD or POST",
        ),
        ("methods", "needs GET, HEAD or POST"),
        ("valid", "needs a time"),
        (
            "valid any",
            "has the invalid value \"any\", expected a time such as 500ms, 5s, 10m or 1d",
        ),
        (
            "valid 99 1s",
            "has the invalid value \"99\", expected a status from 100 to 599 or \"any\"",
        ),
        (
            "valid +200 1s",
            "has the invalid value \"+200\", expected a status from 100 to 599 or \"any\"",
        ),
        (
            "min_uses +1",
            "has the invalid value \"+1\", expected a number from 0 to 4294967295",
        ),
        (
            "min_uses 4294967296",
            "has the invalid value \"4294967296\", expected a number from 0 to 4294967295",
        ),
        (
            "max_variants 0",
            "has the invalid value \"0\", expected a number from 1 to 65536",
        ),
        (
            "max_range_offset 1t",
            "has the invalid value \"1t\", expected a size such as 512k, 256m or 4g, or \"off\"",
        ),
        (
            "stale_if_error 5s hard",
            "has the invalid value \"hard\", expected \"force\" or nothing after the time",
        ),
        (
            "stale_if_error x",
            "has the invalid value \"x\", expected a time, \"origin\" or \"off\"",
        ),
        (
            "refresh_backoff 1s",
            "takes two times, the first pause and the longest, such as 1s 60s",
        ),
        (
            "refresh_backoff 0 1s",
            "has the invalid value \"0\", expected a first pause longer than 0",
        ),
        (
            "refresh_backoff 2s 1s",
            "has the invalid value \"1s\", expected a longest pause that is not shorter than the first",
        ),
        (
            "refresh_ahead 100",
            "has the invalid value \"100\", expected a percentage from 1% to 99%, or \"off\"",
        ),
        (
            "revalidate_timeout x",
            "has the invalid value \"x\", expected a time such as 500ms, 5s, 10m or 1d, or \"off\"",
        ),
        (
            "control_headers A, B",
            "has the invalid value \"A,\", expected the name of a header field",
        ),
        (
            "tag_headers X:Tags",
            "has the invalid value \"X:Tags\", expected the name of a header field",
        ),
        (
            "tag_headers pass",
            "needs the names of header fields, or \"off\"",
        ),
        (
            "vary_normalize",
            "needs the names of header fields, or \"off\"",
        ),
        (
            "query",
            "needs \"as-is\", or \"sort\" and then \"drop\" or \"keep\" with names",
        ),
        (
            "query page",
            "has the invalid value \"page\", expected \"as-is\", or \"sort\" and then \"drop\" or \"keep\" with names",
        ),
        (
            "query as-is sort",
            "has the invalid value \"as-is\", expected \"as-is\", or \"sort\" and then \"drop\" or \"keep\" with names",
        ),
        (
            "query sort drop",
            "needs names of query parameters, such as page, utm_* or tracking",
        ),
        (
            "query drop a keep b",
            "has the invalid value \"keep\", expected names, either after \"drop\" or after \"keep\"",
        ),
        (
            "query keep a*b",
            "has the invalid value \"a*b\", expected the name of a query parameter, of which the last byte may be a \"*\"",
        ),
        (
            "query keep a=b",
            "has the invalid value \"a=b\", expected the name of a query parameter, of which the last byte may be a \"*\"",
        ),
        (
            "invalidate maybe",
            "has the invalid value \"maybe\", expected \"on\", \"target\", \"soft\" or \"off\"",
        ),
    ] {
        let mut block = Directives::default();
        assert_eq!(add(&mut block, line), Err(why.into()), "{line}");
        assert!(block.lines.is_empty(), "{line}");
    }
}

#[test]
fn several_lines_add_up_and_the_last_of_others_counts() {
    let p = policy(&["valid 404 1m", "valid 10m"]);
    let expected = [
        (StatusMatch::Code(404), 60_000),
        (StatusMatch::Usual, 600_000),
    ];
    assert_eq!(p.valid, expected);
    let p = policy(&["use_stale error", "use_stale http_404 updating"]);
    let bits = UseStale::ERROR | UseStale::HTTP_404 | UseStale::UPDATING;
    assert_eq!(p.use_stale, UseStale::listed(bits));
    assert_eq!(
        policy(&["use_stale off", "use_stale error"]).use_stale,
        UseStale::OFF
    );
    assert_eq!(policy(&["use_stale error off"]).use_stale, UseStale::OFF);
    let p = policy(&["min_uses 2", "min_uses 3"]);
    assert_eq!(p.min_uses, 3);
    let mut block = Directives::default();
    for line in ["valid 1m", "min_uses 2"] {
        add(&mut block, line).expect("good");
    }
    assert_eq!(
        (block.is_taken("valid"), block.is_taken("min_uses")),
        (false, true)
    );
    assert!(!block.is_taken("lock"));
}

#[test]
fn a_block_inherits_what_it_does_not_say() {
    let (mut outer, mut inner) = (Directives::default(), Directives::default());
    for line in ["valid 404 1m", "use_stale off", "lock off", "methods POST"] {
        add(&mut outer, line).expect("good");
    }
    for line in ["valid 200 10m", "use_stale error", "min_uses 5"] {
        add(&mut inner, line).expect("good");
    }
    inner.inherit(&outer);
    let p = inner.policy();
    assert_eq!(p.valid, [(StatusMatch::Code(200), 600_000)]);
    assert_eq!(p.use_stale, UseStale::listed(UseStale::ERROR));
    assert_eq!((p.lock, p.min_uses), (false, 5));
    assert!(p.methods.has(super::super::Method::Post));
}
