//! JSON, the text for Prometheus and the page: which one a request gets, and what a request that is wrong is told.

use std::process::Command;

use serde_json::Value;

use super::*;

#[test]
fn statistics_in_the_form_that_is_asked_for() {
    let origin = Origin::start();
    let nginx = conf(&origin).http("swr_cache_zone zone=other:1m;").start();
    let form = |path: &str, accept: &str| {
        let response = nginx.get_with(path, &[("Accept", accept)]);
        response
            .header("Content-Type")
            .map(str::to_owned)
            .unwrap_or_default()
    };
    assert_eq!(form("/swr", "*/*"), "application/json");
    assert_eq!(
        form("/swr", "text/html,*/*;q=0.8"),
        "text/html; charset=utf-8"
    );
    assert_eq!(
        form(
            "/swr",
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let names = |path: &str| {
        let tree: Value = serde_json::from_str(&nginx.get(path).text()).expect("JSON");
        tree["zones"]
            .as_object()
            .expect("zones")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/swr"), ["main", "other"]);
    assert_eq!(names("/swr?zone=other"), ["other"]);
    let text = nginx.get("/swr?format=prometheus").text();
    assert_eq!(
        run(Command::new("promtool").args(["check", "metrics"]), &text),
        ""
    );
    let json = nginx.get("/swr").text();
    let script = root().join("tests/statistics/valid.py");
    run(Command::new("/usr/bin/python3").arg(script), &json);
    let head = nginx.client().request("HEAD", "/swr", &[]);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
}

#[test]
fn statistics_of_bad_requests() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let nginx = conf(&origin).start();
    nginx.get("/");
    await_count(&nginx, "/miss/responses", 1);
    let before = nginx.get("/swr?format=prometheus").text();
    for (path, status, named) in [
        ("/swr?format=xml", 400, "format"),
        ("/swr?zone=main&zone=main", 400, "zone"),
        ("/swr?zone=nowhere", 404, "nowhere"),
        ("/swr?purge=all", 400, "purge"),
        ("/swr?explain=/x", 400, "explain"),
        ("/swr?header=a:b", 400, "header"),
        ("/swr?zone=%00", 404, "zone"),
    ] {
        let response = nginx.get(path);
        assert_eq!(response.status, status, "{path}");
        let said: Value = serde_json::from_str(&response.text()).expect("JSON");
        let error = said["error"].as_str().unwrap_or_default();
        assert!(error.contains(named), "{path}: {error}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let refused = nginx.client().request(method, "/swr", &[]);
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("Allow"), Some("GET, HEAD"));
    }
    assert_eq!(nginx.get("/swr?format=prometheus").text(), before);
}
