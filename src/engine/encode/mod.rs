//! Stored responses that are encoded once: which form a request gets, and who makes it.
//!
//! | step | where | what |
//! |---|---|---|
//! | a response is served that could be encoded, and a client would take a form that is not there | a request | an [`EncodeQueue`] takes it, if it has room; the client gets the original |
//! | it is encoded into memory of the process's own | an [`Encoder`], on a thread of the host's or when it is idle | no lock of the store is held |
//! | the form is stored whole | likewise | a process that dies before leaves nothing behind |
//! | the next request | a request | gets the form |

pub(crate) mod coding;
#[cfg(feature = "encode")]
mod encoders;
pub(crate) mod form;
mod queue;

use std::sync::Arc;

use self::coding::Coding;
use self::form::{Form, KnownForms, find, peek};
pub use self::queue::{EncodeQueue, Encoder};
use crate::engine::decide::presence::Presence;
use crate::engine::policy::{EncodeLevel, Method, Policy};
use crate::engine::record::stored::Stored;
use crate::engine::request::Request;
use crate::http::AcceptEncoding;
use crate::http::fields::is;
use crate::http::syntax::trim;
use crate::store::{Millis, Region};

/// The longest body that is encoded, in bytes: the encoder has it and its forms in memory of its own.
const LONGEST: u64 = 16 << 20;

/// What decides the form in which a stored response is served.
pub(crate) struct Choosing<'a> {
    pub(crate) region: &'a Arc<Region>,
    /// Who makes what is not there.
    pub(crate) queue: Option<&'a EncodeQueue>,
    /// It is not only asked what would be served: forms are asked for, and counted as used.
    pub(crate) acts: bool,
    pub(crate) req: &'a Request<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) presence: Presence,
    pub(crate) now: Millis,
}

impl Choosing<'_> {
    /// The response in the form that the client gets: with the encoded body that it wants most of those that are there, or as it is. To be
    /// called only where the policy names codings.
    pub(crate) fn form_of(&self, stored: Stored) -> Stored {
        if self.req.is_part || !self.can_be_encoded(&stored) {
            return stored;
        }
        let has_choice = stored.is_complete() && self.presence.has(Presence::ACCEPT_ENCODING);
        let form = match has_choice {
            true if self.acts => self.wanted(&stored),
            true => self.seen(&stored),
            false => None,
        };
        stored.negotiated(form)
    }

    /// The form that [`Choosing::wanted`] finds, without an effect.
    fn seen(&self, stored: &Stored) -> Option<Form> {
        let mut codings = preferred(self.req, &self.policy.compress);
        codings.find_map(|coding| peek(self.region, stored.object(), coding, self.now))
    }

    /// Whether it is one to be encoded, as far as is known of it while its body arrives.
    fn can_be_encoded(&self, stored: &Stored) -> bool {
        let lengths = self.policy.compress_min_length..=LONGEST;
        matches!(self.req.method, Method::Get | Method::Head)
            // As nginx's gzip filter (ngx_http_gzip_header_filter).
            && matches!(stored.status(), 200 | 403 | 404)
            && stored.content_length().is_none_or(|length| lengths.contains(&length))
            && !stored.no_transform()
            && !stored.is_of_head()
            && is_plain_and_of_type(stored, &self.policy.compress_types)
    }

    fn wanted(&self, stored: &Stored) -> Option<Form> {
        let (object, known) = (stored.object(), KnownForms::of(stored.object()));
        let mut lacking = false;
        let mut found = None;
        for coding in preferred(self.req, &self.policy.compress) {
            if known.is_in_vain(coding) {
                continue;
            }
            found = match known.is_made(coding) {
                true => find(self.region, object, coding, self.now),
                false => None,
            };
            match found {
                Some(_) => break,
                None => lacking = true,
            }
            if known.is_made(coding) {
                KnownForms::note_gone(object, coding);
            }
        }
        match self.queue {
            Some(queue) if lacking && queue.has_room() && KnownForms::ask(object, self.now) => {
                queue.ask(self.region, stored, &self.policy.compress, self.now);
            }
            _ => {}
        }
        found
    }
}

/// The codings that the request wants rather than the identity, the most wanted first.
fn preferred(req: &Request<'_>, offered: &[EncodeLevel]) -> impl Iterator<Item = Coding> + use<> {
    const NONE: &str = "";
    let mut offers = [(NONE, None); Coding::ALL.len()];
    for (place, offer) in offers.iter_mut().zip(offered) {
        *place = (offer.coding.as_str(), Some(offer.coding));
    }
    let accepted = AcceptEncoding::of(req.fields, &offers.map(|(name, _)| name));
    accepted
        .preferred()
        .filter_map(move |at| offers.get(at).and_then(|(_, coding)| *coding))
}

/// Whether the origin has encoded it not itself, and its `Content-Type` is among `types`, of which `*` is any.
fn is_plain_and_of_type(stored: &Stored, types: &[Box<str>]) -> bool {
    let (mut is_plain, mut is_of_type) = (true, false);
    stored.visible(&mut |name, value| {
        is_plain &= !is(name, "content-encoding");
        if is(name, "content-type") {
            let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
            let media_type = trim(value.get(..end).unwrap_or_default());
            is_of_type = types.iter().any(|t| **t == *"*" || is(media_type, t));
        }
    });
    is_plain && is_of_type
}

#[cfg(test)]
mod tests;
