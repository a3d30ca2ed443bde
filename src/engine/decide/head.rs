//! What a HEAD that went through to the origin tells of the stored response (RFC 9111 §4.3.5).

use super::{Asking, LEASE};
use crate::engine::fetch::{self, Keep, Purpose, Response};
use crate::engine::policy::Method;
use crate::store::Attempt;

impl Asking<'_> {
    pub(crate) fn head_answered(&self, resp: &Response<'_>) {
        let tells = self.req.method == Method::Head
            && resp.status == 200
            && resp.from_failure.is_none()
            && !self.req.bypass
            && !self.authorised()
            && self.keep() == Keep::Store;
        if !tells {
            return;
        }
        let Some(found) = self.selected() else {
            return;
        };
        let object = found.stored.object();
        // It was asked before a soft purge: what was right then is no answer to that.
        if object.aged() != 0 && object.aged() >= resp.request_time {
            return;
        }
        let claim = self
            .region
            .claim_object(object, self.now, self.now + LEASE, false);
        if let Attempt::Won(claim) = claim {
            let permit = self.permit(claim, self.terms_for(found, Purpose::Refresh));
            fetch::head(permit, resp, self.req.fields, self.policy, self.now);
        }
    }
}
