//! Hit-for-miss: a key whose response may not be stored is remembered, so that requests for it are neither collapsed
//! nor sent through the cache; and the release of the waiters of such a fetch.
//!
//! The memory has two periods. During the first, `PASS`, every request passes untouched. During the second, `PROBE`,
//! one request at a time probes whether the response may be stored now, while *the others still pass*: no request
//! waits for a probe, so the first one can come early. A page that became uncacheable by accident (one `Set-Cookie`,
//! one misconfigured deployment) is cached again after ten seconds; one that is uncacheable by nature costs one fetch
//! through the cache in ten seconds. The total of two minutes is Varnish's default.

use super::policy::{CLOCKS_DIFFER, SECOND};
use super::verdict::{Reason, Unstored};
use crate::store::{MarkerView, Millis, Region};

/// How long every request for an uncacheable key passes.
pub(crate) const PASS: Millis = 10 * SECOND;
/// How long, after that, one request at a time probes.
pub(crate) const PROBE: Millis = 110 * SECOND;
/// How long a fetch that stored nothing is remembered for its waiters. They are woken at once, so a second is ample
/// even for a busy worker.
const RELEASE: Millis = SECOND;

/// How long the uses of a key are remembered after the last one.
const USES_REMEMBERED: Millis = 3600 * SECOND;

/// The attributes of a marker by index: the time until which the key passes,
const PASS_UNTIL: usize = 0;
/// the number of requests for it,
const USES: usize = 1;
/// the time until which its waiters are released,
const RELEASED_UNTIL: usize = 2;
/// and the reason why it passes.
const CAUSE: usize = 3;

/// What is remembered about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HitForMiss {
    /// Nothing: its requests go through the cache.
    None,
    /// Its response could not be stored: its requests pass.
    Pass,
    /// Its response could not be stored some time ago: one request at a time probes.
    Probe,
}

impl HitForMiss {
    pub(crate) fn of(marker: &MarkerView, now: Millis) -> HitForMiss {
        match marker.attributes[PASS_UNTIL].saturating_sub(now) {
            0 => HitForMiss::None,
            left if left <= PROBE => HitForMiss::Probe,
            left if left <= PASS + PROBE + CLOCKS_DIFFER => HitForMiss::Pass,
            // It was remembered before the clock was set back.
            _ => HitForMiss::None,
        }
    }
}

/// Remembers that the response of `key` may not be stored.
pub(crate) fn remember(region: &Region, key: &[u8], why: Unstored, now: Millis) {
    let until = now.saturating_add(PASS + PROBE);
    region.set_marker(key, CAUSE, why.reason() as u64, until, now);
    region.set_marker(key, PASS_UNTIL, until, until, now);
}

/// Returns the time until which the key passes, and why; `None` if it does not pass.
pub(crate) fn passing(marker: &MarkerView, now: Millis) -> Option<(Millis, Reason)> {
    let until = marker.attributes[PASS_UNTIL];
    let why = usize::try_from(marker.attributes[CAUSE]).ok()?;
    let why = Reason::ALL.get(why).copied()?;
    (now < until).then_some((until, why))
}

/// The number of recent requests for the key, as far as they are counted.
pub(crate) fn uses(marker: &MarkerView) -> u32 {
    u32::try_from(marker.attributes[USES]).unwrap_or(u32::MAX)
}

/// Forgets that the response of `key` could not be stored.
pub(crate) fn forget(region: &Region, key: &[u8]) {
    region.clear_marker(key, PASS_UNTIL);
}

/// Counts a request for the key and returns the number so far, this one included; 1 if the store is busy. The count
/// expires an hour after the last request.
pub(crate) fn count_use(region: &Region, key: &[u8], now: Millis) -> u32 {
    let until = now.saturating_add(USES_REMEMBERED);
    let uses = region.count_in_marker(key, USES, until, now);
    u32::try_from(uses).unwrap_or(u32::MAX)
}

/// Records, before the waiters of `key` are woken, that the fetch they waited for stored nothing.
pub(crate) fn release_waiters(region: &Region, key: &[u8], now: Millis) {
    let until = now.saturating_add(RELEASE);
    region.set_marker(key, RELEASED_UNTIL, until, until, now);
}

/// Whether a fetch of the key ended just now without storing anything.
pub(crate) fn released(marker: &MarkerView, now: Millis) -> bool {
    (1..=RELEASE + CLOCKS_DIFFER).contains(&marker.attributes[RELEASED_UNTIL].saturating_sub(now))
}
