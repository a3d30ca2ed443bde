//! What may be served after freshness ends, and for how long (RFC 9111 §4.2.4, RFC 5861).

use super::{CacheControl, Millis};

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
/// `None`: the origin names none, so that configuration may (see [`Staleness::window`]).
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
    pub fn of(_control: &CacheControl, _lifetime: Millis) -> Staleness {
        Staleness {
            bind: Bind::Free,
            swr: None,
            sie: None,
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
