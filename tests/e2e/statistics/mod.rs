//! The statistics of a running nginx: that they count what happens, in each form, and that Prometheus and a browser read them.

mod borders;
mod counts;
mod explain;
mod failures;
mod forms;
mod page;
mod prometheus;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

const SWR: &str = "max-age=60, stale-while-revalidate=600, stale-if-error=600";

fn conf(origin: &Origin) -> Conf {
    with(origin, "")
}

fn with(origin: &Origin, lines: &str) -> Conf {
    Conf::caching_with(origin, lines).location("/swr", "swr_cache_stats;")
}

fn tree(nginx: &Nginx) -> Value {
    let response = nginx.get("/swr?format=json");
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    serde_json::from_str(&response.text()).expect("JSON")
}

fn main_zone(nginx: &Nginx) -> Value {
    tree(nginx)["zones"]["main"].take()
}

/// A response is counted when it is over, which a client may learn first.
#[track_caller]
fn await_count(nginx: &Nginx, pointer: &str, count: u64) {
    let mut last = Value::Null;
    let reached = eventually_so(|| {
        last = main_zone(nginx);
        last.pointer(pointer).and_then(Value::as_u64) == Some(count)
    });
    assert!(reached, "{pointer} is not {count}: {last:#}");
}

fn eventually_so(mut is_so: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < end {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Has a program read that.
fn run(program: &mut Command, input: &str) -> String {
    let piped = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|e| panic!("{program:?}: {e}"));
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

trait TakeString {
    fn take_string(&self) -> String;
}

impl TakeString for Value {
    fn take_string(&self) -> String {
        self.as_str().unwrap_or_default().to_owned()
    }
}
