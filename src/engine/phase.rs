//! The four phases of an entry's life, and the windows that separate them.
//!
//! Windows are counted from the end of freshness (RFC 5861 §3, §4), and their end is exclusive: an entry with
//! `max-age=60, stale-while-revalidate=300` is served for the last time at an age of 359.999 s.

use super::policy::{GRANTED, Policy, SECOND, UseStale, Window};
use super::record::{Flags, RecordHead};
use crate::store::Millis;

/// The phase of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Served as it is.
    Fresh,
    /// Stale inside stale-while-revalidate: served, and refreshed once in the background.
    Swr,
    /// Stale, and inside stale-if-error only: the origin is asked, and the entry is served if that fails.
    Sie,
    /// Outside all windows: the origin is asked, and its error is forwarded.
    TooOld,
}

/// The ends of an entry's windows under a policy (Unix time in ms, exclusive; 0 means no window).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The end of freshness: until then, the entry is served as it is.
    pub fresh_until: Millis,
    /// Until then, the entry is served while it is refreshed.
    pub swr_until: Millis,
    /// Until then, the entry is served if the origin fails.
    pub sie_until: Millis,
}

impl Windows {
    /// No window at all, not even freshness.
    pub const NONE: Windows = Windows {
        fresh_until: 0,
        swr_until: 0,
        sie_until: 0,
    };

    #[inline]
    pub(crate) fn of(head: &RecordHead, policy: &Policy) -> Windows {
        // §5.2.2.4: a response with `no-cache` is validated at each use, whatever its lifetime.
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

    /// Returns the phase at `now`.
    pub fn phase(&self, now: Millis) -> Phase {
        match now {
            _ if now < self.fresh_until => Phase::Fresh,
            _ if now < self.swr_until => Phase::Swr,
            _ if now < self.sie_until => Phase::Sie,
            _ => Phase::TooOld,
        }
    }

    /// The end of the last window, stale service included.
    pub(crate) fn end(&self) -> Millis {
        self.fresh_until.max(self.swr_until).max(self.sie_until)
    }
}

/// Whether the origin forbids stale service explicitly: `must-revalidate`, `proxy-revalidate` and `no-cache` override
/// every window, whether the origin or the configuration gives it (RFC 9111 §4.2.4).
pub(crate) fn binds(head: &RecordHead) -> bool {
    head.flags.0 & (Flags::MUST_REVALIDATE.0 | Flags::NO_CACHE.0) != 0
}

fn swr(head: &RecordHead, policy: &Policy) -> Millis {
    let granted = policy.use_stale.written && policy.use_stale.has(UseStale::UPDATING);
    window(head, policy.swr, head.swr, granted)
}

fn sie(head: &RecordHead, policy: &Policy) -> Millis {
    if !policy.use_stale.covers_any() {
        return 0;
    }
    window(head, policy.sie, head.sie, policy.use_stale.written)
}

/// The length of a window in milliseconds: the forced one, else the origin's, else the configured or granted one.
/// `s-maxage` alone implies `proxy-revalidate` (§5.2.2.10), which only the origin's or a forced window overrides.
///
/// A response that was never fresh (`max-age=0`, or no lifetime at all) has the origin's own windows only: a location
/// may extend the use of a response, but not make an unusable one usable.
fn window(head: &RecordHead, configured: Window, origin: Option<u32>, granted: bool) -> Millis {
    if binds(head) {
        return 0;
    }
    let own = origin.map(|seconds| Millis::from(seconds) * SECOND);
    let implied = head.flags.has(Flags::S_MAXAGE);
    match configured {
        Window::Off => 0,
        _ if own.is_none() && head.lifetime == 0 => 0,
        Window::Force(time) => time,
        Window::Default(_) | Window::Origin if own.is_some() || implied => own.unwrap_or(0),
        Window::Default(time) => time,
        Window::Origin if granted => GRANTED,
        Window::Origin => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{HeadFacts, Writer};

    /// An entry stored at time 0 with a lifetime of 60 s.
    fn head(flags: Flags, swr: Option<u32>, sie: Option<u32>) -> RecordHead {
        let facts = HeadFacts {
            flags,
            lifetime: 60_000,
            swr,
            sie,
            ..HeadFacts::default()
        };
        let record = Writer::new(b"").lines().finish(&facts).unwrap();
        RecordHead::decode(&record).unwrap()
    }

    fn windows(head: &RecordHead, change: impl FnOnce(&mut Policy)) -> (Millis, Millis) {
        let mut policy = Policy::default();
        change(&mut policy);
        let windows = Windows::of(head, &policy);
        (windows.swr_until, windows.sie_until)
    }

    #[test]
    fn phases_end_before_their_last_instant() {
        let windows = Windows::of(
            &head(Flags::default(), Some(300), Some(600)),
            &Policy::default(),
        );
        let phases = [
            (0, Phase::Fresh),
            (59_999, Phase::Fresh),
            (60_000, Phase::Swr),
            (359_999, Phase::Swr),
            (360_000, Phase::Sie),
            (659_999, Phase::Sie),
            (660_000, Phase::TooOld),
        ];
        for (now, phase) in phases {
            assert_eq!(windows.phase(now), phase, "{now}");
        }
        assert_eq!(windows.end(), 660_000);
    }

    #[test]
    fn windows_by_origin_configuration_and_grant() {
        let silent = head(Flags::default(), None, None);
        let speaks = head(Flags::default(), Some(10), Some(20));
        let day = 60_000 + GRANTED;
        assert_eq!(windows(&silent, |_| {}), (0, 0));
        assert_eq!(windows(&speaks, |_| {}), (70_000, 80_000));
        let default = |policy: &mut Policy| policy.swr = Window::Default(5_000);
        assert_eq!(windows(&silent, default).0, 65_000);
        assert_eq!(windows(&speaks, default).0, 70_000);
        let force = |policy: &mut Policy| policy.sie = Window::Force(5_000);
        assert_eq!(windows(&speaks, force).1, 65_000);
        let off = |policy: &mut Policy| policy.swr = Window::Off;
        assert_eq!(windows(&speaks, off), (0, 80_000));
        let written =
            |conditions| move |policy: &mut Policy| policy.use_stale = UseStale::listed(conditions);
        assert_eq!(windows(&silent, written(UseStale::ERROR)), (0, day));
        assert_eq!(windows(&silent, written(UseStale::UPDATING)), (day, 0));
        let timed = |policy: &mut Policy| {
            policy.use_stale = UseStale::listed(UseStale::ERROR | UseStale::UPDATING);
            policy.sie = Window::Default(1_000);
        };
        assert_eq!(windows(&silent, timed), (day, 61_000));
        assert_eq!(
            windows(&speaks, |policy| policy.use_stale = UseStale::OFF),
            (70_000, 0)
        );
    }

    #[test]
    fn what_binds_beats_every_window() {
        let force = |policy: &mut Policy| {
            policy.swr = Window::Force(5_000);
            policy.sie = Window::Force(5_000);
        };
        for flags in [Flags::MUST_REVALIDATE, Flags::NO_CACHE] {
            assert_eq!(windows(&head(flags, Some(9), Some(9)), force), (0, 0));
        }
        // The origin's own or a forced window overrides `s-maxage`; nothing else does.
        let shared = |swr| head(Flags::S_MAXAGE, swr, None);
        assert_eq!(windows(&shared(Some(9)), |_| {}).0, 69_000);
        assert_eq!(windows(&shared(None), force).0, 65_000);
        assert_eq!(
            windows(&shared(None), |policy| policy.swr = Window::Default(1)).0,
            0
        );
    }

    #[test]
    fn what_was_never_fresh_has_the_origins_windows_alone() {
        let never = |swr| {
            let facts = HeadFacts {
                swr,
                ..HeadFacts::default()
            };
            let record = Writer::new(b"").lines().finish(&facts).unwrap();
            RecordHead::decode(&record).unwrap()
        };
        let policies: [fn(&mut Policy); 3] = [
            |policy| policy.swr = Window::Default(5_000),
            |policy| policy.swr = Window::Force(5_000),
            |policy| policy.use_stale = UseStale::listed(UseStale::UPDATING | UseStale::ERROR),
        ];
        for change in policies {
            assert_eq!(windows(&never(None), change), (0, 0));
        }
        assert_eq!(windows(&never(Some(9)), policies[0]).0, 9_000);
        assert_eq!(windows(&never(Some(9)), policies[1]).0, 5_000);
    }

    #[test]
    fn no_cache_is_never_fresh() {
        let windows = Windows::of(&head(Flags::NO_CACHE, None, None), &Policy::default());
        assert_eq!(windows.phase(0), Phase::TooOld);
    }
}
