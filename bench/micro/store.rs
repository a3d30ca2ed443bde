//! Measures of the store. `cargo bench --bench store -- tables` prints tables: density, hit ratio against exact LRU, scale, slow
//! readers, restart, purges, deaths. All else is criterion's: the time of a hit, of a fill and of a renewal, and the throughput of
//! threads and processes. `make bench-store` writes bench/store.md from both.

#[path = "store/hit_ratio.rs"]
mod hit_ratio;
#[path = "store/scale.rs"]
mod scale;
#[path = "store/throughput.rs"]
mod throughput;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use swrcache::store::*;

const FAR: Millis = u64::MAX - 1;

fn region(len: usize) -> Region {
    let region = Region::anonymous(len, &RegionOptions::default()).expect("region");
    region.enter(None).expect("enter");
    region
}

fn put(region: &Region, key: &[u8], meta: &[u8], body: &[u8]) -> bool {
    put_labelled(region, key, &[], meta, body)
}

fn put_labelled(region: &Region, key: &[u8], labels: &[u64], meta: &[u8], body: &[u8]) -> bool {
    let new = NewObject {
        meta,
        labels,
        total: Some(body.len() as u64),
        attributes: [0; ATTRIBUTES],
        dead_at: FAR,
        publish: Publish::AtCommit,
        replaces: None,
        max_variants: 1,
    };
    let Ok(mut fill) = Fill::begin(region.unclaimed(key), new) else {
        return false;
    };
    fill.write(body).is_ok() && fill.commit(1).is_ok()
}

fn key(i: u64) -> Vec<u8> {
    format!("https://www.example.test/items/{i:09}").into_bytes()
}

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Payload per byte of the zone, after churn: a million inserts, or eight times the zone where that is less.
fn density() {
    println!("\n### Density\n");
    println!("A 64 MiB zone after churn; keys of 40 bytes, heads of 400.\n");
    println!("| bodies | payload of the zone | objects |\n|---|---|---|");
    for (title, size) in [
        ("256 B", 256usize),
        ("1 KiB", 1024),
        ("16 KiB", 16 * 1024),
        ("256 KiB", 256 * 1024),
    ] {
        let region = region(64 << 20);
        let body = vec![7u8; size];
        let count = ((8 << 26) / (size as u64 + 440)).min(1_000_000);
        (0..count).for_each(|i| _ = put(&region, &key(i), &[1; 400], &body));
        density_row(title, &region);
    }
    let region = region(64 << 20);
    let mut random = Random(5);
    for i in 0..1_000_000 {
        put(
            &region,
            &key(i),
            &[1; 400],
            &vec![7u8; web_size(&mut random)],
        );
    }
    density_row("log-normal mix", &region);
}

fn density_row(title: &str, region: &Region) {
    let stats = region.stats();
    let share = stats.payload as f64 / stats.size as f64 * 100.0;
    println!("| {title} | {share:.1} % | {} |", stats.objects);
}

/// Log-normal, median 4 KiB, sigma 1.3, at most 2 MiB.
fn web_size(random: &mut Random) -> usize {
    let normal = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    ((8.3 + 1.3 * normal).exp() as usize).min(2 << 20)
}

/// How long purges take: entries of 1 KiB with three tags.
fn purges() {
    println!("\n### Purges\n");
    println!("Bodies of 1 KiB, three tags each.\n");
    println!(
        "| entries | a tag of 100,000 of them | a tag of ten | a prefix of all |\n|---|---|---|---|"
    );
    for (entries, zone) in [(100_000u64, 256usize << 20), (1_000_000, 2 << 30)] {
        let region = region(zone);
        for i in 0..entries {
            let many = u64::from(i % (entries / 100_000) == 0);
            let few = u64::from(i < 10) * 2;
            let labels = [many, few, 1000 + i];
            put_labelled(&region, &key(i), &labels, &[1; 400], &[7; 1024]);
        }
        let took = |targets: Targets| {
            let began = Instant::now();
            let mut purge = region.purge(targets, Effect::Age, 2).expect("purge");
            while !purge.step(u32::MAX).expect("step") {}
            began.elapsed().as_secs_f64() * 1e3
        };
        let tag = |label| Targets {
            labels: vec![label],
            ..Targets::default()
        };
        let prefix = Targets {
            prefixes: vec![key(0)[..3].into()],
            ..Targets::default()
        };
        let (many, few, all) = (took(tag(1)), took(tag(2)), took(prefix));
        println!("| {entries} | {many:.1} ms | {few:.1} ms | {all:.0} ms |");
    }
}

/// Ten thousand objects are held by slow readers while everything else is evicted again and again.
fn pinned() {
    let region = region(64 << 20);
    let held: Vec<Object> = (0..10_000)
        .filter_map(|i| {
            put(&region, &key(i), &[1; 400], &[0; 1024]);
            region.lookup(&key(i), 1, &mut |_| true).ok()?.object
        })
        .collect();
    let (mut worst, mut refused, count) = (Duration::ZERO, 0u64, 300_000u64);
    let began = Instant::now();
    for i in 0..count {
        let one = Instant::now();
        refused += u64::from(!put(&region, &key(1 << 32 | i), &[1; 400], &[0; 1024]));
        worst = worst.max(one.elapsed());
    }
    println!("\n### Slow readers\n");
    println!(
        "{} objects are held in a zone for about 40,000 while {count} others are stored: {refused} refused, {:.1} µs \
         each, the slowest {:.1} ms.",
        held.len(),
        began.elapsed().as_micros() as f64 / count as f64,
        worst.as_secs_f64() * 1000.0
    );
}

/// A file of 1 GiB with 200,000 objects is opened by a new process.
fn restart() {
    println!("\n### Restart\n");
    println!(
        "A file of 1 GiB with 200,000 objects of 4 KiB; from the start of the process to its first hit.\n"
    );
    println!("| the last process | first hit | all 200,000 read once |\n|---|---|---|");
    let path = std::env::temp_dir().join(format!("swrcache-bench-{}", std::process::id()));
    let open = || {
        let (region, found) =
            Region::file(&path, 1 << 30, &RegionOptions::default()).expect("a file");
        region.enter(None).expect("enter");
        (region, found)
    };
    let fill = || {
        let (region, _) = open();
        (0..200_000).for_each(|i| _ = put(&region, &key(i), &[1; 400], &[7; 4096]));
    };
    forked(fill);
    for last in ["was killed", "ended well"] {
        forked(|| {
            let began = Instant::now();
            let (region, found) = open();
            let hit = |i| {
                region
                    .lookup(&key(i), 1, &mut |_| true)
                    .is_ok_and(|f| f.object.is_some())
            };
            assert!(hit(123_456), "{found:?}");
            let first = began.elapsed();
            let count = (0..200_000).filter(|i| hit(*i)).count();
            println!(
                "| {last} | {:.0} ms | {:.0} ms ({count} found) |",
                first.as_secs_f64() * 1000.0,
                began.elapsed().as_secs_f64() * 1000.0
            );
            region.leave();
            assert!(region.seal());
        });
    }
    let _ = std::fs::remove_file(path);
}

/// A process of its own. This one has a single thread.
struct Process(libc::pid_t);

impl Process {
    fn of(work: impl FnOnce()) -> Process {
        // SAFETY: one thread; the child ends without running what this process has registered.
        match unsafe { libc::fork() } {
            0 => {
                work();
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            pid => Process(pid),
        }
    }

    /// How it ended.
    fn wait(self) -> libc::c_int {
        let mut status = 0;
        // SAFETY: waits for our own child and writes to the stack.
        unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        status
    }

    fn kill(self) {
        // SAFETY: the child has not been waited for, so the number is its.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        self.wait();
    }
}

fn forked(work: impl FnOnce()) {
    assert_eq!(Process::of(work).wait(), 0, "the child failed");
}

/// A process dies while it has the arena's lock: how long another puts things in order, how long it stands still for that, and
/// whether the lookups of a third wait.
fn deaths() {
    println!("\n### A death at the worst moment\n");
    println!(
        "A process is killed while it has the lock of the arena. Another one goes on as an event loop does: a lookup, a fill, and half \
         a millisecond of the repair, then of cleaning up; a third looks up random keys all the while. Then a process leaves while \
         it holds a claim. Bodies of 1 KiB.\n"
    );
    println!(
        "| entries | the first fill after | all cleaned up after | longest stall of the repairing process | of it at work, at most | \
         lookups of the third meanwhile | the slowest | told to do without | leaves in |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (zone, count) in [(256usize << 20, 128_000u64), (4 << 30, 2_000_000)] {
        let region = region(zone);
        (0..count).for_each(|i| _ = put(&region, &key(i), &[1; 400], &[0; 1024]));
        let seen = shared(&Seen::default());
        let third = Process::of(|| look_up(&region, count, seen));
        let order = (0..100).find_map(|round| order_after_death(&region, round, count, seen));
        third.kill();
        let [lookups, slowest, busy] =
            [&seen.lookups, &seen.slowest, &seen.busy].map(|c| c.load(Relaxed));
        let order = order.expect("a death with the lock");
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "| {count} | {:.0} ms | {:.0} ms | {:.2} ms | {:.2} ms | {lookups} | {:.2} ms | {busy} | {:.2} ms |",
            ms(order.filled),
            ms(order.cleaned),
            ms(order.stall),
            ms(order.work),
            slowest as f64 / 1e6,
            ms(time_to_leave(&region))
        );
    }
}

fn time_to_leave(region: &Region) -> Duration {
    let claim = region.claim_key(b"held", 0, 1, 1000, false);
    assert!(matches!(claim, Ok(Attempt::Won(_))));
    let began = Instant::now();
    region.leave();
    began.elapsed()
}

/// What the lookups of the third process met while `on`.
#[derive(Default)]
struct Seen {
    on: AtomicU64,
    lookups: AtomicU64,
    slowest: AtomicU64,
    busy: AtomicU64,
}

fn look_up(region: &Region, count: u64, seen: &Seen) {
    region.enter(None).expect("enter");
    let mut random = Random(29);
    loop {
        let key = key((random.unit() * count as f64) as u64);
        let began = Instant::now();
        let found = region.lookup(&key, 1, &mut |_| true);
        let took = began.elapsed().as_nanos() as u64;
        if seen.on.load(Relaxed) != 0 {
            seen.lookups.fetch_add(1, Relaxed);
            seen.slowest.fetch_max(took, Relaxed);
            seen.busy.fetch_add(u64::from(found.is_err()), Relaxed);
        }
    }
}

/// What the one that puts things in order met.
#[derive(Default)]
struct Order {
    filled: Duration,
    cleaned: Duration,
    /// The longest of all its calls, by the clock.
    stall: Duration,
    /// The same by the time that it had a processor: others use this machine, too.
    work: Duration,
}

/// How long this thread has had a processor.
fn time_at_work() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to the stack.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Order {
    fn timed<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (began, worked) = (Instant::now(), time_at_work());
        let done = call();
        self.stall = self.stall.max(began.elapsed());
        self.work = self.work.max(time_at_work() - worked);
        done
    }
}

/// `None` if the one that died did not have the lock.
fn order_after_death(region: &Region, round: u64, count: u64, seen: &Seen) -> Option<Order> {
    let victim = Process::of(|| {
        region.enter(None).expect("enter");
        let fresh = (round + 2) << 40;
        (fresh..u64::MAX).for_each(|i| _ = put(region, &key(i), &[1; 400], &[0; 1024]));
    });
    std::thread::sleep(Duration::from_micros(20_000 + round * 137));
    victim.kill();
    let (repairs, began) = (region.stats().repairs, Instant::now());
    let mut order = Order::default();
    let mut random = Random(31);
    seen.on.store(1, Relaxed);
    let mut done = false;
    while !done {
        let random = key((random.unit() * count as f64) as u64);
        let found = order.timed(|| region.lookup(&random, 1, &mut |_| true).is_ok());
        black_box(found);
        if order.filled.is_zero() {
            let new = key(round << 32 | 1 << 50);
            if order.timed(|| put(region, &new, &[1; 400], &[0; 1024])) {
                order.filled = began.elapsed();
            }
        }
        done = order.timed(|| region.maintain(Duration::from_micros(500))) == Ok(true);
        // Who has died without the lock is found by looking.
        if done && region.stats().processes > 2 {
            order.timed(|| region.reap());
            done = false;
        }
    }
    seen.on.store(0, Relaxed);
    order.cleaned = began.elapsed();
    if region.stats().repairs == repairs {
        let all = [&seen.lookups, &seen.slowest, &seen.busy];
        all.iter().for_each(|c| c.store(0, Relaxed));
        return None;
    }
    Some(order)
}

/// Words that children share with us, zeroed; never unmapped.
fn mapped(len: usize) -> &'static [AtomicU64] {
    // SAFETY: a new shared mapping, zeroed; atomics of any value.
    unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        // Where the system gives any.
        libc::madvise(at, len, libc::MADV_HUGEPAGE);
        std::slice::from_raw_parts(at.cast(), len / 8)
    }
}

/// A copy that children share with us: atomics only.
fn shared<T>(value: &T) -> &'static T {
    assert!(size_of::<T>() <= 4096);
    let at = mapped(4096).as_ptr().cast_mut().cast::<T>();
    // SAFETY: the mapping is large enough and aligned; the atomics are copied bytewise before anybody else sees it.
    unsafe {
        at.copy_from_nonoverlapping(value, 1);
        &*at
    }
}

/// The tables by name.
const TABLES: [(&str, fn()); 7] = [
    ("density", density),
    ("hit-ratio", hit_ratio::hit_ratios),
    ("scale", scale::scale),
    ("slow-readers", pinned),
    ("restart", restart),
    ("purges", purges),
    ("deaths", deaths),
];

/// Prints all tables for the filter `tables`, one for `table-NAME`.
fn tables(_: &mut Criterion) {
    scale::huge_pages(false);
    let asked: Vec<String> = std::env::args()
        .filter(|a| a.starts_with("table"))
        .collect();
    for (name, print) in TABLES {
        if asked
            .iter()
            .any(|a| a == "tables" || *a == format!("table-{name}"))
        {
            print();
        }
    }
    println!();
}

fn hits(c: &mut Criterion) {
    let region = region(64 << 20);
    let keys: Vec<Vec<u8>> = (0..20_000).map(key).collect();
    keys.iter()
        .for_each(|k| _ = put(&region, k, &[1; 400], &[0; 1024]));
    c.bench_function("lookup+pin+unpin, one key", |b| {
        b.iter(|| {
            black_box(
                region
                    .lookup(&keys[77], 1, &mut |_| true)
                    .expect("not busy")
                    .object,
            )
        });
    });
    let mut i = 0;
    c.bench_function("lookup+pin+unpin, 20,000 keys", |b| {
        b.iter(|| {
            i = (i + 7919) % keys.len();
            black_box(
                region
                    .lookup(&keys[i], 1, &mut |_| true)
                    .expect("not busy")
                    .object,
            )
        });
    });
    c.bench_function("lookup, absent key", |b| {
        b.iter(|| {
            black_box(
                region
                    .lookup(b"https://www.example.test/absent", 1, &mut |_| true)
                    .expect("not busy")
                    .others,
            )
        });
    });
}

fn fills(c: &mut Criterion) {
    let region = region(64 << 20);
    let mut i = 0;
    c.bench_function("fill of 1 KiB with eviction", |b| {
        b.iter(|| {
            i += 1;
            put(&region, &key(i), &[1; 400], &[0; 1024])
        });
    });
    c.bench_function("renewal", |b| {
        b.iter(|| {
            let found = region.lookup(&key(i), 1, &mut |_| true).expect("not busy");
            let old = found.object.expect("the last one is there");
            region
                .unclaimed(old.key())
                .renew(&old, NewHead::new(&[2; 400], [0; ATTRIBUTES], FAR), 1)
                .is_ok()
        });
    });
}

criterion_group! {
    name = store;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2)).without_plots();
    targets = tables, hits, fills, throughput::throughput
}
criterion_main!(store);
