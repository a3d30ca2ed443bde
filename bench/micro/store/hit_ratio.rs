//! What is kept under pressure, against exact LRU.

use std::collections::{BTreeMap, HashMap};

use crate::{Random, key, put, region, web_size};

/// The table.
pub(crate) fn hit_ratios() {
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
