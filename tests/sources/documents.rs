//! The documents agree with the code: every directive and every variable is described with its contexts and
//! its default, and every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use swrcache::engine::policy::{Directives, IgnoreFields, Policy, UseStale};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Collects every file below a folder whose name ends like this.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let is_ours = !["target", "build", "node_modules"].contains(&&*name);
        if path.is_dir() && is_ours && (!name.starts_with('.') || name == ".github") {
            files(&path, end, found);
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
}

/// The source file of the module that contains `mark`.
fn source_of(mark: &str) -> String {
    let mut all = Vec::new();
    files(&root().join("src/nginx/src"), ".rs", &mut all);
    let texts = all
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"));
    texts.filter(|text| text.contains(mark)).collect()
}

const COMMANDS: &str = "static COMMANDS: Commands = Commands([";

// ------------------------------------------------------------------------------------------------------------ directives

/// A directive in the module's table.
struct Directive<'a> {
    name: &'a str,
    /// Its name in the engine, if the engine parses its arguments.
    own: Option<&'a str>,
    contexts: Vec<&'static str>,
}

/// The first quoted text, and the rest after it.
fn quoted(text: &str) -> (&str, &str) {
    let (_, rest) = text.split_once('"').expect("a string");
    rest.split_once('"').expect("its end")
}

/// nginx's flag for each context, and the name of the context.
const CONTEXTS: [(&str, &str); 3] = [
    ("NGX_HTTP_MAIN_CONF", "http"),
    ("NGX_HTTP_SRV_CONF", "server"),
    ("NGX_HTTP_LOC_CONF", "location"),
];

fn directives(source: &str) -> Vec<Directive<'_>> {
    let (_, table) = source.split_once(COMMANDS).expect("the table");
    let (table, _) = table.split_once("ngx_command_t::empty()").expect("its end");
    let macros = ["location!(", "engine!(", "command!("];
    let mut found = Vec::new();
    for (at, _) in table.match_indices("!(") {
        let head = &table[..at + 2];
        let Some(which) = macros.iter().find(|m| head.ends_with(**m)) else {
            continue;
        };
        let (name, rest) = quoted(&table[at..]);
        let flags = rest.split(',').nth(1).expect("its contexts");
        let stands_in =
            |flag: &str| *which != "command!(" || flags.split('|').any(|f| f.trim() == flag);
        found.push(Directive {
            name,
            own: (*which == "engine!(").then(|| quoted(rest).0),
            contexts: CONTEXTS
                .iter()
                .filter(|(flag, _)| stands_in(flag))
                .map(|(_, name)| *name)
                .collect(),
        });
    }
    found
}

/// The sections of docs/directives.md: heading and text.
fn sections(document: &str) -> Vec<(&str, &str)> {
    let sections = document.split("\n## ").skip(1);
    sections
        .map(|s| s.split_once('\n').expect("more than a heading"))
        .collect()
}

/// The value of `- LABEL: ` in a section.
fn entry<'a>(section: (&str, &'a str), label: &str) -> &'a str {
    let mut lines = section.1.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("- {label}: ")));
    line.unwrap_or_else(|| panic!("{} has no {label}", section.0))
}

#[test]
fn the_document_of_directives_has_each_one_and_no_other() {
    let (source, document) = (source_of(COMMANDS), read("docs/directives.md"));
    let known: Vec<&str> = directives(&source).iter().map(|d| d.name).collect();
    let mut sorted = known.clone();
    sorted.sort_unstable();
    let described: Vec<&str> = sections(&document).iter().map(|(name, _)| *name).collect();
    assert!(
        known.len() > 30 && described == sorted,
        "in the code {sorted:?}\nin the document, which is in order, {described:?}"
    );
    let (contents, _) = document.split_once("\n## ").expect("sections");
    for name in known {
        assert!(
            contents.contains(&format!("(#{name})")),
            "{name} is not in the table of contents"
        );
    }
}

#[test]
fn each_directive_has_its_syntax_contexts_and_an_example() {
    let (source, document) = (source_of(COMMANDS), read("docs/directives.md"));
    let sections = sections(&document);
    for directive in directives(&source) {
        let name = directive.name;
        let section = *sections
            .iter()
            .find(|(heading, _)| *heading == name)
            .expect("a section");
        let syntax = entry(section, "Syntax").trim_matches('`');
        assert!(
            syntax.starts_with(name) && syntax.ends_with(';'),
            "{syntax}"
        );
        let contexts: Vec<String> = directive
            .contexts
            .iter()
            .map(|c| format!("`{c}`"))
            .collect();
        assert_eq!(entry(section, "Context"), contexts.join(", "), "{name}");
        assert!(entry(section, "Since").starts_with("0."), "{name}");
        let (_, example) = section
            .1
            .split_once("```nginx\n")
            .unwrap_or_else(|| panic!("{name} has no example"));
        assert!(
            example.contains(&format!("{name} ")) || example.contains(&format!("{name};")),
            "{name} is not in its example"
        );
    }
}

/// The policy that one directive makes, for comparison.
fn policy(own: &str, words: &str) -> Result<String, String> {
    let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
    let mut block = Directives::default();
    block.add(own, &words)?;
    let mut policy = block.policy();
    // Only the list of failures is compared: the default is not an explicit list.
    policy.use_stale = UseStale {
        written: false,
        ..policy.use_stale
    };
    Ok(format!("{policy:?}"))
}

#[test]
fn each_documented_default_is_that_of_the_code() {
    let (source, document) = (source_of(COMMANDS), read("docs/directives.md"));
    let default = Policy::default();
    assert!(default.valid.is_empty() && default.ignore == IgnoreFields::NONE);
    for directive in directives(&source) {
        let name = directive.name;
        let section = *sections(&document)
            .iter()
            .find(|(heading, _)| *heading == name)
            .expect("a section");
        let documented = entry(section, "Default").trim_matches('`');
        if documented == "—" {
            let is_empty = matches!(directive.own, None | Some("valid" | "ignore_headers"));
            assert!(is_empty, "{name} has a default");
            continue;
        }
        let words = documented
            .strip_prefix(name)
            .and_then(|rest| rest.strip_suffix(';'));
        let words = words
            .unwrap_or_else(|| panic!("{name}: {documented}"))
            .trim();
        match (directive.own, words) {
            (Some(own), _) => assert_eq!(
                policy(own, words),
                Ok(format!("{default:?}")),
                "{documented}"
            ),
            (None, "off") => {}
            (None, text) => assert!(
                !source_of(&format!("\"{text}\"")).is_empty(),
                "{documented}"
            ),
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- variables

#[test]
fn the_document_of_variables_has_each_one_and_no_other() {
    let (source, document) = (source_of("const VARIABLES:"), read("docs/variables.md"));
    let (_, table) = source.split_once("const VARIABLES:").expect("the table");
    let (table, _) = table.split_once("\n];").expect("its end");
    let known: BTreeSet<&str> = table
        .split('"')
        .filter(|name| name.starts_with("swr_"))
        .collect();
    let described: BTreeSet<&str> = sections(&document)
        .iter()
        .filter_map(|(name, _)| name.strip_prefix('$'))
        .collect();
    assert!(known.len() > 5, "{known:?}");
    assert_eq!(described, known);
    for name in known {
        assert!(
            document.contains(&format!("| [`${name}`](#{name}) |")),
            "{name} is not in the table"
        );
    }
}

// ---------------------------------------------------------------------------------------------------------------- targets

/// The targets named in lines that begin with `make`.
fn targets(text: &str) -> BTreeSet<&str> {
    let commands = text
        .lines()
        .map(|line| line.trim().trim_start_matches("- run: "));
    let made = commands.filter_map(|line| line.strip_prefix("make "));
    made.map(|target| target.split('#').next().unwrap_or_default().trim())
        .collect()
}

#[test]
fn hosted_ci_makes_what_ci_makes() {
    let (run, hosted) = (read(".ci/run"), read(".github/workflows/ci.yml"));
    let (_, list) = hosted.split_once("target: [").expect("its targets");
    let (list, _) = list.split_once(']').expect("their end");
    let mut made = targets(&hosted);
    assert!(made.remove("${{ matrix.target }}"), "{made:?}");
    made.extend(list.split(',').map(str::trim));
    assert_eq!(made, targets(&run));
    assert!(targets(&read("README.md")).contains("test"));
}

// ----------------------------------------------------------------------------------------------------------------- links

/// All documents below the root.
fn documents() -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(root(), ".md", &mut all);
    all
}

/// A document without its code blocks.
fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2);
    outside.collect()
}

/// The targets of its links, outside of code.
fn links(text: &str) -> Vec<String> {
    let prose: String = prose(text).split('`').step_by(2).collect();
    let after = prose.split("](").skip(1);
    after
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors of its headings, as GitHub generates them.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let all = documents();
    assert!(all.len() > 12, "{all:?}");
    let mut broken = Vec::new();
    let mut looked_at = 0;
    for document in &all {
        let text = fs::read_to_string(document).expect("a document");
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            looked_at += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("a folder").join(path),
            };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&target).expect("a document")).contains(anchor));
            if !is_there {
                broken.push(format!(
                    "{}: {link}",
                    document.strip_prefix(root()).expect("ours").display()
                ));
            }
        }
    }
    assert!(
        broken.is_empty() && looked_at > 50,
        "{looked_at} links; {broken:#?}"
    );
}

#[test]
fn links_and_anchors_are_found() {
    let text =
        "# A `b`: c?\n[x](y.md#z) `[no](link)` [`code`](#a-b-c)\n```\n[no](link)\n# no\n```\n";
    assert_eq!(links(text), ["y.md#z", "#a-b-c"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c".to_owned()]));
}

/// Documents name the files of the project by their paths from the root.
#[test]
fn every_path_that_a_document_names_is_there() {
    let mut gone = Vec::new();
    let mut looked_at = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).expect("a document"));
        let names = text.split('`').skip(1).step_by(2);
        let folders = [
            "src/",
            "docs/",
            "tests/",
            "scripts/",
            "bench/",
            "nginx-conf/",
            "examples/",
            "fuzz/",
            "packaging/",
        ];
        for name in names.filter(|name| folders.iter().any(|folder| name.starts_with(folder))) {
            looked_at += 1;
            let path = name.split([' ', ':']).next().unwrap_or_default();
            if !root().join(path).exists() {
                gone.push(format!(
                    "{}: {name}",
                    document.strip_prefix(root()).expect("ours").display()
                ));
            }
        }
    }
    assert!(
        gone.is_empty() && looked_at > 50,
        "{looked_at} paths; {gone:#?}"
    );
}

/// The directives of this module in a text, without comments, blanks made one.
fn own_lines(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default());
    let statements: String = code
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join(" ");
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    statements
        .split([';', '{', '}'])
        .map(words)
        .filter(|line| line.starts_with("swr_"))
        .collect()
}

/// A page of the cookbook shows lines of the configurations that it names, and no others.
#[test]
fn the_cookbook_says_what_the_configurations_say() {
    let mut pages = Vec::new();
    files(&root().join("docs/cookbook"), ".md", &mut pages);
    let mut looked_at = 0;
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        let linked = links(&text);
        let files = linked
            .iter()
            .filter_map(|link| link.rsplit_once("nginx-conf/"));
        let known: BTreeSet<String> = files
            .flat_map(|(_, name)| own_lines(&read(&format!("nginx-conf/{name}"))))
            .collect();
        if known.is_empty() {
            continue;
        }
        let blocks = text.split("```nginx\n").skip(1);
        let shown = blocks.filter_map(|rest| Some(own_lines(rest.split_once("```")?.0)));
        for line in shown.flatten() {
            looked_at += 1;
            assert!(known.contains(&line), "{}: {line}", page.display());
        }
    }
    assert!(looked_at > 50, "{looked_at} lines");
}
