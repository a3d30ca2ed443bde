//! What a later start finds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![
    a_file_comes_up_warm,
    what_was_under_way_is_gone,
    a_file_from_before_a_crash_of_the_machine,
    what_was_purged_does_not_come_back_with_old_pages,
    what_is_not_summed_keeps_nothing_from_a_purge,
    a_large_file_comes_up_in_no_time,
];

fn a_file_comes_up_warm() {
    let folder = Folder::new();
    for round in 0..3 {
        let (region, found) = open(&folder.zone(), LEN);
        match (round, found) {
            (0, Predecessor::Nothing) => {}
            (
                _,
                Predecessor::Region {
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
            let words = [0, 1, 2, 3].map(|i| object.attribute(i).load(Relaxed));
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
            .attribute(2)
            .store(10 * round, Relaxed);
        region.leave();
        assert!(region.seal());
    }
    assert_eq!(
        fs::metadata(folder.zone()).expect("a file").mode() & 0o777,
        0o600
    );
}

/// Claims, markers, growing objects, pins, and removed objects that are still read end with their processes.
fn what_was_under_way_is_gone() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    (0..20).for_each(|i| drop(put(&region, i)));
    let removed = put(&region, 20);
    region.remove(&removed);
    let mut growing = Fill::begin(
        region.unclaimed(&key(21)),
        new(&21u64.to_le_bytes(), None, Publish::Now),
    )
    .expect("room");
    growing.write(&body(21, 0..10)).expect("room");
    let claim = region.claim_key(&key(22), 0, 1, FAR, false);
    region.set_marker(&key(23), 0, FAR, FAR, 1);
    // As if all its processes had been killed: nothing is closed.
    std::mem::forget((removed, growing, claim));
    fs::copy(folder.zone(), folder.0.join("copy")).expect("a copy");
    let (region, found) = open(&folder.0.join("copy"), LEN);
    assert!(
        matches!(
            found,
            Predecessor::Region {
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

/// After a stop of the machine while a region was in use, the contents of the disk are unknown.
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
                    Predecessor::Region {
                        kept: 50,
                        clean: false,
                        ..
                    }
                ),
                "{found:?}"
            );
            drop(region);
        }
        // The offset of the boot id: after magic, version, poisoned, length, seed, max_object, era and durable.
        overwrite(&folder.zone(), 48, &[7; 16]);
        let (region, found) = open(&folder.zone(), LEN);
        if clean {
            assert!(
                matches!(
                    found,
                    Predecessor::Region {
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
                matches!(found, Predecessor::Useless(StoreError::Unsettled)),
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

fn what_is_not_summed_keeps_nothing_from_a_purge() {
    let folder = Folder::new();
    fill(&folder.zone());
    let whole = fs::read(folder.zone()).expect("a file");
    let key = key(7);
    let at = whole.windows(key.len()).position(|w| w == key);
    // Before the key: the number of the last purge when the entry was linked, and the time as of which one aged it,
    // which the checksum covers.
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

/// 64 MiB here; the benchmark uses 1 GiB with 200,000 objects.
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
        matches!(found, Predecessor::Region { kept: 12_000, .. }),
        "{found:?}"
    );
}
