//! A client's own cache directives (RFC 9111 §5.2.1), where the location honours them.

use super::policy::{Policy, SECOND};
use super::record::Flags;
use super::request::Request;
use super::seen::Seen;
use super::stored::Stored;
use crate::http::{CacheControl, ClientVerdict, RequestControl, Scope};
use crate::store::Millis;

/// What the client asks for; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Client {
    control: Option<RequestControl>,
}

impl Client {
    pub(crate) fn of(req: &Request<'_>, policy: &Policy, seen: Seen) -> Client {
        let heard = policy.client_control && seen.has(Seen::CONTROL);
        Client {
            control: heard.then(|| RequestControl::request(req.fields)),
        }
    }

    /// What the client says to this stored response at `now`.
    pub(crate) fn judge(&self, stored: &Stored, now: Millis) -> ClientVerdict {
        let Some(control) = &self.control else {
            return ClientVerdict::Accepts;
        };
        let head = stored.head();
        let response = CacheControl {
            must_revalidate: head.flags.has(Flags::MUST_REVALIDATE),
            s_maxage: head.flags.has(Flags::S_MAXAGE).then_some(0),
            immutable: head.flags.has(Flags::IMMUTABLE),
            no_cache: match head.flags.has(Flags::NO_CACHE) {
                true => Scope::All,
                false => Scope::None,
            },
            ..CacheControl::default()
        };
        control.judge(stored.age_millis(now), head.lifetime, &response)
    }

    /// `no-store`: nothing of this exchange is kept.
    pub(crate) fn no_store(&self) -> bool {
        self.control.is_some_and(|control| control.no_store)
    }

    /// `only-if-cached`.
    pub(crate) fn only_if_cached(&self) -> bool {
        self.control.is_some_and(|control| control.only_if_cached)
    }

    /// `stale-if-error` of the request (RFC 5861 §4), as a window.
    pub(crate) fn stale_if_error(&self) -> Millis {
        let seconds = self.control.and_then(|control| control.stale_if_error);
        Millis::from(seconds.unwrap_or(0)) * SECOND
    }
}
