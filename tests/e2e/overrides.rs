//! The directives that give, change or take away the stale windows.

use crate::support::*;

/// What the second request gets, for an entry of 100 s whose origin said `control`, and that answers `then` now.
/// It has a validator: without one, and without a window, nothing that is stale on arrival is worth keeping.
#[track_caller]
fn second(control: &str, lines: &str, then: Reply) -> Response {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::aged(100, control, "old").header("ETag", "\"1\""),
            then,
        ],
    );
    let nginx = Conf::caching_with(&origin, lines).start();
    assert_eq!(nginx.get("/").text(), "old");
    let response = nginx.get("/");
    origin.await_hits("/", 2);
    response
}

fn new() -> Reply {
    Reply::cached("max-age=60", "new")
}

fn down() -> Reply {
    Reply::new(503).body("down")
}

#[test]
fn overrides_swr_where_the_origin_names_none() {
    second(
        "max-age=60",
        "swr_cache_stale_while_revalidate 300s;",
        new(),
    )
    .is(200, "UPDATING", "old");
    second("max-age=60", "swr_cache_stale_while_revalidate 10s;", new()).is(200, "EXPIRED", "new");
    second("max-age=60", "", new()).is(200, "EXPIRED", "new");
}

#[test]
fn overrides_swr_origin_binds_unless_forced() {
    let (short, long) = (
        "max-age=60, stale-while-revalidate=10",
        "max-age=60, stale-while-revalidate=600",
    );
    second(short, "swr_cache_stale_while_revalidate 300s;", new()).is(200, "EXPIRED", "new");
    second(short, "swr_cache_stale_while_revalidate 300s force;", new()).is(200, "UPDATING", "old");
    second(long, "swr_cache_stale_while_revalidate 10s force;", new()).is(200, "EXPIRED", "new");
}

/// "Serve stale content while revalidating: off".
#[test]
fn overrides_swr_off() {
    let control = "max-age=60, stale-while-revalidate=600";
    second(control, "swr_cache_stale_while_revalidate off;", new()).is(200, "EXPIRED", "new");
}

#[test]
fn overrides_sie_where_the_origin_names_none() {
    second("max-age=60", "swr_cache_stale_if_error 300s;", down()).is(200, "STALE", "old");
    assert_eq!(
        second("max-age=60", "swr_cache_stale_if_error 10s;", down()).status,
        503
    );
    assert_eq!(second("max-age=60", "", down()).status, 503);
}

#[test]
fn overrides_sie_force_and_off() {
    let (short, long) = (
        "max-age=60, stale-if-error=10",
        "max-age=60, stale-if-error=600",
    );
    assert_eq!(
        second(short, "swr_cache_stale_if_error 300s;", down()).status,
        503
    );
    second(short, "swr_cache_stale_if_error 300s force;", down()).is(200, "STALE", "old");
    assert_eq!(
        second(long, "swr_cache_stale_if_error off;", down()).status,
        503
    );
}

/// Written out, `swr_cache_use_stale` grants stale where the origin names no window, as nginx's does.
#[test]
fn overrides_use_stale_written_out_grants() {
    second("max-age=60", "swr_cache_use_stale http_503;", down()).is(200, "STALE", "old");
    second("max-age=60", "swr_cache_use_stale updating;", new()).is(200, "UPDATING", "old");
    assert_eq!(
        second(
            "max-age=60, stale-if-error=10",
            "swr_cache_use_stale http_503;",
            down()
        )
        .status,
        503
    );
    let strict = "max-age=60, must-revalidate";
    assert_eq!(
        second(strict, "swr_cache_use_stale http_503;", down()).status,
        503
    );
}

/// Replicating the origin's headers at the edge: what a Worker or VCL does elsewhere.
#[test]
fn overrides_at_the_edge() {
    let lines = "swr_cache_valid 200 1m; swr_cache_stale_while_revalidate 1d force; swr_cache_stale_if_error 1d force;";
    let origin = Origin::start();
    origin.script(
        "/",
        [Reply::ok("old").header("Age", "100"), Reply::ok("new")],
    );
    let nginx = Conf::caching_with(&origin, lines).start();
    nginx.get("/").is(200, "MISS", "old");
    nginx.get("/").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
}

/// RFC 9213: a targeted field wins over `Cache-Control`, the first valid one.
#[test]
fn overrides_targeted_fields() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("no-store", "kept").header("CDN-Cache-Control", "max-age=60"),
    );
    let nginx = Conf::caching(&origin).start();
    let response = nginx.get("/");
    assert_eq!(
        (response.cache(), response.header("CDN-Cache-Control")),
        ("MISS", Some("max-age=60"))
    );
    nginx.get("/").is(200, "HIT", "kept");
}
