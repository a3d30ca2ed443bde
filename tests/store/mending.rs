//! Repair and reclaiming after a death, in turns of a single step: what other processes do between the turns, deaths of
//! the leading process at each of its writes, and a leading process that is stopped. In the end the region must be
//! consistent and return every byte, and no object or counter may be lost or gained.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use swrcache::store::*;

mod support;

use support::*;

const TESTS: &[Test] = &[
    ("others_go_on_during_a_repair", others_go_on_during_a_repair),
    ("crash_between_and_in_turns_of_a_repair", crash_in_repair),
    (
        "crash_between_and_in_turns_of_cleaning_up",
        crash_in_cleaning_up,
    ),
    (
        "a_mender_that_is_stopped_is_replaced",
        a_mender_that_is_stopped_is_replaced,
    ),
    (
        "a_place_is_cleaned_in_turns_before_it_is_taken",
        a_place_is_cleaned_in_turns_before_it_is_taken,
    ),
];

fn main() -> ExitCode {
    crash::set_steps_per_budget(Some(1));
    run(&[TESTS])
}

const NOW: Millis = 10;
/// Writes of a fill with evictions at which a process dies while it holds the arena lock.
const DEATHS: [u64; 5] = [25, 60, 110, 200, 260];

fn put(region: &Region, key: &[u8], nonce: u64, len: u64) -> Option<Object> {
    let meta = meta(nonce, key);
    let begun = Fill::begin(
        region.unclaimed(key),
        new(&meta, Some(len), Publish::AtCommit),
    );
    let mut fill = begun.ok()?;
    fill.write(&body(nonce, 0..len)).ok()?;
    fill.commit(NOW).ok()
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    let found = region.lookup(key, NOW, &mut |_| true);
    found.expect("lookups wait for nobody").object
}

fn enter(region: &Region) {
    region.enter(None).expect("a place");
}

/// Does a step; returns true when nothing is left to do.
fn step(region: &Region) -> bool {
    region.maintain(Duration::ZERO).expect("nobody is stopped")
}

/// An upper bound of the steps of a repair or of reclaiming in these regions.
const MOST_STEPS: usize = 2000;

fn settle(region: &Region, what: &str) {
    region.reap();
    assert!(
        (0..MOST_STEPS).any(|_| step(region)),
        "{what}: it never ends"
    );
    // What could not be unpinned before.
    region.reap();
}

/// A region with other processes in it, which no death may affect.
struct Town {
    region: Region,
    /// Handles of current and unlinked objects.
    held: Vec<Object>,
    growing: Option<Fill>,
    claim: Option<Claim>,
}

impl Town {
    fn new() -> Town {
        let len = Region::min_len() + 64 * 1024;
        let region = Region::anonymous(len, &RegionOptions::default()).expect("a region");
        region.set_max_object(64 * 1024);
        enter(&region);
        for i in 0..6u8 {
            put(&region, &[b'a' + i], u64::from(i), 500 * u64::from(i)).expect("room");
        }
        let mut held = Vec::new();
        for i in 0..6u8 {
            let key = [b'A' + i];
            held.extend(put(&region, &key, 50 + u64::from(i), 900));
            if i % 2 == 0 {
                region.remove_key(&key);
            }
        }
        // Two heads that share a body; the old one is pinned.
        let old = put(&region, b"renewed", 70, 2000).expect("room");
        let head = meta(70, b"renewed");
        let renewed =
            claim_on(&region, &old).renew(&old, NewHead::new(&head, [1; ATTRIBUTES], FAR), NOW);
        held.extend([old, renewed.expect("renewed")]);
        let head = meta(79, b"growing");
        let mut growing = Fill::begin(
            region.unclaimed(b"growing"),
            new(&head, Some(3000), Publish::Now),
        )
        .expect("room");
        growing.write(&body(79, 0..1000)).expect("room");
        let Ok(Attempt::Won(claim)) = region.claim_key(b"claimed", 0, NOW, FAR, false) else {
            panic!("it is free");
        };
        Town {
            region,
            held,
            growing: Some(growing),
            claim: Some(claim),
        }
    }

    /// A process dies before that write of a fill that evicts.
    fn die_filling(&self, write: u64) {
        let child = Child::fork(|| {
            enter(&self.region);
            fill_up(&self.region);
            crash::arm(write);
            put(&self.region, b"target", 5, 9000);
        });
        assert_eq!(child.wait(), None, "it lived");
    }

    /// The same. Returns true if a repair is needed, which has then begun.
    fn death(&self, write: u64) -> bool {
        self.die_filling(write);
        self.region.reap();
        put(&self.region, b"nobody has room", 1, 10).is_none()
    }

    fn look(&self) {
        self.held.iter().for_each(|o| _ = check(o));
        for key in [b"a", b"b", b"c", b"d", b"e", b"f", b"B", b"D", b"F"] {
            get(&self.region, key).iter().for_each(|o| _ = check(o));
        }
        let keys: [&[u8]; 4] = [b"renewed", b"growing", b"target", b"filling 3"];
        keys.iter()
            .for_each(|key| get(&self.region, key).iter().for_each(|o| _ = check(o)));
    }

    /// The end: everything is consistent, and all memory can be used again.
    fn end(mut self, what: &str) {
        settle(&self.region, what);
        let s = self
            .region
            .validate()
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let ours = self.held.len() + usize::from(self.growing.is_some());
        let claimed = usize::from(self.claim.is_some());
        assert_eq!(
            (s.pins as usize, s.growing as usize, s.claims as usize),
            (ours + claimed, usize::from(self.growing.is_some()), claimed),
            "{what}: {s:?}"
        );
        assert_eq!(self.region.stats().processes, 1, "{what}");
        self.look();
        if let Some(mut fill) = self.growing.take() {
            let left = body(79, fill.len()..3000);
            fill.write(&left).expect("its room was taken before");
            check(&fill.commit(NOW).expect("the fill goes on"));
        }
        assert!(self.claim.as_ref().is_none_or(Claim::is_valid), "{what}");
        assert!(put(&self.region, b"new", 3, 2000).is_some(), "{what}");
        self.held.clear();
        self.claim = None;
        (0..2).for_each(|_| _ = self.region.sweep(2 * FAR, u32::MAX));
        let s = self
            .region
            .validate()
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(
            (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
            (0, 0, 0, 0, 0, 1),
            "{what}: {s:?}"
        );
        assert_eq!(self.region.stats().payload, 0, "{what}");
    }
}

fn claim_on(region: &Region, object: &Object) -> Claim {
    match region.claim_object(object, NOW, FAR, false) {
        Attempt::Won(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn fill_up(region: &Region) {
    let mut i = 0;
    while region.stats().evictions == 0 {
        let key = format!("filling {i}").into_bytes();
        drop(put(region, &key, i, 900 + i * 13 % 500));
        i += 1;
    }
}

type Deed = fn(&mut Town);

/// What other processes do during a repair, each at any of its steps.
const DEEDS: &[(&str, Deed)] = &[
    ("lookups, pins and unpins", |town| {
        let found: Vec<_> = (b'a'..b'g')
            .filter_map(|k| get(&town.region, &[k]))
            .collect();
        let again = found.clone();
        drop(found);
        again.iter().for_each(|o| _ = check(o));
    }),
    ("a new pin that stays", |town| {
        let found = (b'a'..b'g').find_map(|k| get(&town.region, &[k]));
        town.held.extend(found);
    }),
    ("the last unpins of what is unlinked", |town| {
        let (unlinked, linked) = town.held.drain(..).partition(|o| !o.is_current());
        drop::<Vec<_>>(unlinked);
        town.held = linked;
    }),
    ("the last unpins of what is linked", |town| {
        town.held.retain(|o| !o.is_current());
    }),
    ("claims", |town| {
        for object in town.held.iter().filter(|o| o.is_current()) {
            drop(claim_on(&town.region, object));
        }
        let again = town.region.claim_key(b"claimed", 0, NOW, FAR, true);
        assert!(matches!(again, Ok(Attempt::Held { .. })));
        town.claim = None;
    }),
    ("a fill that goes on", |town| {
        let fill = town.growing.as_mut().expect("it has not ended");
        fill.object().watch();
        fill.write(&body(79, fill.len()..2000))
            .expect("its room was taken before");
        check(&get(&town.region, b"growing").expect("it is found"));
    }),
    ("a fill that breaks off", |town| {
        town.growing = None;
        assert!(get(&town.region, b"growing").is_none());
    }),
    ("a fill that ends well", |town| {
        let mut fill = town.growing.take().expect("it has not ended");
        fill.write(&body(79, fill.len()..3000))
            .expect("its room was taken before");
        check(&fill.commit(NOW).expect("it was published before"));
    }),
    ("what wants room or removes something", |town| {
        // Each of these does a step, which may be the last one.
        let repairs = town.region.stats().repairs;
        let stored = put(&town.region, b"more", 4, 100);
        let removed = town.region.try_remove_key(b"a");
        let marker = town.region.claim_key(b"unknown", 0, NOW, FAR, false);
        if town.region.stats().repairs == repairs {
            assert!(stored.is_none() && removed.is_err() && marker.is_err());
        }
        stored.iter().for_each(|o| _ = check(o));
    }),
    ("another process comes, holds something, and dies", |town| {
        let child = Child::fork(|| {
            enter(&town.region);
            let held: Vec<_> = (b'a'..b'g')
                .filter_map(|k| get(&town.region, &[k]))
                .collect();
            let claims: Vec<_> = held.iter().map(|o| claim_on(&town.region, o)).collect();
            std::mem::forget((held, claims));
        });
        assert_eq!(child.wait(), Some(0));
    }),
    ("another process comes and goes", |town| {
        let child = Child::fork(|| {
            enter(&town.region);
            town.look();
            assert!(put(&town.region, b"more", 4, 100).is_none());
            assert_eq!(
                town.region.maintain(Duration::ZERO),
                Ok(true),
                "it is not in charge"
            );
            town.region.leave();
        });
        assert_eq!(child.wait(), Some(0));
    }),
];

/// Whether no step and no write is skipped (`make test-chaos`).
fn everywhere() -> bool {
    std::env::var_os("SWRCACHE_EVERY_WRITE").is_some()
}

fn others_go_on_during_a_repair() {
    let mut repairs = 0;
    let stride = if everywhere() { 1 } else { 5 };
    for write in DEATHS {
        for (i, (name, deed)) in DEEDS.iter().enumerate() {
            for at in (i % stride..).step_by(stride) {
                let what = format!("{name}, at step {at} of a repair after write {write}");
                let mut town = Town::new();
                if !town.death(write) {
                    break;
                }
                repairs += 1;
                let before = town.region.stats().repairs;
                let over = || town.region.stats().repairs > before;
                if (0..at).any(|_| step(&town.region) || over()) {
                    town.end(&what);
                    break;
                }
                deed(&mut town);
                town.look();
                town.end(&what);
            }
        }
    }
    assert!(repairs > 100, "{repairs}");
    println!("  {repairs} repairs");
}

/// Continues the maintenance, with other operations in between, as a worker does.
fn work_and_mend(region: &Region) {
    let mut held = Vec::new();
    for i in 0..MOST_STEPS {
        if step(region) {
            return;
        }
        let key = [b'a' + (i % 6) as u8];
        if let Some(object) = get(region, &key) {
            drop(region.claim_object(&object, NOW, FAR, true));
            held.push(object);
        }
        if i % 3 == 2 {
            held.clear();
        }
    }
    panic!("it never ends");
}

/// The leading process dies before each of its writes, within its turns and between them.
fn die_mending(prepare: impl Fn(&Town), stride: u64) -> u64 {
    let mut n = 0;
    loop {
        let what = format!("before write {n} of mending");
        let town = Town::new();
        // It has entered the region before the death that it finds.
        let (ready, go) = (Gate::new(), Gate::new());
        let mender = Child::fork(|| {
            enter(&town.region);
            ready.open(1);
            go.pass();
            town.region.reap();
            crash::arm(n);
            work_and_mend(&town.region);
            crash::disarm();
        });
        ready.pass();
        prepare(&town);
        go.open(1);
        let ended = mender.wait();
        assert!(matches!(ended, None | Some(0)), "{what}: it failed");
        town.look();
        town.end(&what);
        if ended == Some(0) {
            return n;
        }
        n += if everywhere() { 1 } else { 1 + n / stride };
    }
}

fn crash_in_repair() {
    for write in DEATHS {
        let writes = die_mending(|town| town.die_filling(write), 48);
        println!("  mending after a death before write {write}: {writes} writes");
    }
}

fn crash_in_cleaning_up() {
    let writes = die_mending(
        |town| {
            let child = Child::fork(|| {
                enter(&town.region);
                let held: Vec<_> = (b'a'..b'g')
                    .filter_map(|k| get(&town.region, &[k]))
                    .collect();
                // Unlinked, and pinned by the dead process only.
                let unlinked = put(&town.region, b"target", 5, 900);
                town.region.remove_key(b"target");
                let head = meta(6, b"old");
                let fill = Fill::begin(
                    town.region.unclaimed(b"old"),
                    new(&head, None, Publish::Now),
                );
                let claim = town.region.claim_key(b"new", 0, NOW, FAR, false);
                std::mem::forget((held, unlinked, fill, claim));
            });
            assert_eq!(child.wait(), Some(0));
        },
        128,
    );
    println!("  cleaning up: {writes} writes");
}

/// A process is stopped between two turns of a repair, and another takes over after a while. What the first one had
/// found is void when it continues: during the other's repair, or during the one after the next death.
fn a_mender_that_is_stopped_is_replaced() {
    for done_when_it_is_back in [false, true] {
        let what = format!("done: {done_when_it_is_back}");
        let town = Town::new();
        let (ready, go, back) = (Gate::new(), Gate::new(), Gate::new());
        let first = Child::fork(|| {
            enter(&town.region);
            ready.open(1);
            go.pass();
            town.region.reap();
            (0..60).for_each(|_| assert!(!step(&town.region), "it is in charge"));
            ready.open(1);
            // Stopped: it does nothing more, but is alive.
            back.pass();
            if done_when_it_is_back {
                // It leads again, another repair.
                town.region.reap();
                work_and_mend(&town.region);
            } else {
                assert!(step(&town.region), "it is not in charge any more");
            }
            ready.open(1);
            back.pass();
            town.region.leave();
        });
        ready.pass();
        let victim = |write: u64| {
            let child = Child::fork(|| {
                enter(&town.region);
                fill_up(&town.region);
                crash::arm(write);
                put(&town.region, b"target", 5, 9000);
            });
            assert_eq!(child.wait(), None, "it lived");
        };
        victim(DEATHS[2]);
        go.open(1);
        ready.pass();
        let repairs = town.region.stats().repairs;
        let began = Instant::now();
        assert!(step(&town.region), "another is in charge");
        assert!(put(&town.region, b"more", 4, 100).is_none());
        while step(&town.region) {
            town.look();
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(1), "{waited:?}");
        assert_eq!(town.region.stats().repairs, repairs, "{what}");
        if done_when_it_is_back {
            settle(&town.region, &what);
            assert_eq!(town.region.stats().repairs, repairs + 1, "{what}");
            victim(DEATHS[3]);
        }
        back.open(1);
        ready.pass();
        settle(&town.region, &what);
        back.open(1);
        assert_eq!(first.wait(), Some(0), "{what}");
        town.end(&what);
    }
}

fn a_place_is_cleaned_in_turns_before_it_is_taken() {
    let town = Town::new();
    let (entered, stay) = (Gate::new(), Gate::new());
    let others: Vec<Child> = (0..125)
        .map(|i| {
            Child::fork(|| {
                enter(&town.region);
                if i == 0 {
                    std::mem::forget((get(&town.region, b"a"), get(&town.region, b"B")));
                }
                entered.open(1);
                stay.pass();
            })
        })
        .collect();
    others.iter().for_each(|_| _ = entered.pass());
    let late = Child::fork(|| {
        assert!(matches!(town.region.enter(None), Err(StoreError::NoSlot)));
        entered.open(1);
        stay.pass();
        let mut calls = 1;
        while let Err(e) = town.region.enter(None) {
            assert!(matches!(e, StoreError::NoSlotYet), "{e}");
            // Until then it is not found.
            assert!(town.region.lookup(b"a", NOW, &mut |_| true).is_err());
            calls += 1;
        }
        assert!((3..MOST_STEPS).contains(&calls), "{calls}");
        check(&get(&town.region, b"a").expect("it is found"));
        town.region.leave();
    });
    entered.pass();
    drop(others);
    stay.open(1);
    assert_eq!(late.wait(), Some(0));
    town.end("after all have died");
}
