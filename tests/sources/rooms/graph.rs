//! Which files of a room use each other, as far as the text tells.

use std::collections::{BTreeMap, BTreeSet};

/// A module of a room, relative to the room: `["memory", "arena"]`; the room's own `mod.rs` is empty.
pub(crate) type Module = Vec<String>;

/// The files of a room, by module.
pub(crate) struct Room {
    /// The path of the room from the crate's root: `["store"]`.
    name: Vec<String>,
    files: BTreeMap<Module, String>,
    /// Where the re-exports (`pub use`) of a module lead, by module and name.
    faces: BTreeMap<(Module, String), Module>,
}

/// The lines of code of a file, numbered from 1, without comments and test modules.
pub(crate) fn code(text: &str) -> Vec<(usize, &str)> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut kept = Vec::new();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            skip_item(&mut lines, &line[..line.len() - trimmed.len()]);
        } else if !trimmed.starts_with("//") {
            kept.push((number, line));
        }
    }
    kept
}

/// Skips an item as rustfmt formats it: it ends on its first line, or with a brace at the same indentation.
fn skip_item<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>, indent: &str) {
    let mut item = lines.skip_while(|(_, line)| line.trim_start().starts_with(['#', '/']));
    let first = item.next().map_or("", |(_, line)| line);
    if !first.ends_with([';', '}']) {
        let end = format!("{indent}}}");
        item.find(|(_, line)| *line == end || line.starts_with(&format!("{end};")));
    }
}

impl Room {
    /// Makes a room of files, given by their paths relative to the room.
    pub(crate) fn new(name: &str, files: impl IntoIterator<Item = (String, String)>) -> Room {
        let module = |path: &str| -> Module {
            let path = path.trim_end_matches(".rs");
            let parts = path.split('/').filter(|part| *part != "mod");
            parts.map(str::to_owned).collect()
        };
        let text = |text: &str| {
            let code = code(text);
            code.iter().map(|(_, line)| format!("{line}\n")).collect()
        };
        let mut room = Room {
            name: name
                .split("::")
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect(),
            files: files
                .into_iter()
                .map(|(path, all)| (module(&path), text(&all)))
                .collect(),
            faces: BTreeMap::new(),
        };
        for at in room.files.keys().cloned().collect::<Vec<_>>() {
            for path in room.uses(&at, true) {
                let path = room.in_room(&at, &path);
                if let Some(path) = path
                    && let Some(name) = path.last().cloned()
                {
                    room.faces.insert((at.clone(), name), path);
                }
            }
        }
        room
    }

    /// The paths of a module's re-exports, or of its other `use` lines.
    fn uses(&self, at: &Module, face: bool) -> Vec<Vec<String>> {
        let text = &self.files[at];
        let mut paths = Vec::new();
        for (start, _) in text.match_indices("use ") {
            let line = text[..start].rfind('\n').map_or(0, |i| i + 1);
            let before = text[line..start].trim();
            let public = ["pub", "pub(crate)", "pub(super)"].contains(&before);
            if public == face && (public || before.is_empty()) {
                let end = text[start..].find(';').map_or(text.len(), |i| start + i);
                expand(&text[start + 4..end], &[], &mut paths);
            }
        }
        paths
    }

    /// A path relative to the room; `None` if it leads out of the room.
    fn in_room(&self, at: &Module, path: &[String]) -> Option<Module> {
        let mut here = at.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                rest = path[1..].strip_prefix(self.name.as_slice())?;
                here.clear();
            }
            "self" => rest = &path[1..],
            "super" => {
                while let [first, after @ ..] = rest
                    && first == "super"
                {
                    here.pop()?;
                    rest = after;
                }
            }
            first => {
                // A child of this module; anything else belongs to another crate, or was imported by a `use`.
                here.push(first.to_owned());
                self.files.get(&here)?;
                here.pop();
            }
        }
        here.extend(rest.iter().cloned());
        Some(here)
    }

    /// The module that declares what a path names.
    fn module_of(&self, path: &Module) -> Module {
        let mut path = path.clone();
        for _ in 0..16 {
            let known = (0..=path.len())
                .rev()
                .find(|n| self.files.contains_key(&path[..*n]));
            let known = known.unwrap_or(0);
            let module = path[..known].to_vec();
            let Some(name) = path.get(known) else {
                return module;
            };
            match self.faces.get(&(module.clone(), name.clone())) {
                Some(target) if *target != path => path = target.clone(),
                _ => return module,
            }
        }
        path
    }

    /// The paths in the code of a module that begin with `crate`, `super` or `self`.
    fn paths(&self, at: &Module) -> Vec<Vec<String>> {
        let text = &self.files[at];
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let words = text.split(|c: char| !part(c));
        let paths = words.filter(|w| {
            ["crate::", "super::", "self::"]
                .iter()
                .any(|p| w.starts_with(p))
        });
        paths
            .map(|w| {
                w.split("::")
                    .filter(|p| !p.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .collect()
    }

    /// The modules that each module uses. Re-exports do not count as uses.
    pub(crate) fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let arrows = |at: &Module| {
            let passed_on: BTreeSet<_> = self.uses(at, true).into_iter().collect();
            let paths = self.paths(at).into_iter().chain(self.uses(at, false));
            let used = paths.filter(|path| !passed_on.iter().any(|p| p.starts_with(path)));
            let used = used.filter_map(|path| Some(self.module_of(&self.in_room(at, &path)?)));
            used.filter(|module| module != at).collect()
        };
        self.files
            .keys()
            .map(|at| (at.clone(), arrows(at)))
            .collect()
    }

    /// The paths in the code of each module that lead to another room, without `crate`. Also through the name of a module that a
    /// `use` line brings.
    pub(crate) fn ways_out(&self) -> BTreeMap<Module, BTreeSet<Vec<String>>> {
        let out = |at: &Module| {
            let brought = [self.uses(at, true), self.uses(at, false)].concat();
            let is_out =
                |path: &Vec<String>| path[0] == "crate" && self.in_room(at, path).is_none();
            let mut out: BTreeSet<_> = brought.into_iter().filter(is_out).collect();
            let modules: Vec<_> = out.iter().cloned().collect();
            out.extend(self.paths(at).into_iter().filter(is_out));
            let words = self.files[at].split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
            for word in words.filter(|word| word.contains("::")) {
                let mut parts = word.split("::").map(str::to_owned);
                let first = parts.next();
                let from = modules.iter().filter(|path| path.last() == first.as_ref());
                let rest: Vec<_> = parts.collect();
                out.extend(from.map(|path| [&path[..], &rest].concat()));
            }
            out.into_iter().map(|path| path[1..].to_vec()).collect()
        };
        self.files.keys().map(|at| (at.clone(), out(at))).collect()
    }

    /// The module that declares what a path from the crate's root names; `None` if it leads elsewhere.
    pub(crate) fn declares(&self, path: &[String]) -> Option<Module> {
        let path = path.strip_prefix(self.name.as_slice())?;
        Some(self.module_of(&path.to_vec()))
    }

    /// Finds a cycle of modules that use each other.
    pub(crate) fn circle(&self) -> Option<Vec<Module>> {
        let arrows = self.arrows();
        let mut done = BTreeSet::new();
        arrows
            .keys()
            .find_map(|at| walk(at, &arrows, &mut Vec::new(), &mut done))
    }

    /// The `impl` blocks of types declared in another file, through which calls need no import.
    pub(crate) fn strays(&self) -> Vec<String> {
        let mut strays = Vec::new();
        for (at, text) in &self.files {
            for line in text.lines().filter(|line| line.starts_with("impl")) {
                let Some(name) = inherent(line) else { continue };
                let kinds = ["struct", "enum", "union", "type", "trait"];
                let declared = kinds.iter().any(|kind| {
                    let declaration = format!("{kind} {name}");
                    text.match_indices(&declaration).any(|(i, _)| {
                        let after = text[i + declaration.len()..].chars().next();
                        after.is_some_and(|c| !c.is_alphanumeric() && c != '_')
                    })
                });
                // A macro declares what it names by a variable.
                if !declared && !name.starts_with('$') {
                    strays.push(format!("{}: {line}", at.join("/")));
                }
            }
        }
        strays
    }
}

/// The type of an inherent `impl`.
fn inherent(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => {
            let mut depth = 1;
            let end = generics.find(|c| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0
            })?;
            &generics[end + 1..]
        }
        None => rest,
    };
    let rest = rest.trim_start();
    if rest.contains(" for ") {
        return None;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && !"_$".contains(c));
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|name| !name.is_empty())
}

/// Expands the tree of a `use` line into paths.
fn expand(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        let parts = path.split("::").map(str::trim);
        let parts = parts.filter(|p| !p.is_empty() && *p != "self" && *p != "*");
        let lead =
            (path.trim().starts_with("self") && before.is_empty()).then(|| "self".to_owned());
        let path: Vec<_> = before
            .iter()
            .cloned()
            .chain(lead)
            .chain(parts.map(str::to_owned))
            .collect();
        if !path.is_empty() {
            paths.push(path);
        }
        return;
    };
    let lead = tree[..open]
        .split("::")
        .map(str::trim)
        .filter(|p| !p.is_empty());
    let before: Vec<_> = before
        .iter()
        .cloned()
        .chain(lead.map(str::to_owned))
        .collect();
    let inside = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut from) = (0, 0);
    for (i, c) in inside.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            expand(&inside[from..i], &before, paths);
            from = i + 1;
        }
    }
    // The rest belongs to the last one.
    let last = &inside[from..];
    let open = last.matches('{').count() - last.matches('}').count();
    expand(&format!("{last}{}", "}".repeat(open)), &before, paths);
}

fn walk(
    at: &Module,
    arrows: &BTreeMap<Module, BTreeSet<Module>>,
    path: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(first) = path.iter().position(|module| module == at) {
        let mut circle = path.split_off(first);
        circle.push(at.clone());
        return Some(circle);
    }
    if !done.insert(at.clone()) {
        return None;
    }
    path.push(at.clone());
    let found = arrows
        .get(at)?
        .iter()
        .find_map(|next| walk(next, arrows, path, done));
    path.pop();
    found
}
