//! Deaths of all processes that use a file.

use std::path::Path;
use std::time::Instant;

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![killed_with_all_its_processes,];

/// All processes of an instance are killed at once, at any moment; the next instance finds only what is right.
fn killed_with_all_its_processes() {
    let kills =
        std::env::var("SWRCACHE_KILLS").map_or(60, |k| k.parse::<u64>().expect("a number") / 10);
    let folder = Folder::new();
    let mut random = Random(3);
    let (mut kept, mut dropped) = (0, 0);
    // SAFETY: the call takes no pointers.
    let test = unsafe { libc::getpid() };
    for _ in 0..kills {
        let seed = random.next();
        let ready = Gate::new();
        let child = Child::fork(|| {
            let (region, found) = try_open(&folder.zone(), LEN).expect("a region");
            assert!(
                !matches!(found, Predecessor::Useless(_) | Predecessor::Shared),
                "{found:?}"
            );
            ready.open(1);
            // SAFETY: the call takes no pointers.
            let own = unsafe { libc::getpid() };
            let more: Vec<Child> = (1..3)
                .map(|i| Child::fork(|| churn(&region, seed + i, own)))
                .collect();
            // The children die with this process.
            std::mem::forget(more);
            churn(&region, seed, test);
        });
        if random.below(4) > 0 {
            ready.pass();
        }
        std::thread::sleep(std::time::Duration::from_micros(random.below(30_000)));
        child.signal(libc::SIGKILL);
        assert_eq!(child.wait(), None);
        let (region, found) = reopen(&folder.zone());
        if let Predecessor::Region {
            kept: k,
            dropped: d,
            ..
        } = found
        {
            (kept, dropped) = (kept + k, dropped + d);
        }
        region.validate().expect("valid");
        there(&region, 400);
        region.leave();
    }
    println!("  {kills} times killed: {kept} objects found again, {dropped} dropped");
    assert!(kept > 0);
}

/// Opens the file as soon as the last process that used it is gone.
fn reopen(path: &Path) -> (Region, Predecessor) {
    let began = Instant::now();
    loop {
        match try_open(path, LEN) {
            Err(StoreError::InUse) if began.elapsed().as_secs() < 10 => std::thread::yield_now(),
            opened => {
                let (region, found) = opened.expect("a region");
                region.enter(None).expect("enter");
                return (region, found);
            }
        }
    }
}

fn churn(region: &Region, seed: u64, parent: libc::pid_t) {
    // SAFETY: the call asks the kernel to kill this process when its parent dies; it takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: the call takes no pointers. The parent may have been killed before.
    if unsafe { libc::getppid() } != parent {
        return;
    }
    region.enter(None).expect("enter");
    let mut random = Random(seed);
    loop {
        let i = random.below(400);
        match random.below(6) {
            0 => _ = region.remove_key(&key(i)),
            1 => _ = region.sweep(1, 50),
            // Busy while the holder of a lock is stopped or dies: nothing is stored then either.
            _ if try_look(region, i) == Ok(false) => drop(try_put(region, i)),
            _ => {}
        }
    }
}
