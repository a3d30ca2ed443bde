//! What a location has configured: one [`Policy`], the sum of the directives that decide.
//!
//! A policy is read-only while requests run. What of it is applied when a response is stored (freshness from
//! `swr_cache_valid`, ignored fields) stays with the entry; the windows of stale service are applied when an entry is
//! *used*, so that a reload with other windows takes effect on what is already stored.

use crate::http::fields::is;
use crate::store::Millis;

pub mod set;
pub mod units;

pub use set::Directives;

/// One second in [`Millis`].
pub(crate) const SECOND: Millis = 1_000;

/// By how much a time that was noted may lie in the future: workers look at the clock once in a turn of their event loops. What
/// lies further ahead was noted before the clock was set back.
pub(crate) const CLOCKS_DIFFER: Millis = 2 * SECOND;

/// The window that a written-out `use_stale` grants where neither origin nor configuration names one.
pub(crate) const GRANTED: Millis = 24 * 3_600 * SECOND;

/// The policy of one location. `Default` is the default of every directive.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Methods that the cache takes part in (`swr_cache_methods`).
    pub methods: MethodSet,
    /// A `HEAD` fetches what a `GET` would and shares its entry; `false`: it is fetched and stored as a `HEAD`, which answers no
    /// `GET` (`swr_cache_convert_head`).
    pub convert_head: bool,
    /// Where a `Range` begins, in bytes, from which on a request is passed to the origin rather than causing a fetch of the whole
    /// (`swr_cache_max_range_offset`).
    pub max_range_offset: Option<u64>,
    /// Clients' `If-Modified-Since` counts (nginx's `if_modified_since`); `false` where the origin's dates can't be trusted.
    pub if_modified_since: bool,
    /// Freshness where the origin gives none, by status; the first match counts (`swr_cache_valid`).
    pub valid: Vec<(StatusMatch, Millis)>,
    /// Requests for a key before it is stored (`swr_cache_min_uses`); 0 and 1 store at once.
    pub min_uses: u32,
    /// Response fields that are not listened to (`swr_ignore_headers`).
    pub ignore: IgnoreFields,
    /// Which failures stale-if-error covers (`swr_cache_use_stale`).
    pub use_stale: UseStale,
    /// Window of stale-while-revalidate (`swr_cache_stale_while_revalidate`).
    pub swr: Window,
    /// Window of stale-if-error (`swr_cache_stale_if_error`).
    pub sie: Window,
    /// Refresh where no visitor waits; `false` is the legacy synchronous mode (`swr_cache_background_update`).
    pub background_update: bool,
    /// Send conditional requests to the origin (`swr_cache_revalidate`).
    pub revalidate: bool,
    /// Smart Edge Revalidation (`swr_cache_edge_revalidation`).
    pub edge_revalidation: bool,
    /// Collapse concurrent fetches of a key (`swr_cache_lock`).
    pub lock: bool,
    /// The longest that a request waits for the fetch of another (`swr_cache_lock_timeout`).
    pub lock_timeout: Millis,
    /// Age of a fetch for a miss after which one more is let through (`swr_cache_lock_age`).
    pub lock_age: Millis,
    /// Targeted cache control fields in order of preference (`swr_cache_control_headers`, RFC 9213).
    pub control_fields: Vec<Box<str>>,
    /// Honour the cache directives of requests (`swr_cache_client_control`).
    pub client_control: bool,
    /// The first pause after a failed fetch of a stored entry (`swr_cache_refresh_backoff`).
    pub backoff_min: Millis,
    /// The longest pause between failing refreshes (`swr_cache_refresh_backoff`).
    pub backoff_max: Millis,
    /// Refresh in the last so many percent of freshness (`swr_cache_refresh_ahead`).
    pub refresh_ahead: Option<u8>,
    /// Background refreshes in flight beyond which a refresh is left to a later request (`swr_cache_refresh_max`): of a location in a
    /// worker of nginx, of the cache in the C library. The host counts.
    pub refresh_max: u32,
    /// The longest that a request waits for the origin beside a usable stale copy (`swr_cache_revalidate_timeout`).
    pub revalidate_timeout: Option<Millis>,
    /// Request fields reduced to what can matter before `Vary` is matched (`swr_cache_vary_normalize`).
    pub vary_normalize: Vec<Box<str>>,
    /// The most variants of a key; the oldest goes (`swr_cache_max_variants`).
    pub max_variants: u32,
    /// Response fields that hold tags; not shown to clients, `Cache-Groups` apart (`swr_cache_tag_headers`).
    pub tag_fields: Vec<Box<str>>,
    /// What a write through this cache does to what is stored (`swr_cache_invalidate`).
    pub invalidate: Invalidate,
    /// Life of an entry beyond which it is dropped even inside its windows (`inactive=` of the zone).
    pub inactive: Option<Millis>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            methods: MethodSet::GET.with(MethodSet::HEAD),
            convert_head: true,
            max_range_offset: None,
            if_modified_since: true,
            valid: Vec::new(),
            min_uses: 1,
            ignore: IgnoreFields::NONE,
            use_stale: UseStale::default(),
            swr: Window::Origin,
            sie: Window::Origin,
            background_update: true,
            revalidate: true,
            edge_revalidation: true,
            lock: true,
            lock_timeout: 5 * SECOND,
            lock_age: 5 * SECOND,
            control_fields: names(&["CDN-Cache-Control", "Surrogate-Control"]),
            client_control: false,
            backoff_min: SECOND,
            backoff_max: 60 * SECOND,
            refresh_ahead: None,
            refresh_max: 64,
            revalidate_timeout: None,
            vary_normalize: names(&["Accept-Encoding"]),
            max_variants: 64,
            tag_fields: names(&["Surrogate-Key", "Cache-Tag", "Cache-Groups"]),
            invalidate: Invalidate::On,
            inactive: None,
        }
    }
}

impl Policy {
    /// Whether a response field is meant for this cache alone, and no client sees it: tags (but for `Cache-Groups`, which caches
    /// downstream have a use for too, RFC 9875), and `Surrogate-Control`.
    pub fn keeps_to_itself(&self, name: &[u8]) -> bool {
        is(name, "surrogate-control")
            || !is(name, "cache-groups") && self.tag_fields.iter().any(|field| is(name, field))
    }
}

fn names(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|name| Box::from(*name)).collect()
}

/// The method of a request, as far as the cache tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`; shares the entries of `GET` (RFC 9110 §9.3.2).
    Head,
    /// `POST`.
    Post,
    /// Anything else; written through (RFC 9111 §4).
    Other,
}

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSet(u8);

impl MethodSet {
    /// No method.
    pub const NONE: MethodSet = MethodSet(0);
    /// `GET`.
    pub const GET: MethodSet = MethodSet(1);
    /// `HEAD`.
    pub const HEAD: MethodSet = MethodSet(2);
    /// `POST`. Who lists it says that a POST here changes nothing: it invalidates nothing either (as in nginx).
    pub const POST: MethodSet = MethodSet(4);

    /// The union of two sets.
    pub const fn with(self, other: MethodSet) -> MethodSet {
        MethodSet(self.0 | other.0)
    }

    /// Whether the set holds `method`.
    pub const fn has(self, method: Method) -> bool {
        let bit = match method {
            Method::Get => 1,
            Method::Head => 2,
            Method::Post => 4,
            Method::Other => 0,
        };
        self.0 & bit != 0
    }
}

/// What a `swr_cache_valid` entry applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    /// 200, 301 and 302: the directive without a code.
    Usual,
    /// One status.
    Code(u16),
    /// Every status.
    Any,
}

impl StatusMatch {
    /// Whether `status` is meant.
    pub fn matches(self, status: u16) -> bool {
        match self {
            StatusMatch::Usual => matches!(status, 200 | 301 | 302),
            StatusMatch::Code(code) => code == status,
            StatusMatch::Any => true,
        }
    }
}

/// Response fields that a location does not listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IgnoreFields(u16);

impl IgnoreFields {
    /// Listens to all.
    pub const NONE: IgnoreFields = IgnoreFields(0);
    /// `X-Accel-Expires`.
    pub const X_ACCEL_EXPIRES: IgnoreFields = IgnoreFields(1);
    /// `Expires`.
    pub const EXPIRES: IgnoreFields = IgnoreFields(2);
    /// `Cache-Control`.
    pub const CACHE_CONTROL: IgnoreFields = IgnoreFields(4);
    /// `Set-Cookie`: the response may be stored; the field itself never is.
    pub const SET_COOKIE: IgnoreFields = IgnoreFields(8);
    /// `Vary`.
    pub const VARY: IgnoreFields = IgnoreFields(16);
    /// `CDN-Cache-Control`.
    pub const CDN_CACHE_CONTROL: IgnoreFields = IgnoreFields(32);
    /// `Surrogate-Control`.
    pub const SURROGATE_CONTROL: IgnoreFields = IgnoreFields(64);
    /// `X-Accel-Limit-Rate`.
    pub const X_ACCEL_LIMIT_RATE: IgnoreFields = IgnoreFields(128);
    /// `X-Accel-Charset`.
    pub const X_ACCEL_CHARSET: IgnoreFields = IgnoreFields(256);

    /// The union of two sets.
    pub const fn with(self, other: IgnoreFields) -> IgnoreFields {
        IgnoreFields(self.0 | other.0)
    }

    /// The fields by name.
    pub(crate) const NAMES: [(&str, IgnoreFields); 11] = [
        ("X-Accel-Expires", IgnoreFields::X_ACCEL_EXPIRES),
        ("Expires", IgnoreFields::EXPIRES),
        ("Cache-Control", IgnoreFields::CACHE_CONTROL),
        ("Set-Cookie", IgnoreFields::SET_COOKIE),
        ("Vary", IgnoreFields::VARY),
        ("CDN-Cache-Control", IgnoreFields::CDN_CACHE_CONTROL),
        ("Surrogate-Control", IgnoreFields::SURROGATE_CONTROL),
        ("X-Accel-Limit-Rate", IgnoreFields::X_ACCEL_LIMIT_RATE),
        ("X-Accel-Charset", IgnoreFields::X_ACCEL_CHARSET),
        // nginx knows these two here; the cache has no use for them.
        ("X-Accel-Redirect", IgnoreFields::NONE),
        ("X-Accel-Buffering", IgnoreFields::NONE),
    ];

    /// The field of that name, in any case; [`IgnoreFields::NONE`] for one that nginx knows here and the cache has no use for.
    pub(crate) fn of(name: &[u8]) -> Option<IgnoreFields> {
        let named = Self::NAMES.iter().find(|(field, _)| is(name, field));
        named.map(|(_, field)| *field)
    }

    /// Whether all of `fields` are ignored.
    pub const fn has(self, fields: IgnoreFields) -> bool {
        self.0 & fields.0 == fields.0
    }
}

/// Which failures the stale-if-error window covers, and whether the list was written out.
///
/// Written out, the list also grants stale service where the origin names no window, for the time of [`Policy::sie`]
/// (with [`UseStale::UPDATING`]: [`Policy::swr`]) or 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseStale {
    /// The directive was written in the configuration.
    pub written: bool,
    /// A union of the constants below.
    pub conditions: u16,
}

impl UseStale {
    /// A connection failed, or was reset.
    pub const ERROR: u16 = 1;
    /// A timeout of the origin.
    pub const TIMEOUT: u16 = 1 << 1;
    /// An empty or invalid response.
    pub const INVALID_HEADER: u16 = 1 << 2;
    /// `updating`: grants stale-while-revalidate.
    pub const UPDATING: u16 = 1 << 3;
    /// 500.
    pub const HTTP_500: u16 = 1 << 4;
    /// 502.
    pub const HTTP_502: u16 = 1 << 5;
    /// 503.
    pub const HTTP_503: u16 = 1 << 6;
    /// 504.
    pub const HTTP_504: u16 = 1 << 7;
    /// 403.
    pub const HTTP_403: u16 = 1 << 8;
    /// 404.
    pub const HTTP_404: u16 = 1 << 9;
    /// 429.
    pub const HTTP_429: u16 = 1 << 10;

    /// `swr_cache_use_stale off`: written, and nothing covered.
    pub const OFF: UseStale = UseStale {
        written: true,
        conditions: 0,
    };

    /// Nothing is written yet, and nothing covered: where a written-out list begins.
    const UNWRITTEN: UseStale = UseStale {
        written: false,
        conditions: 0,
    };

    /// A written-out list of `conditions`.
    pub const fn listed(conditions: u16) -> UseStale {
        UseStale {
            written: true,
            conditions,
        }
    }

    /// Whether every one of `conditions` is in the list.
    pub const fn has(self, conditions: u16) -> bool {
        self.conditions & conditions == conditions
    }

    /// Whether an answer with `status` counts as a failure here. A failing status without a word of its own goes with the one
    /// that is most like it: 5xx with 500, 408 and 425 with 429.
    pub fn covers_status(self, status: u16) -> bool {
        let bit = match status {
            502 => Self::HTTP_502,
            503 => Self::HTTP_503,
            504 => Self::HTTP_504,
            403 => Self::HTTP_403,
            404 => Self::HTTP_404,
            408 | 425 | 429 => Self::HTTP_429,
            500..=599 => Self::HTTP_500,
            _ => return false,
        };
        self.has(bit)
    }

    /// Whether some failure (not just `updating`) is covered.
    pub(crate) const fn covers_any(self) -> bool {
        self.conditions & !Self::UPDATING != 0
    }
}

impl Default for UseStale {
    /// Every failure that RFC 5861 §4 calls an error, 429, and no window of the cache's own.
    fn default() -> UseStale {
        UseStale {
            written: false,
            conditions: Self::ERROR
                | Self::TIMEOUT
                | Self::INVALID_HEADER
                | Self::HTTP_500
                | Self::HTTP_502
                | Self::HTTP_503
                | Self::HTTP_504
                | Self::HTTP_429,
        }
    }
}

/// What a non-error answer to an unsafe method does to what is stored (RFC 9111 §4.4). Groups that the answer names (RFC 9875)
/// are invalidated all the same: they are the origin's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidate {
    /// The target goes, and what `Location` and `Content-Location` name on its origin.
    On,
    /// The target alone goes.
    Target,
    /// As [`Invalidate::On`], but what is stored becomes stale instead: it is served as its windows allow. Groups too.
    Soft,
    /// Nothing happens.
    Off,
}

/// A window of stale service as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// As the origin says.
    Origin,
    /// None, whatever the origin says.
    Off,
    /// This long where the origin names none.
    Default(Millis),
    /// This long, whatever the origin says. `must-revalidate` and its kin bind all the same.
    Force(Millis),
}
