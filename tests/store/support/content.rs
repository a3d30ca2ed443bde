//! What the tests store, so that each byte that is read shows whether it is right.

use std::ops::Range;

use swrcache::store::*;

/// A time that no test reaches.
pub(crate) const FAR: Millis = 1_000_000_000;

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// The byte at an offset of the body with that nonce.
fn byte(nonce: u64, at: u64) -> u8 {
    (nonce
        .wrapping_mul(31)
        .wrapping_add(at)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        >> 56) as u8
}

/// A range of the body with that nonce. Under Miri, where each byte takes long to make, all bytes are the same.
pub(crate) fn body(nonce: u64, range: Range<u64>) -> Vec<u8> {
    if cfg!(miri) {
        return vec![byte(nonce, 0); (range.end - range.start) as usize];
    }
    range.map(|at| byte(nonce, at)).collect()
}

/// A head that contains the nonce of the body, and the key.
pub(crate) fn meta(nonce: u64, key: &[u8]) -> Vec<u8> {
    [&nonce.to_le_bytes(), key].concat()
}

pub(crate) fn nonce_of(object: &Object) -> u64 {
    u64::from_le_bytes(object.meta()[..8].try_into().expect("eight bytes"))
}

/// Whether the bytes of both bodies, which are not empty, are the same ones.
pub(crate) fn share_a_body(one: &Object, other: &Object) -> bool {
    let start = |object: &Object| object.read(&mut Cursor::default(), usize::MAX).as_ptr();
    start(one) == start(other)
}

/// An object without labels that does not expire.
pub(crate) fn new(meta: &[u8], total: Option<u64>, publish: Publish) -> NewObject<'_> {
    NewObject {
        meta,
        labels: &[],
        total,
        attributes: [0; ATTRIBUTES],
        dead_at: FAR,
        publish,
        replaces: None,
        max_variants: 0,
    }
}

/// A region in memory that this process has entered.
pub(crate) fn region(len: usize) -> Region {
    let region = Region::anonymous(len, &RegionOptions::default()).expect("region");
    region.enter(None).expect("enter");
    region
}

/// The published bytes of a body.
pub(crate) fn bytes(object: &Object) -> Vec<u8> {
    let (mut cursor, mut all) = (Cursor::default(), Vec::new());
    while let part @ [_, ..] = object.read(&mut cursor, 700) {
        all.extend_from_slice(part);
    }
    all
}

/// Checks that every published byte is that of the nonce. Returns the number of bytes.
pub(crate) fn check_bytes(object: &Object, nonce: u64) -> u64 {
    let (mut cursor, mut at) = (Cursor::default(), 0);
    while let part @ [_, ..] = object.read(&mut cursor, 1000) {
        let end = at + part.len() as u64;
        assert!(
            part == body(nonce, at..end),
            "wrong bytes in {at}..{end} of {object:?}"
        );
        at = end;
    }
    at
}

/// Checks that the head is that of the key, that the body is the one that the head describes, and that all of it is
/// published if it was found to be complete. Returns the number of bytes.
pub(crate) fn check(object: &Object) -> u64 {
    assert_eq!(object.meta()[8..], *object.key(), "the head of another key");
    let state = object.body();
    let len = check_bytes(object, nonce_of(object));
    assert!(
        state.completeness != Completeness::Complete
            || (state.len, state.total) == (len, Some(len)),
        "{len} bytes of {state:?}"
    );
    len
}
