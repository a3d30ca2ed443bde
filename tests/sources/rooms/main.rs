//! Each room uses only what it may (see the crate's documentation).

use std::fs;
use std::path::{Path, PathBuf};

mod graph;
mod toolchain;

use graph::{Room, code};

/// The rooms whose files form no cycle and in which a type's `impl` is in the type's own file, with the path of each
/// from its crate's root.
const LAYERED: &[(&str, &str)] = &[
    ("src/http", "http"),
    ("src/store", "store"),
    ("src/engine", "engine"),
    ("src/ffi", "ffi"),
    ("src/nginx/src", ""),
    ("src/ctl/src", ""),
];

/// The floors of a room, from the top down: none uses a higher one. Those in one line stand beside each other.
const FLOORS: &[(&str, &str, &[&[&str]])] = &[
    (
        "src/store",
        "store",
        &[
            &["region"],
            &["handle"],
            &["upkeep"],
            &["index"],
            &["process"],
            &["memory"],
        ],
    ),
    (
        "src/nginx/src",
        "",
        &[
            &["tables", "module", "directives", "filters", "phases"],
            &["api"],
            &["client"],
            &["fetch"],
            &["worker", "config"],
            &["sys"],
        ],
    ),
];

/// A room, and the words that its code may not contain.
const RULES: &[(&str, &[&str])] = &[
    (
        "src/http",
        &[
            "unsafe ",
            "crate::store",
            "crate::engine",
            "SystemTime::now",
            "Instant::",
            "std::fs",
            "std::net",
            "libc::",
            "std::thread",
        ],
    ),
    (
        "src/store",
        &[
            "crate::http",
            "crate::engine",
            "SystemTime",
            "Instant::now",
            "httpdate",
            "Cache-Control",
        ],
    ),
    (
        "src/engine",
        &[
            "unsafe ",
            "SystemTime",
            "Instant::",
            "std::fs",
            "std::net",
            "libc::",
            "nginx_sys",
            "c_int",
            "c_char",
            "std::thread",
        ],
    ),
    (
        "src/ffi",
        &[
            "max-age",
            "s-maxage",
            "must-revalidate",
            "no-store",
            "stale-while-revalidate",
        ],
    ),
    (
        "src/nginx/src",
        &[
            "max-age",
            "s-maxage",
            "must-revalidate",
            "SystemTime",
            "Instant::now",
        ],
    ),
];

/// The modules of `engine` and `http` that may declare what the C library uses: what the engine decides, and the rules that C programs
/// get as they are (`swrcache_conditional` and its like). Those of `http` that judge how fresh a response is, or whether it may be stored,
/// are not among them.
const FOR_C: &[&str] = &[
    "engine",
    "engine::assess",
    "engine::cache",
    "engine::cache_status",
    "engine::decide::decision",
    "engine::decide::reply",
    "engine::encode::coding",
    "engine::encode::queue",
    "engine::fetch",
    "engine::fetch::outcome",
    "engine::phase",
    "engine::policy",
    "engine::policy::set",
    "engine::purge",
    "engine::purge::invalidation",
    "engine::purge::mode",
    "engine::request",
    "engine::stats",
    "engine::stats::count",
    "engine::stats::page",
    "engine::stats::prometheus",
    "engine::stats::survey",
    "engine::stats::tree",
    "engine::verdict",
    "http",
    "http::conditional",
    "http::date",
    "http::fields",
    "http::hop_by_hop",
    "http::range",
    "http::syntax",
];

/// Exceptions: how long to wait for a lock, and how long a task may run, are not questions of freshness.
const EXCEPT: &[(&str, &str)] = &[
    ("src/store/memory/platform.rs", "Instant::now"),
    ("src/store/memory/crash.rs", "Instant::now"),
    ("src/nginx/src/worker/background_job.rs", "Instant::now"),
    ("src/nginx/src/api/statistics.rs", "Instant::now"),
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries
        .map(|entry| entry.expect("a directory entry").path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn no_room_reaches_where_it_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (room, forbidden) in RULES {
        for path in files(&root.join(room)) {
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains("test"))
            {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&path).expect("a readable source file");
            for (number, line) in code(&text) {
                let excepted = |word: &str| {
                    EXCEPT
                        .iter()
                        .any(|(file, allowed)| path.ends_with(file) && *allowed == word)
                };
                for word in forbidden
                    .iter()
                    .filter(|word| line.contains(**word) && !excepted(word))
                {
                    wrong.push(format!(
                        "{}:{}: {word:?} in: {}",
                        path.display(),
                        number,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(seen > 40, "only {seen} files found");
    assert!(
        wrong.is_empty(),
        "a room reaches where it may not:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn rooms_without_unsafe_forbid_it() {
    for room in ["src/http/mod.rs", "src/engine/mod.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(room))
            .expect("a readable file");
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{room} does not forbid unsafe code"
        );
    }
}

fn room(dir: &str, name: &str) -> Room {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let is_test = |path: &PathBuf| path.ends_with("tests.rs");
    let files = files(&root).into_iter().filter(|path| !is_test(path));
    let named = files.map(|path| {
        let text = fs::read_to_string(&path).expect("a readable source file");
        let path = path.strip_prefix(&root).expect("a path in the room");
        (path.to_string_lossy().into_owned(), text)
    });
    Room::new(name, named)
}

#[test]
fn no_files_of_a_room_use_each_other_in_a_circle() {
    for (dir, name) in LAYERED {
        let room = room(dir, name);
        let arrows: usize = room.arrows().values().map(|to| to.len()).sum();
        assert!(arrows > 20, "{dir}: only {arrows} arrows found");
        let circle = room.circle().map(|circle| {
            let modules = circle.iter().map(|module| module.join("::"));
            modules.collect::<Vec<_>>().join(" -> ")
        });
        assert_eq!(circle, None, "{dir}");
    }
}

#[test]
fn an_impl_stands_in_the_file_of_its_type() {
    for (dir, name) in LAYERED {
        assert_eq!(room(dir, name).strays(), Vec::<String>::new(), "{dir}");
    }
}

#[test]
fn no_floor_uses_a_higher_one() {
    for (dir, name, floors) in FLOORS {
        let floor = |module: &[String]| {
            let first = module.first().map_or("", String::as_str);
            floors.iter().position(|beside| beside.contains(&first))
        };
        let arrows = room(dir, name).arrows();
        let placed = arrows.keys().filter(|module| floor(module).is_some());
        assert!(placed.count() > 20, "{dir}: the floors are elsewhere");
        for (from, to) in arrows {
            for to in to {
                if let (Some(own), Some(other)) = (floor(&from), floor(&to)) {
                    let (from, to) = (from.join("::"), to.join("::"));
                    assert!(own <= other, "{dir}: {from} uses {to}");
                }
            }
        }
    }
}

/// Each file of a room, with the modules of other rooms that declare what it uses, except those that are allowed.
fn reaches(room: &Room, others: &[(&str, Room)], allowed: &[&str]) -> Vec<String> {
    let mut reaches = Vec::new();
    for (file, paths) in room.ways_out() {
        for path in paths {
            let declares = |(name, other): &(&str, Room)| {
                let module = other.declares(&path)?;
                Some([&[(*name).to_owned()], &module[..]].concat().join("::"))
            };
            let module = others.iter().find_map(declares);
            if let Some(module) = module.filter(|module| !allowed.contains(&module.as_str())) {
                reaches.push(format!("{} uses {module}", file.join("::")));
            }
        }
    }
    reaches
}

/// The rooms that know what HTTP is.
fn rooms_of_rules() -> [(&'static str, Room); 2] {
    ["http", "engine"].map(|name| (name, room(&format!("src/{name}"), name)))
}

#[test]
fn the_c_library_decides_nothing() {
    let (ffi, rooms) = (room("src/ffi", "ffi"), rooms_of_rules());
    assert_eq!(reaches(&ffi, &rooms, FOR_C), Vec::<String>::new());
    let used = reaches(&ffi, &rooms, &[]);
    let is_used = |module: &str| {
        used.iter()
            .any(|line| line.ends_with(&format!(" {module}")))
    };
    let unused: Vec<_> = FOR_C.iter().filter(|module| !is_used(module)).collect();
    assert!(unused.is_empty(), "not used any more: {unused:?}");
}

#[test]
fn a_planted_decision_is_found() {
    let rooms = rooms_of_rules();
    for text in [
        "use crate::http::freshness;\n",
        "use crate::http::{Fields, freshness::lifetime};\n",
        "fn f() { crate::engine::storability::f() }\n",
        "use crate::engine;\nfn f() { engine::record::f() }\n",
        "use crate::http;\nfn f() { http::cache_control::f() }\n",
    ] {
        let room = made_up(&[("a.rs", text)]);
        assert_eq!(reaches(&room, &rooms, FOR_C).len(), 1, "{text}");
    }
}

fn made_up(files: &[(&str, &str)]) -> Room {
    let files = files
        .iter()
        .map(|(path, text)| (path.to_string(), text.to_string()));
    Room::new("made", files)
}

#[test]
fn a_planted_circle_is_found() {
    let face = ("mod.rs", "mod a;\nmod low;\npub use a::A;\n");
    let low = ("low/mod.rs", "pub(crate) mod b;\npub(crate) mod c;\n");
    let b = ("low/b.rs", "use super::c::C;\npub(crate) struct B(C);\n");
    let good = [
        face,
        low,
        (
            "a.rs",
            "use crate::made::low::{b::B, c::{C}};\npub struct A(B, C);\n",
        ),
        b,
        (
            "low/c.rs",
            "pub(crate) struct C;\n#[cfg(test)]\nmod tests {\n    use crate::made::A;\n}\n",
        ),
    ];
    assert_eq!(made_up(&good).circle(), None);
    for c in [
        "use crate::made::A;\npub(crate) struct C;\n",
        "use super::b::B;\npub(crate) struct C;\n",
        "use super::super::a::A;\npub(crate) struct C;\n",
        "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n\npub(crate) fn c() -> crate::made::A {}\n",
        "// use nothing\npub(crate) fn c() { super::b::f() }\n",
    ] {
        let mut files = good;
        files[4].1 = c;
        assert!(made_up(&files).circle().is_some(), "{c}");
    }
}

#[test]
fn a_planted_impl_is_found() {
    let own = (
        "a.rs",
        "pub struct A<'a>(&'a u8);\nimpl<'a> A<'a> {}\nimpl Drop for A<'_> {}\n",
    );
    assert!(made_up(&[own]).strays().is_empty());
    let other = (
        "b.rs",
        "use super::a::A;\nstruct Ab;\nimpl<'a> A<'a> {}\nimpl Ab {}\n",
    );
    assert_eq!(made_up(&[own, other]).strays(), ["b: impl<'a> A<'a> {}"]);
}
