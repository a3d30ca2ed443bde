#![no_main]
//! What of a query belongs to a key: the first line of the data is the directive, the rest a target.

use libfuzzer_sys::fuzz_target;
use swrcache::engine::Directives;

fn sorted(query: &[u8]) -> Vec<&[u8]> {
    let mut all: Vec<_> = query.split(|b| *b == b'&').collect();
    all.sort_unstable();
    all
}

fuzz_target!(|data: &[u8]| {
    let (directive, target) = match data.iter().position(|b| *b == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b"sort drop tracking"[..], data),
    };
    let words: Vec<_> = directive.split(|b| *b == b' ').collect();
    let mut block = Directives::default();
    let _ = block.add("query", &words);
    let query = block.policy().query;
    let made = query.of_target(target).into_owned();
    // What it leaves it leaves again.
    assert_eq!(query.of_target(&made), made);
    let Some(at) = target.iter().position(|b| *b == b'?') else {
        return assert_eq!(made, target);
    };
    assert!(made.starts_with(&target[..at]));
    // Nothing is there that was not, and nothing is left out that has no name to be left out by.
    let (all, left) = (sorted(&target[at + 1..]), sorted(made.get(at + 1..).unwrap_or_default()));
    assert!(left.iter().all(|one| one.is_empty() || all.contains(one)));
    assert!(all.iter().all(|one| !one.contains(&b';') || left.contains(one)));
    assert_eq!(query.of_led(&target[at + 1..], &target[at + 1..]), query.of(&target[at + 1..]).unwrap_or_default());
});
