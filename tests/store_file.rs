//! Regions in files: what a later start finds, and what it makes of files that are damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use swrcache::store::*;

mod store_support;

use store_support::*;

const TESTS: &[Test] = &[
    ("a_file_comes_up_warm", a_file_comes_up_warm),
    ("what_was_under_way_is_gone", what_was_under_way_is_gone),
    ("a_file_in_use_is_left_alone", a_file_in_use_is_left_alone),
    (
        "a_child_and_its_parent_share_a_file",
        a_child_and_its_parent_share_a_file,
    ),
    (
        "anyone_may_join_who_lets_anyone",
        anyone_may_join_who_lets_anyone,
    ),
    ("a_foreign_file_is_left_alone", a_foreign_file_is_left_alone),
    ("a_useless_file_is_replaced", a_useless_file_is_replaced),
    (
        "a_file_from_before_a_crash_of_the_machine",
        a_file_from_before_a_crash_of_the_machine,
    ),
    (
        "what_was_purged_does_not_come_back_with_old_pages",
        what_was_purged_does_not_come_back_with_old_pages,
    ),
    (
        "threads_that_open_a_file_together_share_it",
        threads_that_open_a_file_together_share_it,
    ),
    (
        "a_file_without_descriptors_is_in_use_all_the_same",
        a_file_without_descriptors_is_in_use_all_the_same,
    ),
    (
        "who_leaves_with_handles_is_gone_with_the_last_of_them",
        who_leaves_with_handles_is_gone_with_the_last_of_them,
    ),
    (
        "processes_that_cannot_see_each_other_do_not_share",
        processes_that_cannot_see_each_other_do_not_share,
    ),
    ("holes_of_a_copy_are_filled", holes_of_a_copy_are_filled),
    (
        "what_is_not_summed_keeps_nothing_from_a_purge",
        what_is_not_summed_keeps_nothing_from_a_purge,
    ),
    ("damage_is_never_served", damage_is_never_served),
    (
        "killed_with_all_its_processes",
        killed_with_all_its_processes,
    ),
    ("no_room_on_the_disk", no_room_on_the_disk),
    (
        "a_large_file_comes_up_in_no_time",
        a_large_file_comes_up_in_no_time,
    ),
];

fn main() -> ExitCode {
    run(TESTS)
}

const FAR: Millis = 1_000_000_000;
const LEN: usize = 1 << 20;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let dir = std::env::temp_dir().join(format!("swrcache-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a folder");
        Folder(dir)
    }
    fn zone(&self) -> PathBuf {
        self.0.join("zone")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_open(path: &Path, len: usize) -> Result<(Region, Found), StoreError> {
    Region::file(path, len, &RegionOptions::default())
}

fn open(path: &Path, len: usize) -> (Region, Found) {
    let (region, found) = try_open(path, len).expect("a region");
    region.enter(None).expect("enter");
    (region, found)
}

fn new(meta: &[u8], total: Option<u64>) -> NewObject<'_> {
    NewObject {
        meta,
        labels: &[],
        total,
        words: [1, 2, 3, 4],
        dead_at: FAR,
        publish: Publish::AtCommit,
        replaces: None,
        max_variants: 0,
    }
}

fn key(i: u64) -> Vec<u8> {
    format!("http://example.test/{i}").into_bytes()
}

fn body(nonce: u64, len: u64) -> Vec<u8> {
    (0..len).map(|i| byte(nonce, i)).collect()
}

fn length(i: u64) -> u64 {
    i * 97 % 3000
}

/// Stores object `i`, whose every byte follows from its number.
fn put(region: &Region, i: u64) -> Object {
    try_put(region, i).expect("current")
}

/// The same, or nothing where another removed the key meanwhile.
fn try_put(region: &Region, i: u64) -> Option<Object> {
    let mut fill = region
        .unclaimed(&key(i))
        .begin(new(
            &i.to_le_bytes(),
            i.is_multiple_of(2).then_some(length(i)),
        ))
        .expect("room");
    for part in body(i, length(i)).chunks(1000) {
        fill.write(part).expect("room");
    }
    fill.commit(1).ok()
}

fn bytes(object: &Object) -> Vec<u8> {
    let (mut cursor, mut all) = (Cursor::default(), Vec::new());
    while let part @ [_, ..] = object.read(&mut cursor, 700) {
        all.extend_from_slice(part);
    }
    all
}

/// Whether object `i` is found; if so it must be right to the last byte.
fn is_there(region: &Region, i: u64) -> bool {
    let found = region.lookup(&key(i), 1, &mut |_| true);
    let Some(object) = found.expect("not busy").object else {
        return false;
    };
    assert_eq!(object.key(), key(i));
    assert_eq!(object.meta(), i.to_le_bytes(), "the meta of another");
    assert!(bytes(&object) == body(i, length(i)), "wrong bytes in {i}");
    assert_eq!(object.body().len, length(i));
    true
}

fn there(region: &Region, of: u64) -> u64 {
    (0..of).filter(|i| is_there(region, *i)).count() as u64
}

fn check_empty(region: &Region) {
    let stats = region.stats();
    assert_eq!((stats.objects, stats.used), (0, 0), "{stats:?}");
    put(region, 1);
    assert!(is_there(region, 1));
    region.validate().expect("valid");
}

fn a_file_comes_up_warm() {
    let folder = Folder::new();
    for round in 0..3 {
        let (region, found) = open(&folder.zone(), LEN);
        match (round, found) {
            (0, Found::Nothing) => {}
            (
                _,
                Found::Region {
                    kept: 100,
                    dropped: 0,
                    clean: true,
                },
            ) => {}
            other => panic!("{other:?}"),
        }
        let before = if round == 0 { 0 } else { 100 };
        assert_eq!(there(&region, 100), before);
        if round > 0 {
            let found = region.lookup(&key(7), 1, &mut |_| true).expect("not busy");
            let object = found.object.expect("there");
            let words = [0, 1, 2, 3].map(|i| object.word(i).load(Relaxed));
            assert_eq!(words, [1, 2, 10 * (round - 1), 4]);
            assert_eq!((object.born(), object.dead_at()), (1, FAR));
        }
        for i in before..100 {
            put(&region, i);
        }
        let found = region.lookup(&key(7), 1, &mut |_| true).expect("not busy");
        found
            .object
            .expect("there")
            .word(2)
            .store(10 * round, Relaxed);
        region.leave();
        assert!(region.seal());
    }
    assert_eq!(
        fs::metadata(folder.zone()).expect("a file").mode() & 0o777,
        0o600
    );
}

/// Claims, markers, growing objects, pins and removed objects that are still read end with their processes.
fn what_was_under_way_is_gone() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    (0..20).for_each(|i| drop(put(&region, i)));
    let removed = put(&region, 20);
    region.remove(&removed);
    let mut growing = region
        .unclaimed(&key(21))
        .begin(NewObject {
            publish: Publish::Now,
            ..new(&21u64.to_le_bytes(), None)
        })
        .expect("room");
    growing.write(&body(21, 10)).expect("room");
    let claim = region.claim_key(&key(22), 0, 1, FAR, false);
    region.mark_pass(&key(23), FAR, 1);
    // As if all its processes had been killed: nobody says goodbye.
    std::mem::forget((removed, growing, claim));
    fs::copy(folder.zone(), folder.0.join("copy")).expect("a copy");
    let (region, found) = open(&folder.0.join("copy"), LEN);
    assert!(
        matches!(
            found,
            Found::Region {
                kept: 20,
                dropped: 1,
                clean: false
            }
        ),
        "{found:?}"
    );
    let s = region.validate().expect("valid");
    assert_eq!(
        (s.objects, s.markers, s.limbo, s.pins, s.claims),
        (20, 0, 0, 0, 0)
    );
    assert_eq!(there(&region, 30), 20);
    for i in 20..24 {
        let attempt = region.claim_key(&key(i), 0, 1, FAR, false);
        assert!(matches!(attempt, Ok(Attempt::Won(_))));
    }
    assert_eq!((0..30).map(|i| region.remove_key(&key(i))).sum::<u32>(), 20);
    assert_eq!(region.validate().expect("valid").used, 0);
}

fn a_file_in_use_is_left_alone() {
    let folder = Folder::new();
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), LEN);
        put(&region, 1);
        held.open(1);
        go.pass();
        assert!(is_there(&region, 1));
        put(&region, 2);
    });
    held.pass();
    for len in [LEN, 2 * LEN] {
        let refused = try_open(&folder.zone(), len);
        assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    }
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (region, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Region { kept: 2, .. }), "{found:?}");
    assert_eq!(there(&region, 3), 2);
}

fn a_child_and_its_parent_share_a_file() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    put(&region, 1);
    let child = Child::fork(|| {
        let (again, found) = open(&folder.zone(), LEN);
        assert!(matches!(found, Found::Shared), "{found:?}");
        assert!(is_there(&again, 1));
        put(&again, 2);
        assert!(!again.seal(), "another is in it");
        again.leave();
    });
    assert_eq!(child.wait(), Some(0));
    assert!(is_there(&region, 2));
    // One that goes on after the first has ended still has the lock.
    let go = Gate::new();
    let child = Child::fork(|| {
        region.enter(None).expect("enter");
        go.pass();
    });
    region.leave();
    drop(region);
    let other = Child::fork(|| {
        // A process of another family would not have the descriptor.
        let fds = fs::read_dir("/proc/self/fd").expect("fds");
        let zone = fs::metadata(folder.zone()).expect("a file").ino();
        let ours: Vec<i32> = fds
            .filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok())
            .filter(|fd| fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|m| m.ino() == zone))
            .collect();
        assert_eq!(ours, [0i32; 0]);
        assert!(matches!(
            try_open(&folder.zone(), LEN),
            Err(StoreError::InUse)
        ));
    });
    assert_eq!(other.wait(), Some(0));
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (_, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Region { kept: 2, .. }), "{found:?}");
}

fn anyone_may_join_who_lets_anyone() {
    let folder = Folder::new();
    let anyone = |len| {
        let opt = RegionOptions {
            share: Share::Anyone,
            ..RegionOptions::default()
        };
        let opened = Region::file(&folder.zone(), len, &opt);
        opened.inspect(|(region, _)| region.enter(None).expect("enter"))
    };
    // They start at once: one makes it, the others join.
    let (ready, go) = (Gate::new(), Gate::new());
    let children: Vec<Child> = (0..4)
        .map(|i| {
            let (ready, go, anyone) = (&ready, &go, &anyone);
            Child::fork(move || {
                let (region, found) = anyone(LEN).expect("a region");
                assert!(matches!(found, Found::Nothing | Found::Shared), "{found:?}");
                put(&region, i);
                ready.open(1);
                go.pass();
                assert_eq!(there(&region, 10), 4);
            })
        })
        .collect();
    children.iter().for_each(|_| _ = ready.pass());
    assert!(matches!(
        try_open(&folder.zone(), LEN),
        Err(StoreError::InUse)
    ));
    assert!(matches!(anyone(2 * LEN), Err(StoreError::Length { .. })));
    let (region, found) = anyone(LEN).expect("a region");
    assert!(matches!(found, Found::Shared), "{found:?}");
    assert_eq!(there(&region, 10), 4);
    children.iter().for_each(|_| go.open(1));
    children
        .into_iter()
        .for_each(|c| assert_eq!(c.wait(), Some(0)));
    drop(region);
    // Who was the last to have it has it alone.
    let (region, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Region { kept: 4, .. }), "{found:?}");
    assert!(matches!(anyone(LEN), Ok((_, Found::Shared))), "our own");
    drop(region);
}

fn a_foreign_file_is_left_alone() {
    let folder = Folder::new();
    let text = "the only copy of somebody's work\n".repeat(1000);
    for content in [text.as_bytes(), b"x", &[0; 4096]] {
        fs::write(folder.zone(), content).expect("written");
        let refused = try_open(&folder.zone(), LEN);
        assert!(matches!(refused, Err(StoreError::Foreign)), "{refused:?}");
        assert!(fs::read(folder.zone()).expect("there") == content);
    }
    fs::remove_file(folder.zone()).expect("removed");
    fs::create_dir(folder.zone()).expect("a folder");
    assert!(matches!(
        try_open(&folder.zone(), LEN),
        Err(StoreError::Foreign)
    ));
    fs::remove_dir(folder.zone()).expect("removed");
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), folder.zone()).expect("a link");
    assert!(matches!(
        try_open(&folder.zone(), LEN),
        Err(StoreError::Foreign)
    ));
    let nowhere = folder.0.join("no such folder/zone");
    assert!(matches!(try_open(&nowhere, LEN), Err(StoreError::Os(_))));
    fs::remove_file(folder.zone()).expect("removed");
    fs::write(folder.zone(), "").expect("written");
    let (region, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Nothing), "{found:?}");
    check_empty(&region);
}

fn a_useless_file_is_replaced() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("is cut short", |p| cut(p, LEN as u64 / 2)),
        ("is cut short within its head", |p| cut(p, 100)),
        ("is cut short within its magic", |p| cut(p, 5)),
        ("is longer", |p| cut(p, LEN as u64 * 2)),
        ("has another layout", |p| {
            overwrite(p, 8, &99u32.to_le_bytes())
        }),
        ("was found to contradict itself", |p| {
            overwrite(p, 12, &1u32.to_le_bytes())
        }),
    ];
    for (what, damage) in damages {
        let folder = Folder::new();
        fill(&folder.zone());
        damage(&folder.zone());
        let (region, found) = open(&folder.zone(), LEN);
        println!("  a file that {what}: {found:?}");
        assert!(matches!(found, Found::Useless(_)), "{what}: {found:?}");
        check_empty(&region);
        region.leave();
        drop(region);
        let (_, found) = open(&folder.zone(), LEN);
        assert!(
            matches!(found, Found::Region { kept: 1, .. }),
            "{what}: {found:?}"
        );
        assert!(!folder.0.join("zone.new").exists());
    }
    // Another length was asked for.
    let folder = Folder::new();
    fill(&folder.zone());
    let (region, found) = open(&folder.zone(), 2 * LEN);
    assert!(
        matches!(found, Found::Useless(StoreError::Length { .. })),
        "{found:?}"
    );
    check_empty(&region);
}

/// Leaves a file with 50 objects, sealed.
fn fill(path: &Path) {
    let child = Child::fork(|| {
        let (region, _) = open(path, LEN);
        (0..50).for_each(|i| drop(put(&region, i)));
        region.leave();
        assert!(region.seal());
    });
    assert_eq!(child.wait(), Some(0));
}

fn cut(path: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(len).expect("cut");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(bytes, at).expect("written");
}

/// What the disk has of a region that was in use when the machine stopped is not known.
fn a_file_from_before_a_crash_of_the_machine() {
    for clean in [true, false] {
        let folder = Folder::new();
        fill(&folder.zone());
        if !clean {
            let (region, _) = open(&folder.zone(), LEN);
            drop(region);
            let (region, found) = open(&folder.zone(), LEN);
            assert!(
                matches!(
                    found,
                    Found::Region {
                        kept: 50,
                        clean: false,
                        ..
                    }
                ),
                "{found:?}"
            );
            drop(region);
        }
        // The place of the boot id: behind magic, version, poisoned, length, seed, max_object, era and durable.
        overwrite(&folder.zone(), 48, &[7; 16]);
        let (region, found) = open(&folder.zone(), LEN);
        if clean {
            assert!(
                matches!(
                    found,
                    Found::Region {
                        kept: 50,
                        clean: true,
                        ..
                    }
                ),
                "{found:?}"
            );
            assert_eq!(there(&region, 50), 50);
        } else {
            assert!(
                matches!(found, Found::Useless(StoreError::Unsettled)),
                "{found:?}"
            );
            check_empty(&region);
        }
    }
}

/// After two clean runs the machine stops, with only the header of the second on the disk.
fn what_was_purged_does_not_come_back_with_old_pages() {
    let folder = Folder::new();
    fill(&folder.zone());
    let old = fs::read(folder.zone()).expect("a file");
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), LEN);
        assert_eq!(region.remove_key(&key(7)), 1);
        region.leave();
        assert!(region.seal());
    });
    assert_eq!(child.wait(), Some(0));
    overwrite(&folder.zone(), 4096, &old[4096..]);
    overwrite(&folder.zone(), 48, &[7; 16]);
    let (region, found) = open(&folder.zone(), LEN);
    assert!(!is_there(&region, 7), "{found:?}");
}

fn threads_that_open_a_file_together_share_it() {
    let folder = Folder::new();
    fill(&folder.zone());
    let opt = RegionOptions {
        share: Share::Anyone,
        ..RegionOptions::default()
    };
    let all = std::sync::Barrier::new(4);
    for _ in 0..40 {
        let opened = || {
            all.wait();
            let opened = Region::file(&folder.zone(), LEN, &opt);
            let entered = matches!(&opened, Ok((region, _)) if region.enter(None).is_ok());
            // All have it before one looks, and all have looked before one lets go.
            all.wait();
            let processes = opened
                .as_ref()
                .map_or(0, |(region, _)| region.stats().processes);
            all.wait();
            let (region, found) = opened.expect("a region");
            assert!(entered && processes == 4, "{processes} processes");
            (there(&region, 50), matches!(found, Found::Shared))
        };
        let all_opened = std::thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(opened));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let taken = all_opened.iter().filter(|(_, shared)| !shared);
        assert_eq!(taken.count(), 1);
        assert!(
            all_opened.iter().all(|(there, _)| *there == 50),
            "{all_opened:?}"
        );
    }
}

/// As one that closes all descriptors that it does not know, to become a daemon.
fn a_file_without_descriptors_is_in_use_all_the_same() {
    let folder = Folder::new();
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), LEN);
        put(&region, 1);
        for fd in 3..256 {
            if fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to == folder.zone()) {
                // SAFETY: only the region has it, which holds it for its lock alone.
                unsafe { libc::close(fd) };
            }
        }
        held.open(1);
        go.pass();
        assert!(is_there(&region, 1));
        // SAFETY: ends the child; the region must not close what it has no more.
        unsafe { libc::_exit(0) };
    });
    held.pass();
    let refused = try_open(&folder.zone(), LEN);
    assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (_, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Region { kept: 1, .. }), "{found:?}");
}

fn who_leaves_with_handles_is_gone_with_the_last_of_them() {
    let folder = Folder::new();
    let (first, _) = open(&folder.zone(), LEN);
    let (second, _) = open(&folder.zone(), LEN);
    let held = put(&second, 1);
    second.leave();
    drop(second);
    assert_eq!(first.stats().processes, 2);
    assert!(bytes(&held) == body(1, length(1)));
    drop(held);
    first.reap();
    assert_eq!(first.stats().processes, 1);
    assert_eq!(first.validate().expect("valid").pins, 0);
}

/// In two PID namespaces each would take the other for dead.
fn processes_that_cannot_see_each_other_do_not_share() {
    let folder = Folder::new();
    let opt = RegionOptions {
        share: Share::Anyone,
        ..RegionOptions::default()
    };
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = Region::file(&folder.zone(), LEN, &opt).expect("a region");
        region.enter(None).expect("enter");
        held.open(1);
        go.pass();
    });
    held.pass();
    let join = || Region::file(&folder.zone(), LEN, &opt);
    assert!(matches!(join(), Ok((_, Found::Shared))));
    // The place of the namespace: behind the clean mark.
    overwrite(&folder.zone(), 116, &[1, 0, 0, 0]);
    let refused = join();
    assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    assert!(matches!(join(), Ok((_, Found::Region { .. }))));
}

/// A copy may have no room on the disk where it has only zeros: a write there could fail later.
fn holes_of_a_copy_are_filled() {
    let folder = Folder::new();
    fill(&folder.zone());
    let whole = fs::read(folder.zone()).expect("a file");
    fs::remove_file(folder.zone()).expect("removed");
    fs::write(folder.zone(), &whole[..LEN / 2]).expect("a file");
    assert!(whole[LEN / 2..LEN - 16].iter().all(|b| *b == 0));
    cut(&folder.zone(), LEN as u64);
    overwrite(&folder.zone(), LEN as u64 - 16, &whole[LEN - 16..]);
    let blocks = || fs::metadata(folder.zone()).expect("a file").blocks() * 512;
    assert!(blocks() < LEN as u64, "no hole");
    let (region, found) = open(&folder.zone(), LEN);
    assert!(matches!(found, Found::Region { kept: 50, .. }), "{found:?}");
    assert!(blocks() >= LEN as u64, "{}", blocks());
    assert_eq!(there(&region, 50), 50);
}

fn what_is_not_summed_keeps_nothing_from_a_purge() {
    let folder = Folder::new();
    fill(&folder.zone());
    let whole = fs::read(folder.zone()).expect("a file");
    let key = key(7);
    let at = whole.windows(key.len()).position(|w| w == key);
    // Before the key: the number of the last purge when it was linked, and the time when one aged it, which is summed.
    overwrite(&folder.zone(), at.expect("stored") as u64 - 16, &[0xff; 8]);
    let (region, _) = open(&folder.zone(), LEN);
    assert!(is_there(&region, 7));
    let all = Targets {
        all: true,
        ..Targets::default()
    };
    let mut purge = region.purge(all, Effect::Remove, 1).expect("begun");
    while !purge.step(1000).expect("not busy") {}
    assert_eq!(there(&region, 50), 0);
}

/// Bytes anywhere in the file are changed: what is found afterwards is right, and everything else goes on.
fn damage_is_never_served() {
    let folder = Folder::new();
    fill(&folder.zone());
    let whole = fs::read(folder.zone()).expect("a file");
    let seed = std::env::var("SWRCACHE_SEED").map_or(1, |k| k.parse().expect("a number"));
    let rounds = std::env::var("SWRCACHE_DAMAGES").map_or(300, |k| k.parse().expect("a number"));
    let mut random = Random(seed);
    let (mut useless, mut lost, mut served) = (0, 0, 0);
    for round in 0..rounds {
        let mut bytes = whole.clone();
        // Most of the file is empty: half of the damage is where something is.
        let used = 200_000;
        for _ in 0..1 + random.below(20) {
            let end = if random.below(2) == 0 {
                LEN as u64
            } else {
                used
            };
            let at = 8 + random.below(end - 8 - 600) as usize;
            match random.below(4) {
                0 => bytes[at..at + 512].fill(0),
                1 => bytes[at..at + 8].copy_from_slice(&random.next().to_le_bytes()),
                2 => bytes.copy_within(at..at + 512, ((at & !511) / 2).max(512)),
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        fs::write(folder.zone(), &bytes).expect("written");
        let child = Child::fork(|| {
            let (region, found) = open(&folder.zone(), LEN);
            let (mut kind, mut count) = (1, 0);
            if let Found::Region { kept, .. } = found {
                assert!(kept <= 50);
                count = there(&region, 60);
                assert_eq!(there(&region, 60), count);
                kind = 0;
            }
            for i in 100..600 {
                put(&region, i);
            }
            assert!(is_there(&region, 599));
            region
                .validate()
                .unwrap_or_else(|e| panic!("round {round}: {e}"));
            // SAFETY: ends this child.
            unsafe { libc::_exit(if kind == 1 { 2 } else { 10 + count as i32 }) };
        });
        match child.wait() {
            Some(2) => useless += 1,
            Some(n @ 10..=60) => {
                served += n - 10;
                lost += 60 - n;
            }
            other => panic!("round {round} of seed {seed}: {other:?}"),
        }
    }
    println!(
        "  {rounds} damaged files: {useless} given up; of the others {served} objects served, {lost} not"
    );
    assert!(served > 0 && lost > 0);
}

/// All processes of an instance are killed at once, at any moment; the next one finds what is right and nothing else.
fn killed_with_all_its_processes() {
    let kills =
        std::env::var("SWRCACHE_KILLS").map_or(60, |k| k.parse::<u64>().expect("a number") / 10);
    let folder = Folder::new();
    let mut random = Random(3);
    let (mut kept, mut dropped) = (0, 0);
    // SAFETY: takes no pointers.
    let test = unsafe { libc::getpid() };
    for _ in 0..kills {
        let seed = random.next();
        let ready = Gate::new();
        let child = Child::fork(|| {
            let (region, found) = try_open(&folder.zone(), LEN).expect("a region");
            assert!(
                !matches!(found, Found::Useless(_) | Found::Shared),
                "{found:?}"
            );
            ready.open(1);
            // SAFETY: takes no pointers.
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
        if let Found::Region {
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

/// Opens it as soon as the last process that had it is gone.
fn reopen(path: &Path) -> (Region, Found) {
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
    // SAFETY: asks the kernel to kill this process with its parent.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes no pointers. The parent may have been killed before.
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
            _ if is_there(region, i) => {}
            _ => drop(try_put(region, i)),
        }
    }
}

/// The room is taken when the file is made, so that no write to the mapping can fail later.
fn no_room_on_the_disk() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    let blocks = fs::metadata(folder.zone()).expect("a file").blocks();
    assert!(blocks * 512 >= LEN as u64, "{blocks} blocks");
    drop(region);
    let refused = try_open(&folder.0.join("huge"), 60 << 30);
    // Where there is as much, it is fine.
    if let Err(why) = &refused {
        assert!(matches!(why, StoreError::Os(_)), "{why:?}");
        assert!(!folder.0.join("huge").exists() && !folder.0.join("huge.new").exists());
    }
    if refused.is_ok() {
        fs::remove_file(folder.0.join("huge")).expect("removed");
    }
}

/// 64 MiB here; the benchmark has 1 GiB with 200,000 objects.
fn a_large_file_comes_up_in_no_time() {
    let folder = Folder::new();
    let len = 64 << 20;
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), len);
        (0..12_000).for_each(|i| drop(put(&region, i)));
        region.leave();
        assert!(region.seal());
    });
    assert_eq!(child.wait(), Some(0));
    let began = Instant::now();
    let (region, found) = open(&folder.zone(), len);
    assert!(is_there(&region, 11_000));
    let took = began.elapsed();
    println!("  12,000 objects: the first hit after {took:?}");
    assert!(
        matches!(found, Found::Region { kept: 12_000, .. }),
        "{found:?}"
    );
}
