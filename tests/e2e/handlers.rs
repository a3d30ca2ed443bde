//! Every content handler, behind the same cache.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=300, stale-if-error=86400";

/// MISS, then UPDATING at once, then HIT with the new one.
#[track_caller]
fn cycle(nginx: &Nginx, path: &str) {
    let old = nginx.get(path);
    assert_eq!((old.status, old.cache()), (200, "MISS"), "{old:?}");
    nginx.get(path).is(200, "UPDATING", &old.text());
    let new = nginx.await_status(path, "HIT");
    assert_ne!(new.text(), old.text());
    nginx.get(path).is(200, "HIT", &new.text());
}

/// Old first, new ever after.
fn two_takes(origin: &Origin, path: &str) {
    origin.expired(path, WINDOWS, Reply::cached(WINDOWS, "new"));
}

#[test]
fn handler_proxy_https() {
    let folder = Folder::new();
    let origin = Origin::start_tls(&Identity::in_dir(&folder.0));
    two_takes(&origin, "/");
    let nginx = Conf::new()
        .zone()
        .location(
            "/",
            &format!("swr_cache main; proxy_pass https://{};", origin.addr),
        )
        .start();
    cycle(&nginx, "/");
    assert_eq!(origin.hits("/"), 2);
}

#[test]
fn handler_proxy_keepalive_upstream() {
    let origin = Origin::start();
    two_takes(&origin, "/");
    let nginx = Conf::new()
        .zone()
        .http(&format!("upstream app {{ server {}; keepalive 8; }}", origin.addr))
        .location("/", "swr_cache main; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app;")
        .start();
    cycle(&nginx, "/");
}

/// The second server of an upstream takes over, for a refresh as for a miss.
#[test]
fn handler_proxy_next_upstream() {
    let (one, two) = (Origin::start(), Origin::start());
    two_takes(&two, "/");
    one.stop();
    let nginx = Conf::new()
        .zone()
        .http(&format!(
            "upstream app {{ server {}; server {}; }}",
            one.addr, two.addr
        ))
        .location("/", "swr_cache main; proxy_pass http://app;")
        .start();
    cycle(&nginx, "/");
}

#[test]
fn handler_proxy_unbuffered() {
    let origin = Origin::start();
    two_takes(&origin, "/");
    origin.on("/no-store", Reply::cached("no-store", "x".repeat(500_000)));
    let nginx = Conf::caching_with(&origin, "proxy_buffering off;").start();
    cycle(&nginx, "/");
    nginx.get("/no-store").is(200, "MISS", &"x".repeat(500_000));
}

#[test]
fn handler_fastcgi_php_fpm() {
    let php = PhpFpm::start(&format!(
        "<?php header('Cache-Control: {WINDOWS}'); if (isset($_GET['old'])) header('Age: 100'); \
         header('X-Powered: yes'); echo uniqid('', true), $_SERVER['REQUEST_URI'];"
    ));
    let parameters = "fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri; \
                      fastcgi_param QUERY_STRING $query_string;";
    let lines = format!(
        "swr_cache main; {parameters} fastcgi_param SCRIPT_FILENAME {}/index.php; fastcgi_pass unix:{};",
        php.root().display(),
        php.socket().display()
    );
    let nginx = Conf::new()
        .zone()
        .location("/", &lines)
        .allow("connect() to unix:")
        .start();
    let first = nginx.get("/a");
    assert_eq!(
        (first.status, first.cache(), first.header("X-Powered")),
        (200, "MISS", Some("yes")),
        "{first:?}"
    );
    nginx.get("/a").is(200, "HIT", &first.text());

    let old = nginx.get("/b?old=1");
    nginx.get("/b?old=1").is(200, "UPDATING", &old.text());
    eventually("the refresh", || nginx.get("/b?old=1").text() != old.text());

    drop(php);
    nginx.get("/a").is(200, "HIT", &first.text());
    // A refresh fails now; which of these requests sees that is chance.
    let (stale, again) = (nginx.get("/b?old=1"), nginx.get("/b?old=1"));
    assert!(["UPDATING", "STALE"].contains(&stale.cache()), "{stale:?}");
    assert_eq!((stale.status, stale.text()), (200, again.text()));
    assert_eq!(nginx.get("/c").status, 502);
}

#[test]
fn handler_scgi() {
    let origin = Origin::start_scgi();
    two_takes(&origin, "/");
    let lines = "swr_cache main; scgi_param REQUEST_METHOD $request_method; scgi_param REQUEST_URI $request_uri; \
                 scgi_param CONTENT_LENGTH $content_length;";
    let nginx = Conf::new()
        .zone()
        .location("/", &format!("{lines} scgi_pass {};", origin.addr))
        .start();
    cycle(&nginx, "/");
}

#[test]
fn handler_uwsgi() {
    let origin = Origin::start_uwsgi();
    two_takes(&origin, "/");
    let lines = "swr_cache main; uwsgi_param REQUEST_METHOD $request_method; uwsgi_param REQUEST_URI $request_uri;";
    let nginx = Conf::new()
        .zone()
        .location("/", &format!("{lines} uwsgi_pass {};", origin.addr))
        .start();
    cycle(&nginx, "/");
}

/// A gRPC upstream is any HTTP/2 server: here another server of the same nginx.
#[test]
fn handler_grpc() {
    let port = free_port();
    let other = format!(
        "server {{ listen 127.0.0.1:{port} http2; location / {{ default_type text/plain; \
         add_header Cache-Control 'max-age=60'; return 200 $request_id; }} }}"
    );
    let nginx = Conf::new()
        .zone()
        .http(&other)
        .location(
            "/",
            &format!("swr_cache main; grpc_pass grpc://127.0.0.1:{port};"),
        )
        .start();
    let first = nginx.get("/");
    assert_eq!((first.status, first.cache()), (200, "MISS"), "{first:?}");
    nginx.get("/").is(200, "HIT", &first.text());
}

/// memcached knows no freshness: `swr_cache_valid` gives it.
#[test]
fn handler_memcached() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = server.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let mut wire = BufReader::new(stream);
            let mut line = String::new();
            if wire.read_line(&mut line).is_ok_and(|n| n > 0) {
                let key = line.trim().trim_start_matches("get ").to_owned();
                let _ = wire
                    .get_mut()
                    .write_all(format!("VALUE {key} 0 5\r\nvalue\r\nEND\r\n").as_bytes());
            }
        }
    });
    let lines = format!(
        "swr_cache main; swr_cache_valid 1m; set $memcached_key $uri; memcached_pass {addr};"
    );
    let nginx = Conf::new().zone().location("/", &lines).start();
    nginx.get("/k").is(200, "MISS", "value");
    nginx.get("/k").is(200, "HIT", "value");
}

#[test]
fn handler_static_files() {
    let folder = Folder::new();
    let file = folder.0.join("page.txt");
    std::fs::write(&file, "on disk").expect("a file");
    let lines = format!(
        "swr_cache main; swr_cache_valid 1m; root {};",
        folder.0.display()
    );
    let nginx = Conf::new().zone().location("/", &lines).start();
    let miss = nginx.get("/page.txt");
    miss.is(200, "MISS", "on disk");
    std::fs::write(&file, "changed on disk").expect("a change");
    let hit = nginx.get("/page.txt");
    hit.is(200, "HIT", "on disk");
    assert_eq!(hit.header("Last-Modified"), miss.header("Last-Modified"));
    assert_eq!(hit.header("ETag"), miss.header("ETag"));
    assert_eq!(
        nginx
            .get_with("/page.txt", &[("Range", "bytes=3-6")])
            .text(),
        "disk"
    );
}

#[test]
fn handler_large_static_file() {
    let folder = Folder::new();
    let body: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 253) as u8).collect();
    std::fs::write(folder.0.join("big.bin"), &body).expect("a file");
    let lines = format!(
        "swr_cache main; swr_cache_valid 1m; root {};",
        folder.0.display()
    );
    let nginx = Conf::new()
        .zone()
        .http("sendfile on;")
        .location("/", &lines)
        .start();
    for status in ["MISS", "HIT"] {
        let response = nginx.get("/big.bin");
        assert_eq!((response.status, response.cache()), (200, status));
        assert!(response.body == body, "other bytes");
    }
}

#[test]
fn handler_return_is_left_alone_or_cached_but_never_broken() {
    let nginx = Conf::new()
        .zone()
        .location("/", "swr_cache main; return 200 said;")
        .start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").text(), "said");
    }
}
