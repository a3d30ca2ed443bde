//! What may be served after freshness ends, and for how long (RFC 9111 §4.2.4, RFC 5861).

use super::{CacheControl, Millis, Swr, seconds};

/// How strongly the response forbids stale service (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Nothing forbids it.
    Free,
    /// `s-maxage` implies `proxy-revalidate` (RFC 9111 §5.2.2.10). A stale window stated in the
    /// same field beats what is merely implied; a configured one does not.
    SMaxAge,
    /// `proxy-revalidate`: never.
    ProxyRevalidate,
    /// `must-revalidate`: never.
    MustRevalidate,
    /// Unqualified `no-cache`: never, not even while fresh.
    NoCache,
}

impl Bind {
    /// The strongest word in the governing directives.
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

    /// Whether it was said in so many words, so that no window of any origin holds against it.
    pub fn is_explicit(self) -> bool {
        !matches!(self, Bind::Free | Bind::SMaxAge)
    }

    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Bind::Free => "free",
            Bind::SMaxAge => "s-maxage",
            Bind::ProxyRevalidate => "proxy-revalidate",
            Bind::MustRevalidate => "must-revalidate",
            Bind::NoCache => "no-cache",
        }
    }
}

/// What a response allows after its freshness. Windows are milliseconds after freshness ends;
/// `None`: the origin names none, so that configuration may (see [`Staleness::swr_window`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// What forbids stale service.
    pub bind: Bind,
    /// The origin's `stale-while-revalidate` window.
    pub swr: Option<Millis>,
    /// The origin's `stale-if-error` window.
    pub sie: Option<Millis>,
}

impl Staleness {
    /// Reads it from the governing directives. `lifetime` is what `stale-while-revalidate` without
    /// a value repeats.
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

    /// The `stale-while-revalidate` window in force: the origin's, else `configured` where the
    /// response forbids nothing. Zero under an explicit [`Bind`].
    pub fn swr_window(&self, configured: Millis) -> Millis {
        self.window(self.swr, configured)
    }

    /// The `stale-if-error` window in force, likewise.
    pub fn sie_window(&self, configured: Millis) -> Millis {
        self.window(self.sie, configured)
    }

    fn window(&self, own: Option<Millis>, configured: Millis) -> Millis {
        match (self.bind, own) {
            (Bind::Free, own) => own.unwrap_or(configured),
            (Bind::SMaxAge, own) => own.unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether a client's `max-stale` may be honoured (RFC 9111 §4.2.4).
    pub fn permits_max_stale(&self) -> bool {
        self.bind == Bind::Free
    }
}

/// Where in its life a stored response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Lifetime greater than age (RFC 9111 §4.2).
    Fresh,
    /// Stale, inside the stale-while-revalidate window: serve, refresh once.
    WhileRevalidate,
    /// Stale, inside the stale-if-error window only: fetch, fall back on failure.
    IfError,
    /// Past both windows: fetch; an error is passed on.
    TooOld,
}

/// The phase at `age`, with the windows in force (all milliseconds).
pub fn phase(age: Millis, lifetime: Millis, swr: Millis, sie: Millis) -> Phase {
    if age < lifetime {
        return Phase::Fresh;
    }
    let stale_for = age - lifetime;
    if stale_for < swr {
        Phase::WhileRevalidate
    } else if stale_for < sie {
        Phase::IfError
    } else {
        Phase::TooOld
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
    fn the_windows_in_force() {
        // (response, SWR, SIE) in seconds; 7 and 9 are configured where the origin names none
        for (line, swr, sie) in [
            ("", 7, 9),
            ("stale-while-revalidate=5", 5, 9), // RFC 5861 §3: it does not imply SIE
            ("stale-if-error=6", 7, 6),         // nor the reverse
            ("stale-while-revalidate=0, stale-if-error=0", 0, 0),
            ("stale-while-revalidate", 60, 9),
            // RFC 9111 §4.2.4: explicit prohibitions bind
            (
                "must-revalidate, stale-while-revalidate=5, stale-if-error=6",
                0,
                0,
            ),
            (
                "proxy-revalidate, stale-while-revalidate=5, stale-if-error=6",
                0,
                0,
            ),
            ("no-cache, stale-while-revalidate=5, stale-if-error=6", 0, 0),
            ("no-cache=\"set-cookie\", stale-while-revalidate=5", 5, 9),
            // RFC 9111 §5.2.2.10: implied by s-maxage, unless stated otherwise beside it
            ("s-maxage=60", 0, 0),
            ("s-maxage=60, stale-while-revalidate=5", 5, 0),
            ("s-maxage=60, stale-if-error=6", 0, 6),
            ("s-maxage=60, stale-while-revalidate", 60, 0),
        ] {
            let got = of(line);
            assert_eq!(got.swr_window(seconds(7)), seconds(swr), "{line:?}");
            assert_eq!(got.sie_window(seconds(9)), seconds(sie), "{line:?}");
        }
    }

    #[test]
    fn a_window_without_value_is_a_second_at_least() {
        let control = CacheControl::response(&[("Cache-Control", "stale-while-revalidate")]);
        assert_eq!(Staleness::of(&control, 0).swr, Some(1000));
    }

    #[test]
    fn the_strongest_word_binds() {
        // RFC 9111 §4.2.4
        for (line, want) in [
            ("s-maxage=1", Bind::SMaxAge),
            ("s-maxage=1, proxy-revalidate", Bind::ProxyRevalidate),
            ("must-revalidate, proxy-revalidate", Bind::MustRevalidate),
            ("must-revalidate, no-cache", Bind::NoCache),
            ("max-age=1", Bind::Free),
        ] {
            let got = of(line);
            assert_eq!(got.bind, want, "{line:?}");
            assert_eq!(got.permits_max_stale(), want == Bind::Free);
            assert_eq!(
                got.bind.is_explicit(),
                !matches!(want, Bind::Free | Bind::SMaxAge)
            );
        }
    }

    #[test]
    fn the_four_phases() {
        // RFC 9111 §4.2 (fresh iff lifetime > age), RFC 5861 §3 and §4
        for (age, want) in [
            (0, Phase::Fresh),
            (59_999, Phase::Fresh),
            (60_000, Phase::WhileRevalidate),
            (64_999, Phase::WhileRevalidate),
            (65_000, Phase::IfError),
            (159_999, Phase::IfError),
            (160_000, Phase::TooOld),
            (u64::MAX, Phase::TooOld),
        ] {
            assert_eq!(phase(age, 60_000, 5_000, 100_000), want, "{age}");
        }
        assert_eq!(phase(60_000, 60_000, 0, 0), Phase::TooOld);
    }
}
