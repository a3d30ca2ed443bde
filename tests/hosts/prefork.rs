//! Workers that share one anonymous region: one of them is killed and the others go on.

use crate::host::{Host, kill, try_get};
use crate::support::*;

#[test]
fn a_killed_worker_takes_nothing_with_it() {
    let origin = Origin::start();
    let host = Host::start("gcc-shared/prefork_server 3", &origin);
    origin.on("/kept", Reply::cached("max-age=60", "kept"));
    host.get("/kept").is(200, "MISS", "kept");
    for _ in 0..30 {
        host.get("/kept").is(200, "HIT", "kept");
    }

    // The worker that leads a fetch dies in the middle of it, while clients of the others wait.
    let gate = Gate::closed();
    origin.script(
        "/slow",
        [
            Reply::cached("max-age=60", "never").hold(&gate),
            Reply::cached("max-age=60", "second"),
        ],
    );
    let addr = host.addr;
    let clients = std::thread::spawn(move || {
        // One after another, so that no worker takes them all.
        let all: Vec<_> = (0..60)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                std::thread::spawn(move || try_get(addr, "/slow"))
            })
            .collect();
        all.into_iter()
            .map(|client| client.join().expect("a client"))
            .collect::<Vec<_>>()
    });
    origin.await_hits("/slow", 1);
    std::thread::sleep(AT_ONCE / 2);
    let before = host.workers();
    assert_eq!(before.len(), 3);
    let (leader, others) = leader(&before, &origin);
    kill(leader, "-KILL");
    let answers = clients.join().expect("clients");
    let answered = answers
        .iter()
        .filter_map(|answer| answer.as_ref())
        .filter(|answer| answer.status == 200 && answer.text() == "second")
        .count();
    let lost = answers.iter().filter(|answer| answer.is_none()).count();
    assert_eq!(answered + lost, 60, "{answers:?}");
    assert!(answered > 0, "nobody who waited was answered");

    eventually("the dead worker is replaced", || {
        let now = host.workers();
        now.len() == 3 && !now.contains(&leader)
    });
    assert!(others.iter().all(|pid| host.workers().contains(pid)));
    for _ in 0..30 {
        host.get("/kept").is(200, "HIT", "kept");
    }
    assert_eq!(origin.hits("/kept"), 1);
    host.quit();
}

/// The worker that has a connection to the origin, and the others.
fn leader(workers: &[u32], origin: &Origin) -> (u32, Vec<u32>) {
    let port = format!(":{:04X} 01 ", origin.addr.port());
    let tcp = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let inodes: Vec<String> = tcp
        .lines()
        .filter(|line| {
            let mut words = line.split_whitespace();
            let (Some(remote), Some(state)) = (words.nth(2), words.next()) else {
                return false;
            };
            format!(
                ":{} {state} ",
                remote.rsplit(':').next().unwrap_or_default()
            ) == port
        })
        .filter_map(|line| line.split_whitespace().nth(9))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds = |pid: &u32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc");
        fds.flatten().any(|fd| {
            std::fs::read_link(fd.path())
                .is_ok_and(|to| inodes.iter().any(|i| to.as_os_str() == i.as_str()))
        })
    };
    let leader = *workers.iter().find(|pid| holds(pid)).expect("a leader");
    let others = workers.iter().copied().filter(|pid| *pid != leader);
    (leader, others.collect())
}
