//! Every write of every operation, once: a child process is killed before its first write to the region, then before
//! its second, and so on until the operation comes to its end. After each death the region must be whole, give
//! back every byte, hold no lock, serve no wrong byte, and have no key that can't be fetched any more.

use std::process::ExitCode;
use std::sync::Arc;

use swrcache::store::*;

mod store_support;

use store_support::*;

const TESTS: &[Test] = &[
    ("crash_in_fills", crash_in_fills),
    ("crash_in_commits", crash_in_commits),
    ("crash_in_renewals", crash_in_renewals),
    ("crash_in_purges", crash_in_purges),
    ("crash_in_claims", crash_in_claims),
    ("crash_in_removals", crash_in_removals),
    ("crash_in_evictions", crash_in_evictions),
    ("crash_in_pins", crash_in_pins),
    ("crash_in_markers", crash_in_markers),
    (
        "crash_in_entering_and_leaving",
        crash_in_entering_and_leaving,
    ),
    ("crash_in_cleaning_up", crash_in_cleaning_up),
    ("crash_in_repairs", crash_in_repairs),
    (
        "crash_in_taking_and_sealing_a_file",
        crash_in_taking_and_sealing_a_file,
    ),
];

fn main() -> ExitCode {
    run(TESTS)
}

const FAR: Millis = 1_000_000_000;
const NOW: Millis = 10;

/// The rest of an operation, every write of which is a place to die at.
type Armed<'a> = Box<dyn FnOnce() + 'a>;

/// What an operation prepares in the child that is to die in it.
struct Operation {
    name: &'static str,
    /// Whether it may take objects that it is not about.
    evicts: bool,
    /// Every so many writes, where an operation repeats a few of them many times; see [`everywhere`].
    stride: u64,
    prepare: fn(&Region) -> Armed<'_>,
}

const fn operation(name: &'static str, prepare: fn(&Region) -> Armed<'_>) -> Operation {
    Operation {
        name,
        evicts: false,
        stride: 1,
        prepare,
    }
}

/// Whether no write is left out (`make test-chaos`).
fn everywhere() -> bool {
    std::env::var_os("SWRCACHE_EVERY_WRITE").is_some()
}

fn content(key: &[u8], nonce: u64) -> Vec<u8> {
    [&nonce.to_le_bytes(), key].concat()
}

fn body(nonce: u64, len: u64) -> Vec<u8> {
    (0..len).map(|i| byte(nonce, i)).collect()
}

fn new<'a>(meta: &'a [u8], total: Option<u64>, publish: Publish) -> NewObject<'a> {
    NewObject {
        meta,
        labels: &[],
        total,
        words: [0; WORDS],
        dead_at: FAR,
        publish,
        replaces: None,
        max_variants: 0,
    }
}

fn put(region: &Region, key: &[u8], nonce: u64, len: u64) -> Object {
    let mut fill = region
        .unclaimed(key)
        .begin(new(&content(key, nonce), Some(len), Publish::AtCommit))
        .expect("room");
    fill.write(&body(nonce, len)).expect("room");
    fill.commit(NOW).expect("current")
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    region
        .lookup(key, NOW, &mut |_| true)
        .expect("not busy")
        .object
}

fn claim(region: &Region, key: &[u8]) -> Claim {
    match region.claim_key(key, 0, NOW, FAR, false) {
        Ok(Attempt::Won(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn claim_on(region: &Region, object: &Object) -> Claim {
    match region.claim_object(object, NOW, FAR, false) {
        Attempt::Won(claim) => claim,
        other => panic!("{other:?}"),
    }
}

/// Every byte that is there must be the one that its meta promises, and the meta must be the key's.
fn check(object: &Object) {
    let nonce = u64::from_le_bytes(object.meta()[..8].try_into().expect("a nonce"));
    assert_eq!(&object.meta()[8..], object.key(), "the meta of another key");
    let (mut cursor, mut at) = (Cursor::default(), 0);
    loop {
        let part = object.read(&mut cursor, 1000);
        if part.is_empty() {
            break;
        }
        for b in part {
            assert!(*b == byte(nonce, at), "a wrong byte at {at} of {object:?}");
            at += 1;
        }
    }
    let state = object.body();
    assert!(
        state.phase != Phase::Complete || state.total == Some(at),
        "{at} bytes of {state:?}"
    );
}

fn enter(region: &Region) {
    region.enter(None).expect("enter");
}

const BYSTANDERS: [&[u8]; 4] = [
    b"one",
    b"two",
    b"three",
    b"a much longer key than the others have",
];

/// A region with others in it, whom no death may touch.
struct World {
    region: Region,
    bells: Arc<Bells>,
    bell: BellId,
    current: Object,
    lingering: Object,
    growing: Fill,
    claim: Claim,
}

impl World {
    fn new() -> World {
        let region = Region::anonymous(Region::min_len() + 64 * 1024, &RegionOptions::default())
            .expect("region");
        region.set_max_object(64 * 1024);
        let bells = Arc::new(Bells::new(4).expect("bells"));
        let bell = bells.claim().expect("a bell");
        region
            .enter(Some((Arc::clone(&bells), bell)))
            .expect("enter");
        for (i, key) in BYSTANDERS.iter().enumerate() {
            put(&region, key, i as u64, 700 * i as u64);
        }
        region.mark_pass(b"passing", FAR, NOW);
        let lingering = put(&region, b"lingers", 77, 3000);
        let current = put(&region, b"current", 78, 5000);
        region.remove(&lingering);
        let mut growing = region
            .unclaimed(b"growing")
            .begin(new(&content(b"growing", 79), None, Publish::Now))
            .expect("room");
        growing.write(&body(79, 2000)).expect("room");
        let claim = claim(&region, b"claimed by another");
        World {
            region,
            bells,
            bell,
            current,
            lingering,
            growing,
            claim,
        }
    }

    fn validate(&self, what: &str) -> Summary {
        let summary = self.region.validate();
        summary.unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// What the others see before anybody has cleaned up.
    fn look_at_once(&self, what: &str) {
        [&self.current, &self.lingering].into_iter().for_each(check);
        for key in BYSTANDERS
            .iter()
            .chain([&b"target"[..], b"old", b"growing"].iter())
        {
            if let Ok(found) = self.region.lookup(key, NOW, &mut |_| true) {
                found.object.iter().for_each(check);
            }
        }
        assert!(self.claim.is_valid(), "{what}: another's claim is gone");
    }

    fn recover(&self, what: &str) {
        for _ in 0..20 {
            self.region.reap();
            if self.region.stats().processes == 1 && self.validate(what).pins <= 5 {
                return;
            }
        }
        panic!("{what}: never settled: {:?}", self.validate(what));
    }

    fn end(mut self, operation: &Operation, what: &str) {
        self.recover(what);
        let s = self.validate(what);
        // Ours: two handles, the fill, the claim's marker.
        assert_eq!(
            (s.pins, s.growing, s.claims, s.held_locks),
            (4, 1, 1, 0),
            "{what}: {s:?}"
        );
        self.look_at_once(what);
        for key in BYSTANDERS {
            let found = get(&self.region, key);
            assert!(
                found.is_some() || operation.evicts,
                "{what}: {key:?} is lost"
            );
        }
        for key in BYSTANDERS
            .iter()
            .chain([&b"target"[..], b"old", b"new"].iter())
        {
            let claim = claim(&self.region, key);
            drop(claim);
            if let Some(object) = get(&self.region, key) {
                check(&object);
                drop(claim_on(&self.region, &object));
            }
        }
        self.growing.write(&body(79, 3000)[2000..]).expect("room");
        let grown = self.growing.commit(NOW).expect("the other fill goes on");
        assert_eq!(grown.body().len, 3000);
        check(&grown);
        put(&self.region, b"new", 1234, 1000);
        drop((grown, self.claim, self.current, self.lingering));
        for _ in 0..2 {
            self.region.sweep(2 * FAR, u32::MAX);
        }
        let s = self.region.validate().expect("valid");
        assert_eq!(
            (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
            (0, 0, 0, 0, 0, 1),
            "{what}: {s:?}"
        );
        assert_eq!(self.region.stats().payload, 0, "{what}");
    }

    fn rung(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.bells.fd(self.bell),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd on the stack.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}

/// Kills a child at each write of the operation.
fn crash_at_each_write(operation: &Operation) {
    let mut n = 0;
    loop {
        let what = format!("{}, before write {n}", operation.name);
        let world = World::new();
        let child = Child::fork(|| {
            enter(&world.region);
            let armed = (operation.prepare)(&world.region);
            crash::arm(n);
            armed();
            crash::disarm();
        });
        let ended = child.wait();
        assert!(matches!(ended, None | Some(0)), "{what}: it failed");
        let was_in = world.region.stats().processes > 1;
        world.look_at_once(&what);
        world.bells.drain(world.bell);
        world.region.reap();
        assert!(
            world.rung() || !was_in,
            "{what}: nobody was told of the death"
        );
        world.end(operation, &what);
        if ended == Some(0) {
            println!("  {}: {n} writes", operation.name);
            return;
        }
        // Where each write costs a hundred processes, not every one is tried in the long form either.
        n += if everywhere() {
            (operation.stride / 20).max(1)
        } else {
            operation.stride
        };
    }
}

fn crash_in_fills() {
    for publish in [
        operation("fill, published at once", |region| {
            Box::new(|| fill(region, Some(3000), Publish::Now))
        }),
        operation("fill, published at its commit", |region| {
            Box::new(|| fill(region, Some(3000), Publish::AtCommit))
        }),
        operation("fill of unknown length", |region| {
            Box::new(|| fill(region, None, Publish::Now))
        }),
        operation("fill that is dropped", |region| {
            Box::new(|| drop(half(region, Publish::Now)))
        }),
        operation("fill that is broken off under its claim", |region| {
            Box::new(|| drop(half(region, Publish::AtCommit).abort()))
        }),
        operation("fill that is too short", |region| {
            Box::new(|| {
                let fill = claim(region, b"target")
                    .begin(new(&content(b"target", 5), Some(3000), Publish::Now))
                    .expect("room");
                assert!(fill.commit(NOW).is_err());
            })
        }),
    ] {
        crash_at_each_write(&publish);
    }
}

fn half(region: &Region, publish: Publish) -> Fill {
    let mut fill = claim(region, b"target")
        .begin(new(&content(b"target", 5), None, publish))
        .expect("room");
    fill.write(&body(5, 6000)).expect("room");
    fill
}

fn fill(region: &Region, total: Option<u64>, publish: Publish) {
    let len = total.unwrap_or(9000);
    let mut fill = claim(region, b"target")
        .begin(new(&content(b"target", 5), total, publish))
        .expect("room");
    for part in body(5, len).chunks(2000) {
        fill.write(part).expect("room");
        fill.extend(FAR + 1);
        fill.set_word(1, 7);
    }
    fill.commit(NOW).expect("current");
}

fn crash_in_commits() {
    crash_at_each_write(&operation("commit that replaces", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            let mut fill = claim_on(region, &old)
                .begin(NewObject {
                    replaces: Some(&old),
                    max_variants: 1,
                    ..new(&content(b"target", 5), Some(900), Publish::AtCommit)
                })
                .expect("room");
            fill.write(&body(5, 900)).expect("room");
            fill.commit(NOW).expect("current");
        })
    }));
    crash_at_each_write(&operation("commit that limits the variants", |region| {
        for i in 0..3 {
            put(region, b"target", i, 300);
        }
        Box::new(|| {
            let mut fill = region
                .unclaimed(b"target")
                .begin(NewObject {
                    max_variants: 1,
                    ..new(&content(b"target", 5), Some(900), Publish::AtCommit)
                })
                .expect("room");
            fill.write(&body(5, 900)).expect("room");
            fill.commit(NOW).expect("current");
        })
    }));
    crash_at_each_write(&operation("commit that was superseded", |region| {
        let claim = claim(region, b"target");
        region.remove_key(b"target");
        Box::new(|| {
            let mut fill = claim
                .begin(new(&content(b"target", 5), Some(900), Publish::AtCommit))
                .expect("room");
            fill.write(&body(5, 900)).expect("room");
            fill.commit(NOW).expect_err("superseded");
        })
    }));
}

fn crash_in_purges() {
    crash_at_each_write(&operation("purge", |region| {
        purging(region, Effect::Remove)
    }));
    crash_at_each_write(&operation("soft purge", |region| {
        purging(region, Effect::Age)
    }));
}

fn purging(region: &Region, effect: Effect) -> Armed<'_> {
    for n in 0..20 {
        put(region, format!("target {n}").as_bytes(), 3, 100);
    }
    let waiting = claim(region, b"target");
    Box::new(move || {
        let targets = Targets {
            prefixes: vec![b"target".as_slice().into()],
            labels: vec![1],
            ..Targets::default()
        };
        let mut purge = region.purge(targets, effect, NOW).expect("not busy");
        assert!(purge.step(u32::MAX).expect("not busy"));
        assert_eq!(purge.purged(), 20);
        drop(waiting);
    })
}

fn crash_in_renewals() {
    crash_at_each_write(&operation("renewal", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            claim_on(region, &old)
                .renew(
                    &old,
                    NewHead::new(&content(b"target", 4), [1; WORDS], FAR),
                    NOW,
                )
                .expect("renewed");
        })
    }));
    crash_at_each_write(&operation("commit as renewal", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            let mut fill = claim_on(region, &old)
                .begin(NewObject {
                    replaces: Some(&old),
                    ..new(&content(b"target", 4), None, Publish::AtCommit)
                })
                .expect("room");
            fill.write(&body(4, 800)).expect("room");
            fill.commit_as_renewal(
                &old,
                NewHead::new(&content(b"target", 4), [1; WORDS], FAR),
                NOW,
            )
            .expect("renewed");
        })
    }));
    crash_at_each_write(&operation("renewal that is refused", |region| {
        let old = put(region, b"target", 4, 800);
        let claim = claim(region, b"target");
        Box::new(move || {
            region.remove_key(b"target");
            claim
                .renew(
                    &old,
                    NewHead::new(&content(b"target", 4), [1; WORDS], FAR),
                    NOW,
                )
                .expect_err("refused");
        })
    }));
}

fn crash_in_claims() {
    crash_at_each_write(&operation("claim on a key", |region| {
        Box::new(|| claim(region, b"target").release())
    }));
    crash_at_each_write(&operation("claim on a key with a marker", |region| {
        region.note_use(b"target", NOW);
        Box::new(|| {
            let claim = claim(region, b"target");
            claim.extend(FAR + 5);
            claim.release();
        })
    }));
    crash_at_each_write(&operation("claim on an object", |region| {
        let object = put(region, b"target", 3, 10);
        Box::new(move || claim_on(region, &object).release())
    }));
    crash_at_each_write(&operation("waiting for a claim", |region| {
        Box::new(|| {
            let held = region.claim_key(b"claimed by another", 0, NOW, FAR, true);
            assert!(matches!(held, Ok(Attempt::Held { .. })));
            get(region, b"growing").expect("it grows").watch();
        })
    }));
    crash_at_each_write(&operation("taking a claim over", |region| {
        let late = region
            .claim_key(b"target", 0, NOW, NOW + 1, false)
            .expect("not busy");
        Box::new(move || {
            let taken = region.claim_key(b"target", 0, NOW + 2, FAR, false);
            assert!(matches!(taken, Ok(Attempt::Won(_))));
            drop(late);
        })
    }));
}

fn crash_in_removals() {
    crash_at_each_write(&operation("removal of an object", |region| {
        let object = put(region, b"target", 3, 5000);
        Box::new(move || {
            assert!(region.remove(&object));
            drop(object);
        })
    }));
    crash_at_each_write(&operation("removal of a key", |region| {
        for i in 0..3 {
            put(region, b"target", i, 300);
        }
        let held = claim(region, b"target");
        Box::new(move || {
            assert_eq!(region.remove_key(b"target"), 3);
            drop(held);
        })
    }));
    crash_at_each_write(&Operation {
        evicts: true,
        stride: 3,
        ..operation("sweep", |region| {
            for key in [&b"target"[..], b"old"] {
                let mut fill = region
                    .unclaimed(key)
                    .begin(NewObject {
                        dead_at: NOW + 1,
                        ..new(&content(key, 5), Some(900), Publish::AtCommit)
                    })
                    .expect("room");
                fill.write(&body(5, 900)).expect("room");
                fill.commit(NOW).expect("current");
            }
            Box::new(|| _ = region.sweep(NOW + 2, u32::MAX))
        })
    });
}

fn crash_in_evictions() {
    crash_at_each_write(&Operation {
        evicts: true,
        ..operation("fill with evictions", |region| {
            fill_up(region);
            Box::new(|| fill(region, Some(9000), Publish::AtCommit))
        })
    });
    crash_at_each_write(&Operation {
        evicts: true,
        ..operation("growth with evictions", |region| {
            fill_up(region);
            Box::new(|| fill(region, None, Publish::Now))
        })
    });
    crash_at_each_write(&Operation {
        evicts: true,
        stride: 5,
        ..operation("fill that finds no room", |region| {
            fill_up(region);
            Box::new(|| {
                let refused = region
                    .unclaimed(b"target")
                    .begin(new(&content(b"target", 1), Some(60_000), Publish::AtCommit))
                    .map(drop);
                let _ = refused;
            })
        })
    });
}

fn fill_up(region: &Region) {
    let mut i = 0;
    while region.stats().evictions == 0 {
        let key = format!("filling {i}").into_bytes();
        put(region, &key, i, 900 + i * 13 % 500);
        if i.is_multiple_of(3) {
            get(region, &key);
        }
        i += 1;
    }
}

fn crash_in_pins() {
    crash_at_each_write(&operation("lookup and drop", |region| {
        Box::new(|| {
            let object = get(region, b"three").expect("there");
            let again = object.clone();
            drop(object);
            drop(again);
            assert!(get(region, b"absent").is_none());
        })
    }));
    crash_at_each_write(&operation(
        "drop of the last handle to a removed object",
        |region| {
            let object = put(region, b"target", 3, 9000);
            region.remove(&object);
            Box::new(|| drop(object))
        },
    ));
    crash_at_each_write(&operation(
        "drop of the last handle to an old head",
        |region| {
            let old = put(region, b"target", 3, 9000);
            let renewed = claim_on(region, &old)
                .renew(
                    &old,
                    NewHead::new(&content(b"target", 3), [1; WORDS], FAR),
                    NOW,
                )
                .expect("renewed");
            Box::new(|| {
                drop(old);
                drop(renewed);
            })
        },
    ));
}

fn crash_in_markers() {
    crash_at_each_write(&operation("what is remembered of a key", |region| {
        Box::new(|| {
            assert_eq!(region.note_use(b"target", NOW), 1);
            region.mark_pass(b"target", FAR, NOW);
            region.annotate(b"target", 5, FAR, NOW);
            region.clear_pass(b"target");
        })
    }));
}

fn crash_in_entering_and_leaving() {
    crash_at_each_write(&operation("leaving and entering", |region| {
        put(region, b"target", 3, 900);
        Box::new(|| {
            region.leave();
            enter(region);
        })
    }));
    crash_at_each_write(&operation("leaving with everything held", |region| {
        let object = put(region, b"target", 3, 900);
        let fill = half_of(region, b"old");
        let claim = claim(region, b"new");
        Box::new(move || {
            region.leave();
            std::mem::forget((object, fill, claim));
        })
    }));
    crash_at_each_write(&Operation {
        stride: 211,
        ..operation("entering in the place of a dead process", |region| {
            region.leave();
            let (entered, stay) = (Gate::new(), Gate::new());
            let others: Vec<Child> = (0..125)
                .map(|i| {
                    Child::fork(|| {
                        enter(region);
                        if i == 0 {
                            std::mem::forget(half_of(region, b"old"));
                        }
                        entered.open(1);
                        stay.pass();
                    })
                })
                .collect();
            others.iter().for_each(|_| _ = entered.pass());
            drop(others);
            Box::new(|| enter(region))
        })
    });
}

fn half_of(region: &Region, key: &[u8]) -> Fill {
    let mut fill = claim(region, key)
        .begin(new(&content(key, 5), None, Publish::Now))
        .expect("room");
    fill.write(&body(5, 6000)).expect("room");
    fill
}

/// Dies with a claim, a fill that is found, one that is not, and pins.
fn die_with_everything(region: &Region) {
    let child = Child::fork(|| {
        enter(region);
        let claim = claim(region, b"target");
        let found = half_of(region, b"old");
        let unseen = region
            .unclaimed(b"new")
            .begin(new(&content(b"new", 5), Some(500), Publish::AtCommit))
            .expect("room");
        let pinned = get(region, b"three");
        std::mem::forget((claim, found, unseen, pinned));
    });
    assert_eq!(child.wait(), Some(0));
}

fn crash_in_cleaning_up() {
    crash_at_each_write(&operation("cleaning up after a death", |region| {
        die_with_everything(region);
        Box::new(|| _ = region.reap())
    }));
}

/// One dies in a fill with evictions, the next one in the repair.
fn crash_in_repairs() {
    for first in [60, 110, 200, 260] {
        let mut n = 0;
        loop {
            let what = format!("repair after a death before write {first}, before write {n}");
            let world = World::new();
            // The second one is in the region already, and finds the lock of the dead.
            let (ready, go) = (Gate::new(), Gate::new());
            let two = Child::fork(|| {
                enter(&world.region);
                ready.open(1);
                go.pass();
                crash::arm(n);
                let _ = world.region.remove_key(b"target");
                crash::disarm();
            });
            ready.pass();
            let one = Child::fork(|| {
                enter(&world.region);
                fill_up(&world.region);
                crash::arm(first);
                fill(&world.region, None, Publish::Now);
            });
            assert_eq!(one.wait(), None, "{what}: the first one lived");
            go.open(1);
            let ended = two.wait();
            assert!(matches!(ended, None | Some(0)), "{what}: it failed");
            world.look_at_once(&what);
            world.end(
                &Operation {
                    evicts: true,
                    ..operation("repair", |_| Box::new(|| ()))
                },
                &what,
            );
            if ended == Some(0) {
                println!("  repair after a death before write {first}: {n} writes");
                break;
            }
            n += if everywhere() { 1 } else { 1 + n / 64 };
        }
    }
}

/// The file of a region that all died in is taken, and sealed; one dies at each write of that, and the next one finds
/// every object all the same. In the making of a new file, too.
fn crash_in_taking_and_sealing_a_file() {
    let dir = std::env::temp_dir().join(format!("swrcache-crash-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let path = dir.join("zone");
    let len = Region::min_len() + 64 * 1024;
    let open = || Region::file(&path, len, &RegionOptions::default()).expect("a region");
    let fill = || {
        let _ = std::fs::remove_file(&path);
        let all = Child::fork(|| {
            let (region, _) = open();
            enter(&region);
            (0..4).for_each(|i| drop(put(&region, BYSTANDERS[i], i as u64, 700 * i as u64)));
            let growing = half_of(&region, b"target");
            let pinned = put(&region, b"old", 9, 100);
            region.remove(&pinned);
            std::mem::forget((growing, pinned));
        });
        assert_eq!(all.wait(), Some(0));
    };
    let take = |region: &Region| {
        enter(region);
        assert_eq!(get(region, b"one").map(|o| check(&o)), Some(()));
        region.leave();
        assert!(region.seal());
    };
    for fresh in [false, true] {
        let mut n = 0;
        loop {
            let what = format!("taking a file (fresh: {fresh}), before write {n}");
            fill();
            if fresh {
                std::fs::remove_file(&path).expect("removed");
            }
            let child = Child::fork(|| {
                crash::arm(n);
                let (region, _) = open();
                if !fresh {
                    take(&region);
                }
                crash::disarm();
            });
            let ended = child.wait();
            let (region, found) = open();
            enter(&region);
            let kept = match found {
                Found::Region { kept, .. } => kept,
                Found::Nothing => 0,
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(kept, if fresh { 0 } else { 4 }, "{what}");
            let s = region.validate().unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(
                (s.objects, s.limbo, s.markers, s.pins),
                (kept, 0, 0, 0),
                "{what}: {s:?}"
            );
            for key in BYSTANDERS {
                assert_eq!(
                    get(&region, key).map(|o| check(&o)).is_some(),
                    !fresh,
                    "{what}"
                );
            }
            assert!(get(&region, b"target").is_none() && get(&region, b"old").is_none());
            put(&region, b"new", 3, 2000);
            if ended == Some(0) {
                println!("  taking a file (fresh: {fresh}): {n} writes");
                break;
            }
            assert_eq!(ended, None, "{what}: it failed");
            n += if everywhere() { 1 } else { 1 + n / 64 };
        }
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
