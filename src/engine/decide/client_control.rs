//! A client's own cache directives (RFC 9111 §5.2.1), if the location honours them.

use crate::engine::decide::presence::Presence;
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::Flags;
use crate::engine::record::stored::Stored;
use crate::engine::request::Request;
use crate::http::{Bind, ClientVerdict, RequestControl, StoredFacts};
use crate::store::Millis;

/// The directives of the request; none by default.
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

    /// Returns whether this stored response satisfies the client at `now`.
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

    /// Whether the request has `no-store`: nothing of this exchange is stored.
    pub(crate) fn no_store(&self) -> bool {
        self.control.is_some_and(|control| control.no_store)
    }

    /// Whether the request has `only-if-cached`.
    pub(crate) fn only_if_cached(&self) -> bool {
        self.control.is_some_and(|control| control.only_if_cached)
    }

    /// The `stale-if-error` window of the request in milliseconds (RFC 5861 §4); 0 without one.
    pub(crate) fn stale_if_error(&self) -> Millis {
        let seconds = self.control.and_then(|control| control.stale_if_error);
        Millis::from(seconds.unwrap_or(0)) * SECOND
    }
}
