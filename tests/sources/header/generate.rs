//! Post-processes the output of cbindgen for src/ffi: constants that belong together become enums, and the
//! items are grouped by use.

use crate::root;

pub(crate) fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    // The modules are found from this file.
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/ffi/mod.rs"));
    let mut text = Vec::new();
    builder.generate().expect("a header").write(&mut text);
    let text = String::from_utf8(text).expect("text");
    // The other paragraphs tell C callers what the Rust section says.
    let mut kept = Vec::new();
    let mut skipping = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare == "* # Safety" {
            skipping = true;
            while kept.last().is_some_and(|l: &&str| l.trim() == "*") {
                kept.pop();
            }
        }
        skipping &= bare != "*/";
        if !skipping {
            kept.push(line.trim_end());
        }
    }
    sections(&enums(&(kept.join("\n") + "\n")))
}

/// The enum that each constant belongs to. Members and arguments that take it remain integers, so that a new
/// constant changes no size.
const ENUMS: [(&str, &[&str]); 13] = [
    ("code", &["OK", "E"]),
    ("memory_kind", &["PRIVATE", "SHARED", "FILE"]),
    ("purge_kind", &["PURGE_"]),
    ("todo", &["DO_"]),
    (
        "action",
        &["PASS", "SERVE", "WAIT", "FETCH", "GATEWAY_TIMEOUT"],
    ),
    ("cache_status", &["STATUS_"]),
    ("life_phase", &["PHASE_"]),
    ("answer", &["ANSWER_"]),
    ("request_flag", &["BYPASS", "NO_CACHE", "NO_REFRESH"]),
    ("turn", &["FIRST", "WAITED", "TIMED_OUT"]),
    ("failure", &["FAIL_"]),
    ("log_level", &["LOG_"]),
    ("stats_form", &["STATS_"]),
];

fn enum_of(constant: &str) -> Option<&'static str> {
    let name = constant.strip_prefix("SWRCACHE_")?;
    let begins = |start: &str| match start.ends_with('_') {
        true => name.starts_with(start),
        // Only the errors begin with E and have no underscore.
        false if start == "E" => name.starts_with('E') && !name.contains('_'),
        false => name == start,
    };
    let found = ENUMS
        .iter()
        .find(|(_, starts)| starts.iter().any(|start| begins(start)));
    found.map(|(name, _)| *name)
}

/// Makes enums of constants that belong together, for debuggers, `-Wswitch` and bindings; cbindgen exports
/// them as macros.
fn enums(text: &str) -> String {
    let mut out = String::new();
    let mut open = None;
    let mut comment = String::new();
    for line in text.lines() {
        let constant = line.strip_prefix("#define ");
        let constant = constant.and_then(|rest| rest.split_once(' '));
        let group = constant.and_then(|(name, _)| enum_of(name));
        if let (Some(group), Some((name, value))) = (group, constant) {
            if open != Some(group) {
                out += if open.is_some() { "\n};\n\n" } else { "" };
                out += &format!("enum swrcache_{group} {{\n");
            } else {
                out += ",\n";
            }
            open = Some(group);
            for line in std::mem::take(&mut comment).lines() {
                out += &format!("  {line}\n");
            }
            out += &format!("  {name} = {value}");
        } else if line.starts_with("/**") || line.starts_with(" *") {
            comment += &format!("{line}\n");
        } else if !(line.is_empty() && open.is_some()) {
            if open.take().is_some() {
                out += "\n};\n\n";
            }
            out += &std::mem::take(&mut comment);
            out += &format!("{line}\n");
        }
    }
    out
}

/// The order of the header, by use. A name that ends in `*` stands for all names with that prefix that are
/// not listed before.
const SECTIONS: &[(&str, &[&str])] = &[
    (
        "The library",
        &[
            "SWRCACHE_ABI_VERSION",
            "swrcache_abi_version",
            "swrcache_version",
        ],
    ),
    (
        "Errors, and what no return value tells",
        &[
            "swrcache_code",
            "swrcache_strerror",
            "swrcache_last_error",
            "swrcache_log_level",
            "swrcache_logger",
            "swrcache_log",
        ],
    ),
    (
        "A cache",
        &[
            "swrcache_memory_kind",
            "SWRCACHE_MAX_PROCESSES",
            "swrcache_clock",
            "swrcache_options",
            "swrcache_open",
            "swrcache_after_fork",
            "swrcache_close",
            "swrcache_now",
            "swrcache_tidy",
        ],
    ),
    (
        "A policy",
        &[
            "swrcache_policy_new",
            "swrcache_policy_set",
            "swrcache_policy_*",
            "swrcache_policy_free",
        ],
    ),
    (
        "A request, and what to do with it",
        &[
            "swrcache_field",
            "swrcache_request_flag",
            "swrcache_turn",
            "swrcache_request",
            "swrcache_action",
            "swrcache_cache_status",
            "swrcache_decision",
            "swrcache_lookup",
            "swrcache_lookup_wait",
            "swrcache_wait",
            "swrcache_peek",
            "swrcache_status_name",
        ],
    ),
    (
        "An answer from the store",
        &[
            "swrcache_head",
            "swrcache_reply_head",
            "swrcache_reply_head_text",
            "swrcache_reply_*",
            "swrcache_reply_free",
        ],
    ),
    (
        "A fetch from the origin",
        &[
            "swrcache_fetch_request",
            "swrcache_fetch_fields",
            "swrcache_fetch_fields_text",
            "swrcache_fetch_key",
            "swrcache_fetch_is_refresh",
            "swrcache_failure",
            "swrcache_response",
            "swrcache_todo",
            "swrcache_fetch_respond",
            "swrcache_fetch_write",
            "swrcache_fetch_finish",
            "swrcache_fetch_fail",
            "swrcache_fetch_reply",
            "swrcache_fetch_stale",
            "swrcache_fetch_*",
            "swrcache_fetch_free",
        ],
    ),
    (
        "A request that the cache takes no part in",
        &["swrcache_passed", "swrcache_pass_status"],
    ),
    (
        "Waiting in an event loop",
        &[
            "swrcache_watch_new",
            "swrcache_watch_*",
            "swrcache_watch_free",
        ],
    ),
    (
        "Threads that fetch, for a server without an event loop",
        &[
            "swrcache_carry",
            "swrcache_refresher_options",
            "swrcache_refresher_new",
            "swrcache_refresher_*",
            "swrcache_refresher_free",
        ],
    ),
    (
        "Compressing stored responses once",
        &["swrcache_encode", "swrcache_encode_pending"],
    ),
    (
        "Storing and purging",
        &[
            "swrcache_store",
            "swrcache_purge_kind",
            "swrcache_purge",
            "swrcache_purger_new",
            "swrcache_purger_*",
            "swrcache_purger_free",
        ],
    ),
    (
        "Figures",
        &[
            "swrcache_statistics",
            "swrcache_stats",
            "swrcache_stats_form",
            "swrcache_sink",
            "swrcache_stats_text",
        ],
    ),
    (
        "The rules alone, for a server with storage of its own",
        &[
            "swrcache_verdict",
            "swrcache_judge",
            "swrcache_life_phase",
            "swrcache_phase",
            "swrcache_validators",
            "swrcache_answer",
            "swrcache_range",
            "swrcache_conditional",
        ],
    ),
];

/// The name that an item declares.
fn name_of(item: &str) -> &str {
    let declared = match item.strip_prefix("/**") {
        Some(comment) => comment.split_once("*/").map_or("", |(_, rest)| rest),
        // The members of an enum have comments of their own.
        None => item,
    };
    let words = declared.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let mut names =
        words.filter(|word| word.starts_with("swrcache_") || word.starts_with("SWRCACHE_"));
    names.next().unwrap_or_default()
}

/// Sorts the items into the order of [`SECTIONS`], each of which gets a title.
fn sections(text: &str) -> String {
    let blocks: Vec<&str> = text.split("\n\n").map(|b| b.trim_matches('\n')).collect();
    let is_item = |block: &&str| {
        let starts = ["/**\n", "enum ", "#define SWRCACHE_"];
        starts.iter().any(|start| block.starts_with(start))
    };
    let mut items: Vec<&str> = blocks.iter().copied().filter(is_item).collect();
    let first = blocks.iter().position(is_item).expect("an item");
    let mut out = blocks[..first].join("\n\n");
    out += "\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    for (title, names) in SECTIONS {
        out += &format!("/* {title}. */\n\n");
        let mut mine: Vec<(usize, &str)> = Vec::new();
        items.retain(|item| {
            let place = place(name_of(item), names);
            mine.extend(place.map(|place| (place, *item)));
            place.is_none()
        });
        mine.sort_by_key(|(place, _)| *place);
        for (_, item) in mine {
            out += &format!("{item}\n\n");
        }
    }
    let left: Vec<&str> = items.iter().map(|item| name_of(item)).collect();
    assert!(left.is_empty(), "in no section: {left:?}");
    out + "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
}

/// The position of a name in a section.
fn place(name: &str, names: &[&str]) -> Option<usize> {
    let exact = names.iter().position(|known| *known == name);
    exact.or_else(|| {
        names.iter().position(|known| {
            known
                .strip_suffix('*')
                .is_some_and(|start| name.starts_with(start))
        })
    })
}
