//! What passes between a fetch and the client that leads it, through a [`mailbox`].
//!
//! | from | what | how |
//! |---|---|---|
//! | the fetch | a [`Letter`]: the client's answer, or why there is none | put into the mailbox; the client is notified, and reads it in a turn of its own |
//! | the fetch | the bytes of a relay | written by the fetch, at once, with the [`Relay`] that the client has left in the mailbox, so that a slow client slows the origin |
//! | the client | that it ends, has all that it wants, or accepts more | by a call on the [fetch](super::carrier::Carrier) |
//!
//! Each end is dropped before its request is gone (when the request ends, for whatever reason), so neither side ever reaches a request that
//! has ended.

use std::cell::Cell;

use nginx_sys::ngx_int_t;
use swrcache::engine::{Aside, Delivery};

use crate::fetch::mailbox::{ClientEnd, FetchEnd};
use crate::fetch::origin_header::OriginHeader;
use crate::fetch::redirect::Onward;
use crate::fetch::relay::Relay;
use crate::sys::event::Notifier;
use crate::sys::request::Req;

/// The end of the client.
pub(crate) type LeadersEnd = ClientEnd<Leader, Req, Letter>;

/// The end of the fetch.
pub(crate) type FetchsEnd = FetchEnd<Leader, Req, Letter>;

/// The client that leads a fetch, as the fetch sees it.
pub(crate) struct Leader {
    pub(crate) r: Req,
    /// Has the client read its letter.
    pub(crate) notifier: Notifier,
    /// How many states of upstreams it had before.
    pub(crate) earlier_states: usize,
    /// What the fetch writes a relayed body with, once the header has been sent. Whoever uses it takes it out for that time.
    pub(crate) relay: Cell<Option<Relay>>,
    /// Where the published body ends, the fetch relays the rest.
    pub(crate) relay_follows: Cell<bool>,
}

/// What a fetch has for its client.
pub(crate) struct Letter {
    pub(crate) news: News,
    /// The origin's answer, where the client's answer is that.
    pub(crate) origin: Option<FromOrigin>,
}

/// How a fetch went.
pub(crate) enum News {
    /// Something to deliver from the store.
    Delivery(Delivery),
    /// A response that is not stored: the relay sends it.
    Relay(Aside),
    /// All of a relayed response has been sent, or no more can be; with nginx's return code.
    RelayEnded(ngx_int_t),
    /// Nothing, or a body that broke off.
    Failure(Aside),
    /// The origin can't be reached, and the stored response must not be used unvalidated.
    GatewayTimeout(Aside),
    /// A response that is not for this client: it follows the redirect of the fetch, or goes to the content handler itself.
    HandOver(Option<Onward>, Aside),
}

/// What a client's log and variables show of the origin's answer; in the pool of the client's request.
pub(crate) struct FromOrigin {
    pub(crate) header: Option<OriginHeader>,
    /// The status of nginx's own cache, where there is one behind this cache.
    pub(crate) cache_below: Option<&'static [u8]>,
}

impl Letter {
    /// Whether it stays although another one has come: a body that broke off at once is still sent as far as it goes, as nginx does without a
    /// cache.
    pub(crate) fn stays_before(&self, next: &News) -> bool {
        matches!((&self.news, next), (News::Delivery(_), News::Failure(_)))
    }
}
