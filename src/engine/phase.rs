//! The four phases of an entry's life, and the windows that part them.
//!
//! Windows are counted from the end of freshness (RFC 5861 §3, §4) and end before their last instant: an entry with
//! `max-age=60, stale-while-revalidate=300` is served for the last time at age 359.999 s.

use super::policy::{GRANTED, Policy, SECOND, UseStale, Window};
use super::record::{Flags, Head};
use crate::store::Millis;

/// Where in its life an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Served as it is.
    Fresh,
    /// Stale inside stale-while-revalidate.
    Swr,
    /// Stale, and only stale-if-error covers it.
    Sie,
    /// No window covers it.
    TooOld,
}

/// When the windows of an entry end under a policy (Unix time in ms, exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) fresh_until: Millis,
    pub(crate) swr_until: Millis,
    pub(crate) sie_until: Millis,
}

impl Windows {
    pub(crate) fn of(head: &Head, policy: &Policy) -> Windows {
        // §5.2.2.4: `no-cache` is validated at each use, however long it would be fresh.
        let fresh_until = match head.flags.has(Flags::NO_CACHE) {
            true => 0,
            false => head.fresh_until,
        };
        let until = |window: Millis| match window {
            0 => 0,
            window => head.fresh_until.saturating_add(window),
        };
        Windows {
            fresh_until,
            swr_until: until(swr(head, policy)),
            sie_until: until(sie(head, policy)),
        }
    }

    pub(crate) fn phase(&self, now: Millis) -> Phase {
        match now {
            _ if now < self.fresh_until => Phase::Fresh,
            _ if now < self.swr_until => Phase::Swr,
            _ if now < self.sie_until => Phase::Sie,
            _ => Phase::TooOld,
        }
    }

    /// When the entry is of no use any more, stale service included.
    pub(crate) fn end(&self) -> Millis {
        self.fresh_until.max(self.swr_until).max(self.sie_until)
    }
}

/// Whether the origin forbids any stale service outright: `must-revalidate`, `proxy-revalidate` or `no-cache` beat every
/// window, from wherever it comes (RFC 9111 §4.2.4).
pub(crate) fn binds(head: &Head) -> bool {
    head.flags.0 & (Flags::MUST_REVALIDATE.0 | Flags::NO_CACHE.0) != 0
}

fn swr(head: &Head, policy: &Policy) -> Millis {
    let granted = policy.use_stale.written && policy.use_stale.has(UseStale::UPDATING);
    window(head, policy.swr, head.swr, granted)
}

fn sie(head: &Head, policy: &Policy) -> Millis {
    if !policy.use_stale.covers_any() {
        return 0;
    }
    window(head, policy.sie, head.sie, policy.use_stale.written)
}

/// The length of a window: what is forced, else what the origin names, else what is configured or granted. `s-maxage`
/// alone implies `proxy-revalidate` (§5.2.2.10): it yields to a window that the origin names or an operator forces only.
fn window(head: &Head, configured: Window, origin: Option<u32>, granted: bool) -> Millis {
    if binds(head) {
        return 0;
    }
    let own = origin.map(|seconds| Millis::from(seconds) * SECOND);
    let implied = head.flags.has(Flags::S_MAXAGE);
    match configured {
        Window::Off => 0,
        Window::Force(time) => time,
        Window::Default(_) | Window::Origin if own.is_some() || implied => own.unwrap_or(0),
        Window::Default(time) => time,
        Window::Origin if granted => GRANTED,
        Window::Origin => 0,
    }
}
