//! A region whose memory was overwritten.

use swrcache::store::*;

use super::*;

/// Memory of our own, so that it can be damaged.
struct Piece(Vec<u64>);

impl Piece {
    const LEN: usize = 128 * 1024;
    fn new() -> Piece {
        Piece(vec![0; Piece::LEN / 8 + 8])
    }
    fn base(&mut self) -> std::ptr::NonNull<u8> {
        let at = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: the vector is 64 bytes longer than the part that is used.
        std::ptr::NonNull::new(unsafe { at.add(at.align_offset(64)) }).expect("not null")
    }
}

/// All operations, whatever they return.
fn exercise(region: &Region, kept: &[Object], seed: u64) {
    for object in kept {
        let _ = (
            object.key().len(),
            object.meta().len(),
            object.body(),
            object.is_current(),
            object.id(),
        );
        let (mut cursor, mut read) = (Cursor::at(seed % 3000), 0);
        while read < 100_000 {
            match object.read(&mut cursor, 1000) {
                [] => break,
                bytes => read += bytes.len(),
            }
        }
        object.watch();
    }
    for i in 0..30u8 {
        let _ = region
            .lookup(&[i], 1, &mut |m| m.len() > 3)
            .map(|f| f.others);
        let total = (i % 2 == 0).then_some(900);
        if let Ok(Attempt::Won(claim)) = region.claim_key(&[i], 0, 1, 9, true)
            && let Ok(mut fill) = Fill::begin(claim, new(b"meta", total, Publish::Now))
            && fill.write(&[i; 900]).is_ok()
        {
            let _ = fill.commit(1);
        }
        region.count_in_marker(&[i], 0, 3_600_000, 1);
    }
    if let Some(object) = kept.first() {
        let _ = region.unclaimed(object.key()).renew(
            object,
            NewHead::new(b"new", [0; ATTRIBUTES], FAR),
            1,
        );
        region.remove(object);
    }
    region.remove_key(&[3]);
    region.sweep(seed, 500);
    region.reap();
    let _ = (region.validate(), region.stats());
}

#[test]
fn a_damaged_region_harms_nobody() {
    for seed in 0..600u64 {
        let mut piece = Piece::new();
        let base = piece.base();
        // SAFETY: the memory outlives the handles, and only the damage below accesses it otherwise.
        let region =
            unsafe { Region::create(base, Piece::LEN, &RegionOptions::default()) }.expect("create");
        region.enter(None).expect("enter");
        let kept: Vec<Object> = (0..30u8)
            .map(|i| put(&region, &[i], b"meta", &[i; 1500]))
            .collect();
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..40 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // Anything after the first line: counters, lists, slots, buckets, blocks. Half of the damage is in the
            // header.
            let span = if x >> 63 == 0 {
                1500
            } else {
                Piece::LEN / 4 - 16
            };
            let word = (x >> 16) as usize % span + 16;
            let value = match x % 4 {
                0 => 0,
                1 => x as u32,
                2 => (x >> 40) as u32 % 9000,
                _ => u32::MAX,
            };
            // SAFETY: the word lies within the memory; no slice of it is alive here, and all other accesses are atomic.
            unsafe { base.as_ptr().cast::<u32>().add(word).write(value) };
        }
        exercise(&region, &kept[..15], x);
        drop(kept);
        exercise(&region, &[], x);
    }
}
