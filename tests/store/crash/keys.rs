//! Deaths during operations on keys.

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![
    crash_in_claims,
    crash_in_markers,
    crash_in_removals,
    crash_in_purges,
];

fn crash_in_claims() {
    crash_at_each_write(&operation("claim on a key", |region| {
        Box::new(|| claim(region, b"target").release())
    }));
    crash_at_each_write(&operation("claim on a key with a marker", |region| {
        region.count_in_marker(b"target", 1, FAR, NOW);
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

fn crash_in_markers() {
    crash_at_each_write(&operation("what is remembered of a key", |region| {
        Box::new(|| {
            assert_eq!(region.count_in_marker(b"target", 1, FAR, NOW), 1);
            region.set_marker(b"target", 0, FAR, FAR, NOW);
            region.set_marker(b"target", 2, 5, FAR, NOW);
            region.clear_marker(b"target", 0);
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
                let mut fill = Fill::begin(
                    region.unclaimed(key),
                    NewObject {
                        dead_at: NOW + 1,
                        ..new(&meta(5, key), Some(900), Publish::AtCommit)
                    },
                )
                .expect("room");
                fill.write(&body(5, 0..900)).expect("room");
                fill.commit(NOW).expect("current");
            }
            Box::new(|| _ = region.sweep(NOW + 2, u32::MAX))
        })
    });
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
