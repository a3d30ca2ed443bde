//! Counters survive a restart; and a snapshot changes nothing.

use super::*;
use std::os::unix::fs::MetadataExt;

pub(crate) const TESTS: &[Test] = tests![
    counts_outlive_every_end,
    a_snapshot_shows_what_is_stored_and_changes_nothing,
    a_snapshot_of_something_else_is_refused,
];

fn counts_outlive_every_end() {
    let folder = Folder::new();
    for round in 0..6 {
        let child = Child::fork(|| {
            let (region, _) = open(&folder.zone(), LEN);
            assert_eq!(region.tallies()[3], round * 10);
            put(&region, round);
            region.tally(3, 10);
            // A clean end, and one by a signal.
            if round % 2 == 0 {
                region.leave();
                assert!(region.seal());
            } else {
                // SAFETY: the call ends this child.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
        });
        assert_eq!(child.wait(), (round % 2 == 0).then_some(0));
    }
    let (region, _) = open(&folder.zone(), LEN);
    assert_eq!(region.tallies()[3], 60);
    assert_eq!(region.stats().restored, 6);
}

fn a_snapshot_shows_what_is_stored_and_changes_nothing() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    (0..20).for_each(|i| drop(put(&region, i)));
    let held = region.lookup(&key(3), 1, &mut |_| true).expect("not busy");
    let growing =
        Fill::begin(region.unclaimed(b"growing"), new(b"", None, Publish::Now)).expect("room");
    let before = fs::read(folder.zone()).expect("a file");
    let meta = fs::metadata(folder.zone()).expect("a file");
    let (copy, found) = Region::snapshot(&folder.zone()).expect("a copy");
    assert!(
        matches!(found, Predecessor::Region { kept: 20, .. }),
        "{found:?}"
    );
    assert_eq!(there(&copy, 30), 20);
    assert!(copy.remove_key(&key(0)) > 0);
    assert!(fs::read(folder.zone()).expect("a file") == before);
    let after = fs::metadata(folder.zone()).expect("a file");
    assert_eq!(
        (meta.ino(), meta.mtime_nsec(), meta.len()),
        (after.ino(), after.mtime_nsec(), after.len())
    );
    // The processes in the region continue, and a snapshot can be taken of a read-only file.
    assert_eq!(there(&region, 20), 20);
    drop((held, growing));
    region.validate().expect("valid");
    region.leave();
    assert!(region.seal());
    let (sealed, _) = Region::snapshot(&folder.zone()).expect("a copy");
    assert_eq!(there(&sealed, 20), 20);
    drop(region);
    let (_, found) = try_open(&folder.zone(), LEN).expect("a region");
    assert!(
        matches!(
            found,
            Predecessor::Region {
                kept: 20,
                clean: true,
                ..
            }
        ),
        "{found:?}"
    );
}

fn a_snapshot_of_something_else_is_refused() {
    let folder = Folder::new();
    assert!(matches!(
        Region::snapshot(&folder.zone()),
        Err(StoreError::Os(_))
    ));
    fs::write(folder.zone(), "<html>").expect("written");
    assert!(matches!(
        Region::snapshot(&folder.zone()),
        Err(StoreError::Foreign)
    ));
    assert!(matches!(
        Region::snapshot(&folder.0),
        Err(StoreError::Foreign)
    ));
    fs::remove_file(folder.zone()).expect("removed");
    fill(&folder.zone());
    overwrite(&folder.zone(), 8, &[99]);
    assert!(matches!(
        Region::snapshot(&folder.zone()),
        Err(StoreError::Version { .. })
    ));
    cut(&folder.zone(), 100_000);
    assert!(Region::snapshot(&folder.zone()).is_err());
}
