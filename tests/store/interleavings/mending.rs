//! A repair and reclaiming in turns of a single step, against everything that happens during and between them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use swrcache::store::*;

use crate::process::*;
use crate::support::FAR;
use crate::world::mortal;
use crate::{NOW, check, explore, get, hold, put};

/// The maximum number of steps that a process does, with lookups between them. Miri is slow at each.
const STEPS: usize = if cfg!(miri) { 16 } else { 80 };

/// What happens between two steps.
fn look(p: &Process, i: usize) -> Option<Object> {
    let object = get(&p.region, &[b'a' + (i % 4) as u8])?;
    check(&object);
    if i % 3 == 0 {
        let _ = p.region.claim_object(&object, NOW, FAR, true);
    }
    Some(object)
}

/// Some processes die while they store something; others repair, look up and hold, and also die, or are stopped until
/// they are replaced.
#[test]
fn lookups_go_on_beside_a_repair() {
    static REPAIRS: AtomicU64 = AtomicU64::new(0);
    explore(|| {
        let run = Run::new();
        // The scheduler's tasks share a thread.
        crash::set_steps_per_budget(Some(1));
        for i in 0..4u8 {
            assert!(put(&run.region, &[b'a' + i], u64::from(i), 4000));
        }
        let filler = |pid: u32| {
            run.process(pid, move |p| {
                mortal(400);
                (0..3).for_each(|i| _ = put(&p.region, &[pid as u8, i], u64::from(pid), 5000));
            })
        };
        let mender = |pid: u32| {
            run.process(pid, move |p| {
                // With Miri, each has a thread of its own.
                crash::set_steps_per_budget(Some(1));
                mortal(3000);
                let mut held = None;
                for i in 0..STEPS {
                    p.region.reap();
                    let _ = p.region.maintain(Duration::ZERO);
                    // Sometimes this drops the last handle of an unlinked object.
                    held = look(p, i).or(held);
                }
                held.iter().for_each(hold);
            })
        };
        let reader = run.process(6, |p| {
            for i in 0..8 {
                look(p, i).iter().for_each(hold);
                if i == 4 {
                    p.region.remove_key(b"b");
                }
            }
        });
        let processes = [filler(2), filler(3), mender(4), mender(5), reader];
        REPAIRS.fetch_add(run.end(processes).repairs, Relaxed);
        crash::set_steps_per_budget(None);
    });
    let repairs = REPAIRS.load(Relaxed);
    assert!(cfg!(miri) || repairs > 0, "{repairs} repairs");
}
