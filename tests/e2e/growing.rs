//! Objects that grow: readers in every worker follow a fill as it comes, whatever happens to it or to nginx meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chaos::join;
use crate::support::*;

const LONG: &str = "max-age=600";

/// Four workers, which say who they are.
fn conf(origin: &Origin) -> Conf {
    conf_with(origin, "100m")
}

fn conf_with(origin: &Origin, size: &str) -> Conf {
    let zone = format!("swr_cache_zone zone=main:{size} file=zone.swr;");
    Conf::new()
        .http(&format!("{zone} add_header X-Worker $pid always;"))
        .location(
            "/",
            &format!("swr_cache main; proxy_pass http://{};", origin.addr),
        )
        .workers(4)
}

/// Clients that have the beginning of an answer, from each of the workers.
fn readers_on_all(nginx: &Nginx, path: &str) -> Vec<(Client, Response)> {
    let mut by_worker = BTreeMap::new();
    eventually("a reader on every worker", || {
        let mut client = nginx.client();
        client.send("GET", path, &[]);
        let head = client.receive_head();
        assert_eq!(head.status, 200, "{head:?}");
        let worker = head.header("X-Worker").expect("a worker").to_owned();
        by_worker.entry(worker).or_insert((client, head));
        by_worker.len() == 4
    });
    by_worker.into_values().collect()
}

/// The rest of an answer whose head is there: its bytes, and how it broke.
fn rest(client: &mut Client, head: &Response) -> (Vec<u8>, Option<String>) {
    let mut body = Vec::new();
    let end = client.body("GET", head, &mut |bytes| body.extend_from_slice(bytes));
    (body, end.err().map(|e| e.to_string()))
}

/// A slow response of 10 MiB: everybody has its first bytes when the origin has sent them, and all of it in the end.
#[test]
fn growing_on_every_worker() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let whole: Vec<u8> = (0..10 << 20).map(|i: u32| (i % 251) as u8).collect();
    let reply = Reply::cached(LONG, whole.clone());
    origin.on("/", reply.hold_body(1000, &gate));
    let nginx = conf(&origin).start();
    let mut readers = readers_on_all(&nginx, "/");
    for (client, _) in &mut readers {
        // The origin has not sent more than these.
        let first: Vec<u8> = (0..1000)
            .map(|_| client.one_byte().expect("a byte"))
            .collect();
        assert_eq!(first, whole[..1000]);
    }
    gate.open();
    for (client, head) in &mut readers {
        let mut body = Vec::new();
        let left = (whole.len() - 1000) as u64;
        client
            .exactly(left, &mut |bytes| body.extend_from_slice(bytes))
            .unwrap_or_else(|e| panic!("{e} after {} bytes: {head:?}", body.len()));
        assert!(body == whole[1000..]);
    }
    assert_eq!(nginx.await_status("/", "HIT").body, whole);
    assert_eq!(origin.hits("/"), 1);
}

/// A fill that breaks ends its readers' connections abnormally, on every worker, and leaves nothing.
#[test]
fn growing_breaks_for_every_reader() {
    for chunked in [false, true] {
        let origin = Origin::start();
        let gate = Gate::closed();
        let whole = "0123456789".repeat(20_000);
        let broken = Reply::cached(LONG, whole.clone());
        let broken = if chunked { broken.chunked() } else { broken };
        let broken = broken.hold_body(50_000, &gate).cut_body(120_000);
        origin.script("/", [broken, Reply::cached(LONG, whole.clone())]);
        let nginx = conf(&origin).start();
        let mut readers = readers_on_all(&nginx, "/");
        gate.open();
        for (client, head) in &mut readers {
            let (body, broken) = rest(client, head);
            assert!(broken.is_some(), "chunked {chunked}: {head:?} ended well");
            assert!(whole.as_bytes().starts_with(&body));
        }
        let region = join(&nginx.dir().join("zone.swr"));
        region.enter(None).expect("a place in the zone");
        let nothing = || {
            region
                .validate()
                .is_ok_and(|s| (s.objects, s.growing, s.limbo, s.pins) == (0, 0, 0, 0))
        };
        eventually("nothing is left of it", nothing);
        region.leave();
        nginx.get("/").is(200, "MISS", &whole);
        nginx.get("/").is(200, "HIT", &whole);
        assert_eq!(origin.hits("/"), 2);
    }
}

/// A body of unknown length that turns out too long for the zone: who leads its fetch gets the rest of it, and who follows asks the
/// origin once more, and gets the rest of that if it begins with the same bytes.
#[test]
fn growing_beyond_the_zone() {
    let whole: String = (0..300_000).map(|n| format!("{n};")).collect();
    let longer = format!("{whole}more");
    let other = whole.replacen(";3000;", ";three;", 1);
    let again = |body: &str| Reply::cached(LONG, body);
    let table = [
        ("the same", again(&whole).chunked(), Some(&whole)),
        ("up to its end", again(&whole).until_close(), Some(&whole)),
        ("longer", again(&longer), Some(&longer)),
        ("other bytes", again(&other), None),
        ("shorter", again(&whole[..20_000]), None),
        ("broken", again(&whole).cut_body(500_000), None),
        ("an error", Reply::new(503).body(whole.as_str()), None),
        ("nothing", Reply::raw(""), None),
    ];
    for (what, second, wanted) in table {
        let origin = Origin::start();
        let gate = Gate::closed();
        let first = again(&whole).chunked().hold_body(1000, &gate);
        origin.script("/", [first, second]);
        let nginx = conf_with(&origin, "16m max_object=64k")
            .allow("prematurely closed")
            .start();
        let mut readers = readers_on_all(&nginx, "/");
        gate.open();
        let mut leads = 0;
        for (client, head) in &mut readers {
            let (body, broken) = rest(client, head);
            let end = String::from_utf8(body).ok().filter(|_| broken.is_none());
            leads += usize::from(end.as_ref() == Some(&whole));
            let is_right = [wanted, Some(&whole)].contains(&end.as_ref());
            assert!(is_right, "{what}: {broken:?}");
        }
        let expected = if wanted == Some(&whole) { 4 } else { 1 };
        assert_eq!(leads, expected, "{what}");
    }
}

/// The same where the origin's pieces end where the store took no more: each follower gets every byte in its place.
#[test]
fn growing_beyond_the_zone_in_the_same_pieces() {
    let whole: String = (0..60_000).map(|n| format!("{n};")).collect();
    for _ in 0..5 {
        let gate = Arc::new(AtomicBool::new(false));
        let addr = in_pieces(whole.clone(), Arc::clone(&gate));
        let pass = format!("swr_cache main; proxy_pass http://{addr};");
        let nginx = Conf::new()
            .http("swr_cache_zone zone=main:16m max_object=100k;")
            .location("/", &pass)
            .start();
        let mut readers = [(); 4].map(|()| {
            let mut client = nginx.client();
            client.send("GET", "/", &[]);
            let head = client.receive_head();
            (client, head)
        });
        gate.store(true, Ordering::SeqCst);
        for (client, head) in &mut readers {
            let (body, broken) = rest(client, head);
            assert_eq!((broken, body.len()), (None, whole.len()), "{head:?}");
            assert!(body == whole.as_bytes(), "other bytes: {head:?}");
        }
    }
}

/// An origin that answers with `body` in chunks of 1000 bytes, and goes on behind the first one when `gate` is true.
fn in_pieces(body: String, gate: Arc<AtomicBool>) -> SocketAddr {
    let listener = free_listener();
    let addr = listener.local_addr().expect("its address");
    let answer = move |mut wire: TcpStream| -> io::Result<()> {
        let _ = wire.read(&mut [0; 4096])?;
        let fields = format!("Cache-Control: {LONG}\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.write_all(format!("HTTP/1.1 200 OK\r\n{fields}").as_bytes())?;
        for piece in body.as_bytes().chunks(1000) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            wire.write_all(&chunk)?;
            while !gate.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        wire.write_all(b"0\r\n\r\n")
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    addr
}

/// Who waits for another's fetch is woken by it, on whatever worker: nobody looks again now and then.
#[test]
fn growing_wakes_those_who_wait() {
    let origin = Origin::start();
    let nginx = conf(&origin).start();
    let mut lags = Vec::new();
    for round in 0..5 {
        let (gate, path) = (Gate::closed(), format!("/{round}"));
        origin.on(&path, Reply::cached(LONG, "woken").hold(&gate));
        let mut clients: Vec<Client> = (0..40).map(|_| nginx.client()).collect();
        clients
            .iter_mut()
            .for_each(|client| client.send("GET", &path, &[]));
        origin.await_hits(&path, 1);
        std::thread::sleep(Duration::from_millis(50));
        let mut ends: Vec<Duration> = std::thread::scope(|scope| {
            let began = Instant::now();
            let waiting: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(move || {
                        assert_eq!(client.receive("GET").text(), "woken");
                        began.elapsed()
                    })
                })
                .collect();
            gate.open();
            waiting
                .into_iter()
                .map(|w| w.join().expect("a client"))
                .collect()
        });
        ends.sort();
        lags.push(ends[39] - ends[0]);
        assert_eq!(origin.hits(&path), 1);
    }
    lags.sort();
    println!("from the first to the last of 40 on 4 workers: {lags:?}");
    // `proxy_cache_lock` looks every 500 ms.
    assert!(lags[2] < Duration::from_millis(100), "{lags:?}");
}

/// A reload in the midst of fills of every kind: each comes to its end, and the new workers read along.
#[test]
fn growing_goes_on_over_a_reload() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let whole = "0123456789".repeat(100_000);
    let part = || Reply::cached(LONG, whole.clone()).hold_body(50_000, &gate);
    origin.on("/head", Reply::cached(LONG, whole.clone()).hold(&gate));
    origin.on("/length", part());
    origin.on("/chunked", part().chunked());
    let stale = "max-age=60, stale-while-revalidate=300";
    origin.script(
        "/refresh",
        [
            Reply::aged(100, stale, "old"),
            Reply::cached(LONG, whole.clone()).hold_body(50_000, &gate),
        ],
    );
    let nginx = conf(&origin).start();
    nginx.get("/refresh");
    nginx.get("/refresh").is(200, "UPDATING", "old");
    origin.await_hits("/refresh", 2);
    let paths = ["/head", "/length", "/chunked"];
    let ask = |path: &&'static str| {
        let mut client = nginx.client();
        client.send("GET", path, &[]);
        client
    };
    let mut before: Vec<Client> = paths.iter().map(ask).collect();
    paths.iter().for_each(|path| origin.await_hits(path, 1));
    let heads = |clients: &mut [Client]| -> Vec<Response> {
        clients.iter_mut().map(Client::receive_head).collect()
    };
    let old_heads = heads(&mut before[1..]);
    nginx.reload();
    let mut after: Vec<Client> = paths.iter().map(ask).collect();
    // What an old worker fetches is read along by a new one, before it is whole.
    let new_heads = heads(&mut after[1..]);
    gate.open();
    let olds = before[1..].iter_mut().zip(&old_heads);
    for (client, head) in olds.chain(after[1..].iter_mut().zip(&new_heads)) {
        assert_eq!(head.status, 200);
        let (body, broken) = rest(client, head);
        assert!(broken.is_none() && body == whole.as_bytes(), "{broken:?}");
    }
    for client in [&mut before[0], &mut after[0]] {
        assert_eq!(client.receive("GET").text(), whole);
    }
    let workers = |heads: &[Response]| -> Vec<String> {
        let names = heads.iter().map(|h| h.header("X-Worker"));
        names.map(|w| w.expect("a worker").to_owned()).collect()
    };
    let (old, new) = (workers(&old_heads), workers(&new_heads));
    assert!(new.iter().all(|worker| !old.contains(worker)));
    nginx.await_status("/refresh", "HIT").is(200, "HIT", &whole);
    for path in paths {
        nginx.get(path).is(200, "HIT", &whole);
        assert_eq!(origin.hits(path), 1, "{path}");
    }
    assert_eq!(origin.hits("/refresh"), 2);
}
