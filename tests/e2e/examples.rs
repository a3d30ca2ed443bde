//! Each file of nginx-conf/ does what its comments say; and so does the demo.

use std::process::Command;

use crate::support::*;

const APP: &str = "127.0.0.1:3000";

fn example(name: &str, origin: &Origin) -> Nginx {
    Conf::example(name, &[(APP, &origin.addr.to_string())]).start()
}

#[test]
fn example_minimal() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";
    origin.script(
        "/",
        [
            Reply::aged(100, control, "old"),
            Reply::cached(control, "new"),
        ],
    );
    let nginx = example("minimal.conf", &origin);
    nginx.get("/").is(200, "MISS", "old");
    nginx.get("/").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    origin.stop();
    nginx.get("/").is(200, "HIT", "new");
}

#[test]
fn example_news_site() {
    let origin = Origin::start();
    origin.script(
        "/",
        [
            Reply::cached("no-cache", "old").header("Age", "90"),
            Reply::cached("no-cache", "new"),
        ],
    );
    origin.on("/ahead", Reply::ok("x").header("Age", "55"));
    let gate = Gate::closed();
    origin.script(
        "/late",
        [
            Reply::ok("old").header("Age", "1000"),
            Reply::ok("new").hold(&gate),
        ],
    );
    let nginx = example("news-site.conf", &origin);
    nginx.get("/?utm_source=a").is(200, "MISS", "old");
    nginx.get("/?utm_source=b").is(200, "UPDATING", "old");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    nginx
        .get_with("/", &[("Cookie", "editor=1")])
        .is(200, "BYPASS", "new");

    nginx.get("/ahead");
    nginx.get("/ahead").is(200, "HIT", "x");
    origin.await_hits("/ahead", 2);

    nginx.get("/late").is(200, "MISS", "old");
    nginx.get("/late").is(200, "STALE", "old");
    gate.open();
    eventually("the late page", || nginx.get("/late").text() == "new");
}

#[test]
fn example_api() {
    let origin = Origin::start();
    origin.handle("/api/items", |r| {
        let language = r.header("Accept-Language").unwrap_or_default().to_owned();
        Reply::cached("private, no-store", language)
            .header("CDN-Cache-Control", "max-age=60, stale-if-error=600")
            .header("Vary", "Accept-Language")
            .header("ETag", "\"1\"")
    });
    let nginx = example("api.conf", &origin);
    let ask = |language| nginx.get_with("/api/items", &[("Accept-Language", language)]);
    let status = |r: Response| r.header("Cache-Status").unwrap_or_default().to_owned();
    assert!(status(ask("de-CH, de;q=0.9")).contains("fwd=uri-miss"));
    assert!(status(ask("de")).contains("hit"));
    let french = status(ask("fr"));
    assert!(french.contains("fwd=vary-miss"), "{french}");
    assert_eq!(
        nginx
            .get_with(
                "/api/items",
                &[("Accept-Language", "de"), ("If-None-Match", "\"1\"")]
            )
            .status,
        304
    );
    assert_eq!(
        nginx
            .get_with("/api/none", &[("Cache-Control", "only-if-cached")])
            .status,
        504
    );
    assert_eq!(origin.hits("/api/items"), 2);
}

#[test]
fn example_wordpress_fastcgi() {
    let php = PhpFpm::start("<?php echo uniqid('page ', true);");
    let root = php.root().display().to_string();
    let socket = php.socket().display().to_string();
    let changes = [
        ("/var/www/wordpress", &*root),
        ("/run/php/php-fpm.sock", &*socket),
    ];
    let nginx = Conf::example("wordpress-fastcgi.conf", &changes).start();
    let page = nginx.get("/hello-world/?p=1");
    assert_eq!((page.status, page.cache()), (200, "MISS"), "{page:?}");
    nginx.get("/hello-world/?p=1").is(200, "HIT", &page.text());
    let own = nginx.get_with(
        "/hello-world/?p=1",
        &[("Cookie", "wordpress_logged_in_x=me")],
    );
    assert_eq!(own.cache(), "BYPASS");
    assert_ne!(own.text(), page.text());
    nginx.get("/hello-world/?p=1").is(200, "HIT", &page.text());
    drop(php);
    nginx.get("/hello-world/?p=1").is(200, "HIT", &page.text());
}

#[test]
fn example_static() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("site.css"), "a { color: red }".repeat(100)).expect("a file");
    let root = folder.0.display().to_string();
    let nginx = Conf::example("static.conf", &[("/srv/www", &root)]).start();
    let statuses: Vec<_> = (0..3)
        .map(|n| nginx.get(&format!("/site.css?v={n}")).cache().to_owned())
        .collect();
    assert_eq!(statuses, ["MISS", "MISS", "HIT"]);
    let zipped = nginx.get_with("/site.css", &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (zipped.cache(), zipped.header("Content-Encoding")),
        ("HIT", Some("gzip"))
    );
    assert_eq!(zipped.header("Content-Type"), Some("text/css"));
}

#[test]
fn example_legacy_mode() {
    let origin = Origin::start();
    let control = "max-age=60, stale-while-revalidate=600, stale-if-error=600";
    for path in ["/", "/prices/1"] {
        origin.script(
            path,
            [
                Reply::aged(100, control, "old").header("ETag", "\"1\""),
                Reply::aged(100, control, "new").header("ETag", "\"2\""),
                Reply::new(503),
            ],
        );
    }
    let nginx = example("legacy-mode.conf", &origin);
    for path in ["/", "/prices/1"] {
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "EXPIRED", "new");
    }
    nginx.get("/").is(200, "STALE", "new");
    assert_eq!(nginx.get("/prices/1").status, 503);
}

/// No configuration is forgotten here.
#[test]
fn example_files_are_all_tested() {
    let here = concat!(include_str!("examples.rs"), include_str!("tiers.rs"));
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx-conf")).expect("the examples")
    {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        if !name.ends_with(".conf") {
            continue;
        }
        assert!(here.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

/// The demo checks itself: it fails when what it shows is not so.
#[test]
fn example_demo() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo.sh");
    let output = Command::new(script)
        .env("SWR_BUILD", build())
        .output()
        .expect("the demo runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("All as it should be."),
        "{shown}"
    );
}
