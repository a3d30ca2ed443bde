//! The harness itself, on nginx without the module: an origin's faults and a client's eyes must be true.

use std::time::Duration;

use crate::support::*;

fn plain(origin: &Origin) -> Nginx {
    Conf::new()
        .plain()
        .location(
            "/",
            &format!(
                "proxy_pass http://{}; proxy_read_timeout 300ms;",
                origin.addr
            ),
        )
        .start()
}

#[test]
fn harness_framings_arrive_whole() {
    let origin = Origin::start();
    origin.on("/length", Reply::ok("one"));
    origin.on("/chunked", Reply::ok("two").chunked());
    origin.on("/close", Reply::ok("three").until_close());
    let nginx = plain(&origin);
    let mut client = nginx.client();
    for (path, body) in [("/length", "one"), ("/chunked", "two"), ("/close", "three")] {
        let response = client.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, body));
    }
    let head = client.request("HEAD", "/length", &[]);
    assert_eq!(
        (head.status, head.header("Content-Length"), head.body.len()),
        (200, Some("3"), 0)
    );
    assert_eq!(origin.hits("/length"), 2);
    assert_eq!(origin.last("/length").method, "HEAD");
}

#[test]
fn harness_faults_are_faults() {
    let origin = Origin::start();
    origin.on("/head", Reply::ok("x").cut_head());
    origin.on("/head-reset", Reply::ok("x").cut_head().with_reset());
    origin.on(
        "/garbage",
        Reply::raw("HTTP/1.1 200 OK\r\nno\0field\r\n\r\nbody"),
    );
    origin.on("/silent", Reply::silence());
    let nginx = plain(&origin);
    for (path, status) in [
        ("/head", 502),
        ("/head-reset", 502),
        ("/garbage", 502),
        ("/silent", 504),
        ("/none", 404),
    ] {
        assert_eq!(nginx.get(path).status, status, "{path}");
    }
    origin.stop();
    assert_eq!(nginx.get("/head").status, 502);
    origin.resume();
    assert_eq!(nginx.get("/none").status, 404);
}

#[test]
fn harness_broken_bodies_are_seen() {
    let origin = Origin::start();
    let body = "0123456789".repeat(1000);
    origin.on("/short", Reply::ok(body.clone()).cut_body(5000));
    origin.on("/chunks", Reply::ok(body.clone()).chunked().cut_body(5000));
    origin.on("/reset", Reply::ok(body).cut_body(5000).with_reset());
    let nginx = plain(&origin);
    for path in ["/short", "/chunks", "/reset"] {
        let response = nginx.client().try_request("GET", path, &[]);
        assert!(
            response.status != 200 || response.broken.is_some(),
            "{path}: {response:?}"
        );
    }
}

#[test]
fn harness_gates_hold() {
    let origin = Origin::start();
    let (head, body) = (Gate::closed(), Gate::closed());
    origin.on(
        "/",
        Reply::ok("half and half").hold(&head).hold_body(5, &body),
    );
    let nginx = Conf::new().plain().location(
        "/",
        &format!("proxy_pass http://{}; proxy_buffering off;", origin.addr),
    );
    let nginx = nginx.start();
    let mut client = nginx.client();
    client.send("GET", "/", &[]);
    origin.await_hits("/", 1);
    head.open();
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.one_byte().ok(), Some(b'h'));
    body.open();
}

#[test]
fn harness_many_clients_at_once() {
    let origin = Origin::start();
    origin.on("/", Reply::ok("x"));
    let pass = format!("proxy_pass http://{};", origin.addr);
    let nginx = Conf::new().plain().location("/", &pass).start();
    let all = at_once(nginx.addr, 200, "/", &[]);
    assert!(all.iter().all(|r| r.status == 200));
    assert_eq!(origin.hits("/"), 200);
}

#[test]
fn harness_tls_on_both_sides() {
    let folder = Folder::new();
    let origin = Origin::start_tls(&Identity::in_dir(&folder.0));
    origin.on("/", Reply::ok("sealed"));
    let nginx = Conf::new()
        .plain()
        .tls()
        .location("/", &format!("proxy_pass https://{};", origin.addr))
        .start();
    assert_eq!(nginx.get("/").text(), "sealed");
}

#[test]
fn harness_scgi_and_uwsgi() {
    let (scgi, uwsgi) = (Origin::start_scgi(), Origin::start_uwsgi());
    scgi.on("/scgi", Reply::new(201).body("by scgi"));
    uwsgi.on("/uwsgi", Reply::new(202).body("by uwsgi"));
    // As in nginx's own scgi_params and uwsgi_params.
    let parameters = |p: &str| {
        format!("{p}_param REQUEST_METHOD $request_method; {p}_param REQUEST_URI $request_uri;")
    };
    let nginx = Conf::new()
        .plain()
        .location(
            "/scgi",
            &format!(
                "{} scgi_param CONTENT_LENGTH 0; scgi_pass {};",
                parameters("scgi"),
                scgi.addr
            ),
        )
        .location(
            "/uwsgi",
            &format!("{} uwsgi_pass {};", parameters("uwsgi"), uwsgi.addr),
        )
        .start();
    let (one, two) = (nginx.get("/scgi"), nginx.get("/uwsgi?x"));
    assert_eq!((one.status, one.text().as_str()), (201, "by scgi"));
    assert_eq!((two.status, two.text().as_str()), (202, "by uwsgi"));
    assert_eq!(uwsgi.last("/uwsgi").target, "/uwsgi?x");
}

#[test]
fn harness_signals() {
    let nginx = Conf::new()
        .plain()
        .workers(2)
        .location("/", "return 200 ok;")
        .allow("exited on signal 9")
        .start();
    assert_eq!(nginx.workers().len(), 2);
    nginx.kill_worker();
    nginx.reload();
    eventually("two workers again", || nginx.workers().len() == 2);
    assert_eq!(nginx.get("/").text(), "ok");
    nginx.quit();
}

#[test]
#[should_panic(expected = "error.log has alarms")]
fn harness_sees_alarms() {
    let nginx = Conf::new().plain().location("/", "return 200 ok;").start();
    nginx.kill_worker();
}

#[test]
fn harness_bad_configurations() {
    let said = Conf::new()
        .plain()
        .location("/", "no_such_directive on;")
        .check()
        .expect_err("an error");
    assert!(
        said.contains("unknown directive \"no_such_directive\""),
        "{said}"
    );
    assert!(Conf::new().plain().check().is_ok());
}

#[test]
fn harness_slow_drip() {
    let origin = Origin::start();
    origin.on("/", Reply::ok("slowly").drip(Duration::from_millis(10)));
    let response = plain(&origin).get("/");
    assert_eq!(response.text(), "slowly");
    assert!(
        response.total >= Duration::from_millis(50),
        "{:?}",
        response.total
    );
}
