//! A client's own cache directives (RFC 9111 §5.2.1), where the location honours them.

use crate::engine::decide::presence::Presence;
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::Flags;
use crate::engine::record::stored::Stored;
use crate::engine::request::Request;
use crate::http::{Bind, ClientVerdict, RequestControl, StoredFacts};
use crate::store::Millis;

/// What the client asks for; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientControl {
    control: Option<RequestControl>,
}

impl ClientControl {
    pub(crate) fn of(req: &Request<'_>, policy: &Policy, presence: Presence) -> ClientControl {
        let heard = policy.client_control && presence.has(Presence::CONTROL);
        ClientControl {
            control: heard.then(|| RequestControl::request(req.fields)),
        }
    }

    /// What the client says to this stored response at `now`.
    pub(crate) fn verdict(&self, stored: &Stored, now: Millis) -> ClientVerdict {
        let Some(control) = &self.control else {
            return ClientVerdict::Accepts;
        };
        let head = stored.head();
        control.judge(&StoredFacts {
            age: stored.age_millis(now),
            fresh_for: head.fresh_until.saturating_sub(now),
            stale_for: now.saturating_sub(head.fresh_until),
            immutable: head.flags.has(Flags::IMMUTABLE),
            bind: match head.flags {
                flags if flags.has(Flags::NO_CACHE) => Bind::NoCache,
                flags if flags.has(Flags::MUST_REVALIDATE) => Bind::MustRevalidate,
                flags if flags.has(Flags::S_MAXAGE) => Bind::SMaxAge,
                _ => Bind::Free,
            },
        })
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
