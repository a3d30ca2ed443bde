//! Counters, and surveys of everything stored.

use super::*;
use std::collections::HashMap;

#[test]
fn words_add_up_and_none_is_out_of_reach() {
    let region = region(1 << 20);
    region.tally(0, 2);
    region.tally(0, 3);
    region.tally(TALLIES - 1, 1);
    // There is no such counter: nothing is counted, and no other counter changes.
    region.tally(TALLIES, 9);
    region.tally(usize::MAX, 9);
    let sum = region.tallies();
    assert_eq!((sum[0], sum[TALLIES - 1]), (5, 1));
    assert_eq!(sum.iter().sum::<u64>(), 6);
    // A process that has left adds nothing; what it had counted stays, and the next one continues from there.
    region.leave();
    region.tally(0, 100);
    region.enter(None).expect("a slot");
    region.tally(0, 4);
    assert_eq!(region.tallies()[0], 9);
    valid(&region);
}

/// The hits of each key, by the hash that a survey shows.
fn hits(region: &Region) -> HashMap<Vec<u8>, u64> {
    let hot = region.hot();
    let mut hits = HashMap::new();
    let all = (0, region.places());
    let next = region.survey(all, 1, &mut |shown| {
        hits.insert(
            shown.key.to_vec(),
            hot.get(&shown.hash).copied().unwrap_or(0),
        );
    });
    assert_eq!(next.expect("not busy"), None);
    hits
}

#[test]
fn keys_that_are_found_are_counted_and_a_peek_is_not() {
    let region = region(1 << 20);
    for key in [&b"often"[..], b"once", b"never"] {
        put(&region, key, b"m", b"body");
    }
    (0..10).for_each(|_| drop(get(&region, b"often")));
    get(&region, b"once");
    assert!(get(&region, b"absent").is_none());
    for _ in 0..5 {
        let found = region.peek(b"never", 1, &mut |_| true).expect("not busy");
        assert_eq!(found.object.expect("there").meta(), b"m");
    }
    let hits = hits(&region);
    let of = |key: &[u8]| hits.get(key).copied();
    assert_eq!(
        (of(b"often"), of(b"once"), of(b"never")),
        (Some(10), Some(1), Some(0))
    );
    assert_eq!(hits.len(), 3);
}

#[test]
fn the_hot_stay_among_many_that_are_asked_for_once() {
    let region = region(4 << 20);
    put(&region, b"hot", b"", b"");
    for i in 0..4_000u32 {
        put(&region, &i.to_le_bytes(), b"", b"");
        get(&region, &i.to_le_bytes());
        get(&region, b"hot");
    }
    let hits = hits(&region);
    let most = hits.iter().max_by_key(|(_, hits)| **hits).expect("some");
    assert_eq!(most.0, b"hot");
    assert!((4_000..4_100).contains(most.1), "{}", most.1);
}

#[test]
fn a_survey_shows_what_there_is_in_pieces() {
    let region = region(1 << 20);
    put(&region, b"whole", b"meta", b"12345");
    let mut growing =
        Fill::begin(claim(&region, b"growing"), new(b"", None, Publish::Now)).expect("room");
    growing.write(b"12").expect("room");
    region.set_marker(b"passes", 0, 50, 50, 1);
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let next = region.survey((from, 7), 1, &mut |shown| {
            let key = String::from_utf8_lossy(shown.key).into_owned();
            seen.push((key, shown.is_object, shown.body, shown.is_growing));
        });
        match next.expect("not busy") {
            Some(next) => from = next,
            None => break,
        }
    }
    seen.sort();
    let shown =
        |key: &str, is_object, body, is_growing| (key.to_owned(), is_object, body, is_growing);
    assert!(seen.contains(&shown("whole", true, 5, false)), "{seen:?}");
    assert!(seen.contains(&shown("growing", true, 2, true)), "{seen:?}");
    assert!(seen.contains(&shown("passes", false, 0, false)), "{seen:?}");
    drop(growing);
    valid(&region);
}

#[test]
fn variants_that_have_to_go_are_counted() {
    let region = region(1 << 20);
    for meta in [b"1", b"2", b"3"] {
        let fill = Fill::begin(
            region.unclaimed(b"key"),
            NewObject {
                max_variants: 2,
                ..new(meta, Some(0), Publish::AtCommit)
            },
        );
        fill.expect("room").commit(1).expect("stored");
    }
    let stats = region.stats();
    assert_eq!((stats.objects, stats.variants, stats.damaged), (2, 1, 0));
}
