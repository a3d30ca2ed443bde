//! The purge API by HTTP, `swr_cache_purge_method`, and groups that a response makes invalid.

use crate::support::*;

const HOUR: &str = "max-age=3600, stale-while-revalidate=3600";

/// A cache with a purge API at `/purge`, before an origin whose responses are tagged by their path.
fn start(lines: &str) -> (Origin, Nginx) {
    let origin = Origin::start();
    for path in ["/a", "/a/b", "/b", "/c?x=1"] {
        let (route, _) = path.split_once('?').unwrap_or((path, ""));
        origin.handle(route, move |r| {
            let tag = path.trim_matches('/').replace('/', " ");
            Reply::cached(HOUR, format!("{path} {}", r.nth)).header("Surrogate-Key", &tag)
        });
    }
    let nginx = Conf::caching_with(&origin, lines)
        .location("/purge", "swr_cache_purge zone=main;")
        .start();
    (origin, nginx)
}

fn fill(nginx: &Nginx) {
    for path in ["/a", "/a/b", "/b", "/c?x=1"] {
        nginx.get(path);
        assert_eq!(nginx.get(path).cache(), "HIT", "{path}");
    }
}

#[track_caller]
pub(crate) fn post(nginx: &Nginx, body: &str) -> Response {
    let length = body.len();
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let answer = client.receive("POST");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    answer
}

/// Purges, checks how many that were, and which paths are gone.
#[track_caller]
fn purge(nginx: &Nginx, body: &str, purged: usize, gone: &[&str]) {
    let answer = post(nginx, body);
    let soft = body.contains("soft\": true");
    let said = format!("{{\"purged\":{purged},\"soft\":{soft},\"zone\":\"main\"}}\n");
    assert_eq!((answer.status, answer.text()), (200, said), "{body}");
    for path in ["/a", "/a/b", "/b", "/c?x=1"] {
        let expected = if gone.contains(&path) { "MISS" } else { "HIT" };
        assert_eq!(nginx.get(path).cache(), expected, "{path} after {body}");
    }
}

#[test]
fn purge_by_all_that_the_api_knows() {
    let (_origin, nginx) = start("");
    fill(&nginx);
    purge(&nginx, r#"{"tags": ["a"]}"#, 2, &["/a", "/a/b"]);
    purge(
        &nginx,
        r#"{"tags": ["none", "b", "c?x=1"]}"#,
        3,
        &["/a/b", "/b", "/c?x=1"],
    );
    purge(
        &nginx,
        r#"{"urls": ["http://LOCALHOST/a", "http://localhost:80/c?x=1#f"]}"#,
        2,
        &["/a", "/c?x=1"],
    );
    purge(
        &nginx,
        r#"{"urls": ["https://localhost/a", "http://localhost/c"]}"#,
        0,
        &[],
    );
    purge(
        &nginx,
        r#"{"keys": ["httplocalhost/a", "localhost/b"]}"#,
        1,
        &["/a"],
    );
    purge(
        &nginx,
        r#"{"prefixes": ["httplocalhost/a"]}"#,
        2,
        &["/a", "/a/b"],
    );
    purge(
        &nginx,
        r#"{"prefixes": ["http://localhost/c"]}"#,
        1,
        &["/c?x=1"],
    );
    purge(
        &nginx,
        r#"{"prefixes": ["localhost/"], "tags": []}"#,
        0,
        &[],
    );
    purge(
        &nginx,
        r#"{"tags": ["a"], "keys": ["httplocalhost/a"], "soft": false}"#,
        2,
        &["/a", "/a/b"],
    );
    purge(
        &nginx,
        r#"{"all": true, "tags": ["b"]}"#,
        4,
        &["/a", "/a/b", "/b", "/c?x=1"],
    );
    purge(&nginx, r#"{"all": false}"#, 0, &[]);
    purge(&nginx, "{}", 0, &[]);
}

#[test]
fn purge_softly() {
    let (origin, nginx) = start("");
    fill(&nginx);
    let said = post(&nginx, r#"{"tags": ["b"], "soft": true}"#).text();
    assert_eq!(said, "{\"purged\":2,\"soft\":true,\"zone\":\"main\"}\n");
    nginx.get("/b").is(200, "UPDATING", "/b 0").at_once();
    origin.await_hits("/b", 2);
    nginx.await_status("/b", "HIT").is(200, "HIT", "/b 1");
}

#[test]
fn purge_refuses_what_it_does_not_know() {
    let (_origin, nginx) = start("");
    fill(&nginx);
    for (body, why) in [
        ("", "no JSON"),
        ("{\"all\": tru}", "no JSON"),
        ("[]", "object"),
        ("{\"all\": 1}", "\\\"all\\\" must be true or false"),
        ("{\"all\": true, \"soft\": \"yes\"}", "soft"),
        ("{\"tags\": \"a\"}", "array of strings"),
        ("{\"tags\": [\"a\", 1]}", "array of strings"),
        ("{\"keys\": [\"\"]}", "not empty"),
        (
            "{\"urls\": [\"http://localhost/a\", \"/b\"]}",
            "\\\"/b\\\" is no http or https URL",
        ),
        ("{\"urls\": [\"http:///b\"]}", "URL"),
        (
            "{\"all\": true, \"tag\": [\"a\"]}",
            "unknown member \\\"tag\\\"",
        ),
    ] {
        let answer = post(&nginx, body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(why), "{body}: {}", answer.text());
    }
    let answer = nginx.get("/purge");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    for path in ["/a", "/a/b", "/b", "/c?x=1"] {
        assert_eq!(nginx.get(path).cache(), "HIT", "nothing was purged");
    }
}

/// A body that nginx keeps in a file, and one in several buffers.
#[test]
fn purge_with_a_long_list() {
    let (_origin, nginx) = start("client_body_buffer_size 1k;");
    fill(&nginx);
    let many: Vec<String> = (0..5000).map(|n| format!("\"tag-{n}\"")).collect();
    let body = format!("{{\"tags\": [{}, \"b\"]}}", many.join(", "));
    purge(&nginx, &body, 2, &["/a/b", "/b"]);
}

/// A purge wins over a fetch that began before it.
#[test]
fn purge_wins_over_what_was_asked_for_before() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let tagged = |body: &str| Reply::cached(HOUR, body).header("Cache-Tag", "t");
    origin.script("/x", [tagged("old").hold(&gate), tagged("new")]);
    let nginx = Conf::caching(&origin)
        .workers(2)
        .location("/purge", "swr_cache_purge zone=main;")
        .start();
    let mut first = nginx.client();
    first.send("GET", "/x", &[]);
    origin.await_hits("/x", 1);
    let said = post(&nginx, r#"{"tags": ["t"]}"#).text();
    assert!(said.contains("\"purged\":0"), "{said}");
    gate.open();
    first.receive("GET").is(200, "MISS", "old");
    nginx.get("/x").is(200, "MISS", "new");
    nginx.get("/x").is(200, "HIT", "new");
}

#[test]
fn purge_method() {
    let (_origin, nginx) = start("swr_cache_purge_method PURGE from 127.0.0.0/8 ::1;");
    fill(&nginx);
    let ask = |method: &str, path: &str| nginx.client().request(method, path, &[]);
    let answer = ask("PURGE", "/a");
    assert_eq!(
        answer.text(),
        "{\"purged\":1,\"soft\":false,\"zone\":\"main\"}\n"
    );
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(nginx.get("/a").cache(), "MISS");
    assert_eq!(nginx.get("/a/b").cache(), "HIT");
    assert!(ask("PURGE", "/nothing").text().contains("\"purged\":0"));

    let (_origin, nginx) = start("swr_cache_purge_method PURGE from 10.0.0.0/8;");
    fill(&nginx);
    let answer = nginx.client().request("PURGE", "/a", &[]);
    assert_eq!(answer.status, 403);
    assert_eq!(nginx.get("/a").cache(), "HIT");
}

/// RFC 9875 §3.
#[test]
fn purge_groups_that_a_response_makes_invalid() {
    let origin = Origin::start();
    for path in ["/in", "/out"] {
        origin.handle(path, move |r| {
            let groups = if path == "/in" {
                "\"g\", \"h\""
            } else {
                "\"other\""
            };
            Reply::cached(HOUR, format!("{}", r.nth)).header("Cache-Groups", groups)
        });
    }
    origin.handle("/write", |_| {
        Reply::new(204).header("Cache-Group-Invalidation", "\"h\", \"none\"")
    });
    let nginx = Conf::caching(&origin).start();
    let host = [("Host", "elsewhere.example")];
    for path in ["/in", "/out"] {
        nginx.get(path).is(200, "MISS", "0");
        nginx.get_with(path, &host).is(200, "MISS", "1");
    }
    assert_eq!(
        nginx.get("/in").header("Cache-Groups"),
        Some("\"g\", \"h\"")
    );
    nginx.get("/write");
    nginx.get("/in").is(200, "HIT", "0");
    nginx.client().request("POST", "/write", &[]);
    eventually("the group is purged", || nginx.get("/in").text() == "2");
    nginx.get("/out").is(200, "HIT", "0");
    nginx.get_with("/in", &host).is(200, "HIT", "1");
}

/// A purge of a tag that had no room would find nothing: with that many the response is not stored.
#[test]
fn purge_finds_each_of_many_tags_or_the_response_is_not_stored() {
    let tags = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("{n:04}")).collect();
        all.join(" ")
    };
    let origin = Origin::start();
    for (path, count) in [("/most", 4095), ("/too-many", 4096)] {
        let page = Reply::cached(HOUR, "page");
        origin.on(path, page.header("Surrogate-Key", &tags(count)));
    }
    let buffers = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;";
    let nginx = Conf::caching_with(&origin, buffers)
        .location("/purge", "swr_cache_purge zone=main;")
        .start();
    nginx.get("/most").is(200, "MISS", "page");
    nginx.get("/most").is(200, "HIT", "page");
    for _ in 0..2 {
        let page = nginx.get("/too-many");
        page.is(200, "MISS", "page");
    }
    for tag in ["0000", "4094"] {
        let answer = post(&nginx, &format!("{{\"tags\": [\"{tag}\"]}}"));
        assert!(answer.text().contains("\"purged\":1"), "{answer:?}");
        nginx.get("/most").is(200, "MISS", "page");
    }
}

#[test]
fn purge_configurations_that_are_refused() {
    for (lines, why) in [
        ("swr_cache_purge main;", "zone=NAME"),
        ("swr_cache_purge zone=;", "zone=NAME"),
        ("swr_cache_purge zone=nosuch;", "\"nosuch\""),
        ("swr_cache_purge zone=main zone=main;", "one value"),
        ("swr_cache_purge_method PURGE;", "from"),
        ("swr_cache_purge_method PURGE from;", "from"),
        ("swr_cache_purge_method GET from 127.0.0.1;", "\"GET\""),
        ("swr_cache_purge_method purge from 127.0.0.1;", "\"purge\""),
        ("swr_cache_purge_method PURGE from nowhere;", "\"nowhere\""),
    ] {
        let said = Conf::new().zone().location("/", lines).check();
        let said = said.err().unwrap_or_else(|| panic!("accepted: {lines}"));
        assert!(
            said.contains("[emerg]") && said.contains(why),
            "{lines}: {said}"
        );
    }
}
