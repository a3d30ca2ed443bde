//! The terms of a fetch: what is known of the entry, until when it may be served if the fetch fails, and whether the
//! response may be stored.

use std::ops::Deref;
use std::sync::Arc;

use super::asking::{Asking, SelectedResponse};
use crate::engine::decide::decision::Decision;
use crate::engine::fetch::other_variants;
use crate::engine::fetch::rest::is_outgrown;
use crate::engine::fetch::{Fetch, Keep, Permit, Purpose, Terms};
use crate::engine::phase::binds;
use crate::engine::policy::{Method, Window};
use crate::engine::record::Flags;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::Asked;
use crate::store::{Claim, Millis};

/// Makes the fetches that a request leads or causes.
pub(super) struct Fetches<'a>(pub(super) &'a Asking<'a>);

impl<'a> Deref for Fetches<'a> {
    type Target = Asking<'a>;

    fn deref(&self) -> &Asking<'a> {
        self.0
    }
}

impl Fetches<'_> {
    /// The terms of a fetch without a stored response.
    pub(super) fn terms(&self, purpose: Purpose) -> Terms {
        let post = self.req.method == Method::Post;
        Terms {
            purpose,
            began: self.now,
            method: match self.req.method {
                Method::Post => ::http::Method::POST,
                Method::Head if !self.policy.convert_head => ::http::Method::HEAD,
                // A HEAD is answered from the response to a GET (RFC 9110 §9.3.2).
                _ => ::http::Method::GET,
            },
            entry: None,
            fallback_until: 0,
            usable_until: 0,
            authorised: self.authorised() && purpose == Purpose::Fetch,
            forced: false,
            probe: false,
            keep: self.keep(),
            // A 304 freshens what is stored, so a fetch that stores nothing asks unconditionally. A POST can't get a
            // 304: its precondition would fail with a 412 (RFC 9110 §13.2.2).
            revalidate: self.policy.revalidate && self.keep() == Keep::Store && !post,
            asked_again: false,
            other_variants: false,
            rest_of: None,
            named: Vec::new(),
        }
    }

    pub(super) fn terms_for(&self, found: SelectedResponse, purpose: Purpose) -> Terms {
        let fallback_until = self.fallback_until(&found);
        let terms = self.terms(purpose);
        // A request with credentials may not use what other clients got (RFC 9111 §3.5).
        let named =
            match found.other_variants && terms.revalidate && !self.authorised() && self.acts() {
                true => other_variants::tags(self.region, &found.stored, self.policy, self.now),
                false => Vec::new(),
            };
        Terms {
            usable_until: found.windows.end().max(fallback_until),
            fallback_until,
            other_variants: found.other_variants,
            named,
            entry: Some(found.stored),
            ..terms
        }
    }

    /// The time until which the entry may be served in place of an error: the window of the origin or the
    /// configuration, or the client's own (RFC 5861 §4), which `must-revalidate` and the like forbid too.
    pub(super) fn fallback_until(&self, found: &SelectedResponse) -> Millis {
        let head = found.stored.head();
        let own = match self.client.stale_if_error() {
            0 => 0,
            _ if self.policy.sie == Window::Off
                || head.flags.has(Flags::S_MAXAGE)
                || binds(head) =>
            {
                0
            }
            window => head.fresh_until.saturating_add(window),
        };
        // A request that waits inside stale-while-revalidate (synchronous mode) is not worse off than one that does not
        // wait.
        let windows = found.windows;
        windows.sie_until.max(windows.swr_until).max(own)
    }

    pub(super) fn fetch(&self, claim: Claim, terms: Terms, asked: Asked) -> Decision {
        let patience = self.policy.revalidate_timeout;
        let patience = patience.filter(|_| self.now < terms.fallback_until);
        let patience = patience.map(|time| self.now + time);
        let permit = self.permit(claim, terms);
        Decision::Fetch(Box::new(Fetch::new(permit, asked, patience)))
    }

    pub(super) fn fetch_for(
        &self,
        found: SelectedResponse,
        claim: Claim,
        asked: Asked,
    ) -> Decision {
        self.fetch(claim, self.terms_for(found, Purpose::Fetch), asked)
    }

    /// A fetch with a claim of its own, which never conflicts with another fetch.
    pub(super) fn fetch_alone(&self, found: Option<SelectedResponse>, asked: Asked) -> Decision {
        let claim = self.region.unclaimed(&self.key);
        match found {
            Some(found) => self.fetch_for(found, claim, asked),
            None => self.fetch(claim, self.terms(Purpose::Fetch), asked),
        }
    }

    /// A fetch of the rest of a response, if the store has taken no more of it.
    pub(super) fn rest_of(&self, seen: &Stored) -> Option<Fetch> {
        let terms = Terms {
            keep: Keep::Discard,
            revalidate: false,
            rest_of: Some(seen.clone()),
            ..self.terms(Purpose::Fetch)
        };
        let permit = self.permit(self.region.unclaimed(&self.key), terms);
        is_outgrown(seen).then(|| Fetch::new(permit, Asked::Absent, None))
    }

    pub(super) fn permit(&self, claim: Claim, terms: Terms) -> Permit {
        Permit {
            region: Arc::clone(self.region),
            claim,
            terms: Box::new(terms),
        }
    }
}
