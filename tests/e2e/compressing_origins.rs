//! Origins that compress by themselves, and vary by `Accept-Encoding`: each variant of a page costs one visible MISS, ever.
//!
//! They disagree on tags: nginx sends `W/"x"` with the compressed 200 and `"x"` with its 304, Apache `"x-gzip"` with both, or (by
//! `DeflateAlterETag`) `"x"` with both, or none at all.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::*;

const CONTROL: &str = "max-age=1, stale-while-revalidate=600";

/// What three kinds of clients accept; the origins have gzip alone.
const ACCEPTED: [&str; 3] = ["gzip", "gzip, br", "identity"];

fn page(number: u64) -> String {
    format!("<p>page {number}, compressed by its origin</p>\n").repeat(200)
}

/// Puts the file there, as old as its number: the tags of files are made of their length and time.
fn publish(path: &Path, number: u64) {
    let new = path.with_extension("new");
    fs::write(&new, page(number)).expect("a file");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + number);
    let file = File::options().write(true).open(&new).expect("the file");
    file.set_modified(at).expect("a time");
    fs::rename(new, path).expect("in its place");
}

fn text_of(got: &Response) -> String {
    let mut text = String::new();
    match got.header("Content-Encoding") {
        Some("gzip") => {
            let mut decoder = flate2::read::GzDecoder::new(&got.body[..]);
            decoder.read_to_string(&mut text).expect("gzip");
            text
        }
        other => {
            assert_eq!(other, None);
            got.text()
        }
    }
}

fn cached(origin: SocketAddr) -> Nginx {
    let lines = format!("swr_cache main; proxy_pass http://{origin};");
    Conf::new().zone().location("/", &lines).start()
}

/// Three kinds of clients ask on and on, while the page expires and changes: who asks after the first answers is never let wait.
fn one_miss_for_each(nginx: &Nginx, file: &Path) {
    publish(file, 0);
    let ask = |accept: &str| nginx.get_with("/page.html", &[("Accept-Encoding", accept)]);
    for accept in ACCEPTED {
        let first = ask(accept);
        assert_eq!((first.cache(), text_of(&first)), ("MISS", page(0)));
        let coding = accept.starts_with("gzip").then_some("gzip");
        assert_eq!(first.header("Content-Encoding"), coding, "{accept}");
    }
    // Twice it expires unchanged, twice changed.
    for number in [0, 0, 1, 2] {
        publish(file, number);
        let mut refreshed = [false; 3];
        let mut is_new = [false; 3];
        eventually("a refresh of each, and the page as it is now", || {
            for (n, accept) in ACCEPTED.into_iter().enumerate() {
                let got = ask(accept);
                assert!(
                    matches!(got.cache(), "HIT" | "UPDATING"),
                    "{accept}: {got:?}"
                );
                refreshed[n] |= got.cache() == "UPDATING";
                is_new[n] = text_of(&got) == page(number);
            }
            std::thread::sleep(Duration::from_millis(30));
            refreshed == [true; 3] && is_new == [true; 3]
        });
    }
    // Each is the response to its own request: none was put in the place of another.
    for accept in ACCEPTED {
        let coding = accept.starts_with("gzip").then_some("gzip");
        assert_eq!(ask(accept).header("Content-Encoding"), coding, "{accept}");
    }
}

#[test]
fn compressing_origin_nginx() {
    let port = free_port();
    let files = Folder::new();
    let nginx = Conf::new()
        .zone()
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://127.0.0.1:{port};"),
        )
        .http(&format!(
            "server {{ listen 127.0.0.1:{port}; root {}; gzip on; gzip_vary on;
                gzip_http_version 1.0; add_header Cache-Control '{CONTROL}'; }}",
            files.0.display()
        ))
        .start();
    one_miss_for_each(&nginx, &files.0.join("page.html"));
    let tag = |accept| {
        let got = nginx.get_with("/page.html", &[("Accept-Encoding", accept)]);
        got.header("ETag").expect("a tag").to_owned()
    };
    assert_eq!(tag("gzip"), format!("W/{}", tag("identity")));
}

#[test]
fn compressing_origin_apache() {
    for alter in ["AddSuffix", "NoChange", "Remove"] {
        let apache = Apache::start(
            &["deflate", "filter", "headers", "mime"],
            &format!(
                "TypesConfig /etc/mime.types\nSetOutputFilter DEFLATE\nDeflateAlterETag {alter}\n\
                 Header set Cache-Control \"{CONTROL}\""
            ),
        );
        let nginx = cached(apache.addr);
        one_miss_for_each(&nginx, &apache.root().join("page.html"));
    }
}
