//! Purges that travel over a Redis stream: `swrcachectl publish` and `follow`, with a real server and real nodes.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ctl::{json, program, says};
use crate::support::*;

const STREAM: &str = "swrcache:purges";

/// An nginx with a cache, and beside it the program that follows the stream.
struct Node {
    name: &'static str,
    server: String,
    stream: &'static str,
    nginx: Option<Nginx>,
    purge: String,
    folder: Folder,
    follow: Option<Child>,
}

fn conf(origin: &Origin) -> Conf {
    let server = "location /purge { swr_cache_purge zone=main; }";
    Conf::caching(origin)
        .server(server)
        .allow("connect() failed")
}

impl Node {
    fn start(name: &'static str, origin: &Origin, redis: &Redis) -> Node {
        Node::of(name, &conf(origin), STREAM, redis.url())
    }

    fn of(name: &'static str, conf: &Conf, stream: &'static str, server: String) -> Node {
        let nginx = conf.start();
        let mut node = Node {
            name,
            server,
            stream,
            purge: format!("http://{}/purge", nginx.addr),
            nginx: Some(nginx),
            folder: Folder::new(),
            follow: None,
        };
        node.follow();
        node
    }

    fn follow(&mut self) {
        let file = |name| {
            File::options()
                .create(true)
                .append(true)
                .open(self.folder.0.join(name))
        };
        let follow = Command::new(program())
            .args(["--json", "follow", &self.server, "--name", self.name])
            .args(["--stream", self.stream, "--node", &self.purge, "--position"])
            .arg(self.folder.0.join("position"))
            .stdin(Stdio::null())
            .stdout(file("told").expect("a file"))
            .stderr(file("stderr").expect("a file"))
            .spawn();
        self.follow = Some(follow.expect("swrcachectl follow"));
    }

    /// The same when it has begun: first of all it makes everything stale, as it does not know what was published before.
    fn followed(mut self) -> Node {
        eventually("the node follows", || self.missed() == 1);
        let ended = self
            .follow
            .as_mut()
            .and_then(|follow| follow.try_wait().ok()?);
        assert_eq!(ended, None);
        self
    }

    fn nginx(&self) -> &Nginx {
        self.nginx.as_ref().expect("a running nginx")
    }

    /// Asks it to end, which it does well.
    #[track_caller]
    fn stop_following(&mut self) {
        let mut follow = self.follow.take().expect("it follows");
        // SAFETY: kill() touches no memory; the process is our own child.
        unsafe { libc::kill(follow.id() as libc::pid_t, libc::SIGTERM) };
        let asked = Instant::now();
        let end = follow.wait().expect("its end");
        assert!(
            end.success() && asked.elapsed() < Duration::from_secs(5),
            "{end}"
        );
    }

    /// Everything that it has said, a line each.
    fn told(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.0.join("told")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn has_told(&self, member: &str) -> bool {
        self.told().iter().any(|line| !line[member].is_null())
    }

    /// How often it said that purges may have been missed. It does at its first start.
    fn missed(&self) -> usize {
        self.told()
            .iter()
            .filter(|line| !line["missed"].is_null())
            .count()
    }

    /// Whether it said that it has carried this one out.
    fn covers(&self, id: &str) -> bool {
        let number = |id: &str| -> (u64, u64) {
            let (ms, n) = id.split_once('-').expect("an id");
            (ms.parse().expect("a number"), n.parse().expect("a number"))
        };
        self.told().iter().any(|line| {
            let at = |name: &str| line[name].as_str().map(number);
            !line["purged"].is_null()
                && at("from") <= Some(number(id))
                && Some(number(id)) <= at("to")
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut follow) = self.follow.take() {
            let _ = follow.kill();
            let _ = follow.wait();
        }
    }
}

/// An origin whose pages carry a tag, and never go stale by themselves.
fn origin() -> Origin {
    let origin = Origin::start();
    let windows = "max-age=600, stale-while-revalidate=600";
    for path in ["/", "/a", "/b"] {
        let page = Reply::cached(windows, "page").header("Cache-Tag", "t");
        origin.on(path, page);
    }
    origin
}

#[track_caller]
fn stored(node: &Node, path: &str) {
    node.nginx().get(path);
    node.nginx().get(path).is(200, "HIT", "page");
}

/// Publishes and waits; the whole of what was said.
#[track_caller]
fn publish(code: i32, redis: &Redis, what: &[&str]) -> Value {
    let to = redis.url();
    json(
        code,
        &[&["publish", "--to", &to, "--wait", "10"][..], what].concat(),
    )
}

/// What a node has said of a purge.
fn said<'a>(answer: &'a Value, node: &str) -> &'a Value {
    let mut nodes = answer["nodes"].as_array().expect("nodes").iter();
    let found = nodes.find(|said| said["node"] == node);
    found.unwrap_or_else(|| panic!("nothing of {node}: {answer}"))
}

#[test]
fn many_nodes_purge_and_acknowledge() {
    let (origin, redis) = (origin(), Redis::start());
    let nodes = ["one", "two"].map(|name| Node::start(name, &origin, &redis).followed());
    nodes.iter().for_each(|node| stored(node, "/"));
    let answer = publish(0, &redis, &["--tag", "t"]);
    for node in &nodes {
        assert_eq!(said(&answer, node.name)["purged"], 1, "{answer}");
        node.nginx().get("/").is(200, "MISS", "page");
    }
    // Softly, and by URL; as text.
    let to = redis.url();
    let arguments = [
        "publish",
        "http://localhost/",
        "--soft",
        "--to",
        &to,
        "--wait",
        "10",
    ];
    let text = says(0, &arguments);
    assert!(
        text.contains("one: 1 made stale\ntwo: 1 made stale"),
        "{text}"
    );
    nodes[0].nginx().get("/").is(200, "UPDATING", "page");
    // And fetched anew.
    let hits = origin.hits("/a");
    publish(0, &redis, &["http://localhost/a", "--refresh"]);
    origin.await_hits("/a", hits + 2);
    // Without waiting it says its number alone.
    let id = json(0, &["publish", "--all", "--to", &to])["id"].clone();
    assert!(id.is_string(), "{id}");
    let id = id.as_str().expect("an id");
    eventually("it is carried out", || {
        nodes.iter().all(|node| node.covers(id))
    });
}

#[test]
fn many_nodes_what_is_wrong_is_said() {
    let (origin, redis) = (origin(), Redis::start());
    let to = redis.url();
    // Nobody follows.
    let alone = json(1, &["publish", "--all", "--to", &to, "--wait", "1"]);
    assert_eq!(alone["nodes"], serde_json::json!([]));
    let node = Node::start("one", &origin, &redis).followed();
    // What no purge API takes is not published.
    let length = redis.length(STREAM);
    assert!(says(1, &["publish", "ftp://x/", "--to", &to]).contains("no http or https URL"));
    assert_eq!(redis.length(STREAM), length);
    // Others may have written anything: it is refused, and what follows is not held up.
    for value in [
        "nonsense",
        "{\"all\": true, \"node\": \"http://elsewhere/\"}",
        "[]",
        "",
    ] {
        redis.ask(&["XADD", STREAM, "*", "purge", value]);
    }
    redis.ask(&["XADD", STREAM, "*", "other", "field"]);
    stored(&node, "/");
    let answer = publish(0, &redis, &["--tag", "t"]);
    assert_eq!(said(&answer, "one")["purged"], 1, "{answer}");
    let refused: Vec<_> = node
        .told()
        .into_iter()
        .filter_map(|line| line["refused"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(refused[1].contains("unknown member"), "{refused:?}");
    // A server that is not there, a key that is no stream, and one that wants a password.
    let nowhere = format!("redis://127.0.0.1:{}", free_port());
    assert!(says(1, &["publish", "--all", "--to", &nowhere]).contains("127.0.0.1"));
    redis.ask(&["SET", "text", "x"]);
    assert!(says(1, &["publish", "--all", "--to", &to, "--stream", "text"]).contains("WRONGTYPE"));
    redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let wrong = to.replace("//", "//:other@");
    let text = says(1, &["publish", "--all", "--to", &wrong]);
    assert!(
        !text.contains("other") && text.contains("127.0.0.1"),
        "{text}"
    );
    says(
        0,
        &["publish", "--all", "--to", &to.replace("//", "//:secret@")],
    );
}

/// A purge that nginx does not take is tried until it does; who waits for it hears why.
#[test]
fn many_nodes_nginx_refuses_or_is_down() {
    let (origin, redis) = (origin(), Redis::start());
    let (one, mut two) = (
        Node::start("one", &origin, &redis).followed(),
        Node::start("two", &origin, &redis).followed(),
    );
    stored(&two, "/");
    let forbidding =
        Conf::caching(&origin).location("/purge", "swr_cache_purge zone=main; deny all;");
    two.nginx().rewrite(&forbidding);
    two.nginx().reload();
    let to = redis.url();
    let answer = json(1, &["publish", "--tag", "t", "--to", &to, "--wait", "2"]);
    assert_eq!(said(&answer, "one")["purged"], 0);
    let why = said(&answer, "two")["retrying"].as_str().expect("a reason");
    assert!(why.contains("403"), "{why}");
    two.nginx().get("/").is(200, "HIT", "page");
    two.nginx().rewrite(&conf(&origin));
    two.nginx().reload();
    let id = answer["id"].as_str().expect("an id").to_owned();
    eventually("it is carried out", || two.covers(&id));
    two.nginx().get("/").is(200, "MISS", "page");
    // nginx is down.
    let nginx = two.nginx.take().expect("an nginx");
    let mut answer = Value::Null;
    let nginx = nginx.restart_after(&conf(&origin), || {
        answer = json(1, &["publish", "--tag", "t", "--to", &to, "--wait", "2"]);
    });
    assert!(said(&answer, "two")["retrying"].is_string(), "{answer}");
    let id = answer["id"].as_str().expect("an id").to_owned();
    eventually("it is carried out", || two.covers(&id));
    two.nginx = Some(nginx);
    assert!(!one.has_told("error") && two.has_told("error"));
}

/// nginx does not take what was put together, nor one of them: the others are carried out by themselves.
#[test]
fn many_nodes_one_of_many_is_refused() {
    let (origin, redis) = (origin(), Redis::start());
    let purge = "location /purge { swr_cache_purge zone=main; client_max_body_size 200; }";
    let conf = Conf::caching(&origin).server(purge);
    let mut node = Node::of("one", &conf, STREAM, redis.url()).followed();
    publish(0, &redis, &["--tag", "before"]);
    node.stop_following();
    ["/", "/a", "/b"]
        .iter()
        .for_each(|path| stored(&node, path));
    let large = format!("http://localhost/{}", "x".repeat(300));
    let to = redis.url();
    for url in [
        "http://localhost/",
        &large,
        "http://localhost/a",
        "http://localhost/b",
    ] {
        json(0, &["publish", url, "--to", &to]);
    }
    let lines = node.told().len();
    node.follow();
    publish(0, &redis, &["--tag", "last"]);
    let mut told = node.told().split_off(lines);
    let refused = told.remove(1);
    assert!(refused["refused"].to_string().contains("413"), "{refused}");
    let purged: Vec<_> = told.iter().map(|line| &line["purged"]).collect();
    assert_eq!(purged, [1, 1, 1, 0]);
}

/// A node that was away carries out what was published meanwhile, once, and nothing else.
#[test]
fn many_nodes_one_that_was_away_catches_up() {
    let (origin, redis) = (origin(), Redis::start());
    let one = Node::start("one", &origin, &redis).followed();
    let mut two = Node::start("two", &origin, &redis).followed();
    publish(0, &redis, &["--tag", "before"]);
    two.stop_following();
    stored(&two, "/");
    stored(&two, "/b");
    let to = redis.url();
    let answer = json(
        1,
        &["publish", "http://localhost/", "--to", &to, "--wait", "2"],
    );
    assert_eq!(said(&answer, "one")["purged"], 0);
    assert_eq!(said(&answer, "two")["error"], "no answer yet");
    two.nginx().get("/").is(200, "HIT", "page");
    let lines = two.told().len();
    two.follow();
    let id = answer["id"].as_str().expect("an id").to_owned();
    eventually("it is carried out", || two.covers(&id));
    two.nginx().get("/").is(200, "MISS", "page");
    two.nginx().get("/b").is(200, "HIT", "page");
    assert_eq!(two.told().len(), lines + 1, "{:?}", two.told());
    // It keeps its place when it is ended by a signal, and when it is killed.
    two.stop_following();
    let position = fs::read_to_string(two.folder.0.join("position")).expect("a position");
    assert_eq!(position.trim(), id);
    two.follow();
    publish(0, &redis, &["--tag", "t"]);
    let mut follow = two.follow.take().expect("it follows");
    follow.kill().expect("killed");
    follow.wait().expect("its end");
    two.follow();
    stored(&two, "/");
    publish(0, &redis, &["--tag", "t"]);
    two.nginx().get("/").is(200, "MISS", "page");
    assert_eq!((one.missed(), two.missed()), (1, 1));
}

#[test]
fn many_nodes_the_server_restarts_with_its_data() {
    let (origin, mut redis) = (origin(), Redis::start());
    let node = Node::start("one", &origin, &redis).followed();
    publish(0, &redis, &["--tag", "before"]);
    stored(&node, "/");
    redis.kill();
    eventually("it is noticed", || node.has_told("error"));
    redis.resume();
    let answer = publish(0, &redis, &["http://localhost/a"]);
    assert_eq!(said(&answer, "one")["purged"], 0);
    node.nginx().get("/").is(200, "HIT", "page");
    assert_eq!(node.missed(), 1);
}

/// Purges may have been lost with the data: all becomes stale; what is published from then on is carried out as it is.
#[test]
fn many_nodes_the_server_restarts_without_its_data() {
    let (origin, mut redis) = (origin(), Redis::start());
    let node = Node::start("one", &origin, &redis).followed();
    publish(0, &redis, &["--tag", "before"]);
    stored(&node, "/");
    stored(&node, "/a");
    redis.kill();
    redis.forget();
    redis.resume();
    let to = redis.url();
    // Before the node is back.
    let id = json(0, &["publish", "http://localhost/", "--to", &to])["id"].clone();
    let id = id.as_str().expect("an id");
    eventually("it is carried out", || node.covers(id));
    node.nginx().get("/").is(200, "MISS", "page");
    node.nginx().get("/a").is(200, "UPDATING", "page");
    assert_eq!(node.missed(), 2, "{:?}", node.told());
    // The stream is lost once more, and stays empty for a while.
    node.nginx().await_status("/a", "HIT");
    redis.ask(&["DEL", STREAM]);
    eventually("all is stale", || {
        node.nginx().get("/a").cache() == "UPDATING"
    });
    stored(&node, "/b");
    publish(0, &redis, &["http://localhost/b"]);
    node.nginx().get("/b").is(200, "MISS", "page");
}

/// The stream was trimmed beyond what a node had read: all becomes stale, and it says so.
#[test]
fn many_nodes_a_stream_that_was_trimmed_too_early() {
    let (origin, redis) = (origin(), Redis::start());
    let mut node = Node::start("one", &origin, &redis).followed();
    publish(0, &redis, &["--tag", "before"]);
    node.stop_following();
    for path in ["/", "/a", "/b"] {
        stored(&node, path);
    }
    let to = redis.url();
    json(0, &["publish", "http://localhost/", "--to", &to]);
    let kept = json(0, &["publish", "http://localhost/a", "--to", &to]);
    redis.ask(&["XTRIM", STREAM, "MAXLEN", "1"]);
    node.follow();
    eventually("it goes on", || {
        node.covers(kept["id"].as_str().expect("an id"))
    });
    assert_eq!(node.missed(), 2, "at its first start, and now");
    let stale = node
        .told()
        .iter()
        .rev()
        .find_map(|line| line["missed"].as_u64());
    assert_eq!(stale, Some(3));
    // The purge that was lost, the one that was not, and what was not meant.
    node.nginx().get("/").is(200, "UPDATING", "page");
    node.nginx().get("/a").is(200, "MISS", "page");
    node.nginx().get("/b").is(200, "UPDATING", "page");
    // Where only what it had read is gone, nothing is missed.
    publish(0, &redis, &["--tag", "later"]);
    node.nginx().await_status("/b", "HIT");
    redis.ask(&["XTRIM", STREAM, "MAXLEN", "1"]);
    publish(0, &redis, &["--tag", "again"]);
    node.nginx().get("/b").is(200, "HIT", "page");
}

/// Ten thousand purges come in one go to a node that follows and to one that was away: all are carried out, in a bounded time.
#[test]
fn many_nodes_ten_thousand_purges() {
    const COUNT: usize = 10_000;
    let (origin, redis) = (Origin::start(), Redis::start());
    for n in 0..100 {
        let page = Reply::cached("max-age=600", "page");
        origin.on(&format!("/{}", n * 100), page);
    }
    let nodes = ["one", "two"].map(|name| Node::start(name, &origin, &redis).followed());
    let [one, mut two] = nodes;
    publish(0, &redis, &["--tag", "before"]);
    two.stop_following();
    for node in [&one, &two] {
        let mut client = node.nginx().client();
        (0..100).for_each(|n| drop(client.get(&format!("/{}", n * 100))));
    }
    let add = |n: usize| {
        let purge = format!("{{\"urls\": [\"http://localhost/{n}\"]}}");
        let words = [
            "XADD", STREAM, "MAXLEN", "~", "100000", "*", "purge", &purge,
        ];
        words.map(str::to_owned).to_vec()
    };
    let commands: Vec<_> = (0..COUNT).map(add).collect();
    let began = Instant::now();
    redis.ask_all(&commands);
    two.follow();
    let answer = json(
        0,
        &[
            "publish",
            "--tag",
            "last",
            "--to",
            &redis.url(),
            "--wait",
            "60",
        ],
    );
    let took = began.elapsed();
    assert_eq!(
        answer["nodes"].as_array().map(Vec::len),
        Some(2),
        "{answer}"
    );
    for node in [&one, &two] {
        let purged = |line: &Value| line["purged"].as_u64();
        let told = node.told();
        let purged: u64 = told.iter().filter_map(purged).sum();
        assert_eq!(purged, 100, "{}", node.name);
        assert!(!node.has_told("error") && !node.has_told("refused"));
        assert_eq!(node.missed(), 1);
        // Many are put into one request.
        assert!(told.len() < 1000, "{} steps", told.len());
        let mut client = node.nginx().client();
        for n in 0..100 {
            client.get(&format!("/{}", n * 100)).is(200, "MISS", "page");
        }
    }
    println!("{COUNT} purges on two nodes in {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Followers and the server die in the middle of it: nothing that was published is lost.
#[test]
fn many_nodes_deaths_in_the_middle() {
    const COUNT: usize = 40;
    let (origin, mut redis) = (Origin::start(), Redis::start());
    let mut nodes = ["one", "two"].map(|name| Node::start(name, &origin, &redis).followed());
    publish(0, &redis, &["--tag", "before"]);
    let to = redis.url();
    let paths: Vec<_> = (0..COUNT).map(|n| format!("/{n}")).collect();
    for path in &paths {
        origin.on(path, Reply::cached("max-age=600", "page"));
        nodes.iter().for_each(|node| stored(node, path));
    }
    for (n, path) in paths.iter().enumerate() {
        let url = format!("http://localhost{path}");
        json(0, &["publish", &url, "--to", &to]);
        match n % 5 {
            0 | 2 => {
                let node = &mut nodes[n % 2];
                let mut follow = node.follow.take().expect("it follows");
                follow.kill().expect("killed");
                follow.wait().expect("its end");
                node.follow();
            }
            3 => {
                redis.kill();
                redis.resume();
            }
            _ => {}
        }
    }
    let answer = json(
        0,
        &["publish", "--tag", "last", "--to", &to, "--wait", "60"],
    );
    assert_eq!(
        answer["nodes"].as_array().map(Vec::len),
        Some(2),
        "{answer}"
    );
    for node in &nodes {
        assert_eq!(node.missed(), 1, "nothing was lost: {:?}", node.told());
        for path in &paths {
            node.nginx().get(path).is(200, "MISS", "page");
        }
    }
}

/// Shields first, then edges, by a stream for each tier.
#[test]
fn many_nodes_of_two_tiers() {
    let (origin, redis) = (Origin::start(), Redis::start());
    origin.on("/", Reply::cached("max-age=600", "old"));
    let pass = |to: SocketAddr| {
        let lines = format!("swr_cache main; proxy_set_header Host $host; proxy_pass http://{to};");
        Conf::new()
            .zone()
            .location("/", &lines)
            .location("/purge", "swr_cache_purge zone=main;")
    };
    let start = |name, conf: &Conf, stream| Node::of(name, conf, stream, redis.url()).followed();
    let shield = start("shield", &pass(origin.addr), "swrcache:shields");
    let edge = start("edge", &pass(shield.nginx().addr), "swrcache:edges");
    edge.nginx().get("/").is(200, "MISS", "old");
    origin.on("/", Reply::cached("max-age=600", "new"));
    for tier in ["swrcache:shields", "swrcache:edges"] {
        let answer = publish(0, &redis, &["http://localhost/", "--stream", tier]);
        assert_eq!(answer["nodes"][0]["purged"], 1, "{answer}");
    }
    edge.nginx().get("/").is(200, "MISS", "new");
}

/// The users that the document proposes may do what they have to, and nodes may not publish.
#[test]
fn many_nodes_with_users_of_their_own() {
    let (origin, redis) = (origin(), Redis::start());
    let document = include_str!("../../docs/many-nodes.md");
    let users = document
        .lines()
        .filter_map(|line| line.strip_prefix("user "));
    for user in users {
        let words: Vec<_> = ["ACL", "SETUSER"]
            .into_iter()
            .chain(user.split(' '))
            .collect();
        assert_eq!(redis.ask(&words), Answer::Text("OK".into()), "{user}");
    }
    redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let as_user = |user: &str| redis.url().replace("//", &format!("//{user}@"));
    let (edge, publisher) = (as_user("edge:PASSWORD2"), as_user("publisher:PASSWORD1"));
    let node = Node::of("one", &conf(&origin), STREAM, edge.clone()).followed();
    let publish =
        |code, to: &str| json(code, &["publish", "--tag", "t", "--wait", "10", "--to", to]);
    for _ in 0..2 {
        stored(&node, "/");
        let answer = publish(0, &publisher);
        assert_eq!(said(&answer, "one")["purged"], 1, "{answer}");
    }
    publish(1, &edge);
    let commands = [
        "AUTH edge PASSWORD2",
        "XADD swrcache:purges * purge {\"all\":true}",
        "XRANGE swrcache:purges - +",
    ];
    let words = commands.map(|command| command.split(' ').map(str::to_owned).collect());
    let answers = redis.ask_all(&words);
    assert!(matches!(&answers[1], Answer::Error(why) if why.starts_with("NOPERM")));
    assert!(matches!(&answers[2], Answer::List(entries) if entries.len() == 2));
    assert!(!node.has_told("error"), "{:?}", node.told());
}
