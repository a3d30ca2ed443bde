//! The content handler of `swr_cache_stats`.
//!
//! The entries are counted in pieces between the worker's events, so that other requests are not delayed; this one waits.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;
use std::time::{Duration, Instant};

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_REQUEST, NGX_HTTP_GET, NGX_HTTP_HEAD,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_HTTP_OK, NGX_OK,
    ngx_event_t, ngx_http_request_t, ngx_int_t,
};
use serde_json::json;
use swrcache::engine::stats::{
    self, Format, MEDIA_TYPE, PAGE_TYPE, StatisticsRequest, Survey, Tree, Zone as Numbers,
    exposition, page,
};
use swrcache::http::fields::first;

use crate::api::answer::{JSON, add_field, send};
use crate::api::explain;
use crate::config::location::LocConf;
use crate::config::zone::Zone;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::event::{PIECE, PostedEvent};
use crate::sys::header_list::List;
use crate::sys::one_thread::OneThread;
use crate::sys::pool::bytes_of;
use crate::sys::request::Req;

/// How many entry slots are visited between two looks at the clock.
const PLACES: u32 = 256;
/// The pause before the next try while a stopped process holds a lock, in milliseconds.
const LATER: u64 = 20;
/// How often to try: for half a minute. Then the zone is reported as far as it was read.
const TRIES: u32 = 1500;
/// A result is reused for so many times the time that it took to make, so that repeated requests don't keep a worker busy.
const WORTH: u32 = 20;
/// A result that took less time than this is never reused.
const SOON: Duration = Duration::from_millis(20);

/// A request that waits for statistics.
struct Asker {
    r: Req,
    query: StatisticsRequest,
}

/// The walk over the zones, and the requests that wait for its end.
struct Walk {
    askers: Vec<Asker>,
    /// Zones that have yet to be walked over.
    left: VecDeque<(String, Survey)>,
    done: BTreeMap<String, Numbers>,
    took: Duration,
    tries: u32,
}

/// The walks over the zones: one at a time, for everybody who asks meanwhile.
struct Walks {
    walk: Option<Walk>,
    /// Those that the walk that has ended is still to answer.
    to_answer: Vec<Asker>,
    /// The last tree: when it was made, and how long that took.
    last: Option<(Instant, Duration, Tree)>,
}

/// No borrow is held across a call into nginx.
static WALKS: OneThread<RefCell<Walks>> = OneThread::new(RefCell::new(Walks {
    walk: None,
    to_answer: Vec::new(),
    last: None,
}));

static TURN: PostedEvent = PostedEvent::new(on_turn);

/// The content handler of `swr_cache_stats`.
///
/// # Safety
/// `r` is a live request.
pub(crate) unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let failed = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    guard("the statistics", failed, || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if !matches!(r.raw().method as u32, NGX_HTTP_GET | NGX_HTTP_HEAD) {
            let named = add_field(r, "Allow", "GET, HEAD");
            return named.map_or(failed, |()| NGX_HTTP_NOT_ALLOWED as ngx_int_t);
        }
        let rc = r.discard_body();
        if rc != NGX_OK as ngx_int_t {
            return rc;
        }
        answer(r).unwrap_or(failed)
    })
}

fn answer(r: Req) -> Option<ngx_int_t> {
    add_field(r, "Cache-Control", "no-store")?;
    let raw = r.raw();
    let fields = List::of(&raw.headers_in.headers);
    let accept = first(&fields, "accept", |value| Some(value.to_vec())).unwrap_or_default();
    let query = match StatisticsRequest::parse(bytes_of(&r.raw().args), &accept) {
        Ok(query) => query,
        Err(why) => return refuse(r, NGX_HTTP_BAD_REQUEST, &why),
    };
    let zones = LocConf::of(r).zones();
    let is_unknown = |name: &&Vec<u8>| !zones.iter().any(|zone| zone.name() == name.as_slice());
    if let Some(name) = query.zone.as_ref().filter(is_unknown) {
        let why = format!(
            "\"zone\" is \"{}\": there is no such zone",
            String::from_utf8_lossy(name)
        );
        return refuse(r, NGX_HTTP_NOT_FOUND, &why);
    }
    if let Some(explain) = &query.explain {
        return explain::begin(r, explain);
    }
    match rendered(&query) {
        Some((media_type, text)) => send(r, NGX_HTTP_OK, media_type, &text),
        None => wait(Asker { r, query }, zones),
    }
}

/// The answer from the last result, if that may be reused.
fn rendered(query: &StatisticsRequest) -> Option<(&'static str, String)> {
    match &WALKS.borrow().last {
        Some((made, took, tree)) if *took > SOON && made.elapsed() < *took * WORTH => {
            Some(render(tree, query))
        }
        _ => None,
    }
}

fn refuse(r: Req, status: u32, why: &str) -> Option<ngx_int_t> {
    send(r, status, JSON, &format!("{}\n", json!({ "error": why })))
}

/// Has the request wait for a walk that begins now, or is under way.
fn wait(asker: Asker, zones: &[Box<Zone>]) -> Option<ngx_int_t> {
    let r = asker.r;
    r.on_end(forget, r.as_ptr().cast())?;
    r.hold();
    let mut state = WALKS.borrow_mut();
    let walk = state.walk.get_or_insert_with(|| Walk::over(zones));
    walk.askers.push(asker);
    TURN.next();
    Some(NGX_DONE as ngx_int_t)
}

/// The client is gone.
///
/// # Safety
/// `r` is a request that is about to end, and still lives.
unsafe extern "C" fn forget(r: *mut c_void) {
    guard("the statistics", (), || {
        // SAFETY: the request that `wait` gave, at its end.
        let r = unsafe { Req::new(r.cast()) };
        let mut state = WALKS.borrow_mut();
        state.to_answer.retain(|asker| asker.r != r);
        if let Some(walk) = &mut state.walk {
            walk.askers.retain(|asker| asker.r != r);
        }
    });
}

impl Walk {
    fn over(zones: &[Box<Zone>]) -> Walk {
        let (mut left, mut done) = (VecDeque::new(), BTreeMap::new());
        for zone in zones {
            let name = String::from_utf8_lossy(zone.name()).into_owned();
            match zone.cache() {
                Some(cache) => left.push_back((name, Survey::new(cache.region(), now()))),
                None => _ = done.insert(name, stats::unknown()),
            }
        }
        Walk {
            askers: Vec::new(),
            left,
            done,
            took: Duration::ZERO,
            tries: 0,
        }
    }

    /// A piece of it; how long to wait before the next one, or nothing when it is done.
    fn go_on(&mut self) -> Option<u64> {
        let began = Instant::now();
        let mut pause = None;
        while began.elapsed() < PIECE && pause.is_none() {
            let (name, survey) = self.left.front_mut()?;
            match survey.step(PLACES) {
                Ok(false) => {}
                Err(_) if self.tries < TRIES => {
                    self.tries += 1;
                    pause = Some(LATER);
                }
                Ok(true) | Err(_) => {
                    let name = std::mem::take(name);
                    let (_, survey) = self.left.pop_front()?;
                    self.done.insert(name, survey.zone());
                }
            }
        }
        self.took += began.elapsed();
        Some(pause.unwrap_or(0))
    }
}

extern "C" fn on_turn(_: *mut ngx_event_t) {
    guard("the statistics", (), || {
        let go_on = |state: &mut Walks| state.walk.as_mut().map(Walk::go_on);
        let went = go_on(&mut WALKS.borrow_mut());
        match went {
            Some(Some(0)) => TURN.next(),
            Some(Some(pause)) => TURN.later(pause),
            Some(None) => done(),
            None => {}
        }
    });
}

/// Answers the requests that wait: all zones have been walked over.
fn done() {
    let walk = WALKS.borrow_mut().walk.take();
    let Some(walk) = walk else { return };
    let tree = stats::tree(walk.done, now());
    WALKS.borrow_mut().to_answer.extend(walk.askers);
    // One at a time: an answer may end the request of another (subrequests of one client).
    let next = || WALKS.borrow_mut().to_answer.pop();
    while let Some(asker) = next() {
        let (media_type, text) = render(&tree, &asker.query);
        asker.r.outside(|| {
            let rc = send(asker.r, NGX_HTTP_OK, media_type, &text);
            asker.r.finalize(rc.unwrap_or(NGX_ERROR as ngx_int_t));
        });
    }
    WALKS.borrow_mut().last = Some((Instant::now(), walk.took, tree));
}

fn render(tree: &Tree, query: &StatisticsRequest) -> (&'static str, String) {
    let picked = query.zone.as_ref().map(|name| {
        let name = String::from_utf8_lossy(name).into_owned();
        stats::pick(tree, &name)
    });
    let tree = picked.as_ref().unwrap_or(tree);
    match query.form {
        Format::Json => (JSON, serde_json::to_string(tree).unwrap_or_default() + "\n"),
        Format::Prometheus => (MEDIA_TYPE, exposition(tree)),
        Format::Html => (PAGE_TYPE, page(tree)),
    }
}
