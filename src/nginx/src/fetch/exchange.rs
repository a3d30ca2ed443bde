//! What passes between a fetch and the client that leads it, through a [`mailbox`].
//!
//! | from | what | how |
//! |---|---|---|
//! | the fetch | a [`Letter`]: the answer that the client may have, or why there is none | put into the box; the client is rung, and reads it in a turn of its own |
//! | the fetch | the bytes of a relay | written by the fetch, at once, through the [`Relay`] that the client has put at its disposal: so the origin is held back by what this client takes |
//! | the client | that it goes, has all that it wants, or can take more | by a call on the [fetch](super::carrier::Carrier) |
//!
//! Each end is dropped before its request is gone (when the request ends, whatever ended it), so that neither party is ever looked for
//! after its end.

use std::cell::Cell;

use nginx_sys::ngx_int_t;
use swrcache::engine::{Aside, Delivery};

use crate::fetch::mailbox::{ClientEnd, FetchEnd};
use crate::fetch::origin_header::OriginHeader;
use crate::fetch::redirect::Onward;
use crate::fetch::relay::Relay;
use crate::sys::event::Bell;
use crate::sys::request::Req;

/// The end of the client.
pub(crate) type LeadersEnd = ClientEnd<Leader, Req, Letter>;

/// The end of the fetch.
pub(crate) type FetchsEnd = FetchEnd<Leader, Req, Letter>;

/// The client that leads a fetch, as the fetch sees it.
pub(crate) struct Leader {
    pub(crate) r: Req,
    /// Has the client read its letters.
    pub(crate) bell: Bell,
    /// How many states of upstreams it had before.
    pub(crate) earlier_states: usize,
    /// What its fetch may write with, once the header of a relayed response is out. Whoever uses it takes it for as long.
    pub(crate) relay: Cell<Option<Relay>>,
    /// Where the published body ends, the fetch relays the rest.
    pub(crate) relay_follows: Cell<bool>,
}

/// What a fetch has for its client.
pub(crate) struct Letter {
    pub(crate) news: News,
    /// What the origin has answered, where that is the client's answer.
    pub(crate) origin: Option<FromOrigin>,
}

/// How a fetch went.
pub(crate) enum News {
    /// Something to deliver from the store.
    Delivery(Delivery),
    /// A response that is not stored: it comes by the relay.
    Relay(Aside),
    /// All of a relayed response has been sent, or no more can be; with nginx's return code.
    RelayEnded(ngx_int_t),
    /// Nothing, or a body that broke off.
    Failure(Aside),
    /// The origin is out of reach, and the stored response may not be used without it.
    GatewayTimeout(Aside),
    /// Nothing that could be shown to this client: it goes on where nginx has led the fetch, or to the content handler itself.
    HandOver(Option<Onward>, Aside),
}

/// What a client's log and variables tell of the origin's answer; in the pool of the client's request.
pub(crate) struct FromOrigin {
    pub(crate) header: Option<OriginHeader>,
    /// What nginx's own cache did, where there is one behind this.
    pub(crate) cache_below: Option<&'static [u8]>,
}

impl Letter {
    /// Whether it is read although another one has come: a body that broke off at once is still shown as far as it goes, as nginx alone
    /// would.
    pub(crate) fn stays_before(&self, next: &News) -> bool {
        matches!((&self.news, next), (News::Delivery(_), News::Failure(_)))
    }
}
