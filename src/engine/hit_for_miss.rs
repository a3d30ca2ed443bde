//! Hit-for-miss, and the release of those who wait for a response that nobody can share.
//!
//! A key whose response may not be stored is remembered, so that its requests are neither collapsed behind one another nor
//! sent through the cache. The memory has two parts. For the first, `PASS`, every request passes untouched. After it,
//! until `PASS + PROBE`, one request at a time tries whether the response can be stored now, and *the others still
//! pass*: nobody ever waits for a probe, so it can come early. A page that was uncacheable by accident (one `Set-Cookie`, one
//! misconfigured deploy) is cached again after ten seconds; one that is uncacheable by nature costs one led fetch in ten
//! seconds. The whole, two minutes, is what Varnish remembers.

use super::policy::{CLOCKS_DIFFER, SECOND};
use super::verdict::{Reason, Unstored};
use crate::store::{MarkerView, Millis, Region};

/// How long every request of an uncacheable key passes.
pub(crate) const PASS: Millis = 10 * SECOND;
/// How long after that one request at a time tries again.
pub(crate) const PROBE: Millis = 110 * SECOND;
/// How long the end of a fruitless fetch is remembered for those who waited: they are rung at once, so that a second is
/// ample even for a busy worker.
const RELEASE: Millis = SECOND;

/// How long uses of a key are remembered after the last one.
const USES_REMEMBERED: Millis = 3600 * SECOND;

/// The attributes of a marker, by their places: until when the key passes through,
const PASS_UNTIL: usize = 0;
/// how often it was asked for,
const USES: usize = 1;
/// until when those who wait for it are released,
const RELEASED_UNTIL: usize = 2;
/// and why it passes through.
const CAUSE: usize = 3;

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nothing.
    None,
    /// Its responses can't be stored.
    Pass,
    /// They could not be some time ago.
    Probe,
}

impl Memory {
    pub(crate) fn of(marker: &MarkerView, now: Millis) -> Memory {
        match marker.attributes[PASS_UNTIL].saturating_sub(now) {
            0 => Memory::None,
            left if left <= PROBE => Memory::Probe,
            left if left <= PASS + PROBE + CLOCKS_DIFFER => Memory::Pass,
            // It was remembered before the clock was set back.
            _ => Memory::None,
        }
    }
}

/// Remembers that the responses of `key` can't be stored.
pub(crate) fn remember(region: &Region, key: &[u8], why: Unstored, now: Millis) {
    let until = now.saturating_add(PASS + PROBE);
    region.set_marker(key, CAUSE, why.reason() as u64, until, now);
    region.set_marker(key, PASS_UNTIL, until, until, now);
}

/// Until when the key passes through, and why; nothing if it does not.
pub(crate) fn passing(marker: &MarkerView, now: Millis) -> Option<(Millis, Reason)> {
    let until = marker.attributes[PASS_UNTIL];
    let why = usize::try_from(marker.attributes[CAUSE]).ok()?;
    let why = Reason::ALL.get(why).copied()?;
    (now < until).then_some((until, why))
}

/// How often the key was asked for of late, as far as that is counted.
pub(crate) fn uses(marker: &MarkerView) -> u32 {
    u32::try_from(marker.attributes[USES]).unwrap_or(u32::MAX)
}

/// Forgets that the responses of `key` can't be stored.
pub(crate) fn forget(region: &Region, key: &[u8]) {
    region.clear_marker(key, PASS_UNTIL);
}

/// Counts a use of the key and returns how many there were, this one included; 1 when the store is busy. Uses are forgotten an
/// hour after the last.
pub(crate) fn count_use(region: &Region, key: &[u8], now: Millis) -> u32 {
    let until = now.saturating_add(USES_REMEMBERED);
    let uses = region.count_in_marker(key, USES, until, now);
    u32::try_from(uses).unwrap_or(u32::MAX)
}

/// Tells those who wait for a fetch of `key` that it left nothing, before they are rung.
pub(crate) fn release_waiters(region: &Region, key: &[u8], now: Millis) {
    let until = now.saturating_add(RELEASE);
    region.set_marker(key, RELEASED_UNTIL, until, until, now);
}

/// Whether a fetch of the key just ended and left nothing.
pub(crate) fn released(marker: &MarkerView, now: Millis) -> bool {
    (1..=RELEASE + CLOCKS_DIFFER).contains(&marker.attributes[RELEASED_UNTIL].saturating_sub(now))
}
