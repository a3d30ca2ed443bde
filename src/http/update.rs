//! A 304 or a HEAD response brings a stored response up to date (RFC 9111 §3.2, §4.3.4, §4.3.5).

use super::{Exclusions, Fields};

/// Validators that the origin gave a stored response, as bytes of the field; never synthesised ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredValidators<'a> {
    /// `ETag`.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
    /// Whether other stored responses could have been chosen for the request.
    pub has_siblings: bool,
}

/// Whether a 304 updates the stored response (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshen {
    /// It does: its validator is the stored one's, or neither has any and there is no other.
    Update,
    /// Its validator is another one: it must not update this response.
    Differs,
    /// It has no validator though the stored response has, or there are several: not identified.
    Unidentified,
}

impl Freshen {
    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Freshen::Update => "validated",
            Freshen::Differs => "validator-differs",
            Freshen::Unidentified => "validator-missing",
        }
    }
}

/// Judges a 304 that answered a conditional request made for the stored response.
pub fn freshens(_stored: &StoredValidators<'_>, _response: &dyn Fields) -> Freshen {
    Freshen::Differs
}

/// Judges a HEAD 200 against a stored GET response (RFC 9111 §4.3.5): `Update`, or else the stored
/// response is to be taken as stale. `length` is the stored response's length, if known.
pub fn head_freshens(
    _stored: &StoredValidators<'_>,
    _length: Option<u64>,
    _response: &dyn Fields,
) -> Freshen {
    Freshen::Differs
}

/// Whether a field of a 304 leaves the stored one as it was: it describes the stored body.
pub fn is_pinned(_name: &[u8]) -> bool {
    false
}

/// Calls `f(name, value)` for the fields of the updated response (RFC 9111 §3.2): stored fields keep
/// their places; a name that the new response has is replaced by all of its lines; new names follow.
/// `excluded` says which of the new fields are not stored.
pub fn merge(
    stored: &dyn Fields,
    _new: &dyn Fields,
    _excluded: &Exclusions,
    f: &mut dyn FnMut(&[u8], &[u8]),
) {
    stored.each(f);
}
