//! Purges by method, `swr_cache_purge_method`: a request for any URL of the server, or of the location.
//!
//! | phase | what happens |
//! |---|---|
//! | rewriting, of the server and of the location | left out: a redirect, an index or a front controller is not meant |
//! | limits, access | as for any request: who may not come in may not purge |
//! | before the content, first | the purge, before `try_files` and whatever handler the location has |

use nginx_sys::{NGX_DONE, NGX_HTTP_BAD_REQUEST, NGX_HTTP_FORBIDDEN, ngx_cidr_match, ngx_int_t};
use serde_json::json;
use swrcache::engine::Reason;

use crate::api::purge::{Interface, PurgeByMethod, answer, begin, read};
use crate::client::arrival;
use crate::client::key::key;
use crate::config::location::{LocConf, PurgeMethod};
use crate::sys::record;
use crate::sys::request::{Req, is_ok, rest};

/// What is configured where the request is, if it purges by its method. One that an error has led here does not.
fn meant(r: Req) -> Option<&'static PurgeMethod> {
    let by = LocConf::of(r).settings.purge_method.as_ref()?;
    let method = r.text(|raw| &raw.method_name);
    let is_meant = by.methods.iter().any(|known| **known == *method);
    (is_meant && r.is_main() && !arrival::is_by_error(r)).then_some(by)
}

/// At the first step of a phase of rewriting: leaves it, if the request purges.
pub(crate) fn pass_by_rewriting(r: Req) {
    if meant(r).is_some() {
        r.leave_phase();
    }
}

/// Carries out a purge by method, in the phase before the content; nothing if the request is none.
pub(crate) fn carry_out(r: Req) -> Option<ngx_int_t> {
    meant(r).and_then(|by| purge(r, by))
}

fn purge(r: Req, by: &PurgeMethod) -> Option<ngx_int_t> {
    let zones = LocConf::of(r).zones_of_server(r);
    if zones.is_empty() {
        return None;
    }
    // SAFETY: a connection has its address; the array was made when the configuration was read.
    if !is_ok(unsafe { ngx_cidr_match(r.connection().sockaddr, by.from) }) {
        record::attach(r, PurgeByMethod(Reason::PurgeRefused));
        return Some(NGX_HTTP_FORBIDDEN as ngx_int_t);
    }
    let rc = r.discard_body();
    if !is_ok(rc) {
        return Some(rc);
    }
    // Until it is answered: nothing of nginx's shall run the phases again.
    r.raw().write_event_handler = Some(rest);
    match read(r, r.unparsed_uri(), by.mode) {
        Ok(request) => {
            // By whatever the key is made of, this request has it too.
            let own = match request.kind() == "url" && LocConf::of(r).is_on() {
                true => key(r, LocConf::of(r)),
                false => None,
            };
            begin(r, Interface::Method, &request, &zones, own);
        }
        Err(why) => {
            record::attach(r, PurgeByMethod(Reason::PurgeUnclear));
            answer(r, NGX_HTTP_BAD_REQUEST, &json!({ "error": why }));
        }
    }
    Some(NGX_DONE as ngx_int_t)
}
