#![no_main]
//! Directives: each line of the data is one, its words at spaces.

use libfuzzer_sys::fuzz_target;
use swrcache::engine::{Directives, Window};

fuzz_target!(|data: &[u8]| {
    let mut block = Directives::default();
    let mut taken = 0;
    for line in data.split(|b| *b == b'\n') {
        let mut words = line.split(|b| *b == b' ').collect::<Vec<_>>();
        let name = String::from_utf8_lossy(words.remove(0)).into_owned();
        match block.add(&name, &words) {
            Ok(()) => taken += 1,
            Err(why) => assert!(!why.is_empty()),
        }
    }
    let policy = block.policy();
    assert!(policy.backoff_min > 0 && policy.backoff_min <= policy.backoff_max);
    assert!(policy.max_variants > 0 && policy.max_variants <= 1 << 16);
    assert!(policy.refresh_ahead.is_none_or(|percent| (1..100).contains(&percent)));
    for window in [policy.swr, policy.sie] {
        if let Window::Default(time) | Window::Force(time) = window {
            assert!(i64::try_from(time).is_ok());
        }
    }
    // A block that says nothing has all from the one around it.
    let mut inner = Directives::default();
    inner.inherit(&block);
    assert_eq!(format!("{:?}", inner.policy()), format!("{policy:?}"));
    assert!(taken > 0 || format!("{:?}", Directives::default().policy()) == format!("{policy:?}"));
});
