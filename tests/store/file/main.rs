//! Regions in files: what a later start finds, and how it handles damaged files.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use swrcache::store::*;

#[path = "../support/mod.rs"]
mod support;

use support::*;

mod counts;
mod damage;
mod kills;
mod sharing;
mod warm;

fn main() -> ExitCode {
    run(&[
        warm::TESTS,
        counts::TESTS,
        damage::TESTS,
        sharing::TESTS,
        kills::TESTS,
    ])
}

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

fn try_open(path: &Path, len: usize) -> Result<(Region, Predecessor), StoreError> {
    Region::file(path, len, &RegionOptions::default())
}

fn open(path: &Path, len: usize) -> (Region, Predecessor) {
    let (region, found) = try_open(path, len).expect("a region");
    region.enter(None).expect("enter");
    (region, found)
}

fn key(i: u64) -> Vec<u8> {
    format!("http://example.test/{i}").into_bytes()
}

fn length(i: u64) -> u64 {
    i * 97 % 3000
}

/// Stores object `i`, whose bytes are determined by its number.
fn put(region: &Region, i: u64) -> Object {
    try_put(region, i).expect("room, and current")
}

/// Stores object `i`; `None` if other processes keep the region busy, fill it, or remove the key meanwhile.
fn try_put(region: &Region, i: u64) -> Option<Object> {
    let total = (i % 2 == 0).then_some(length(i));
    let mut fill = Fill::begin(
        region.unclaimed(&key(i)),
        NewObject {
            attributes: [1, 2, 3, 4, 5],
            ..new(&i.to_le_bytes(), total, Publish::AtCommit)
        },
    )
    .ok()?;
    for part in body(i, 0..length(i)).chunks(1000) {
        fill.write(part).ok()?;
    }
    fill.commit(1).ok()
}

/// Whether object `i` is found; if so, every byte of it must be right.
fn is_there(region: &Region, i: u64) -> bool {
    try_look(region, i).expect("not busy")
}

/// Like [`is_there`], if other processes may keep the region busy.
fn try_look(region: &Region, i: u64) -> Result<bool, Busy> {
    let Some(object) = region.lookup(&key(i), 1, &mut |_| true)?.object else {
        return Ok(false);
    };
    assert_eq!(object.key(), key(i));
    assert_eq!(object.meta(), i.to_le_bytes(), "the meta of another");
    assert!(
        bytes(&object) == body(i, 0..length(i)),
        "wrong bytes in {i}"
    );
    assert_eq!(object.body().len, length(i));
    Ok(true)
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
