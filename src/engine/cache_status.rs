//! The `Cache-Status` member for a decision (RFC 9211).

use super::verdict::{Asked, Passed, Reason, Status};
use crate::engine::decide::decision::Serve;
use crate::http::cache_status::Handling;
use crate::http::{Forward, ForwardReason, Member};

/// How the cache handled a request, as far as `Cache-Status` reports it.
#[derive(Debug)]
pub enum Part<'a> {
    /// The request was answered from the store.
    Served {
        /// The answer.
        serve: &'a Serve,
        /// The status of the origin's answer, if the request waited for one.
        fwd_status: Option<u16>,
    },
    /// The request led a fetch and was answered from what that stored; it reports the reason for going forward more
    /// precisely than `Served`.
    Led {
        /// The answer.
        serve: &'a Serve,
        /// Why the origin was asked ([`Fetch::asked`](super::Fetch::asked)).
        fetch: Asked,
        /// The status of the origin's answer.
        fwd_status: Option<u16>,
    },
    /// The request went to the origin without the cache.
    Passed {
        /// Why.
        reason: Passed,
        /// The status of the origin's answer.
        fwd_status: Option<u16>,
    },
    /// The request led a fetch whose response was relayed instead of stored.
    Relayed {
        /// Why the origin was asked ([`Fetch::asked`](super::Fetch::asked)).
        fetch: Asked,
        /// Why nothing was stored.
        reason: Reason,
        /// The status of the origin's answer.
        fwd_status: Option<u16>,
    },
}

/// Writes the member of the cache called `name`, to be appended to the field.
pub fn cache_status(name: &str, part: &Part<'_>) -> String {
    let member = match part {
        Part::Served { serve, fwd_status } => served(name, serve, *fwd_status),
        Part::Led {
            serve,
            fetch,
            fwd_status,
        } => led(name, serve, *fetch, *fwd_status),
        Part::Passed { reason, fwd_status } => {
            relayed(name, why_passed(*reason), reason.reason(), *fwd_status)
        }
        Part::Relayed {
            fetch,
            reason,
            fwd_status,
        } => relayed(name, why(*fetch), *reason, *fwd_status),
    };
    member.to_string()
}

fn served<'a>(name: &'a str, serve: &Serve, status: Option<u16>) -> Member<'a> {
    let forward = |reason, stored| {
        Handling::Forward(Forward {
            reason,
            status,
            stored,
            collapsed: serve.collapsed.then_some(true),
        })
    };
    let is_stored = !matches!(serve.reason, Reason::TooLarge | Reason::NoSpace);
    let handling = match serve.status {
        // Served without the origin: a stale response is a hit too, with a negative ttl (§2.1, §2.4).
        Status::Hit | Status::Updating if !serve.collapsed => Handling::Hit,
        Status::Hit | Status::Updating => forward(ForwardReason::UriMiss, false),
        Status::Stale
            if matches!(
                serve.reason,
                Reason::SieBackoff | Reason::SwrBackoff | Reason::MaxStale
            ) =>
        {
            Handling::Hit
        }
        Status::Stale => forward(ForwardReason::Stale, false),
        Status::Miss => forward(ForwardReason::UriMiss, is_stored),
        Status::Expired | Status::Revalidated => forward(ForwardReason::Stale, is_stored),
        Status::Bypass => forward(ForwardReason::Bypass, is_stored),
    };
    Member {
        cache: name,
        handling,
        ttl: Some(serve.ttl),
        key: None,
        detail: Some(serve.reason.as_str()),
    }
}

fn led<'a>(name: &'a str, serve: &Serve, fetch: Asked, status: Option<u16>) -> Member<'a> {
    let mut member = served(name, serve, status);
    if let Handling::Forward(forward) = &mut member.handling {
        forward.reason = why(fetch);
    }
    member
}

fn relayed(name: &str, forward: ForwardReason, reason: Reason, status: Option<u16>) -> Member<'_> {
    Member {
        cache: name,
        handling: Handling::Forward(Forward {
            reason: forward,
            status,
            stored: false,
            collapsed: (reason == Reason::LockTimeout).then_some(false),
        }),
        ttl: None,
        key: None,
        detail: Some(reason.as_str()),
    }
}

/// The most specific `fwd` value of RFC 9211 §2.2 for the reason to ask the origin.
fn why(asked: Asked) -> ForwardReason {
    match asked {
        Asked::Absent => ForwardReason::UriMiss,
        Asked::VaryMiss => ForwardReason::VaryMiss,
        Asked::Bypass => ForwardReason::Bypass,
        Asked::ClientRefused | Asked::Authorization => ForwardReason::Request,
        Asked::Stale
        | Asked::SieWindow
        | Asked::MustRevalidate
        | Asked::NoCache
        | Asked::Synchronous
        | Asked::SwrRefresh => ForwardReason::Stale,
        // Fresh, and no client waits for the refresh.
        Asked::RefreshAhead => ForwardReason::Miss,
    }
}

/// The most specific `fwd` value for the reason why a request passes the cache.
fn why_passed(passed: Passed) -> ForwardReason {
    match passed {
        Passed::Method => ForwardReason::Method,
        Passed::Bypass | Passed::NoCacheCondition => ForwardReason::Bypass,
        Passed::Precondition | Passed::ClientNoStore => ForwardReason::Request,
        Passed::MinUses | Passed::HitForMiss => ForwardReason::UriMiss,
        Passed::RangeOffset | Passed::LockTimeout | Passed::Busy => ForwardReason::Miss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(reason: Passed, fwd_status: Option<u16>) -> String {
        cache_status("swr", &Part::Passed { reason, fwd_status })
    }

    #[test]
    fn a_pass_says_why_it_went_forward() {
        assert_eq!(
            passed(Passed::Method, None),
            "swr; fwd=method; detail=method"
        );
        assert_eq!(
            passed(Passed::HitForMiss, Some(200)),
            "swr; fwd=uri-miss; fwd-status=200; detail=hit-for-miss"
        );
        assert_eq!(
            passed(Passed::LockTimeout, None),
            "swr; fwd=miss; collapsed=?0; detail=lock-timeout"
        );
    }

    #[test]
    fn a_relay_tells_both_reasons() {
        let part = Part::Relayed {
            fetch: Asked::Stale,
            reason: Reason::NoStore,
            fwd_status: Some(200),
        };
        let member = cache_status("swr", &part);
        assert_eq!(member, "swr; fwd=stale; fwd-status=200; detail=no-store");
    }
}
