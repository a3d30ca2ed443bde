//! `"refresh": true`: URLs that are fetched in the background, as if visitors had asked for them, a few at a time.
//!
//! Each request makes room for the next at its end, and lends it what it has from the connection that asked for the purge.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;

use nginx_sys::{
    NGX_HTTP_GET, NGX_LOG_WARN, ngx_http_handler, ngx_http_process_request_uri, ngx_http_request_t,
};
use swrcache::engine::key::url::Url;
use swrcache::http::fields::each_named;

use crate::api::explain;
use crate::fetch::own_request;
use crate::fetch::request_copy::abandon;
use crate::sys::boundary::guard;
use crate::sys::header_list::List;
use crate::sys::log::log_cycle;
use crate::sys::one_thread::OneThread;
use crate::sys::pool::str_of;
use crate::sys::request::{Req, is_exiting, is_ok};
use crate::sys::request_header;

/// Requests under way in a worker.
const AT_A_TIME: usize = 8;
/// How long one may take, in milliseconds. What it has begun to fetch goes on.
const LONGEST: usize = 30_000;

/// The name of a request field, and its value.
type Field = (Box<[u8]>, Box<[u8]>);

/// A URL that is to be fetched.
struct Errand {
    url: Url,
    /// Request fields: those that choose among variants.
    fields: Vec<Field>,
    /// What is stored is not to answer, as it has not been dropped.
    anew: bool,
}

/// No borrow is held across a call into nginx.
static WAITING: OneThread<RefCell<VecDeque<Errand>>> =
    OneThread::new(RefCell::new(VecDeque::new()));
static UNDER_WAY: OneThread<Cell<usize>> = OneThread::new(Cell::new(0));

/// Fetches these URLs soon, for the purge that `asker` has asked for.
pub(crate) fn start(asker: Req, urls: &[Url], anew: bool) {
    let fields = fields(asker);
    for url in urls {
        let errand = Errand {
            url: url.clone(),
            fields: fields.clone(),
            anew,
        };
        WAITING.borrow_mut().push_back(errand);
    }
    while UNDER_WAY.get() < AT_A_TIME && next(asker) {}
}

/// What chooses among variants: as the purge says, else as browsers do.
fn fields(asker: Req) -> Vec<Field> {
    const USUAL: [(&str, &[u8]); 3] = [
        ("Accept", b"*/*"),
        ("Accept-Encoding", b"gzip, deflate, br, zstd"),
        ("Accept-Language", b""),
    ];
    let raw = asker.raw();
    let sent = List::of(&raw.headers_in.headers);
    let field = |(name, usual): (&str, &[u8])| {
        let mut value: Option<Box<[u8]>> = None;
        each_named(&sent, name, &mut |own| value = Some(own.into()));
        let value = value.unwrap_or_else(|| usual.into());
        (!value.is_empty()).then(|| (name.as_bytes().into(), value))
    };
    USUAL.into_iter().filter_map(field).collect()
}

/// Begins the next one by way of `like`; whether there was one.
fn next(like: Req) -> bool {
    if is_exiting() {
        WAITING.borrow_mut().clear();
    }
    let Some(errand) = WAITING.borrow_mut().pop_front() else {
        return false;
    };
    if begin(like, &errand).is_none() {
        let text = format!(
            "swr_cache: \"{}\" is not refreshed: nginx finds the URL invalid, or there is no free connection or memory",
            errand.url
        );
        log_cycle(NGX_LOG_WARN, &text);
    }
    true
}

fn begin(like: Req, errand: &Errand) -> Option<()> {
    let r = own_request::make(like, errand.url.https, errand.anew)?;
    if dress(r, errand).is_none() || r.on_end(on_end, r.as_ptr().cast()).is_none() {
        abandon(r);
        return None;
    }
    UNDER_WAY.set(UNDER_WAY.get() + 1);
    own_request::start(r, run, LONGEST);
    Some(())
}

/// Makes the request what nginx's parser makes of a visitor's.
fn dress(r: Req, errand: &Errand) -> Option<()> {
    let (mut raw, url) = (r.raw(), &errand.url);
    raw.set_logged(1);
    raw.method = NGX_HTTP_GET as usize;
    raw.method_name = str_of(b"GET");
    explain::choose_port(r, url)?;
    request_header::clear_fields(r)?;
    request_header::add_host(r, &url.authority)?;
    request_header::add_field(r, b"Connection", b"close")?;
    let mut fields = errand.fields.iter();
    fields.try_for_each(|(name, value)| request_header::add_field(r, name, value))?;
    if !explain::parse(r, url) {
        return None;
    }
    let mut raw = r.raw();
    raw.http_protocol = str_of(b"HTTP/1.1");
    raw.request_line = r
        .pool()
        .copy(&[b"GET ", &url.target[..], b" HTTP/1.1"].concat())?;
    explain::set_scheme(r, url.https);
    Some(())
}

/// The first turn.
///
/// # Safety
/// `r` is a live request, made anew as nginx makes one whose header it has read.
unsafe extern "C" fn run(r: *mut ngx_http_request_t) {
    guard("a refresh", (), || {
        // SAFETY: the caller's promise.
        unsafe {
            if is_ok(ngx_http_process_request_uri(r)) {
                ngx_http_handler(r);
            }
        }
    });
}

/// One has ended: the next begins.
///
/// # Safety
/// `r` is a request that is about to end, and still lives.
unsafe extern "C" fn on_end(r: *mut c_void) {
    guard("the end of a refresh", (), || {
        // SAFETY: the caller's promise.
        let r = unsafe { Req::new(r.cast()) };
        UNDER_WAY.set(UNDER_WAY.get().saturating_sub(1));
        while UNDER_WAY.get() < AT_A_TIME && next(r) {}
    });
}
