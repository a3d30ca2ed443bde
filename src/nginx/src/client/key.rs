//! The primary key of a request: what `swr_cache_key` says, or `$scheme$host$request_uri`.

use std::borrow::Cow;
use std::ptr;
use std::slice;

use nginx_sys::{ngx_inet_get_port, ngx_pnalloc};
use swrcache::engine::key as parts;
use swrcache::engine::key::query::Query;
use swrcache::http::authority;

use crate::client::arrival::{self, Place, Target};
use crate::config::location::LocConf;
use crate::sys::pool::bytes_of;
use crate::sys::request::Req;

/// The primary key, in the request's pool.
pub(crate) fn key(r: Req, conf: &LocConf) -> Option<&'static [u8]> {
    key_for(r, conf, r.is_tls())
}

/// The key for a request that came, or would have come, by this scheme.
pub(crate) fn key_for(r: Req, conf: &LocConf, https: bool) -> Option<&'static [u8]> {
    let Some(values) = &conf.settings.key else {
        return usual_key(r, &conf.policy.query, https);
    };
    let query = &conf.policy.query;
    match values.as_slice() {
        [value] => made_of(r, query, &[], &[value.of(r)?]),
        values => {
            let parts: Option<Vec<_>> = values.iter().map(|value| value.of(r)).collect();
            made_of(r, query, &[], &parts?)
        }
    }
}

/// `$scheme$host$request_uri` with what of the query belongs to it, without going through variables.
///
/// A subrequest carries its parent's `$request_uri` (ngx_http_subrequest); its own URI stands in for it.
fn usual_key(r: Req, query: &Query, https: bool) -> Option<&'static [u8]> {
    let scheme: &[u8] = if https { b"https" } else { b"http" };
    let host = host(r);
    let start: &[&[u8]] = match authority_apart(r, host, https) {
        None => &[scheme, host],
        Some(sent) => &[scheme, host, sent],
    };
    if r.is_main() {
        return made_of(r, query, start, &[&query.of_target(r.unparsed_uri())]);
    }
    let Target { uri, args } = arrival::sent(r).unwrap_or(Target {
        uri: r.text(|raw| &raw.uri),
        args: r.text(|raw| &raw.args),
    });
    let args = query.of(args).unwrap_or_default();
    // A decoded URI may have a question mark of its own.
    match (&*args, uri.contains(&b'?')) {
        (b"", false) => made_of(r, query, start, &[uri]),
        (args, false) => made_of(r, query, start, &[&[uri, b"?", args].concat()]),
        (args, true) => made_of(r, query, start, &[uri, args]),
    }
}

/// What of the query as it was sent belongs to the key.
pub(crate) fn key_args<'a>(r: Req) -> Cow<'a, [u8]> {
    let args = arrival::sent(r).map_or_else(|| r.text(|raw| &raw.args), |sent| sent.args);
    LocConf::of(r).policy.query.of(args).unwrap_or_default()
}

/// The authority as the client wrote it, where an origin that is given it (`$http_host`) could answer otherwise than to
/// `$host`: with a port that is neither this server's nor the scheme's, a dot at the end, or another name than that of an
/// absolute request target.
fn authority_apart<'a>(r: Req, host: &[u8], https: bool) -> Option<&'a [u8]> {
    // SAFETY: NULL or an element of the request's header list.
    let sent = bytes_of(unsafe { &r.raw().headers_in.host.as_ref()?.value });
    let (name, port) = sent.split_at_checked(host.len()).unwrap_or((sent, b""));
    if name != host && !name.eq_ignore_ascii_case(host) {
        return Some(sent);
    }
    if port.is_empty() || is_own_port(r, port, https) {
        return None;
    }
    Some(sent)
}

/// Whether `port`, with its colon, is one that an authority need not name: the scheme's, or the one that the client has
/// connected to.
fn is_own_port(r: Req, port: &[u8], https: bool) -> bool {
    // SAFETY: a connection has the address that it was accepted at, or that of its `listen`.
    let own = unsafe { ngx_inet_get_port(r.connection().local_sockaddr) };
    let scheme = if https { 443 } else { 80 };
    authority::port(port).is_some_and(|port| port == scheme || port == own)
}

/// The key of these parts, with a branch for the place that the request was led to, in the request's pool; nothing if they are
/// all empty.
fn made_of(r: Req, query: &Query, start: &[&[u8]], rest: &[&[u8]]) -> Option<&'static [u8]> {
    let parts = start.iter().chain(rest).copied();
    if parts.clone().all(<[u8]>::is_empty) {
        return None;
    }
    let place = arrival::place(r);
    let args = place.as_ref().map(|place| args_of(r, query, place));
    let place = place.zip(args.as_deref());
    let place = place.map(|(place, args)| [place.named, place.target.uri, args]);
    let branch = place.iter().map(|place| place.iter().copied());
    let len =
        parts::length(parts.clone()) + branch.clone().map(parts::branch_length).sum::<usize>();
    // SAFETY: ngx_pnalloc gives NULL or `len` bytes, which are filled before they are read: the lengths say how many
    // the writers give.
    unsafe {
        let data: *mut u8 = ngx_pnalloc(r.pool().as_ptr(), len).cast();
        if data.is_null() {
            return None;
        }
        let mut at = data;
        let mut put = |piece: &[u8]| {
            ptr::copy_nonoverlapping(piece.as_ptr(), at, piece.len());
            at = at.add(piece.len());
        };
        parts::write(parts, &mut put);
        branch.for_each(|branch| parts::write_branch(branch, &mut put));
        Some(slice::from_raw_parts(data, len))
    }
}

fn args_of<'a>(r: Req, query: &Query, place: &Place<'a>) -> Cow<'a, [u8]> {
    match arrival::sent(r) {
        Some(sent) if !query.is_as_is() => query.of_led(place.target.args, sent.args),
        _ => Cow::Borrowed(place.target.args),
    }
}

/// `$host`: the request's, else the server's name (ngx_http_variable_host).
pub(crate) fn host<'a>(r: Req) -> &'a [u8] {
    match r.text(|raw| &raw.headers_in.server) {
        b"" => bytes_of(&r.core_server().server_name),
        host => host,
    }
}
