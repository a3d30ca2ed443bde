//! Measures of the store: time of a hit, of a fill and of a renewal; density; hit ratio against exact LRU.
//! `cargo bench --bench store`; the density and hit-ratio tables are printed before the timings.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use swrcache::store::*;

const FAR: Millis = u64::MAX - 1;

fn region(len: usize) -> Region {
    let region = Region::anonymous(len, &RegionOptions::default()).expect("region");
    region.enter(None).expect("enter");
    region
}

fn put(region: &Region, key: &[u8], meta: &[u8], body: &[u8]) -> bool {
    let new = NewObject {
        meta,
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

fn density() {
    println!("payload (key 40 B, meta 400 B, body) per byte of a 64 MiB zone after churn:");
    for size in [256usize, 1024, 16 * 1024, 256 * 1024] {
        let region = region(64 << 20);
        let body = vec![7u8; size];
        let count = (200 << 20) / (size as u64 + 440);
        (0..count).for_each(|i| _ = put(&region, &key(i), &[1; 400], &body));
        let stats = region.stats();
        let share = stats.payload as f64 / stats.size as f64;
        println!(
            "  {size:>7} B bodies: {:>6.1} % ({} objects)",
            share * 100.0,
            stats.objects
        );
    }
    let region = region(64 << 20);
    let mut random = Random(5);
    for i in 0..400_000 {
        // Log-normal, median 4 KiB.
        let normal = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        let size = ((8.3 + 1.3 * normal).exp() as usize).min(2 << 20);
        put(&region, &key(i), &[1; 400], &vec![7u8; size]);
    }
    let stats = region.stats();
    println!(
        "  log-normal mix: {:>6.1} % ({} objects)",
        stats.payload as f64 / stats.size as f64 * 100.0,
        stats.objects
    );
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
    println!(
        "  Zipf {s}, scans {scans}: {:.1} % (exact LRU of as many objects, {room}: {:.1} %)",
        share(ours),
        share(theirs)
    );
}

fn tables(_: &mut Criterion) {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    density();
    println!("hit ratio, 200,000 keys, 32 MiB zone, 1 KiB bodies:");
    for s in [0.8, 1.0] {
        hit_ratio(s, false);
        hit_ratio(s, true);
    }
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
                .renew(&old, &[2; 400], [0; WORDS], FAR, 1)
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
