//! What each word of `$swr_cache_reason` means, and what would have to change for a `HIT`. docs/reasons.md holds the same text.

use crate::engine::verdict::Reason;

/// The explanation of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What led to the reason.
    pub cause: &'static str,
    /// What would have to change for a `HIT`, or that nothing has to.
    pub cure: &'static str,
}

/// Returns the explanation of a reason.
pub const fn advice(reason: Reason) -> Advice {
    let (cause, cure) = words(reason);
    Advice { cause, cure }
}

const NOTHING: &str = "Nothing has to change";

#[rustfmt::skip]
const fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Fresh => ("The stored response is fresh", NOTHING),
        Reason::RefreshAhead => ("The stored response is fresh but close to its end; this request starts a refresh in the background (`swr_cache_refresh_ahead`)", NOTHING),
        Reason::SwrRefresh => ("The stored response is stale but inside its stale-while-revalidate window; this request starts a refresh in the background", "The next request after the refresh gets a `HIT`"),
        Reason::SwrWindow => ("The stored response is stale but inside its stale-while-revalidate window; a refresh is in progress", "The next request after the refresh gets a `HIT`"),
        Reason::SwrBackoff => ("The stored response is stale but inside its stale-while-revalidate window; the last refresh failed, and the pause after it is not over", "The origin has to answer; the statistics and error_log say how it failed. The first request after the pause tries again"),
        Reason::SwrBusy => ("The stored response is stale but inside its stale-while-revalidate window; no refresh can be started now", "The origin has to answer faster, fewer refreshes have to run at once, or `swr_cache_refresh_max` has to be higher. A response to a request with `Authorization` is refreshed only by another such request"),
        Reason::SieBackoff => ("The stored response is stale and inside its stale-if-error window only; the last fetch failed, and the pause after it is not over", "The origin has to answer; the statistics and error_log say how it failed. The first request after the pause tries again"),
        Reason::SieFallback => ("The stored response is stale; this request asked the origin, which failed, and got the stale response (stale-if-error)", "The origin has to answer"),
        Reason::SiePatience => ("The stored response is stale; the origin took longer than `swr_cache_revalidate_timeout`, and the request got the stale response", "The origin has to answer faster. The fetch continues, and the next request may get a `HIT`"),
        Reason::MaxStale => ("The stored response is stale, and the client accepts it (`max-stale`)", "A request without `max-stale` refreshes the response"),
        Reason::Fetched => ("The request waited for a fetch, and got the origin's response, which is stored", "The next request gets a `HIT`"),
        Reason::NotModified => ("The origin answered 304: the stored response is fresh again", "The next request gets a `HIT`"),
        Reason::SameBytes => ("The origin sent the same bytes again: the stored response is fresh again", "The next request gets a `HIT`"),
        Reason::Absent => ("No response is stored for the key. It is not known whether one was stored before and then purged or evicted", "The first request fetches the response, which is stored if it may be"),
        Reason::VaryMiss => ("Variants are stored for the key, but none matches this request: it differs in a request field that the response's `Vary` names", "The first request with these fields fetches its variant. With fewer fields in `Vary`, or with `swr_cache_vary_normalize`, there are fewer variants"),
        Reason::Stale => ("The stored response is stale and outside all windows", "The response needs a longer freshness lifetime, or a stale-while-revalidate window from the origin or by `swr_cache_stale_while_revalidate`"),
        Reason::SieWindow => ("The stored response is stale and inside its stale-if-error window only: the origin is asked first", "The response needs a longer freshness lifetime, or a stale-while-revalidate window"),
        Reason::MustRevalidate => ("The stored response is stale, and `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids serving it stale", "The response needs a longer freshness lifetime; or it has to come without that directive, and with a stale-while-revalidate window"),
        Reason::NoCache => ("The stored response has `no-cache`, so it is validated at each use", "The origin has to send `max-age` in place of `no-cache`"),
        Reason::Synchronous => ("The stored response is stale but inside its stale-while-revalidate window, and this request waits for the refresh: `swr_cache_background_update off`, or a response to a request with `Authorization`", "With `swr_cache_background_update on`, no request waits for a refresh, except for a response to a request with `Authorization`"),
        Reason::ClientRefused => ("The client's `no-cache`, `max-age` or `min-fresh` requires a newer response (`swr_cache_client_control on`)", "The request has to come without that directive, or the location needs `swr_cache_client_control off`"),
        Reason::Authorization => ("The request has `Authorization`, and the response may not be shared (RFC 9111 §3.5)", "The origin has to send `public`, `must-revalidate` or `s-maxage`, if the response may be shared"),
        Reason::Bypass => ("The location's `swr_cache_bypass` condition holds for this request", "The condition must not hold for the request"),
        Reason::Collapsed => ("Another request is fetching the response; this one waits for it", "The request is answered as soon as that fetch has a response"),
        Reason::LockTimeout => ("The fetch of another request took longer than `swr_cache_lock_timeout`, so this request was passed to the origin", "The origin has to answer faster, or `swr_cache_lock_timeout` has to be longer"),
        Reason::Method => ("The location does not cache the method", "The request has to use `GET` or `HEAD`, or a method that `swr_cache_methods` lists"),
        Reason::Precondition => ("The request has `If-Match` or `If-Unmodified-Since`, which only the origin may evaluate (RFC 9111 §4.3.2)", "The request has to come without that field"),
        Reason::MinUses => ("The key has not been requested often enough (`swr_cache_min_uses`)", "More requests have to come for the key, or `swr_cache_min_uses` has to be lower"),
        Reason::HitForMiss => ("The last response for the key could not be stored, so its requests pass the cache: for two minutes at most, and after ten seconds one request at a time tries again", "The origin has to send a response that may be stored; the reason of the request that fetched the last one says what forbade it"),
        Reason::NoCacheCondition => ("The location's `swr_no_cache` condition holds, so the response is not stored", "The condition must not hold for the request or the response"),
        Reason::OnlyIfCached => ("The client accepts a stored response only (`only-if-cached`), and no usable one is stored; it gets 504", "A request without `only-if-cached` fetches the response"),
        Reason::ClientNoStore => ("The request has `no-store` (`swr_cache_client_control on`)", "The request has to come without `no-store`, or the location needs `swr_cache_client_control off`"),
        Reason::NoStore => ("The response has `no-store`", "The response has to come without `no-store`; or the location needs `swr_ignore_headers Cache-Control` with `swr_cache_valid`"),
        Reason::Private => ("The response has `private`: it is for one client only", "The response has to come without `private`, if it is the same for all clients"),
        Reason::SetCookie => ("The response has `Set-Cookie`: it may be for one client only", "The response has to come without `Set-Cookie`; or the location needs `swr_ignore_headers Set-Cookie`, which stores the response without that field"),
        Reason::VaryStar => ("The response has `Vary: *`, which no other request matches", "The response has to come without `Vary: *`, or the location needs `swr_ignore_headers Vary`"),
        Reason::UncacheableStatus => ("A response with this status may not be stored without `public`, `Expires`, `max-age` or `s-maxage`", "The response needs one of these, or the location needs `swr_cache_valid` for the status"),
        Reason::NoFreshness => ("The response has neither a freshness lifetime nor a validator, so it could never be used", "The origin has to send `Cache-Control: max-age`, `Expires` or a validator, or the location needs `swr_cache_valid`"),
        Reason::AccelExpires => ("The response has `X-Accel-Expires: 0`", "The response has to come without that field, or the location needs `swr_ignore_headers X-Accel-Expires`"),
        Reason::Partial => ("The response is partial, or not final", "The origin has to send a complete response: no directive of the location may request a range from it"),
        Reason::HeaderTooLarge => ("The response's header exceeds the limits of the cache, or names more than 4,095 tags", "The response needs a smaller header, or fewer tags"),
        Reason::TooLarge => ("The response is larger than the largest object of the zone (`max_object=`, by default an eighth of the zone)", "The zone needs a larger `max_object=`, or has to be larger"),
        Reason::NoSpace => ("The zone has no room: everything in it is in use, or nothing could be evicted in time", "The zone has to be larger"),
        Reason::Busy => ("The zone did not respond in time, or this worker is shutting down", "The condition is temporary; if it persists, error_log says why"),
        Reason::Superseded => ("A purge or a newer response came first, so this response was not stored", NOTHING),
        Reason::ForeignValidator => ("The origin's 304 does not match what is stored (RFC 9111 §4.3.4)", "The origin has to send validators that distinguish its responses"),
        Reason::RangeOffset => ("The `Range` begins beyond `swr_cache_max_range_offset`, so the request was passed to the origin", "The request has to ask for the complete response, or for a `Range` that begins earlier"),
        Reason::Redirected => ("The response causes an internal redirect in nginx (`X-Accel-Redirect`, `error_page`): the client gets the response of another location", "The location that answers in the end has to use the cache"),
        Reason::OriginError => ("The connection to the origin failed", "The origin has to be reachable; error_log has the error"),
        Reason::OriginTimeout => ("The origin did not answer in time", "The origin has to answer faster, or `proxy_read_timeout` has to be longer"),
        Reason::OriginInvalid => ("The origin's header was empty or invalid", "The origin has to send a valid header; error_log has the error"),
        Reason::Aborted => ("The fetch was given up: the worker was shutting down, or out of memory", "The condition is temporary"),
        Reason::OriginStatus => ("The origin answered with an error status", "The origin has to answer successfully; its own log may say why it did not"),
        Reason::Purged => ("A purge by method (`swr_cache_purge_method`) found a stored response; `$swr_cache_status` is `PURGE`", NOTHING),
        Reason::PurgedNothing => ("A purge by method found nothing stored for the URL", "If a response was stored, the host, the query or `swr_cache_key` of the purge differs from that of the requests"),
        Reason::PurgeRefused => ("A purge by method came from an address that is not allowed to purge, and was answered with 403", "Add the address to `swr_cache_purge_method`"),
        Reason::PurgeUnclear => ("A purge by method had a field or a path that is not understood: it was answered with 400, and nothing was purged", "The answer says what was expected"),
        Reason::PurgeFailed => ("A purge by method failed, because the zone was busy or its memory is damaged, and was answered with 503", "Purge it again; error_log names the zone and the key"),
        Reason::BodyBroken => ("The response's body broke off, or its length differed from the announced one", "The origin has to send the complete body"),
    }
}

/// Returns the lines of the table in docs/reasons.md.
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
