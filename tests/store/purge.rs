//! Purges by label, prefix, text and key, of stored objects and of fills in progress.

use swrcache::store::*;

mod support;

use support::*;

fn begin(claim: Claim, labels: &[u64], publish: Publish) -> Fill {
    let new = NewObject {
        labels,
        ..new(b"meta", Some(4), publish)
    };
    Fill::begin(claim, new).expect("begin")
}

fn end(mut fill: Fill) -> Result<Object, Superseded> {
    fill.write(b"body").expect("write");
    fill.commit(2)
}

fn put(region: &Region, key: &str, labels: &[u64]) {
    let claim = region.unclaimed(key.as_bytes());
    end(begin(claim, labels, Publish::AtCommit)).expect("commit");
}

fn claim(region: &Region, key: &str) -> Claim {
    match region.claim_key(key.as_bytes(), 0, 1, FAR, false) {
        Ok(Attempt::Won(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn get(region: &Region, key: &str) -> Option<Object> {
    let found = region.lookup(key.as_bytes(), 5, &mut |_| true);
    found.expect("not busy").object
}

fn has(region: &Region, key: &str) -> bool {
    get(region, key).is_some()
}

fn labels(labels: &[u64]) -> Targets {
    Targets {
        labels: labels.to_vec(),
        ..Targets::default()
    }
}

fn prefixes(prefixes: &[&str]) -> Targets {
    Targets {
        prefixes: prefixes.iter().map(|p| p.as_bytes().into()).collect(),
        ..Targets::default()
    }
}

fn all() -> Targets {
    Targets {
        all: true,
        ..Targets::default()
    }
}

fn purge(region: &Region, targets: Targets, effect: Effect) -> u64 {
    let mut purge = region.purge(targets, effect, 4).expect("begin");
    // In steps, as hosts do.
    while !purge.step(7).expect("step") {}
    purge.purged()
}

fn remove(region: &Region, targets: Targets) -> u64 {
    purge(region, targets, Effect::Remove)
}

/// Nothing is left when everything is removed and swept.
fn check_empty(region: &Region) {
    remove(region, all());
    while region.stats().objects + region.stats().markers > 0 {
        region.sweep(FAR + 1, region.places() + 1);
    }
    let s = region.validate().expect("valid");
    assert_eq!(
        (s.used, s.limbo, s.pins, s.held_locks),
        (0, 0, 0, 0),
        "{s:?}"
    );
}

#[test]
fn a_label_finds_all_that_bears_it_and_nothing_else() {
    let region = region(4 << 20);
    for n in 0..1000u64 {
        put(&region, &format!("/{n}"), &[n % 10, 100 + n]);
    }
    assert_eq!(get(&region, "/37").expect("there").labels(), [7, 137]);
    assert_eq!(remove(&region, labels(&[7])), 100);
    assert_eq!(remove(&region, labels(&[7])), 0);
    assert_eq!(remove(&region, labels(&[999_999])), 0);
    for n in 0..1000u64 {
        assert_eq!(has(&region, &format!("/{n}")), n % 10 != 7, "{n}");
    }
    // An entry that matches twice counts once.
    assert_eq!(remove(&region, labels(&[8, 118, 119])), 101);
    put(&region, "/7", &[7]);
    assert_eq!(remove(&region, labels(&[7])), 1);
    check_empty(&region);
}

#[test]
fn prefixes_stems_and_keys() {
    let region = region(4 << 20);
    region.set_stem(|key| key.strip_suffix(b"!"));
    let key = |stem: &str| format!("{stem}!");
    for text in ["/a", "/a/b", "/ab", "/b"] {
        put(&region, &key(text), &[]);
    }
    let stems = |stems: &[&str]| Targets {
        stems: stems.iter().map(|s| s.as_bytes().into()).collect(),
        ..Targets::default()
    };
    assert_eq!(remove(&region, stems(&["/a", "/", "/ab/"])), 1);
    assert!(!has(&region, &key("/a")) && has(&region, &key("/a/b")));
    let keys = Targets {
        keys: vec![key("/b").into_bytes().into(), (*b"/ab").into()],
        ..Targets::default()
    };
    assert_eq!(remove(&region, keys), 1);
    assert!(!has(&region, &key("/b")) && has(&region, &key("/ab")));
    assert_eq!(remove(&region, prefixes(&["/a/", "/x", "/a/b"])), 1);
    assert_eq!(remove(&region, Targets::default()), 0);
    assert_eq!(remove(&region, all()), 1);
    check_empty(&region);
}

#[test]
fn aging_leaves_what_it_finds_and_says_since_when() {
    let region = region(1 << 20);
    put(&region, "/a", &[1]);
    put(&region, "/b", &[2]);
    assert_eq!(purge(&region, labels(&[1]), Effect::Age), 1);
    let a = get(&region, "/a").expect("there");
    assert_eq!((a.aged(), a.is_current()), (4, true));
    assert_eq!(get(&region, "/b").expect("there").aged(), 0);
    let mut later = region.purge(all(), Effect::Age, 9).expect("begin");
    assert!(later.step(u32::MAX).expect("step"));
    assert_eq!((later.purged(), a.aged()), (2, 4), "the first counts");
    // A renewal that began afterwards is unaffected.
    let head = NewHead::new(b"new", [0; ATTRIBUTES], FAR);
    let renewed = claim(&region, "/a").renew(&a, head, 10).expect("renewed");
    assert_eq!(renewed.aged(), 0);
    drop((a, renewed));
    check_empty(&region);
}

/// All branches of a key are removed with it, and fetches in progress for them store nothing.
#[test]
fn branches_go_with_their_trunk() {
    let trunk = b"/a\0".to_vec();
    let branch = |tail: &[u8]| {
        let length = (tail.len() as u32).to_le_bytes();
        [&trunk[..], tail, &length, b"\xff"].concat()
    };
    let keys = [trunk.clone(), branch(b"/x"), branch(b"/y"), branch(b"")];
    let put = |region: &Region, key: &[u8]| {
        end(begin(region.unclaimed(key), &[], Publish::AtCommit)).map(drop)
    };
    let count = |region: &Region| {
        let there = |key: &&Vec<u8>| {
            let looked = region.lookup(key, 5, &mut |_| true).expect("not busy");
            assert_eq!(looked.others, 0, "branches are no variants of each other");
            looked.object.is_some_and(|object| object.key() == &key[..])
        };
        keys.iter().filter(there).count()
    };
    type Removal = fn(&Region, &[u8]) -> u64;
    let removals: [Removal; 4] = [
        |region, key| region.remove_key(key).into(),
        |region, key| {
            let keys = vec![key.into()];
            remove(
                region,
                Targets {
                    keys,
                    ..Targets::default()
                },
            )
        },
        |region, _| {
            let stems = vec![b"/a".as_slice().into()];
            remove(
                region,
                Targets {
                    stems,
                    ..Targets::default()
                },
            )
        },
        |region, _| remove(region, prefixes(&["/a"])),
    ];
    for removal in removals {
        let region = region(1 << 20);
        region.set_stem(|key| key.get(..2));
        for by in &keys {
            for key in &keys {
                put(&region, key).expect("room");
            }
            put(&region, b"/b\0").expect("room");
            assert_eq!(count(&region), keys.len());
            let before = region.unclaimed(&keys[1]);
            assert_eq!(removal(&region, by), keys.len() as u64);
            let late = end(begin(before, &[], Publish::AtCommit));
            assert!(!late.is_ok_and(|object| object.is_current()));
            assert_eq!((count(&region), region.remove_key(b"/b\0")), (0, 1));
        }
        check_empty(&region);
    }
}

/// Every way in which a response fetched before a purge could be stored after it.
#[test]
fn a_purge_wins_over_what_was_asked_for_before() {
    type Target = fn() -> Targets;
    let targets: [Target; 5] = [
        all,
        || labels(&[1]),
        || prefixes(&["/a"]),
        || Targets {
            keys: vec![b"/a\0".as_slice().into()],
            ..Targets::default()
        },
        || Targets {
            stems: vec![b"/a".as_slice().into()],
            ..Targets::default()
        },
    ];
    for target in targets {
        for effect in [Effect::Remove, Effect::Age] {
            let region = region(1 << 20);
            let aged = u64::from(effect == Effect::Age) * 4;
            let fate = |what: &str| {
                let found = get(&region, "/a\0");
                match effect {
                    Effect::Remove => assert!(found.is_none(), "{what}"),
                    Effect::Age => assert_eq!(found.expect(what).aged(), aged, "{what}"),
                }
                remove(&region, all());
            };
            let before = region.unclaimed(b"/a\0");
            purge(&region, target(), effect);
            let _ = end(begin(before, &[1], Publish::AtCommit));
            fate("a fetch whose answer comes after it");

            let before = region.unclaimed(b"/a\0");
            purge(&region, target(), effect);
            let fill = begin(before, &[1], Publish::Now);
            if effect == Effect::Remove {
                assert!(get(&region, "/a\0").is_none());
            }
            let _ = end(fill);
            fate("the same, to be read along");

            for publish in [Publish::AtCommit, Publish::Now] {
                let fill = begin(claim(&region, "/a\0"), &[1], publish);
                purge(&region, target(), effect);
                let _ = end(fill);
                fate("a fill under way");
            }

            put(&region, "/a\0", &[1]);
            let old = get(&region, "/a\0").expect("there");
            let before = region.unclaimed(b"/a\0");
            purge(&region, target(), effect);
            let head = NewHead {
                labels: &[1],
                ..NewHead::new(b"new", [0; ATTRIBUTES], FAR)
            };
            let _ = before.renew(&old, head, 5);
            drop(old);
            fate("a renewal");

            let before = region.unclaimed(b"/b\0");
            purge(&region, target(), effect);
            let other = end(begin(before, &[2], Publish::AtCommit));
            assert_eq!(
                other.is_ok_and(|o| o.is_current() && o.aged() == 0),
                target() != all(),
                "what it is not for"
            );
            check_empty(&region);
        }
    }
}

/// The walk finds the old head by its label, and not the new one.
#[test]
fn a_renewal_with_other_labels_does_not_escape() {
    for effect in [Effect::Remove, Effect::Age] {
        let region = region(1 << 20);
        put(&region, "/a", &[1]);
        let old = get(&region, "/a").expect("there");
        let before = region.unclaimed(b"/a");
        let mut purge = region.purge(labels(&[1]), effect, 4).expect("begin");
        let head = NewHead {
            labels: &[2],
            ..NewHead::new(b"new", [0; ATTRIBUTES], FAR)
        };
        let _ = before.renew(&old, head, 5);
        drop(old);
        while !purge.step(7).expect("step") {}
        match effect {
            Effect::Remove => assert!(!has(&region, "/a")),
            Effect::Age => assert_eq!(get(&region, "/a").expect("there").aged(), 4),
        }
        check_empty(&region);
    }
}

#[test]
fn what_is_asked_for_after_a_purge_began_is_none_of_its_affair() {
    let region = region(1 << 20);
    put(&region, "/old", &[1]);
    let mut purge = region
        .purge(labels(&[1]), Effect::Remove, 4)
        .expect("begin");
    put(&region, "/new", &[1]);
    while !purge.step(1).expect("step") {}
    assert_eq!(purge.purged(), 1);
    assert!(!has(&region, "/old") && has(&region, "/new"));
    check_empty(&region);
}

#[test]
fn a_fetch_that_the_log_no_longer_reaches_back_to_comes_to_nothing() {
    let region = region(1 << 20);
    let (slow, quick) = (region.unclaimed(b"/slow"), region.unclaimed(b"/quick"));
    remove(&region, labels(&[7]));
    assert!(end(begin(quick, &[1], Publish::AtCommit)).is_ok());
    let many: Vec<u64> = (1000..6000).collect();
    remove(&region, labels(&many));
    assert!(end(begin(slow, &[1], Publish::AtCommit)).is_err());
    put(&region, "/slow", &[1]);
    assert!(has(&region, "/slow"));
    check_empty(&region);
}

#[test]
fn a_purge_of_all_ends_claims_and_forgets_what_passes() {
    let region = region(1 << 20);
    region.set_marker(b"/p", 0, FAR, FAR, 1);
    let fetching = claim(&region, "/q");
    remove(&region, all());
    let seen = region.lookup(b"/p", 5, &mut |_| true).expect("not busy");
    assert_eq!(seen.marker, MarkerView::default());
    assert!(!fetching.is_valid());
    drop(claim(&region, "/q"));
    drop(fetching);
    check_empty(&region);
}

#[test]
fn readers_keep_what_is_purged() {
    let region = region(1 << 20);
    put(&region, "/a", &[1]);
    let held = get(&region, "/a").expect("there");
    remove(&region, labels(&[1]));
    region.sweep(5, region.places() + 1);
    assert!(!held.is_current());
    assert_eq!(held.chunk(0), b"body");
    drop(held);
    check_empty(&region);
}

#[test]
fn what_an_object_cannot_have() {
    let region = region(4 << 20);
    let refused = |key: &[u8], labels: &[u64]| {
        let new = NewObject {
            meta: b"",
            labels,
            total: None,
            attributes: [0; ATTRIBUTES],
            dead_at: FAR,
            publish: Publish::AtCommit,
            replaces: None,
            max_variants: 0,
        };
        Fill::begin(region.unclaimed(key), new)
            .err()
            .map(|(_, why)| why)
    };
    let most: Vec<u64> = (0..=MAX_LABELS as u64).collect();
    assert_eq!(refused(b"/", &most), Some(NoSpace::TooLarge));
    assert_eq!(refused(b"/", &most[1..]), None);
    assert_eq!(refused(&[b'/'; MAX_KEY + 1], &[]), Some(NoSpace::TooLarge));
    let long = vec![b'/'; MAX_KEY + 1];
    assert!(
        region.claim_key(&long, 0, 1, FAR, false).is_err(),
        "no marker of it either"
    );
    check_empty(&region);
}
