//! How a stored response is sent: evaluates a client's preconditions and ranges (RFC 9110 §13, §14).

use crate::engine::decide::decision::Answer;
use crate::engine::decide::presence::Presence;
use crate::engine::policy::{Method, Policy};
use crate::engine::record::stored::{EntityTag, Stored};
use crate::engine::request::Request;
use crate::http::Fields;
use crate::http::conditional::{IfRange, Precondition, Role, Selected, evaluate, if_range};
use crate::http::fields::is;
use crate::http::range::{self, RangeVerdict};

/// The form in which `stored` answers `req`.
pub(crate) fn answer(
    stored: &Stored,
    req: &Request<'_>,
    presence: Presence,
    policy: &Policy,
) -> Answer {
    if !presence.has(Presence::CONDITIONAL) && !presence.has(Presence::RANGE) {
        return Answer::Full;
    }
    let method = match req.method {
        Method::Get => ::http::Method::GET,
        Method::Head => ::http::Method::HEAD,
        Method::Post | Method::Other => return Answer::Full,
    };
    let etag = stored.etag();
    let selected = Selected {
        status: stored.status(),
        etag: etag.as_ref().map(EntityTag::as_bytes),
        last_modified: stored.modified(),
        date: stored.date(),
        synthesised: stored.synthesised(),
    };
    let undated = Undated(req.fields);
    let fields: &dyn Fields = match policy.if_modified_since {
        true => req.fields,
        false => &undated,
    };
    match evaluate(&method, fields, &selected, Role::Cache) {
        Precondition::NotModified => Answer::NotModified,
        Precondition::Failed => Answer::PreconditionFailed,
        Precondition::Proceed if presence.has(Presence::RANGE) => ranged(stored, req, &selected),
        Precondition::Proceed => Answer::Full,
    }
}

/// The fields of a request without `If-Modified-Since`.
struct Undated<'a>(&'a dyn Fields);

impl Fields for Undated<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.0.each(&mut |name, value| {
            if !is(name, "if-modified-since") {
                f(name, value);
            }
        });
    }
}

/// Ranges apply to GET and 200 only (§14.2), and to a body of known length: one of unknown length is sent whole.
fn ranged(stored: &Stored, req: &Request<'_>, selected: &Selected<'_>) -> Answer {
    let Some(length) = stored.content_length() else {
        return Answer::Full;
    };
    if req.method != Method::Get || stored.status() != 200 {
        return Answer::Full;
    }
    // A date tells no encoded form from the original: what a client has may be of the other (§8.8.2.2).
    let selected = &Selected {
        last_modified: selected.last_modified.filter(|_| !stored.is_negotiated()),
        ..*selected
    };
    if if_range(req.fields, selected) == IfRange::Fails {
        return Answer::Full;
    }
    match range::evaluate(req.fields, length) {
        RangeVerdict::Ignore => Answer::Full,
        RangeVerdict::Satisfiable(ranges) => Answer::Partial(ranges),
        RangeVerdict::Unsatisfiable => Answer::Unsatisfiable,
    }
}
