//! The statistics of a running nginx: that they count what happens, in each form, and that Prometheus and a browser read them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
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

#[test]
fn statistics_count_what_happens() {
    let origin = Origin::start();
    origin.on(
        "/page",
        Reply::cached("max-age=60", "0123456789").header("Surrogate-Key", "a b"),
    );
    origin.on(
        "/mine",
        Reply::cached("max-age=60", "me").header("Set-Cookie", "a=b"),
    );
    let old = Reply::aged(100, SWR, "old").header("ETag", "\"1\"");
    origin.script("/old", [old, Reply::new(304).header("Cache-Control", SWR)]);
    let nginx = with(&origin, "swr_cache_bypass $http_x_bypass;").start();
    let before = main_zone(&nginx);
    assert_eq!(before["summary"], "No requests yet");
    nginx.get("/page").is(200, "MISS", "0123456789");
    (0..3).for_each(|_| _ = nginx.get("/page").is(200, "HIT", "0123456789"));
    nginx.get_with("/page", &[("X-Bypass", "1")]);
    (0..2).for_each(|_| _ = nginx.get("/mine"));
    nginx.get("/old").is(200, "MISS", "old");
    nginx.get("/old").is(200, "UPDATING", "old");
    nginx.await_status("/old", "HIT");
    await_count(&nginx, "/refresh/not_modified", 1);
    let zone = main_zone(&nginx);
    let at = |pointer: &str| zone.pointer(pointer).cloned().unwrap_or(Value::Null);
    for (pointer, count) in [
        ("/miss/responses", 4),
        ("/miss/responses_written", 2),
        ("/miss/bytes_written", 13),
        ("/bypass/responses", 1),
        ("/bypass/bytes", 10),
        ("/reasons/set-cookie", 1),
        ("/reasons/hit-for-miss", 1),
        ("/refresh/started", 1),
        ("/refresh/failed", 0),
        ("/refresh/in_flight", 0),
        ("/waited/responses", 0),
        ("/origin/seconds/not_modified/count", 1),
        ("/origin/seconds/stored/count", 3),
        ("/origin/requests", 6),
        ("/entries/stale", 0),
        ("/recovery/dead_workers", 0),
    ] {
        assert_eq!(at(pointer), count, "{pointer}: {zone:#}");
    }
    assert!(at("/hit/bytes").as_u64() >= Some(30));
    assert_eq!(at("/entries/fresh"), 2, "{zone:#}");
    assert_eq!(at("/top/tags/0/name"), "a");
    assert!(
        at("/top/keys/0/name")
            .as_str()
            .is_some_and(|key| key.starts_with("http://"))
    );
    let used: u64 = ["bodies", "heads", "encodings", "index", "free"]
        .iter()
        .filter_map(|use_| zone["used"][use_].as_u64())
        .sum();
    assert_eq!(at("/size").as_u64(), Some(used));
    let summary = at("/summary");
    let said = summary.as_str().unwrap_or_default();
    assert!(said.ends_with(" from memory, nobody waited"), "{said}");
}

/// Reading counts nothing and changes nothing.
#[test]
fn statistics_of_reading_alone() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let nginx = conf(&origin).start();
    nginx.get("/");
    await_count(&nginx, "/miss/responses", 1);
    let mut first = main_zone(&nginx);
    for path in [
        "/swr",
        "/swr?format=html",
        "/swr?format=prometheus",
        "/swr?zone=main",
    ] {
        assert_eq!(nginx.get(path).status, 200, "{path}");
    }
    let mut last = main_zone(&nginx);
    for zone in [&mut first, &mut last] {
        zone["entries"] = Value::Null;
    }
    assert_eq!(first, last);
}

#[test]
fn statistics_in_the_form_that_is_asked_for() {
    let origin = Origin::start();
    let nginx = conf(&origin).http("swr_cache_zone zone=other:1m;").start();
    let form = |path: &str, accept: &str| {
        let response = nginx.get_with(path, &[("Accept", accept)]);
        response
            .header("Content-Type")
            .map(str::to_owned)
            .unwrap_or_default()
    };
    assert_eq!(form("/swr", "*/*"), "application/json");
    assert_eq!(
        form("/swr", "text/html,*/*;q=0.8"),
        "text/html; charset=utf-8"
    );
    assert_eq!(
        form(
            "/swr",
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let names = |path: &str| {
        let tree: Value = serde_json::from_str(&nginx.get(path).text()).expect("JSON");
        tree["zones"]
            .as_object()
            .expect("zones")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/swr"), ["main", "other"]);
    assert_eq!(names("/swr?zone=other"), ["other"]);
    let text = nginx.get("/swr?format=prometheus").text();
    assert_eq!(
        run(Command::new("promtool").args(["check", "metrics"]), &text),
        ""
    );
    let json = nginx.get("/swr").text();
    let script = root().join("tests/statistics/valid.py");
    run(Command::new("/usr/bin/python3").arg(script), &json);
    let head = nginx.client().request("HEAD", "/swr", &[]);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
}

#[test]
fn statistics_of_bad_requests() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let nginx = conf(&origin).start();
    nginx.get("/");
    await_count(&nginx, "/miss/responses", 1);
    let before = nginx.get("/swr?format=prometheus").text();
    for (path, status, named) in [
        ("/swr?format=xml", 400, "format"),
        ("/swr?zone=main&zone=main", 400, "zone"),
        ("/swr?zone=nowhere", 404, "nowhere"),
        ("/swr?purge=all", 400, "purge"),
        ("/swr?explain=/x", 400, "explain"),
        ("/swr?header=a:b", 400, "header"),
        ("/swr?zone=%00", 404, "zone"),
    ] {
        let response = nginx.get(path);
        assert_eq!(response.status, status, "{path}");
        let said: Value = serde_json::from_str(&response.text()).expect("JSON");
        let error = said["error"].as_str().unwrap_or_default();
        assert!(error.contains(named), "{path}: {error}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let refused = nginx.client().request(method, "/swr", &[]);
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("Allow"), Some("GET, HEAD"));
    }
    assert_eq!(nginx.get("/swr?format=prometheus").text(), before);
}

/// The promise: inside the stale-while-revalidate window nobody waits, whatever the origin does.
#[test]
fn statistics_nobody_waits_whatever_the_origin_does() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let old = || Reply::aged(100, SWR, "old");
    origin.script("/slow", [old(), Reply::cached(SWR, "new").hold(&gate)]);
    origin.script("/down", [old(), Reply::new(503)]);
    origin.script(
        "/broken",
        [old(), Reply::cached(SWR, "0123456789").cut_body(3)],
    );
    origin.script("/silent", [old(), Reply::silence()]);
    origin.script("/nonsense", [old(), Reply::raw("nonsense\r\n\r\n")]);
    let paths = ["/slow", "/down", "/broken", "/silent", "/nonsense"];
    let silent = format!(
        "swr_cache main; proxy_read_timeout 500ms; proxy_pass http://{};",
        origin.addr
    );
    let nginx = conf(&origin).location("/silent", &silent).start();
    for path in paths {
        nginx.get(path).is(200, "MISS", "old");
        nginx.get(path).is(200, "UPDATING", "old");
    }
    origin.await_hits("/slow", 2);
    await_count(&nginx, "/refresh/failed", 4);
    for path in paths {
        assert_eq!(nginx.get(path).text(), "old");
    }
    let zone = main_zone(&nginx);
    assert_eq!(zone["waited"]["responses"], 0, "{zone:#}");
    assert_eq!(zone["refresh"]["in_flight"], 1, "{zone:#}");
    assert_eq!(zone["refresh"]["started"], 5, "{zone:#}");
    gate.open();
    await_count(&nginx, "/refresh/modified", 1);
}

/// In the legacy mode one waits, and is counted, and for how long.
#[test]
fn statistics_of_those_who_wait() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let new = Reply::cached(SWR, "new").hold(&gate);
    origin.script("/", [Reply::aged(100, SWR, "old"), new]);
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let nginx = with(&origin, "swr_cache_background_update off;").start();
    nginx.get("/");
    let mut first = nginx.client();
    first.send("GET", "/", &[]);
    origin.await_hits("/", 2);
    nginx.get("/").is(200, "UPDATING", "old");
    std::thread::sleep(Duration::from_millis(300));
    gate.open();
    first.receive("GET").is(200, "EXPIRED", "new");
    await_count(&nginx, "/waited/responses", 1);
    let waited = main_zone(&nginx)["waited"]["seconds"]["sum"]
        .as_f64()
        .unwrap_or(0.0);
    assert!((0.3..5.0).contains(&waited), "{waited}");
    // Those who get the stale copy in the end have waited, too.
    nginx.get("/down");
    nginx.get("/down").is(200, "STALE", "old");
    await_count(&nginx, "/waited/responses", 2);
    let summary = main_zone(&nginx)["summary"].take();
    assert!(
        summary
            .as_str()
            .is_some_and(|s| s.contains("2 visitors waited")),
        "{summary}"
    );
}

#[test]
fn statistics_name_what_fails_and_since_when() {
    let origin = Origin::start();
    let old = || Reply::aged(100, SWR, "old");
    origin.script("/down", [old(), Reply::new(503)]);
    origin.script(
        "/broken",
        [old(), Reply::cached(SWR, "0123456789").cut_body(3)],
    );
    let nginx = conf(&origin).start();
    // One after the other: the list begins with what has failed for longest.
    for (path, failed) in [("/down", 1), ("/broken?<b>", 2)] {
        nginx.get(path);
        nginx.get(path).is(200, "UPDATING", "old");
        await_count(&nginx, "/refresh/failed", failed);
    }
    let tree = tree(&nginx);
    let zone = &tree["zones"]["main"];
    assert_eq!(zone["refresh"]["backing_off"], 2);
    let failing = zone["failing"].as_array().expect("a list");
    let causes: Vec<_> = failing.iter().filter_map(|f| f["cause"].as_str()).collect();
    assert_eq!(causes, ["503", "body-broken"]);
    let now = tree["time"].as_f64().expect("a time");
    for entry in failing {
        assert!(
            entry["since"]
                .as_f64()
                .is_some_and(|t| (now - t).abs() < 60.0),
            "{entry}"
        );
        assert!(
            entry["next_try"].as_f64() > entry["since"].as_f64(),
            "{entry}"
        );
    }
    let said = tree["summary"].as_str().unwrap_or_default();
    assert!(
        said.contains("2 refreshes failing: http://") && said.contains("/down 503"),
        "{said}"
    );
    // And on the page it stands as text.
    let page = nginx.get("/swr?format=html").text();
    assert!(!page.contains("?<b>"), "{page}");
}

/// Each worker counts for itself; what a killed one had counted stays, a reload keeps all, and with a file a restart does, too.
#[test]
fn statistics_outlive_deaths_reloads_and_restarts() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=600", "body"));
    let folder = Folder::new();
    let file = folder.0.join("zone");
    let zone = format!("swr_cache_zone zone=main:8m file={};", file.display());
    let proxied = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let conf = Conf::new()
        .workers(3)
        .http(&zone)
        .location("/", &proxied)
        .location("/swr", "swr_cache_stats;")
        .allow("exited on signal 9");
    let nginx = conf.start();
    nginx.get("/").is(200, "MISS", "body");
    let mut hits = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            nginx.get("/").is(200, "HIT", "body");
            hits += 1;
        }
        await_count(&nginx, "/hit/responses", hits);
        nginx.kill_worker();
        await_count(&nginx, "/hit/responses", hits);
    }
    nginx.reload();
    await_count(&nginx, "/hit/responses", hits);
    let nginx = nginx.restart(&conf);
    await_count(&nginx, "/hit/responses", hits);
    let zone = main_zone(&nginx);
    assert_eq!(zone["restored"], 1, "{zone:#}");
    assert_eq!(zone["miss"]["responses"], 1, "{zone:#}");
    nginx.get("/").is(200, "HIT", "body");
    await_count(&nginx, "/hit/responses", hits + 1);
}

/// Prometheus, scraping nginx.
struct Prometheus {
    child: std::process::Child,
    port: u16,
    _folder: Folder,
}

impl Prometheus {
    fn scraping(nginx: &Nginx) -> Prometheus {
        let (folder, port) = (Folder::new(), free_port());
        let rules = root().join("nginx-conf/prometheus-rules.yml");
        let text = format!(
            "global: {{ scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n\
             \x20 - job_name: swrcache\n\
             \x20   metrics_path: /swr\n\
             \x20   params: {{ format: [prometheus] }}\n\
             \x20   static_configs: [ {{ targets: [\"{}\"] }} ]\n",
            rules.display(),
            nginx.addr
        );
        // The rule that groups are evaluated a minute apart is Prometheus's own default, not ours: `global` says otherwise.
        fs::write(folder.0.join("prometheus.yml"), text).expect("written");
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}/prometheus.yml",
                folder.0.display()
            ))
            .arg(format!("--storage.tsdb.path={}/data", folder.0.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus; `make deps` installs it");
        Prometheus {
            child,
            port,
            _folder: folder,
        }
    }

    /// The values that an expression has now; an error where it makes no sense.
    fn query(&self, expression: &str) -> Option<Vec<f64>> {
        let encoded: String = expression.bytes().map(|b| format!("%{b:02x}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        let addr = (std::net::Ipv4Addr::LOCALHOST, self.port).into();
        let mut client = Client::try_connect(addr, Duration::from_secs(1))?;
        let said: Value = serde_json::from_str(&client.get(&path).text()).ok()?;
        assert_eq!(said["status"], "success", "{expression}: {said}");
        let samples = said["data"]["result"].as_array()?;
        let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        Some(samples.iter().filter_map(value).collect())
    }

    #[track_caller]
    fn await_value(&self, expression: &str) -> Vec<f64> {
        let mut values = Vec::new();
        let found = eventually_so(|| {
            values = self.query(expression).unwrap_or_default();
            !values.is_empty()
        });
        assert!(found, "{expression} has no value");
        values
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each expression of the dashboard, with what Grafana would put in.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(root().join("nginx-conf/grafana-dashboard.json"));
    let board: Value = serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|p| p["targets"].as_array().expect("targets").clone());
    let filled = |target: Value| {
        let expression = target["expr"].as_str().expect("an expression");
        expression
            .replace("$__rate_interval", "1m")
            .replace("$__range", "5m")
            .replace("$zone", ".*")
            .replace("$instance", ".*")
    };
    targets.map(filled).collect()
}

#[test]
fn statistics_are_scraped_by_prometheus() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=600", "body"));
    origin.on("/old", Reply::aged(100, SWR, "old"));
    let nginx = with(&origin, "swr_cache_refresh_backoff 1ms 1ms;").start();
    let prometheus = Prometheus::scraping(&nginx);
    prometheus.await_value("swr_cache_size_bytes");
    let traffic = || {
        (0..5).for_each(|_| _ = nginx.get("/"));
        nginx.get("/old");
    };
    traffic();
    let counted = eventually_so(|| {
        traffic();
        let rate = "sum(rate(swr_cache_responses_total{status=\"hit\"}[1m])) > 0";
        prometheus
            .query(rate)
            .is_some_and(|values| !values.is_empty())
    });
    assert!(counted, "no rate of hits");
    for expression in dashboard() {
        prometheus.await_value(&expression);
    }
    let ratio = prometheus.await_value("swr_cache:hit_ratio:rate10m");
    assert!(
        ratio.iter().all(|ratio| (0.0..=1.0).contains(ratio)),
        "{ratio:?}"
    );
    prometheus.await_value("swr_cache:hit_ratio:rate1d");
    // What it has is what the JSON says.
    await_count(&nginx, "/miss/responses", 2);
    let hits = main_zone(&nginx)["hit"]["responses"].as_f64();
    let same = eventually_so(|| {
        prometheus.query("swr_cache_responses_total{status=\"hit\"}") == hits.map(|n| vec![n])
    });
    assert!(same, "Prometheus does not have {hits:?} hits");
}

/// The page in a browser, under traffic: its first line is the sentence, its numbers are those of the JSON, a key that is markup is
/// text, and the keyboard does for all of it. Leaves pictures in the folder of the tests' output.
#[test]
fn statistics_page_in_a_browser() {
    let origin = Origin::start();
    let key = "/%3Cscript%3E?<script>document.title='taken'</script>";
    origin.on("/%3Cscript%3E", Reply::cached("max-age=600", "body"));
    origin.script("/prices", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let proxied = format!("swr_cache other; proxy_pass http://{};", origin.addr);
    let nginx = with(&origin, "swr_cache_refresh_backoff 60s 60s;")
        .http("swr_cache_zone zone=other:1m;")
        .location("/other", &proxied)
        .start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    let zone = || browser.text("document.getElementById('zone').value");
    let traffic = || {
        (0..10).for_each(|_| _ = nginx.get(key));
        (0..2).for_each(|_| _ = nginx.get("/prices"));
    };
    eventually("traffic is in the chart", || {
        traffic();
        let hits = "document.querySelector('#statuses-legend b').textContent";
        browser.text(hits).parse().is_ok_and(|rate: f64| rate > 0.0)
            && browser.text("document.querySelectorAll('#statuses path').length") != "0"
    });
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    assert_eq!(
        zone(),
        "main",
        "the zone that fails is not the one that is shown"
    );
    let mut tree = Value::Null;
    let same = eventually_so(|| {
        tree = self::tree(&nginx);
        browser.text("document.getElementById('summary').textContent")
            == tree["summary"].take_string()
    });
    let summary = tree["summary"].take_string();
    assert!(same, "the first line is not {summary}");
    assert!(summary.contains("1 refresh failing"), "{summary}");
    let main = &tree["zones"]["main"];
    let tile = |name: &str, part: &str| {
        browser.text(&format!(
            "[...document.querySelectorAll('#tiles div')].find(tile => tile.children[0].textContent === '{name}').querySelector('.{part}').textContent"
        ))
    };
    for (name, count) in [
        ("Visitors who waited", &main["waited"]["responses"]),
        ("Origin requests saved", &main["origin"]["saved_requests"]),
        ("Refreshes failing", &main["refresh"]["backing_off"]),
    ] {
        assert_eq!(
            tile(name, "big").replace(',', ""),
            count.to_string(),
            "{name}"
        );
    }
    let rows = |id: &str| {
        let rows = "[...document.querySelectorAll('#ID tbody tr')].map(row => [...row.cells].map(cell => cell.textContent).join(' ')).join('\\n')";
        browser.text(&rows.replace("ID", id)).replace(',', "")
    };
    for (word, count) in main["reasons"].as_object().expect("reasons") {
        let row = format!("{word} {count}");
        assert_eq!(
            rows("reasons").lines().any(|r| r == row),
            *count != 0,
            "{row}: {}",
            rows("reasons")
        );
    }
    let asked = &main["top"]["keys"][0];
    assert!(asked["name"].take_string().contains("<script>"), "{asked}");
    assert_eq!(
        rows("keys").lines().next(),
        Some(&*format!(
            "{} {}",
            asked["name"].take_string(),
            asked["hits"]
        ))
    );
    assert!(
        rows("failing").contains("/prices 503"),
        "{}",
        rows("failing")
    );
    assert_ne!(browser.text("document.title"), "taken", "a key was run");
    let output = root().join("target/tmp");
    fs::create_dir_all(&output).expect("a folder");
    for (name, width, scheme) in [
        ("statistics-wide", 1280, "light"),
        ("statistics-wide-dark", 1280, "dark"),
        ("statistics-phone", 390, "light"),
        ("statistics-phone-dark", 390, "dark"),
    ] {
        browser.look(width, scheme);
        let wide = browser.text("document.documentElement.scrollWidth");
        assert_eq!(wide, width.to_string(), "{name} is wider than the screen");
        let picture = output.join(format!("{name}.png"));
        browser.picture(&picture);
        assert!(is_picture(&picture), "{}", picture.display());
    }
    // Without a mouse.
    const ENTER: char = '\u{e007}';
    browser.look(1280, "light");
    let pressed = || browser.text("document.getElementById('pause').getAttribute('aria-pressed')");
    browser.press("p");
    assert_eq!(pressed(), "true");
    browser.press("p");
    assert_eq!(pressed(), "false");
    let focus = || browser.text("document.activeElement.id || document.activeElement.dataset.zone");
    browser.press("z");
    assert_eq!(focus(), "zone");
    browser.run("document.querySelector('[data-zone=other]').focus()");
    browser.press(&ENTER.to_string());
    assert_eq!((zone(), focus()), ("other".to_owned(), "other".to_owned()));
    browser.press("e");
    assert_eq!(focus(), "url");
    browser.press(&format!("http://localhost/prices{ENTER}"));
    eventually("it is explained", || {
        let said = browser.text("document.getElementById('explained').textContent");
        said.contains("Would be answered from the store (STALE)")
    });
}

/// Ten zones, and an hour of looking.
#[test]
fn statistics_page_stays_light() {
    let origin = Origin::start();
    let zones: String = (0..10)
        .map(|i| format!("swr_cache_zone zone=zone{i}:1m;\n"))
        .collect();
    let nginx = conf(&origin).http(&zones).start();
    let page = nginx.get("/swr?format=html");
    assert!(page.body.len() < 120_000, "{} bytes", page.body.len());
    let browser = Browser::start();
    browser.open(&format!("http://{}/swr?format=html", nginx.addr));
    let said = browser.run(
        "clearTimeout(timer);
         for (let i = 0; i < 1800; i++) {
           tree = structuredClone(tree); tree.time += 2;
           for (const zone of Object.values(tree.zones)) { zone.hit.responses += i % 7; zone.miss.responses += 1; }
           remember(tree);
         }
         const before = performance.now(); render();
         return { ms: performance.now() - before, elements: document.querySelectorAll('*').length,
                  points: Math.max(...[...history.values()].map(points => points.length)),
                  covered: document.getElementById('span').textContent };",
    );
    assert!(said["ms"].as_f64() < Some(500.0), "{said}");
    assert!(said["elements"].as_u64() < Some(2_000), "{said}");
    assert!(said["points"].as_u64() <= Some(180), "{said}");
    assert_eq!(said["covered"], "(the last 60 min)", "{said}");
}

fn is_picture(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000)
}

fn explain(nginx: &Nginx, url: &str, more: &str) -> Value {
    let response = nginx.get(&format!("/swr?explain={url}{more}"));
    assert_eq!(response.status, 200, "{url}: {}", response.text());
    serde_json::from_str(&response.text()).expect("JSON")
}

/// What is explained is what a request then gets; and the explanation itself changes nothing.
#[test]
fn statistics_explain_what_a_request_would_get() {
    let origin = Origin::start();
    origin.on(
        "/page",
        Reply::cached("max-age=60", "body").header("ETag", "\"1\""),
    );
    origin.on(
        "/mine",
        Reply::cached("max-age=60", "me").header("Set-Cookie", "a=b"),
    );
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    let vary = Reply::cached("max-age=60", "de").header("Vary", "Accept-Language");
    origin.on("/vary", vary);
    let nginx = with(&origin, "swr_cache_bypass $arg_fresh;")
        .location("/moved", "return 301 /page;")
        .location(
            "/plain",
            &format!("swr_cache off; proxy_pass http://{};", origin.addr),
        )
        .start();
    let verdict = |url: &str, more: &str| {
        let said = explain(&nginx, &format!("http://localhost{url}"), more);
        let verdict = &said["verdict"];
        (
            verdict["action"].take_string(),
            verdict["reason"].take_string(),
        )
    };
    let is = |action: &str, reason: &str| (action.to_owned(), reason.to_owned());
    for path in ["/page", "/mine", "/down"] {
        assert_eq!(verdict(path, ""), is("fetch", "absent"), "{path}");
    }
    assert_eq!(
        ["/page", "/mine", "/down"].map(|path| origin.hits(path)),
        [0; 3]
    );
    nginx.get("/page").is(200, "MISS", "body");
    nginx.get("/mine");
    nginx.get("/down");
    nginx.get("/down").is(200, "UPDATING", "old");
    origin.await_hits("/down", 2);
    await_count(&nginx, "/refresh/failed", 1);
    nginx.get_with("/vary", &[("Accept-Language", "de")]);
    assert_eq!(verdict("/page", ""), is("serve", "fresh"));
    assert_eq!(verdict("/page%3Ffresh=1", ""), is("fetch", "bypass"));
    assert_eq!(verdict("/./x/../page", ""), is("fetch", "absent"));
    assert_eq!(verdict("/mine", ""), is("pass", "hit-for-miss"));
    assert_eq!(verdict("/down", ""), is("serve", "swr-backoff"));
    assert_eq!(
        verdict("/vary", "&header=Accept-Language:de"),
        is("serve", "fresh")
    );
    assert_eq!(
        verdict("/vary", "&header=Accept-Language:fr"),
        is("fetch", "vary-miss")
    );
    assert_eq!(
        verdict("/page", "&header=Authorization:x"),
        is("fetch", "authorization")
    );
    let page = explain(&nginx, "http://localhost/page", "");
    assert_eq!(page["key"], "http://localhost/page");
    assert_eq!(
        (&page["zone"], &page["location"]),
        (&"main".into(), &"/".into())
    );
    assert_eq!(page["made_of"], "$scheme$host$request_uri");
    assert_eq!(page["variants"][0]["etag"], "\"1\"");
    assert_eq!(page["variants"][0]["bytes"], 4);
    assert_eq!(
        explain(&nginx, "https://localhost/page", "")["key"],
        "https://localhost/page"
    );
    let before = explain(&nginx, "http://localhost/moved", "");
    assert_eq!(before["status"], 301, "{before:#}");
    let off = explain(&nginx, "http://localhost/plain", "");
    assert!(
        off["says"]
            .as_str()
            .is_some_and(|s| s.contains("does not use the cache")),
        "{off:#}"
    );
    for url in [
        "http://a%20b/",
        "http://localhost:0/",
        "http://localhost:99999/",
        "http:///x",
    ] {
        assert_eq!(
            nginx.get(&format!("/swr?explain={url}")).status,
            400,
            "{url}"
        );
    }
    // Nothing was counted, and the connection goes on.
    let mut client = nginx.client();
    for _ in 0..3 {
        assert_eq!(client.get("/swr?explain=http://localhost/page").status, 200);
        client.get("/page").is(200, "HIT", "body");
    }
    assert_eq!(origin.hits("/page"), 1);
    await_count(&nginx, "/hit/responses", 3);
}

/// nginx leads a request to the location that answers before the cache is asked: files are tried, errors have their pages, and what
/// stands between a client and the cache is passed by.
#[test]
fn statistics_explain_the_location_that_answers() {
    let origin = Origin::start();
    for path in ["/app", "/copy", "/guarded", "/only-inside"] {
        origin.on(path, Reply::cached("max-age=60", "body"));
    }
    let proxied = format!("swr_cache main; proxy_pass http://{};", origin.addr);
    let nginx = conf(&origin)
        .location("/front", "try_files /nothing /app?from=$uri;")
        .location("/mirrored", &format!("mirror /copy; {proxied}"))
        .location("/guarded", &format!("deny all; {proxied}"))
        .location("/only-inside", &format!("internal; {proxied}"))
        .location("/gone", "error_page 404 /sorry; return 404;")
        .location("/sorry", &proxied)
        .location(
            "/keyed",
            &format!("swr_cache_key $arg_id$http_x_site; {proxied}"),
        )
        .location("/rewritten", "rewrite ^ /app last;")
        .start();
    let says = |url: &str| explain(&nginx, &format!("http://localhost{url}"), "");
    nginx.get("/front").is(200, "MISS", "body");
    let front = says("/front");
    assert_eq!(
        (&front["location"], &front["verdict"]["reason"]),
        (&"/".into(), &"fresh".into())
    );
    let hits =
        || ["/app", "/copy", "/mirrored", "/guarded", "/only-inside"].map(|path| origin.hits(path));
    let before = hits();
    assert_eq!(says("/mirrored")["verdict"]["action"], "fetch");
    assert_eq!(says("/guarded")["verdict"]["action"], "fetch");
    assert_eq!(says("/only-inside")["status"], 404);
    let gone = says("/gone")["says"].take_string();
    assert!(gone.contains("error page"), "{gone}");
    assert_eq!(says("/rewritten")["location"], "/");
    let keyed = explain(&nginx, "http://localhost/keyed%3Fid=7", "&header=X-Site:de");
    assert_eq!(
        (&keyed["key"], &keyed["made_of"]),
        (&"7de".into(), &"$arg_id$http_x_site".into())
    );
    assert_eq!(hits(), before);
    nginx.get("/guarded").at_once();
    assert_eq!(nginx.get("/guarded").status, 403);
}

/// The connection that asks for an explanation is as it was afterwards.
#[test]
fn statistics_explain_leaves_the_connection_as_it_was() {
    let origin = Origin::start();
    origin.on("/", Reply::cached("max-age=60", "body"));
    let other = free_port();
    let nginx = conf(&origin)
        .http(&format!(
            "gzip on; gzip_types *; gzip_min_length 1;
             server {{ listen 127.0.0.1:{other}; server_name localhost; location / {{ return 200 other; }} }}"
        ))
        .start();
    let mut client = nginx.client();
    let there = format!("/swr?explain=http://localhost:{other}/&header=Accept-Encoding:gzip");
    for _ in 0..2 {
        let said = client.get(&there);
        assert_eq!((said.status, said.header("Content-Encoding")), (200, None));
        assert_eq!(said.header("Cache-Control"), Some("no-store"));
        assert!(
            said.text().contains("nginx answers with 200 before"),
            "{}",
            said.text()
        );
        assert_eq!(client.get("/").text(), "body");
    }
    let head = client.request("HEAD", "/swr?explain=http://localhost/", &[]);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    client.get("/").is(200, "HIT", "body");
    for wrong in [
        "http://./",
        "http://[::g]/",
        "http://localhost/&header=Host:x",
        "http://localhost/&header=A:1&header=a:2",
        "http://localhost/&zone=main",
    ] {
        let refused = client.get(&format!("/swr?explain={wrong}"));
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        let said: Value = serde_json::from_str(&refused.text()).expect("JSON");
        assert!(said["error"].is_string(), "{wrong}: {said}");
    }
    client.get("/").is(200, "HIT", "body");
}

trait TakeString {
    fn take_string(&self) -> String;
}

impl TakeString for Value {
    fn take_string(&self) -> String {
        self.as_str().unwrap_or_default().to_owned()
    }
}

/// The log tells of each step of a back-off once, and of the recovery.
#[test]
fn statistics_log_of_failures_and_recovery() {
    let origin = Origin::start();
    let (down, old) = (|| Reply::new(503), Reply::aged(100, SWR, "old"));
    origin.script(
        "/",
        [old, down(), down(), Reply::cached("max-age=60", "new")],
    );
    let nginx = with(&origin, "swr_cache_refresh_backoff 1ms 1ms;").start();
    nginx.get("/");
    nginx.await_status("/", "HIT").is(200, "HIT", "new");
    eventually("the recovery is told", || {
        nginx.error_log().contains("has succeeded after")
    });
    let log = nginx.error_log();
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        (lines("[warn]"), lines("has succeeded after")),
        (2, 1),
        "{log}"
    );
    for part in [
        "zone \"main\"",
        "http://localhost/\"",
        "503, 2 in a row",
        "next try in",
        "after 2 failures",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

/// However many keys fail at once, the log stays short, and counts them.
#[test]
fn statistics_log_of_a_thousand_failures_is_short() {
    let origin = Origin::start();
    for i in 0..1_000 {
        origin.script(
            &format!("/{i}"),
            [Reply::aged(100, SWR, "old"), Reply::new(503)],
        );
    }
    let nginx = with(&origin, "swr_cache_refresh_max 1000;").start();
    for _ in 0..2 {
        // nginx ends a connection after a thousand requests.
        let mut client = nginx.client();
        (0..1_000).for_each(|i| _ = client.get(&format!("/{i}")));
    }
    await_count(&nginx, "/refresh/failed", 1_000);
    let log = nginx.error_log();
    let lines = log
        .lines()
        .filter(|line| line.contains("swr_cache:"))
        .count();
    assert!((1..=50).contains(&lines), "{lines} lines");
    eventually("how many more there were", || {
        nginx
            .error_log()
            .contains("more refreshes failed in zone \"main\" in the last 10 s")
    });
    let failing = main_zone(&nginx)["failing"].as_array().map_or(0, Vec::len);
    assert_eq!(failing, 20);
}

/// A purge by method has a status and reasons of its own; all purges are counted.
#[test]
fn statistics_of_purges() {
    let origin = Origin::start();
    origin.on(
        "/",
        Reply::cached("max-age=60", "body").header("Cache-Tag", "t"),
    );
    let lines = "swr_cache_purge_method PURGE from 127.0.0.1;";
    let refusing = format!(
        "swr_cache main; swr_cache_purge_method PURGE from 10.0.0.0/8; proxy_pass http://{};",
        origin.addr
    );
    let nginx = with(&origin, lines)
        .location("/purge", "swr_cache_purge zone=main;")
        .location("/other", &refusing)
        .start();
    let purge = |path: &str| {
        let answer = nginx.client().request("PURGE", path, &[]);
        let reason = answer.header("X-Reason").unwrap_or_default().to_owned();
        assert_eq!(answer.cache(), "PURGE", "{path}: {answer:?}");
        (answer.status, reason)
    };
    nginx.get("/").is(200, "MISS", "body");
    assert_eq!(purge("/"), (200, "purged".to_owned()));
    assert_eq!(purge("/"), (200, "purged-nothing".to_owned()));
    assert_eq!(purge("/other"), (403, "purge-refused".to_owned()));
    nginx.get("/").is(200, "MISS", "body");
    let body = r#"{"tags": ["t"], "soft": true}"#;
    let mut client = nginx.client();
    client.send_raw(&format!(
        "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.receive("POST").status, 200);
    let zone = main_zone(&nginx);
    assert_eq!(zone["purges"]["url"]["hard"], 2, "{zone:#}");
    assert_eq!(zone["purges"]["tag"]["soft"], 1, "{zone:#}");
    assert_eq!(zone["purged"], 2, "{zone:#}");
}

/// What is put off is told once, and counted.
#[test]
fn statistics_of_refreshes_that_are_put_off() {
    let origin = Origin::start();
    let gate = Gate::closed();
    for path in ["/a", "/b"] {
        let new = Reply::cached("max-age=60", "new").hold(&gate);
        origin.script(path, [Reply::aged(100, SWR, "old"), new]);
    }
    let nginx = with(&origin, "swr_cache_refresh_max 1;").start();
    for path in ["/a", "/b"] {
        nginx.get(path);
    }
    nginx.get("/a").is(200, "UPDATING", "old");
    origin.await_hits("/a", 2);
    (0..3).for_each(|_| _ = nginx.get("/b").text());
    await_count(&nginx, "/refresh/deferred", 3);
    assert_eq!(
        nginx
            .error_log()
            .matches("swr_cache_refresh_max (1)")
            .count(),
        1
    );
    eventually("how many more there were", || {
        let more = "2 more refreshes were deferred in zone \"main\" by the location \"/\" in the last 10 s";
        nginx.error_log().contains(more)
    });
    gate.open();
    nginx.await_status("/a", "HIT");
}

/// UPDATING is a refresh under way; while the pause after a failed one runs, it is STALE. What goes by for its credentials was
/// none of the cache's business.
#[test]
fn statistics_status_words() {
    let origin = Origin::start();
    origin.script("/down", [Reply::aged(100, SWR, "old"), Reply::new(503)]);
    origin.on("/private", Reply::cached("max-age=60", "mine"));
    let nginx = with(&origin, "swr_cache_refresh_backoff 60s 60s;").start();
    nginx.get("/down");
    nginx.get("/down").is(200, "UPDATING", "old");
    origin.await_hits("/down", 2);
    nginx.await_status("/down", "STALE").is(200, "STALE", "old");
    let credentials = [("Authorization", "Basic eDp5")];
    nginx
        .get_with("/private", &credentials)
        .is(200, "BYPASS", "mine");
    await_count(&nginx, "/reasons/authorization", 1);
}
