//! `swrcachectl`, on a real nginx. It is looked for beside the tests' own programs, where `make e2e` builds it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::*;

pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let beside = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a folder");
    let program = std::env::var_os("SWR_CTL").map_or(beside.join("swrcachectl"), PathBuf::from);
    assert!(
        program.is_file(),
        "{} is not there; `make e2e` builds it",
        program.display()
    );
    program
}

fn ctl(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .output()
        .expect("swrcachectl")
}

#[track_caller]
pub(crate) fn says(code: i32, arguments: &[&str]) -> String {
    let output = ctl(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {said}{err}"
    );
    said + &err
}

#[track_caller]
pub(crate) fn json(code: i32, arguments: &[&str]) -> Value {
    let all = [&["--json"], arguments].concat();
    let output = ctl(&all);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
}

fn conf(origin: &Origin) -> Conf {
    Conf::caching(origin)
        .location("/swr", "swr_cache_stats;")
        .location("/purge", "swr_cache_purge zone=main;")
        .location("/other", "return 200 '{}';")
}

#[test]
fn ctl_status_explain_purge() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "body").header("Cache-Tag", "t"),
    );
    let nginx = conf(&origin).start();
    nginx.get("/").is(200, "MISS", "body");
    nginx.get("/").is(200, "HIT", "body");
    let (stats, purge) = (
        format!("http://{}/swr", nginx.addr),
        format!("http://{}/purge", nginx.addr),
    );
    let said = says(0, &["status", "--node", &stats]);
    assert!(
        said.contains("zone main") && said.contains("nobody waited"),
        "{said}"
    );
    let tree = json(0, &["status", "--node", &stats, "--zone", "main"]);
    assert_eq!(tree["zones"]["main"]["hit"]["responses"], 1);
    let said = says(0, &["explain", "http://localhost/", "--node", &stats]);
    assert!(
        said.contains("would be answered from the store (HIT)"),
        "{said}"
    );
    let explained = json(
        0,
        &["explain", "http://localhost/?a=1&b=2#x", "--node", &stats],
    );
    assert_eq!(explained["key"], "http://localhost/?a=1&b=2");
    let dead = format!("http://127.0.0.1:{}/purge", free_port());
    let answers = json(
        1,
        &["purge", "--tag", "t", "--node", &purge, "--node", &dead],
    );
    assert_eq!(answers[0]["purged"], 1, "{answers}");
    assert!(answers[1]["error"].is_string(), "{answers}");
    nginx.get("/").is(200, "MISS", "body");
    assert!(says(0, &["purge", "http://localhost/", "--node", &purge]).contains("1 purged"));
    // Fetched anew in the same step: the next visitor finds it.
    let hits = origin.hits("/");
    let url = "http://localhost/";
    says(0, &["purge", url, "--refresh", "--node", &purge]);
    origin.await_hits("/", hits + 1);
    eventually("it is stored", || nginx.get("/").cache() == "HIT");
    assert!(says(0, &["purge", "--host", "localhost", "--node", &purge]).contains("1 purged"));
    nginx.get("/").is(200, "MISS", "body");
    assert!(says(0, &["purge", "--host", "other", "--node", &purge]).contains("0 purged"));
    // Refused, and wrong on the command line.
    assert!(says(1, &["status", "--node", &stats, "--zone", "nowhere"]).contains("nowhere"));
    assert!(says(1, &["status", "--node", &purge]).contains("405"));
    says(2, &["purge"]);
    says(2, &["explode"]);
    // A location that is neither has purged nothing, whatever it answers.
    let other = format!("http://{}/other", nginx.addr);
    assert!(says(1, &["purge", "--all", "--node", &other]).contains("not that of swr_cache_purge"));
    for json in [&[][..], &["--json"]] {
        let explain = [&["explain", "http://localhost/", "--node", &other], json].concat();
        assert!(says(1, &explain).contains("not that of swr_cache_stats"));
    }
    assert!(says(2, &["status", "--node", "ftp://x"]).contains("was expected"));
    assert!(says(1, &["explain", "ftp://h/", "--node", &stats]).contains("http or https URL"));
}

#[test]
fn ctl_over_a_socket_in_the_file_system() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let folder = Folder::new();
    let socket = folder.0.join("nginx.sock");
    let conf = conf(&origin).server(&format!("listen unix:{};", socket.display()));
    let nginx = conf.start();
    nginx.get("/");
    let node = format!("unix:{}:/swr", socket.display());
    let tree = json(0, &["status", "--node", &node]);
    assert!(tree["zones"]["main"].is_object(), "{tree}");
    says(1, &["status", "--node", "unix:/nowhere.sock:/swr"]);
}

/// Each error names the location as the command line does, once.
#[test]
fn ctl_names_what_is_out_of_reach() {
    let folder = Folder::new();
    let socket = format!("unix:{}:/swr", folder.0.join("socket").display());
    let port = format!("http://127.0.0.1:{}/swr", free_port());
    for node in [&socket, &port] {
        for command in [
            &["status"][..],
            &["explain", "http://h/"],
            &["purge", "--all"],
        ] {
            let said = says(1, &[command, &["--node", node]].concat());
            assert_eq!(said.matches(node.as_str()).count(), 1, "{said}");
        }
    }
}

#[test]
fn ctl_warms_what_a_sitemap_names() {
    let origin = Origin::start();
    for path in ["/a", "/b"] {
        origin.on(path, Reply::cached("max-age=60", "body"));
    }
    origin.on("/gone", Reply::new(404));
    let nginx = conf(&origin).start();
    let folder = Folder::new();
    let (map, list) = (folder.0.join("sitemap.xml"), folder.0.join("list.txt"));
    let text = "\u{feff}<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\
                <url><loc>http://localhost/a</loc></url>\
                <url><loc>http://localhost/b?x=1&amp;y=2</loc></url></urlset>";
    std::fs::write(&map, text).expect("written");
    std::fs::write(&list, "# a comment\nhttp://localhost/gone\n").expect("written");
    let connect = nginx.addr.to_string();
    let warm = |file: &PathBuf, code| {
        let file = file.to_string_lossy().into_owned();
        json(
            code,
            &["warm", &file, "--connect", &connect, "--rate", "1000"],
        )
    };
    assert_eq!(warm(&map, 0)["answered"], 2);
    nginx.get("/a").is(200, "HIT", "body");
    nginx.get("/b?x=1&y=2").is(200, "HIT", "body");
    assert_eq!(warm(&list, 1)["failed"][0]["url"], "http://localhost/gone");
}

#[test]
fn ctl_looks_into_the_file_of_a_zone() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=600", "0123456789"));
    let folder = Folder::new();
    let file = folder.0.join("zone");
    let zone = format!("swr_cache_zone zone=main:8m file={};", file.display());
    let proxied = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let nginx = Conf::new().http(&zone).location("/", &proxied).start();
    nginx.get("/").is(200, "MISS", "0123456789");
    let path = file.to_string_lossy().into_owned();
    let said = json(0, &["zone", "--check", &path]);
    assert_eq!(
        (&said["entries"], &said["listed"][0]["bytes"]),
        (&1.into(), &10.into()),
        "{said}"
    );
    assert_eq!(said["damaged"].as_array().map(Vec::len), Some(0));
    assert!(says(0, &["zone", &path]).contains("http://localhost/"));
    // nginx itself still counts what it has answered.
    eventually("nothing is written to it", || {
        let before = std::fs::read(&file).expect("the zone");
        json(0, &["zone", &path]);
        std::fs::read(&file).expect("the zone") == before
    });
    nginx.get("/").is(200, "HIT", "0123456789");
    nginx.quit();
    assert_eq!(json(0, &["zone", &path])["clean"], true);
    says(1, &["zone", "/etc/passwd"]);
}

/// The live screen, in a terminal that `script` makes: it shows the zones, and `q` ends it.
#[test]
fn ctl_top_in_a_terminal() {
    let origin = Origin::start();
    let nginx = conf(&origin).start();
    nginx.get("/");
    let top = format!(
        "stty rows 40 cols 100; exec {} top --every 1 --node http://{}/swr",
        program().display(),
        nginx.addr
    );
    let mut screen = Command::new("script")
        .args(["-qec", &top, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of bsdutils");
    let mut keys = screen.stdin.take().expect("its keyboard");
    let mut shown = screen.stdout.take().expect("its screen");
    let (mut seen, mut piece) = (String::new(), [0; 4096]);
    while !seen.contains("q ends") {
        let size = shown.read(&mut piece).expect("the screen");
        assert!(size > 0, "it ended: {seen}");
        seen += &String::from_utf8_lossy(&piece[..size]);
    }
    // A terminal is told of what changes only: not of blanks.
    assert!(
        seen.contains("REVALIDATED") && seen.contains("main"),
        "{seen}"
    );
    keys.write_all(b"q").expect("a key");
    assert!(screen.wait().expect("its end").success());
    // For another program, a line each time.
    let mut lines = Command::new(program())
        .args(["--json", "top", "--every", "1", "--node"])
        .arg(format!("http://{}/swr", nginx.addr))
        .stdout(Stdio::piped())
        .spawn()
        .expect("swrcachectl");
    let mut reader = BufReader::new(lines.stdout.take().expect("its output"));
    for _ in 0..2 {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let tree: Value = serde_json::from_str(&line).expect("JSON");
        assert!(tree["zones"]["main"].is_object(), "{tree}");
    }
    drop(reader);
    assert!(lines.wait().expect("its end").success());
}

#[test]
fn ctl_manual_and_completions() {
    let manual = says(0, &["man"]);
    assert!(
        manual.contains(".TH swrcachectl 1") && manual.contains("explain"),
        "{manual}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            says(0, &["completions", shell]).contains("swrcachectl"),
            "{shell}"
        );
    }
    assert!(says(0, &["--help"]).contains("status"));
}
