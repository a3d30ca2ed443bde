//! Deaths of processes that evict, and of those that repair after them.

use swrcache::store::*;

use super::*;
use crate::fills::fill;

pub(crate) const TESTS: &[Test] = tests![crash_in_evictions, crash_in_repairs,];

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
                let refused = Fill::begin(
                    region.unclaimed(b"target"),
                    new(&meta(1, b"target"), Some(60_000), Publish::AtCommit),
                )
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
        if i % 3 == 0 {
            get(region, &key);
        }
        i += 1;
    }
}

/// A process dies in a fill with evictions, the next one in the repair.
fn crash_in_repairs() {
    for first in [60, 110, 200, 260] {
        let mut n = 0;
        loop {
            let what = format!("repair after a death before write {first}, before write {n}");
            let world = World::new();
            // The second process is already in the region, and finds the lock that the dead one held.
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
