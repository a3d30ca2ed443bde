//! `include/swrcache.h` is what cbindgen generates from src/ffi, and agrees with the Rust code.
#![cfg(feature = "ffi")]

mod generate;

use std::fs;
use std::path::{Path, PathBuf};

use self::generate::generated;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> PathBuf {
    root().join("include/swrcache.h")
}

/// With `SWRCACHE_WRITE_HEADER=1`, writes the header instead (`make header`).
#[test]
fn the_committed_header_is_what_the_source_says() {
    let generated = generated();
    if std::env::var_os("SWRCACHE_WRITE_HEADER").is_some() {
        fs::write(header(), &generated).expect("written");
    }
    let committed = fs::read_to_string(header()).expect("include/swrcache.h");
    assert!(
        committed == generated,
        "include/swrcache.h is not what src/ffi says; `make header` writes it"
    );
}

/// The comment of every function says what it does, and contains no Rust syntax.
#[test]
fn every_function_is_documented_for_c() {
    let text = fs::read_to_string(header()).expect("include/swrcache.h");
    let functions: Vec<usize> = text
        .match_indices("swrcache_")
        .map(|(at, _)| at)
        .filter(|at| text[..*at].lines().last().is_some_and(is_signature))
        .filter(|at| {
            text[*at..]
                .split_once('(')
                .is_some_and(|(name, _)| !name.contains(char::is_whitespace))
        })
        .collect();
    assert!(functions.len() > 35, "{}", functions.len());
    for at in functions {
        let line = text[..at].rfind('\n').unwrap_or(0);
        let before = text[..line].trim_end();
        let name = text[at..].split('(').next();
        assert!(before.ends_with("*/"), "{name:?} has no comment");
    }
    for rust in ["Option<", "usize", "`None`", "&mut"] {
        assert!(!text.contains(rust), "{rust} in the header");
    }
}

fn is_signature(start: &str) -> bool {
    ["int ", "void ", "const char *", "uint32_t "].contains(&start)
}

fn bindings() -> String {
    bindgen::Builder::default()
        .header(header().to_str().expect("a path").to_owned())
        .allowlist_item("swrcache_.*|SWRCACHE_.*")
        .size_t_is_usize(true)
        .layout_tests(false)
        .prepend_enum_name(false)
        .generate()
        .expect("bindings")
        .to_string()
}

macro_rules! structs {
    ($($c:literal = $rust:ident { $($member:ident),* $(,)? },)*) => {
        vec![$(($c, size_of::<swrcache::ffi::$rust>(), vec![$(stringify!($member)),*]
            .into_iter().zip([$(std::mem::offset_of!(swrcache::ffi::$rust, $member)),*]).collect::<Vec<_>>()),)*]
    };
}

type Layout = (&'static str, usize, Vec<(&'static str, usize)>);

fn layouts() -> Vec<Layout> {
    structs! {
        "swrcache_field" = Field { name, name_len, value, value_len },
        "swrcache_options" = Options { struct_size, memory, processes, size, max_object, path, clock, clock_user },
        "swrcache_statistics" = Statistics {
            struct_size, size, capacity, used, payload, objects, inserted, evictions, expired, refused, processes,
            reaped, max_object, hits, misses, bypasses, expireds, stales, updatings, revalidateds, waits, fetches,
            refreshes, failures, queued, queue_refused, purged, refreshing,
            waited, collapsed, refresh_modified, refresh_not_modified, refresh_failed, refresh_deferred, origin_requests,
            origin_bytes, saved_requests, saved_bytes,
        },
        "swrcache_request" = Request {
            struct_size, method, key, key_len, fields, field_count, flags, turn, origin, target, user,
        },
        "swrcache_decision" = Decision { struct_size, action, status, reason, reply, fetch, until, ticket },
        "swrcache_head" = Head {
            struct_size, status, cache_status, reason, fields, field_count, body_length, age, ttl, no_transform,
            reserved,
        },
        "swrcache_response" = Response {
            struct_size, status, flags, fields, field_count, shown, shown_count, request_time, failure, reserved,
        },
        "swrcache_refresher_options" = RefresherOptions { struct_size, threads, queue, carry, user },
        "swrcache_verdict" = Verdict {
            struct_size, storable, binds, reason, fresh_until, swr_until, sie_until, initial_age, lifetime,
        },
        "swrcache_validators" = Validators { struct_size, status, flags, etag, last_modified, date, length },
        "swrcache_range" = Range { first, length },
    }
}

/// The C compiler reports sizes and offsets, bindgen the constants.
#[test]
fn c_and_rust_agree_on_every_struct() {
    let mut program = String::from("#include <stddef.h>\n#include \"swrcache.h\"\n");
    program += &format!(
        "_Static_assert(SWRCACHE_NUL == {}u, \"SWRCACHE_NUL\");\n",
        swrcache::ffi::SWRCACHE_NUL
    );
    let mut structs = 0;
    for (name, size, members) in layouts() {
        structs += 1;
        program += &format!("_Static_assert(sizeof({name}) == {size}, \"{name}\");\n");
        for (member, offset) in members {
            program += &format!(
                "_Static_assert(offsetof({name}, {member}) == {offset}, \"{name}.{member}\");\n"
            );
        }
    }
    let text = fs::read_to_string(header()).expect("the header");
    let declared = text.matches("\ntypedef struct swrcache_").count() - 7;
    assert_eq!(
        declared, structs,
        "structs in the header that are not compared"
    );
    let file = std::env::temp_dir().join(format!("swrcache-layout-{}.c", std::process::id()));
    fs::write(&file, program).expect("written");
    for compiler in ["gcc", "clang"] {
        let status = std::process::Command::new(compiler)
            .args([
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pedantic",
                "-fsyntax-only",
                "-I",
            ])
            .arg(root().join("include"))
            .arg(&file)
            .status()
            .expect("a C compiler");
        assert!(status.success(), "{compiler} on {}", file.display());
    }
    fs::remove_file(&file).expect("removed");
}

/// The members that bindgen finds in C are those of Rust, in the same order.
#[test]
fn bindgen_reads_back_every_struct_and_constant() {
    let bindings = bindings();
    for (name, _, members) in layouts() {
        let (_, rest) = bindings
            .split_once(&format!("pub struct {name} {{"))
            .unwrap_or_else(|| panic!("{name} is not in the header"));
        let body = rest.split('}').next().unwrap_or_default();
        let read: Vec<&str> = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub "))
            .filter_map(|line| line.split(':').next())
            .collect();
        let ours: Vec<&str> = members.iter().map(|(member, _)| *member).collect();
        assert_eq!(read, ours, "{name}");
    }
    let constants = constants();
    assert!(constants.len() > 45, "{}", constants.len());
    for (name, value) in &constants {
        let prefix = format!("pub const {name}:");
        let line = bindings.lines().find(|line| line.starts_with(&prefix));
        let line = line.unwrap_or_else(|| panic!("{name} is not in the header"));
        let read = line
            .rsplit('=')
            .next()
            .map(|v| v.trim().trim_end_matches(';'));
        assert_eq!(read, Some(value.as_str()), "{name}");
    }
    let beside = ["SWRCACHE_H:", "SWRCACHE_NUL:"];
    let in_header = bindings
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter(|line| !beside.iter().any(|name| line.starts_with(name)))
        .count();
    assert_eq!(
        in_header,
        constants.len(),
        "constants that are not compared"
    );
}

macro_rules! constants {
    ($($name:ident),* $(,)?) => {
        vec![$((stringify!($name), (swrcache::ffi::$name as u64).to_string())),*]
    };
}

fn constants() -> Vec<(&'static str, String)> {
    constants![
        SWRCACHE_ABI_VERSION,
        SWRCACHE_OK,
        SWRCACHE_EINVAL,
        SWRCACHE_ESIZE,
        SWRCACHE_ESTATE,
        SWRCACHE_EBUSY,
        SWRCACHE_EAGAIN,
        SWRCACHE_EBROKEN,
        SWRCACHE_ENOSPC,
        SWRCACHE_ETOOLARGE,
        SWRCACHE_EFULL,
        SWRCACHE_EREGION,
        SWRCACHE_ESYS,
        SWRCACHE_EUNSUPPORTED,
        SWRCACHE_EPANIC,
        SWRCACHE_EPOISONED,
        SWRCACHE_ERANGE,
        SWRCACHE_ETIMEDOUT,
        SWRCACHE_EOUTGROWN,
        SWRCACHE_ENOMEM,
        SWRCACHE_ENOTSTORED,
        SWRCACHE_LOG_ERROR,
        SWRCACHE_LOG_NOTICE,
        SWRCACHE_STATS_JSON,
        SWRCACHE_STATS_PROMETHEUS,
        SWRCACHE_STATS_HTML,
        SWRCACHE_MAX_PROCESSES,
        SWRCACHE_PRIVATE,
        SWRCACHE_SHARED,
        SWRCACHE_FILE,
        SWRCACHE_PURGE_KEY,
        SWRCACHE_PURGE_PREFIX,
        SWRCACHE_PURGE_TAG,
        SWRCACHE_PURGE_ALL,
        SWRCACHE_PURGE_SOFT,
        SWRCACHE_BYPASS,
        SWRCACHE_NO_CACHE,
        SWRCACHE_NO_REFRESH,
        SWRCACHE_FIRST,
        SWRCACHE_WAITED,
        SWRCACHE_TIMED_OUT,
        SWRCACHE_PASS,
        SWRCACHE_SERVE,
        SWRCACHE_WAIT,
        SWRCACHE_FETCH,
        SWRCACHE_GATEWAY_TIMEOUT,
        SWRCACHE_STATUS_NONE,
        SWRCACHE_STATUS_HIT,
        SWRCACHE_STATUS_MISS,
        SWRCACHE_STATUS_BYPASS,
        SWRCACHE_STATUS_EXPIRED,
        SWRCACHE_STATUS_STALE,
        SWRCACHE_STATUS_UPDATING,
        SWRCACHE_STATUS_REVALIDATED,
        SWRCACHE_DO_STORE,
        SWRCACHE_DO_REPLY,
        SWRCACHE_DO_RELAY,
        SWRCACHE_DO_NOTHING,
        SWRCACHE_DO_GATEWAY_TIMEOUT,
        SWRCACHE_DO_ASK_AGAIN,
        SWRCACHE_FAIL_ERROR,
        SWRCACHE_FAIL_TIMEOUT,
        SWRCACHE_FAIL_INVALID,
        SWRCACHE_FAIL_ABORTED,
        SWRCACHE_PHASE_FRESH,
        SWRCACHE_PHASE_SWR,
        SWRCACHE_PHASE_SIE,
        SWRCACHE_PHASE_TOO_OLD,
        SWRCACHE_ANSWER_FULL,
        SWRCACHE_ANSWER_PARTIAL,
        SWRCACHE_ANSWER_NOT_MODIFIED,
        SWRCACHE_ANSWER_PRECONDITION_FAILED,
        SWRCACHE_ANSWER_UNSATISFIABLE,
    ]
}

/// Each function with the comment above it.
fn functions() -> Vec<(String, String)> {
    let text = fs::read_to_string(header()).expect("the header");
    let mut all = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        let name = line
            .split(['(', '*', ' '])
            .find(|word| word.starts_with("swrcache_"));
        match (line.get(..3), name) {
            (Some("/**"), _) => comment.clear(),
            (Some(" * "), _) => comment.push_str(line),
            (Some("int" | "voi" | "uin" | "con"), Some(name)) => {
                all.push((name.to_owned(), std::mem::take(&mut comment)));
            }
            _ => {}
        }
    }
    all
}

#[test]
fn every_function_tells_of_threads_null_and_errors() {
    let functions = functions();
    assert!(functions.len() > 40, "{}", functions.len());
    for (name, comment) in &functions {
        let has = |words: &[&str]| words.iter().any(|word| comment.contains(word));
        assert!(
            has(&["hread"]),
            "{name} tells nothing of threads: {comment}"
        );
        let pointers = name != "swrcache_abi_version";
        assert!(has(&["NULL"]) || !pointers, "{name} tells nothing of NULL");
        let code = ["Returns", "Never NULL", "NULL is ignored"];
        assert!(has(&code) || !pointers, "{name} tells nothing of errors");
    }
}

/// `tests/c` calls every function, and each with a NULL if it takes a pointer.
#[test]
fn every_function_is_misused() {
    let files = fs::read_dir(root().join("tests/c")).expect("the program");
    let text: String = files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"))
        .collect();
    let nulls = text.split("\nvoid nulls(void)\n{").nth(1);
    let nulls = nulls.and_then(|rest| rest.split("\n}\n").next());
    let nulls = nulls.expect("the function");
    for (name, _) in functions() {
        let call = format!("{name}(");
        assert!(text.contains(&call), "{name} is not called");
        let takes_none = [
            "swrcache_abi_version",
            "swrcache_version",
            "swrcache_strerror",
            "swrcache_last_error",
            "swrcache_status_name",
        ];
        // Both lookups are called through one pointer.
        let both = name.starts_with("swrcache_lookup") && nulls.contains("lookup(NULL");
        let with_null = nulls
            .lines()
            .any(|line| line.contains(&call) && line.contains("NULL"));
        assert!(
            with_null || both || takes_none.contains(&&*name),
            "{name} is not called with a NULL"
        );
    }
}

/// Whether `text` contains `name` as a whole word.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[at + name.len()..].starts_with(is_part))
}

/// swrcache.hpp uses every function; tests/hosts runs the result.
#[test]
fn every_function_has_a_counterpart_in_cpp() {
    let text = fs::read_to_string(root().join("include/swrcache.hpp")).expect("the header");
    for (name, _) in functions() {
        assert!(has_word(&text, &name), "{name} is not in swrcache.hpp");
    }
}

/// Whether a parameter of a function is an output.
fn is_output(parameter: &str) -> bool {
    let points = parameter.matches('*').count();
    let is_input = parameter.contains("const ") && points == 1 || parameter.contains("void *");
    points > 0 && !is_input
}

#[test]
fn outputs_come_last() {
    let text = fs::read_to_string(header()).expect("the header");
    let prototypes = text.split("\n\n").filter(|item| item.ends_with(");"));
    let mut checked = 0;
    for prototype in prototypes.filter_map(|item| item.rsplit("*/\n").next()) {
        let Some((name, parameters)) = prototype.split_once('(') else {
            continue;
        };
        // The first parameter is the object that the function works on.
        let rest = parameters.split(',').skip(1).map(str::trim);
        let from_first = rest.skip_while(|parameter| !is_output(parameter));
        for parameter in from_first {
            let is_room = ["size_t size", "size_t capacity"].contains(&parameter);
            assert!(is_output(parameter) || is_room, "{name}: {parameter}");
        }
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}
