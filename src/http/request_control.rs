//! Request directives of `Cache-Control`, `Pragma`, and whether a stored response satisfies them
//! (RFC 9111 §5.2.1, §5.4; RFC 5861 §4; RFC 8246 §2).

use super::cache_control::{Given, smallest};
use super::fields::is;
use super::staleness::Bind;
use super::syntax::{Lower, directives};
use super::{Fields, Millis, seconds};

/// What `max-stale` accepts (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStale {
    /// Any stale response, however old.
    Any,
    /// A response that has been stale for at most so many seconds.
    Seconds(u32),
}

/// The request directives. Numbers are seconds, at most 2^31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `no-cache` (§5.2.1.4), or `Pragma: no-cache` in a request without `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// `no-store` (§5.2.1.5).
    pub no_store: bool,
    /// `no-transform` (§5.2.1.6).
    pub no_transform: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `max-age` (§5.2.1.1).
    pub max_age: Option<u32>,
    /// `max-stale` (§5.2.1.2).
    pub max_stale: Option<MaxStale>,
    /// `min-fresh` (§5.2.1.3).
    pub min_fresh: Option<u32>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
}

/// Whether a stored response satisfies a request's directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// The request has no directive that forbids the stored response.
    Accepts,
    /// The response is stale, and `max-stale` accepts it.
    AcceptsStale,
    /// `no-cache`: the stored response must be validated first.
    NoCache,
    /// The response's age exceeds `max-age`.
    MaxAge,
    /// The remaining freshness is less than `min-fresh`.
    MinFresh,
}

impl ClientVerdict {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientVerdict::Accepts => "client-accepts",
            ClientVerdict::AcceptsStale => "client-max-stale",
            ClientVerdict::NoCache => "client-no-cache",
            ClientVerdict::MaxAge => "client-max-age",
            ClientVerdict::MinFresh => "client-min-fresh",
        }
    }
}

impl RequestControl {
    /// Parses the `Cache-Control` lines of a request, or `Pragma` in their absence.
    pub fn request(fields: &dyn Fields) -> RequestControl {
        let mut control = RequestControl::default();
        let (mut has_control, mut pragma_no_cache) = (false, false);
        fields.each(&mut |name, value| {
            if is(name, "cache-control") {
                has_control = true;
                control.add(value);
            } else if is(name, "pragma") {
                pragma_no_cache |= directives(value).any(|d| is(d.name, "no-cache"));
            }
        });
        control.no_cache |= pragma_no_cache && !has_control;
        control
    }

    /// Adds the directives of one `Cache-Control` line; the most restrictive reading wins.
    pub fn add(&mut self, line: &[u8]) {
        for directive in directives(line) {
            self.apply(directive.name, &Given::from(directive.argument));
        }
    }

    fn apply(&mut self, name: &[u8], given: &Given<'_>) {
        let Some(name) = Lower::<16>::of(name) else {
            return;
        };
        match name.as_bytes() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => smallest(&mut self.max_age, given),
            b"stale-if-error" => smallest(&mut self.stale_if_error, given),
            b"min-fresh" => self.min_fresh = self.min_fresh.max(given.number),
            b"max-stale" => self.add_max_stale(given),
            _ => {} // RFC 9111 §5.2.3
        }
    }

    fn add_max_stale(&mut self, given: &Given<'_>) {
        let seconds = given.number.unwrap_or(0);
        self.max_stale = Some(match self.max_stale {
            None if given.is_absent() => MaxStale::Any,
            Some(earlier) if given.is_absent() => earlier,
            Some(MaxStale::Seconds(earlier)) => MaxStale::Seconds(earlier.min(seconds)),
            None | Some(MaxStale::Any) => MaxStale::Seconds(seconds),
        });
    }

    /// Decides whether the stored response satisfies the request. For a stale response, `Accepts` leaves the
    /// decision to the response's own stale windows. A fresh `immutable` response satisfies every request
    /// (RFC 8246 §2).
    pub fn judge(&self, stored: &StoredFacts) -> ClientVerdict {
        let is_fresh = stored.fresh_for > 0;
        if is_fresh && stored.immutable {
            return ClientVerdict::Accepts;
        }
        if self.no_cache {
            return ClientVerdict::NoCache;
        }
        if self.max_age.is_some_and(|max| stored.age > seconds(max)) {
            return ClientVerdict::MaxAge;
        }
        if is_fresh {
            return self.judge_fresh(stored);
        }
        self.judge_stale(stored)
    }

    fn judge_fresh(&self, stored: &StoredFacts) -> ClientVerdict {
        match self.min_fresh {
            Some(min) if stored.fresh_for < seconds(min) => ClientVerdict::MinFresh,
            _ => ClientVerdict::Accepts,
        }
    }

    /// "Unless the max-stale request directive is also present, the client does not wish to receive a stale
    /// response" is stated for `max-age` (§5.2.1.1); it follows from the definition of `min-fresh`.
    fn judge_stale(&self, stored: &StoredFacts) -> ClientVerdict {
        let accepted = match self.max_stale {
            None => false,
            Some(MaxStale::Any) => true,
            Some(MaxStale::Seconds(max)) => stored.stale_for <= seconds(max),
        };
        match (self.min_fresh, self.max_age) {
            (Some(min), _) if min > 0 => ClientVerdict::MinFresh,
            _ if accepted && stored.bind == Bind::Free => ClientVerdict::AcceptsStale,
            (_, Some(_)) => ClientVerdict::MaxAge,
            _ => ClientVerdict::Accepts,
        }
    }
}

/// The properties of a stored response that request directives depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFacts {
    /// The current age in milliseconds.
    pub age: Millis,
    /// The remaining freshness in milliseconds; 0 if stale.
    pub fresh_for: Millis,
    /// The staleness in milliseconds; 0 if fresh.
    pub stale_for: Millis,
    /// Whether the response is `immutable`.
    pub immutable: bool,
    /// What forbids serving the response stale.
    pub bind: Bind,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::CacheControl;

    fn request(fields: &[(&str, &str)]) -> RequestControl {
        RequestControl::request(&fields)
    }

    fn cc(line: &str) -> RequestControl {
        request(&[("Cache-Control", line)])
    }

    #[test]
    fn reads_the_directives_of_the_rfcs() {
        // RFC 9111 §5.2.1, RFC 5861 §4
        let got = cc(
            "no-cache, no-store, no-transform, Only-If-Cached, max-age=1, max-stale=2, min-fresh=3, stale-if-error=4, x=\"no\"",
        );
        let want = RequestControl {
            no_cache: true,
            no_store: true,
            no_transform: true,
            only_if_cached: true,
            max_age: Some(1),
            max_stale: Some(MaxStale::Seconds(2)),
            min_fresh: Some(3),
            stale_if_error: Some(4),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn conflicts_get_the_most_restrictive_reading() {
        assert_eq!(cc("max-age=5, max-age=3").max_age, Some(3));
        assert_eq!(cc("max-age=x").max_age, Some(0));
        assert_eq!(cc("min-fresh=5, min-fresh=7").min_fresh, Some(7));
        assert_eq!(cc("min-fresh=x").min_fresh, None);
        assert_eq!(cc("max-stale").max_stale, Some(MaxStale::Any));
        assert_eq!(
            cc("max-stale, max-stale=4").max_stale,
            Some(MaxStale::Seconds(4))
        );
        assert_eq!(
            cc("max-stale=4, max-stale").max_stale,
            Some(MaxStale::Seconds(4))
        );
        assert_eq!(cc("max-stale=x").max_stale, Some(MaxStale::Seconds(0)));
    }

    #[test]
    fn pragma_counts_without_cache_control_only() {
        // RFC 9111 §5.4
        assert!(request(&[("Pragma", "no-cache")]).no_cache);
        assert!(request(&[("pragma", "foo, No-Cache")]).no_cache);
        assert!(!request(&[("Pragma", "foo=\"no-cache\"")]).no_cache);
        assert!(!request(&[("Pragma", "no-cache"), ("Cache-Control", "max-age=9")]).no_cache);
    }

    #[test]
    fn judges_a_stored_response() {
        use ClientVerdict::*;
        // (request, response, age in s, verdict) for a lifetime of 100 s
        for (line, response, age, want) in [
            ("", "", 50, Accepts),
            ("", "", 150, Accepts),
            // RFC 9111 §5.2.1.1
            ("max-age=50", "", 50, Accepts),
            ("max-age=49", "", 50, MaxAge),
            ("max-age=200", "", 150, MaxAge),
            ("max-age=200, max-stale", "", 150, AcceptsStale),
            ("max-age=0", "", 0, Accepts),
            // RFC 9111 §5.2.1.2
            ("max-stale", "", 1000, AcceptsStale),
            ("max-stale=50", "", 150, AcceptsStale),
            ("max-stale=49", "", 150, Accepts),
            ("max-stale", "", 50, Accepts),
            ("max-stale", "must-revalidate", 150, Accepts),
            ("max-stale", "proxy-revalidate", 150, Accepts),
            ("max-stale", "s-maxage=100", 150, Accepts),
            ("max-stale", "no-cache", 150, Accepts),
            // RFC 9111 §5.2.1.3
            ("min-fresh=50", "", 50, Accepts),
            ("min-fresh=51", "", 50, MinFresh),
            ("min-fresh=1, max-stale", "", 150, MinFresh),
            // RFC 9111 §5.2.1.4
            ("no-cache", "", 0, NoCache),
            // RFC 8246 §2
            ("max-age=0", "immutable", 50, Accepts),
            ("no-cache", "immutable", 50, Accepts),
            ("no-cache", "immutable", 150, NoCache),
        ] {
            let control = CacheControl::response(&[("Cache-Control", response)]);
            let got = cc(line).judge(&StoredFacts {
                age: seconds(age),
                fresh_for: seconds(100).saturating_sub(seconds(age)),
                stale_for: seconds(age).saturating_sub(seconds(100)),
                immutable: control.immutable,
                bind: Bind::of(&control),
            });
            assert_eq!(got, want, "{line:?} {response:?} {age}");
        }
    }
}
