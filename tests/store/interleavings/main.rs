//! Runs the store's own code under a scheduler that decides, at every access to shared memory, which thread makes the
//! next one.
//!
//! Threads stand for processes: each has its own handle to the same memory, and one that dies makes no more writes, at
//! whichever access that was. The scheduler determines the time, which processes are alive and which ones wait
//! (`crash::enter`), so that a run depends on its schedule alone; one that fails prints its seed, and
//! `SHUTTLE_RANDOM_SEED` repeats it. Accesses are sequentially consistent here. `make miri` runs the same tests on
//! Miri's threads, with the weaker memory order of the language, and also detects data races.
//!
//! `SWRCACHE_SCHEDULES` sets the number of schedules of each kind; `make test-chaos` runs thousands.

use std::sync::{Arc, Mutex};

use swrcache::store::*;

#[path = "../support/mod.rs"]
mod support;

mod mending;
#[cfg(miri)]
#[path = "miri_threads.rs"]
mod threads;
#[cfg(not(miri))]
#[path = "shuttle_threads.rs"]
mod threads;

mod process;
mod world;

use process::*;
use support::{FAR, body, check_bytes};
use threads::*;
use world::{WORLD, mortal};

const NOW: Millis = 10;

/// A head that contains the key, and the length and the bytes of the body.
fn meta(key: &[u8], nonce: u64, len: u64) -> Vec<u8> {
    [&nonce.to_le_bytes(), &len.to_le_bytes(), key].concat()
}

fn new(meta: &[u8], total: Option<u64>, publish: Publish) -> NewObject<'_> {
    NewObject {
        labels: &[7],
        max_variants: 1,
        ..support::new(meta, total, publish)
    }
}

/// What is published must be a prefix of the body that the head describes, and all of it if it is complete. Returns its
/// length.
fn check(object: &Object) -> u64 {
    let word =
        |i: usize| u64::from_le_bytes(object.meta()[i..i + 8].try_into().expect("eight bytes"));
    let (nonce, len) = (word(0), word(8));
    assert_eq!(
        &object.meta()[16..],
        object.key(),
        "the head of another key"
    );
    let phase = object.body().completeness;
    let at = check_bytes(object, nonce);
    assert!(
        at <= len && (phase != Completeness::Complete || at == len),
        "{at} of {len}"
    );
    at
}

/// Checks an object now and after a while.
fn hold(object: &Object) {
    let len = check(object);
    for _ in 0..below(200) {
        // As if it were an access.
        choose();
    }
    assert!(check(object) >= len);
}

fn write(fill: &mut Fill, nonce: u64, n: u64) -> bool {
    let at = fill.len();
    fill.write(&body(nonce, at..at + n)).is_ok()
}

fn put(region: &Region, key: &[u8], nonce: u64, len: u64) -> bool {
    let meta = meta(key, nonce, len);
    let Ok(mut fill) = Fill::begin(
        region.unclaimed(key),
        new(&meta, Some(len), Publish::AtCommit),
    ) else {
        return false;
    };
    write(&mut fill, nonce, len) && fill.commit(NOW).is_ok()
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    region.lookup(key, NOW, &mut |_| true).ok()?.object
}

/// Runs it under many schedules.
fn explore(run: fn()) {
    crash::enter(WORLD);
    run_all(run);
}

/// What a reader holds does not change while it is replaced or removed, its memory is reused, and any process dies.
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

/// Threads of one process share its single pin: what one thread unpins is still pinned for another.
#[test]
fn threads_share_a_pin() {
    explore(|| {
        let run = Run::new();
        assert!(put(&run.region, b"key", 1, 2000));
        let reader = run.process(2, |p| {
            let region = p.region.clone();
            let other = spawn(move || {
                world::live_as(2);
                // Many short pins, beside a few long ones.
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

/// A lock whose holder died is taken over by one process, and what was half done is repaired; all processes evict.
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

/// A key has one fetcher at a time. Waiters are woken when it ends, however it ends, and eventually the key is fetched.
#[test]
fn one_fetches_and_nobody_is_forgotten() {
    static FETCHER: Mutex<Option<u32>> = Mutex::new(None);
    fn fetch(p: &Process, claim: Claim, pid: u32) {
        {
            let before = FETCHER.lock().expect("no panic").replace(pid);
            assert!(before.is_none_or(is_dead), "{before:?} fetches, too");
        }
        let how = below(4);
        let meta = meta(b"key", 5, 300);
        let publish = if how == 0 {
            Publish::Now
        } else {
            Publish::AtCommit
        };
        // A process that gives up has ended its claim before the next one can win it.
        let give_up = || *FETCHER.lock().expect("no panic") = None;
        if how == 1 {
            give_up();
            return claim.release();
        }
        let mut fill = match Fill::begin(claim, new(&meta, None, publish)) {
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
                        && object.body().completeness == Completeness::Complete
                    {
                        check(&object);
                        return;
                    }
                    match p.region.claim_key(b"key", 0, NOW, FAR, true) {
                        Ok(Attempt::Won(claim)) => fetch(p, claim, pid),
                        Ok(Attempt::Held { .. }) => p.await_wakeup(),
                        Err(Busy) => yield_now(),
                    }
                }
            })
        };
        let processes = [visitor(2), visitor(3), visitor(4)];
        run.end(processes);
    });
}

/// Readers are woken for every piece and for the end, whatever the end is.
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
            let Ok(mut fill) = Fill::begin(claim, new(&meta, known.then_some(900), Publish::Now))
            else {
                return;
            };
            let whole = (0..3).all(|_| {
                let there = write(&mut fill, 5, 300);
                // A process that is woken for each piece reads it before the next one.
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
                        Ok(Attempt::Held { deadline }) if deadline == FAR => p.await_wakeup(),
                        // The writer has ended without leaving anything.
                        Ok(Attempt::Won(_)) => return read.store(usize::MAX, SeqCst),
                        _ => yield_now(),
                    }
                };
                let mut cursor = Cursor::default();
                loop {
                    object.watch();
                    let phase = object.body().completeness;
                    while !object.read(&mut cursor, usize::MAX).is_empty() {}
                    read.store(cursor.pos() as usize, SeqCst);
                    match phase {
                        Completeness::Complete => break assert_eq!(check(&object), 900),
                        Completeness::Broken => break,
                        Completeness::Growing => p.await_wakeup(),
                    }
                }
                read.store(usize::MAX, SeqCst);
            })
        };
        let processes = [writer, reader(3), reader(4)];
        run.end(processes);
    });
}

/// Process slots are taken, released, and taken from dead processes; two processes never have the same slot.
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
                let wakers = Some((Arc::clone(&p.wakers), p.waker));
                p.region.enter(wakers).expect("a place");
                get(&p.region, &[pid as u8])
                    .iter()
                    .for_each(|o| _ = check(o));
            })
        };
        let processes = [visitor(2), visitor(3), visitor(4)];
        run.end(processes);
    });
}

/// What a purge found, or what was being fetched when it began, is not found after it.
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
                let Ok(mut fill) = Fill::begin(claim, new(&meta, Some(300), Publish::AtCommit))
                else {
                    return;
                };
                write(&mut fill, 5, 300);
                let current = fill.commit(NOW).is_ok();
                // It was current at some time: if the purge came later, it has found it.
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
