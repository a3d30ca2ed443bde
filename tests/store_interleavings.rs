//! The store's own code under a scheduler that chooses, at every access to shared memory, who makes the next one.
//!
//! Threads stand for processes: each has its own handle to the same memory, and one that dies makes no more writes, at
//! whatever access that was. The time, who lives and who waits are the scheduler's (`crash::enter`), so that a run
//! depends on its schedule alone; one that fails prints its seed, and `SHUTTLE_RANDOM_SEED` makes it again. Accesses are
//! sequentially consistent here. `make miri` runs the same, without deaths, on threads of Miri's, in the weaker order of
//! the language, and sees races, too.
//!
//! `SWRCACHE_SCHEDULES` says how many schedules of each kind; `make test-chaos` wants thousands.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swrcache::store::crash::{self, World};
use swrcache::store::*;

#[cfg(not(miri))]
use shuttle_threads::*;
#[cfg(miri)]
use std_threads::*;

#[cfg(not(miri))]
mod shuttle_threads {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    pub(crate) use shuttle::thread::{JoinHandle, spawn, yield_now};

    use shuttle::rand::Rng;
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

    /// The number of this task.
    pub(crate) fn me() -> usize {
        shuttle::current::me().into()
    }

    /// A number below `n`.
    pub(crate) fn below(n: u64) -> u64 {
        shuttle::rand::thread_rng().gen_range(0..n)
    }

    /// Under schedules that choose anew at each access, and under such that let one go on for long.
    pub(crate) fn run_all(run: fn()) {
        let count =
            std::env::var("SWRCACHE_SCHEDULES").map_or(20, |n| n.parse().expect("a number"));
        let under = |scheduler: Box<dyn Scheduler + Send>| {
            let mut config = shuttle::Config::new();
            config.stack_size = 1 << 20;
            // The seed is printed anyway.
            config.failure_persistence = shuttle::FailurePersistence::None;
            shuttle::Runner::new(scheduler, config).run(run);
        };
        under(Box::new(RandomScheduler::new(count)));
        under(Box::new(PctScheduler::new(3, count)));
    }
}

#[cfg(miri)]
mod std_threads {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    pub(crate) use std::thread::{JoinHandle, spawn, yield_now};

    use std::hash::{BuildHasher, RandomState};

    pub(crate) fn me() -> usize {
        0
    }

    /// A number below `n`, by Miri's seed.
    pub(crate) fn below(n: u64) -> u64 {
        RandomState::new().hash_one(0) % n
    }

    pub(crate) fn run_all(run: fn()) {
        run();
    }
}

const FAR: Millis = 1_000_000_000;
const NOW: Millis = 10;
const LEN: usize = 64 << 10;
/// The first process of each run, which outlives the others.
const FIRST: u32 = 1;
/// How much each access lets the time go on: patience outlasts most holds of a lock, or hardly any.
const ACCESS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// For how many turns of the others one stands still.
const STILL: u32 = 600;

// ------------------------------------------------------------------------------------------------------------- the world

/// What unwinds a process that dies.
struct Death;

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Dies,
    /// It stands still for a while.
    Stops,
}

#[derive(Default)]
struct Now {
    accesses: u32,
    hurry: usize,
    /// The process of each task of the scheduler's.
    pids: HashMap<usize, u32>,
    dead: Vec<u32>,
    /// After how many more accesses something happens to a process.
    fates: HashMap<u32, (u64, Fate)>,
    /// What the dead have waited for.
    afterlife: Duration,
}

std::thread_local! {
    // The scheduler's tasks share one thread of the system's.
    static STATE: RefCell<Now> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut Now, u32) -> T) -> T {
    let task = me();
    STATE.with_borrow_mut(|now| {
        let pid = now.pids.get(&task).copied().unwrap_or(FIRST);
        act(now, pid)
    })
}

fn turn() -> bool {
    if with(|now, pid| now.dead.contains(&pid)) {
        return false;
    }
    // Any access of the scheduler's own lets it choose.
    AtomicBool::new(false).load(SeqCst);
    let fate = with(|now, pid| {
        now.accesses += 1;
        let (left, fate) = now.fates.get_mut(&pid)?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fate = *fate;
        now.fates.remove(&pid);
        if fate == Fate::Dies {
            now.dead.push(pid);
        }
        Some(fate)
    });
    match fate {
        None => {}
        Some(Fate::Stops) => (0..STILL).for_each(|_| yield_now()),
        Some(Fate::Dies) => resume_unwind(Box::new(Death)),
    }
    true
}

fn wait() {
    if !with(|now, pid| now.dead.contains(&pid)) {
        yield_now();
    }
}

const WORLD: World = World {
    turn,
    wait,
    now: || {
        with(|now, pid| {
            if now.dead.contains(&pid) {
                // It waits for nobody.
                now.afterlife += Duration::from_secs(1);
            }
            now.accesses * ACCESS[now.hurry] + now.afterlife
        })
    },
    pid: || with(|_, pid| pid),
    has_ended: |pid| with(|now, _| now.dead.contains(&pid)),
};

/// From now on this process has at most so many accesses to live, or until it stands still; or it goes on well.
fn mortal(most: u64) {
    let (n, fate) = match below(5) {
        0 => return,
        1 => (below(most), Fate::Stops),
        _ => (below(most), Fate::Dies),
    };
    if !cfg!(miri) {
        with(|now, pid| now.fates.insert(pid, (n, fate)));
    }
}

/// It lives, after all.
fn immortal() {
    with(|now, pid| now.fates.remove(&pid));
}

// -------------------------------------------------------------------------------------------------------------- processes

/// Memory that all have.
struct Shared(NonNull<u8>);

// SAFETY: only regions reach it, and they are made for this.
unsafe impl Send for Shared {}
// SAFETY: as for Send.
unsafe impl Sync for Shared {}

fn layout() -> Layout {
    Layout::from_size_align(LEN, 64).expect("a layout")
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; who has a region in it has a clone of its Arc, too.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}

/// A run: the memory, the bells, and the first process's handle.
struct Run {
    region: Region,
    bells: Arc<Bells>,
    left: Arc<AtomicUsize>,
    memory: Arc<Shared>,
}

/// A process's handle and its bell.
struct Process {
    region: Region,
    bells: Arc<Bells>,
    bell: BellId,
    _memory: Arc<Shared>,
}

impl Run {
    fn new() -> Run {
        STATE.take();
        let hurry = below(2);
        with(|now, _| now.hurry = hurry as usize);
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc_zeroed(layout()) };
        let memory = Shared(NonNull::new(memory).expect("memory"));
        // SAFETY: this much is there and aligned, for as long as `memory` lives.
        let region = unsafe { Region::create(memory.0, LEN, &RegionOptions::default()) };
        let run = Run {
            region: region.expect("a region"),
            bells: Arc::new(Bells::new(6).expect("bells")),
            left: Arc::default(),
            memory: Arc::new(memory),
        };
        let bell = run.bells.claim().expect("a bell");
        let bells = Some((Arc::clone(&run.bells), bell));
        run.region.enter(bells).expect("a place");
        run
    }

    /// Starts a process, which may die.
    fn process(&self, pid: u32, work: impl FnOnce(&Process) + Send + 'static) -> JoinHandle<()> {
        let (memory, bells) = (Arc::clone(&self.memory), Arc::clone(&self.bells));
        let left = Arc::clone(&self.left);
        left.fetch_add(1, SeqCst);
        spawn(move || {
            let task = me();
            with(|now, _| now.pids.insert(task, pid));
            let life = AssertUnwindSafe(|| {
                // SAFETY: as in `new`; the process keeps the memory.
                let region = unsafe { Region::attach(memory.0, LEN) }.expect("a region");
                let bell = bells.claim().expect("a bell");
                region
                    .enter(Some((Arc::clone(&bells), bell)))
                    .expect("a place");
                let process = Process {
                    region,
                    bells,
                    bell,
                    _memory: memory,
                };
                work(&process);
                immortal();
                process.region.leave();
            });
            if let Err(payload) = catch_unwind(life)
                && !payload.is::<Death>()
            {
                resume_unwind(payload);
            }
            with(|now, pid| now.dead.push(pid));
            left.fetch_sub(1, SeqCst);
        })
    }

    /// Looks for the dead until all are gone; then everything must be whole, and can be had back.
    fn end(self, processes: impl IntoIterator<Item = JoinHandle<()>>) {
        while self.left.load(SeqCst) > 0 {
            self.region.reap();
            yield_now();
        }
        for process in processes {
            process.join().expect("a process");
        }
        let settled = |region: &Region| {
            region.reap();
            (region.stats().processes == 1 || cfg!(miri))
                && region.validate().is_ok_and(|s| s.pins == 0)
        };
        assert!(
            (0..20).any(|_| settled(&self.region)),
            "{:?}",
            self.region.validate()
        );
        let s = self.region.validate().expect("valid");
        assert_eq!(
            (s.pins, s.limbo, s.growing, s.claims, s.held_locks),
            (0, 0, 0, 0, 0),
            "{s:?}"
        );
        (0..2).for_each(|_| _ = self.region.sweep(FAR, u32::MAX));
        let s = self.region.validate().expect("valid");
        assert_eq!(
            (s.objects, s.markers, s.used, s.holes),
            (0, 0, 0, 1),
            "{s:?}"
        );
        assert_eq!(self.region.stats().payload, 0);
    }
}

impl Process {
    /// Waits until this process is rung. If it never is, the run never ends, which the scheduler sees.
    fn await_ring(&self) {
        let (fd, mut count) = (self.bells.fd(self.bell), 0u64);
        // SAFETY: reads into eight bytes on the stack; the descriptor does not block.
        while unsafe { libc::read(fd, (&raw mut count).cast(), 8) } != 8 {
            yield_now();
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- operations

fn byte(nonce: u64, at: u64) -> u8 {
    (nonce
        .wrapping_mul(31)
        .wrapping_add(at)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        >> 56) as u8
}

/// A head that tells the key, the length and the bytes of the body.
fn meta(key: &[u8], nonce: u64, len: u64) -> Vec<u8> {
    [&nonce.to_le_bytes(), &len.to_le_bytes(), key].concat()
}

fn new(meta: &[u8], total: Option<u64>, publish: Publish) -> NewObject<'_> {
    NewObject {
        meta,
        labels: &[7],
        total,
        words: [0; WORDS],
        dead_at: FAR,
        publish,
        replaces: None,
        max_variants: 1,
    }
}

/// What is there must be the beginning of what the head tells, and all of it if it is whole. How much there was.
fn check(object: &Object) -> u64 {
    let word =
        |i: usize| u64::from_le_bytes(object.meta()[i..i + 8].try_into().expect("eight bytes"));
    let (nonce, len) = (word(0), word(8));
    assert_eq!(
        &object.meta()[16..],
        object.key(),
        "the head of another key"
    );
    let (mut cursor, mut at) = (Cursor::default(), 0);
    let phase = object.body().phase;
    loop {
        let chunk = object.read(&mut cursor, usize::MAX);
        if chunk.is_empty() {
            break;
        }
        for b in chunk {
            assert_eq!(*b, byte(nonce, at), "at {at} of {object:?}");
            at += 1;
        }
    }
    assert!(
        at <= len && (phase != Phase::Complete || at == len),
        "{at} of {len}"
    );
    at
}

/// Checks what is held now and after a while.
fn hold(object: &Object) {
    let len = check(object);
    for _ in 0..below(200) {
        // As if it were an access.
        AtomicBool::new(false).load(SeqCst);
    }
    assert!(check(object) >= len);
}

fn write(fill: &mut Fill, nonce: u64, n: u64) -> bool {
    let at = fill.len();
    let bytes: Vec<u8> = (at..at + n).map(|i| byte(nonce, i)).collect();
    fill.write(&bytes).is_ok()
}

fn put(region: &Region, key: &[u8], nonce: u64, len: u64) -> bool {
    let meta = meta(key, nonce, len);
    let Ok(mut fill) = region
        .unclaimed(key)
        .begin(new(&meta, Some(len), Publish::AtCommit))
    else {
        return false;
    };
    write(&mut fill, nonce, len) && fill.commit(NOW).is_ok()
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    region.lookup(key, NOW, &mut |_| true).ok()?.object
}

// -------------------------------------------------------------------------------------------------------------- schedules

/// Runs it in many orders.
fn explore(run: fn()) {
    if !cfg!(miri) {
        crash::enter(WORLD);
    }
    run_all(run);
}

/// What a reader holds stays as it is, while it is replaced, removed and its place taken, and any of them dies.
#[test]
fn what_is_held_stays() {
    explore(|| {
        let run = Run::new();
        assert!(put(&run.region, b"key", 1, 2000));
        let reader = |p: &Process| {
            mortal(600);
            for _ in 0..2 {
                let Some(object) = get(&p.region, b"key") else {
                    continue;
                };
                let again = object.clone();
                hold(&object);
                drop(object);
                hold(&again);
            }
        };
        let processes = [
            run.process(2, reader),
            run.process(3, reader),
            run.process(4, |p| {
                mortal(600);
                p.region.remove_key(b"key");
                put(&p.region, b"another", 2, 2000);
            }),
            run.process(5, |p| {
                mortal(900);
                put(&p.region, b"key", 3, 2000);
                put(&p.region, b"key", 4, 1990);
            }),
        ];
        run.end(processes);
    });
}

/// Threads of one process share its one pin: what one gives back is still held for the other.
#[test]
fn threads_share_a_pin() {
    explore(|| {
        let run = Run::new();
        assert!(put(&run.region, b"key", 1, 2000));
        let reader = run.process(2, |p| {
            let region = p.region.clone();
            let other = spawn(move || {
                let task = me();
                with(|now, _| now.pids.insert(task, 2));
                // Many short holds, beside a few long ones.
                (0..12).for_each(|_| drop(get(&region, b"key")));
            });
            (0..3).for_each(|_| get(&p.region, b"key").iter().for_each(hold));
            other.join().expect("the other thread");
        });
        let writer = run.process(3, |p| {
            for i in 0..3 {
                put(&p.region, b"key", i, 2000);
            }
            p.region.remove_key(b"key");
            put(&p.region, b"another", 3, 2000);
        });
        run.end([reader, writer]);
    });
}

/// A lock whose holder dies is taken over by one, and what was half done is made whole; everybody evicts.
#[test]
fn locks_are_taken_over() {
    explore(|| {
        let run = Run::new();
        for i in 0..8u8 {
            assert!(put(&run.region, &[b'a' + i], u64::from(i), 5000));
        }
        let filler = |pid: u32| {
            run.process(pid, move |p| {
                mortal(1500);
                for i in 0..2u8 {
                    put(&p.region, &[pid as u8, i], u64::from(pid), 5000);
                }
                (0..8u8).for_each(|i| _ = get(&p.region, &[b'a' + i]).map(|o| check(&o)));
            })
        };
        let processes = [filler(2), filler(3), filler(4)];
        run.end(processes);
    });
}

/// A key has one fetcher, whoever waits is rung when that one ends, however it does, and in the end it is fetched.
#[test]
fn one_fetches_and_nobody_is_forgotten() {
    static FETCHER: Mutex<Option<u32>> = Mutex::new(None);
    fn fetch(p: &Process, claim: Claim, pid: u32) {
        {
            let before = FETCHER.lock().expect("no panic").replace(pid);
            let is_dead = |pid| with(|now, _| now.dead.contains(&pid));
            assert!(before.is_none_or(is_dead), "{before:?} fetches, too");
        }
        let how = below(4);
        let meta = meta(b"key", 5, 300);
        let publish = if how == 0 {
            Publish::Now
        } else {
            Publish::AtCommit
        };
        // Whoever gives up has ended before the next one can win.
        let give_up = || *FETCHER.lock().expect("no panic") = None;
        if how == 1 {
            give_up();
            return claim.release();
        }
        let mut fill = match claim.begin(new(&meta, None, publish)) {
            Ok(fill) => fill,
            Err((claim, _)) => {
                give_up();
                return drop(claim);
            }
        };
        let whole = write(&mut fill, 5, 100) && write(&mut fill, 5, 200);
        give_up();
        if whole && how != 2 {
            let _ = fill.commit(NOW);
        }
        let _ = p;
    }
    explore(|| {
        *FETCHER.lock().expect("no panic") = None;
        let run = Run::new();
        let visitor = |pid: u32| {
            run.process(pid, move |p| {
                if pid < 4 {
                    mortal(900);
                }
                loop {
                    if let Some(object) = get(&p.region, b"key")
                        && object.body().phase == Phase::Complete
                    {
                        check(&object);
                        return;
                    }
                    match p.region.claim_key(b"key", 0, NOW, FAR, true) {
                        Ok(Attempt::Won(claim)) => fetch(p, claim, pid),
                        Ok(Attempt::Held { .. }) => p.await_ring(),
                        Err(Busy) => yield_now(),
                    }
                }
            })
        };
        let processes = [visitor(2), visitor(3), visitor(4)];
        run.end(processes);
    });
}

/// Who reads along is rung for every piece and for the end, whatever the end is.
#[test]
fn readers_follow_to_the_end() {
    explore(|| {
        let run = Run::new();
        let began = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&began);
        let read = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let have_read = Arc::clone(&read);
        let writer = run.process(2, move |p| {
            let claim = p.region.claim_key(b"key", 0, NOW, FAR, false);
            begins.store(true, SeqCst);
            mortal(700);
            let Ok(Attempt::Won(claim)) = claim else {
                return;
            };
            let known = below(2) == 0;
            let meta = meta(b"key", 5, 900);
            let Ok(mut fill) = claim.begin(new(&meta, known.then_some(900), Publish::Now)) else {
                return;
            };
            let whole = (0..3).all(|_| {
                let there = write(&mut fill, 5, 300);
                // Who is rung for each piece reads it before the next one.
                while have_read
                    .iter()
                    .any(|n| (n.load(SeqCst) as u64) < fill.len())
                {
                    yield_now();
                }
                there
            });
            if whole && below(2) > 0 {
                let _ = fill.commit(NOW);
            }
        });
        let reader = |pid: u32| {
            let (began, read) = (Arc::clone(&began), Arc::clone(&read));
            run.process(pid, move |p| {
                let read = &read[pid as usize - 3];
                while !began.load(SeqCst) {
                    yield_now();
                }
                let object = loop {
                    if let Some(object) = get(&p.region, b"key") {
                        break object;
                    }
                    match p.region.claim_key(b"key", 0, NOW, FAR, true) {
                        Ok(Attempt::Held { deadline }) if deadline == FAR => p.await_ring(),
                        // The writer has ended, and there is nothing of it.
                        Ok(Attempt::Won(_)) => return read.store(usize::MAX, SeqCst),
                        _ => yield_now(),
                    }
                };
                let mut cursor = Cursor::default();
                loop {
                    object.watch();
                    let phase = object.body().phase;
                    while !object.read(&mut cursor, usize::MAX).is_empty() {}
                    read.store(cursor.pos() as usize, SeqCst);
                    match phase {
                        Phase::Complete => break assert_eq!(check(&object), 900),
                        Phase::Broken => break,
                        Phase::Growing => p.await_ring(),
                    }
                }
                read.store(usize::MAX, SeqCst);
            })
        };
        let processes = [writer, reader(3), reader(4)];
        run.end(processes);
    });
}

/// Places of processes are taken, given back, and taken from the dead; two never have the same.
#[test]
fn processes_come_and_go() {
    explore(|| {
        let run = Run::new();
        let visitor = |pid: u32| {
            run.process(pid, move |p| {
                mortal(700);
                put(&p.region, &[pid as u8], u64::from(pid), 100);
                let held = get(&p.region, &[pid as u8]);
                p.region.leave();
                drop(held);
                let bells = Some((Arc::clone(&p.bells), p.bell));
                p.region.enter(bells).expect("a place");
                get(&p.region, &[pid as u8])
                    .iter()
                    .for_each(|o| _ = check(o));
            })
        };
        let processes = [visitor(2), visitor(3), visitor(4)];
        run.end(processes);
    });
}

/// What a purge found, or what was being fetched when it began, is not there after it.
#[test]
fn a_purge_wins() {
    explore(|| {
        let run = Run::new();
        let began = Arc::new(AtomicUsize::new(0));
        let purged = Arc::new(AtomicUsize::new(0));
        let writer = {
            let (began, purged) = (Arc::clone(&began), Arc::clone(&purged));
            run.process(2, move |p| {
                let Ok(Attempt::Won(claim)) = p.region.claim_key(b"key", 0, NOW, FAR, false) else {
                    return;
                };
                began.store(1, SeqCst);
                let meta = meta(b"key", 5, 300);
                let Ok(mut fill) = claim.begin(new(&meta, Some(300), Publish::AtCommit)) else {
                    return;
                };
                write(&mut fill, 5, 300);
                let current = fill.commit(NOW).is_ok();
                // It was there at some time: then the purge, if it came later, has found it.
                assert!(!current || purged.load(SeqCst) < 2 || get(&p.region, b"key").is_none());
            })
        };
        let purger = {
            let (began, purged) = (Arc::clone(&began), Arc::clone(&purged));
            let by_key = below(2) == 0;
            run.process(3, move |p| {
                let claimed_before = began.load(SeqCst) == 1;
                if by_key {
                    if p.region.try_remove_key(b"key").is_err() {
                        return;
                    }
                } else {
                    let tag = Targets {
                        labels: vec![7],
                        ..Targets::default()
                    };
                    let Ok(mut purge) = p.region.purge(tag, Effect::Remove, NOW) else {
                        return;
                    };
                    while purge.step(u32::MAX).is_ok_and(|done| !done) {}
                }
                if claimed_before {
                    purged.store(2, SeqCst);
                    assert!(get(&p.region, b"key").is_none(), "it came back");
                }
            })
        };
        run.end([writer, purger]);
    });
}
