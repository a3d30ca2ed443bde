//! Workers that are killed one after another, and stopped, under load: no wrong byte, no key that is stuck, the memory
//! back where it was, and the others go on.
//!
//! `SWRCACHE_WORKER_KILLS` says how many deaths; `make test-chaos` wants hundreds.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use swrcache::store::Region;

use crate::support::*;

const KEYS: usize = 60;

/// A body whose every byte tells its key and its version.
fn body(key: usize, version: usize) -> Vec<u8> {
    let line = format!("{key}/{version};");
    let lines = match key % 5 {
        0 => 20_000 / line.len() * (1 + key % 3),
        n => n * 50,
    };
    line.repeat(lines).into_bytes()
}

/// The version that the first line tells.
fn told(key: usize, bytes: &[u8]) -> Option<usize> {
    let (line, _) = std::str::from_utf8(bytes).ok()?.split_once(';')?;
    line.strip_prefix(&format!("{key}/"))?.parse().ok()
}

/// The version, if every byte is of that version of that key.
fn version(key: usize, bytes: &[u8]) -> Option<usize> {
    told(key, bytes).filter(|version| bytes == body(key, *version))
}

/// Whether these are the first bytes of some version of that key.
fn is_beginning(key: usize, bytes: &[u8]) -> bool {
    let starts = |version| body(key, version).starts_with(bytes);
    told(key, bytes).map_or(bytes.len() < 20 && !bytes.contains(&b';'), starts)
}

fn origin() -> Origin {
    let origin = Origin::start();
    for key in 0..KEYS {
        let versions = AtomicUsize::new(0);
        origin.handle(&format!("/{key}"), move |_| {
            let body = body(key, versions.fetch_add(1, Ordering::Relaxed));
            // Some are fresh for a while, some are born stale, some are sent in pieces.
            let reply = match key % 4 {
                0 => Reply::cached("max-age=1, stale-while-revalidate=60", body),
                1 => Reply::aged(100, "max-age=60, stale-while-revalidate=600", body),
                2 => Reply::cached("max-age=600", body).chunked(),
                _ => Reply::cached("max-age=600", body),
            };
            reply.header("Cache-Tag", "x")
        });
    }
    origin
}

/// Asks for anything until told to stop; the number of whole answers. A connection may break where its worker died.
fn visit(nginx: &Nginx, stop: &AtomicBool, seed: usize) -> usize {
    let (mut whole, mut i) = (0, seed);
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = nginx.try_client() else {
            continue;
        };
        for _ in 0..20 {
            i = i
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = (i >> 33) % KEYS;
            if client.try_send("GET", &format!("/{key}")).is_err() {
                break;
            }
            let Some(response) = client.try_receive("GET") else {
                break;
            };
            assert_eq!(response.status, 200, "{response:?}");
            if response.broken.is_some() {
                assert!(is_beginning(key, &response.body), "{response:?}");
                break;
            }
            assert!(
                version(key, &response.body).is_some(),
                "wrong bytes for {key}: {:?}...",
                String::from_utf8_lossy(&response.body[..response.body.len().min(100)])
            );
            whole += 1;
        }
    }
    whole
}

fn kills() -> usize {
    std::env::var("SWRCACHE_WORKER_KILLS").map_or(12, |n| n.parse().expect("a number"))
}

fn workers_die(zone: &str) {
    let origin = origin();
    let nginx = Conf::new()
        .http(&format!("swr_cache_zone zone=main:{zone} file=zone.swr;"))
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .workers(3)
        .allow("exited on signal 9")
        .start();
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let whole: usize = std::thread::scope(|scope| {
        let (nginx, stop) = (&nginx, &stop);
        let visitors: Vec<_> = (0..4)
            .map(|seed| scope.spawn(move || visit(nginx, stop, seed)))
            .collect();
        for i in 0..kills() {
            std::thread::sleep(Duration::from_millis(20 + (i as u64 * 37) % 150));
            nginx.kill_worker();
        }
        stop.store(true, Ordering::Relaxed);
        visitors
            .into_iter()
            .map(|v| v.join().expect("a visitor"))
            .sum()
    });
    println!(
        "{} deaths, {whole} whole answers in {:?}",
        kills(),
        began.elapsed()
    );
    assert!(whole > kills());
    // No key is stuck: each is served at once, and those that are refreshed get a new version.
    for key in 0..KEYS {
        let path = format!("/{key}");
        let asked = Instant::now();
        let response = nginx.get(&path);
        assert!(version(key, &response.body).is_some());
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{path}: {:?}",
            asked.elapsed()
        );
        if key % 4 == 1 {
            let before = origin.hits(&path);
            eventually("a refresh", || {
                nginx.get(&path);
                origin.hits(&path) > before
            });
        }
    }
    give_back_everything(&nginx.dir().join("zone.swr"));
}

/// Joins the region of the nginx that still runs: it is whole, nothing is held, and every byte can be had back.
fn give_back_everything(file: &Path) {
    let region = join(file);
    region.enter(None).expect("a place in the zone");
    let settled = || {
        region.reap();
        region
            .validate()
            .is_ok_and(|s| (s.pins, s.claims, s.growing, s.limbo, s.held_locks) == (0, 0, 0, 0, 0))
    };
    eventually("nothing is held any more", settled);
    let stats = region.stats();
    println!("{stats:?}");
    region.sweep(u64::MAX / 2, u32::MAX);
    region.sweep(u64::MAX / 2, u32::MAX);
    let s = region.validate().expect("valid");
    assert_eq!((s.objects, s.used, s.holes), (0, 0, 1), "{s:?}");
    assert_eq!(region.stats().payload, 0);
    region.leave();
}

/// The region of an nginx that runs.
pub(crate) fn join(file: &Path) -> Region {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .expect("the zone");
    let len = file.metadata().expect("a file").len() as usize;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, which stays until this process ends.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            prot,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: mapped, as above, and used by regions only.
    unsafe { Region::attach(NonNull::new(base.cast()).expect("mapped"), len) }.expect("a region")
}

#[test]
fn chaos_workers_killed_under_load() {
    workers_die("24m");
}

/// With a zone that is too small for what is asked, each fill evicts.
#[test]
fn chaos_workers_killed_in_a_small_zone() {
    workers_die("512k max_object=128k");
}

/// A worker that is stopped for seconds holds up nobody but its own clients.
#[test]
fn chaos_a_stopped_worker_holds_up_nobody() {
    let origin = origin();
    let nginx = Conf::caching(&origin).workers(3).start();
    for key in 0..KEYS {
        nginx.get(&format!("/{key}"));
    }
    for victim in nginx.workers() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (nginx, stop) = (&nginx, &stop);
            // Connections that the stopped one has taken wait for it; those of the others go on.
            let visitors: Vec<_> = (0..6)
                .map(|seed| scope.spawn(move || visit(nginx, stop, seed)))
                .collect();
            std::thread::sleep(Duration::from_millis(100));
            nginx.stop(victim);
            let until = Instant::now() + Duration::from_secs(2);
            let mut served = 0;
            while Instant::now() < until {
                // The kernel may hand a connection to the stopped worker; only it may wait.
                if let Some(response) = nginx.impatient(&format!("/{}", served % KEYS)) {
                    assert!(version(served % KEYS, &response.body).is_some());
                    served += 1;
                }
            }
            nginx.go_on(victim);
            stop.store(true, Ordering::Relaxed);
            assert!(
                served > 50,
                "only {served} were served while one worker stood still"
            );
            visitors
                .into_iter()
                .for_each(|v| assert!(v.join().expect("a visitor") > 0));
        });
    }
}
