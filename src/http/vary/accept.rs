//! Reduces `Accept-Encoding` and `Accept-Language` to what can affect a response (RFC 9110 §12.5.3, §12.5.4).

use crate::http::fields::is;
use crate::http::syntax::is_token;
use crate::http::weight::weighted;

/// The codings that are emitted in a fixed order; others keep the order received.
const KNOWN: [&str; 4] = ["zstd", "br", "gzip", "deflate"];

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Accept {
    #[default]
    Unmentioned,
    Accepted,
    Refused,
}

/// The content codings that a request accepts. Of a repeated coding, the first mention counts.
#[derive(Default)]
pub(super) struct Encodings {
    known: [Accept; KNOWN.len()],
    identity: Accept,
    any: Accept,
}

impl Encodings {
    /// Adds one member of the list.
    pub(super) fn note(&mut self, member: &[u8]) {
        let (name, weight) = weighted(member);
        let accept = match weight {
            0 => Accept::Refused,
            _ => Accept::Accepted,
        };
        let slot = match position(name) {
            Some(at) => self.known.get_mut(at),
            None if is(name, "identity") => Some(&mut self.identity),
            None if name == b"*" => Some(&mut self.any),
            None => None,
        };
        if let Some(slot @ Accept::Unmentioned) = slot {
            *slot = accept;
        }
    }

    /// Calls `f(name, suffix)` for each known coding that can affect the response. A refusal can if `*`
    /// accepts the others, or if it excludes the identity coding.
    pub(super) fn emit(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, accept) in KNOWN.iter().zip(self.known) {
            if accept == Accept::Accepted {
                f(name.as_bytes(), b"");
            }
        }
        if self.any == Accept::Accepted {
            f(b"*", b"");
            for (name, accept) in KNOWN.iter().zip(self.known) {
                if accept == Accept::Refused {
                    f(name.as_bytes(), b";q=0");
                }
            }
        }
        let no_plain = match self.identity {
            Accept::Unmentioned => self.any == Accept::Refused,
            accept => accept == Accept::Refused,
        };
        if no_plain {
            f(b"identity", b";q=0");
        }
    }

    /// Does the same for one member whose coding is unknown.
    pub(super) fn emit_unknown(&self, member: &[u8], f: &mut dyn FnMut(&[u8], &[u8])) {
        let (name, weight) = weighted(member);
        if position(name).is_some() || is(name, "identity") || name == b"*" {
            return;
        }
        if weight > 0 {
            f(name, b"");
        } else if self.any == Accept::Accepted {
            f(name, b";q=0");
        }
    }
}

fn position(name: &[u8]) -> Option<usize> {
    let name = match is(name, "x-gzip") {
        true => b"gzip", // RFC 9110 §8.4.1.3
        false => name,
    };
    KNOWN.iter().position(|known| is(name, known))
}

/// The maximum number of languages that are tracked.
const MAX_LANGUAGES: usize = 16;

/// The maximum length of a primary language subtag (RFC 5646 §2.1).
const MAX_TAG: usize = 8;

#[derive(Clone, Copy, Default)]
struct Language {
    tag: [u8; MAX_TAG],
    len: usize,
    weight: u16,
}

impl Language {
    fn tag(&self) -> &[u8] {
        self.tag.get(..self.len).unwrap_or_default()
    }
}

/// The primary language tags that a request accepts.
#[derive(Default)]
pub(super) struct Languages {
    list: [Language; MAX_LANGUAGES],
    len: usize,
    incomplete: bool,
}

impl Languages {
    /// Adds one member of the list.
    pub(super) fn note(&mut self, member: &[u8]) {
        let (range, weight) = weighted(member);
        let primary = range.split(|b| *b == b'-').next().unwrap_or_default();
        let mut language = Language {
            len: primary.len(),
            weight,
            ..Language::default()
        };
        let (Some(slot), true) = (language.tag.get_mut(..primary.len()), is_token(primary)) else {
            self.incomplete = true;
            return;
        };
        slot.copy_from_slice(primary);
        slot.make_ascii_lowercase();
        self.insert(language);
    }

    /// Inserts in descending order of weight; equal weights keep the order received.
    fn insert(&mut self, language: Language) {
        let Some(end) = self.list.get_mut(self.len) else {
            self.incomplete = true;
            return;
        };
        *end = language;
        self.len += 1;
        let filled = self.list.get_mut(..self.len).unwrap_or_default();
        let lighter = filled.iter().position(|l| l.weight < language.weight);
        if let Some(tail) = lighter.and_then(|at| filled.get_mut(at..)) {
            tail.rotate_right(1);
        }
    }

    /// Returns whether a member could not be tracked, so that reducing would lose it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Calls `f` once for each accepted tag, the most preferred first.
    pub(super) fn emit(&self, f: &mut dyn FnMut(&[u8])) {
        let list = self.list.get(..self.len).unwrap_or_default();
        for (at, language) in list.iter().enumerate() {
            let earlier = list.get(..at).unwrap_or_default();
            let seen = earlier.iter().any(|other| other.tag() == language.tag());
            if language.weight > 0 && !seen {
                f(language.tag());
            }
        }
    }
}
