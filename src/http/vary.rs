//! Which stored response a request selects (RFC 9111 §4.1).
//!
//! What a stored response keeps of its request is, for each nominated field, whether it was present
//! and its *normal form*: lines combined, white space normalised, and, for the fields of a [`Reduce`],
//! cut down to what can matter. A later request matches if it has the same normal forms.

use super::Fields;

/// Fields whose values are reduced before they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reduce {
    /// `Accept-Encoding`: the set of codings accepted, without weights and order.
    pub accept_encoding: bool,
    /// `Accept-Language`: the primary tags accepted, in order of preference.
    pub accept_language: bool,
}

impl Reduce {
    /// Adds a field by name. `Err` if that field cannot be reduced.
    pub fn add(&mut self, name: &str) -> Result<(), NotReducible> {
        match name.to_ascii_lowercase().as_str() {
            "accept-encoding" => self.accept_encoding = true,
            "accept-language" => self.accept_language = true,
            _ => return Err(NotReducible),
        }
        Ok(())
    }
}

/// The field is none of those that [`Reduce`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReducible;

/// The field names that `Vary` nominates: lower case, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nominated {
    names: Vec<Box<str>>,
}

impl Nominated {
    /// The names, in lower case, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// What a response's `Vary` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// The fields that select among responses; none without `Vary`.
    Fields(Nominated),
    /// A `*` member, a malformed one, or more than
    /// [`MAX_VARY`](super::limits::MAX_VARY): no request ever matches.
    Any,
}

impl Vary {
    /// Reads all `Vary` lines of a response.
    pub fn of(_response: &dyn Fields) -> Vary {
        Vary::Fields(Nominated::default())
    }
}

/// Appends the normal form of the request field `name` to `out`. `false`, and nothing appended, if
/// the request has no such field.
pub fn normalize(_name: &str, _request: &dyn Fields, _reduce: Reduce, _out: &mut Vec<u8>) -> bool {
    false
}

/// Whether the request's field `name` has the stored normal form (`None`: it was absent, and absent
/// matches absent only). Allocates nothing.
pub fn matches(
    _name: &str,
    _stored: Option<&[u8]>,
    _request: &dyn Fields,
    _reduce: Reduce,
) -> bool {
    false
}
