//! Which processes may use a file together.

use std::fs;
use std::os::unix::fs::MetadataExt;

use swrcache::store::*;

use super::*;

pub(crate) const TESTS: &[Test] = tests![
    a_file_in_use_is_left_alone,
    a_child_and_its_parent_share_a_file,
    anyone_may_join_who_lets_anyone,
    threads_that_open_a_file_together_share_it,
    a_file_without_descriptors_is_in_use_all_the_same,
    who_leaves_with_handles_is_gone_with_the_last_of_them,
    processes_that_cannot_see_each_other_do_not_share,
];

fn a_file_in_use_is_left_alone() {
    let folder = Folder::new();
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), LEN);
        put(&region, 1);
        held.open(1);
        go.pass();
        assert!(is_there(&region, 1));
        put(&region, 2);
    });
    held.pass();
    for len in [LEN, 2 * LEN] {
        let refused = try_open(&folder.zone(), len);
        assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    }
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (region, found) = open(&folder.zone(), LEN);
    assert!(
        matches!(found, Predecessor::Region { kept: 2, .. }),
        "{found:?}"
    );
    assert_eq!(there(&region, 3), 2);
}

fn a_child_and_its_parent_share_a_file() {
    let folder = Folder::new();
    let (region, _) = open(&folder.zone(), LEN);
    put(&region, 1);
    let child = Child::fork(|| {
        let (again, found) = open(&folder.zone(), LEN);
        assert!(matches!(found, Predecessor::Shared), "{found:?}");
        assert!(is_there(&again, 1));
        put(&again, 2);
        assert!(!again.seal(), "another is in it");
        again.leave();
    });
    assert_eq!(child.wait(), Some(0));
    assert!(is_there(&region, 2));
    // A process that continues after the first one has ended still holds the lock.
    let go = Gate::new();
    let child = Child::fork(|| {
        region.enter(None).expect("enter");
        go.pass();
    });
    region.leave();
    drop(region);
    let other = Child::fork(|| {
        // A process of another family would not have the descriptor.
        let fds = fs::read_dir("/proc/self/fd").expect("fds");
        let zone = fs::metadata(folder.zone()).expect("a file").ino();
        let ours: Vec<i32> = fds
            .filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok())
            .filter(|fd| fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|m| m.ino() == zone))
            .collect();
        assert_eq!(ours, [0i32; 0]);
        assert!(matches!(
            try_open(&folder.zone(), LEN),
            Err(StoreError::InUse)
        ));
    });
    assert_eq!(other.wait(), Some(0));
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (_, found) = open(&folder.zone(), LEN);
    assert!(
        matches!(found, Predecessor::Region { kept: 2, .. }),
        "{found:?}"
    );
}

fn anyone_may_join_who_lets_anyone() {
    let folder = Folder::new();
    let anyone = |len| {
        let opt = RegionOptions {
            share: Share::Anyone,
            ..RegionOptions::default()
        };
        let opened = Region::file(&folder.zone(), len, &opt);
        opened.inspect(|(region, _)| region.enter(None).expect("enter"))
    };
    // They start at the same time: one makes the file, the others join.
    let (ready, go) = (Gate::new(), Gate::new());
    let children: Vec<Child> = (0..4)
        .map(|i| {
            let (ready, go, anyone) = (&ready, &go, &anyone);
            Child::fork(move || {
                let (region, found) = anyone(LEN).expect("a region");
                assert!(
                    matches!(found, Predecessor::Nothing | Predecessor::Shared),
                    "{found:?}"
                );
                put(&region, i);
                ready.open(1);
                go.pass();
                assert_eq!(there(&region, 10), 4);
            })
        })
        .collect();
    children.iter().for_each(|_| _ = ready.pass());
    assert!(matches!(
        try_open(&folder.zone(), LEN),
        Err(StoreError::InUse)
    ));
    assert!(matches!(anyone(2 * LEN), Err(StoreError::Length { .. })));
    let (region, found) = anyone(LEN).expect("a region");
    assert!(matches!(found, Predecessor::Shared), "{found:?}");
    assert_eq!(there(&region, 10), 4);
    children.iter().for_each(|_| go.open(1));
    children
        .into_iter()
        .for_each(|c| assert_eq!(c.wait(), Some(0)));
    drop(region);
    // The last process that uses the file uses it alone.
    let (region, found) = open(&folder.zone(), LEN);
    assert!(
        matches!(found, Predecessor::Region { kept: 4, .. }),
        "{found:?}"
    );
    assert!(
        matches!(anyone(LEN), Ok((_, Predecessor::Shared))),
        "our own"
    );
    drop(region);
}

fn threads_that_open_a_file_together_share_it() {
    let folder = Folder::new();
    fill(&folder.zone());
    let opt = RegionOptions {
        share: Share::Anyone,
        ..RegionOptions::default()
    };
    let all = std::sync::Barrier::new(4);
    for _ in 0..40 {
        let opened = || {
            all.wait();
            let opened = Region::file(&folder.zone(), LEN, &opt);
            let entered = matches!(&opened, Ok((region, _)) if region.enter(None).is_ok());
            // All have opened it before one looks, and all have looked before one closes it.
            all.wait();
            let processes = opened
                .as_ref()
                .map_or(0, |(region, _)| region.stats().processes);
            all.wait();
            let (region, found) = opened.expect("a region");
            assert!(entered && processes == 4, "{processes} processes");
            (there(&region, 50), matches!(found, Predecessor::Shared))
        };
        let all_opened = std::thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(opened));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let taken = all_opened.iter().filter(|(_, shared)| !shared);
        assert_eq!(taken.count(), 1);
        assert!(
            all_opened.iter().all(|(there, _)| *there == 50),
            "{all_opened:?}"
        );
    }
}

/// Like a daemon that closes all descriptors that it does not know.
fn a_file_without_descriptors_is_in_use_all_the_same() {
    let folder = Folder::new();
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = open(&folder.zone(), LEN);
        put(&region, 1);
        for fd in 3..256 {
            if fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to == folder.zone()) {
                // SAFETY: only the region uses the descriptor, and only for its lock.
                unsafe { libc::close(fd) };
            }
        }
        held.open(1);
        go.pass();
        assert!(is_there(&region, 1));
        // SAFETY: the call ends the child without dropping the region, whose descriptor is closed already.
        unsafe { libc::_exit(0) };
    });
    held.pass();
    let refused = try_open(&folder.zone(), LEN);
    assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    let (_, found) = open(&folder.zone(), LEN);
    assert!(
        matches!(found, Predecessor::Region { kept: 1, .. }),
        "{found:?}"
    );
}

fn who_leaves_with_handles_is_gone_with_the_last_of_them() {
    let folder = Folder::new();
    let (first, _) = open(&folder.zone(), LEN);
    let (second, _) = open(&folder.zone(), LEN);
    let held = put(&second, 1);
    second.leave();
    drop(second);
    assert_eq!(first.stats().processes, 2);
    assert!(bytes(&held) == body(1, 0..length(1)));
    drop(held);
    first.reap();
    assert_eq!(first.stats().processes, 1);
    assert_eq!(first.validate().expect("valid").pins, 0);
}

/// Each of two PID namespaces would consider the processes of the other dead.
fn processes_that_cannot_see_each_other_do_not_share() {
    let folder = Folder::new();
    let opt = RegionOptions {
        share: Share::Anyone,
        ..RegionOptions::default()
    };
    let (held, go) = (Gate::new(), Gate::new());
    let child = Child::fork(|| {
        let (region, _) = Region::file(&folder.zone(), LEN, &opt).expect("a region");
        region.enter(None).expect("enter");
        held.open(1);
        go.pass();
    });
    held.pass();
    let join = || Region::file(&folder.zone(), LEN, &opt);
    assert!(matches!(join(), Ok((_, Predecessor::Shared))));
    // The offset of the namespace: after the clean mark.
    overwrite(&folder.zone(), 116, &[1, 0, 0, 0]);
    let refused = join();
    assert!(matches!(refused, Err(StoreError::InUse)), "{refused:?}");
    go.open(1);
    assert_eq!(child.wait(), Some(0));
    assert!(matches!(join(), Ok((_, Predecessor::Region { .. }))));
}
