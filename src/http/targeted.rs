//! Targeted cache control (RFC 9213), and which field governs a response.
//!
//! A targeted field is a Dictionary (RFC 9651). It is ignored if it is empty or does not parse. The first
//! valid field of the target list governs, and `Cache-Control` and `Expires` are then ignored.
//!
//! `Surrogate-Control` is older (W3C Note "Edge Architecture Specification", 2001). It is parsed in the same
//! way, with three differences that the note defines: names are case-insensitive, a directive with a
//! parameter applies only to the surrogates that the parameter names, and `content` only tells how to
//! process the body: a field that has nothing else is ignored.

use super::cache_control::Given;
use super::fields::each_named;
use super::limits::MAX_VALUE;
use super::{CacheControl, DELTA_MAX, Fields};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor};
use sfv::visitor::{ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};
use std::borrow::Cow;
use std::convert::Infallible;

/// The field that the governing directives come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Cache-Control`, which may be absent; `Expires` applies.
    CacheControl,
    /// The targeted field at this index of the target list; `Expires` does not apply.
    Targeted(usize),
}

/// The directives that govern a response, and the field that they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The directives.
    pub directives: CacheControl,
    /// The field that they come from.
    pub source: Source,
}

impl Control {
    /// Selects the governing field: the first of `targets` that is valid and not empty, else `Cache-Control`
    /// (RFC 9213 §2.2). `targets` are field names in order of priority.
    pub fn of<T: AsRef<str>>(fields: &dyn Fields, targets: &[T]) -> Control {
        for (index, name) in targets.iter().enumerate() {
            if let Some(directives) = parse(fields, name.as_ref()) {
                let source = Source::Targeted(index);
                return Control { directives, source };
            }
        }
        Control {
            directives: CacheControl::response(fields),
            source: Source::CacheControl,
        }
    }
}

const SURROGATE: &str = "surrogate-control";

/// The directive of `Surrogate-Control` that has no bearing on caching.
const CONTENT: &str = "content";

/// The name of this cache in `Surrogate-Capability`, if a location announces it.
const SURROGATE_NAME: &str = "swrcache";

/// Parses one targeted field over all its lines. Returns `None` if it is absent, empty or malformed (RFC 9213
/// §2.1).
pub fn parse(fields: &dyn Fields, name: &str) -> Option<CacheControl> {
    let mut value = Vec::new();
    each_named(fields, name, &mut |line| {
        if !value.is_empty() {
            value.extend_from_slice(b", "); // RFC 9651 §4.2: lines are combined first
        }
        value.extend_from_slice(line);
    });
    let mut members = DirectiveMembers::default();
    if name.eq_ignore_ascii_case(SURROGATE) {
        value.make_ascii_lowercase();
        members.addressed = true;
    }
    if value.is_empty() || value.len() > MAX_VALUE {
        return None;
    }
    Parser::new(&value)
        .parse_dictionary_with_visitor(&mut members)
        .ok()?;
    members.into_control()
}

/// The Dictionary's members in order; of a repeated key, the last value counts (RFC 9651 §4.2.2). Only known
/// directives are kept, which bounds the list.
#[derive(Default)]
struct DirectiveMembers<'de> {
    list: Vec<(&'de str, Option<Given<'de>>)>,
    /// Whether there is a member that may bear on caching.
    any: bool,
    /// Whether parameters name the surrogates that a member applies to (`Surrogate-Control`).
    addressed: bool,
}

impl DirectiveMembers<'_> {
    fn into_control(self) -> Option<CacheControl> {
        let mut control = CacheControl::default();
        for (key, given) in self.list {
            if let Some(given) = given {
                control.apply(key.as_bytes(), given);
            }
        }
        self.any.then_some(control)
    }
}

impl<'de> DictionaryVisitor<'de> for DirectiveMembers<'de> {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let key = key.as_str();
        self.any |= !(self.addressed && key == CONTENT);
        if !CacheControl::knows(key.as_bytes()) {
            return Ok(None);
        }
        let at = match self.list.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                self.list.push((key, None));
                self.list.len() - 1
            }
        };
        let addressed = self.addressed;
        let slot = self.list.get_mut(at).map(|(_, slot)| slot);
        Ok(slot.map(|slot| Member { slot, addressed }))
    }
}

/// Visits the value of one member.
struct Member<'a, 'de> {
    slot: &'a mut Option<Given<'de>>,
    addressed: bool,
}

/// Visits the parameters of a member: those of a targeted field are ignored (RFC 9213 §2.1), those of
/// `Surrogate-Control` name the surrogates that the member applies to.
struct Addressees<'a, 'de> {
    slot: &'a mut Option<Given<'de>>,
    given: Option<Given<'de>>,
    ours: bool,
}

impl<'de> ParameterVisitor<'de> for Addressees<'_, 'de> {
    type Error = Infallible;

    fn parameter(&mut self, key: &'de KeyRef, _: BareItemFromInput<'de>) -> Result<(), Infallible> {
        self.ours |= key.as_str() == SURROGATE_NAME;
        *self.slot = self.given.clone().filter(|_| self.ours);
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<'de> ItemVisitor<'de> for Member<'_, 'de> {
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        let given = given(item);
        *self.slot = given.clone();
        Ok(self.addressed.then_some(Addressees {
            slot: self.slot,
            given,
            ours: false,
        }))
    }
}

impl<'de> EntryVisitor<'de> for Member<'_, 'de> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        *self.slot = Some(unusable());
        Ok(Ignored)
    }
}

/// Converts a structured value to a directive's argument (RFC 9213 §2.1): only an Integer is a number, only a
/// String or a Token is text, and types are not coerced. `?0` counts as if the member were absent.
fn given(item: BareItemFromInput<'_>) -> Option<Given<'_>> {
    Some(match item {
        BareItemFromInput::Boolean(false) => return None,
        BareItemFromInput::Boolean(true) => Given::default(),
        BareItemFromInput::Integer(n) => Given {
            number: delta(i64::from(n)),
            ..unusable()
        },
        BareItemFromInput::String(text) => Given {
            text: Some(match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_str().as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.as_str().as_bytes().to_vec()),
            }),
            ..unusable()
        },
        BareItemFromInput::Token(text) => Given {
            text: Some(Cow::Borrowed(text.as_str().as_bytes())),
            ..unusable()
        },
        _ => unusable(),
    })
}

fn delta(n: i64) -> Option<u32> {
    let n = u64::try_from(n).ok()?;
    Some(u32::try_from(n).unwrap_or(DELTA_MAX).min(DELTA_MAX))
}

/// An argument that no directive allows.
fn unusable<'a>() -> Given<'a> {
    Given {
        present: true,
        number: None,
        text: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Scope, Swr};

    const TARGETS: [&str; 2] = ["CDN-Cache-Control", "Surrogate-Control"];

    fn cdn(lines: &[&str]) -> Option<CacheControl> {
        let fields: Vec<_> = lines.iter().map(|l| ("cdn-cache-control", *l)).collect();
        parse(&fields, "CDN-Cache-Control")
    }

    #[test]
    fn reads_a_dictionary() {
        // RFC 9213 §2.1
        let got = cdn(&[
            "max-age=600, stale-while-revalidate=30;ignored=1, stale-if-error=86400",
            "must-revalidate, no-cache=\"Set-Cookie, X\", unknown=(1 2), other=:aGk=:",
        ])
        .expect("valid");
        assert_eq!(got.max_age, Some(600));
        assert_eq!(got.stale_while_revalidate, Some(Swr::Seconds(30)));
        assert_eq!(got.stale_if_error, Some(86_400));
        assert!(got.must_revalidate && got.no_cache.lists(b"set-cookie"));
        let got = cdn(&["no-store, private, no-cache, stale-while-revalidate"]).expect("valid");
        assert!(got.no_store && got.private == Scope::All && got.no_cache == Scope::All);
        assert_eq!(got.stale_while_revalidate, Some(Swr::NoValue));
    }

    #[test]
    fn an_empty_or_malformed_field_is_ignored() {
        // RFC 9213 §2.1: "that field MUST be ignored by the cache"
        for lines in [
            &[][..],
            &[""],
            &["  "],
            &["max-age=10000, &&&&&"],
            &["max-age=600,"],
            &["Max-Age=600"],
            &["max-age=600", "\"x"],
            &["max-age=99999999999999999"],
            &["max-age=600, a=\"\u{e4}\""],
        ] {
            assert_eq!(cdn(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn types_are_not_coerced() {
        // RFC 9213 §2.1: a number in another type does not give freshness
        for value in ["\"600\"", "600.0", "abc", "?1", "(600)", "-1"] {
            let got = cdn(&[&format!("max-age={value}")]).expect("valid");
            assert_eq!(got.max_age, Some(0), "{value}");
        }
        assert_eq!(cdn(&["max-age=?0"]), Some(CacheControl::default()));
        assert_eq!(cdn(&["no-store=?0"]), Some(CacheControl::default()));
        assert!(cdn(&["no-store=1"]).expect("valid").no_store);
        let saturated = cdn(&["max-age=999999999999999"]).expect("valid");
        assert_eq!(saturated.max_age, Some(DELTA_MAX));
    }

    #[test]
    fn surrogate_control_is_addressed_and_has_no_case() {
        for (line, want) in [
            ("MaX-aGe=60", Some(60)),
            ("max-age=60;swrcache", Some(60)),
            ("max-age=60;SwrCache", Some(60)),
            ("max-age=60;other;swrcache", Some(60)),
            ("max-age=60;swrcache;other", Some(60)),
            ("max-age=60;other", None),
            ("content=\"ESI/1.0\", max-age=60", Some(60)),
        ] {
            let got = parse(&[("Surrogate-Control", line)], "Surrogate-Control");
            assert_eq!(got.expect("valid").max_age, want, "{line}");
        }
        assert_eq!(cdn(&["max-age=60;other"]).expect("valid").max_age, Some(60));
    }

    #[test]
    fn surrogate_control_that_speaks_of_content_alone_is_none() {
        for line in ["content=\"ESI/1.0\"", "content=\"SSI/1.0\";swrcache"] {
            assert_eq!(
                parse(&[("Surrogate-Control", line)], "Surrogate-Control"),
                None,
                "{line}"
            );
        }
        // RFC 9213 §2.1: an unknown member of its fields is ignored, and the field is there.
        assert!(cdn(&["content=\"ESI/1.0\""]).is_some());
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        // RFC 9651 §4.2.2
        assert_eq!(
            cdn(&["max-age=1, max-age=9"]).expect("valid").max_age,
            Some(9)
        );
        assert_eq!(
            cdn(&["max-age=1, max-age=?0"]).expect("valid").max_age,
            None
        );
    }

    #[test]
    fn the_first_valid_target_governs() {
        // RFC 9213 §2.2, and §3.1 for `none`
        let cc = ("Cache-Control", "no-store");
        for (fields, source) in [
            (vec![cc], Source::CacheControl),
            (vec![cc, ("CDN-Cache-Control", "none")], Source::Targeted(0)),
            (
                vec![cc, ("Surrogate-Control", "max-age=1")],
                Source::Targeted(1),
            ),
            (
                vec![("Surrogate-Control", "a"), ("CDN-Cache-Control", "b"), cc],
                Source::Targeted(0),
            ),
            (
                vec![("CDN-Cache-Control", "a b"), ("Surrogate-Control", "b"), cc],
                Source::Targeted(1),
            ),
            (vec![cc, ("CDN-Cache-Control", "")], Source::CacheControl),
            (
                vec![cc, ("Other-Cache-Control", "max-age=1")],
                Source::CacheControl,
            ),
        ] {
            let got = Control::of(&fields, &TARGETS);
            assert_eq!(got.source, source, "{fields:?}");
            assert_eq!(got.directives.no_store, source == Source::CacheControl);
        }
    }
}
