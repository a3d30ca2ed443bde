//! Programs built with another version of the header: with structs that have one member less, or one more.

use std::fs;
use std::process::Command;

use crate::host::{folder, run};
use crate::support::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The header with another end of each struct that has a size. `change` is given the lines between its braces.
fn header(change: impl Fn(&mut Vec<&str>)) -> String {
    let text = fs::read_to_string(format!("{ROOT}/include/swrcache.h")).expect("the header");
    let mut changed = 0;
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\ntypedef struct swrcache_") {
        let (before, here) = rest.split_at(at + 1);
        out += before;
        let Some((head, tail)) = here.split_once(" {\n").filter(|(h, _)| !h.contains(';')) else {
            let (line, after) = here.split_once('\n').expect("a line");
            out += line;
            out.push('\n');
            // The line's end begins the next search.
            rest = after;
            continue;
        };
        let (body, after) = tail.split_once("\n} ").expect("the end of a struct");
        let mut lines: Vec<&str> = body.lines().collect();
        if body.contains("size_t struct_size;") {
            change(&mut lines);
            changed += 1;
        }
        out += &format!("{head} {{\n{}\n}} ", lines.join("\n"));
        rest = after;
    }
    assert_eq!(changed, 9, "structs with a size");
    out + rest
}

/// Builds tests/hosts/sizes.c with a header, and runs it.
fn works(header: &str, flags: &[&str]) {
    let folder = Folder::new();
    fs::write(folder.0.join("swrcache.h"), header).expect("written");
    let program = folder.0.join("sizes");
    run(Command::new("gcc")
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-I")
        .arg(&folder.0)
        .arg(format!("{ROOT}/tests/hosts/sizes.c"))
        .arg(self::folder().join("lib/libswrcache.a"))
        .args(["-o".as_ref(), program.as_os_str()])
        .args(["-lpthread", "-ldl", "-lm"]));
    run(&mut Command::new(program));
}

#[test]
fn structs_as_they_are() {
    works(&header(|_| {}), &[]);
}

#[test]
fn structs_with_one_member_less() {
    let last_off = |lines: &mut Vec<&str>| {
        let end = lines.iter().rposition(|line| line.trim() == "/**");
        lines.truncate(end.expect("a member with a comment"));
    };
    works(&header(last_off), &[]);
}

#[test]
fn structs_with_one_member_more() {
    works(
        &header(|lines| lines.push("  uint64_t added;")),
        &["-DADDED"],
    );
}
