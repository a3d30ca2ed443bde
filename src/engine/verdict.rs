//! The words of a verdict: [`Status`] in nginx's vocabulary, and [`Reason`], why.

/// The cache status of a request, in nginx's vocabulary and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A fresh stored response (or a fill in progress that will be one).
    Hit,
    /// Nothing stored; this request waited for the origin, or was passed to it.
    Miss,
    /// The location's bypass condition held.
    Bypass,
    /// The entry was stale; this request waited for the origin, which sent a new response.
    Expired,
    /// A stale response because the origin failed or was too slow.
    Stale,
    /// A stale response inside the stale-while-revalidate window, the first request after expiry included.
    Updating,
    /// The entry was stale; this request waited for the origin, which said 304.
    Revalidated,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Hit,
        Status::Miss,
        Status::Bypass,
        Status::Expired,
        Status::Stale,
        Status::Updating,
        Status::Revalidated,
    ];

    /// The word for `$swr_cache_status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Hit => "HIT",
            Status::Miss => "MISS",
            Status::Bypass => "BYPASS",
            Status::Expired => "EXPIRED",
            Status::Stale => "STALE",
            Status::Updating => "UPDATING",
            Status::Revalidated => "REVALIDATED",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a verdict is what it is: the fixed set of words of `$swr_cache_reason`, the log and `Cache-Status`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $word,)* }
            }

            /// The word and a NUL behind it, for C.
            pub const fn as_cstr_bytes(self) -> &'static [u8] {
                match self { $(Reason::$name => concat!($word, "\0").as_bytes(),)* }
            }
        }
    };
}

reasons! {
    // Served from the store.
    /// Fresh.
    Fresh = "fresh",
    /// Fresh, near its end: a refresh has been started.
    RefreshAhead = "refresh-ahead",
    /// Stale inside stale-while-revalidate: this request starts the refresh.
    SwrRefresh = "swr-refresh",
    /// Stale inside stale-while-revalidate: a refresh is under way elsewhere.
    SwrWindow = "swr-window",
    /// Stale inside stale-while-revalidate: the last refresh failed and the pause is not over.
    SwrBackoff = "swr-backoff",
    /// Stale inside stale-while-revalidate: the host has no room for a refresh now.
    SwrBusy = "swr-busy",
    /// Stale inside stale-if-error: the last fetch failed and the pause is not over.
    SieBackoff = "sie-backoff",
    /// Stale inside stale-if-error: this request's fetch failed.
    SieFallback = "sie-fallback",
    /// Stale inside stale-if-error: the origin took longer than the location's patience.
    SiePatience = "sie-patience",
    /// Stale, and the client's `max-stale` takes it.
    MaxStale = "max-stale",
    /// The answer of a fetch that this request waited for.
    Fetched = "fetched",
    /// The origin said 304.
    NotModified = "not-modified",
    /// The origin brought back the same bytes.
    SameBytes = "same-bytes",

    // Why the origin is asked.
    /// Nothing is stored for the key.
    Absent = "absent",
    /// The key has variants, none for this request.
    VaryMiss = "vary-miss",
    /// Stale, and no window covers it any more.
    Stale = "stale",
    /// Stale inside stale-if-error only.
    SieWindow = "sie-window",
    /// Stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids to serve it so.
    MustRevalidate = "must-revalidate",
    /// The stored `no-cache` asks for a validation at each use.
    NoCache = "no-cache",
    /// Inside stale-while-revalidate, but the location refreshes synchronously.
    Synchronous = "synchronous",
    /// The client's `no-cache`, `max-age` or `min-fresh` asks for a newer response.
    ClientRefused = "client-refused",
    /// `Authorization` on the request, and the stored response is not for everyone (RFC 9111 §3.5).
    Authorization = "authorization",
    /// The location's bypass condition.
    Bypass = "bypass",

    // Why a request waits.
    /// Another request is fetching this.
    Collapsed = "collapsed",
    /// Waited longer than the lock timeout.
    LockTimeout = "lock-timeout",

    // Why the cache takes no part, or stores nothing.
    /// A method that the location does not cache.
    Method = "method",
    /// `If-Match` or `If-Unmodified-Since`: not for a cache to judge (RFC 9111 §4.3.2).
    Precondition = "precondition",
    /// A range that begins so far in that the location does not fetch the whole for it.
    RangeOffset = "range-offset",
    /// Not asked for often enough yet.
    MinUses = "min-uses",
    /// The key is known to bring uncacheable responses.
    HitForMiss = "hit-for-miss",
    /// The location's no-cache condition.
    NoCacheCondition = "no-cache-condition",
    /// The host answers from elsewhere: an internal redirect, or an error page of its own.
    Redirected = "redirected",
    /// `only-if-cached`, and nothing usable is stored.
    OnlyIfCached = "only-if-cached",
    /// `no-store` in the request.
    ClientNoStore = "client-no-store",
    /// `no-store` in the response.
    NoStore = "no-store",
    /// `private` in the response.
    Private = "private",
    /// `Set-Cookie` in the response.
    SetCookie = "set-cookie",
    /// `Vary: *`.
    VaryStar = "vary-star",
    /// A status that may not be stored.
    UncacheableStatus = "status",
    /// Neither freshness nor a validator: it could never be used.
    NoFreshness = "no-freshness",
    /// `X-Accel-Expires: 0`.
    AccelExpires = "x-accel-expires",
    /// A part, or otherwise not a whole final response.
    Partial = "partial",
    /// Header too large for the cache.
    HeaderTooLarge = "header-too-large",
    /// Body larger than an object may be.
    TooLarge = "too-large",
    /// No room in the zone.
    NoSpace = "no-space",
    /// The zone's lock could not be had in time.
    Busy = "busy",
    /// A purge or a newer fill came in between.
    Superseded = "superseded",
    /// A 304 that does not fit what is stored (RFC 9111 §4.3.4).
    ForeignValidator = "foreign-validator",

    // How a fetch failed.
    /// The connection to the origin failed.
    OriginError = "origin-error",
    /// The origin did not answer in time.
    OriginTimeout = "origin-timeout",
    /// The origin's header was invalid.
    OriginInvalid = "origin-invalid",
    /// The fetch was given up.
    Aborted = "aborted",
    /// The origin answered with an error status.
    OriginStatus = "origin-status",
    /// The body broke off.
    BodyBroken = "body-broken",

    // What came of a purge by method.
    /// Something was stored, and is gone.
    Purged = "purged",
    /// Nothing was stored.
    PurgedNothing = "purged-nothing",
    /// The client's address may not purge.
    PurgeRefused = "purge-refused",
    /// The zone was busy, or its memory is damaged.
    PurgeFailed = "purge-failed",
}

/// Reasons of one kind, so that a match on them has to be complete.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($name:ident,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $(
            #[doc = concat!("[`Reason::", stringify!($name), "`].")]
            $name,
        )* }

        impl $kind {
            /// Every one.
            pub const ALL: &'static [$kind] = &[$($kind::$name,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                self.reason().as_str()
            }

            /// The reason as such.
            pub const fn reason(self) -> Reason {
                match self { $($kind::$name => Reason::$name,)* }
            }
        }

        impl From<$kind> for Reason {
            fn from(kind: $kind) -> Reason {
                kind.reason()
            }
        }
    )* };
}

kinds! {
    /// Why the origin is asked.
    Asked {
        RefreshAhead,
        SwrRefresh,
        Absent,
        VaryMiss,
        Stale,
        SieWindow,
        MustRevalidate,
        NoCache,
        Synchronous,
        ClientRefused,
        Authorization,
        Bypass,
    }
    /// Why a request passes by the cache.
    Passed {
        Bypass,
        LockTimeout,
        Method,
        Precondition,
        RangeOffset,
        MinUses,
        HitForMiss,
        NoCacheCondition,
        ClientNoStore,
        Busy,
    }
    /// Why a response is not stored.
    Unstored {
        Authorization,
        Method,
        NoCacheCondition,
        Redirected,
        ClientNoStore,
        NoStore,
        Private,
        SetCookie,
        VaryStar,
        UncacheableStatus,
        NoFreshness,
        AccelExpires,
        Partial,
        HeaderTooLarge,
        TooLarge,
        NoSpace,
        Superseded,
    }
    /// How a fetch failed.
    Failed {
        ForeignValidator,
        OriginError,
        OriginTimeout,
        OriginInvalid,
        Aborted,
        OriginStatus,
        BodyBroken,
    }
}

/// Why a fetch leaves nothing new in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    Unstored(Unstored),
    Failed(Failed),
}

impl From<NotKept> for Reason {
    fn from(why: NotKept) -> Reason {
        match why {
            NotKept::Unstored(why) => why.reason(),
            NotKept::Failed(how) => how.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_a_word_of_its_own() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(
                reason.as_cstr_bytes().strip_suffix(b"\0"),
                Some(reason.as_str().as_bytes())
            );
        }
    }
}
