//! Deaths of processes that fill objects.

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![crash_in_fills, crash_in_commits, crash_in_renewals,];

fn crash_in_fills() {
    for publish in [
        operation("fill, published at once", |region| {
            Box::new(|| fill(region, Some(3000), Publish::Now))
        }),
        operation("fill, published at its commit", |region| {
            Box::new(|| fill(region, Some(3000), Publish::AtCommit))
        }),
        operation("fill of unknown length", |region| {
            Box::new(|| fill(region, None, Publish::Now))
        }),
        operation("fill of a derived object, without a claim", |region| {
            Box::new(|| {
                let meta = meta(5, b"target");
                let about = new(&meta, Some(3000), Publish::AtCommit);
                let mut fill = Fill::begin(region.unclaimed(b"target"), about).expect("room");
                fill.mark_derived();
                fill.write(&body(5, 0..3000)).expect("room");
                fill.commit(NOW).expect("current");
            })
        }),
        operation("fill that is dropped", |region| {
            Box::new(|| drop(half(region, b"target", Publish::Now)))
        }),
        operation("fill that is broken off under its claim", |region| {
            Box::new(|| drop(half(region, b"target", Publish::AtCommit).abort()))
        }),
        operation("fill that is too short", |region| {
            Box::new(|| {
                let fill = Fill::begin(
                    claim(region, b"target"),
                    new(&meta(5, b"target"), Some(3000), Publish::Now),
                )
                .expect("room");
                assert!(fill.commit(NOW).is_err());
            })
        }),
    ] {
        crash_at_each_write(&publish);
    }
}

pub(crate) fn fill(region: &Region, total: Option<u64>, publish: Publish) {
    let len = total.unwrap_or(9000);
    let mut fill = Fill::begin(
        claim(region, b"target"),
        new(&meta(5, b"target"), total, publish),
    )
    .expect("room");
    for part in body(5, 0..len).chunks(2000) {
        fill.write(part).expect("room");
        fill.extend(FAR + 1);
        fill.set_attribute(1, 7);
    }
    fill.commit(NOW).expect("current");
}

fn crash_in_commits() {
    crash_at_each_write(&operation("commit that replaces", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            let mut fill = Fill::begin(
                claim_on(region, &old),
                NewObject {
                    replaces: Some(&old),
                    max_variants: 1,
                    ..new(&meta(5, b"target"), Some(900), Publish::AtCommit)
                },
            )
            .expect("room");
            fill.write(&body(5, 0..900)).expect("room");
            fill.commit(NOW).expect("current");
        })
    }));
    crash_at_each_write(&operation("commit that limits the variants", |region| {
        for i in 0..3 {
            put(region, b"target", i, 300);
        }
        Box::new(|| {
            let mut fill = Fill::begin(
                region.unclaimed(b"target"),
                NewObject {
                    max_variants: 1,
                    ..new(&meta(5, b"target"), Some(900), Publish::AtCommit)
                },
            )
            .expect("room");
            fill.write(&body(5, 0..900)).expect("room");
            fill.commit(NOW).expect("current");
        })
    }));
    crash_at_each_write(&operation("commit that was superseded", |region| {
        let claim = claim(region, b"target");
        region.remove_key(b"target");
        Box::new(|| {
            let mut fill = Fill::begin(
                claim,
                new(&meta(5, b"target"), Some(900), Publish::AtCommit),
            )
            .expect("room");
            fill.write(&body(5, 0..900)).expect("room");
            fill.commit(NOW).expect_err("superseded");
        })
    }));
}

fn crash_in_renewals() {
    crash_at_each_write(&operation("renewal", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            claim_on(region, &old)
                .renew(
                    &old,
                    NewHead::new(&meta(4, b"target"), [1; ATTRIBUTES], FAR),
                    NOW,
                )
                .expect("renewed");
        })
    }));
    crash_at_each_write(&operation("commit as renewal", |region| {
        let old = put(region, b"target", 4, 800);
        Box::new(move || {
            let mut fill = Fill::begin(
                claim_on(region, &old),
                NewObject {
                    replaces: Some(&old),
                    ..new(&meta(4, b"target"), None, Publish::AtCommit)
                },
            )
            .expect("room");
            fill.write(&body(4, 0..800)).expect("room");
            fill.commit_as_renewal(
                &old,
                NewHead::new(&meta(4, b"target"), [1; ATTRIBUTES], FAR),
                NOW,
            )
            .expect("renewed");
        })
    }));
    crash_at_each_write(&operation("renewal that is refused", |region| {
        let old = put(region, b"target", 4, 800);
        let claim = claim(region, b"target");
        Box::new(move || {
            region.remove_key(b"target");
            claim
                .renew(
                    &old,
                    NewHead::new(&meta(4, b"target"), [1; ATTRIBUTES], FAR),
                    NOW,
                )
                .expect_err("refused");
        })
    }));
}
