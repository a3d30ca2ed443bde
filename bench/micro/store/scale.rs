//! How a lookup's time grows with the zone, and what of that is the machine's.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use swrcache::store::*;

use crate::{Random, forked, key, mapped, put, region, shared};

const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Whether memory that this process has from now on may get huge pages, where it asks for them and the system gives any.
pub(crate) fn huge_pages(on: bool) {
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(!on), 0, 0, 0) };
}

/// Lookups of random keys in ever larger zones.
pub(crate) fn scale() {
    let kinds: &[bool] = match std::fs::read_to_string(HUGE_PAGES) {
        Ok(text) if !text.contains("[never]") && !text.contains("[deny]") => &[false, true],
        _ => &[false],
    };
    println!("\n### Scale\n");
    println!(
        "Bodies of 1 KiB; a lookup pins and unpins a random key; each figure is the median of a thousand times a thousand. {} The last \
         column is the machine's: the time of one read that nothing could foresee, somewhere in as much memory.\n",
        if kinds.len() == 2 {
            "The second figure is with huge pages."
        } else {
            "The system gave no huge pages."
        }
    );
    println!(
        "| zone | objects | filled at, k/s | lookup, ns | absent key, ns | a read of memory, ns |\n|---|---|---|---|---|---|"
    );
    for (zone, count) in [
        (16usize << 20, 8_000u64),
        (64 << 20, 32_000),
        (256 << 20, 128_000),
        (1 << 30, 512_000),
        (4 << 30, 2_000_000),
    ] {
        let rows: Vec<[u64; 5]> = kinds.iter().map(|huge| row(zone, count, *huge)).collect();
        let cell = |i: usize| {
            let all: Vec<String> = rows.iter().map(|r| r[i].to_string()).collect();
            all.join(" / ")
        };
        println!(
            "| {} MiB | {} | {} | {} | {} | {} |",
            zone >> 20,
            rows[0][0],
            cell(1),
            cell(2),
            cell(3),
            cell(4)
        );
    }
}

/// Objects, fills in thousands a second, and nanoseconds of a hit, of a miss and of a read of memory; by a process of its own.
fn row(zone: usize, count: u64, huge: bool) -> [u64; 5] {
    let row = shared(&[const { AtomicU64::new(0) }; 5]);
    forked(|| {
        huge_pages(huge);
        let region = region(zone);
        let began = Instant::now();
        (0..count).for_each(|i| _ = put(&region, &key(i), &[1; 400], &[0; 1024]));
        let filled = count * 1000 / began.elapsed().as_micros().max(1) as u64;
        let hit = time_of_lookups(&region, count, 0);
        let miss = time_of_lookups(&region, count, 1 << 40);
        let found = region.stats().objects;
        let values = [found, filled, hit, miss, time_of_reads(zone)];
        row.iter()
            .zip(values)
            .for_each(|(to, v)| to.store(v, Relaxed));
    });
    row.each_ref().map(|v| v.load(Relaxed))
}

/// Nanoseconds that one of a thousand takes: the median of many rounds, so that what others do on the machine counts little.
fn median(rounds: usize, mut thousand: impl FnMut(usize)) -> u64 {
    let round = |i| {
        let began = Instant::now();
        thousand(i);
        began.elapsed().as_nanos() as u64 / 1000
    };
    let mut all: Vec<u64> = (0..rounds).map(round).collect();
    all.sort_unstable();
    all[rounds / 2]
}

/// What the machine takes for one read that nothing could foresee: what lookups in so much memory are made of.
fn time_of_reads(len: usize) -> u64 {
    let memory = mapped(len);
    // Every page is there.
    memory
        .iter()
        .step_by(512)
        .for_each(|word| word.store(1, Relaxed));
    let mut at = 1u64;
    median(1000, |_| {
        for i in 0..1000 {
            // The next place depends on what was read.
            let word = black_box(memory[at as usize % memory.len()].load(Relaxed));
            at = (at + word + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        }
    })
}

fn time_of_lookups(region: &Region, count: u64, from: u64) -> u64 {
    let mut random = Random(23);
    let keys: Vec<Vec<u8>> = (0..200_000)
        .map(|_| key(from + (random.unit() * count as f64) as u64))
        .collect();
    median(1000, |i| {
        for key in keys.chunks(1000).nth(i % 200).unwrap_or_default() {
            black_box(region.lookup(key, 1, &mut |_| true).map(|f| f.object)).ok();
        }
    })
}
