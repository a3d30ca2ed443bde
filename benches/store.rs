//! Measures of the store: density, hit ratio against exact LRU, throughput, scale, slow readers, restart, purges,
//! deaths; then the time of a hit, of a fill and of a renewal. `make bench-store` writes the tables of the first to
//! bench/store.md.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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
        words: [0; WORDS],
        dead_at: FAR,
        publish: Publish::AtCommit,
        replaces: None,
        max_variants: 1,
    };
    let Ok(mut fill) = region.unclaimed(key).begin(new) else {
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

/// Zipf by the inverse of the summed weights.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: usize, s: f64) -> Zipf {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=n)
            .map(|k| {
                sum += (k as f64).powf(-s);
                sum
            })
            .collect();
        Zipf(sums)
    }
    fn draw(&self, random: &mut Random) -> u64 {
        let x = random.unit() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|s| *s < x) as u64
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

/// Exact LRU of a number of objects.
#[derive(Default)]
struct Lru {
    at: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    clock: u64,
}

impl Lru {
    fn touch(&mut self, k: u64, room: usize) -> bool {
        self.clock += 1;
        let old = self.at.insert(k, self.clock);
        if let Some(old) = old {
            self.order.remove(&old);
        }
        self.order.insert(self.clock, k);
        if self.at.len() > room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.at.remove(&oldest);
        }
        old.is_some()
    }
}

fn hit_ratio(s: f64, scans: bool) {
    let zipf = Zipf::new(200_000, s);
    let (region, mut lru, mut random) = (region(32 << 20), Lru::default(), Random(3));
    let (mut ours, mut theirs, mut asked, mut scan) = (0u64, 0u64, 0u64, 1 << 32);
    let room = (0..60_000)
        .take_while(|i| {
            put(&region, &key(1 << 40 | i), &[1; 400], &[0; 1024]) && region.stats().evictions == 0
        })
        .count();
    for i in 0..1_500_000u64 {
        let is_scan = scans && i % 100_000 >= 70_000;
        let k = if is_scan {
            scan += 1;
            scan
        } else {
            zipf.draw(&mut random)
        };
        let hit = region
            .lookup(&key(k), 1, &mut |_| true)
            .expect("not busy")
            .object
            .is_some();
        if !hit {
            put(&region, &key(k), &[1; 400], &[0; 1024]);
        }
        let lru_hit = lru.touch(k, room);
        if i > 300_000 && !is_scan {
            asked += 1;
            ours += u64::from(hit);
            theirs += u64::from(lru_hit);
        }
    }
    let share = |n: u64| n as f64 / asked as f64 * 100.0;
    let with = if scans { ", with scans" } else { "" };
    println!(
        "| Zipf {s}{with} | {:.1} % | {:.1} % |",
        share(ours),
        share(theirs)
    );
}

/// Exact LRU by bytes.
#[derive(Default)]
struct ByteLru {
    at: HashMap<u64, (u64, u64)>,
    order: BTreeMap<u64, u64>,
    clock: u64,
    bytes: u64,
}

impl ByteLru {
    fn touch(&mut self, k: u64, size: u64, room: u64) -> bool {
        self.clock += 1;
        let old = self.at.insert(k, (self.clock, size));
        match old {
            Some((then, _)) => _ = self.order.remove(&then),
            None => self.bytes += size,
        }
        self.order.insert(self.clock, k);
        while self.bytes > room
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((_, size)) = self.at.remove(&oldest)
        {
            self.bytes -= size;
        }
        old.is_some()
    }
}

/// A web trace: Zipf 0.9 over a million objects with log-normal sizes, one in twenty requests for something that is
/// never asked for again. LRU has as many bytes as the zone has payload in the end.
fn web_trace() {
    let (zipf, region) = (Zipf::new(1_000_000, 0.9), region(256 << 20));
    let sizes: Vec<u32> = {
        let mut random = Random(11);
        (0..1_000_000)
            .map(|_| web_size(&mut random) as u32)
            .collect()
    };
    let body = vec![0u8; 2 << 20];
    let mut lru = ByteLru::default();
    let (mut random, mut once) = (Random(17), 1u64 << 32);
    let (mut asked, mut ours, mut theirs) = (0u64, [0u64; 2], [0u64; 2]);
    for i in 0..2_000_000u64 {
        let (k, size) = if random.unit() < 0.05 {
            once += 1;
            (once, web_size(&mut random) as u64)
        } else {
            let k = zipf.draw(&mut random);
            (k, u64::from(sizes[k as usize % sizes.len()]))
        };
        let found = region.lookup(&key(k), 1, &mut |_| true);
        let hit = found.is_ok_and(|f| f.object.is_some());
        if !hit {
            put(&region, &key(k), &[1; 400], &body[..size as usize]);
        }
        let lru_hit = lru.touch(k, size + 440, 235 << 20);
        if i >= 500_000 {
            asked += 1;
            ours[0] += u64::from(hit);
            ours[1] += size * u64::from(hit);
            theirs[0] += u64::from(lru_hit);
            theirs[1] += size * u64::from(lru_hit);
        }
    }
    println!(
        "| log-normal web trace, 256 MiB | {:.1} % | {:.1} % |",
        ours[0] as f64 / asked as f64 * 100.0,
        theirs[0] as f64 / asked as f64 * 100.0
    );
    println!(
        "| the same, bytes served for each byte LRU serves | {:.2} | 1 |",
        ours[1] as f64 / theirs[1] as f64
    );
}

/// Lookups of random keys in ever larger zones.
fn scale() {
    println!("\n### Scale\n");
    println!(
        "Bodies of 1 KiB; a lookup pins and unpins a random key. It reads as many cache lines in a large zone as in a small one; \
         what grows is the time of such a read, in the last column.\n"
    );
    println!(
        "| zone | objects | filled at | lookup | lookup of an absent key | a read of memory somewhere in as much |\n\
         |---|---|---|---|---|---|"
    );
    for (zone, count) in [
        (16usize << 20, 8_000u64),
        (64 << 20, 32_000),
        (256 << 20, 128_000),
        (1 << 30, 512_000),
        (4 << 30, 2_000_000),
    ] {
        let region = region(zone);
        let began = Instant::now();
        (0..count).for_each(|i| _ = put(&region, &key(i), &[1; 400], &[0; 1024]));
        let filled = count as f64 / began.elapsed().as_secs_f64();
        let found = region.stats().objects;
        let hit = time_of_lookups(&region, count, 0);
        let miss = time_of_lookups(&region, count, 1 << 40);
        println!(
            "| {} MiB | {found} | {:.0} k/s | {hit:.0} ns | {miss:.0} ns | {:.0} ns |",
            zone >> 20,
            filled / 1000.0,
            time_of_reads(zone)
        );
    }
}

/// What the machine takes for one read that nothing could foresee: what lookups in so much memory are made of.
fn time_of_reads(len: usize) -> f64 {
    let mut memory = vec![0u64; len / 8];
    // Every page is there.
    memory.iter_mut().step_by(512).for_each(|word| *word = 1);
    let (mut at, reads, began) = (1u64, 1_000_000, Instant::now());
    for i in 0..reads {
        // The next place depends on what was read.
        let word = black_box(memory[at as usize % memory.len()]);
        at = (at + word + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    }
    began.elapsed().as_nanos() as f64 / reads as f64
}

fn time_of_lookups(region: &Region, count: u64, from: u64) -> f64 {
    let mut random = Random(23);
    let keys: Vec<Vec<u8>> = (0..200_000)
        .map(|_| key(from + (random.unit() * count as f64) as u64))
        .collect();
    let round = || {
        let began = Instant::now();
        for key in &keys {
            black_box(region.lookup(key, 1, &mut |_| true).map(|f| f.object)).ok();
        }
        began.elapsed().as_nanos() as f64 / keys.len() as f64
    };
    (0..3).map(|_| round()).fold(f64::MAX, f64::min)
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
        done = order.timed(|| region.mend(Duration::from_micros(500))) == Ok(true);
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

/// Lookups a second by so many processes and threads in each.
fn throughput() {
    println!("\n### Throughput\n");
    println!(
        "Lookups (pin and unpin) of 20,000 keys, bodies of 1 KiB; fills of 1 KiB that evict.\n"
    );
    println!("| processes | threads in each | lookups | fills |\n|---|---|---|---|");
    for (processes, threads) in [(1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 4)] {
        let rate = |fills: bool| {
            let region = region(64 << 20);
            (0..20_000).for_each(|i| _ = put(&region, &key(i), &[1; 400], &[0; 1024]));
            region.leave();
            let done = shared(&[const { AtomicU64::new(0) }; 2]);
            let children: Vec<Process> = (0..processes)
                .map(|p| {
                    Process::of(|| {
                        region.enter(None).expect("enter");
                        done[p].store(run_threads(&region, threads, fills, p), Relaxed);
                    })
                })
                .collect();
            children.into_iter().for_each(|c| assert_eq!(c.wait(), 0));
            let all: u64 = done.iter().map(|d| d.load(Relaxed)).sum();
            all as f64 / RUN.as_secs_f64()
        };
        let (lookups, fills) = (rate(false), rate(true));
        println!(
            "| {processes} | {threads} | {:.2} M/s | {:.0} k/s |",
            lookups / 1e6,
            fills / 1e3
        );
    }
}

const RUN: Duration = Duration::from_secs(1);

fn run_threads(region: &Region, threads: u64, fills: bool, process: usize) -> u64 {
    let until = Instant::now() + RUN;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn(move || {
                    let keys: Vec<Vec<u8>> = (0..20_000).map(key).collect();
                    let (mut n, mut i) = (0u64, (t * 101) as usize + process);
                    while !n.is_multiple_of(64) || Instant::now() < until {
                        i = (i + 7919) % keys.len();
                        if fills {
                            let fresh = (process as u64 + 1) << 40 | t << 32 | n;
                            put(region, &key(fresh), &[1; 400], &[0; 1024]);
                        } else {
                            black_box(region.lookup(&keys[i], 1, &mut |_| true).map(|f| f.others))
                                .ok();
                        }
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap_or(0)).sum()
    })
}

/// A copy that children share with us: atomics only.
fn shared<T>(value: &T) -> &'static T {
    assert!(size_of::<T>() <= 4096);
    // SAFETY: a new shared mapping, zeroed and large enough, never unmapped; the atomics in it are copied bytewise
    // before anybody else sees it.
    unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        at.cast::<T>().copy_from_nonoverlapping(value, 1);
        &*at.cast()
    }
}

fn tables(_: &mut Criterion) {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    density();
    println!("\n### Hit ratio\n");
    println!(
        "Zipf: 200,000 keys, a 32 MiB zone, bodies of 1 KiB; a scan is 30 % of the requests, each for a new key.\n"
    );
    println!("| requests | here | exact LRU |\n|---|---|---|");
    for s in [0.8, 1.0] {
        hit_ratio(s, false);
        hit_ratio(s, true);
    }
    web_trace();
    throughput();
    scale();
    pinned();
    restart();
    purges();
    deaths();
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

fn threads(c: &mut Criterion) {
    let region = Arc::new(region(64 << 20));
    let keys: Arc<Vec<Vec<u8>>> = Arc::new((0..20_000).map(key).collect());
    keys.iter()
        .for_each(|k| _ = put(&region, k, &[1; 400], &[0; 1024]));
    let mut group = c.benchmark_group("20,000 lookups");
    for n in [1usize, 2] {
        group.throughput(Throughput::Elements(20_000 * n as u64));
        group.bench_function(format!("{n} threads"), |b| {
            b.iter(|| {
                std::thread::scope(|scope| {
                    for t in 0..n {
                        let (region, keys) = (&region, &keys);
                        scope.spawn(move || {
                            for i in 0..keys.len() {
                                let k = &keys[(i * 7919 + t * 101) % keys.len()];
                                black_box(region.lookup(k, 1, &mut |_| true).map(|f| f.others))
                                    .ok();
                            }
                        });
                    }
                });
            });
        });
    }
    group.finish();
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
                .renew(&old, NewHead::new(&[2; 400], [0; WORDS], FAR), 1)
                .is_ok()
        });
    });
}

criterion_group! {
    name = store;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2)).without_plots();
    targets = tables, hits, threads, fills
}
criterion_main!(store);
