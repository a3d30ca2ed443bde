//! The three forms of the statistics, judged by those who know the forms: a validator of JSON Schema, and Prometheus's
//! `promtool`. The numbers themselves are asked of a running nginx, in tests/e2e/statistics.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use swrcache::engine::stats::{
    Counter, Failing, Gauges, HISTOGRAMS, Histogram, HitCount, PLACES, Top, Tree, exposition,
    tree as tree_of, zone,
};
use swrcache::engine::{Reason, Status};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command with that on its standard input.
fn run(command: &mut Command, input: &str) -> Output {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = piped.unwrap_or_else(|e| panic!("{command:?}: {e}; `make deps` installs it"));
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Two zones: one in which all is counted, one that is new.
fn tree() -> Tree {
    let mut counts = [0; PLACES];
    for (n, count) in counts.iter_mut().enumerate() {
        *count = n as u64 + 1;
    }
    let name = |hits| HitCount {
        name: "https://h/\"<&>\\".to_owned(),
        hits,
    };
    let gauges = Gauges {
        failing: vec![Failing {
            key: "https://h/".to_owned(),
            cause: "503".to_owned(),
            since: 1.5,
            next_try: 2.5,
        }],
        top: Top {
            keys: vec![name(9)],
            tags: vec![name(3)],
        },
        ..Gauges::default()
    };
    let used = zone(&counts, gauges);
    let new = zone(&[0; PLACES], Gauges::default());
    let zones = [("main".to_owned(), used), ("new \"one\"".to_owned(), new)];
    tree_of(zones.into(), 1_700_000_000_123)
}

/// Debian's Python, which has Debian's packages.
fn validate(json: &str) -> Output {
    let script = root().join("tests/statistics/valid.py");
    run(Command::new("/usr/bin/python3").arg(script), json)
}

#[test]
fn the_json_is_what_the_schema_says() {
    let json = serde_json::to_string(&tree()).expect("JSON");
    let output = validate(&json);
    assert!(output.status.success(), "{}", said(&output));
    // And the schema says something: what is missing, of another type or unknown is told.
    for (from, to) in [
        ("\"collapsed\":", "\"collided\":"),
        ("\"cause\":\"503\"", "\"cause\":503"),
        ("\"le\":0.001", "\"le\":0"),
    ] {
        assert!(json.contains(from), "{from}");
        let output = validate(&json.replace(from, to));
        assert!(!output.status.success(), "{to}");
    }
}

#[test]
fn the_json_reads_back() {
    let tree = tree();
    let json = serde_json::to_string(&tree).expect("JSON");
    assert_eq!(serde_json::from_str::<Tree>(&json).expect("a tree"), tree);
}

#[test]
fn promtool_finds_nothing_to_say_about_the_exposition() {
    let output = run(
        Command::new("promtool").args(["check", "metrics"]),
        &exposition(&tree()),
    );
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
}

#[test]
fn no_key_is_in_the_exposition() {
    assert!(!exposition(&tree()).contains("https://h/"));
}

#[test]
fn every_word_of_a_reason_and_every_status_is_there() {
    let text = exposition(&tree());
    for reason in Reason::ALL {
        assert!(text.contains(&format!("reason=\"{}\"", reason.as_str())));
    }
    for status in Status::ALL {
        let word = status.as_str().to_ascii_lowercase();
        assert!(text.contains(&format!("status=\"{word}\"")), "{word}");
    }
}

#[test]
fn the_alerts_fire_when_they_should() {
    let rules = root().join("tests/statistics/rules_test.yml");
    let output = run(
        Command::new("promtool").args(["test", "rules"]).arg(rules),
        "",
    );
    assert!(output.status.success(), "{}", said(&output));
}

/// Every name of a metric that stands in a file.
fn metrics_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a readable file");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c));
    let names = words.filter(|word| word.starts_with("swr_cache_") && !word.contains(':'));
    names.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_rules_ask_for_metrics_that_there_are() {
    let text = exposition(&tree());
    for file in ["grafana-dashboard.json", "prometheus-rules.yml"] {
        let names = metrics_in(&root().join("nginx-conf").join(file));
        assert!(names.len() > 3, "{file}");
        for name in names {
            // What the rules speak of beside metrics: directives.
            let is_directive = ["swr_cache_stats", "swr_cache_zone"].contains(&name.as_str());
            assert!(
                is_directive || text.contains(&format!("\n{name}{{")),
                "{file}: {name}"
            );
        }
    }
}

#[test]
fn every_place_is_counted_once() {
    let mut counts = [0; PLACES];
    counts[Counter::Collapsed.place()] = 7;
    for (place, n) in Histogram::Waited.adds(HISTOGRAMS, 300) {
        counts[place] += n;
    }
    let zone = zone(&counts, Gauges::default());
    assert_eq!((zone.collapsed, zone.waited.responses), (7, 1));
    assert_eq!(zone.waited.seconds.sum, 0.3);
}
