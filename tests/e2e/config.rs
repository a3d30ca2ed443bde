//! Bad configurations: `nginx -t` names the directive, the value and what was expected.

use crate::support::*;

/// What `nginx -t` says of these lines in a location (or in `http`, where they define a zone).
#[track_caller]
fn refused(lines: &str) -> String {
    let conf = Conf::new();
    let conf = if lines.starts_with("swr_cache_zone") {
        conf.http(lines)
    } else {
        conf.zone().location("/", lines)
    };
    let said = conf
        .check()
        .err()
        .unwrap_or_else(|| panic!("accepted: {lines}"));
    assert!(
        said.contains("[emerg]") && !said.contains("panicked"),
        "{lines}: {said}"
    );
    said
}

#[test]
fn config_bad_values_are_named() {
    // the line, and what the message must have in it
    let table: &[(&str, &[&str])] = &[
        (
            "swr_cache_zone zone=a;",
            &["swr_cache_zone", "a\"", "NAME:SIZE"],
        ),
        ("swr_cache_zone zone=a:;", &["swr_cache_zone", "a size"]),
        ("swr_cache_zone zone=a:huge;", &["swr_cache_zone", "huge"]),
        (
            "swr_cache_zone zone=a:4k;",
            &["swr_cache_zone", "\"a\" 4096 bytes", "at least"],
        ),
        (
            "swr_cache_zone zone=a:8000g;",
            &["swr_cache_zone", "\"a\" 8589934592000 bytes", "at most"],
        ),
        (
            "swr_cache_zone zone=a:8000g file=a.swr;",
            &["swr_cache_zone", "\"a\" 8589934592000 bytes", "at most"],
        ),
        (
            "swr_cache_zone zone=a:-8m;",
            &["swr_cache_zone", "-8m", "a size"],
        ),
        (
            "swr_cache_zone zone=a:8m max_object=x;",
            &["swr_cache_zone", "\"x\"", "a size"],
        ),
        (
            "swr_cache_zone zone=a:8m inactive=soon;",
            &["swr_cache_zone", "\"soon\"", "a time"],
        ),
        (
            "swr_cache_zone zone=a:8m max_object=8193k;",
            &[
                "swr_cache_zone",
                "\"a\" 8388608 bytes",
                "max_object=8389632",
            ],
        ),
        (
            "swr_cache_zone zone=a:8m zone=b:8m;",
            &["swr_cache_zone", "zone= twice"],
        ),
        (
            "swr_cache_zone zone=a:8m max_object=1m max_object=2m;",
            &["swr_cache_zone", "max_object= twice"],
        ),
        (
            "swr_cache_zone zone=a:8m inactive=1m inactive=1m;",
            &["swr_cache_zone", "inactive= twice"],
        ),
        (
            "swr_cache_zone zone=a:8m file=a.swr file=b.swr;",
            &["swr_cache_zone", "file= twice"],
        ),
        (
            "swr_cache_zone zone=a:8m colour=red;",
            &["swr_cache_zone", "colour=red"],
        ),
        (
            "swr_cache_zone zone=a:8m; swr_cache_zone zone=a:8m;",
            &["swr_cache_zone", "a"],
        ),
        ("swr_cache nowhere;", &["nowhere"]),
        ("swr_cache main; swr_cache main;", &["swr_cache", "twice"]),
        ("swr_cache_methods FETCH;", &["swr_cache_methods", "FETCH"]),
        ("swr_cache_valid 99 1m;", &["swr_cache_valid", "99"]),
        ("swr_cache_valid 200 soon;", &["swr_cache_valid", "soon"]),
        (
            "swr_cache_valid 1m1h;",
            &["swr_cache_valid", "1m1h", "a time"],
        ),
        (
            "swr_cache_convert_head maybe;",
            &["swr_cache_convert_head", "maybe", "\"on\""],
        ),
        (
            "swr_cache_max_range_offset far;",
            &["swr_cache_max_range_offset", "far", "a size"],
        ),
        ("swr_cache_min_uses few;", &["swr_cache_min_uses", "few"]),
        (
            "swr_ignore_headers X-Own;",
            &["swr_ignore_headers", "X-Own"],
        ),
        (
            "swr_cache_use_stale sometimes;",
            &["swr_cache_use_stale", "sometimes"],
        ),
        (
            "swr_cache_stale_while_revalidate soon;",
            &["swr_cache_stale_while_revalidate", "soon"],
        ),
        (
            "swr_cache_stale_while_revalidate 1m maybe;",
            &["swr_cache_stale_while_revalidate", "maybe"],
        ),
        (
            "swr_cache_stale_if_error -1;",
            &["swr_cache_stale_if_error", "-1"],
        ),
        (
            "swr_cache_background_update perhaps;",
            &["swr_cache_background_update", "perhaps"],
        ),
        ("swr_cache_revalidate 1;", &["swr_cache_revalidate", "1"]),
        (
            "swr_cache_edge_revalidation yes;",
            &["swr_cache_edge_revalidation", "yes"],
        ),
        ("swr_cache_lock yes;", &["swr_cache_lock", "yes"]),
        (
            "swr_cache_lock_timeout x;",
            &["swr_cache_lock_timeout", "x"],
        ),
        ("swr_cache_lock_age x;", &["swr_cache_lock_age", "x"]),
        (
            "swr_cache_client_control x;",
            &["swr_cache_client_control", "x"],
        ),
        (
            "swr_cache_refresh_max lots;",
            &["swr_cache_refresh_max", "lots"],
        ),
        (
            "swr_cache_refresh_backoff 1s;",
            &["swr_cache_refresh_backoff"],
        ),
        (
            "swr_cache_refresh_backoff 60s 1s;",
            &["swr_cache_refresh_backoff", "1s"],
        ),
        ("swr_cache_invalidate;", &["swr_cache_invalidate"]),
        (
            "swr_cache_invalidate some;",
            &["swr_cache_invalidate", "some", "target"],
        ),
        (
            "swr_cache_refresh_ahead 101;",
            &["swr_cache_refresh_ahead", "101"],
        ),
        (
            "swr_cache_refresh_ahead x;",
            &["swr_cache_refresh_ahead", "x"],
        ),
        (
            "swr_cache_revalidate_timeout x;",
            &["swr_cache_revalidate_timeout", "x"],
        ),
        (
            "swr_cache_max_variants 0;",
            &["swr_cache_max_variants", "0"],
        ),
        (
            "swr_cache_status_header x;",
            &["swr_cache_status_header", "\"x\"", "strings with variables"],
        ),
        (
            "swr_cache_status_header $arg_a on;",
            &["swr_cache_status_header", "\"on\""],
        ),
    ];
    let bad: Vec<String> = table
        .iter()
        .filter_map(|(line, parts)| {
            let said = refused(line);
            let missing: Vec<_> = parts.iter().filter(|part| !said.contains(**part)).collect();
            (!missing.is_empty()).then(|| format!("{line}: {missing:?} not in: {said}"))
        })
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// A word that is expected is told.
#[test]
fn config_says_what_was_expected() {
    for (line, expected) in [
        ("swr_cache_methods FETCH;", "GET"),
        ("swr_cache_use_stale sometimes;", "http_500"),
        ("swr_cache_stale_while_revalidate soon;", "origin"),
        ("swr_cache_refresh_ahead 101;", "off"),
        ("swr_ignore_headers X-Own;", "Cache-Control"),
        ("swr_cache_background_update perhaps;", "on"),
    ] {
        let said = refused(line);
        let message = said.split(" in /").next().unwrap_or_default();
        assert!(
            message.contains(expected),
            "{line}: no {expected} in: {said}"
        );
    }
}

#[test]
fn config_good_values_are_taken() {
    let lines = "swr_cache main; swr_cache_key $uri; swr_cache_methods GET HEAD POST; swr_cache_valid 200 302 10m; \
                 swr_cache_valid any 1m; swr_cache_min_uses 2; swr_cache_bypass $arg_a $arg_b; swr_no_cache $arg_c; \
                 swr_ignore_headers X-Accel-Expires Expires Cache-Control Set-Cookie Vary CDN-Cache-Control \
                 Surrogate-Control; swr_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 \
                 http_504 http_403 http_404 http_429; swr_cache_stale_while_revalidate 1m force; \
                 swr_cache_stale_if_error 1d; swr_cache_background_update on; swr_cache_revalidate on; \
                 swr_cache_edge_revalidation on; swr_cache_lock on; swr_cache_lock_timeout 5s; swr_cache_lock_age 5s; \
                 swr_cache_control_headers CDN-Cache-Control Surrogate-Control; swr_cache_client_control on; \
                 swr_cache_refresh_max 10; swr_cache_refresh_backoff 1s 60s; swr_cache_refresh_ahead 10; \
                 swr_cache_revalidate_timeout 500ms; swr_cache_vary_normalize Accept-Encoding Accept-Language; \
                 swr_cache_max_variants 8; swr_cache_status_header on; swr_cache_tag_headers Surrogate-Key Cache-Tag;";
    let zone = "swr_cache_zone zone=main:16m max_object=1m inactive=10m;";
    assert_eq!(Conf::new().http(zone).location("/", lines).check(), Ok(()));
    assert_eq!(
        Conf::new()
            .http(zone)
            .http("swr_cache main;")
            .server("swr_cache off;")
            .check(),
        Ok(())
    );
}

/// Times and sizes are nginx's, and what nginx lets one write several times in a block may come several times here.
#[test]
fn config_values_are_nginxs() {
    let conf = |lines: &str| Conf::new().zone().location("/", lines).check();
    for time in [
        "0",
        "90",
        "500ms",
        "1h30m",
        "1w",
        "1M",
        "1y",
        "\"1d 2h\"",
        "1y2M3w4d5h6m7s",
    ] {
        for line in [
            format!("swr_cache_valid {time};"),
            format!("swr_cache_valid any {time};"),
            format!("swr_cache_valid 200 404 {time};"),
            format!("swr_cache_stale_if_error {time} force;"),
            format!("swr_cache_lock_timeout {time};"),
        ] {
            assert_eq!(conf(&line), Ok(()), "{line}");
        }
    }
    for size in ["0", "100", "512k", "10M", "4g"] {
        let line = format!("swr_cache_max_range_offset {size};");
        assert_eq!(conf(&line), Ok(()), "{line}");
    }
    let lines = "swr_cache main; \
                 swr_cache_methods POST; swr_cache_methods get; swr_cache_valid 1m; swr_cache_valid 404 1s; \
                 swr_cache_bypass $arg_a; swr_cache_bypass $arg_b; swr_no_cache $arg_a; swr_no_cache $arg_b; \
                 swr_ignore_headers Vary; swr_ignore_headers Vary Expires; \
                 swr_cache_use_stale error; swr_cache_use_stale HTTP_500 error; swr_cache_use_stale off; \
                 swr_cache_convert_head off; swr_cache_min_uses 0;";
    assert_eq!(conf(lines), Ok(()));
}

/// A module for another build of nginx is refused in one line. (For one that differs in its structs alone: scripts/dist_test.sh.)
#[test]
fn config_a_module_of_another_build_is_refused() {
    let Some(module) = module() else { return };
    let mut bytes = std::fs::read(module).expect("the module");
    // NGX_MODULE_SIGNATURE on machines of 64 bits, and whether there is kqueue.
    let signature = b"8,4,8,0";
    let at = bytes
        .windows(signature.len())
        .position(|window| window == signature)
        .expect("the signature");
    bytes[at + signature.len() - 1] = b'1';
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other.so");
    std::fs::write(&other, bytes).expect("another module");
    let conf = Conf::new().plain();
    let said = conf
        .main(&format!("load_module {};", other.display()))
        .check()
        .expect_err("it is refused");
    assert_eq!(said.matches("[emerg]").count(), 1, "{said}");
    assert!(said.contains("is not binary compatible"), "{said}");
}
