//! Edges before shields before the application, as nginx-conf/edge-and-shield.conf has them.

use std::collections::BTreeSet;

use crate::ctl;
use crate::support::*;

const WINDOWS: &str = "max-age=60, stale-while-revalidate=600, stale-if-error=600";

/// Five servers with the same configuration: three are asked as edges, two are their shields.
struct Tiers {
    edges: Vec<Nginx>,
    shields: Vec<Nginx>,
    /// Where the edges find the shields.
    places: [String; 2],
}

impl Tiers {
    fn start(origin: &Origin) -> Tiers {
        let place = || format!("127.0.0.1:{}", free_port());
        let places = [place(), place()];
        let report = "add_header X-Cache $swr_cache_status always;";
        let start = |shield: &str| {
            let changes = [
                ("10.0.0.11:8081", &*places[0]),
                ("10.0.0.12:8081", &*places[1]),
                ("listen 8081", &*format!("listen {shield}")),
                ("127.0.0.1:3000", &*origin.addr.to_string()),
                (
                    report,
                    &*format!("{report} add_header X-Shield $upstream_addr;"),
                ),
            ];
            Conf::example("edge-and-shield.conf", &changes).start()
        };
        Tiers {
            edges: (0..3).map(|_| start(&place())).collect(),
            shields: places.iter().map(|place| start(place)).collect(),
            places,
        }
    }

    /// Every edge, one after the other.
    fn ask(&self, path: &str) -> Vec<Response> {
        self.edges.iter().map(|edge| edge.get(path)).collect()
    }

    /// The locations for purges: those of the shields, then those of the edges.
    fn purge_locations(&self) -> Vec<String> {
        let edges = self.edges.iter().map(|edge| edge.addr.to_string());
        let all = self.places.iter().cloned().chain(edges);
        all.map(|at| format!("http://{at}/purge")).collect()
    }

    /// Purges on the shields, then on the edges; how much each has dropped.
    fn purge(&self, what: &[&str]) -> Vec<u64> {
        let locations = self.purge_locations();
        let nodes = locations.iter().flat_map(|location| ["--node", location]);
        let arguments: Vec<_> = ["purge"].iter().chain(what).copied().chain(nodes).collect();
        let said = ctl::json(0, &arguments);
        let all = said.as_array().expect("an answer of each").iter();
        let purged = |answer: &serde_json::Value| {
            assert_eq!(answer["warning"], serde_json::Value::Null, "{said}");
            answer["purged"].as_u64().expect("a number")
        };
        all.map(purged).collect()
    }
}

/// A thousand visitors come to three edges when a page has expired: none waits, and the application is asked once.
#[test]
fn tiers_one_origin_request_an_expiry() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let old = || Reply::aged(100, WINDOWS, "old");
    let new = Reply::cached(WINDOWS, "new").hold(&gate);
    origin.script("/", [old(), old(), old(), new]);
    let tiers = Tiers::start(&origin);
    // It is born stale: each edge has had it fetched by itself.
    tiers.ask("/").iter().for_each(|answer| {
        answer.is(200, "MISS", "old");
    });
    for edge in &tiers.edges {
        for answer in at_once(edge.addr, 334, "/", &[]) {
            answer.is(200, "UPDATING", "old").at_once();
        }
    }
    origin.await_hits("/", 4);
    gate.open();
    for edge in &tiers.edges {
        edge.await_status("/", "HIT").is(200, "HIT", "new");
    }
    assert_eq!(origin.hits("/"), 4);
}

/// Every page has one shield, by its key, whichever edge asks. When that one dies, the application is asked once more.
#[test]
fn tiers_a_shield_dies() {
    let origin = Origin::start();
    let paths: Vec<_> = (0..24).map(|n| format!("/{n}")).collect();
    for path in &paths {
        origin.on(path, Reply::cached(WINDOWS, "page"));
    }
    let mut tiers = Tiers::start(&origin);
    let shield_of = |path: &str, edge: &Nginx| {
        let answer = edge.get(path);
        answer.is(200, "MISS", "page");
        answer.header("X-Shield").expect("a shield").to_owned()
    };
    let shields: Vec<_> = paths
        .iter()
        .map(|path| shield_of(path, &tiers.edges[0]))
        .collect();
    let used: BTreeSet<_> = shields.iter().cloned().collect();
    assert_eq!(
        used,
        tiers.places.iter().cloned().collect(),
        "both have work"
    );
    for (path, shield) in paths.iter().zip(&shields) {
        assert_eq!(&shield_of(path, &tiers.edges[1]), shield, "{path}");
        assert_eq!(origin.hits(path), 1, "{path}");
    }
    tiers.shields.remove(0).quit();
    for (path, shield) in paths.iter().zip(&shields) {
        let hits = 1 + usize::from(*shield == tiers.places[0]);
        tiers.edges[2].get(path).is(200, "MISS", "page");
        assert_eq!(origin.hits(path), hits, "{path}");
    }
    // The other edges forget them, too: the shield that lives has all.
    for edge in &tiers.edges[..2] {
        let node = format!("http://{}/purge", edge.addr);
        ctl::json(0, &["purge", "--all", "--node", &node]);
    }
    for (path, shield) in paths.iter().zip(&shields) {
        let hits = 1 + usize::from(*shield == tiers.places[0]);
        assert!(tiers.ask(path).iter().all(|answer| answer.text() == "page"));
        assert_eq!(origin.hits(path), hits, "{path}");
    }
}

/// A refresh goes to the shield that the page came from: the other one never hears of it.
#[test]
fn tiers_a_refresh_goes_to_the_same_shield() {
    let origin = Origin::start();
    let paths: Vec<_> = (0..12).map(|n| format!("/{n}")).collect();
    for path in &paths {
        origin.expired(path, WINDOWS, Reply::cached(WINDOWS, "new"));
    }
    let tiers = Tiers::start(&origin);
    for path in &paths {
        tiers.edges[0].get(path).is(200, "MISS", "old");
        tiers.edges[0].get(path).is(200, "UPDATING", "old");
        tiers.edges[0]
            .await_status(path, "HIT")
            .is(200, "HIT", "new");
    }
    // Each shield has some, and none is with both.
    let stored = |place: &str| {
        let node = format!("http://{place}/purge");
        let said = ctl::json(0, &["purge", "--all", "--node", &node]);
        said[0]["purged"].as_u64().expect("a number")
    };
    let (one, two) = (stored(&tiers.places[0]), stored(&tiers.places[1]));
    assert!(one > 0 && two > 0 && one + two == 12, "{one} and {two}");
}

/// A response is as old as it is, not as long as the last tier has had it.
#[test]
fn tiers_age_adds_up() {
    let origin = Origin::start();
    origin.on("/", Reply::aged(30, WINDOWS, "page"));
    let tiers = Tiers::start(&origin);
    let first = tiers.edges[0].get("/");
    assert!((30..40).contains(&first.age()), "{first:?}");
    eventually("a second", || {
        tiers.edges[0].get("/").age() > first.age() + 1
    });
    let other = tiers.edges[1].get("/");
    other.is(200, "MISS", "page");
    // The shield asked a moment after the first edge had been asked, so its age may be a second behind.
    assert!(other.age() > first.age(), "{other:?}");
    assert_eq!(origin.hits("/"), 1);
}

/// A purge of both tiers, the shields first: what edges fetch then is new.
#[test]
fn tiers_purges_reach_both() {
    let origin = Origin::start();
    let page = |body: &str| Reply::cached(WINDOWS, body).header("Cache-Tag", "news");
    origin.on("/", page("1"));
    let tiers = Tiers::start(&origin);
    let purges: [&[&str]; 5] = [
        &["--tag", "news"],
        &["http://localhost/"],
        &["https://localhost/", "http://localhost/"],
        &["--prefix", "http://localhost/"],
        &["--host", "localhost"],
    ];
    for (what, n) in purges.into_iter().zip(1..) {
        let (now, next) = (n.to_string(), (n + 1).to_string());
        for cache in ["MISS", "HIT"] {
            tiers.ask("/").iter().for_each(|answer| {
                answer.is(200, cache, &now);
            });
        }
        origin.on("/", page(&next));
        let purged = tiers.purge(what);
        // One shield has it, and each edge.
        assert_eq!(purged[0] + purged[1], 1, "{what:?}: {purged:?}");
        assert_eq!(purged[2..], [1, 1, 1], "{what:?}");
    }
    assert!(tiers.ask("/").iter().all(|answer| answer.text() == "6"));
}

/// The application is down: visitors get what either tier has.
#[test]
fn tiers_the_application_is_down() {
    let origin = Origin::start();
    origin.expired("/", WINDOWS, Reply::cached(WINDOWS, "new"));
    let tiers = Tiers::start(&origin);
    tiers.edges[0].get("/").is(200, "MISS", "old");
    origin.stop();
    for _ in 0..3 {
        tiers.edges[0].get("/").is(200, "UPDATING", "old").at_once();
    }
    // This edge has nothing, and its shield has a copy for the case.
    tiers.edges[1].get("/").is(200, "MISS", "old").at_once();
    origin.resume();
    for edge in &tiers.edges {
        eventually("the new page", || edge.get("/").text() == "new");
    }
}

/// What changes a page goes the way of the page: its shield drops it, too.
#[test]
fn tiers_a_post_reaches_the_shield_of_its_page() {
    let origin = Origin::start();
    let tiers = Tiers::start(&origin);
    for path in (0..8).map(|n| format!("/{n}")) {
        origin.on(&path, Reply::cached(WINDOWS, "old"));
        tiers.edges[0].get(&path).is(200, "MISS", "old");
        origin.on(&path, Reply::cached(WINDOWS, "new"));
        let changed = tiers.edges[0].client().request("POST", &path, &[]);
        assert_eq!(changed.status, 200, "{path}");
        tiers.edges[0].get(&path).is(200, "MISS", "new");
    }
}
