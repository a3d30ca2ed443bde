//! Patterns of tags as sent by software that drives Varnish: nominally regular expressions, in practice
//! alternations of tags.
//!
//! ```text
//! pattern     = ".*" | alternation
//! alternation = branch *( "|" branch )
//! branch      = [ boundary ] 1*( literal | "(" alternation ")" ) [ boundary ]
//! boundary    = "^" | "$" | "\b" | "(^|,)" | "(,|$)" | ...
//! literal     = any byte that means itself, or a backslash and one that is no letter or digit
//! ```
//!
//! Each path through it is a complete tag. What a regular expression would also match (`cat` in `cat_1`) is
//! not meant by the senders. A pattern that explicitly asks for that (`(^|,)cat`), or contains anything else,
//! is refused: nothing is purged by a guess.

/// What a pattern selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Everything.
    All,
    /// These tags.
    Tags(Vec<Box<[u8]>>),
}

/// What may surround a tag, longest first: it ends the tag, begins it, or both.
const BOUNDARIES: [(&str, Boundary); 16] = [
    ("(,.+)?$", Boundary::Closes),
    ("(,.*)?$", Boundary::Closes),
    ("(?:^|,)", Boundary::Opens),
    ("(?:,|$)", Boundary::Ends),
    ("(^|[, ])", Boundary::Opens),
    ("([, ]|$)", Boundary::Ends),
    ("(^|\\s)", Boundary::Opens),
    ("(\\s|$)", Boundary::Ends),
    ("(^|,)", Boundary::Opens),
    ("(,|^)", Boundary::Opens),
    ("(,|$)", Boundary::Ends),
    ("($|,)", Boundary::Ends),
    ("(^| )", Boundary::Opens),
    ("( |$)", Boundary::Ends),
    ("^", Boundary::Opens),
    ("$", Boundary::Ends),
];

const WORD: &[u8] = b"\\b";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Opens,
    Ends,
    /// Ends a tag that need not have been opened.
    Closes,
}

/// The maximum number of tags in a request.
const MOST: usize = 10_000;
/// The maximum depth of nested groups.
const DEEPEST: usize = 8;

/// Parses a pattern.
pub(crate) fn read(pattern: &[u8]) -> Result<Pattern, String> {
    let pattern = pattern.trim_ascii();
    if matches!(pattern, b".*" | b".+" | b"^.*$" | b"(.*)" | b"(.+)") {
        return Ok(Pattern::All);
    }
    let mut reader = Reader {
        whole: pattern,
        rest: pattern,
        depth: 0,
    };
    let tags = reader.alternation()?;
    match reader.rest.is_empty() {
        true => Ok(Pattern::Tags(tags.into_iter().map(Vec::into).collect())),
        false => Err(reader.refusal("has one \")\" too many")),
    }
}

/// Whether the value of a field that holds a list of tags or a pattern is a pattern.
pub(crate) fn is_one(value: &[u8]) -> bool {
    value.iter().any(|b| b"|()^$\\*".contains(b))
}

struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    depth: usize,
}

impl Reader<'_> {
    fn refusal(&self, why: &str) -> String {
        let whole = String::from_utf8_lossy(self.whole);
        format!(
            "the pattern \"{whole}\" {why}; what is understood are tags such as a|b, (^|,)(a|b)(,|$) and \\ba\\b, and .* for all"
        )
    }

    fn alternation(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let mut tags = self.branch()?;
        while let Some(rest) = self.rest.strip_prefix(b"|") {
            self.rest = rest;
            tags.extend(self.branch()?);
            if tags.len() > MOST {
                return Err(self.refusal("names too many tags"));
            }
        }
        Ok(tags)
    }

    /// The tags that a branch names.
    fn branch(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let opens = self.opening()?;
        let mut tags: Vec<Vec<u8>> = vec![Vec::new()];
        let mut ends = None;
        while ends.is_none() && !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            ends = self.closing();
            if ends.is_none() {
                let more = self.piece()?;
                tags = product(&tags, &more).ok_or_else(|| self.refusal("names too many tags"))?;
            }
        }
        if !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            return Err(self.refusal("goes on behind the end of a tag"));
        }
        if tags.iter().any(Vec::is_empty) {
            return Err(self.refusal("names an empty tag"));
        }
        match (opens, ends) {
            (false, None | Some(Boundary::Closes)) | (true, Some(_)) => Ok(tags),
            _ => Err(self.refusal("asks for parts of tags")),
        }
    }

    fn opening(&mut self) -> Result<bool, String> {
        match self.boundary() {
            None => Ok(false),
            Some(None | Some(Boundary::Opens)) => Ok(true),
            Some(_) => Err(self.refusal("ends a tag where none has begun")),
        }
    }

    fn closing(&mut self) -> Option<Boundary> {
        let before = self.rest;
        match self.boundary()? {
            None => Some(Boundary::Ends),
            Some(Boundary::Opens) => {
                self.rest = before;
                None
            }
            ends => ends,
        }
    }

    /// Parses a boundary, if there is one here; `Some(None)` is one of both kinds.
    fn boundary(&mut self) -> Option<Option<Boundary>> {
        if let Some(rest) = self.rest.strip_prefix(WORD) {
            self.rest = rest;
            return Some(None);
        }
        let mut all = BOUNDARIES.iter();
        let (rest, kind) =
            all.find_map(|(text, kind)| Some((self.rest.strip_prefix(text.as_bytes())?, *kind)))?;
        self.rest = rest;
        Some(Some(kind))
    }

    /// Parses a literal or a group.
    fn piece(&mut self) -> Result<Vec<Vec<u8>>, String> {
        match self.rest.split_first() {
            Some((b'(', rest)) => self.group(rest),
            Some((b'\\', rest)) => match rest.split_first() {
                Some((byte, rest)) if !byte.is_ascii_alphanumeric() => {
                    self.rest = rest;
                    self.literal(*byte)
                }
                _ => Err(self.refusal("has an escape with a meaning of its own")),
            },
            Some((byte, _)) if b"*+?{}[]^$,".contains(byte) => Err(self.refusal(&format!(
                "has a \"{}\" that is no part of a tag",
                char::from(*byte)
            ))),
            Some((byte, rest)) => {
                self.rest = rest;
                self.literal(*byte)
            }
            None => Err(self.refusal("ends too soon")),
        }
    }

    fn literal(&self, byte: u8) -> Result<Vec<Vec<u8>>, String> {
        match self.rest.first() {
            Some(b'*' | b'+' | b'?' | b'{') => Err(self.refusal("repeats a part of a tag")),
            _ if byte.is_ascii_whitespace() || byte.is_ascii_control() => {
                Err(self.refusal("has a space in a tag"))
            }
            _ => Ok(vec![vec![byte]]),
        }
    }

    fn group(&mut self, inside: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        if self.depth == DEEPEST {
            return Err(self.refusal("has groups in groups, too deep"));
        }
        // The parser's own text, of which `inside` is a suffix.
        let skipped = self.rest.len() - inside.len();
        self.rest = self.rest.get(skipped..).unwrap_or_default();
        self.rest = self.rest.strip_prefix(b"?:").unwrap_or(self.rest);
        self.depth += 1;
        let tags = self.alternation()?;
        self.depth -= 1;
        self.rest = match self.rest.strip_prefix(b")") {
            Some(rest) => rest,
            None => return Err(self.refusal("has a \"(\" that nothing closes")),
        };
        match self.rest.first() {
            Some(b'*' | b'+' | b'?' | b'{') => Err(self.refusal("repeats a part of a tag")),
            _ => Ok(tags),
        }
    }
}

/// Concatenates each of `starts` with each of `ends`.
fn product(starts: &[Vec<u8>], ends: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if starts.len().checked_mul(ends.len())? > MOST {
        return None;
    }
    let with = |start: &Vec<u8>| {
        let start = start.clone();
        ends.iter().map(move |end| [&start[..], end].concat())
    };
    Some(starts.iter().flat_map(with).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternations_of_tags() {
        for (pattern, tags) in [
            ("a", vec!["a"]),
            (
                "node:1|node_list|config:system.menu.main",
                vec!["node:1", "node_list", "config:system.menu.main"],
            ),
            (
                "((^|,)cat_p_1(,|$))|((^|,)cat_c_2(,|$))",
                vec!["cat_p_1", "cat_c_2"],
            ),
            ("(^|,)(a\\-1|b\\.c|\\:d)(,|$)", vec!["a-1", "b.c", ":d"]),
            ("(a|b)(,.+)?$", vec!["a", "b"]),
            ("\\bp-12\\b", vec!["p-12"]),
            ("\\b(?:p-1|p-2)\\b|\\bx\\b", vec!["p-1", "p-2", "x"]),
            ("^one$", vec!["one"]),
            (
                "cat_(p|c)_(1|2)",
                vec!["cat_p_1", "cat_p_2", "cat_c_1", "cat_c_2"],
            ),
            (" (( a) ", vec![]),
        ] {
            match read(pattern.as_bytes()) {
                Ok(Pattern::Tags(found)) => {
                    let found: Vec<_> = found.iter().map(|t| String::from_utf8_lossy(t)).collect();
                    assert_eq!(found, tags, "{pattern}");
                }
                other => assert!(tags.is_empty() && other.is_err(), "{pattern}: {other:?}"),
            }
        }
        for all in [".*", " .* ", ".+", "^.*$"] {
            assert_eq!(read(all.as_bytes()), Ok(Pattern::All), "{all}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_reason() {
        for (pattern, why) in [
            ("", "an empty tag"),
            ("a||b", "an empty tag"),
            ("()", "an empty tag"),
            ("(^|,)(,|$)", "an empty tag"),
            ("(^|,)cat", "parts of tags"),
            ("cat(,|$)", "parts of tags"),
            ("\\bcat", "parts of tags"),
            ("^cat_.*", "repeats"),
            ("a.*", "repeats"),
            ("(a|b)*", "repeats"),
            ("a+", "repeats"),
            ("[ab]", "\"[\""),
            ("a,b", "\",\""),
            ("a b", "a space"),
            ("\\d", "escape"),
            ("a\\", "escape"),
            ("(a", "nothing closes"),
            ("a)", "too many"),
            ("*", "\"*\""),
            ("a$b", "goes on"),
            ("a^b", "\"^\""),
            ("$a", "none has begun"),
            ("(((((((((a)))))))))", "too deep"),
            (
                "(a|b|c|d|e|f|g|h|i|j)(a|b|c|d|e|f|g|h|i|j)(a|b|c|d|e|f|g|h|i|j)(a|b|c|d|e|f|g|h|i|j)(a|b)",
                "too many tags",
            ),
        ] {
            let found = read(pattern.as_bytes());
            let said = found.expect_err(pattern);
            assert!(
                said.contains(why) && said.contains(pattern),
                "{pattern}: {said}"
            );
        }
    }
}
