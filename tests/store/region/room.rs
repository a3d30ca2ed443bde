//! The size limit, and what is evicted when there is no room.

use swrcache::store::*;

use super::*;

#[test]
fn the_dead_are_swept_and_not_found() {
    let region = region(1 << 20);
    for i in 0..100u64 {
        let spec = NewObject {
            dead_at: 100 + i,
            ..new(b"", None, Publish::Now)
        };
        Fill::begin(region.unclaimed(&i.to_le_bytes()), spec)
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
    while valid(&region).objects > 0 {
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
        let mut fill = Fill::begin(region.unclaimed(&i.to_le_bytes()), spec).expect("begin");
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
    valid(&region);
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
    valid(&region);
}

#[test]
fn a_full_zone_of_pinned_objects_refuses_and_recovers() {
    let region = region(1 << 20);
    let mut pinned = Vec::new();
    let why = loop {
        let key = (pinned.len() as u32).to_le_bytes();
        let mut fill =
            match Fill::begin(region.unclaimed(&key), new(b"", Some(10_000), Publish::Now)) {
                Ok(fill) => fill,
                Err((_, why)) => break why,
            };
        fill.write(&[0; 10_000]).expect("reserved");
        pinned.push(fill.commit(1).expect("commit"));
    };
    assert_eq!(why, NoSpace::Full);
    assert!(pinned.len() > 80);
    valid(&region);
    pinned.clear();
    put(&region, b"again", b"", &[0; 10_000]);
    valid(&region);
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
    let s = valid(&region);
    assert!(s.objects > 5000, "most of the small ones stay: {s:?}");
}
