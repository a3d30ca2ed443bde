//! Each configuration in a document passes `nginx -t`, in every context in which it may stand, and in no other; some are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::*;

/// A simple directive, or the head of a block.
#[derive(Debug, PartialEq)]
struct Statement {
    depth: usize,
    words: Vec<String>,
    opens: bool,
}

/// The statements of a configuration, in order.
fn statements(text: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut depth, mut words, mut word) = (0_usize, Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_empty() => drop(chars.by_ref().find(|c| *c == '\n')),
            '"' | '\'' if word.is_empty() => word.extend(chars.by_ref().take_while(|d| *d != c)),
            '{' if word.ends_with('$') => {
                word.push(c);
                word.extend(chars.by_ref().take_while(|d| *d != '}'));
                word.push('}');
            }
            ';' | '{' | '}' | ' ' | '\n' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if matches!(c, ';' | '{') {
                    let words = std::mem::take(&mut words);
                    found.push(Statement {
                        depth,
                        words,
                        opens: c == '{',
                    });
                }
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            c => word.push(c),
        }
    }
    found
}

/// Where a piece of configuration belongs, by what stands in it.
fn context(statements: &[Statement]) -> &'static str {
    let outermost = |names: &[&str]| {
        let mut top = statements.iter().filter(|s| s.depth == 0);
        top.any(|s| s.words.first().is_some_and(|w| names.contains(&&**w)))
    };
    let of_http = [
        "server",
        "upstream",
        "map",
        "geo",
        "log_format",
        "proxy_cache_path",
        "swr_cache_zone",
    ];
    match () {
        () if outermost(&["load_module", "events", "http"]) => "main",
        () if outermost(&of_http) => "http",
        () if outermost(&["location", "listen", "server_name"]) => "server",
        () => "location",
    }
}

/// What a piece names and does not declare: zones and upstreams.
fn missing(statements: &[Statement]) -> String {
    let declares = |head: &str, name: &str| {
        let named = |s: &&Statement| {
            s.words.first().is_some_and(|w| w == head)
                && s.words.iter().any(|w| w.starts_with(name))
        };
        statements.iter().any(|s| named(&s))
    };
    let mut lines = String::new();
    let mut declare = |head: &str, name: &str, line: String| {
        if !declares(head, name) && !lines.contains(&line) {
            lines += &line;
        }
    };
    for statement in statements {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        match words[..] {
            ["swr_cache", name] if name != "off" && !name.contains('$') => {
                declare(
                    "swr_cache_zone",
                    &format!("zone={name}:"),
                    format!("swr_cache_zone zone={name}:1m; "),
                );
            }
            ["swr_cache_purge", zone] => {
                declare(
                    "swr_cache_zone",
                    &format!("{zone}:"),
                    format!("swr_cache_zone {zone}:1m; "),
                );
            }
            ["proxy_pass", url] => {
                let host = url.split('/').nth(2).unwrap_or_default();
                if !host.contains(['.', ':', '$']) {
                    declare(
                        "upstream",
                        host,
                        format!("upstream {host} {{ server 127.0.0.1:9; }} "),
                    );
                }
            }
            _ => {}
        }
    }
    lines
}

/// The piece in a whole configuration, where nothing touches the machine outside of the test's folder.
fn whole(piece: &str, context: &str) -> Conf {
    let statements = statements(piece);
    let has = |name: &str| {
        statements
            .iter()
            .any(|s| s.words.first().is_some_and(|w| w == name))
    };
    let kept = piece.lines().filter(|line| {
        let first = line.split_whitespace().next();
        !matches!(
            first,
            Some("listen" | "load_module" | "ssl_certificate" | "ssl_certificate_key")
        )
    });
    let piece: String = kept.map(|line| format!("{line}\n")).collect();
    let piece = piece
        .replace("/var/cache/nginx/", "")
        .replace("/var/log/nginx/", "");
    let text = match context {
        "main" => piece,
        "http" => format!("http {{\n{piece}}}\n"),
        "server" => format!("http {{ server {{\n{piece}}} }}\n"),
        _ => format!("http {{ server {{ location / {{\n{piece}}} }} }}\n"),
    };
    let text = text.replace("server {", "server { listen 127.0.0.1:@port@; ");
    let events = if has("events") { "" } else { "events {}\n" };
    Conf::whole(&format!("{events}{text}"), &missing(&statements))
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

/// The pieces of configuration in a text.
fn pieces(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix("nginx\n"))
        .collect()
}

#[test]
fn documents_configurations_pass_the_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("README.md")];
    markdown(&root.join("docs"), &mut all);
    let mut checked = 0;
    for document in all {
        let text = fs::read_to_string(&document).expect("a document");
        for piece in pieces(&text) {
            let context = context(&statements(piece));
            if let Err(said) = whole(piece, context).check() {
                panic!("{} in {context}:\n{piece}{said}", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked} configurations");
}

/// docs/directives.md says where each directive may stand: its example may stand there, and nginx refuses it elsewhere.
#[test]
fn documents_contexts_are_those_of_nginx() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/directives.md"));
    let text = text.expect("the document");
    for section in text.split("\n## ").skip(1) {
        let (name, section) = section.split_once('\n').expect("a section");
        let (_, contexts) = section.split_once("- Context: ").expect("its contexts");
        let (contexts, _) = contexts.split_once('\n').expect("their end");
        let line = pieces(section)
            .into_iter()
            .flat_map(statements)
            .find(|s| s.words[0] == name);
        let line = line
            .unwrap_or_else(|| panic!("{name} has no example"))
            .words
            .join(" ");
        for context in ["http", "server", "location"] {
            let said = whole(&format!("{line};\n"), context).check();
            match contexts.contains(&format!("`{context}`")) {
                true => assert_eq!(said, Ok(()), "{line} in {context}"),
                false => assert!(
                    said.is_err_and(|said| said.contains("is not allowed here")),
                    "{line} in {context}"
                ),
            }
        }
    }
}

#[test]
fn documents_are_read_as_nginx_reads_them() {
    let text = "# a; b {\nmap $x $y { \"~^a;\" 1; }\nkey ${a}b c;\n";
    let found = statements(text);
    let words: Vec<String> = found
        .iter()
        .map(|s| format!("{} {}", s.depth, s.words.join("|")))
        .collect();
    assert_eq!(words, ["0 map|$x|$y", "1 ~^a;|1", "0 key|${a}b|c"]);
    assert_eq!(context(&found), "http");
    assert_eq!(
        pieces("a\n```nginx\nx;\n```\nb\n```sh\ny\n```\n\n```nginx\nz;\n```\n"),
        ["x;", "z;"]
    );
}

/// The first configuration of a page of the cookbook, in front of this origin.
fn cookbook(page: &str, origin: &Origin) -> Nginx {
    let path = format!("{}/docs/cookbook/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("a page");
    let piece = pieces(&text)[0].replace("http://app", &format!("http://{}", origin.addr));
    whole(&piece, context(&statements(&piece))).start()
}

#[test]
fn documents_over_proxy_cache() {
    let origin = Origin::start();
    // As if it had lain on the disk for so long.
    let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(100));
    let page = Reply::cached("max-age=600", "page");
    origin.on("/page", page.header("Date", &date));
    let control = "max-age=1, stale-while-revalidate=600";
    origin.script(
        "/soon",
        [
            Reply::cached(control, "old"),
            Reply::cached("max-age=600", "new"),
        ],
    );
    let nginx = cookbook("over-proxy-cache.md", &origin);
    nginx.get("/page").is(200, "MISS, MISS", "page");
    nginx.get("/page").is(200, "MISS, HIT", "page");
    let hit = nginx.get("/page");
    hit.is(200, "HIT, HIT", "page");
    let age: u64 = hit
        .header("Age")
        .and_then(|age| age.parse().ok())
        .expect("an age");
    assert!(age >= 100, "{hit:?}");
    assert_eq!(origin.hits("/page"), 1);

    // A refresh goes through the disk, whose copy is as old, to the origin; both have the new one then.
    nginx.get("/soon").is(200, "MISS, MISS", "old");
    eventually("the new page", || nginx.get("/soon").text() == "new");
    nginx.get("/soon").is(200, "HIT, HIT", "new");
    assert_eq!(origin.hits("/soon"), 2);
}

#[test]
fn documents_behind_a_cdn() {
    let origin = Origin::start();
    let page = Reply::cached("no-store", "page").header("Cache-Tag", "a b");
    origin.on(
        "/",
        page.header("Surrogate-Control", "max-age=60")
            .header("CDN-Cache-Control", "max-age=5"),
    );
    let nginx = cookbook("behind-a-cdn.md", &origin);
    for status in ["fwd=uri-miss", "hit"] {
        let response = nginx.get("/");
        assert!(
            response
                .header("Cache-Status")
                .is_some_and(|s| s.contains(status)),
            "{response:?}"
        );
        assert_eq!(response.all("Cache-Tag"), ["a b"]);
        assert_eq!(response.all("CDN-Cache-Control"), ["max-age=5"]);
        assert!(response.header("Surrogate-Control").is_none());
    }
}
