//! PHP, the database or WordPress itself is out of service: pages are served as they were, nobody waits, and they are new again soon
//! after it is back.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::site::Site;
use crate::support::eventually;

const PAGES: [&str; 4] = ["/", "/article-1/", "/feed/", "/category/news/"];

#[test]
fn wordpress_pages_outlive_outages() {
    let mut site = Site::start();
    through(
        &mut site,
        "php-fpm is killed",
        |site| site.php.kill(),
        |site| site.php.restart(),
    );
    through(
        &mut site,
        "php-fpm hangs",
        |site| site.php.signal(libc::SIGSTOP),
        |site| site.php.signal(libc::SIGCONT),
    );
    through(
        &mut site,
        "the database is down",
        |site| site.database.kill(),
        |site| site.database.restart(),
    );
    let file = site.root().join(".maintenance");
    through(
        &mut site,
        "maintenance",
        |site| {
            fs::write(&file, "<?php $upgrading = time();").expect("a file");
            let answer = site.get("/never-asked-for/");
            assert_eq!(
                (answer.status, answer.header("Retry-After")),
                (503, Some("600")),
                "{answer:?}"
            );
        },
        |_| fs::remove_file(&file).expect("it is there"),
    );
}

/// Pages that are stored go stale while something `fails`; all are served at once then, and are new again after it was `mended`.
fn through(
    site: &mut Site,
    what: &str,
    fails: impl FnOnce(&mut Site),
    mended: impl FnOnce(&mut Site),
) {
    for path in PAGES {
        eventually(path, || site.get(path).cache() == "HIT");
    }
    fails(site);
    site.expire_all();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        for path in PAGES {
            let page = site.get(path);
            page.at_once();
            assert_eq!(page.status, 200, "{what}, {path}: {page:?}");
            assert!(
                matches!(page.cache(), "UPDATING" | "STALE"),
                "{what}, {path}: {page:?}"
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    mended(site);
    // The pause after a failure is bounded by the configuration, ten seconds, whatever `Retry-After` says.
    for path in PAGES {
        eventually(&format!("{what}: {path} is new again"), || {
            let page = site.get(path);
            page.at_once();
            page.cache() == "HIT"
        });
    }
}
