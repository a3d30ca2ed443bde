//! Every write of every operation, once: a child process is killed before its first write to the region, then before
//! its second, and so on until the operation completes. After each death the region must be consistent, return every
//! byte, have no lock held, serve no wrong byte, and have no key that can't be fetched any more.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use swrcache::store::*;

#[path = "../support/mod.rs"]
mod support;

use support::*;

mod file;
mod fills;
mod keys;
mod processes;
mod room;
mod world;

use world::World;

fn main() -> ExitCode {
    run(&[
        fills::TESTS,
        keys::TESTS,
        room::TESTS,
        processes::TESTS,
        file::TESTS,
    ])
}

const NOW: Millis = 10;

/// The remainder of an operation, which is interrupted at each of its writes.
type Armed<'a> = Box<dyn FnOnce() + 'a>;

/// What an operation prepares in the child that is to die in it.
struct Operation {
    name: &'static str,
    /// Whether it may evict objects that it is not about.
    evicts: bool,
    /// Only every so many writes are tried for an operation that repeats a few writes many times; a twentieth of that
    /// in the complete run ([`everywhere`]): every tenth where each try takes a hundred processes, every one elsewhere.
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

/// Whether no write is skipped (`make test-chaos`).
fn everywhere() -> bool {
    std::env::var_os("SWRCACHE_EVERY_WRITE").is_some()
}

fn put(region: &Region, key: &[u8], nonce: u64, len: u64) -> Object {
    let mut fill = Fill::begin(
        region.unclaimed(key),
        new(&meta(nonce, key), Some(len), Publish::AtCommit),
    )
    .expect("room");
    fill.write(&body(nonce, 0..len)).expect("room");
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

/// Where only the slots of the dead are left, entering has to be tried again until those are cleaned up after.
fn enter(region: &Region) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match region.enter(None) {
            Err(StoreError::NoSlotYet) if Instant::now() < until => {}
            entered => return entered.expect("enter"),
        }
    }
}

/// A fill in progress.
fn half(region: &Region, key: &[u8], publish: Publish) -> Fill {
    let mut fill =
        Fill::begin(claim(region, key), new(&meta(5, key), None, publish)).expect("room");
    fill.write(&body(5, 0..6000)).expect("room");
    fill
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
        world.wakers.drain(world.waker);
        world.region.reap();
        assert!(
            world.was_woken() || !was_in,
            "{what}: nobody was told of the death"
        );
        world.end(operation, &what);
        if ended == Some(0) {
            println!("  {}: {n} writes", operation.name);
            return;
        }
        n += if everywhere() {
            (operation.stride / 20).max(1)
        } else {
            operation.stride
        };
    }
}
