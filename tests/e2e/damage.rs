//! Memory of a zone that something has written over: no wrong byte, a line in the log, and a reload heals it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::purge::post;
use crate::support::*;

const TOLD: &str = "its memory is damaged";
const SIZE: u64 = 8 << 20;
/// What a part of a zone is that holds its fixed parts, and more.
const FIRST: u64 = SIZE / 16;

/// Everything in a region of [`SIZE`] but for its first part.
fn write_over(memory: &File, start: u64) {
    let noise = vec![0xff; 1 << 16];
    for at in (start + FIRST..start + SIZE - FIRST).step_by(noise.len()) {
        memory.write_all_at(&noise, at).expect("written");
    }
}

/// Where a worker has mapped its zone, which is the largest memory that it shares.
fn zone_of(worker: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{worker}/maps")).expect("maps");
    let shared = maps.lines().filter(|line| line.contains(" rw-s "));
    let ranges = shared.filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(to)? - number(from)?, number(from)?))
    });
    let (size, from) = ranges.max().expect("a shared mapping");
    assert!(size >= SIZE, "{maps}");
    from
}

fn damaged(parameter: &str, damage: impl FnOnce(&Nginx)) {
    let origin = Origin::start();
    let page = "page ".repeat(5000);
    origin.on("/", Reply::cached("max-age=3600", page.clone()));
    origin.on(
        "/first",
        Reply::cached("max-age=3600", "x".repeat(FIRST as usize)),
    );
    let conf = Conf::new()
        .http(&format!("swr_cache_zone zone=main:{SIZE}{parameter};"))
        .location(
            "/",
            &format!(
                "swr_cache main; swr_cache_purge_method PURGE from 127.0.0.1; proxy_pass http://{};",
                origin.addr
            ),
        )
        .location("/purge", "swr_cache_purge zone=main;");
    let nginx = conf
        .workers(2)
        .allow(TOLD)
        .allow("exited on signal 9")
        .start();
    assert_eq!(nginx.get("/first").status, 200);
    nginx.get("/").is(200, "MISS", &page);
    nginx.get("/").is(200, "HIT", &page);
    damage(&nginx);
    eventually("the damage is told of", || {
        assert_eq!(nginx.get("/").text(), page);
        nginx.error_log().contains(TOLD)
    });
    let refused = nginx.client().request("PURGE", "/", &[]);
    assert_eq!(
        (refused.status, refused.header("X-Reason")),
        (503, Some("purge-failed"))
    );
    // Its key under the other scheme is the other one.
    let line = "the purge of \"http://localhost/\" and 1 more in zone \"main\" failed";
    assert!(nginx.error_log().contains(line), "{}", nginx.error_log());
    let by_api = |body| post(&nginx, body);
    let by_path = |path| nginx.get(path);
    for (refused, about) in [
        (by_api(r#"{"tags": ["news"], "soft": true}"#), "\"news\""),
        (by_api(r#"{"all": true}"#), "everything"),
        (by_path("/purge/a"), "\"http://localhost/a\" and 1 more"),
    ] {
        assert_eq!(refused.status, 503, "{about}");
        assert!(refused.text().contains("\"error\""), "{}", refused.text());
        let line = format!("the purge of {about} in zone \"main\" failed");
        assert!(nginx.error_log().contains(&line), "{}", nginx.error_log());
    }
    // As often as it is reloaded: memory is taken over as usual again.
    nginx.reload();
    nginx.await_status("/", "HIT");
    nginx.reload();
    nginx.get("/").is(200, "HIT", &page);
    for _ in 0..2 {
        nginx.kill_worker();
        nginx.get("/").is(200, "HIT", &page);
    }
}

#[test]
fn damage_to_memory_is_told_and_healed() {
    damaged("", |nginx| {
        let worker = nginx.workers()[0];
        let memory = OpenOptions::new()
            .write(true)
            .open(format!("/proc/{worker}/mem"));
        write_over(&memory.expect("the worker is ours"), zone_of(worker));
    });
}

#[test]
fn damage_to_a_file_is_told_and_healed() {
    damaged(" file=zone.swr", |nginx| {
        let path = nginx.dir().join("zone.swr");
        let file = OpenOptions::new().write(true).open(path);
        write_over(&file.expect("a file"), 0);
    });
}
