//! The store through its public interface, in one process, without sleeping.

use swrcache::store::*;

#[path = "../support/mod.rs"]
mod support;

use support::*;

mod claims;
mod counts;
mod damage;
mod fills;
mod objects;
mod room;

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
    let mut fill =
        Fill::begin(region.unclaimed(key), new(meta, total, Publish::AtCommit)).expect("begin");
    fill.write(body).expect("write");
    fill.commit(1).expect("commit")
}

fn get(region: &Region, key: &[u8]) -> Option<Object> {
    region
        .lookup(key, 1, &mut |_| true)
        .expect("not busy")
        .object
}

fn valid(region: &Region) -> Summary {
    let summary = region.validate().expect("valid");
    assert_eq!(summary.held_locks, 0);
    summary
}

/// No object, no pin, no byte in use.
fn check_empty(region: &Region) {
    let s = valid(region);
    assert_eq!(
        (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
        (0, 0, 0, 0, 0, 1),
        "{s:?}"
    );
}
