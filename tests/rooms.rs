//! Each room reaches only where it may (see the crate's documentation).

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and words that its code may not contain.
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

/// Where a word is right all the same: how long a lock is waited for, and how long a piece of work takes, is no matter of
/// freshness.
const EXCEPT: &[(&str, &str)] = &[
    ("src/store/memory/platform.rs", "Instant::now"),
    ("src/store/memory/crash.rs", "Instant::now"),
    ("src/nginx/src/errand.rs", "Instant::now"),
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

/// The lines of code of a file: no comments, and nothing from its unit tests on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.contains("#[cfg(test)]"));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
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
                        number + 1,
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
