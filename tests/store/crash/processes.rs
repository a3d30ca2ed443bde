//! Deaths of processes that read, enter, leave and reclaim.

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![
    crash_in_pins,
    crash_in_entering_and_leaving,
    crash_in_cleaning_up,
];

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
                    NewHead::new(&meta(3, b"target"), [1; ATTRIBUTES], FAR),
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
        let fill = half(region, b"old", Publish::Now);
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
                            std::mem::forget(half(region, b"old", Publish::Now));
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

/// Dies while it holds a claim, a published and an unpublished fill, and pins.
fn die_with_everything(region: &Region) {
    let child = Child::fork(|| {
        enter(region);
        let claim = claim(region, b"target");
        let found = half(region, b"old", Publish::Now);
        let unseen = Fill::begin(
            region.unclaimed(b"new"),
            new(&meta(5, b"new"), Some(500), Publish::AtCommit),
        )
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
