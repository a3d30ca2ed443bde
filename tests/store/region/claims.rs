//! Claims: who may fetch, and what ends a claim.

use std::sync::atomic::Ordering::Relaxed;

use swrcache::store::*;

use super::*;

#[test]
fn one_claim_at_a_time_and_leases_run_out() {
    let region = region(1 << 20);
    let first = claim(&region, b"key");
    let held = region
        .claim_key(b"key", 0, 999, 2000, true)
        .expect("not busy");
    assert!(matches!(held, Attempt::Held { deadline: 1000 }));
    won(region
        .claim_key(b"key", 1, 1, 1000, false)
        .expect("another sub"));
    first.extend(1500);
    assert!(matches!(
        region.claim_key(b"key", 0, 1400, 9, false),
        Ok(Attempt::Held { deadline: 1500 })
    ));
    let second = won(region
        .claim_key(b"key", 0, 1500, 3000, false)
        .expect("not busy"));
    assert!(!first.is_valid() && second.is_valid());
    drop(first);
    assert!(second.is_valid(), "an old claim ends nothing");
    drop(second);
    check_empty(&region);
}

#[test]
fn a_claim_on_an_object_refreshes_it() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"old", b"body");
    let claim = won(region.claim_object(&old, 1, 1000, false));
    assert!(old.is_claimed(1) && !old.is_claimed(1000));
    assert!(matches!(
        region.claim_object(&old, 1, 1000, true),
        Attempt::Held { deadline: 1000 }
    ));
    let renewed = claim
        .renew(&old, NewHead::new(b"new meta", [1, 2, 3, 4, 5], FAR), 50)
        .expect("renewed");
    assert!(!old.is_current() && renewed.is_current() && share_a_body(&renewed, &old));
    assert_eq!(
        (
            renewed.meta(),
            renewed.born(),
            renewed.attribute(3).load(Relaxed)
        ),
        (&b"new meta"[..], 50, 4)
    );
    assert_eq!(get(&region, b"key").expect("found").id(), renewed.id());
    valid(&region);
    drop(old);
    assert_eq!(bytes(&renewed), b"body");
    let s = valid(&region);
    assert_eq!((s.objects, s.limbo, s.claims), (1, 0, 0));
    let refused = region
        .unclaimed(b"other")
        .renew(&renewed, NewHead::new(b"", [0; ATTRIBUTES], FAR), 50)
        .expect_err("another key");
    assert_eq!(refused, Refused::NotCurrent);
    region.remove(&renewed);
    assert_eq!(
        region
            .unclaimed(b"key")
            .renew(&renewed, NewHead::new(b"", [0; ATTRIBUTES], FAR), 50)
            .expect_err("gone"),
        Refused::NotCurrent
    );
    drop(renewed);
    check_empty(&region);
}

#[test]
fn a_removal_voids_claims_and_their_fills() {
    let region = region(1 << 20);
    let leased =
        Fill::begin(claim(&region, b"key"), new(b"a", None, Publish::AtCommit)).expect("begin");
    let free =
        Fill::begin(region.unclaimed(b"key"), new(b"b", None, Publish::AtCommit)).expect("begin");
    let shown =
        Fill::begin(region.unclaimed(b"key"), new(b"c", None, Publish::Now)).expect("begin");
    assert_eq!(region.remove_key(b"key"), 1);
    for fill in [leased, free, shown] {
        assert!(!fill.is_valid());
        let superseded = fill.commit(1).expect_err("voided");
        assert_eq!(superseded.reason, SupersededReason::Voided);
        assert_eq!(
            superseded.object.body().completeness,
            Completeness::Complete
        );
    }
    check_empty(&region);
}

#[test]
fn removing_an_object_voids_its_refresh_whatever_the_claim() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"old", b"body");
    let spec = NewObject {
        replaces: Some(&old),
        ..new(b"new", None, Publish::AtCommit)
    };
    let fill = Fill::begin(claim(&region, b"key"), spec).expect("begin");
    assert!(region.remove(&old));
    assert!(!region.remove(&old));
    assert!(fill.commit(1).is_err());
    drop(old);
    check_empty(&region);
}

#[test]
fn a_purge_voids_a_claim_past_its_deadline_too() {
    let region = region(1 << 20);
    let marker =
        Fill::begin(claim(&region, b"key"), new(b"a", None, Publish::AtCommit)).expect("begin");
    let old = put(&region, b"other", b"m", b"b");
    let object = won(region.claim_object(&old, 1, 1000, false));
    let object = Fill::begin(object, new(b"a", None, Publish::AtCommit)).expect("begin");
    (0..2).for_each(|_| _ = region.sweep(FAR + 1, u32::MAX));
    assert!(!old.is_current(), "it was dead, and its claim ran out");
    assert!(
        marker.is_valid() && object.is_valid(),
        "nobody has taken over"
    );
    region.remove_key(b"key");
    region.remove_key(b"other");
    assert!(marker.commit(1).is_err() && object.commit(1).is_err());
    drop(old);
    check_empty(&region);
}

#[test]
fn leaving_ends_claims_and_fills() {
    let region = region(1 << 20);
    let claim = claim(&region, b"a");
    let mut fill =
        Fill::begin(region.unclaimed(b"b"), new(b"", None, Publish::Now)).expect("begin");
    region.leave();
    assert!(!claim.is_valid());
    assert_eq!(fill.write(b"x"), Err(NoSpace::Ended));
    assert!(fill.commit(1).is_err());
    drop(claim);
    region.enter(None).expect("enter anew");
    assert!(get(&region, b"b").is_none());
    won(region.claim_key(b"a", 0, 1, 2, false).expect("free again"));
    valid(&region);
}
