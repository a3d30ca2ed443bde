//! HTTP/3: a fetch outlives the stream, and the connection, that it was begun for.

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300";

/// nginx with HTTP/3. `None` where it was built without, as before 1.25: it then refuses the configuration.
pub(crate) fn with_http3(conf: &Conf) -> Option<Nginx> {
    match conf.check() {
        Ok(()) => Some(conf.start()),
        Err(log) => {
            assert!(log.contains("invalid parameter \"quic\""), "{log}");
            None
        }
    }
}

fn http3(origin: &Origin) -> Option<Nginx> {
    with_http3(&Conf::caching(origin).tls().http3())
}

#[test]
fn http3_hits_and_refreshes() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let body = "frame ".repeat(50_000);
    origin.script(
        "/",
        [
            Reply::aged(100, WINDOWS, "old"),
            Reply::cached(WINDOWS, body.clone()).hold(&gate),
        ],
    );
    let Some(nginx) = http3(&origin) else { return };
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    client.get("/", &[]).is(200, "MISS", "old");
    for _ in 0..3 {
        // The refresh is under way, and holds up nobody on this connection.
        client.get("/", &[]).is(200, "UPDATING", "old").at_once();
    }
    gate.open();
    eventually("the new one", || client.get("/", &[]).text() == body);
    client.get("/", &[]).is(200, "HIT", &body);
    let part = client.get("/", &[("Range", "bytes=6-10")]);
    part.is(206, "HIT", "frame");
    let etag = client
        .get("/", &[])
        .header("etag")
        .expect("made here")
        .to_owned();
    let not_modified = client.get("/", &[("If-None-Match", &etag)]);
    assert_eq!((not_modified.status, not_modified.body.len()), (304, 0));
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn http3_many_streams_share_a_fetch() {
    let origin = Origin::start();
    let body = "shared ".repeat(30_000);
    origin.on("/", Reply::cached("max-age=60", body.clone()));
    let Some(nginx) = http3(&origin) else { return };
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    for response in client.get_many(50, "/") {
        assert_eq!((response.status, response.text()), (200, body.clone()));
    }
    assert_eq!(origin.hits("/"), 1);
}

#[test]
fn http3_fetches_outlive_streams_and_connections() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let body = "x".repeat(300_000);
    for path in ["/stream", "/connection"] {
        let reply = Reply::cached("max-age=60", body.clone()).hold_body(100_000, &gate);
        origin.on(path, reply);
    }
    let Some(nginx) = http3(&origin) else { return };
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    client.give_up("/stream");
    client.give_up("/connection");
    drop(client);
    gate.open();
    for path in ["/stream", "/connection"] {
        let response = nginx.await_status(path, "HIT");
        assert_eq!(response.text(), body, "{path}");
        assert_eq!(origin.hits(path), 1, "{path}");
    }
}

/// A client that wants no more while it waits is gone, as with nginx alone; its fetch goes on.
#[test]
fn http3_a_client_that_wants_no_more_is_logged_as_gone() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Reply::cached("max-age=60", "x").hold(&gate));
    let conf = Conf::caching(&origin)
        .http("log_format l '$status';")
        .server("access_log access.log l;")
        .tls();
    let Some(nginx) = with_http3(&conf.http3()) else {
        return;
    };
    let mut client = Http3::connect(nginx.addr, &nginx.identity());
    client.refuse("/", || origin.hits("/") == 1);
    eventually("it is logged", || {
        std::fs::read_to_string(nginx.dir().join("access.log")).is_ok_and(|log| log == "499\n")
    });
    gate.open();
    nginx.await_status("/", "HIT");
    assert_eq!(origin.hits("/"), 1);
}
