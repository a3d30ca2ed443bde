//! The purge API, `swr_cache_purge`: what it is asked in JSON, and by the path of a `GET`.
//!
//! What a request means is the engine's ([`swrcache::engine::read_purge`], [`ByMethod`]); here it is read, carried out and answered.

use std::ffi::c_void;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_REQUEST, NGX_HTTP_GET, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_HTTP_OK, NGX_HTTP_POST,
    NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_SPECIAL_RESPONSE, ngx_http_read_client_request_body,
    ngx_http_request_t, ngx_int_t, ngx_read_file,
};
use serde_json::{Value, json};
use swrcache::engine::key::recipe::Recipe;
use swrcache::engine::key::url::Url;
use swrcache::engine::{ByMethod, Cache, PurgeMode, PurgeRequest, Reason, read_purge};

use crate::api::answer::{JSON, add_field, add_value, send};
use crate::api::warm;
use crate::client::key::host;
use crate::config::location::LocConf;
use crate::config::zone::Zone;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::header_list::List;
use crate::sys::pool::bytes_of;
use crate::sys::record::{self, RecordKind};
use crate::sys::request::{Req, is_ok};
use crate::worker::background_job::{self, Asker};

/// How a purge was asked for, and thus how it is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// By JSON.
    Api,
    /// By the path behind that of the API.
    Path,
    /// By a method of its own.
    Method,
}

/// The record of a purge by method: what came of it.
pub(crate) struct PurgeByMethod(pub(crate) Reason);

impl RecordKind for PurgeByMethod {
    const FOLLOWS: bool = false;
}

/// What the answer to a purge says.
struct PurgeReport {
    interface: Interface,
    mode: PurgeMode,
    /// What was purged, in a word.
    kind: &'static str,
    zones: String,
    /// What is to be said beside a number.
    warning: Option<String>,
    /// What is to be fetched anew.
    refresh: Vec<Url>,
}

/// The content handler of `swr_cache_purge`.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let failed = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    guard("a purge", failed, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if r.raw().method as u32 != NGX_HTTP_POST {
            return by_path(r).unwrap_or(failed);
        }
        // SAFETY: nginx asks for a live request, as a `Req` is.
        let rc = unsafe { ngx_http_read_client_request_body(r.as_ptr(), Some(body_is_read)) };
        match rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            true => rc,
            false => NGX_DONE as ngx_int_t,
        }
    })
}

/// The path behind that of the API is what is to be purged, as software sends it that drives nginx's own cache.
fn by_path(r: Req) -> Option<ngx_int_t> {
    let is_meant =
        r.raw().method as u32 == NGX_HTTP_GET || bytes_of(&r.raw().method_name) == b"PURGE";
    let Some(target) = target_behind(r).filter(|_| is_meant) else {
        // RFC 9110 §15.5.6: a 405 names what is allowed.
        add_field(r, "Allow", "POST")?;
        return Some(NGX_HTTP_NOT_ALLOWED as ngx_int_t);
    };
    let rc = r.discard_body();
    if !is_ok(rc) {
        return Some(rc);
    }
    // The content phase gives up its reference when this returns.
    r.hold();
    let zones: Vec<_> = LocConf::of(r).purged_zone().into_iter().collect();
    match read(r, target, PurgeMode::Hard) {
        Ok(request) => begin(r, Interface::Path, &request, &zones, None),
        Err(why) => answer(r, NGX_HTTP_BAD_REQUEST, &json!({ "error": why })),
    }
    Some(NGX_DONE as ngx_int_t)
}

/// The target less the path of the location: its prefix, or the first segment where it is a regular expression.
fn target_behind<'a>(r: Req) -> Option<&'a [u8]> {
    let target = r.unparsed_uri();
    let name = bytes_of(&r.core_conf().name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let behind = match target.strip_prefix(name).filter(|_| !name.is_empty()) {
        Some(behind) => behind,
        None => {
            let segment = target.get(1..)?.iter().position(|b| *b == b'/')?;
            target.get(segment + 1..)?
        }
    };
    behind.starts_with(b"/").then_some(behind)
}

/// The body of a purge is there.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn body_is_read(r: *mut ngx_http_request_t) {
    guard("a purge", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        let zones: Vec<_> = LocConf::of(r).purged_zone().into_iter().collect();
        match body(r).map(|body| read_purge(&body)) {
            Some(Ok(request)) => begin(r, Interface::Api, &request, &zones, None),
            Some(Err(why)) => answer(r, NGX_HTTP_BAD_REQUEST, &json!({ "error": why })),
            None => r.finalize(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t),
        }
    });
}

/// What a request means that purges `target` by its fields.
pub(crate) fn read(r: Req, target: &[u8], mode: PurgeMode) -> Result<PurgeRequest, String> {
    let raw = r.raw();
    let headers = &raw.headers_in;
    // SAFETY: NULL or an element of the request's header list.
    let sent = unsafe { headers.host.as_ref() }.map(|host| bytes_of(&host.value));
    let host = host(r);
    let by = ByMethod {
        fields: &List::of(&headers.headers),
        authority: sent.unwrap_or(host),
        host,
        target,
        mode,
    };
    by.read()
}

/// Has a purge carried out in these zones, and the request answered when it is done. `own` is the key that the request has itself.
pub(crate) fn begin(
    r: Req,
    interface: Interface,
    request: &PurgeRequest,
    zones: &[&'static Zone],
    own: Option<&[u8]>,
) {
    let conf = LocConf::of(r);
    let (mut removals, mut about, mut warning) = (Vec::new(), Vec::new(), None);
    for zone in zones {
        let recipes = conf.recipes(zone);
        let usual = Recipe::new(None, &conf.policy.query);
        let unused = recipes.is_empty().then_some(&usual);
        let mut found = request.found_by(recipes.iter().copied().chain(unused));
        if request.is_by_url() && own.is_none() && found.misses_all(recipes.len()) {
            return answer(
                r,
                NGX_HTTP_BAD_REQUEST,
                &json!({ "error": found.warning() }),
            );
        }
        let keys = &mut found.selection.keys;
        let own = own.filter(|own| !keys.iter().any(|key| **key == **own));
        keys.extend(own.map(Box::from));
        warning = warning.or_else(|| found.warning());
        about.push(format!("{} in zone \"{}\"", found.selection, name(zone)));
        let purge = |cache: &Cache| cache.purge(found.selection, request.mode, now());
        removals.extend(zone.cache().map(purge));
    }
    let report = PurgeReport {
        interface,
        mode: request.mode,
        kind: request.kind(),
        zones: zones
            .iter()
            .map(|zone| name(zone))
            .collect::<Vec<_>>()
            .join(", "),
        warning,
        refresh: match request.refresh {
            true => request.urls.clone(),
            false => Vec::new(),
        },
    };
    let about = about.join(", ");
    match removals.len() == zones.len() && r.on_end(forget, r.as_ptr().cast()).is_some() {
        true => {
            let answer = Box::new(move |purged| done(r, &report, purged));
            background_job::start(removals, Some(Asker { r, answer }), about);
        }
        false => {
            background_job::log_failure(&about);
            done(r, &report, None);
        }
    }
}

fn name(zone: &Zone) -> String {
    String::from_utf8_lossy(zone.name()).into_owned()
}

/// The client of a purge is gone.
///
/// # Safety
/// `r` is a request that is about to end, and still lives.
unsafe extern "C" fn forget(r: *mut c_void) {
    guard("a purge", (), || {
        // SAFETY: the request that `begin` gave, at its end.
        background_job::forget(unsafe { Req::new(r.cast()) });
    });
}

/// A purge has ended; `None`: it could not be carried out.
fn done(r: Req, report: &PurgeReport, purged: Option<u64>) {
    let zone = &report.zones;
    if report.interface == Interface::Method {
        note(r, purged);
    }
    let Some(purged) = purged else {
        let why = format!(
            "the zone \"{zone}\" was busy, and some of this may not have been purged: try again"
        );
        return answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, &json!({ "error": why }));
    };
    let soft = report.mode == PurgeMode::Soft;
    warm::start(r, &report.refresh, soft);
    let mut said = json!({ "purged": purged, "soft": soft, "zone": zone });
    if let Some(warning) = &report.warning {
        said["warning"] = json!(warning);
    }
    if report.interface != Interface::Api {
        let result = format!("{}; count={purged}", report.kind);
        if add_value(r, "Cache-Purge-Result", &result).is_none() {
            return r.finalize(NGX_ERROR as ngx_int_t);
        }
    }
    let status = match report.interface {
        Interface::Path if purged == 0 => NGX_HTTP_NOT_FOUND,
        _ => NGX_HTTP_OK,
    };
    answer(r, status, &said);
}

/// Has the log tell what came of a purge: how many responses, or nothing if it could not be carried out.
fn note(r: Req, purged: Option<u64>) {
    let reason = match purged {
        Some(0) => Reason::PurgedNothing,
        Some(_) => Reason::Purged,
        None => Reason::PurgeFailed,
    };
    record::attach(r, PurgeByMethod(reason));
}

/// Sends a JSON document and ends the request.
pub(crate) fn answer(r: Req, status: u32, said: &Value) {
    let rc = send(r, status, JSON, &format!("{said}\n")).unwrap_or(NGX_ERROR as ngx_int_t);
    r.finalize(rc);
}

/// The body of a request, from memory and file.
fn body(r: Req) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // SAFETY: nginx has read the body: the chain, its buffers and its file are the request's own.
    unsafe {
        let mut link = r.raw().request_body.as_ref()?.bufs;
        while let Some(chain) = link.as_ref() {
            let buf = &*chain.buf;
            if buf.in_file() != 0 {
                let size = usize::try_from(buf.file_last - buf.file_pos).ok()?;
                let at = bytes.len();
                bytes.resize(at + size, 0);
                let read = ngx_read_file(buf.file, bytes[at..].as_mut_ptr(), size, buf.file_pos);
                if usize::try_from(read) != Ok(size) {
                    return None;
                }
            } else if !buf.pos.is_null() {
                let size = usize::try_from(buf.last.offset_from(buf.pos)).ok()?;
                bytes.extend_from_slice(std::slice::from_raw_parts(buf.pos, size));
            }
            link = chain.next;
        }
    }
    Some(bytes)
}
