//! Purging, on one server or several.

use serde_json::{Map, Value, json};

use crate::arguments::Purge;
use crate::client::Location;
use crate::{End, Ended};

/// The body that the purge API takes.
fn body(purge: &Purge) -> String {
    let mut members = Map::new();
    let lists = [
        ("urls", &purge.urls),
        ("tags", &purge.tags),
        ("prefixes", &purge.prefixes),
        ("hosts", &purge.hosts),
        ("keys", &purge.keys),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        members.insert(name.to_owned(), json!(list));
    }
    let flags = [
        ("all", purge.all),
        ("soft", purge.soft),
        ("refresh", purge.refresh),
    ];
    for (name, _) in flags.into_iter().filter(|(_, is)| *is) {
        members.insert(name.to_owned(), json!(true));
    }
    Value::Object(members).to_string()
}

pub(crate) fn run(purge: &Purge, json: bool) -> Ended {
    let body = body(purge);
    let mut answers = Vec::new();
    let mut end = End::Done;
    for node in &purge.nodes {
        let answer = Location::new(node)
            .post(&body)
            .and_then(|answer| answer.accepted())
            .and_then(|text| {
                let said = serde_json::from_str::<Value>(&text);
                said.map_err(|e| format!("the answer is not that of swr_cache_purge: {e}"))
            });
        let said = match answer {
            Ok(mut said) => {
                said["node"] = json!(node);
                said
            }
            Err(why) => {
                end = End::Partly;
                json!({ "node": node, "error": why })
            }
        };
        if !json {
            tell(node, &said);
        }
        answers.push(said);
    }
    if json {
        println!("{}", Value::Array(answers));
    }
    Ok(end)
}

fn tell(node: &str, said: &Value) {
    match said["error"].as_str() {
        Some(why) => eprintln!("{node}: {why}"),
        None => {
            let done = if said["soft"] == true {
                "made stale"
            } else {
                "purged"
            };
            println!("{node}: {} {done}", said["purged"]);
            if let Some(warning) = said["warning"].as_str() {
                eprintln!("{node}: {warning}");
            }
        }
    }
}
