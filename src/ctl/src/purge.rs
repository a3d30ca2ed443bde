//! Purging, on one server or several.

use serde_json::{Map, Value, json};
use swrcache::engine::text::one_line;

use crate::arguments::{Purge, What};
use crate::client::Location;
use crate::{End, Ended};

/// The body that the purge API takes.
pub(crate) fn body(what: &What) -> String {
    let mut members = Map::new();
    let lists = [
        ("urls", &what.urls),
        ("tags", &what.tags),
        ("prefixes", &what.prefixes),
        ("hosts", &what.hosts),
        ("keys", &what.keys),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        members.insert(name.to_owned(), json!(list));
    }
    let flags = [
        ("all", what.all),
        ("soft", what.soft),
        ("refresh", what.refresh),
    ];
    for (name, _) in flags.into_iter().filter(|(_, is)| *is) {
        members.insert(name.to_owned(), json!(true));
    }
    Value::Object(members).to_string()
}

pub(crate) fn run(purge: &Purge, json: bool) -> Ended {
    let body = body(&purge.what);
    let mut answers = Vec::new();
    let mut end = End::Done;
    for node in &purge.nodes.nodes {
        let answer = Location::new(node)
            .post(&body)
            .and_then(|answer| answer.with("purged", "swr_cache_purge"));
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
        Some(why) => eprintln!("{node}: {}", one_line(why)),
        None => {
            let done = done(said["soft"] == true);
            println!("{node}: {} {done}", said["purged"]);
            if let Some(warning) = said["warning"].as_str() {
                eprintln!("{node}: {}", one_line(warning));
            }
        }
    }
}

/// What has become of what was found.
pub(crate) fn done(softly: bool) -> &'static str {
    match softly {
        true => "made stale",
        false => "purged",
    }
}
