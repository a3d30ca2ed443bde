//! The configuration of a location: a [`Policy`] holds the values of all directives that a decision depends on.
//!
//! A policy is read-only while requests are processed. The parts that apply when a response is stored (lifetimes from
//! `swr_cache_valid`, ignored fields) stay with the entry; the windows of stale service apply when an entry is *used*,
//! so that new windows after a reload also apply to what is already stored.

use super::key::query::Query;
use crate::engine::encode::coding::Coding;
use crate::http::fields::is;
use crate::store::Millis;

pub mod set;
pub mod units;

pub use set::Directives;

/// One second in [`Millis`].
pub(crate) const SECOND: Millis = 1_000;

/// How far a recorded time may lie in the future: workers read the clock once per iteration of their event loop. A time
/// further ahead was recorded before the clock was set back.
pub(crate) const CLOCKS_DIFFER: Millis = 2 * SECOND;

/// The window that an explicit `use_stale` grants if neither the origin nor the configuration gives one.
pub(crate) const GRANTED: Millis = 24 * 3_600 * SECOND;

/// The policy of one location. `Default` is the default of every directive.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The methods that are cached (`swr_cache_methods`).
    pub methods: MethodSet,
    /// Whether a `HEAD` fetches and uses the response to a `GET`. If `false`, it is forwarded and stored as a `HEAD`,
    /// and does not answer a `GET` (`swr_cache_convert_head`).
    pub convert_head: bool,
    /// The offset in bytes from which on a `Range` is passed to the origin instead of fetching the complete response
    /// (`swr_cache_max_range_offset`).
    pub max_range_offset: Option<u64>,
    /// Whether a client's `If-Modified-Since` is evaluated (nginx's `if_modified_since`); `false` if the origin's dates
    /// are not reliable.
    pub if_modified_since: bool,
    /// Lifetimes by status for responses without one from the origin; the first match applies (`swr_cache_valid`).
    pub valid: Vec<(StatusMatch, Millis)>,
    /// The request for a key, counted from 1, whose response is stored (`swr_cache_min_uses`); 0 and 1 mean the first.
    pub min_uses: u32,
    /// Response fields to ignore (`swr_ignore_headers`).
    pub ignore: IgnoreFields,
    /// The failures that stale-if-error covers (`swr_cache_use_stale`).
    pub use_stale: UseStale,
    /// The stale-while-revalidate window (`swr_cache_stale_while_revalidate`).
    pub swr: Window,
    /// The stale-if-error window (`swr_cache_stale_if_error`).
    pub sie: Window,
    /// Whether to refresh in the background; if `false`, the first request waits (`swr_cache_background_update`).
    pub background_update: bool,
    /// Whether to send conditional requests to the origin (`swr_cache_revalidate`).
    pub revalidate: bool,
    /// Whether to synthesise validators: Smart Edge Revalidation (`swr_cache_edge_revalidation`).
    pub edge_revalidation: bool,
    /// Whether to collapse concurrent fetches of a key (`swr_cache_lock`).
    pub lock: bool,
    /// How long a request waits for the fetch of another one (`swr_cache_lock_timeout`).
    pub lock_timeout: Millis,
    /// The age of a fetch after which another request may fetch too (`swr_cache_lock_age`).
    pub lock_age: Millis,
    /// The targeted fields in order of preference (`swr_cache_control_headers`, RFC 9213).
    pub control_fields: Vec<Box<str>>,
    /// Whether to honour the cache directives of requests (`swr_cache_client_control`).
    pub client_control: bool,
    /// The pause after the first failed fetch of a stored entry (`swr_cache_refresh_backoff`).
    pub backoff_min: Millis,
    /// The longest pause between failing fetches (`swr_cache_refresh_backoff`).
    pub backoff_max: Millis,
    /// Refresh within this last percentage of the lifetime (`swr_cache_refresh_ahead`).
    pub refresh_ahead: Option<u8>,
    /// The maximum number of concurrent background refreshes; beyond it, a refresh is left to a later request
    /// (`swr_cache_refresh_max`). In nginx it applies per location and worker, in the C library per cache. The host
    /// counts them.
    pub refresh_max: u32,
    /// How long a request waits for the origin if a usable stale response is stored (`swr_cache_revalidate_timeout`).
    pub revalidate_timeout: Option<Millis>,
    /// Request fields to normalise before `Vary` is matched (`swr_cache_vary_normalize`).
    pub vary_normalize: Vec<Box<str>>,
    /// The maximum number of variants of a key; beyond it, the oldest is removed (`swr_cache_max_variants`).
    pub max_variants: u32,
    /// Response fields that hold tags (`swr_cache_tag_headers`).
    pub tag_fields: Vec<Box<str>>,
    /// Whether all of them are shown to clients; otherwise only `Cache-Groups` is.
    pub pass_tags: bool,
    /// The part of the query string that belongs to the key (`swr_cache_query`); the host makes the key.
    pub query: Query,
    /// How a request with an unsafe method affects what is stored (`swr_cache_invalidate`).
    pub invalidate: Invalidate,
    /// The codings in which stored responses are kept beside the original, in the order of preference (`swr_cache_compress`).
    pub compress: Vec<EncodeLevel>,
    /// The media types that are encoded; `*` is any (`swr_cache_compress_types`).
    pub compress_types: Vec<Box<str>>,
    /// The length in bytes of the shortest body that is encoded (`swr_cache_compress_min_length`).
    pub compress_min_length: u64,
    /// The time without requests after which an entry is removed, even inside its windows (`inactive=` of the zone).
    pub inactive: Option<Millis>,
}

/// A coding to make, and how hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeLevel {
    /// The coding.
    pub coding: Coding,
    /// Its own level: 1 to 9 of gzip, 0 to 11 of Brotli, 1 to 19 of Zstandard.
    pub level: u32,
}

/// Media types of text that gets much shorter.
const COMPRESSED_TYPES: [&str; 16] = [
    "text/html",
    "text/css",
    "text/plain",
    "text/xml",
    "text/javascript",
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "image/svg+xml",
];

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
            tag_fields: names(&[
                "Surrogate-Key",
                "Cache-Tag",
                "Cache-Tags",
                "xkey",
                "X-Cache-Tags",
                "X-Magento-Tags",
                "Cache-Groups",
            ]),
            pass_tags: false,
            query: Query::default(),
            invalidate: Invalidate::On,
            compress: Vec::new(),
            compress_types: names(&COMPRESSED_TYPES),
            compress_min_length: 256,
            inactive: None,
        }
    }
}

impl Policy {
    /// Whether a response field is meant for this cache alone and hidden from clients: `Surrogate-Control`,
    /// and tags unless they are to be forwarded (except `Cache-Groups`, which downstream caches use too, RFC
    /// 9875).
    pub fn keeps_to_itself(&self, name: &[u8]) -> bool {
        let is_tag = || self.tag_fields.iter().any(|field| is(name, field));
        is(name, "surrogate-control") || !self.pass_tags && !is(name, "cache-groups") && is_tag()
    }
}

fn names(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|name| Box::from(*name)).collect()
}

/// The method of a request, as far as the cache distinguishes methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`; shares the entries of `GET` (RFC 9110 §9.3.2).
    Head,
    /// `POST`.
    Post,
    /// Any other method; written through (RFC 9111 §4).
    Other,
}

impl From<&::http::Method> for Method {
    fn from(method: &::http::Method) -> Method {
        match *method {
            ::http::Method::GET => Method::Get,
            ::http::Method::HEAD => Method::Head,
            ::http::Method::POST => Method::Post,
            _ => Method::Other,
        }
    }
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
    /// `POST`. Listing it means that a POST changes nothing here, so it invalidates nothing either (as in nginx).
    pub const POST: MethodSet = MethodSet(4);

    /// The union of two sets.
    pub const fn with(self, other: MethodSet) -> MethodSet {
        MethodSet(self.0 | other.0)
    }

    /// Whether the set contains `method`.
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

/// The statuses that a `swr_cache_valid` line applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    /// 200, 301 and 302, if the line lists none.
    Usual,
    /// One status.
    Code(u16),
    /// Every status.
    Any,
}

impl StatusMatch {
    /// Whether the line applies to `status`.
    pub fn matches(self, status: u16) -> bool {
        match self {
            StatusMatch::Usual => matches!(status, 200 | 301 | 302),
            StatusMatch::Code(code) => code == status,
            StatusMatch::Any => true,
        }
    }
}

/// The response fields that a location ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IgnoreFields(u16);

impl IgnoreFields {
    /// Ignores none.
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
        // nginx accepts these two here; the cache does not use them.
        ("X-Accel-Redirect", IgnoreFields::NONE),
        ("X-Accel-Buffering", IgnoreFields::NONE),
    ];

    /// Looks a field up by name, in any case; [`IgnoreFields::NONE`] for one that nginx accepts here but the cache does
    /// not use.
    pub(crate) fn of(name: &[u8]) -> Option<IgnoreFields> {
        let named = Self::NAMES.iter().find(|(field, _)| is(name, field));
        named.map(|(_, field)| *field)
    }

    /// Whether all of `fields` are ignored.
    pub const fn has(self, fields: IgnoreFields) -> bool {
        self.0 & fields.0 == fields.0
    }
}

/// The failures that the stale-if-error window covers, and whether the directive was given explicitly.
///
/// An explicit list also grants stale service if the origin gives no window, for the time of [`Policy::sie`] (with
/// [`UseStale::UPDATING`]: [`Policy::swr`]) or 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseStale {
    /// Whether the directive was given explicitly.
    pub written: bool,
    /// A union of the constants below.
    pub conditions: u16,
}

impl UseStale {
    /// The connection failed or was reset.
    pub const ERROR: u16 = 1;
    /// The origin did not answer in time.
    pub const TIMEOUT: u16 = 1 << 1;
    /// The response was empty or invalid.
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

    /// `swr_cache_use_stale off`: an explicit, empty list.
    pub const OFF: UseStale = UseStale {
        written: true,
        conditions: 0,
    };

    /// Nothing listed yet: the start of an explicit list.
    const UNWRITTEN: UseStale = UseStale {
        written: false,
        conditions: 0,
    };

    /// An explicit list of `conditions`.
    pub const fn listed(conditions: u16) -> UseStale {
        UseStale {
            written: true,
            conditions,
        }
    }

    /// Whether all of `conditions` are listed.
    pub const fn has(self, conditions: u16) -> bool {
        self.conditions & conditions == conditions
    }

    /// Whether a response with `status` counts as a failure in this location. A failing status that has no condition of
    /// its own is covered with the most similar one: a 5xx with 500, 408 and 425 with 429.
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

    /// Whether any failure is covered, other than `updating` alone.
    pub(crate) const fn covers_any(self) -> bool {
        self.conditions & !Self::UPDATING != 0
    }
}

impl Default for UseStale {
    /// All failures that RFC 5861 §4 calls an error, and 429; grants no window of its own.
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

/// How a non-error response to an unsafe method affects what is stored (RFC 9111 §4.4). Cache groups that the response
/// names are invalidated in any case, as the origin says so itself (RFC 9875).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidate {
    /// Removes the target, and the same-origin URIs that `Location` and `Content-Location` name.
    On,
    /// Removes the target only.
    Target,
    /// Like [`Invalidate::On`], but makes the responses stale instead of removing them: they are served as their
    /// windows allow. This applies to groups too.
    Soft,
    /// Leaves everything as it is.
    Off,
}

/// The configuration of a window of stale service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The origin's window applies.
    Origin,
    /// There is no window, whatever the origin says.
    Off,
    /// This window applies if the origin gives none, in milliseconds.
    Default(Millis),
    /// This window applies whatever the origin says, in milliseconds. `must-revalidate` and the like still forbid stale
    /// service.
    Force(Millis),
}
