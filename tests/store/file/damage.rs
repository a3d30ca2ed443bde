//! Files that are foreign, damaged, or on a full disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![
    a_foreign_file_is_left_alone,
    a_useless_file_is_replaced,
    holes_of_a_copy_are_filled,
    damage_is_never_served,
    no_room_on_the_disk,
];

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
    assert!(matches!(found, Predecessor::Nothing), "{found:?}");
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
        assert!(
            matches!(found, Predecessor::Useless(_)),
            "{what}: {found:?}"
        );
        check_empty(&region);
        region.leave();
        drop(region);
        let (_, found) = open(&folder.zone(), LEN);
        assert!(
            matches!(found, Predecessor::Region { kept: 1, .. }),
            "{what}: {found:?}"
        );
        assert!(!folder.0.join("zone.new").exists());
    }
    // Another length was requested.
    let folder = Folder::new();
    fill(&folder.zone());
    let (region, found) = open(&folder.zone(), 2 * LEN);
    assert!(
        matches!(found, Predecessor::Useless(StoreError::Length { .. })),
        "{found:?}"
    );
    check_empty(&region);
}

/// A copy of the file may have holes in place of zeros: a later write there could fail.
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
    assert!(
        matches!(found, Predecessor::Region { kept: 50, .. }),
        "{found:?}"
    );
    assert!(blocks() >= LEN as u64, "{}", blocks());
    assert_eq!(there(&region, 50), 50);
}

/// Bytes anywhere in the file are changed: whatever is found afterwards is right, and everything else continues to
/// work.
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
        // Most of the file is empty: half of the damage is done where something is stored.
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
            if let Predecessor::Region { kept, .. } = found {
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
            // SAFETY: the call ends this child.
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

/// Space is allocated when the file is made, so that no write to the mapping can fail later.
fn no_room_on_the_disk() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    let blocks = fs::metadata(folder.zone()).expect("a file").blocks();
    assert!(blocks * 512 >= LEN as u64, "{blocks} blocks");
    drop(region);
    let refused = try_open(&folder.0.join("huge"), 60 << 30);
    // If the disk has that much space, opening succeeds.
    if let Err(why) = &refused {
        assert!(matches!(why, StoreError::Os(_)), "{why:?}");
        assert!(!folder.0.join("huge").exists() && !folder.0.join("huge.new").exists());
    }
    if refused.is_ok() {
        fs::remove_file(folder.0.join("huge")).expect("removed");
    }
}
