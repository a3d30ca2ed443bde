//! What would happen to a request.

use swrcache::engine::text::one_line;

use crate::arguments::Explain;
use crate::client::Location;
use crate::{End, Ended};

pub(crate) fn run(explain: &Explain, json: bool) -> Ended {
    let location = Location::new(&explain.node.node);
    let mut parameters = vec![("explain", explain.url.as_str())];
    parameters.extend(
        explain
            .headers
            .iter()
            .map(|field| ("header", field.as_str())),
    );
    let answer = location.get(&parameters)?;
    let said = answer.with("says", "swr_cache_stats")?;
    if json {
        println!("{said}");
        return Ok(End::Done);
    }
    println!("{}", one_line(said["says"].as_str().unwrap_or_default()));
    for name in ["key", "zone", "location"] {
        if let Some(text) = said[name].as_str() {
            println!("{name:<10} {}", one_line(text));
        }
    }
    for variant in said["variants"].as_array().into_iter().flatten() {
        let mark = if variant["selected"] == true {
            "selected"
        } else {
            "variant"
        };
        println!(
            "{mark:<10} status {}, age {} s, fresh for {} s, {} bytes",
            variant["status"], variant["age"], variant["ttl"], variant["bytes"]
        );
        println!(
            "{:<10} stale-while-revalidate for {} s, stale-if-error for {} s",
            "", variant["stale_while_revalidate"], variant["stale_if_error"]
        );
        for form in variant["encodings"].as_array().into_iter().flatten() {
            let coding = form["coding"].as_str().unwrap_or_default();
            println!("{:<10} stored as {coding} too, {} bytes", "", form["bytes"]);
        }
    }
    Ok(End::Done)
}
