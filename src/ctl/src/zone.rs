//! The file of a zone, without a server: a copy of it is looked at, so nobody is disturbed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use swrcache::engine::Cache;
use swrcache::engine::stats::{Listed, Survey};
use swrcache::engine::text::one_line;
use swrcache::store::{Predecessor, Region};

use crate::arguments::Zone;
use crate::status::{ago, bytes, lines};
use crate::{End, Ended};

pub(crate) fn run(zone: &Zone, json: bool) -> Ended {
    let shown = zone.file.display();
    let (region, found) = Region::snapshot(&zone.file).map_err(|e| format!("{shown}: {e}"))?;
    let region = Arc::new(region);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let busy = |_| format!("{shown}: it could not be walked over");
    let mut listed = Cache::new(Arc::clone(&region)).list(now).map_err(busy)?;
    listed.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
    let damaged = match zone.check {
        true => damaged(&region, &listed, now),
        false => Vec::new(),
    };
    let mut survey = Survey::new(&region, now);
    while !survey.step(u32::MAX).map_err(busy)? {}
    let tree = survey.zone();
    let (kept, dropped, clean) = match found {
        Predecessor::Region {
            kept,
            dropped,
            clean,
        } => (kept, dropped, clean),
        _ => (0, 0, false),
    };
    let count = listed.len();
    listed.truncate(zone.entries);
    if json {
        let said = json!({
            "file": zone.file, "entries": count, "kept": kept, "dropped": dropped, "clean": clean,
            "checked": zone.check, "damaged": damaged, "listed": listed, "zone": tree,
        });
        println!("{said}");
    } else {
        let state = if clean {
            "closed well"
        } else {
            "in use, or left by a process that was killed"
        };
        println!("{shown}: {count} entries; {state}");
        lines(&tree)
            .iter()
            .for_each(|(name, text)| println!("  {name:<12} {text}"));
        for entry in &listed {
            println!(
                "  {:>10}  {:>8}  {}",
                bytes(entry.bytes),
                ago(entry.age),
                one_line(&entry.key)
            );
        }
        damaged
            .iter()
            .for_each(|key| println!("  damaged: {}", one_line(key)));
        if zone.check {
            println!(
                "  {} damaged, {dropped} incomplete or torn by the copying",
                damaged.len()
            );
        }
    }
    Ok(if damaged.is_empty() {
        End::Done
    } else {
        End::Partly
    })
}

/// The keys of entries whose bodies are not what was stored.
fn damaged(region: &Region, listed: &[Listed], now: u64) -> Vec<String> {
    let is_damaged = |entry: &&Listed| {
        let before = region.stats().damaged;
        let _ = region.lookup(&entry.raw_key, now, &mut |meta| meta == &*entry.meta);
        region.stats().damaged > before
    };
    let damaged = listed.iter().filter(is_damaged);
    damaged.map(|entry| entry.key.clone()).collect()
}
