//! Deaths while a region in a file is opened and closed.

use swrcache::store::*;

use super::*;
use crate::world::BYSTANDERS;

pub(crate) const TESTS: &[Test] = tests![crash_in_taking_and_sealing_a_file,];

/// The file of a region whose processes all died is taken over and sealed. A process dies at each write of that, and
/// the next one still finds every object. The same for the making of a new file.
fn crash_in_taking_and_sealing_a_file() {
    let dir = std::env::temp_dir().join(format!("swrcache-crash-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let path = dir.join("zone");
    let len = Region::min_len() + 64 * 1024;
    let open = || Region::file(&path, len, &RegionOptions::default()).expect("a region");
    let fill = || {
        let _ = std::fs::remove_file(&path);
        let all = Child::fork(|| {
            let (region, _) = open();
            enter(&region);
            (0..4).for_each(|i| drop(put(&region, BYSTANDERS[i], i as u64, 700 * i as u64)));
            let growing = half(&region, b"target", Publish::Now);
            let pinned = put(&region, b"old", 9, 100);
            region.remove(&pinned);
            std::mem::forget((growing, pinned));
        });
        assert_eq!(all.wait(), Some(0));
    };
    let take = |region: &Region| {
        enter(region);
        assert_eq!(get(region, b"one").map(|o| check(&o)), Some(0));
        region.leave();
        assert!(region.seal());
    };
    for fresh in [false, true] {
        let mut n = 0;
        loop {
            let what = format!("taking a file (fresh: {fresh}), before write {n}");
            fill();
            if fresh {
                std::fs::remove_file(&path).expect("removed");
            }
            let child = Child::fork(|| {
                crash::arm(n);
                let (region, _) = open();
                if !fresh {
                    take(&region);
                }
                crash::disarm();
            });
            let ended = child.wait();
            let (region, found) = open();
            enter(&region);
            let kept = match found {
                Predecessor::Region { kept, .. } => kept,
                Predecessor::Nothing => 0,
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(kept, if fresh { 0 } else { 4 }, "{what}");
            let s = region.validate().unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(
                (s.objects, s.limbo, s.markers, s.pins),
                (kept, 0, 0, 0),
                "{what}: {s:?}"
            );
            for key in BYSTANDERS {
                assert_eq!(
                    get(&region, key).map(|o| check(&o)).is_some(),
                    !fresh,
                    "{what}"
                );
            }
            assert!(get(&region, b"target").is_none() && get(&region, b"old").is_none());
            put(&region, b"new", 3, 2000);
            if ended == Some(0) {
                println!("  taking a file (fresh: {fresh}): {n} writes");
                break;
            }
            assert_eq!(ended, None, "{what}: it failed");
            n += if everywhere() { 1 } else { 1 + n / 64 };
        }
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
