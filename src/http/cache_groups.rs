//! Groups of responses that are invalidated together (RFC 9875): `Cache-Groups`, and
//! `Cache-Group-Invalidation` in the response to an unsafe request. Both are Lists of Strings. A group
//! belongs to one origin; its name is compared byte by byte.

use super::Fields;
use super::fields::each_named;
use super::limits::{MAX_GROUP, MAX_GROUPS, MAX_VALUE};
use sfv::visitor::{EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor};
use sfv::{BareItemFromInput, Parser};
use std::convert::Infallible;

/// The field that names the groups a response belongs to (RFC 9875 §2).
pub const GROUPS: &str = "cache-groups";

/// The field that names the groups a response invalidates (RFC 9875 §3).
pub const INVALIDATION: &str = "cache-group-invalidation";

/// Parses the members of the List field `name` over all its lines, in order. The whole field is ignored if it
/// does not parse (RFC 9651 §4.2); members that are not Strings or exceed the limits are skipped.
pub fn parse(fields: &dyn Fields, name: &str) -> Vec<String> {
    let mut value = Vec::new();
    each_named(fields, name, &mut |line| {
        if !value.is_empty() {
            value.extend_from_slice(b", "); // RFC 9651 §4.2: lines are combined first
        }
        value.extend_from_slice(line);
    });
    let mut groups = Groups::default();
    if value.len() > MAX_VALUE {
        return groups.0;
    }
    match Parser::new(&value).parse_list_with_visitor(&mut groups) {
        Ok(()) => groups.0,
        Err(_) => Vec::new(),
    }
}

#[derive(Default)]
struct Groups(Vec<String>);

impl<'de> ListVisitor<'de> for Groups {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Member(self))
    }
}

struct Member<'a>(&'a mut Groups);

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl sfv::visitor::ParameterVisitor<'de>, Infallible> {
        if let BareItemFromInput::String(group) = item {
            let Groups(groups) = self.0;
            if group.as_str().len() <= MAX_GROUP && groups.len() < MAX_GROUPS {
                groups.push(group.as_str().to_owned());
            }
        }
        Ok(Ignored) // RFC 9875 §2: no parameters are defined
    }
}

impl<'de> EntryVisitor<'de> for Member<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_strings() {
        // RFC 9875 §2, RFC 9651 §4.2
        for (lines, want) in [
            (&["\"scripts\""][..], &["scripts"][..]),
            (&["\"a\", \"b c\";x=1", "\"d\\\"e\""], &["a", "b c", "d\"e"]),
            (&["\"A\", \"a\""], &["A", "a"]),
            (&["token, 1, (\"inner\"), \"kept\""], &["kept"]),
            (&["\"a\", \"open"], &[]),
            (&["\"a\","], &[]),
            (&["\"\u{e4}\""], &[]),
            (&[""], &[]),
            (&[], &[]),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("Cache-Groups", line)).collect();
            assert_eq!(parse(&fields, GROUPS), want, "{lines:?}");
            assert_eq!(parse(&fields, INVALIDATION), [""; 0]);
        }
    }

    #[test]
    fn the_limits_hold() {
        // RFC 9875 §2: at least 32 groups of at least 32 characters
        let many = vec!["\"x\""; MAX_GROUPS + 5].join(", ");
        assert_eq!(parse(&[("cache-groups", many)], GROUPS).len(), MAX_GROUPS);
        let long = format!("\"{}\", \"y\"", "x".repeat(MAX_GROUP + 1));
        assert_eq!(parse(&[("cache-groups", long)], GROUPS), ["y"]);
    }
}
