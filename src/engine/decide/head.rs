//! What the response to a passed HEAD implies for the stored response (RFC 9111 §4.3.5).

use super::asking::{Asking, LEASE};
use super::fetching::Fetches;
use crate::engine::fetch::{self, Keep, Purpose, Response};
use crate::engine::policy::Method;
use crate::store::Attempt;

pub(crate) fn head_answered(asking: &Asking<'_>, resp: &Response<'_>) {
    let tells = asking.req.method == Method::Head
        && resp.status == 200
        && resp.from_failure.is_none()
        && !asking.req.bypass
        && !asking.authorised()
        && asking.keep() == Keep::Store;
    if !tells {
        return;
    }
    let Some(found) = asking.selected() else {
        return;
    };
    let object = found.stored.object();
    // The request was sent before a soft purge, so its response says nothing about the time after.
    if object.aged() != 0 && object.aged() >= resp.request_time {
        return;
    }
    let claim = asking
        .region
        .claim_object(object, asking.now, asking.now + LEASE, false);
    if let Attempt::Won(claim) = claim {
        let fetches = Fetches(asking);
        let permit = fetches.permit(claim, fetches.terms_for(found, Purpose::Refresh));
        fetch::head(permit, resp, asking.req.fields, asking.policy, asking.now);
    }
}
