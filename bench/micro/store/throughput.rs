//! How lookups and fills scale with threads and processes.

use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use swrcache::store::*;

use crate::{Process, key, mapped, put, shared};

/// Processes, and threads in each.
const WORKERS: [(u64, u64); 6] = [(1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 4)];
const KEYS: u64 = 20_000;
/// How often each worker does it in an iteration: to start the workers takes long, and so is done seldom.
const BATCH: u64 = 1000;

/// What a worker does once: the region, the keys, and a number that no worker has had before.
type Work = fn(&Region, &[Vec<u8>], u64);

/// `lookups/PxT` and `fills/PxT`: P processes with T threads each; in an iteration every one of them does it [`BATCH`] times.
pub(crate) fn throughput(c: &mut Criterion) {
    let kinds: [(&str, Work); 2] = [("lookups", look_up), ("fills", fill)];
    for (name, work) in kinds {
        let mut group = c.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(500));
        group.sampling_mode(SamplingMode::Flat);
        for (processes, threads) in WORKERS {
            measure(&mut group, processes, threads, work);
        }
        group.finish();
    }
}

fn look_up(region: &Region, keys: &[Vec<u8>], n: u64) {
    let key = &keys[(n * 7919 % KEYS) as usize];
    black_box(region.lookup(key, 1, &mut |_| true).map(|f| f.others)).ok();
}

fn fill(region: &Region, _: &[Vec<u8>], n: u64) {
    put(region, &key(KEYS + n), &[1; 400], &[0; 1024]);
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, processes: u64, threads: u64, work: Work) {
    let memory = mapped(64 << 20);
    let base = NonNull::from(memory).cast();
    // SAFETY: the memory is never unmapped, and nobody else uses it.
    let region = unsafe { Region::create(base, size_of_val(memory), &RegionOptions::default()) };
    let region = region.expect("a region");
    region.enter(None).expect("enter");
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    keys.iter()
        .for_each(|k| _ = put(&region, k, &[1; 400], &[0; 1024]));
    region.leave();
    let meeting = shared(&Meeting::default());
    let workers = processes * threads;
    let mut done = 0;
    group.throughput(Throughput::Elements(workers * BATCH));
    group.bench_function(format!("{processes}x{threads}"), |b| {
        b.iter_custom(|times| {
            let times = times * BATCH;
            let first = done;
            done += times * workers;
            let part = |worker| {
                (0..times).for_each(|i| work(&region, &keys, first + worker * times + i));
            };
            together((&region, memory), meeting, (processes, threads), &part)
        });
    });
}

/// Where the workers wait for each other.
#[derive(Default)]
struct Meeting {
    ready: AtomicU64,
    go: AtomicU64,
    /// When the last one ended, in nanoseconds.
    ended: AtomicU64,
}

/// How long it takes until each worker has done its part, when all of them are there and are released at once.
fn together(
    (region, memory): (&Region, &[AtomicU64]),
    meeting: &Meeting,
    (processes, threads): (u64, u64),
    part: &(impl Fn(u64) + Sync),
) -> Duration {
    let Meeting { ready, go, ended } = meeting;
    [ready, go, ended].iter().for_each(|w| w.store(0, SeqCst));
    let clock = Instant::now();
    let now = || clock.elapsed().as_nanos() as u64;
    let worker = |worker| {
        ready.fetch_add(1, SeqCst);
        wait_until(|| go.load(SeqCst) != 0);
        part(worker);
        ended.fetch_max(now(), Relaxed);
    };
    let children: Vec<Process> = (0..processes)
        .map(|p| {
            Process::of(|| {
                touch(memory);
                region.enter(None).expect("enter");
                std::thread::scope(|scope| {
                    for t in 0..threads {
                        scope.spawn(move || worker(p * threads + t));
                    }
                });
                region.leave();
            })
        })
        .collect();
    wait_until(|| ready.load(SeqCst) == processes * threads);
    let began = now();
    go.store(1, SeqCst);
    children.into_iter().for_each(|c| assert_eq!(c.wait(), 0));
    Duration::from_nanos(ended.load(Relaxed) - began)
}

/// Has the system map all pages of it into this process, which it otherwise does at the first access to each.
fn touch(memory: &[AtomicU64]) {
    let at = memory.as_ptr().cast_mut().cast();
    // SAFETY: the mapping is as long, and its content stays.
    unsafe { libc::madvise(at, size_of_val(memory), libc::MADV_POPULATE_WRITE) };
}

fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}
