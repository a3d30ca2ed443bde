//! docs/http.md names the code that implements each rule and the tests that cover it: all of these exist.

use std::fs;
use std::path::Path;

/// The text of the file that a path in the table names.
fn file(path: &str) -> String {
    let root = match path.split('/').next() {
        Some("http" | "engine") => "src/",
        Some("timeline" | "e2e") => "tests/",
        _ => "",
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{root}{path}"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of the tests in a file.
fn tests(text: &str) -> Vec<&str> {
    text.split("#[test]")
        .skip(1)
        .filter_map(|after| after.split_once("fn ")?.1.split_once('('))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn the_table_of_rules_holds() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md"));
    let table = table.expect("docs/http.md");
    let mut rules = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [rule, code, held] = cells[..] else {
            panic!("not three cells: {row}");
        };
        if rule == "rule" {
            continue;
        }
        rules += 1;
        for path in code.split_whitespace() {
            file(path.trim_matches('`'));
        }
        for part in held.split('·') {
            let mut words = part.split_whitespace();
            let path = words.next().expect("a file").trim_matches('`');
            let text = file(path);
            let there = tests(&text);
            let mut named = 0;
            for name in words {
                assert!(there.contains(&name), "{path} has no test {name}: {rule}");
                named += 1;
            }
            assert!(named > 0, "no test of {path}: {rule}");
        }
    }
    assert!(rules > 40, "{rules} rules");
}
