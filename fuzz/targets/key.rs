#![no_main]
//! Keys of several parts: what is written is read back, and other parts make other keys.

use libfuzzer_sys::fuzz_target;
use swrcache::engine::key;

fn made(parts: &[&[u8]]) -> Vec<u8> {
    let mut made = Vec::new();
    key::write(parts.iter().copied(), &mut |bytes| {
        made.extend_from_slice(bytes)
    });
    made
}

fuzz_target!(|data: (Vec<Vec<u8>>, Vec<Vec<u8>>)| {
    let one: Vec<&[u8]> = data.0.iter().take(200).map(|part| &part[..]).collect();
    let other: Vec<&[u8]> = data.1.iter().take(200).map(|part| &part[..]).collect();
    let (a, b) = (made(&one), made(&other));
    assert_eq!(key::text(&a), one.concat());
    let nothing = |list: &[&[u8]]| list.len() < 2 && list.concat().is_empty();
    assert_eq!(a == b, one == other || nothing(&one) && nothing(&other));
    key::split(&one.concat());
});
