//! The statistics, once.

use swrcache::engine::stats::{Tree, Zone};
use swrcache::engine::text::one_line;

use crate::arguments::Server;
use crate::client::Location;
use crate::{End, Ended};

/// Asks for the tree.
pub(crate) fn fetch(location: &Location, zone: Option<&str>) -> Result<(Tree, String), String> {
    let mut parameters = vec![("format", "json")];
    parameters.extend(zone.map(|zone| ("zone", zone)));
    let text = location.get(&parameters)?.accepted()?;
    let tree = serde_json::from_str(&text)
        .map_err(|e| format!("the answer is not that of swr_cache_stats: {e}"))?;
    Ok((tree, text))
}

pub(crate) fn run(server: &Server, json: bool) -> Ended {
    let location = Location::new(&server.node.node);
    let (tree, text) = fetch(&location, server.zone.as_deref())?;
    if json {
        print!("{text}");
        return Ok(End::Done);
    }
    println!("{}", one_line(&tree.summary));
    for (name, zone) in &tree.zones {
        println!("\nzone {}, {}", one_line(name), tree.version);
        lines(zone)
            .iter()
            .for_each(|(name, text)| println!("  {name:<12} {text}"));
        for entry in &zone.failing {
            let since = ago(tree.time - entry.since);
            let (key, cause) = (one_line(&entry.key), &entry.cause);
            println!("  failing      {key}: {cause}, for {since}");
        }
    }
    Ok(End::Done)
}

/// A zone in a few lines, each with its name.
pub(crate) fn lines(zone: &Zone) -> Vec<(&'static str, String)> {
    let (origin, refresh, entries) = (&zone.origin, &zone.refresh, &zone.entries);
    let used = zone.size.saturating_sub(zone.used.free);
    let count = |n: u64| n.to_string();
    let statuses = [
        ("HIT", zone.hit.responses),
        ("UPDATING", zone.updating.responses),
        ("STALE", zone.stale.responses),
        ("REVALIDATED", zone.revalidated.responses),
        ("EXPIRED", zone.expired.responses),
        ("MISS", zone.miss.responses),
        ("BYPASS", zone.bypass.responses),
    ];
    let statuses = statuses.map(|(status, n)| format!("{status} {n}"));
    vec![
        ("responses", statuses.join(", ")),
        ("waited", count(zone.waited.responses)),
        (
            "origin",
            format!(
                "{} requests, {} saved",
                origin.requests, origin.saved_requests
            ),
        ),
        (
            "refreshes",
            format!(
                "{} modified, {} not modified, {} failed, {} deferred; {} in flight, {} backing off",
                refresh.modified,
                refresh.not_modified,
                refresh.failed,
                refresh.deferred,
                refresh.in_flight,
                refresh.backing_off
            ),
        ),
        (
            "entries",
            format!("{} fresh, {} stale", entries.fresh, entries.stale),
        ),
        ("memory", format!("{} of {}", bytes(used), bytes(zone.size))),
        (
            "evicted",
            format!(
                "{} space, {} inactive, {} variants",
                zone.evicted.space, zone.evicted.inactive, zone.evicted.variants
            ),
        ),
    ]
}

/// A number of bytes, for a person.
pub(crate) fn bytes(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, 0);
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        unit => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// A span of seconds, for a person.
pub(crate) fn ago(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}
