//! The store between processes: children die at random moments, wait for each other, and are stopped.
//!
//! `SWRCACHE_KILLS` sets the number of deaths; `make test-chaos` runs thousands.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swrcache::store::*;

mod support;

use support::*;

fn main() -> ExitCode {
    run(&[tests![
        killed_children_leave_the_region_whole,
        waiters_are_woken_across_processes,
        two_processes_get_one_claim,
        the_claim_of_a_killed_process_is_free_again,
        the_fill_of_a_killed_process_is_broken,
        a_stopped_process_stalls_nobody,
        a_child_has_nothing_before_it_enters,
        more_processes_than_slots_are_refused,
        what_a_killed_process_had_counted_stays,
    ]])
}

fn fill(claim: Claim, random: &mut Random, old: Option<&Object>) {
    let len = match random.below(10) {
        0 => random.below(150_000),
        _ => random.below(6000),
    };
    // A refresh often brings the same bytes.
    let nonce = match old {
        Some(old) if random.below(3) == 0 => nonce_of(old),
        _ => random.next(),
    };
    let key = claim.key().to_vec();
    let meta = meta(nonce, &key);
    let total = (random.below(2) == 0).then_some(len);
    let publish = if random.below(2) == 0 {
        Publish::Now
    } else {
        Publish::AtCommit
    };
    let Ok(mut fill) = Fill::begin(
        claim,
        NewObject {
            replaces: old,
            max_variants: 2,
            ..new(&meta, total, publish)
        },
    ) else {
        return;
    };
    let mut at = 0;
    while at < len {
        let n = (1 + random.below(5000)).min(len - at);
        let part = body(nonce, at..at + n);
        if fill.write(&part).is_err() {
            return;
        }
        at += n;
    }
    match old {
        Some(old) if nonce == nonce_of(old) && old.body().len == len => {
            let _ = fill.commit_as_renewal(old, NewHead::new(&meta, [0; ATTRIBUTES], FAR), 2);
        }
        _ if random.below(20) == 0 => drop(fill),
        _ => match fill.commit(2) {
            Ok(object) => _ = check(&object),
            Err(e) => _ = check(&e.object),
        },
    }
}

fn step(region: &Region, random: &mut Random, kept: &mut Vec<Object>) {
    let key = format!("key {}", random.below(400)).into_bytes();
    match random.below(40) {
        0 => _ = region.remove_key(&key),
        1 => _ = region.sweep(3, 50),
        2 => _ = region.count_in_marker(&key, 1, 3_600_000, 1),
        3 => region.set_marker(&key, 0, 10, 10, 1),
        4 => _ = region.reap(),
        5 => kept.clear(),
        _ => {}
    }
    let Ok(found) = region.lookup(&key, 1, &mut |_| true) else {
        return;
    };
    let Some(object) = found.object else {
        if let Ok(Attempt::Won(claim)) = region.claim_key(&key, 0, 1, 1000, true) {
            fill(claim, random, None);
        }
        return;
    };
    check(&object);
    match random.below(10) {
        0 => _ = region.remove(&object),
        1 | 2 => {
            if let Attempt::Won(claim) = region.claim_object(&object, 1, 1000, true) {
                fill(claim, random, Some(&object));
            }
        }
        3 => {
            if let Attempt::Won(claim) = region.claim_object(&object, 1, 1000, false) {
                let meta = object.meta().to_vec();
                let _ = claim.renew(&object, NewHead::new(&meta, [0; ATTRIBUTES], FAR), 2);
            }
        }
        4 if kept.len() < 20 => kept.push(object),
        _ => {}
    }
}

fn churn(region: &Region, seed: u64) {
    region.enter(None).expect("enter");
    let mut random = Random(seed);
    let mut kept = Vec::new();
    loop {
        step(region, &mut random, &mut kept);
        kept.iter().for_each(|o| _ = check(o));
    }
}

fn validate(region: &Region) -> Summary {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        match region.validate() {
            Err(e) if e.ends_with("busy") => std::thread::yield_now(),
            other => return other.expect("valid"),
        }
    }
    panic!("always busy");
}

fn killed_children_leave_the_region_whole() {
    let kills = std::env::var("SWRCACHE_KILLS").map_or(200, |k| k.parse().expect("a number"));
    let seed = std::env::var("SWRCACHE_SEED").map_or(1, |k| k.parse().expect("a number"));
    let region = region(2 << 20);
    let mut random = Random(seed);
    let spawn = |random: &mut Random| {
        let seed = random.next();
        Child::fork(|| churn(&region, seed))
    };
    let mut children: Vec<Child> = (0..3).map(|_| spawn(&mut random)).collect();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_micros(500 + random.below(20_000)));
        let victim = children.remove(0);
        victim.signal(libc::SIGKILL);
        assert_eq!(victim.wait(), None, "a child failed before it was killed");
        children.push(spawn(&mut random));
        region.reap();
        validate(&region);
    }
    for child in children {
        child.signal(libc::SIGKILL);
        assert_eq!(child.wait(), None, "a child failed before it was killed");
    }
    settle(&region);
    let stats = region.stats();
    println!(
        "{kills} kills, {} repairs, {} inserted, {} evictions",
        stats.repairs, stats.inserted, stats.evictions
    );
    let s = validate(&region);
    assert_eq!(
        (s.pins, s.limbo, s.growing, s.claims, s.held_locks),
        (0, 0, 0, 0, 0),
        "{s:?}"
    );
    for i in 0..400 {
        let found = region
            .lookup(format!("key {i}").as_bytes(), 1, &mut |_| true)
            .expect("not busy");
        found.object.iter().for_each(|o| _ = check(o));
    }
    region.sweep(FAR, u32::MAX);
    region.sweep(FAR, u32::MAX);
    let s = validate(&region);
    assert_eq!(
        (s.objects, s.markers, s.used, s.holes),
        (0, 0, 0, 1),
        "{s:?}"
    );
    assert_eq!(region.stats().payload, 0);
}

/// Reclaims what all dead processes left.
fn settle(region: &Region) {
    for _ in 0..100 {
        region.reap();
        if region.stats().processes == 1 && validate(region).pins == 0 {
            return;
        }
    }
    panic!("never settled: {:?}", validate(region));
}

/// A region that no process has entered.
fn anonymous() -> Region {
    Region::anonymous(1 << 20, &RegionOptions::default()).expect("region")
}

fn wait_for(fd: libc::c_int) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the one pollfd that is passed lives on the stack.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 10_000) };
    assert_eq!(ready, 1, "the process was not woken");
}

fn enter_with_waker(region: &Region, wakers: &Arc<Wakers>) -> WakerId {
    let waker = wakers.claim().expect("a free waker");
    region
        .enter(Some((Arc::clone(wakers), waker)))
        .expect("enter");
    waker
}

fn waiters_are_woken_across_processes() {
    let region = anonymous();
    let wakers = Arc::new(Wakers::new(4).expect("wakers"));
    let waits = Gate::new();
    enter_with_waker(&region, &wakers);
    let Ok(Attempt::Won(claim)) = region.claim_key(b"key", 0, 1, 1000, false) else {
        panic!("free")
    };
    let child = Child::fork(|| {
        let waker = enter_with_waker(&region, &wakers);
        let held = region
            .claim_key(b"key", 0, 1, 1000, true)
            .expect("not busy");
        assert!(matches!(held, Attempt::Held { .. }));
        waits.open(1);
        wait_for(wakers.fd(waker));
        wakers.drain(waker);
        let object = region
            .lookup(b"key", 1, &mut |_| true)
            .expect("not busy")
            .object
            .expect("published");
        let mut cursor = Cursor::default();
        loop {
            object.watch();
            while !object.read(&mut cursor, 100).is_empty() {}
            if object.body().completeness == Completeness::Complete {
                break;
            }
            waits.open(2);
            wait_for(wakers.fd(waker));
            wakers.drain(waker);
        }
        assert_eq!(cursor.pos(), 3000);
        region.leave();
    });
    assert_eq!(waits.pass(), 1);
    let mut fill = Fill::begin(claim, new(b"m", Some(3000), Publish::Now)).expect("begin");
    for _ in 0..3 {
        assert_eq!(waits.pass(), 2);
        fill.write(&[7; 1000]).expect("write");
    }
    assert_eq!(waits.pass(), 2);
    fill.commit(1).expect("commit");
    assert_eq!(child.wait(), Some(0));
    // The child held the object when it left, so its pin ended with its process.
    settle(&region);
}

fn two_processes_get_one_claim() {
    let region = region(1 << 20);
    // A gate of its own for each, so that neither takes the other's turn.
    let (go, wins) = ([Gate::new(), Gate::new()], Gate::new());
    let compete = |go: &Gate| {
        region.enter(None).expect("enter");
        for round in 0..100u32 {
            go.pass();
            let attempt = region
                .claim_key(&round.to_le_bytes(), 0, 1, 1000, false)
                .expect("not busy");
            wins.open(u8::from(matches!(attempt, Attempt::Won(_))));
            // The claim is held until both have asked.
            go.pass();
        }
    };
    let children: Vec<Child> = go.iter().map(|go| Child::fork(|| compete(go))).collect();
    for _ in 0..100 {
        go.iter().for_each(|go| go.open(0));
        assert_eq!(wins.pass() + wins.pass(), 1, "one of two wins");
        go.iter().for_each(|go| go.open(0));
    }
    for child in children {
        assert_eq!(child.wait(), Some(0));
    }
    region.reap();
    let s = validate(&region);
    assert_eq!((s.pins, s.claims, s.markers), (0, 0, 0), "{s:?}");
}

fn the_claim_of_a_killed_process_is_free_again() {
    let region = anonymous();
    let wakers = Arc::new(Wakers::new(2).expect("wakers"));
    let waker = enter_with_waker(&region, &wakers);
    let holds = Gate::new();
    let child = Child::fork(|| {
        region.enter(None).expect("enter");
        let _claim = region
            .claim_key(b"key", 0, 1, FAR, false)
            .expect("not busy");
        holds.open(1);
        loop {
            std::thread::park();
        }
    });
    holds.pass();
    assert!(matches!(
        region.claim_key(b"key", 0, 1, FAR, true),
        Ok(Attempt::Held { .. })
    ));
    child.signal(libc::SIGKILL);
    child.wait();
    assert_eq!(region.reap(), 1);
    wait_for(wakers.fd(waker));
    assert!(matches!(
        region.claim_key(b"key", 0, 1, FAR, true),
        Ok(Attempt::Won(_))
    ));
    settle(&region);
}

fn the_fill_of_a_killed_process_is_broken() {
    let region = region(1 << 20);
    let (wrote, pinned) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        region.enter(None).expect("enter");
        let mut fill =
            Fill::begin(region.unclaimed(b"key"), new(b"m", None, Publish::Now)).expect("begin");
        fill.write(b"half").expect("write");
        wrote.open(1);
        pinned.pass();
        loop {
            std::thread::park();
        }
    });
    wrote.pass();
    let object = region
        .lookup(b"key", 1, &mut |_| true)
        .expect("not busy")
        .object
        .expect("published");
    pinned.open(1);
    assert_eq!(object.body().completeness, Completeness::Growing);
    child.signal(libc::SIGKILL);
    child.wait();
    assert_eq!(region.reap(), 1);
    assert_eq!(
        (object.body().completeness, object.is_current()),
        (Completeness::Broken, false)
    );
    assert_eq!(object.chunk(0), b"half");
    drop(object);
    settle(&region);
    assert_eq!(validate(&region).used, 0);
}

fn a_stopped_process_stalls_nobody() {
    let region = region(2 << 20);
    let child = Child::fork(|| churn(&region, 7));
    let mut random = Random(9);
    for _ in 0..30 {
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        child.signal(libc::SIGSTOP);
        let mut kept = Vec::new();
        let began = Instant::now();
        for _ in 0..3 {
            step(&region, &mut random, &mut kept);
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "stalled for {:?}",
            began.elapsed()
        );
        assert_eq!(region.reap(), 0, "a stopped process lives");
        child.signal(libc::SIGCONT);
    }
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(), None);
    settle(&region);
}

fn a_child_has_nothing_before_it_enters() {
    let region = region(1 << 20);
    let mut fill =
        Fill::begin(region.unclaimed(b"key"), new(b"m", None, Publish::Now)).expect("begin");
    fill.write(b"body").expect("write");
    let object = fill.object();
    let Ok(Attempt::Won(claim)) = region.claim_key(b"key", 0, 1, 1000, false) else {
        panic!("free")
    };
    // The copies that a child inherits are dropped in it, before and after it has entered.
    for enters in [false, true] {
        let inherited = (object.clone(), &claim, &mut fill);
        let child = Child::fork(|| {
            assert!(
                region.lookup(b"key", 1, &mut |_| true).is_err(),
                "not entered"
            );
            if enters {
                region.enter(None).expect("enter");
            }
            assert_eq!(inherited.2.write(b"more"), Err(NoSpace::Ended));
            // SAFETY: the child's copies are read once, and the child ends without dropping them again.
            unsafe {
                drop(std::ptr::read(inherited.1));
                drop(std::ptr::read(inherited.2));
                drop(std::ptr::read(&raw const inherited.0));
            }
        });
        assert_eq!(child.wait(), Some(0));
        drop(object.clone());
    }
    assert!(claim.is_valid() && object.is_current());
    fill.write(b" goes on").expect("write");
    fill.commit(1).expect("commit");
    drop((object, claim));
    settle(&region);
}

fn more_processes_than_slots_are_refused() {
    let region = anonymous();
    let (entered, stay) = (Gate::new(), Gate::new());
    let children: Vec<Child> = (0..126)
        .map(|_| {
            Child::fork(|| {
                region.enter(None).expect("enter");
                entered.open(1);
                stay.pass();
            })
        })
        .collect();
    children.iter().for_each(|_| assert_eq!(entered.pass(), 1));
    assert!(matches!(region.enter(None), Err(StoreError::NoSlot)));
    drop(children);
    // They are dead now, and the first process that reclaims can use their slots.
    region.enter(None).expect("enter");
    settle(&region);
}

/// What a killed process had counted is not lost, and a process that reclaims or reuses its slot counts nothing twice.
fn what_a_killed_process_had_counted_stays() {
    let region = Region::anonymous(8 << 20, &RegionOptions::default()).expect("memory");
    let entered = Gate::new();
    let children: Vec<_> = (0..4)
        .map(|_| {
            Child::fork(|| {
                region.enter(None).expect("a slot");
                entered.open(1);
                // The second counter is incremented last, so the first one is at least as large.
                loop {
                    region.tally(0, 1);
                    region.tally(1, 1);
                }
            })
        })
        .collect();
    children.iter().for_each(|_| assert_eq!(entered.pass(), 1));
    region.enter(None).expect("a slot");
    while region.tallies()[1] < 10_000 {
        std::thread::yield_now();
    }
    let mut last = 0;
    for child in children {
        child.signal(libc::SIGKILL);
        child.wait();
        let now = region.tallies();
        assert!(now[0] >= now[1].max(last), "{} {}", now[0], now[1]);
        last = now[0];
    }
    let [first, second, ..] = region.tallies();
    assert!((0..=4).contains(&(first - second)), "{first} {second}");
    region.reap();
    while !region
        .maintain(Duration::from_millis(50))
        .expect("not busy")
    {}
    assert_eq!(region.tallies()[0], first);
    assert_eq!(region.stats().reaped, 4);
    let next = Child::fork(|| {
        region.enter(None).expect("a slot");
        region.tally(0, 5);
    });
    assert_eq!(next.wait(), Some(0));
    assert_eq!(region.tallies()[0], first + 5);
}
