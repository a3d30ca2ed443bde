//! `?explain=URL` of `swr_cache_stats`: the request for it becomes the one that is to be explained, up to the point
//! where the cache would take part, and is answered there.
//!
//! nginx parses the URL, chooses the server and the location, rewrites and tries files, as for a client's request. The phases of
//! access and limits are skipped, subrequests of `mirror` end at once, and no content handler runs. If something answers before
//! the cache (a `return` of the rewrite module), the explanation names it and sends nothing of it.

use std::cell::Cell;
use std::mem;
use std::ptr;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_REQUEST, NGX_HTTP_GET, NGX_HTTP_MAX_URI_CHANGES, NGX_HTTP_OK,
    ngx_conf_t, ngx_create_temp_buf, ngx_cycle, ngx_http_addr_conf_t, ngx_http_connection_t,
    ngx_http_get_variable_index, ngx_http_handler, ngx_http_headers_in_t, ngx_http_in_addr_t,
    ngx_http_parse_request_line, ngx_http_port_t, ngx_http_process_request_uri, ngx_int_t,
    ngx_listening_t, ngx_str_t, sockaddr, socklen_t,
};
use serde_json::{Value, json};
use swrcache::engine::key::url::Url;
use swrcache::engine::stats::Explain;
use swrcache::engine::{Method, Request};

use crate::api::answer::{JSON, send};
use crate::client::arrival;
use crate::client::entry::may_enter;
use crate::client::key::key_for;
use crate::config::location::LocConf;
use crate::config::value::any_true;
use crate::sys::clock::now;
use crate::sys::header_list::List;
use crate::sys::one_thread::OneThread;
use crate::sys::pool::str_of;
use crate::sys::record::{self, RecordKind};
use crate::sys::request::{Req, is_ok};
use crate::sys::{request_header, variables};

/// The indexes of `$scheme` and `$https` among the variables of a request, which are set to what the URL says.
static SCHEME: OneThread<Cell<ngx_int_t>> = OneThread::new(Cell::new(-1));
static HTTPS: OneThread<Cell<ngx_int_t>> = OneThread::new(Cell::new(-1));

/// The record of a request that is being explained.
pub(crate) struct Explained {
    /// The URL is an https one.
    https: bool,
    /// The request's own state, until it is answered.
    own: Cell<Option<Own>>,
    /// The explanation has replaced another response, whose body must not be sent.
    replaced: Cell<bool>,
}

impl RecordKind for Explained {
    const FOLLOWS: bool = true;
}

impl Explained {
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.get()
    }
}

/// The state of a request before it was turned into the one to explain.
struct Own {
    http_connection: *mut ngx_http_connection_t,
    local: (*mut sockaddr, socklen_t),
    configuration: [*mut *mut std::ffi::c_void; 2],
    method: (usize, ngx_str_t),
    headers_in: ngx_http_headers_in_t,
    line: [ngx_str_t; 6],
    version: usize,
    numbers: [u32; 2],
    /// How the connection goes on.
    keepalive: u32,
    lingering_close: u32,
}

impl Own {
    fn of(r: Req) -> Own {
        let (raw, c) = (r.raw(), r.connection());
        Own {
            http_connection: raw.http_connection,
            local: (c.local_sockaddr, c.local_socklen),
            configuration: [raw.srv_conf, raw.loc_conf],
            method: (raw.method, raw.method_name),
            // SAFETY: plain data, whose lists and texts live in the request's pool; the original is put back as it was.
            headers_in: unsafe { ptr::read(&raw.headers_in) },
            line: [
                raw.request_line,
                raw.unparsed_uri,
                raw.uri,
                raw.args,
                raw.exten,
                raw.http_protocol,
            ],
            version: raw.http_version,
            numbers: [raw.http_major(), raw.http_minor()],
            keepalive: raw.keepalive(),
            lingering_close: raw.lingering_close(),
        }
    }

    /// Restores the request for its answer, the log and the next request on its connection.
    fn put_back(self, r: Req) {
        let (mut raw, c) = (r.raw(), r.connection());
        raw.http_connection = self.http_connection;
        (c.local_sockaddr, c.local_socklen) = self.local;
        [raw.srv_conf, raw.loc_conf] = self.configuration;
        (raw.method, raw.method_name) = self.method;
        raw.headers_in = self.headers_in;
        [
            raw.request_line,
            raw.unparsed_uri,
            raw.uri,
            raw.args,
            raw.exten,
            raw.http_protocol,
        ] = self.line;
        raw.http_version = self.version;
        raw.set_http_major(self.numbers[0]);
        raw.set_http_minor(self.numbers[1]);
        raw.set_keepalive(self.keepalive);
        raw.set_lingering_close(self.lingering_close);
        raw.err_status = 0;
        forget_variables(r);
    }
}

/// Looks up the index of `$scheme`, once the configuration has been read.
pub(crate) fn install(cf: *mut ngx_conf_t) {
    for (index, name) in [(&SCHEME, &b"scheme"[..]), (&HTTPS, b"https")] {
        // SAFETY: nginx only reads the name.
        index.set(unsafe { ngx_http_get_variable_index(cf, &mut str_of(name)) });
    }
}

/// Starts an explanation, in the content handler of `swr_cache_stats`.
pub(crate) fn begin(r: Req, explain: &Explain) -> Option<ngx_int_t> {
    if !r.is_main() {
        return refuse(
            r,
            "\"explain\" is for requests of clients, and this is a subrequest",
        );
    }
    let url = &explain.url;
    let own = Own::of(r);
    r.hold();
    if dress(r, explain).is_none() || !parse(r, url) {
        own.put_back(r);
        // nginx has ended the request itself where it refuses a field.
        if r.raw().header_sent() != 0 {
            return Some(NGX_DONE as ngx_int_t);
        }
        r.let_go();
        return refuse(
            r,
            "\"explain\": the path of the URL or a header field is not valid",
        );
    }
    let explained = Explained {
        https: url.https,
        own: Cell::new(Some(own)),
        replaced: Cell::new(false),
    };
    let attached = record::attach(r, explained);
    if attached.is_none() {
        r.let_go();
        return None;
    }
    let mut raw = r.raw();
    raw.set_internal(0);
    raw.set_uri_changes(NGX_HTTP_MAX_URI_CHANGES + 1);
    raw.content_handler = None;
    forget_variables(r);
    set_scheme(r, url.https);
    // SAFETY: a live request, made anew as nginx makes one whose header it has read.
    unsafe {
        if is_ok(ngx_http_process_request_uri(r.as_ptr())) {
            ngx_http_handler(r.as_ptr());
        }
    }
    Some(NGX_DONE as ngx_int_t)
}

fn refuse(r: Req, why: &str) -> Option<ngx_int_t> {
    let text = format!("{}\n", json!({ "error": why }));
    send(r, NGX_HTTP_BAD_REQUEST, JSON, &text)
}

/// Gives the request the header, the method and the server of the request to explain.
fn dress(r: Req, explain: &Explain) -> Option<()> {
    let (mut raw, url) = (r.raw(), &explain.url);
    raw.method = NGX_HTTP_GET as usize;
    raw.method_name = str_of(b"GET");
    choose_port(r, url)?;
    request_header::clear_fields(r)?;
    request_header::add_host(r, &url.authority)?;
    let mut fields = explain.headers.iter();
    fields.try_for_each(|(name, value)| request_header::add_field(r, name, value))
}

/// The servers to choose from are those of the address that this request came to, if its port is that of the URL; else those of
/// the first socket that listens at the port; where none does (behind a load balancer), those that this request came to, again.
pub(crate) fn choose_port(r: Req, url: &Url) -> Option<()> {
    let (mut raw, c) = (r.raw(), r.connection());
    let like = r.pool().zeroed::<ngx_http_connection_t>()?;
    // SAFETY: the connection of a live request, and the cycle's list of sockets; those of the http module have a port's addresses
    // behind `servers`.
    unsafe {
        like.addr_conf = (*raw.http_connection).addr_conf;
        let is_other = nginx_sys::ngx_inet_get_port(c.local_sockaddr) != url.port();
        let other = is_other
            .then(|| listening(c.listening, url.port()))
            .flatten();
        if let Some((socket, addr_conf)) = other {
            like.addr_conf = addr_conf;
            (c.local_sockaddr, c.local_socklen) = (socket.sockaddr, socket.socklen);
        }
        let server = (*(*like.addr_conf).default_server).ctx;
        like.conf_ctx = server;
        raw.srv_conf = (*server).srv_conf;
        raw.loc_conf = (*server).loc_conf;
    }
    // Without the name that the TLS connection was opened for: another server may be meant.
    raw.http_connection = like;
    Some(())
}

/// # Safety
/// `own` is a socket of the http module.
unsafe fn listening<'a>(
    own: *const ngx_listening_t,
    port: u16,
) -> Option<(&'a ngx_listening_t, *mut ngx_http_addr_conf_t)> {
    // SAFETY: as the caller says; the sockets live as long as the cycle.
    unsafe {
        let sockets = &(*ngx_cycle).listening;
        let sockets =
            std::slice::from_raw_parts(sockets.elts.cast::<ngx_listening_t>(), sockets.nelts);
        let handler = |socket: &ngx_listening_t| socket.handler.map(|f| f as usize);
        let socket = sockets.iter().find(|socket| {
            handler(socket) == handler(&*own)
                && !socket.servers.is_null()
                && i32::from((*socket.sockaddr).sa_family) == libc::AF_INET
                && nginx_sys::ngx_inet_get_port(socket.sockaddr) == port
        })?;
        let addresses: *mut ngx_http_in_addr_t =
            (*socket.servers.cast::<ngx_http_port_t>()).addrs.cast();
        Some((socket, &raw mut (*addresses).conf))
    }
}

/// Has nginx parse the target as that of a request line.
pub(crate) fn parse(r: Req, url: &Url) -> bool {
    let line = [b"GET ", &url.target[..], b" HTTP/1.1\r\n"].concat();
    // SAFETY: gives NULL or a buffer with room for so many bytes; the parser reads and writes within it, and keeps pointers
    // into it, which lives as long as the request.
    unsafe {
        let Some(buf) = ngx_create_temp_buf(r.pool().as_ptr(), line.len()).as_mut() else {
            return false;
        };
        ptr::copy_nonoverlapping(line.as_ptr(), buf.pos, line.len());
        buf.last = buf.pos.add(line.len());
        let mut raw = r.raw();
        raw.state = 0;
        raw.uri_ext = ptr::null_mut();
        raw.args_start = ptr::null_mut();
        raw.schema_start = ptr::null_mut();
        raw.host_start = ptr::null_mut();
        raw.set_complex_uri(0);
        raw.set_quoted_uri(0);
        raw.set_plus_in_uri(0);
        raw.set_empty_path_in_uri(0);
        raw.exten = ngx_str_t::default();
        raw.args = ngx_str_t::default();
        is_ok(ngx_http_parse_request_line(r.as_ptr(), buf))
    }
}

pub(crate) fn set_scheme(r: Req, https: bool) {
    let (scheme, on): (&[u8], &[u8]) = match https {
        true => (b"https", b"on"),
        false => (b"http", b""),
    };
    for (index, value) in [(&SCHEME, scheme), (&HTTPS, on)] {
        let index = usize::try_from(index.get()).ok();
        let Some(variable) = index.and_then(|at| variables::indexed(r).get_mut(at)) else {
            continue;
        };
        variable.data = value.as_ptr().cast_mut();
        variable.set_len(value.len() as u32);
        variable.set_valid(1);
        variable.set_no_cacheable(0);
        variable.set_not_found(0);
    }
}

/// Discards the values of all variables: they belong to the other request.
fn forget_variables(r: Req) {
    for value in variables::indexed(r) {
        // SAFETY: all-zero is a value that is not evaluated.
        *value = unsafe { mem::zeroed() };
    }
}

/// Whether the request is being explained.
pub(crate) fn is_explained(r: Req) -> bool {
    record::of::<Explained>(r).is_some()
}

/// Whether this is a subrequest (of `mirror`) of a request that is only being explained.
pub(crate) fn is_for_nothing(r: Req) -> bool {
    !r.is_main() && is_explained(r.main())
}

/// Answers a request that is being explained, at the point where the cache would take part.
pub(crate) fn at_the_cache(r: Req) -> Option<ngx_int_t> {
    let explained: &Explained = record::of(r)?;
    let own = explained.own.take()?;
    let said = say(r, LocConf::of(r), explained.https)
        .unwrap_or_else(|| json!({ "says": "The zone can't be used in this worker, so requests are passed to the origin." }));
    own.put_back(r);
    let rc = send(r, NGX_HTTP_OK, JSON, &format!("{said}\n"));
    r.finalize(rc.unwrap_or(NGX_ERROR as ngx_int_t));
    Some(NGX_DONE as ngx_int_t)
}

fn say(r: Req, conf: &'static LocConf, https: bool) -> Option<Value> {
    let location = location_name(r);
    if arrival::is_by_error(r) {
        return Some(json!({
            "says": "The answer would be an error page, which is never stored as the page that it stands for.",
            "location": location,
        }));
    }
    if !conf.is_on() {
        return Some(json!({
            "says": "The location that answers does not use the cache (swr_cache).",
            "location": location,
        }));
    }
    if !may_enter(r, conf) {
        return Some(json!({
            "says": "The cache takes no part in such a request: it asks for another protocol, or is a gRPC call.",
            "location": location,
        }));
    }
    if let Some(name) = conf.undeclared_zone(r) {
        let name = String::from_utf8_lossy(name);
        return Some(json!({
            "says": format!("The location's swr_cache names the zone \"{name}\", which is not declared, so requests are passed to the origin."),
            "location": location,
        }));
    }
    let zone = conf.zone(r)?;
    let (cache, key) = (zone.cache()?, key_for(r, conf, https)?);
    let raw = r.raw();
    let fields = List::of(&raw.headers_in.headers);
    let req = Request {
        method: Method::Get,
        key,
        fields: &fields,
        bypass: any_true(conf.bypass(), r),
        no_cache: any_true(conf.no_cache(), r),
        may_refresh: !conf.is_at_refresh_max(),
        is_part: false,
    };
    let explained = cache.explain(&req, &conf.policy, now()).ok()?;
    let mut said = serde_json::to_value(explained).ok()?;
    said["zone"] = json!(String::from_utf8_lossy(zone.name()));
    said["location"] = json!(location);
    said["made_of"] = json!(conf.key_text());
    said["query"] = json!(conf.directives.text("query").unwrap_or("as-is".into()));
    Some(said)
}

fn location_name(r: Req) -> String {
    String::from_utf8_lossy(r.location_name()).into_owned()
}

/// The header filter: another handler answers the request. The explanation replaces that response.
pub(crate) fn answers_before(r: Req, explained: &Explained) -> Option<Vec<u8>> {
    let own = explained.own.take()?;
    explained.replaced.set(true);
    let status = r.raw().headers_out.status;
    let said = json!({
        "says": format!("nginx answers with {status} before the cache is asked."),
        "status": status,
        "location": location_name(r),
    });
    own.put_back(r);
    Some(format!("{said}\n").into_bytes())
}
