//! The keyed hash of the index: folded multiplication, 16 bytes per step. Keys come from requests, so each region has a
//! random seed; a collision only costs time, as keys are compared in full.

use crate::store::memory::key::trunk;

const fn fold(a: u64, b: u64) -> u64 {
    let m = a as u128 * b as u128;
    m as u64 ^ (m >> 64) as u64
}

/// Derives independent words from a seed (splitmix64).
const fn split(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn word(bytes: &[u8]) -> u64 {
    let mut w = [0; 8];
    let n = bytes.len().min(8);
    w[..n].copy_from_slice(&bytes[..n]);
    u64::from_le_bytes(w)
}

/// The secret with which keys are hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashKey {
    a: u64,
    b: u64,
    c: u64,
}

impl HashKey {
    pub(crate) fn from_seed(seed: u64) -> HashKey {
        HashKey {
            a: split(seed, 1),
            b: split(seed, 2),
            c: split(seed, 3) | 1,
        }
    }

    /// Gives every key the same hash.
    #[cfg(test)]
    pub(crate) fn colliding() -> HashKey {
        HashKey { a: 0, b: 0, c: 0 }
    }

    /// The hash of a key, which is that of its trunk.
    #[inline]
    pub(crate) fn of_key(self, key: &[u8]) -> u64 {
        self.hash(trunk(key))
    }

    #[inline]
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        let mut h = self.a ^ (bytes.len() as u64).wrapping_mul(self.c);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            h = fold(word(&block[..8]) ^ self.b, word(&block[8..]) ^ h);
        }
        let rest = blocks.remainder();
        let (low, high) = rest.split_at(rest.len().min(8));
        h = fold(word(low) ^ self.b, word(high) ^ h);
        fold(h ^ self.a, self.c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_keys_spread_over_buckets() {
        let key = HashKey::from_seed(7);
        let mut hits = vec![0u32; 1024];
        for i in 0..65536u32 {
            hits[key.hash(format!("http://example.test/item/{i}").as_bytes()) as usize % 1024] += 1;
        }
        let worst = hits.iter().max().copied().unwrap_or(0);
        assert!(worst < 128, "64 expected, {worst} in the fullest");
    }

    #[test]
    fn length_and_seed_tell_keys_apart() {
        let key = HashKey::from_seed(7);
        assert_ne!(key.hash(b""), key.hash(b"\0"));
        assert_ne!(key.hash(b"\0\0\0\0"), key.hash(b"\0\0\0\0\0"));
        assert_ne!(key.hash(b"a"), HashKey::from_seed(8).hash(b"a"));
    }
}
