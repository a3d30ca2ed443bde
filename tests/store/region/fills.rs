//! Bodies that grow, break and end.

use swrcache::store::*;

use super::*;

#[test]
fn readers_follow_a_growing_body_over_its_pieces() {
    let region = region(8 << 20);
    let mut fill =
        Fill::begin(claim(&region, b"key"), new(b"m", None, Publish::Now)).expect("begin");
    let reader = get(&region, b"key").expect("published");
    assert_eq!(
        reader.body(),
        BodyState {
            len: 0,
            total: None,
            completeness: Completeness::Growing
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
    valid(&region);
    let done = fill.commit(5).expect("commit");
    assert_eq!(done.body().total, Some(sent.len() as u64));
    assert!(bytes(&done) == sent);
    assert_eq!(done.chunk(77_777)[0], sent[77_777]);
    let s = valid(&region);
    assert!(
        s.used < sent.len() as u64 + 2048,
        "the last piece is trimmed: {s:?}"
    );
}

#[test]
fn a_dropped_fill_breaks_and_leaves_nothing() {
    let region = region(1 << 20);
    for publish in [Publish::Now, Publish::AtCommit] {
        let mut fill =
            Fill::begin(claim(&region, b"key"), new(b"m", Some(100), publish)).expect("begin");
        fill.write(b"half").expect("write");
        let reader = fill.object();
        drop(fill);
        assert_eq!(reader.body().completeness, Completeness::Broken);
        assert!(!reader.is_current() && get(&region, b"key").is_none());
        assert_eq!(reader.chunk(0), b"half");
        drop(reader);
        check_empty(&region);
    }
}

#[test]
fn an_aborted_fill_gives_the_claim_back() {
    let region = region(1 << 20);
    let fill = Fill::begin(claim(&region, b"key"), new(b"m", None, Publish::Now)).expect("begin");
    let claim = fill.abort();
    assert!(claim.is_valid() && get(&region, b"key").is_none());
    drop(claim);
    check_empty(&region);
}

#[test]
fn totals_are_kept_to() {
    let region = region(1 << 20);
    let mut fill =
        Fill::begin(region.unclaimed(b"k"), new(b"", Some(4), Publish::Now)).expect("begin");
    fill.write(b"abc").expect("write");
    assert_eq!(fill.write(b"de"), Err(NoSpace::BeyondTotal));
    assert_eq!(fill.len(), 3);
    let short = fill.commit(1).expect_err("short");
    assert_eq!(short.reason, SupersededReason::Incomplete);
    assert_eq!(short.object.body().completeness, Completeness::Broken);
    drop(short);
    check_empty(&region);
}

#[test]
fn an_object_too_large_is_refused_and_gives_the_claim_back() {
    let region = region(1 << 20);
    let spec = new(b"", Some(1 << 18), Publish::Now);
    let (claim, why) = Fill::begin(claim(&region, b"k"), spec).expect_err("too large");
    assert_eq!(why, NoSpace::TooLarge);
    let mut fill = Fill::begin(claim, new(b"", None, Publish::Now)).expect("begin");
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
fn the_same_bytes_keep_the_old_body() {
    let region = region(1 << 20);
    let old = put(&region, b"key", b"old", b"body");
    for publish in [Publish::AtCommit, Publish::Now] {
        let current = get(&region, b"key").expect("found");
        let mut fill = Fill::begin(
            won(region.claim_object(&current, 1, 1000, false)),
            NewObject {
                replaces: Some(&current),
                ..new(b"x", Some(4), publish)
            },
        )
        .expect("begin");
        fill.write(b"body").expect("write");
        let reader = fill.object();
        let renewed = fill
            .commit_as_renewal(&current, NewHead::new(b"new", [0; ATTRIBUTES], FAR), 2)
            .expect("renewed");
        assert!(share_a_body(&renewed, &old) && !share_a_body(&renewed, &reader));
        assert_eq!(reader.body().completeness, Completeness::Complete);
        assert_eq!(get(&region, b"key").expect("found").meta(), b"new");
        let s = valid(&region);
        assert_eq!((s.objects, s.claims), (1, 0));
    }
}
