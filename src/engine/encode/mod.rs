//! Stored responses that are encoded once: which form a request gets, and who makes it.
//!
//! | step | where | what |
//! |---|---|---|
//! | a response is served that could be encoded, and a client would take a form that is not there | a request | an [`EncodeQueue`] takes it, if it has room; the client gets the original |
//! | it is encoded into memory of the process's own | an [`Encoder`], on a thread of the host's or when it is idle | no lock of the store is held |
//! | the form is stored whole | likewise | a process that dies before leaves nothing behind |
//! | the next request | a request | gets the form |

mod accepted;
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
use crate::engine::policy::{Method, Policy};
use crate::engine::record::stored::Stored;
use crate::engine::request::Request;
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
        let fields = stored.coding_fields();
        let types = &self.policy.compress_types;
        if fields.is_encoded || !fields.content_type.is_some_and(|t| is_of_type(t, types)) {
            return stored;
        }
        let is_varied = fields.is_varied;
        let has_choice = stored.is_complete() && self.presence.has(Presence::ACCEPT_ENCODING);
        let form = match has_choice {
            true if self.acts => self.wanted(&stored),
            true => self.seen(&stored),
            false => None,
        };
        stored.negotiated(form, is_varied)
    }

    /// The codings that the request wants rather than the identity, the most wanted first.
    fn preferred(&self) -> impl Iterator<Item = Coding> + use<> {
        let ordered = accepted::preferred(self.req.fields, &self.policy.compress);
        ordered.into_iter().flatten()
    }

    /// The form that [`Choosing::wanted`] finds, without an effect.
    fn seen(&self, stored: &Stored) -> Option<Form> {
        let mut codings = self.preferred();
        codings.find_map(|coding| peek(self.region, stored.object(), coding, self.now))
    }

    /// Whether it is one to be encoded, as far as its head tells while its body arrives.
    fn can_be_encoded(&self, stored: &Stored) -> bool {
        let lengths = self.policy.compress_min_length..=LONGEST;
        matches!(self.req.method, Method::Get | Method::Head)
            // As nginx's gzip filter (ngx_http_gzip_header_filter).
            && matches!(stored.status(), 200 | 403 | 404)
            && stored.content_length().is_none_or(|length| lengths.contains(&length))
            && !stored.no_transform()
            && !stored.is_of_head()
    }

    fn wanted(&self, stored: &Stored) -> Option<Form> {
        let (object, known) = (stored.object(), KnownForms::of(stored.object()));
        let mut lacking = false;
        let mut found = None;
        for coding in self.preferred() {
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

/// Whether a `Content-Type` is among `types`, of which `*` is any.
fn is_of_type(content_type: &[u8], types: &[Box<str>]) -> bool {
    let mut parts = content_type.split(|b| *b == b';');
    let media_type = trim(parts.next().unwrap_or_default());
    types.iter().any(|t| **t == *"*" || is(media_type, t))
}

#[cfg(test)]
mod tests;
