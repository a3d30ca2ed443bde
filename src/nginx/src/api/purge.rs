//! The purge API: `swr_cache_purge`, and `swr_cache_purge_method` in a cached location.

use std::ffi::c_void;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_REQUEST, NGX_HTTP_FORBIDDEN, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_OK, NGX_HTTP_POST, NGX_HTTP_SERVICE_UNAVAILABLE,
    NGX_HTTP_SPECIAL_RESPONSE, NGX_OK, ngx_cidr_match, ngx_http_read_client_request_body,
    ngx_http_request_t, ngx_int_t, ngx_read_file,
};
use serde_json::{Map, Value, json};
use swrcache::engine::{PurgeMode, Reason, Selection, key};

use crate::api::answer::{JSON, add_field, send};
use crate::config::location::LocConf;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::pool::bytes_of;
use crate::sys::record::{self, Kind};
use crate::sys::request::{Req, is_ok};
use crate::worker::background_job::{self, Asker};

/// What a request to purge asks for.
struct Asked {
    what: Selection,
    how: PurgeMode,
}

/// The record of a purge by method: what came of it.
pub(crate) struct PurgeByMethod(pub(crate) Reason);

impl Kind for PurgeByMethod {
    const FOLLOWS: bool = false;
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
            return only_post(r).unwrap_or(failed);
        }
        // SAFETY: nginx asks for a live request, as a `Req` is.
        let rc = unsafe { ngx_http_read_client_request_body(r.as_ptr(), Some(body_is_read)) };
        match rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            true => rc,
            false => NGX_DONE as ngx_int_t,
        }
    })
}

/// RFC 9110 §15.5.6: a 405 names what is allowed.
fn only_post(r: Req) -> Option<ngx_int_t> {
    add_field(r, "Allow", "POST")?;
    Some(NGX_HTTP_NOT_ALLOWED as ngx_int_t)
}

/// The body of a purge is there.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn body_is_read(r: *mut ngx_http_request_t) {
    guard("a purge", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        match body(r).map(|body| parse(&body)) {
            Some(Ok(asked)) => begin(r, asked),
            Some(Err(why)) => answer(r, NGX_HTTP_BAD_REQUEST, &json!({ "error": why })),
            None => r.finalize(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t),
        }
    });
}

fn begin(r: Req, asked: Asked) {
    let how = asked.how;
    let about = format!("{} in zone \"{}\"", asked.what, zone_name(LocConf::of(r)));
    let cache = LocConf::of(r).purged_zone().and_then(|zone| zone.cache());
    let purge = cache.map(|cache| cache.purge(asked.what, how, now()));
    match purge {
        Some(purge) if r.on_end(forget, r.as_ptr().cast()).is_some() => {
            let answer = Box::new(move |purged| done(r, how, purged));
            background_job::start(purge, Some(Asker { r, answer }), about);
        }
        _ => {
            background_job::log_failure(&about);
            done(r, how, None);
        }
    }
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
fn done(r: Req, how: PurgeMode, purged: Option<u64>) {
    let zone = zone_name(LocConf::of(r));
    match purged {
        Some(purged) => {
            let soft = how == PurgeMode::Soft;
            let said = json!({ "purged": purged, "soft": soft, "zone": zone });
            answer(r, NGX_HTTP_OK, &said);
        }
        None => {
            let why =
                format!("the zone \"{zone}\" was busy, perhaps not all was purged: try again");
            answer(r, NGX_HTTP_SERVICE_UNAVAILABLE, &json!({ "error": why }));
        }
    }
}

fn zone_name(conf: &LocConf) -> String {
    let zone = conf.purged_zone().map(|zone| zone.name());
    String::from_utf8_lossy(zone.unwrap_or_default()).into_owned()
}

/// A request with the method that `swr_cache_purge_method` names, in a cached location: what is stored under its key goes.
/// `None`: it is none.
pub(crate) fn by_method(
    r: Req,
    conf: &LocConf,
    key: impl FnOnce() -> Option<&'static [u8]>,
) -> Option<ngx_int_t> {
    let by = conf.settings.purge_method.as_ref()?;
    if bytes_of(&r.raw().method_name) != &*by.method {
        return None;
    }
    // SAFETY: a connection has its address; the array was made when the configuration was read.
    if !is_ok(unsafe { ngx_cidr_match(r.connection().sockaddr, by.from) }) {
        note(r, Reason::PurgeRefused);
        return Some(NGX_HTTP_FORBIDDEN as ngx_int_t);
    }
    let rc = r.discard_body();
    if rc != NGX_OK as ngx_int_t {
        return Some(rc);
    }
    let zone = conf.zone(r)?;
    let key = key()?;
    let purged = zone.cache().and_then(|cache| cache.remove(key).ok());
    let zone = String::from_utf8_lossy(zone.name());
    let Some(purged) = purged else {
        note(r, Reason::PurgeFailed);
        background_job::log_failure(&format!("\"{}\" in zone \"{zone}\"", key::display(key)));
        return Some(NGX_HTTP_SERVICE_UNAVAILABLE as ngx_int_t);
    };
    note(
        r,
        match purged {
            0 => Reason::PurgedNothing,
            _ => Reason::Purged,
        },
    );
    let said = json!({ "purged": purged, "soft": false, "zone": zone });
    // In a phase handler: nginx ends the request with what this gives, once it is sent.
    let rc = send(r, NGX_HTTP_OK, JSON, &format!("{said}\n")).unwrap_or(NGX_ERROR as ngx_int_t);
    r.finalize(rc);
    Some(NGX_DONE as ngx_int_t)
}

/// Has the log tell what came of a purge by method.
fn note(r: Req, reason: Reason) {
    record::attach(r, PurgeByMethod(reason));
}

/// Sends a JSON document and ends the request.
fn answer(r: Req, status: u32, said: &Value) {
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

fn parse(body: &[u8]) -> Result<Asked, String> {
    let said: Value = serde_json::from_slice(body).map_err(|e| format!("no JSON: {e}"))?;
    let Value::Object(members) = said else {
        return Err("not a JSON object".into());
    };
    select(&members)
}

fn select(members: &Map<String, Value>) -> Result<Asked, String> {
    let mut asked = Asked {
        what: Selection::default(),
        how: PurgeMode::Hard,
    };
    for (name, value) in members {
        let what = &mut asked.what;
        let bytes = |texts: Vec<&str>| {
            texts
                .into_iter()
                .map(|text| text.as_bytes().into())
                .collect()
        };
        match name.as_str() {
            "urls" => add_urls(what, &strings(name, value)?)?,
            "keys" => what.texts = bytes(strings(name, value)?),
            "prefixes" => add_prefixes(what, &strings(name, value)?),
            "tags" => what.tags = bytes(strings(name, value)?),
            "all" => what.all = flag(name, value)?,
            "soft" if flag(name, value)? => asked.how = PurgeMode::Soft,
            "soft" => {}
            _ => return Err(format!("unknown member \"{name}\"")),
        }
    }
    Ok(asked)
}

fn flag(name: &str, value: &Value) -> Result<bool, String> {
    let wanted = || format!("\"{name}\" must be true or false");
    value.as_bool().ok_or_else(wanted)
}

fn strings<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, String> {
    let wanted = || format!("\"{name}\" must be an array of strings that are not empty");
    let members = value.as_array().ok_or_else(wanted)?.iter();
    let strings = members.map(|member| member.as_str().filter(|text| !text.is_empty()));
    strings.collect::<Option<_>>().ok_or_else(wanted)
}

/// A URL in parts: scheme, authority, host, and path with query.
struct Url<'a> {
    scheme: &'a str,
    authority: &'a str,
    host: String,
    target: &'a str,
}

fn url(text: &str) -> Option<Url<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = ["http", "https"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))?;
    let rest = rest.split('#').next()?;
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // As nginx makes `$host` of it (ngx_http_validate_host): in lower case and without the port.
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let host = authority[..end].to_ascii_lowercase();
    let sound = !host.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    sound.then_some(Url {
        scheme,
        authority,
        host,
        target,
    })
}

/// Adds the keys of the usual form, `$scheme$host$request_uri`, that requests for these URLs have.
fn add_urls(what: &mut Selection, texts: &[&str]) -> Result<(), String> {
    for text in texts {
        let url = url(text).ok_or_else(|| format!("\"{text}\" is no http or https URL"))?;
        let target = match url.target {
            target if target.starts_with('/') => target.to_owned(),
            target => format!("/{target}"),
        };
        add_key(what, &[url.scheme, &url.host, &target]);
        // The authority stands in the key beside the host where it has another port than the server's.
        if url.authority.len() != url.host.len() {
            add_key(what, &[url.scheme, &url.host, url.authority, &target]);
        }
    }
    Ok(())
}

fn add_key(what: &mut Selection, parts: &[&str]) {
    let mut made = Vec::new();
    let parts = parts.iter().map(|part| part.as_bytes());
    key::write(parts, &mut |bytes| made.extend_from_slice(bytes));
    what.keys.push(made.into());
}

/// Adds prefixes as they stand, and those of the usual keys where they read like a URL.
fn add_prefixes(what: &mut Selection, texts: &[&str]) {
    for text in texts {
        what.prefixes.push(text.as_bytes().into());
        if let Some(url) = url(text) {
            let usual = format!("{}{}{}", url.scheme, url.host, url.target);
            what.prefixes.push(usual.into_bytes().into());
        }
    }
}
