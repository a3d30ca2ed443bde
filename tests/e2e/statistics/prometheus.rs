//! Prometheus scrapes nginx, and the expressions of the dashboard have values.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::*;

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
