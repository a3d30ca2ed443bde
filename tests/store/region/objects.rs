//! Which objects are found, by which lookups, and for how long.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use swrcache::store::*;

use super::*;

#[test]
fn what_is_stored_is_found_and_read() {
    let region = region(1 << 20);
    let put_object = put(&region, b"key", b"meta", b"body bytes");
    let got = get(&region, b"key").expect("found");
    assert_eq!(
        (got.key(), got.meta(), bytes(&got)),
        (&b"key"[..], &b"meta"[..], b"body bytes".to_vec())
    );
    assert_eq!(
        got.body(),
        BodyState {
            len: 10,
            total: Some(10),
            completeness: Completeness::Complete
        }
    );
    assert_eq!(
        (got.id(), got.born(), got.dead_at()),
        (put_object.id(), 1, FAR)
    );
    assert!(got.is_current() && get(&region, b"other").is_none());
    assert_eq!(got.chunk(5), b"bytes");
    assert_eq!(got.chunk(10), b"");
    got.attribute(2).store(7, Relaxed);
    assert_eq!(put_object.attribute(2).load(Relaxed), 7);
    assert_eq!(valid(&region).pins, 1);
    drop((got, put_object));
    assert_eq!(region.remove_key(b"key"), 1);
    check_empty(&region);
}

#[test]
fn an_empty_body_and_an_empty_key_are_fine() {
    let region = region(1 << 20);
    put(&region, b"", b"", b"");
    let got = get(&region, b"").expect("found");
    assert_eq!(
        got.body(),
        BodyState {
            len: 0,
            total: Some(0),
            completeness: Completeness::Complete
        }
    );
    let fill =
        Fill::begin(region.unclaimed(b"x"), new(b"", None, Publish::AtCommit)).expect("begin");
    assert!(fill.is_empty());
    let got = fill.commit(1).expect("commit");
    assert_eq!(got.body().completeness, Completeness::Complete);
    valid(&region);
}

#[test]
fn before_enter_everything_is_busy() {
    let region = Region::anonymous(1 << 20, &RegionOptions::default()).expect("region");
    assert!(region.lookup(b"k", 1, &mut |_| true).is_err());
    assert!(region.claim_key(b"k", 0, 1, 2, false).is_err());
    let (claim, why) =
        Fill::begin(region.unclaimed(b"k"), new(b"", None, Publish::Now)).expect_err("busy");
    assert_eq!((claim.key(), why), (&b"k"[..], NoSpace::Busy));
    region.set_marker(b"k", 1, 5, 5, 1);
    assert_eq!(
        (region.remove_key(b"k"), region.reap(), region.sweep(1, 10)),
        (0, 0, 0)
    );
    region.leave();
}

#[test]
fn a_zone_too_small_names_what_is_needed() {
    let e = Region::anonymous(4096, &RegionOptions::default())
        .expect_err("too small")
        .to_string();
    assert!(e.contains(&Region::min_len().to_string()), "{e}");
    let region = region(Region::min_len());
    put(&region, b"k", b"m", b"b");
    assert!(get(&region, b"k").is_some());
    valid(&region);
}

#[test]
fn select_sees_the_most_recent_first_and_the_rest_is_counted() {
    let region = region(1 << 20);
    for meta in [b"a", b"b", b"c"] {
        put(&region, b"key", meta, b"");
    }
    let mut seen = Vec::new();
    let found = region.lookup(b"key", 1, &mut |m| {
        seen.push(m[0]);
        m == b"b"
    });
    let found = found.expect("not busy");
    assert_eq!((seen.as_slice(), found.others), (&b"cb"[..], 2));
    assert_eq!(found.object.expect("chosen").meta(), b"b");
    assert!(found.newest.is_none());
    let none = region.lookup(b"key", 1, &mut |_| false).expect("not busy");
    assert_eq!(
        (none.others, none.newest.expect("newest").meta()),
        (3, &b"c"[..])
    );
    valid(&region);
}

#[test]
fn variants_are_limited_and_replaced() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"a", b"");
    for meta in [b"b", b"c"] {
        let mut spec = new(meta, None, Publish::AtCommit);
        spec.max_variants = 2;
        Fill::begin(region.unclaimed(b"key"), spec)
            .expect("begin")
            .commit(1)
            .expect("commit");
    }
    assert!(!old.is_current(), "the oldest goes");
    let b = region
        .lookup(b"key", 1, &mut |m| m == b"b")
        .expect("not busy")
        .object
        .expect("b");
    let mut spec = new(b"d", None, Publish::Now);
    spec.replaces = Some(&b);
    let fill = Fill::begin(region.unclaimed(b"key"), spec).expect("begin");
    assert!(b.is_current(), "replaced at the commit");
    fill.commit(1).expect("commit");
    assert!(!b.is_current());
    assert_eq!(valid(&region).objects, 2);
}

#[test]
fn readers_keep_what_was_removed() {
    let region = region(1 << 20);
    let body: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
    let kept = put(&region, b"key", b"meta", &body);
    let more = kept.clone();
    region.remove_key(b"key");
    drop(kept);
    for i in 0..2000u32 {
        put(&region, &i.to_le_bytes(), b"m", &[i as u8; 900]);
    }
    assert!(bytes(&more) == body && more.meta() == b"meta");
    drop(more);
    assert_eq!(valid(&region).limbo, 0);
}

#[test]
fn markers_remember_for_their_time() {
    let region = region(1 << 20);
    let view = |now| {
        region
            .lookup(b"k", now, &mut |_| true)
            .expect("not busy")
            .marker
    };
    assert_eq!(view(1), MarkerView::default());
    region.set_marker(b"k", 1, 100, 100, 1);
    assert_eq!(
        view(99),
        MarkerView {
            attributes: [0, 100, 0, 0]
        }
    );
    assert_eq!(view(100), MarkerView::default());
    region.clear_marker(b"k", 1);
    assert_eq!(view(50).attributes[1], 0);
    let count = |now| region.count_in_marker(b"k", 0, now + 3_600_000, now);
    assert_eq!((count(60), count(61)), (1, 2));
    region.set_marker(b"k", 2, 42, 200, 62);
    // There is no fourth attribute for the user.
    region.set_marker(b"k", 3, 9, 200, 62);
    region.clear_marker(b"k", 3);
    assert_eq!(view(100).attributes, [2, 0, 42, 0]);
    // A claim on the marker is taken and released without the marker being forgotten.
    drop(won(region
        .claim_key(b"k", 0, 100, 200, false)
        .expect("not busy")));
    assert_eq!(view(100).attributes[0], 2);
    assert_eq!(count(10_000_000), 1, "forgotten");
    assert_eq!(valid(&region).markers, 1);
}

#[test]
fn a_region_is_attached_with_what_it_holds() {
    let len = 1 << 20;
    let layout = std::alloc::Layout::from_size_align(len, 4096).expect("layout");
    // SAFETY: the layout has a non-zero size.
    let base = std::ptr::NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
    // SAFETY: the memory stays allocated until the end of the test, when no handle is left.
    unsafe {
        assert!(matches!(
            Region::attach(base, len),
            Err(StoreError::Foreign)
        ));
        let region = Region::create(base, len, &RegionOptions::default()).expect("create");
        region.enter(None).expect("enter");
        put(&region, b"key", b"meta", b"body");
        let second = Region::attach(base, len).expect("attach");
        second.enter(None).expect("enter");
        assert_eq!(second.stats().processes, 2);
        assert_eq!(bytes(&get(&second, b"key").expect("found")), b"body");
        let held = claim(&region, b"c");
        assert!(matches!(
            second.claim_key(b"c", 0, 1, 2, true),
            Ok(Attempt::Held { .. })
        ));
        drop(held);
        valid(&second);
        assert!(matches!(
            Region::attach(base, len - 4096),
            Err(StoreError::Length { .. })
        ));
        base.as_ptr().add(8).cast::<u32>().write(99);
        assert!(matches!(
            Region::attach(base, len),
            Err(StoreError::Version { found: 99, .. })
        ));
        drop((region, second));
        std::alloc::dealloc(base.as_ptr(), layout);
    }
}

#[test]
fn a_lookup_within_select_is_busy_and_no_deadlock() {
    let region = region(1 << 20);
    put(&region, b"key", b"", b"");
    let mut inner_was_busy = false;
    let found = region.lookup(b"key", 1, &mut |_| {
        inner_was_busy = region.lookup(b"key", 1, &mut |_| true).is_err();
        true
    });
    assert!(found.expect("outer").object.is_some() && inner_was_busy);
}

#[test]
fn threads_share_a_handle() {
    let region = Arc::new(region(2 << 20));
    let threads: Vec<_> = (0..4u64)
        .map(|t| {
            let region = Arc::clone(&region);
            std::thread::spawn(move || {
                let mut seed = t + 1;
                for _ in 0..3000 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    work(&region, seed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let s = valid(&region);
    assert_eq!(
        (s.pins, s.limbo, s.growing, s.claims),
        (0, 0, 0, 0),
        "{s:?}"
    );
}

fn work(region: &Region, seed: u64) {
    let key = (seed >> 33) as u8 % 100;
    let Ok(found) = region.lookup(&[key], 1, &mut |_| true) else {
        return;
    };
    if let Some(object) = found.object {
        assert!(bytes(&object).iter().all(|b| *b == key));
        if seed >> 60 == 0 {
            region.remove(&object);
        }
        return;
    }
    let Ok(Attempt::Won(claim)) = region.claim_key(&[key], 0, 1, 1000, true) else {
        return;
    };
    let len = (seed >> 20) as usize % 20_000;
    let Ok(mut fill) = Fill::begin(claim, new(b"m", None, Publish::Now)) else {
        return;
    };
    for part in vec![key; len].chunks(3000) {
        if fill.write(part).is_err() {
            return;
        }
    }
    let _ = fill.commit(1);
}
