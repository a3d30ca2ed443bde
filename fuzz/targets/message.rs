#![no_main]
//! Whole messages: what is stored of a response, for how long, and what a 304 makes of it.

use http::Method;
use libfuzzer_sys::fuzz_target;
use swrcache::http::storable::{Candidate, Traits, storable};
use swrcache::http::freshen::{self, StoredValidators};
use swrcache::http::{Basis, Control, Exclusions, Staleness, Times, freshness, hop_by_hop, limits};
use swrcache_fuzz::{Lines, two};

fn kept(fields: &Lines, control: &Control) -> Lines {
    let mut kept = Lines::new();
    Exclusions::of(fields, &control.directives).kept(fields, &mut |name, value| {
        kept.push((name.to_vec(), value.to_vec()));
    });
    kept
}

fuzz_target!(|data: &[u8]| {
    let (old, new) = two(data);
    let control = Control::of(&old, &["CDN-Cache-Control"]);
    let times = Times::read(&old);
    let basis = Basis {
        control: &control,
        times: &times,
        status: 200,
        response_time: 784_111_777_000,
    };
    let lifetime = freshness::lifetime(&basis).map_or(0, |lifetime| lifetime.value);
    Staleness::of(&control.directives, lifetime);
    let _ = storable(&Candidate {
        method: &Method::GET,
        status: 200,
        control: &control.directives,
        traits: Traits::default(),
    });
    let _ = limits::check(&old);
    let stored = kept(&old, &control);
    assert!(!stored.iter().any(|(name, _)| hop_by_hop::is_hop_by_hop(name)));
    let mut merged = 0;
    let excluded = Exclusions::connection(&new);
    freshen::merge(&stored, &new, &excluded, &mut |name, _| {
        assert!(!hop_by_hop::is_hop_by_hop(name));
        merged += 1;
    });
    assert!(merged <= stored.len() + new.len());
    let validators = StoredValidators {
        etag: Some(b"\"a\""),
        ..StoredValidators::default()
    };
    freshen::freshens(&validators, &new);
});
