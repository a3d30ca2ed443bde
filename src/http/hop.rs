//! Which fields are stored and passed on (RFC 9110 §7.6.1, RFC 9111 §3.1).

use super::{CacheControl, Fields};

/// Whether a field concerns one connection or one proxy only and is never stored or passed on.
pub fn is_hop_by_hop(_name: &[u8]) -> bool {
    false
}

/// The fields of one response that are not stored: hop-by-hop ones, those that `Connection` names,
/// and those that a qualified `no-cache` or `private` names.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    names: Vec<Box<[u8]>>,
}

impl Exclusions {
    /// Reads them from a response and its governing directives.
    pub fn of(_fields: &dyn Fields, _control: &CacheControl) -> Exclusions {
        Exclusions::default()
    }

    /// Those of a request or response as such: hop-by-hop, and named by `Connection`.
    pub fn connection(_fields: &dyn Fields) -> Exclusions {
        Exclusions::default()
    }

    /// Adds a field name.
    pub fn exclude(&mut self, name: &[u8]) {
        self.names.push(name.to_ascii_lowercase().into());
    }

    /// Whether the field `name` is left out.
    pub fn excludes(&self, name: &[u8]) -> bool {
        is_hop_by_hop(name) || self.names.iter().any(|n| name.eq_ignore_ascii_case(n))
    }

    /// Calls `f(name, value)` for every field line that stays, in order.
    pub fn kept(&self, fields: &dyn Fields, f: &mut dyn FnMut(&[u8], &[u8])) {
        fields.each(&mut |name, value| {
            if !self.excludes(name) {
                f(name, value);
            }
        });
    }
}
