//! The store by its public face, in one process, without sleeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use swrcache::store::*;

const FAR: Millis = 1_000_000_000;

fn region(len: usize) -> Region {
    let region = Region::anonymous(len, &RegionOptions::default()).expect("region");
    region.enter(None).expect("enter");
    region
}

fn new(meta: &[u8], total: Option<u64>, publish: Publish) -> NewObject<'_> {
    NewObject {
        meta,
        labels: &[],
        total,
        words: [0; WORDS],
        dead_at: FAR,
        publish,
        replaces: None,
        max_variants: 0,
    }
}

fn won(attempt: Attempt) -> Claim {
    match attempt {
        Attempt::Won(claim) => claim,
        Attempt::Held { deadline } => panic!("held until {deadline}"),
    }
}

fn claim(region: &Region, key: &[u8]) -> Claim {
    won(region.claim_key(key, 0, 1, 1000, false).expect("not busy"))
}

fn put(region: &Region, key: &[u8], meta: &[u8], body: &[u8]) -> Object {
    let total = Some(body.len() as u64);
    let mut fill = region
        .unclaimed(key)
        .begin(new(meta, total, Publish::AtCommit))
        .expect("begin");
    fill.write(body).expect("write");
    fill.commit(1).expect("commit")
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    region
        .lookup(key, 1, &mut |_| true)
        .expect("not busy")
        .object
}

fn bytes(object: &Object) -> Vec<u8> {
    let (mut cursor, mut all) = (Cursor::default(), Vec::new());
    loop {
        let chunk = object.read(&mut cursor, usize::MAX);
        if chunk.is_empty() {
            return all;
        }
        all.extend_from_slice(chunk);
    }
}

fn check(region: &Region) -> Summary {
    let summary = region.validate().expect("valid");
    assert_eq!(summary.held_locks, 0);
    summary
}

/// No object, no pin, no byte in use.
fn check_empty(region: &Region) {
    let s = check(region);
    assert_eq!(
        (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
        (0, 0, 0, 0, 0, 1),
        "{s:?}"
    );
}

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
            phase: Phase::Complete
        }
    );
    assert_eq!(
        (got.id(), got.born(), got.dead_at()),
        (put_object.id(), 1, FAR)
    );
    assert!(got.is_current() && get(&region, b"other").is_none());
    assert_eq!(got.chunk(5), b"bytes");
    assert_eq!(got.chunk(10), b"");
    got.word(2).store(7, Relaxed);
    assert_eq!(put_object.word(2).load(Relaxed), 7);
    assert_eq!(check(&region).pins, 1);
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
            phase: Phase::Complete
        }
    );
    let fill = region
        .unclaimed(b"x")
        .begin(new(b"", None, Publish::AtCommit))
        .expect("begin");
    assert!(fill.is_empty());
    let got = fill.commit(1).expect("commit");
    assert_eq!(got.body().phase, Phase::Complete);
    check(&region);
}

#[test]
fn before_enter_everything_is_busy() {
    let region = Region::anonymous(1 << 20, &RegionOptions::default()).expect("region");
    assert!(region.lookup(b"k", 1, &mut |_| true).is_err());
    assert!(region.claim_key(b"k", 0, 1, 2, false).is_err());
    let (claim, why) = region
        .unclaimed(b"k")
        .begin(new(b"", None, Publish::Now))
        .expect_err("busy");
    assert_eq!((claim.key(), why), (&b"k"[..], NoSpace::Busy));
    region.mark_pass(b"k", 5, 1);
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
    check(&region);
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
    check(&region);
}

#[test]
fn variants_are_limited_and_replaced() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"a", b"");
    for meta in [b"b", b"c"] {
        let mut spec = new(meta, None, Publish::AtCommit);
        spec.max_variants = 2;
        region
            .unclaimed(b"key")
            .begin(spec)
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
    let fill = region.unclaimed(b"key").begin(spec).expect("begin");
    assert!(b.is_current(), "replaced at the commit");
    fill.commit(1).expect("commit");
    assert!(!b.is_current());
    assert_eq!(check(&region).objects, 2);
}

#[test]
fn readers_follow_a_growing_body_over_its_pieces() {
    let region = region(8 << 20);
    let mut fill = claim(&region, b"key")
        .begin(new(b"m", None, Publish::Now))
        .expect("begin");
    let reader = get(&region, b"key").expect("published");
    assert_eq!(
        reader.body(),
        BodyState {
            len: 0,
            total: None,
            phase: Phase::Growing
        }
    );
    let (mut cursor, mut sent, mut read) = (Cursor::default(), Vec::new(), Vec::new());
    for i in 0..300u32 {
        let part: Vec<u8> = (0..i * 7).map(|b| (b ^ i) as u8).collect();
        fill.write(&part).expect("write");
        sent.extend_from_slice(&part);
        loop {
            let chunk = reader.read(&mut cursor, 5000);
            if chunk.is_empty() {
                break;
            }
            read.extend_from_slice(chunk);
        }
        assert_eq!(read.len(), sent.len());
    }
    assert!(read == sent && fill.len() == sent.len() as u64);
    check(&region);
    let done = fill.commit(5).expect("commit");
    assert_eq!(done.body().total, Some(sent.len() as u64));
    assert!(bytes(&done) == sent);
    assert_eq!(done.chunk(77_777)[0], sent[77_777]);
    let s = check(&region);
    assert!(
        s.used < sent.len() as u64 + 2048,
        "the last piece is trimmed: {s:?}"
    );
}

#[test]
fn a_dropped_fill_breaks_and_leaves_nothing() {
    let region = region(1 << 20);
    for publish in [Publish::Now, Publish::AtCommit] {
        let mut fill = claim(&region, b"key")
            .begin(new(b"m", Some(100), publish))
            .expect("begin");
        fill.write(b"half").expect("write");
        let reader = fill.object();
        drop(fill);
        assert_eq!(reader.body().phase, Phase::Broken);
        assert!(!reader.is_current() && get(&region, b"key").is_none());
        assert_eq!(reader.chunk(0), b"half");
        drop(reader);
        check_empty(&region);
    }
}

#[test]
fn an_aborted_fill_gives_the_claim_back() {
    let region = region(1 << 20);
    let fill = claim(&region, b"key")
        .begin(new(b"m", None, Publish::Now))
        .expect("begin");
    let claim = fill.abort();
    assert!(claim.is_valid() && get(&region, b"key").is_none());
    drop(claim);
    check_empty(&region);
}

#[test]
fn totals_are_kept_to() {
    let region = region(1 << 20);
    let mut fill = region
        .unclaimed(b"k")
        .begin(new(b"", Some(4), Publish::Now))
        .expect("begin");
    fill.write(b"abc").expect("write");
    assert_eq!(fill.write(b"de"), Err(NoSpace::BeyondTotal));
    assert_eq!(fill.len(), 3);
    let short = fill.commit(1).expect_err("short");
    assert_eq!(short.reason, SupersededReason::Incomplete);
    assert_eq!(short.object.body().phase, Phase::Broken);
    drop(short);
    check_empty(&region);
}

#[test]
fn an_object_too_large_is_refused_and_gives_the_claim_back() {
    let region = region(1 << 20);
    let spec = new(b"", Some(1 << 18), Publish::Now);
    let (claim, why) = claim(&region, b"k").begin(spec).expect_err("too large");
    assert_eq!(why, NoSpace::TooLarge);
    let mut fill = claim.begin(new(b"", None, Publish::Now)).expect("begin");
    let mut outcome = Ok(());
    while outcome.is_ok() {
        outcome = fill.write(&[0; 4096]);
    }
    assert_eq!(outcome, Err(NoSpace::TooLarge));
    assert!(fill.len() <= 1 << 17 && fill.len() > (1 << 17) - 8192);
    drop(fill);
    check_empty(&region);
}

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
        .renew(&old, NewHead::new(b"new meta", [1, 2, 3, 4], FAR), 50)
        .expect("renewed");
    assert!(!old.is_current() && renewed.is_current() && renewed.shares_body(&old));
    assert_eq!(
        (
            renewed.meta(),
            renewed.born(),
            renewed.word(3).load(Relaxed)
        ),
        (&b"new meta"[..], 50, 4)
    );
    assert_eq!(get(&region, b"key").expect("found").id(), renewed.id());
    check(&region);
    drop(old);
    assert_eq!(bytes(&renewed), b"body");
    let s = check(&region);
    assert_eq!((s.objects, s.limbo, s.claims), (1, 0, 0));
    let refused = region
        .unclaimed(b"other")
        .renew(&renewed, NewHead::new(b"", [0; 4], FAR), 50)
        .expect_err("another key");
    assert_eq!(refused, Refused::NotCurrent);
    region.remove(&renewed);
    assert_eq!(
        region
            .unclaimed(b"key")
            .renew(&renewed, NewHead::new(b"", [0; 4], FAR), 50)
            .expect_err("gone"),
        Refused::NotCurrent
    );
    drop(renewed);
    check_empty(&region);
}

#[test]
fn the_same_bytes_keep_the_old_body() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"old", b"body");
    for publish in [Publish::AtCommit, Publish::Now] {
        let current = get(&region, b"key").expect("found");
        let mut fill = won(region.claim_object(&current, 1, 1000, false))
            .begin(NewObject {
                replaces: Some(&current),
                ..new(b"x", Some(4), publish)
            })
            .expect("begin");
        fill.write(b"body").expect("write");
        let reader = fill.object();
        let renewed = fill
            .commit_as_renewal(&current, NewHead::new(b"new", [0; 4], FAR), 2)
            .expect("renewed");
        assert!(renewed.shares_body(&old) && !renewed.shares_body(&reader));
        assert_eq!(reader.body().phase, Phase::Complete);
        assert_eq!(get(&region, b"key").expect("found").meta(), b"new");
        let s = check(&region);
        assert_eq!((s.objects, s.claims), (1, 0));
    }
}

#[test]
fn a_removal_voids_claims_and_their_fills() {
    let region = region(1 << 20);
    let leased = claim(&region, b"key")
        .begin(new(b"a", None, Publish::AtCommit))
        .expect("begin");
    let free = region
        .unclaimed(b"key")
        .begin(new(b"b", None, Publish::AtCommit))
        .expect("begin");
    let shown = region
        .unclaimed(b"key")
        .begin(new(b"c", None, Publish::Now))
        .expect("begin");
    assert_eq!(region.remove_key(b"key"), 1);
    for fill in [leased, free, shown] {
        assert!(!fill.is_valid());
        let superseded = fill.commit(1).expect_err("voided");
        assert_eq!(superseded.reason, SupersededReason::Voided);
        assert_eq!(superseded.object.body().phase, Phase::Complete);
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
    let fill = claim(&region, b"key").begin(spec).expect("begin");
    assert!(region.remove(&old));
    assert!(!region.remove(&old));
    assert!(fill.commit(1).is_err());
    drop(old);
    check_empty(&region);
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
    assert_eq!(check(&region).limbo, 0);
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
    region.mark_pass(b"k", 100, 1);
    assert_eq!(
        view(99),
        MarkerView {
            pass_until: 100,
            uses: 0,
            note: 0
        }
    );
    assert_eq!(view(100), MarkerView::default());
    region.clear_pass(b"k");
    assert_eq!(view(50).pass_until, 0);
    assert_eq!(
        (region.note_use(b"k", 60), region.note_use(b"k", 61)),
        (1, 2)
    );
    region.annotate(b"k", 42, 200, 62);
    let seen = view(100);
    assert_eq!((seen.uses, seen.note), (2, 42));
    // A claim on it comes and goes without its being forgotten.
    drop(won(region
        .claim_key(b"k", 0, 100, 200, false)
        .expect("not busy")));
    assert_eq!(view(100).uses, 2);
    assert_eq!(region.note_use(b"k", 10_000_000), 1, "forgotten");
    assert_eq!(check(&region).markers, 1);
}

#[test]
fn the_dead_are_swept_and_not_found() {
    let region = region(1 << 20);
    for i in 0..100u64 {
        let spec = NewObject {
            dead_at: 100 + i,
            ..new(b"", None, Publish::Now)
        };
        region
            .unclaimed(&i.to_le_bytes())
            .begin(spec)
            .expect("begin")
            .commit(1)
            .expect("commit");
    }
    assert!(
        region
            .lookup(&0u64.to_le_bytes(), 99, &mut |_| true)
            .expect("ok")
            .object
            .is_some()
    );
    assert!(
        region
            .lookup(&0u64.to_le_bytes(), 100, &mut |_| true)
            .expect("ok")
            .object
            .is_none()
    );
    assert_eq!(region.sweep(149, region.places()), 50);
    let mut rest = 0;
    while check(&region).objects > 0 {
        rest += region.sweep(1000, 64);
    }
    assert_eq!(rest, 50);
    check_empty(&region);
    assert_eq!(region.stats().expired, 100);
}

#[test]
fn the_zone_is_a_hard_bound_and_the_dead_go_first() {
    let region = region(1 << 20);
    for i in 0..200u64 {
        put(&region, &i.to_le_bytes(), b"live", &[1; 1000]);
    }
    for i in 200..400u64 {
        let spec = NewObject {
            dead_at: 50,
            ..new(b"dead", Some(1000), Publish::Now)
        };
        let mut fill = region
            .unclaimed(&i.to_le_bytes())
            .begin(spec)
            .expect("begin");
        fill.write(&[2; 1000]).expect("write");
        fill.commit(1).expect("commit");
    }
    drop(region.claim_key(b"tick", 0, 60, 61, false));
    for i in 400..750u64 {
        put(&region, &i.to_le_bytes(), b"live", &[3; 1000]);
        assert!(region.stats().used <= region.stats().capacity);
    }
    let live = (0..200u64)
        .filter(|i| get(&region, &i.to_le_bytes()).is_some())
        .count();
    assert_eq!(
        live, 200,
        "none of the living went while there were dead ones"
    );
    for i in 750..5000u64 {
        put(&region, &i.to_le_bytes(), b"live", &[3; 1000]);
    }
    check(&region);
    assert!(region.stats().evictions > 3000);
    assert!(get(&region, &4999u64.to_le_bytes()).is_some());
}

#[test]
fn pinned_objects_do_not_wedge_admission() {
    let region = region(4 << 20);
    let pinned: Vec<Object> = (0..1500u32)
        .map(|i| put(&region, &i.to_le_bytes(), b"p", &[i as u8; 1000]))
        .collect();
    for i in 10_000..20_000u32 {
        put(&region, &i.to_le_bytes(), b"m", &[i as u8; 1000]);
    }
    for (i, object) in pinned.iter().enumerate() {
        assert!(bytes(object) == vec![i as u8; 1000]);
    }
    drop(pinned);
    check(&region);
}

#[test]
fn a_full_zone_of_pinned_objects_refuses_and_recovers() {
    let region = region(1 << 20);
    let mut pinned = Vec::new();
    let why = loop {
        let key = (pinned.len() as u32).to_le_bytes();
        let mut fill = match region
            .unclaimed(&key)
            .begin(new(b"", Some(10_000), Publish::Now))
        {
            Ok(fill) => fill,
            Err((_, why)) => break why,
        };
        fill.write(&[0; 10_000]).expect("reserved");
        pinned.push(fill.commit(1).expect("commit"));
    };
    assert_eq!(why, NoSpace::Full);
    assert!(pinned.len() > 80);
    check(&region);
    pinned.clear();
    put(&region, b"again", b"", &[0; 10_000]);
    check(&region);
}

#[test]
fn large_bodies_fit_into_a_zone_of_small_ones() {
    let region = region(16 << 20);
    let mut seed = 1u64;
    for i in 0..40_000u32 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = ((seed >> 33) as u32 % 30_000).to_le_bytes();
        put(
            &region,
            &key,
            b"m",
            &vec![i as u8; (seed >> 40) as usize % 1500],
        );
    }
    let body: Vec<u8> = (0..1_900_000u32).map(|i| (i >> 8) as u8).collect();
    let object = put(&region, b"large", b"m", &body);
    assert!(bytes(&object) == body);
    let s = check(&region);
    assert!(s.objects > 5000, "most of the small ones stay: {s:?}");
}

#[test]
fn a_region_is_attached_with_what_it_holds() {
    let len = 1 << 20;
    let layout = std::alloc::Layout::from_size_align(len, 4096).expect("layout");
    // SAFETY: the layout has a size.
    let base = std::ptr::NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
    // SAFETY: the memory is ours until the end of the test, where no handle is left.
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
        check(&second);
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
fn leaving_ends_claims_and_fills() {
    let region = region(1 << 20);
    let claim = claim(&region, b"a");
    let mut fill = region
        .unclaimed(b"b")
        .begin(new(b"", None, Publish::Now))
        .expect("begin");
    region.leave();
    assert!(!claim.is_valid());
    assert_eq!(fill.write(b"x"), Err(NoSpace::Ended));
    assert!(fill.commit(1).is_err());
    drop(claim);
    region.enter(None).expect("enter anew");
    assert!(get(&region, b"b").is_none());
    won(region.claim_key(b"a", 0, 1, 2, false).expect("free again"));
    check(&region);
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
    let s = check(&region);
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
    let Ok(mut fill) = claim.begin(new(b"m", None, Publish::Now)) else {
        return;
    };
    for part in vec![key; len].chunks(3000) {
        if fill.write(part).is_err() {
            return;
        }
    }
    let _ = fill.commit(1);
}

#[test]
fn a_purge_voids_a_claim_past_its_deadline_too() {
    let region = region(1 << 20);
    let marker = claim(&region, b"key")
        .begin(new(b"a", None, Publish::AtCommit))
        .expect("begin");
    let old = put(&region, b"other", b"m", b"b");
    let object = won(region.claim_object(&old, 1, 1000, false));
    let object = object
        .begin(new(b"a", None, Publish::AtCommit))
        .expect("begin");
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

/// Memory of our own, so that it can be damaged.
struct Piece(Vec<u64>);

impl Piece {
    const LEN: usize = 128 * 1024;
    fn new() -> Piece {
        Piece(vec![0; Piece::LEN / 8 + 8])
    }
    fn base(&mut self) -> std::ptr::NonNull<u8> {
        let at = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: the vector is 64 bytes longer than what is used of it.
        std::ptr::NonNull::new(unsafe { at.add(at.align_offset(64)) }).expect("not null")
    }
}

/// All operations, whatever they answer.
fn exercise(region: &Region, kept: &[Object], seed: u64) {
    for object in kept {
        let _ = (
            object.key().len(),
            object.meta().len(),
            object.body(),
            object.is_current(),
            object.id(),
        );
        let (mut cursor, mut read) = (Cursor::at(seed % 3000), 0);
        while read < 100_000 {
            match object.read(&mut cursor, 1000) {
                [] => break,
                bytes => read += bytes.len(),
            }
        }
        object.watch();
    }
    for i in 0..30u8 {
        let _ = region
            .lookup(&[i], 1, &mut |m| m.len() > 3)
            .map(|f| f.others);
        let total = (i % 2 == 0).then_some(900);
        if let Ok(Attempt::Won(claim)) = region.claim_key(&[i], 0, 1, 9, true)
            && let Ok(mut fill) = claim.begin(new(b"meta", total, Publish::Now))
            && fill.write(&[i; 900]).is_ok()
        {
            let _ = fill.commit(1);
        }
        region.note_use(&[i], 1);
    }
    if let Some(object) = kept.first() {
        let _ = region
            .unclaimed(object.key())
            .renew(object, NewHead::new(b"new", [0; 4], FAR), 1);
        region.remove(object);
    }
    region.remove_key(&[3]);
    region.sweep(seed, 500);
    region.reap();
    let _ = (region.validate(), region.stats());
}

#[test]
fn a_damaged_region_harms_nobody() {
    for seed in 0..600u64 {
        let mut piece = Piece::new();
        let base = piece.base();
        // SAFETY: the memory outlives the handles, and nothing else uses it but the damage below.
        let region =
            unsafe { Region::create(base, Piece::LEN, &RegionOptions::default()) }.expect("create");
        region.enter(None).expect("enter");
        let kept: Vec<Object> = (0..30u8)
            .map(|i| put(&region, &[i], b"meta", &[i; 1500]))
            .collect();
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..40 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // Anything behind the first line: the counters, lists, slots, buckets, blocks. Half of it in the header.
            let span = if x >> 63 == 0 {
                1500
            } else {
                Piece::LEN / 4 - 16
            };
            let word = (x >> 16) as usize % span + 16;
            let value = match x % 4 {
                0 => 0,
                1 => x as u32,
                2 => (x >> 40) as u32 % 9000,
                _ => u32::MAX,
            };
            // SAFETY: within the memory; no slice of it is alive here, all else in it is read as atomics.
            unsafe { base.as_ptr().cast::<u32>().add(word).write(value) };
        }
        exercise(&region, &kept[..15], x);
        drop(kept);
        exercise(&region, &[], x);
    }
}
