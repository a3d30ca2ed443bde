//! The words of a decision: [`Status`] in nginx's vocabulary, and [`Reason`], which explains it.

/// The cache status of a request, in nginx's vocabulary and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A fresh stored response, or one that is being stored.
    Hit,
    /// No response was stored; this request waited for the origin, or was passed to it.
    Miss,
    /// The location's bypass condition held.
    Bypass,
    /// The entry was stale; this request waited for the origin, which sent a new response.
    Expired,
    /// A stale response, because the origin failed or was too slow.
    Stale,
    /// A stale response inside the stale-while-revalidate window, also for the first request after expiry.
    Updating,
    /// The entry was stale; this request waited for the origin, which answered 304.
    Revalidated,
}

impl Status {
    /// All statuses.
    pub const ALL: [Status; 7] = [
        Status::Hit,
        Status::Miss,
        Status::Bypass,
        Status::Expired,
        Status::Stale,
        Status::Updating,
        Status::Revalidated,
    ];

    /// The word in `$swr_cache_status`.
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
        /// The reason for a decision: the fixed set of words in `$swr_cache_reason`, the log and `Cache-Status`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $word,)* }
            }

            /// The word with a terminating NUL, for C.
            pub const fn as_cstr_bytes(self) -> &'static [u8] {
                match self { $(Reason::$name => concat!($word, "\0").as_bytes(),)* }
            }
        }
    };
}

reasons! {
    // Why a response is served from the store.
    /// It is fresh.
    Fresh = "fresh",
    /// It is fresh but close to its end: a refresh has been started.
    RefreshAhead = "refresh-ahead",
    /// It is stale inside stale-while-revalidate: this request starts the refresh.
    SwrRefresh = "swr-refresh",
    /// It is stale inside stale-while-revalidate: a refresh is in progress.
    SwrWindow = "swr-window",
    /// It is stale inside stale-while-revalidate: the last refresh failed, and its pause is not over.
    SwrBackoff = "swr-backoff",
    /// It is stale inside stale-while-revalidate: the host can't run another refresh now.
    SwrBusy = "swr-busy",
    /// It is stale inside stale-if-error: the last fetch failed, and its pause is not over.
    SieBackoff = "sie-backoff",
    /// It is stale inside stale-if-error: this request's fetch failed.
    SieFallback = "sie-fallback",
    /// It is stale inside stale-if-error: the origin took longer than the location waits.
    SiePatience = "sie-patience",
    /// It is stale, and the client's `max-stale` accepts it.
    MaxStale = "max-stale",
    /// It is the answer of a fetch that this request waited for.
    Fetched = "fetched",
    /// The origin answered 304.
    NotModified = "not-modified",
    /// The origin sent the same bytes again.
    SameBytes = "same-bytes",

    // Why the origin is asked.
    /// No response is stored under the key.
    Absent = "absent",
    /// The key has variants, but none for this request.
    VaryMiss = "vary-miss",
    /// The stored response is stale and outside all windows.
    Stale = "stale",
    /// The stored response is stale and inside stale-if-error only.
    SieWindow = "sie-window",
    /// The stored response is stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids serving it.
    MustRevalidate = "must-revalidate",
    /// The stored response has `no-cache`, which requires validation at each use.
    NoCache = "no-cache",
    /// The stored response is inside stale-while-revalidate, but the location refreshes synchronously.
    Synchronous = "synchronous",
    /// The client's `no-cache`, `max-age` or `min-fresh` requires a newer response.
    ClientRefused = "client-refused",
    /// The request has `Authorization`, and the stored response may not be shared (RFC 9111 §3.5).
    Authorization = "authorization",
    /// The location's bypass condition holds.
    Bypass = "bypass",

    // Why a request waits, or stops waiting.
    /// Another request is fetching the response.
    Collapsed = "collapsed",
    /// The request waited longer than the lock timeout.
    LockTimeout = "lock-timeout",

    // Why the cache is not used, or stores nothing.
    /// The location does not cache the method.
    Method = "method",
    /// `If-Match` or `If-Unmodified-Since`, which a cache may not evaluate (RFC 9111 §4.3.2).
    Precondition = "precondition",
    /// The range begins so far into the response that the location does not fetch the whole for it.
    RangeOffset = "range-offset",
    /// The key has not been requested often enough.
    MinUses = "min-uses",
    /// The key is remembered to have uncacheable responses.
    HitForMiss = "hit-for-miss",
    /// The location's no-cache condition holds.
    NoCacheCondition = "no-cache-condition",
    /// The host answers from elsewhere: an internal redirect, or an error page of its own.
    Redirected = "redirected",
    /// The request has `only-if-cached`, and no usable response is stored.
    OnlyIfCached = "only-if-cached",
    /// The request has `no-store`.
    ClientNoStore = "client-no-store",
    /// The response has `no-store`.
    NoStore = "no-store",
    /// The response has `private`.
    Private = "private",
    /// The response has `Set-Cookie`.
    SetCookie = "set-cookie",
    /// The response has `Vary: *`.
    VaryStar = "vary-star",
    /// The response's status may not be stored.
    UncacheableStatus = "status",
    /// The response has neither a lifetime nor a validator, so it could never be used.
    NoFreshness = "no-freshness",
    /// The response has `X-Accel-Expires: 0`.
    AccelExpires = "x-accel-expires",
    /// The response is partial, or not final.
    Partial = "partial",
    /// The header exceeds the cache's limits.
    HeaderTooLarge = "header-too-large",
    /// The body is larger than the largest object of the zone.
    TooLarge = "too-large",
    /// The zone has no room.
    NoSpace = "no-space",
    /// The zone's lock was not acquired in time.
    Busy = "busy",
    /// A purge or a newer response came first.
    Superseded = "superseded",
    /// A 304 that does not match what is stored (RFC 9111 §4.3.4).
    ForeignValidator = "foreign-validator",

    // How a fetch failed.
    /// The connection to the origin failed.
    OriginError = "origin-error",
    /// The origin did not answer in time.
    OriginTimeout = "origin-timeout",
    /// The origin's header was empty or invalid.
    OriginInvalid = "origin-invalid",
    /// The host gave the fetch up.
    Aborted = "aborted",
    /// The origin answered with an error status.
    OriginStatus = "origin-status",
    /// The body was incomplete.
    BodyBroken = "body-broken",

    // The result of a purge by method.
    /// A stored response was found and purged.
    Purged = "purged",
    /// Nothing was stored for the URL.
    PurgedNothing = "purged-nothing",
    /// The client's address is not allowed to purge.
    PurgeRefused = "purge-refused",
    /// The zone was busy, or its memory is damaged.
    PurgeFailed = "purge-failed",
    /// The request to purge was not understood.
    PurgeUnclear = "purge-unclear",
}

/// Declares an enum of the reasons of one kind, so that a match on it has to be complete.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($name:ident,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $(
            #[doc = concat!("[`Reason::", stringify!($name), "`].")]
            $name,
        )* }

        impl $kind {
            /// All of them.
            pub const ALL: &'static [$kind] = &[$($kind::$name,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                self.reason().as_str()
            }

            /// The same reason as a [`Reason`].
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
    /// Why a request passes the cache.
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

/// Why a fetch stores nothing new.
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
