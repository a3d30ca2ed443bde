//! Zones in files: restart, sudden death, binary upgrade, another instance, and files that are of no use.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::*;

const LONG: &str = "max-age=3600";

fn conf(origin: &Origin, zone: &str) -> Conf {
    Conf::new()
        .http(&format!("swr_cache_zone {zone};"))
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
}

fn pages(origin: &Origin, count: usize) {
    for i in 0..count {
        let body = format!("page {i} ").repeat(1 + i * 7);
        origin.on(&format!("/{i}"), Reply::cached(LONG, body));
    }
}

/// Every page, with its status; the bytes are checked.
fn ask(nginx: &Nginx, count: usize, status: &str) {
    let mut client = nginx.client();
    for i in 0..count {
        let body = format!("page {i} ").repeat(1 + i * 7);
        client.get(&format!("/{i}")).is(200, status, &body);
    }
}

fn began_anew(nginx: &Nginx) {
    let log = nginx.error_log();
    assert!(log.contains("created the file "), "{log}");
}

#[test]
fn persist_over_restarts() {
    let origin = Origin::start();
    pages(&origin, 100);
    let conf = conf(&origin, "zone=main:16m file=zone.swr").workers(2);
    let nginx = conf.start();
    began_anew(&nginx);
    ask(&nginx, 100, "MISS");
    let nginx = nginx.restart(&conf);
    ask(&nginx, 100, "HIT");
    let nginx = nginx.restart(&conf);
    ask(&nginx, 100, "HIT");
    let log = nginx.log();
    assert!(log.contains("restored 100 entries from the file"), "{log}");
    assert!(!log.contains("not closed cleanly"), "{log}");
    assert_eq!(origin.hits("/7"), 1);
}

#[test]
fn persist_over_the_sudden_death_of_all() {
    let origin = Origin::start();
    pages(&origin, 100);
    let gate = Gate::closed();
    origin.on(
        "/half",
        Reply::cached(LONG, "x".repeat(50_000)).hold_body(20_000, &gate),
    );
    let conf = conf(&origin, "zone=main:16m file=zone.swr")
        .workers(2)
        .allow("exited on signal 9");
    let nginx = conf.start();
    ask(&nginx, 100, "MISS");
    let mut client = nginx.client();
    client.send("GET", "/half", &[]);
    client.receive_head();
    let nginx = nginx.kill_and_restart(&conf);
    gate.open();
    ask(&nginx, 100, "HIT");
    let whole = "x".repeat(50_000);
    nginx.get("/half").is(200, "MISS", &whole);
    nginx.get("/half").is(200, "HIT", &whole);
    let log = nginx.log();
    assert!(log.contains("which was not closed cleanly"), "{log}");
}

#[test]
fn persist_over_a_binary_upgrade() {
    let origin = Origin::start();
    pages(&origin, 50);
    let gate = Gate::closed();
    origin.on("/slow", Reply::cached(LONG, "slow").hold(&gate));
    let conf = conf(&origin, "zone=main:16m file=zone.swr")
        .workers(2)
        .daemon();
    let mut nginx = conf.start();
    ask(&nginx, 50, "MISS");
    let mut client = nginx.client();
    client.send("GET", "/slow", &[]);
    origin.await_hits("/slow", 1);
    nginx.upgrade(|nginx| {
        // Old and new workers take the connections in turn, and share what they have.
        for _ in 0..4 {
            ask(nginx, 50, "HIT");
        }
        // One that waits for what a worker of the other binary fetches.
        let mut other = nginx.client();
        other.send("GET", "/slow", &[]);
        gate.open();
        assert_eq!(other.receive("GET").text(), "slow");
    });
    assert_eq!(client.receive("GET").text(), "slow");
    ask(&nginx, 50, "HIT");
    nginx.get("/slow").is(200, "HIT", "slow");
    assert_eq!(origin.hits("/slow"), 1);
    assert!(
        nginx.error_log().contains("attached to the file"),
        "{}",
        nginx.log()
    );
    let nginx = nginx.restart(&conf);
    ask(&nginx, 50, "HIT");
}

#[test]
fn persist_leaves_a_file_in_use_alone() {
    let origin = Origin::start();
    pages(&origin, 10);
    let first = conf(&origin, "zone=main:16m file=zone.swr").start();
    ask(&first, 10, "MISS");
    let file = first.dir().join("zone.swr");
    let second = conf(&origin, &format!("zone=main:16m file={}", file.display())).start();
    let log = second.error_log();
    assert!(log.contains("it is in use by another instance"), "{log}");
    ask(&second, 10, "MISS");
    ask(&second, 10, "HIT");
    ask(&first, 10, "HIT");
    // A check of the configuration does not touch it either.
    conf(&origin, &format!("zone=main:24m file={}", file.display()))
        .check()
        .expect("fine");
    ask(&first, 10, "HIT");
}

#[test]
fn persist_replaces_an_unusable_file() {
    let origin = Origin::start();
    pages(&origin, 10);
    let conf = conf(&origin, "zone=main:16m file=zone.swr");
    let mut nginx = conf.start();
    for (what, damage) in [
        (
            "its size is now 16777216",
            (|bytes| bytes.truncate(1 << 20)) as fn(&mut Vec<u8>),
        ),
        ("layout version 200", |bytes| bytes[8] = 200),
        ("the zone is damaged", |bytes| {
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
        }),
        ("the zone is damaged", |bytes| {
            let end = bytes.len() / 16;
            bytes[end / 2..].fill(0x55);
        }),
    ] {
        ask(&nginx, 10, "MISS");
        let file = nginx.dir().join("zone.swr");
        nginx = nginx.restart_after(&conf, || {
            let mut bytes = fs::read(&file).expect("the file");
            damage(&mut bytes);
            fs::write(&file, &bytes).expect("written");
        });
        let log = nginx.error_log();
        assert!(
            log.contains(what) && log.contains("replaced the unusable file"),
            "{what}: {log}"
        );
        ask(&nginx, 10, "MISS");
        ask(&nginx, 10, "HIT");
        nginx = nginx.restart(&conf);
        ask(&nginx, 10, "HIT");
        nginx = nginx.restart_after(&conf, || fs::remove_file(&file).expect("removed"));
    }
}

/// Bytes of responses are changed in the file: those are fetched again, and the others are still there.
#[test]
fn persist_serves_no_damaged_response() {
    let origin = Origin::start();
    pages(&origin, 30);
    let conf = conf(&origin, "zone=main:16m file=zone.swr");
    let nginx = conf.start();
    ask(&nginx, 30, "MISS");
    let file = nginx.dir().join("zone.swr");
    let nginx = nginx.restart_after(&conf, || {
        let mut bytes = fs::read(&file).expect("the file");
        for i in (0..30).step_by(3) {
            let text = format!("page {i} ").repeat(1 + i * 7);
            let mut found = bytes.windows(text.len());
            let at = found.rposition(|w| w == text.as_bytes());
            bytes[at.expect("the page") + text.len() / 2] ^= 1;
        }
        fs::write(&file, &bytes).expect("written");
    });
    let mut client = nginx.client();
    for i in 0..30 {
        let body = format!("page {i} ").repeat(1 + i * 7);
        let status = if i % 3 == 0 { "MISS" } else { "HIT" };
        client.get(&format!("/{i}")).is(200, status, &body);
    }
    ask(&nginx, 30, "HIT");
}

/// nginx was killed while it made the file.
#[test]
fn persist_after_a_death_in_the_making() {
    let origin = Origin::start();
    pages(&origin, 10);
    let conf = conf(&origin, "zone=main:16m file=zone.swr");
    let nginx = conf.start();
    let file = nginx.dir().join("zone.swr");
    let nginx = nginx.restart_after(&conf, || {
        let mut half = fs::read(&file).expect("the file");
        fs::remove_file(&file).expect("removed");
        half.truncate(5 << 20);
        fs::write(file.with_extension("swr.new"), half).expect("written");
    });
    began_anew(&nginx);
    ask(&nginx, 10, "MISS");
    let nginx = nginx.restart(&conf);
    ask(&nginx, 10, "HIT");
    assert!(!file.with_extension("swr.new").exists());
}

#[test]
fn persist_leaves_a_foreign_file_alone() {
    let origin = Origin::start();
    pages(&origin, 3);
    let folder = Folder::new();
    let file = folder.0.join("work.txt");
    fs::write(&file, "somebody's work").expect("written");
    let nginx = conf(&origin, &format!("zone=main:16m file={}", file.display())).start();
    assert!(
        nginx.error_log().contains("holds no cache zone"),
        "{}",
        nginx.log()
    );
    ask(&nginx, 3, "MISS");
    ask(&nginx, 3, "HIT");
    assert_eq!(fs::read_to_string(&file).expect("there"), "somebody's work");
}

#[test]
fn persist_wrong_files_fail_the_check() {
    let origin = Origin::start();
    let no_folder = conf(&origin, "zone=main:16m file=/no/such/folder/zone").check();
    assert!(no_folder.is_err_and(|e| e.contains("does not exist")));
    let twice = conf(
        &origin,
        "zone=main:16m file=a; swr_cache_zone zone=b:16m file=a",
    )
    .check();
    assert!(twice.is_err_and(|e| e.contains("the file of the zone \"main\"")));
    assert!(conf(&origin, "zone=main:16m file=").check().is_err());
}

/// A zone can't lie in what is there under its name: a directory, a FIFO, a link.
#[test]
fn persist_what_is_no_file_fails_the_check() {
    let origin = Origin::start();
    let folder = Folder::new();
    let at = |name: &str| folder.0.join(name);
    fs::create_dir(at("directory")).expect("a directory");
    let fifo = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(fifo.expect("mkfifo runs").success());
    std::os::unix::fs::symlink("elsewhere", at("link")).expect("a link");
    for name in ["directory", "directory/", "fifo", "link"] {
        let zone = format!("zone=main:16m file={}", at(name).display());
        let said = conf(&origin, &zone).check().expect_err(name);
        assert!(said.contains("is not a regular file"), "{name}: {said}");
    }
}

#[test]
fn persist_over_reloads() {
    let origin = Origin::start();
    pages(&origin, 20);
    let first = conf(&origin, "zone=main:16m file=zone.swr");
    let nginx = first.start();
    ask(&nginx, 20, "MISS");
    nginx.reload();
    ask(&nginx, 20, "HIT");
    nginx.rewrite(&conf(&origin, "zone=main:24m file=zone.swr"));
    nginx.reload();
    ask(&nginx, 20, "MISS");
    let log = nginx.log();
    assert!(
        log.contains("its size has changed from 16777216 to 25165824 bytes"),
        "{log}"
    );
    nginx.rewrite(&conf(&origin, "zone=main:24m file=other.swr"));
    nginx.reload();
    ask(&nginx, 20, "MISS");
    assert!(nginx.log().contains("its file has changed"));
    nginx.rewrite(&conf(&origin, "zone=main:24m"));
    nginx.reload();
    ask(&nginx, 20, "MISS");
    // What is no longer used is not held: another may have it.
    let other = nginx.dir().join("other.swr");
    let second = conf(&origin, &format!("zone=main:24m file={}", other.display())).start();
    ask(&second, 20, "HIT");
}

/// A full cache serves within a second of nginx's start, whether it had ended well or was killed.
/// `SWRCACHE_RESTART_ENTRIES` says how many entries it has; `make test-chaos` wants 200,000, in 1 GiB.
#[test]
fn persist_first_hit_within_a_second() {
    let entries: usize =
        std::env::var("SWRCACHE_RESTART_ENTRIES").map_or(5_000, |n| n.parse().expect("a number"));
    // What 200,000 have in 1 GiB, and room for the fixed parts.
    let size = (entries << 30) / 200_000 + (1 << 20);
    let pages = free_port();
    let page = "page ".repeat(780);
    let conf = Conf::new()
        .http(&format!(
            "swr_cache_zone zone=main:{size} file=zone.swr; keepalive_requests {entries}; \
             upstream pages {{ server 127.0.0.1:{pages}; keepalive 8; }} \
             server {{ listen 127.0.0.1:{pages}; \
             location / {{ add_header Cache-Control max-age=86400; return 200 '{page}'; }} }}"
        ))
        .location(
            "/",
            "swr_cache main; proxy_pass http://pages; proxy_http_version 1.1; proxy_set_header Connection '';",
        );
    let mut nginx = conf.start();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (mut client, page) = (nginx.client(), &page);
            scope.spawn(move || {
                for i in (first..entries).step_by(4) {
                    client.get(&format!("/{i}")).is(200, "MISS", page);
                }
            });
        }
    });
    for ended_well in [true, false] {
        // The best of three: others may want the processors, too.
        let mut least = Duration::MAX;
        for _ in 0..3 {
            let mut began = Instant::now();
            nginx = if ended_well {
                nginx.restart_after(&conf, || began = Instant::now())
            } else {
                nginx.kill_and_restart_after(&conf, || began = Instant::now())
            };
            nginx
                .get(&format!("/{}", entries / 2))
                .is(200, "HIT", &page);
            least = least.min(began.elapsed());
        }
        println!("ended well: {ended_well}; the first hit came after {least:?}");
        assert!(least < Duration::from_secs(1), "{least:?}");
        let log = nginx.log();
        let taken = format!("restored {entries} entries from the file");
        assert!(log.contains(&taken), "{log}");
        assert_eq!(log.contains("not closed cleanly"), !ended_well, "{log}");
    }
}
