//! What each word of `$swr_cache_reason` means, and what would have to change for a `HIT`: docs/reasons.md is made of this.

use crate::engine::verdict::Reason;

/// A reason, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What led to it.
    pub cause: &'static str,
    /// What would have to change for a `HIT`; or that nothing needs to.
    pub cure: &'static str,
}

/// What led to a reason, and what would have to change.
pub const fn advice(reason: Reason) -> Advice {
    let (cause, cure) = words(reason);
    Advice { cause, cure }
}

const NOTHING: &str = "Nothing has to change";

#[rustfmt::skip]
const fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Fresh => ("The stored response is fresh", NOTHING),
        Reason::RefreshAhead => ("The stored response is fresh, and near its end; a refresh begins in the background (`swr_cache_refresh_ahead`)", NOTHING),
        Reason::SwrRefresh => ("The stored response is stale, inside its stale-while-revalidate window; this request begins the refresh, in the background", "Once the refresh has ended, the next request is a `HIT`"),
        Reason::SwrWindow => ("The stored response is stale, inside its stale-while-revalidate window; a refresh is under way", "Once the refresh has ended, the next request is a `HIT`"),
        Reason::SwrBackoff => ("The stored response is stale, inside its stale-while-revalidate window; the last refresh failed, and its pause runs", "The origin has to answer; the statistics and error_log name how it failed. After the pause a request tries again"),
        Reason::SwrBusy => ("The stored response is stale, inside its stale-while-revalidate window; no refresh can begin now", "Fewer refreshes at a time, a faster origin, or a higher `swr_cache_refresh_max`; a response that was given to credentials is refreshed by a request that has some"),
        Reason::SieBackoff => ("The stored response is stale, and only stale-if-error covers it; the last fetch failed, and its pause runs", "The origin has to answer; the statistics and error_log name how it failed. After the pause a request tries again"),
        Reason::SieFallback => ("The stored response is stale; this request asked the origin, which failed, and got the stale one (stale-if-error)", "The origin has to answer"),
        Reason::SiePatience => ("The stored response is stale; the origin took longer than `swr_cache_revalidate_timeout`", "A faster origin; the fetch goes on, and the next request may be a `HIT`"),
        Reason::MaxStale => ("The stored response is stale, and the client's `max-stale` takes it", "A request without `max-stale` refreshes it"),
        Reason::Fetched => ("The origin's answer to a fetch that this request waited for; it is stored", "The next request is a `HIT`"),
        Reason::NotModified => ("The origin said 304: the stored response holds again", "The next request is a `HIT`"),
        Reason::SameBytes => ("The origin brought back the same bytes: the stored response holds again", "The next request is a `HIT`"),
        Reason::Absent => ("Nothing is stored for the key. Whether it ever was, was purged or was evicted for room is not known", "A request fetches it; it is stored if the response may be"),
        Reason::VaryMiss => ("Variants of the key are stored, none for this request: the response's `Vary` names request fields, and theirs differ", "A request fetches this variant. Fewer fields in `Vary`, or `swr_cache_vary_normalize`, make fewer variants"),
        Reason::Stale => ("The stored response is stale, and no window covers it any more", "A longer freshness, or `stale-while-revalidate` from the origin or by `swr_cache_stale_while_revalidate`"),
        Reason::SieWindow => ("The stored response is stale, and only stale-if-error covers it: the origin is asked first", "A longer freshness, or a stale-while-revalidate window"),
        Reason::MustRevalidate => ("The stored response is stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids to serve it so", "A longer freshness; or without that directive, with a window"),
        Reason::NoCache => ("The origin's `no-cache` asks for a validation at each use", "`max-age` in place of `no-cache`"),
        Reason::Synchronous => ("The stored response is stale, inside its stale-while-revalidate window, and this request waits for the refresh: `swr_cache_background_update off`, or a response that was given to credentials", "`swr_cache_background_update on`"),
        Reason::ClientRefused => ("The client's `no-cache`, `max-age` or `min-fresh` asks for a newer response (`swr_cache_client_control on`)", "A request without it, or `swr_cache_client_control off`"),
        Reason::Authorization => ("The request has `Authorization`, and the response is not for everyone (RFC 9111 §3.5)", "`public`, `must-revalidate` or `s-maxage` from the origin, if it is for everyone after all"),
        Reason::Bypass => ("The location's `swr_cache_bypass` holds for this request", "A request for which it does not hold"),
        Reason::Collapsed => ("Another request is fetching this; this one waits for it", "Once that fetch has ended, it is answered from what came"),
        Reason::LockTimeout => ("The fetch of another took longer than `swr_cache_lock_timeout`: this request went to the origin itself", "A faster origin, or a longer `swr_cache_lock_timeout`"),
        Reason::Method => ("A method that the location does not cache", "`GET` or `HEAD`; or `swr_cache_methods`"),
        Reason::Precondition => ("`If-Match` or `If-Unmodified-Since`: only the origin can judge these (RFC 9111 §4.3.2)", "A request without it"),
        Reason::MinUses => ("The key was not asked for often enough yet (`swr_cache_min_uses`)", "More requests, or a lower `swr_cache_min_uses`"),
        Reason::HitForMiss => ("The key is remembered to bring responses that may not be stored: requests pass, for two minutes at most; after ten seconds one at a time tries again", "The origin's response has to be one that may be stored; see the reason of the request that found it out"),
        Reason::NoCacheCondition => ("The location's `swr_no_cache` holds", "A request or a response for which it does not hold"),
        Reason::OnlyIfCached => ("The client wants a stored response only (`only-if-cached`), and no usable one is there: 504", "A request without it fetches one"),
        Reason::ClientNoStore => ("`no-store` in the request (`swr_cache_client_control on`)", "A request without it, or `swr_cache_client_control off`"),
        Reason::NoStore => ("`no-store` in the response", "A response without it; or `swr_ignore_headers Cache-Control` with `swr_cache_valid`"),
        Reason::Private => ("`private` in the response: it is for one visitor", "A response without it, if it is for everyone"),
        Reason::SetCookie => ("`Set-Cookie` in the response: it may be for one visitor", "A response without it; or `swr_ignore_headers Set-Cookie`, and the field is not stored"),
        Reason::VaryStar => ("`Vary: *` in the response: it fits no other request", "A response without it; or `swr_ignore_headers Vary`"),
        Reason::UncacheableStatus => ("A status that may not be stored without `public`, `Expires`, `max-age` or `s-maxage`", "One of these in the response; or `swr_cache_valid` for the status"),
        Reason::NoFreshness => ("Neither freshness nor a validator in the response: it could never be used", "`Cache-Control: max-age`, `Expires` or a validator from the origin; or `swr_cache_valid`"),
        Reason::AccelExpires => ("`X-Accel-Expires: 0` in the response", "A response without it; or `swr_ignore_headers X-Accel-Expires`"),
        Reason::Partial => ("A part of a response, or no final one", "A whole response: nothing in the location may ask the origin for a range"),
        Reason::HeaderTooLarge => ("The response's header is larger than the cache takes", "A smaller header"),
        Reason::TooLarge => ("The response is larger than an object may be (`max_object=` of the zone, or an eighth of it)", "A larger `max_object=`, or a larger zone"),
        Reason::NoSpace => ("No room in the zone: all that it holds is in use, or nothing could be freed in time", "A larger zone"),
        Reason::Busy => ("The zone could not be asked in time, or this worker is on its way out", "It passes by itself; if it does not, error_log says why"),
        Reason::Superseded => ("A purge or a newer response came in between", NOTHING),
        Reason::ForeignValidator => ("The origin's 304 does not fit what is stored (RFC 9111 §4.3.4)", "The origin's validators have to tell its responses apart"),
        Reason::RangeOffset => ("The `Range` begins beyond `swr_cache_max_range_offset`: it goes to the origin as it is", "A request for the whole, or a `Range` that begins earlier"),
        Reason::Redirected => ("The answer leads on inside of nginx (`X-Accel-Redirect`, `error_page`): what the request gets is that of another location", "The location that answers in the end has to use the cache"),
        Reason::OriginError => ("The connection to the origin failed", "The origin has to be reachable; error_log names the error"),
        Reason::OriginTimeout => ("The origin did not answer in time", "A faster origin, or a longer `proxy_read_timeout`"),
        Reason::OriginInvalid => ("The origin's header was empty or invalid", "The origin has to send a valid header; error_log names the error"),
        Reason::Aborted => ("The fetch was given up", "It passes by itself: the worker was on its way out, or out of memory"),
        Reason::OriginStatus => ("The origin answered with an error status", "The origin has to answer; its log may say why it did not"),
        Reason::Purged => ("A purge by method (`swr_cache_purge_method`) that found something; `$swr_cache_status` is `PURGE`", NOTHING),
        Reason::PurgedNothing => ("A purge by method; nothing was stored for the URL", "If something should have been: the host, the query or `swr_cache_key` of the purge differs from that of the requests"),
        Reason::PurgeRefused => ("A purge by method from an address that may not purge: 403", "The address in `swr_cache_purge_method`"),
        Reason::PurgeFailed => ("A purge by method that failed, as the zone was busy or its memory is damaged: 503", "Purge it again; error_log names the zone and the key"),
        Reason::BodyBroken => ("The body broke off, or was not as long as announced", "The origin has to send the whole body"),
    }
}

/// The lines of the table in docs/reasons.md.
pub fn table() -> String {
    let line = |reason: &Reason| {
        let advice = advice(*reason);
        format!(
            "| `{}` | {} | {} |\n",
            reason.as_str(),
            advice.cause,
            advice.cure
        )
    };
    Reason::ALL.iter().map(line).collect()
}
