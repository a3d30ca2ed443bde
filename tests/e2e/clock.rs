//! The wall clock is set back and forth under nginx's feet, by a library that stands before the C library's.

use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

/// What nginx asks for the time, shifted by the seconds in the file that `CLOCK_SHIFT` names. The monotonic clock stays.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void) {
    static volatile long *at;
    if (!at) at = mmap(0, sizeof *at, PROT_READ, MAP_SHARED, open(getenv("CLOCK_SHIFT"), O_RDONLY), 0);
    return *at;
}
int clock_gettime(clockid_t clock, struct timespec *t) {
    int rc = (int)syscall(SYS_clock_gettime, clock, t);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += shift();
    return rc;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec s;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &s);
    t->tv_sec = s.tv_sec;
    t->tv_usec = s.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    if (t) *t = s.tv_sec;
    return s.tv_sec;
}
"#;

/// The file that says by how much the clock is off.
struct Shift(PathBuf);

impl Shift {
    fn to(&self, seconds: i64) {
        // In place: nginx has it mapped.
        let file = std::fs::OpenOptions::new().write(true).open(&self.0);
        let file = file.expect("the file");
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0)
            .expect("a write");
    }
}

fn shifted(conf: Conf, folder: &Folder) -> (Nginx, Shift) {
    let path = |name| folder.0.join(name);
    std::fs::write(path("shim.c"), SHIM).expect("its source");
    std::fs::write(path("shift"), 0i64.to_ne_bytes()).expect("its number");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([path("shim.so"), path("shim.c")])
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cc builds the clock"
    );
    let conf = conf
        .env("LD_PRELOAD", path("shim.so"))
        .env("CLOCK_SHIFT", path("shift"));
    (conf.start(), Shift(path("shift")))
}

/// A clock that is set back makes nothing younger: pages expire, and what is remembered is forgotten, as if nothing had been.
#[test]
fn clock_set_back_and_forth() {
    let origin = Origin::start();
    origin.handle("/page", |r| Reply::cached("max-age=2", r.nth.to_string()));
    origin.on("/new", Reply::cached("max-age=3600", "new"));
    origin.handle("/long", |r| {
        Reply::cached("max-age=3600", r.nth.to_string())
    });
    origin.handle("/swr", |r| {
        Reply::cached("max-age=2, stale-while-revalidate=600", r.nth.to_string())
    });
    let folder = Folder::new();
    let (nginx, shift) = shifted(Conf::caching(&origin).workers(2), &folder);
    for path in ["/page", "/long", "/swr"] {
        assert_eq!(nginx.get(path).cache(), "MISS");
        assert_eq!(nginx.get(path).cache(), "HIT");
    }
    shift.to(-3600);
    // Nothing but the clock has changed: what is fresh is so still.
    assert_eq!(nginx.get("/long").cache(), "HIT");
    eventually("the end of its freshness", || {
        nginx.get("/page").cache() == "EXPIRED"
    });
    eventually("a refresh", || nginx.get("/swr").cache() == "UPDATING");
    // What comes now is fresh for as long as it says, for all workers.
    eventually("it is there", || nginx.get("/swr").cache() == "HIT");
    shift.to(7200);
    eventually("its age", || nginx.get("/long").cache() != "HIT");
    shift.to(0);
    assert_eq!(nginx.get("/new").cache(), "MISS");
    assert_eq!(nginx.get("/new").cache(), "HIT");
    assert!(nginx.get("/new").age() < 60);
}
