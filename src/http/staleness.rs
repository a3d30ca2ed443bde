//! What a response allows once it is stale (RFC 9111 §4.2.4, RFC 5861). Whether the configuration changes
//! these windows is for the engine to decide.

use super::{CacheControl, Millis, Swr, seconds};

/// The directive that forbids serving the response stale, weakest first (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// No directive forbids it.
    Free,
    /// `s-maxage` implies `proxy-revalidate` (RFC 9111 §5.2.2.10). A stale window in the same field overrides
    /// what is merely implied; a configured window does not.
    SMaxAge,
    /// `proxy-revalidate` forbids it.
    ProxyRevalidate,
    /// `must-revalidate` forbids it.
    MustRevalidate,
    /// Unqualified `no-cache` forbids it, and requires validation even while the response is fresh.
    NoCache,
}

impl Bind {
    /// Returns the strongest one among the governing directives.
    pub fn of(control: &CacheControl) -> Bind {
        if control.no_cache.is_all() {
            Bind::NoCache
        } else if control.must_revalidate {
            Bind::MustRevalidate
        } else if control.proxy_revalidate {
            Bind::ProxyRevalidate
        } else if control.s_maxage.is_some() {
            Bind::SMaxAge
        } else {
            Bind::Free
        }
    }
}

/// What a response allows after its freshness. A window is in milliseconds from the end of freshness; `None`
/// if the origin states none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// What forbids serving the response stale.
    pub bind: Bind,
    /// The origin's `stale-while-revalidate` window.
    pub swr: Option<Millis>,
    /// The origin's `stale-if-error` window.
    pub sie: Option<Millis>,
}

impl Staleness {
    /// Reads it from the governing directives. `lifetime` is the length of the window if
    /// `stale-while-revalidate` has no value.
    pub fn of(control: &CacheControl, lifetime: Millis) -> Staleness {
        let swr = control.stale_while_revalidate.map(|swr| match swr {
            Swr::Seconds(s) => seconds(s),
            Swr::NoValue => lifetime.max(seconds(1)),
        });
        Staleness {
            bind: Bind::of(control),
            swr,
            sie: control.stale_if_error.map(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Staleness {
        let control = CacheControl::response(&[("Cache-Control", line)]);
        Staleness::of(&control, seconds(60))
    }

    #[test]
    fn the_windows_that_the_origin_names() {
        // (response, SWR, SIE) in seconds
        for (line, swr, sie) in [
            ("", None, None),
            ("stale-while-revalidate=5", Some(5), None), // RFC 5861 §3: it does not imply SIE
            ("stale-if-error=6", None, Some(6)),         // nor the reverse
            (
                "stale-while-revalidate=0, stale-if-error=0",
                Some(0),
                Some(0),
            ),
            ("stale-while-revalidate", Some(60), None),
            ("s-maxage=60, stale-while-revalidate", Some(60), None),
        ] {
            let got = of(line);
            assert_eq!(got.swr, swr.map(seconds), "{line:?}");
            assert_eq!(got.sie, sie.map(seconds), "{line:?}");
        }
    }

    #[test]
    fn a_window_without_value_is_a_second_at_least() {
        let control = CacheControl::response(&[("Cache-Control", "stale-while-revalidate")]);
        assert_eq!(Staleness::of(&control, 0).swr, Some(1000));
    }

    #[test]
    fn the_strongest_word_binds() {
        // RFC 9111 §4.2.4, §5.2.2.10
        for (line, want) in [
            ("s-maxage=1", Bind::SMaxAge),
            ("s-maxage=1, proxy-revalidate", Bind::ProxyRevalidate),
            ("must-revalidate, proxy-revalidate", Bind::MustRevalidate),
            ("must-revalidate, no-cache", Bind::NoCache),
            ("no-cache=\"set-cookie\"", Bind::Free),
            ("max-age=1", Bind::Free),
        ] {
            assert_eq!(of(line).bind, want, "{line:?}");
        }
    }
}
