//! A client's request while the cache answers it.
//!
//! | state | it waits for | what moves it on |
//! |---|---|---|
//! | `Idle` | nothing: not parked, or done | - |
//! | `Waiting` | the fetch of another | the bell, or the timer at `Wait::until` |
//! | `Leading` | the fetch that it leads | its own event, posted by the fetch; the timer of its patience |
//! | `Reading` | bytes of a growing body, or the client to take what it has | the bell, or the timer; the client's write event |
//! | `Relaying` | buffers that its fetch fills | the fetch; the client's write event |
//!
//! A request is finalised once, by [`Client::conclude`]; when it ends for whatever reason, [`on_request_end`] takes it
//! out of every list.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr;

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_GATEWAY, NGX_HTTP_CLIENT_CLOSED_REQUEST,
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_REQUEST_TIME_OUT, NGX_OK, ngx_add_timer, ngx_del_timer,
    ngx_delete_posted_event, ngx_event_t, ngx_handle_read_event, ngx_handle_write_event,
    ngx_http_block_reading, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_request_t,
    ngx_http_test_reading, ngx_int_t, ngx_post_event, ngx_posted_events, ngx_queue_t,
};
use swrcache::engine::stats::Answered;
use swrcache::engine::{
    Aside, Asked, Cache, Decision, Delivery, Invalidation, Method, Passed, Reason, Request, Serve,
    Status, Stored, Turn, key,
};
use swrcache::http::Fields;

use crate::api::variables::{self, without_traces};
use crate::client::deliver::{self, Reader, Relay};
use crate::config::location::{LocConf, Value, any_true};
use crate::fetch::interim;
use crate::fetch::orders::{self, Fetch};
use crate::fetch::origin_header::OriginHeader;
use crate::fetch::origin_response;
use crate::fetch::redirect::{self, Onward};
use crate::fetch::report;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::header_list::{List, delete};
use crate::sys::pool::bytes_of;
use crate::sys::record::Ctx;
use crate::sys::request::{Req, run_phases};
use crate::worker::background_job;
use crate::worker::process;

/// How long a client that reads along goes without a look, in milliseconds.
const LOOK_EVERY: u64 = 1000;

/// What the variables and the log tell of a request.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) status: Option<Status>,
    pub(crate) reason: Option<Reason>,
    /// The answer is the cache's own, from the store.
    pub(crate) from_store: bool,
    /// Why the origin was asked.
    pub(crate) asked: Option<Asked>,
    pub(crate) age: Option<u64>,
    pub(crate) ttl: Option<i64>,
    /// When the fetch began that this request waited for.
    pub(crate) fetch_began: Option<u64>,
    /// How long this request waited for it, in milliseconds.
    pub(crate) fetch_took: Option<u64>,
    /// What nginx's own cache did for the fetch, where there is one behind this.
    pub(crate) below: Option<Vec<u8>>,
    /// When the request went on to the content handler, untouched.
    pub(crate) passed: Option<u64>,
    /// Why, if it led no fetch before.
    pub(crate) pass: Option<Passed>,
}

enum State {
    Idle,
    Waiting,
    Leading,
    Reading(Reader),
    Relaying(Relay),
}

/// What a fetch brought to the client that leads it.
pub(crate) enum Brought {
    /// Something to deliver from the store.
    Delivery(Delivery),
    /// A response that is not stored: it comes by the relay.
    Relay(Aside),
    /// Nothing, or a body that broke off.
    Failure(Aside),
    /// The origin is out of reach, and the stored response may not be used without it.
    GatewayTimeout(Aside),
    /// Nothing that could be shown to this client: it goes on where nginx has led the fetch, or to the content handler itself.
    HandOver(Option<Onward>, Aside),
}

/// How a turn ended.
pub(crate) enum Step {
    /// The request is done with this return code.
    Done(ngx_int_t),
    /// It waits.
    Parked,
    /// It goes on to the content handler.
    Decline,
    /// It goes on elsewhere, and may meet the cache there again.
    Onward(Onward),
}

/// The record of a client's request.
pub(crate) struct Client {
    // The first field, and large: nginx's debug log reads a descriptor behind an event's `data`.
    timer: ngx_event_t,
    link: ngx_queue_t,
    r: Req,
    conf: &'static LocConf,
    cache: &'static Cache,
    key: &'static [u8],
    state: State,
    watched: bool,
    brought: Option<Brought>,
    /// Where the published body ends, the fetch relays the rest.
    relay_follows: bool,
    fetch: *mut Fetch,
    /// What is being delivered, pinned until the request's pool is gone.
    pinned: Option<Stored>,
    /// The header that the origin sent, for nginx's variables; made when it is asked for, if the answer is from the store.
    origin: Option<OriginHeader>,
    /// The same of the place that has led the request here: nginx shows it as long as there is no other.
    before: Option<OriginHeader>,
    /// The method of a request that only writes through the cache, until the origin has answered.
    writes: Option<&'static [u8]>,
    pub(crate) seen: Seen,
}

impl Client {
    pub(crate) fn new(
        r: Req,
        conf: &'static LocConf,
        cache: &'static Cache,
        key: &'static [u8],
    ) -> Client {
        Client {
            // SAFETY: all-zero is a valid start for this C struct.
            timer: unsafe { std::mem::zeroed() },
            link: ngx_queue_t {
                prev: ptr::null_mut(),
                next: ptr::null_mut(),
            },
            r,
            conf,
            cache,
            key,
            state: State::Idle,
            watched: false,
            brought: None,
            relay_follows: false,
            fetch: ptr::null_mut(),
            pinned: None,
            origin: None,
            before: Ctx::client(r).and_then(|earlier| earlier.origin.or(earlier.before)),
            writes: None,
            seen: Seen::default(),
        }
    }

    /// For a request of a method that is not cached.
    pub(crate) fn of_write(
        r: Req,
        conf: &'static LocConf,
        cache: &'static Cache,
        key: &'static [u8],
    ) -> Client {
        Client {
            // An origin may lead it on as a GET.
            writes: Some(bytes_of(&r.raw().method_name)),
            ..Client::new(r, conf, cache, key)
        }
    }

    /// # Safety
    ///
    /// `link` is the link of a live client.
    pub(crate) unsafe fn of_link<'a>(link: *mut ngx_queue_t) -> &'a mut Client {
        // SAFETY: the link lies inside its Client.
        unsafe { &mut *link.byte_sub(offset_of!(Client, link)).cast::<Client>() }
    }

    pub(crate) fn request(&self) -> Req {
        self.r
    }

    pub(crate) fn key(&self) -> &'static [u8] {
        self.key
    }

    /// Asks the engine what to do now, and does it.
    pub(crate) fn ask(&mut self, turn: Turn) -> Step {
        let decision =
            self.with_request(|cache, conf, req| cache.decide(req, &conf.policy, turn, now()));
        match decision {
            Decision::Serve(serve) => {
                self.origin = None;
                self.serve(serve)
            }
            Decision::Wait(wait) => {
                self.seen.fetch_began.get_or_insert_with(now);
                self.park(State::Waiting, Some(wait.until))
            }
            Decision::Fetch(mut life) => {
                self.seen.reason = Some(life.asked().reason());
                self.seen.asked = Some(life.asked());
                self.seen.fetch_began = Some(now());
                let patience = life.patience();
                match orders::lead(self, &mut life) {
                    Some(led) => {
                        self.fetch = led;
                        self.park(State::Leading, patience)
                    }
                    None => self.pass(Some(Status::Miss), Passed::Busy),
                }
            }
            Decision::Pass(pass) => self.pass(pass.status, pass.reason),
            Decision::GatewayTimeout(reason) => self.gateway_timeout(reason),
        }
    }

    /// The response is over.
    pub(crate) fn count(&self) {
        let seen = &self.seen;
        let waited = |began: u64| seen.fetch_took.unwrap_or(now().saturating_sub(began));
        self.cache.count(&Answered {
            status: seen.status,
            reason: seen.reason,
            asked: seen.asked,
            waited: seen.fetch_began.map(waited),
            from_store: seen.from_store,
            ttl: seen.ttl,
            bytes: self.r.body_bytes_sent(),
        });
    }

    fn gateway_timeout(&mut self, reason: Reason) -> Step {
        self.seen.reason = Some(reason);
        Step::Done(NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t)
    }

    /// The header of the response is on its way: to a request that the cache only let through, it is the origin's.
    pub(crate) fn origin_answered(&mut self) {
        if let (Some(passed), Method::Head, true) =
            (self.seen.passed, self.r.method(), self.r.is_main())
        {
            origin_response::read(self.r, passed, None, |response| {
                self.with_request(|cache, conf, req| {
                    cache.head_answered(req, response, &conf.policy, now());
                });
            });
        }
        let out = &self.r.raw().headers_out;
        self.written(out.status, &List::of(&out.headers));
    }

    /// nginx leads the request on, by what the origin has answered (`X-Accel-Redirect`, `error_page`).
    pub(crate) fn led_on(&mut self) {
        // SAFETY: NULL or the upstream of this request.
        if let Some(upstream) = unsafe { self.r.raw().upstream.as_ref() } {
            let header = &upstream.headers_in;
            self.written(header.status_n, &List::of(&header.headers));
        }
    }

    /// The origin has answered with this to a request that writes (RFC 9111 §4.4).
    fn written(&mut self, status: usize, fields: &dyn Fields) {
        let Some(method) = self.writes.take() else {
            return;
        };
        let origin = self.r.origin();
        let asked = List::of(&self.r.raw().headers_in.headers);
        let invalidation = Invalidation {
            method,
            status: u16::try_from(status).unwrap_or(0),
            key: self.key,
            origin: &origin,
            target: self.r.unparsed_uri(),
            asked: &asked,
            fields,
        };
        let mut removal = self
            .cache
            .invalidate(&invalidation, &self.conf.policy, now());
        if removal.step(background_job::PLACES) != Ok(true) {
            let zone = self.conf.zone(self.r).map(|zone| zone.name());
            let zone = String::from_utf8_lossy(zone.unwrap_or_default());
            let key = key::display(self.key);
            let about = format!("\"{key}\", which was written to, in zone \"{zone}\"");
            background_job::start(removal, None, about);
        }
    }

    /// What an origin tells this cache alone is not for clients, whether the response is stored or goes by.
    pub(crate) fn hide_own_fields(&self) {
        if !self.seen.from_store {
            delete(&mut self.r.raw().headers_out.headers, |name| {
                self.conf.policy.keeps_to_itself(name)
            });
        }
    }

    fn pass(&mut self, status: Option<Status>, why: Passed) -> Step {
        self.seen.pass = Some(why);
        self.decline(status, why.reason())
    }

    fn decline(&mut self, status: Option<Status>, reason: Reason) -> Step {
        self.seen.status = status;
        self.seen.reason = Some(reason);
        self.seen.passed = Some(now());
        Step::Decline
    }

    /// The request as the engine reads it.
    fn with_request<T>(
        &self,
        f: impl FnOnce(&'static Cache, &'static LocConf, &Request<'_>) -> T,
    ) -> T {
        let fields = List::of(&self.r.raw().headers_in.headers);
        // Some look at the response (`$upstream_http_*`), which is not there yet: they are asked again when it is.
        let holds = |conditions: &[Value]| {
            !conditions.is_empty() && without_traces(self.r, || any_true(conditions, self.r))
        };
        let req = Request {
            method: self.r.method(),
            key: self.key,
            fields: &fields,
            bypass: holds(self.conf.bypass()),
            no_cache: holds(self.conf.no_cache()),
            may_refresh: !self.conf.is_at_refresh_max() && !process::is_exiting(),
        };
        f(self.cache, self.conf, &req)
    }

    fn serve(&mut self, mut serve: Serve) -> Step {
        self.seen.status = Some(serve.status);
        self.seen.reason = Some(serve.reason);
        self.seen.from_store = true;
        self.seen.age = Some(serve.age);
        self.seen.ttl = Some(serve.ttl);
        self.settle_fetch_time();
        if serve.reason == Reason::SwrBusy && self.conf.is_at_refresh_max() {
            report::deferred(self.r, self.conf, &serve.object);
        }
        if let Some(mut life) = serve.refresh.take() {
            orders::refresh(self.r, self.conf, &mut life);
        }
        let stored = self.pinned.insert(serve.object.clone());
        match deliver::start(self.r, self.conf, stored, &serve) {
            deliver::Started::Done(rc) => Step::Done(rc),
            deliver::Started::Reading(reader) => {
                self.state = State::Reading(reader);
                self.pump()
            }
        }
    }

    /// The header that the origin sent with what this client gets; nothing as long as there is none.
    pub(crate) fn origin_header(&mut self) -> Option<OriginHeader> {
        if self.origin.is_none() {
            let stored = self.pinned.as_ref();
            self.origin = stored.and_then(|stored| OriginHeader::of_stored(self.r, stored));
        }
        self.origin.or(self.before)
    }

    /// The fetch that this client leads has brought an answer of the origin's.
    pub(crate) fn note_origin(&mut self, fetch: Req) {
        self.origin = OriginHeader::of_fetch(self.r, fetch);
        self.seen.below = variables::cache_status(fetch);
    }

    fn settle_fetch_time(&mut self) {
        if let (Some(began), None) = (self.seen.fetch_began, self.seen.fetch_took) {
            self.seen.fetch_took = Some(now().saturating_sub(began));
        }
    }

    /// Parks the request: it keeps its place, and an eye on the client's connection.
    fn park(&mut self, state: State, until: Option<u64>) -> Step {
        if !self.watch_client() {
            return Step::Done(NGX_ERROR as ngx_int_t);
        }
        let again = matches!((&self.state, &state), (State::Waiting, State::Waiting));
        let waiting = matches!(state, State::Waiting);
        self.state = state;
        if !again {
            self.stop_timer();
        }
        if waiting {
            process::park(&mut self.link);
        }
        // A rung waiter that must wait on keeps its first deadline.
        match until {
            Some(until) if !(again && self.timer.timer_set() != 0) => self.set_timer(until),
            _ => {}
        }
        Step::Parked
    }

    /// Once: learns when the request ends, and when the client goes away.
    fn watch_client(&mut self) -> bool {
        let raw = self.r.raw();
        raw.write_event_handler = Some(on_write_event);
        if self.watched {
            return true;
        }
        self.watched = true;
        let data: *mut Client = self;
        if self.r.on_end(on_request_end, data.cast()).is_none() {
            return false;
        }
        self.timer.handler = Some(on_timer);
        self.timer.data = data.cast();
        self.timer.log = self.r.connection().log;
        if self.r.is_main() {
            raw.read_event_handler = Some(ngx_http_test_reading);
            // SAFETY: the client's connection is open; for HTTP/2 and 3 nginx knows the event for a stream's.
            return crate::sys::request::is_ok(unsafe {
                ngx_handle_read_event(self.r.connection().read, 0)
            });
        }
        true
    }

    fn set_timer(&mut self, at: u64) {
        // SAFETY: the event has its handler and lives in the request's pool; `on_request_end` takes the timer out.
        unsafe {
            ngx_add_timer(
                &mut self.timer,
                usize::try_from(at.saturating_sub(now())).unwrap_or(0),
            )
        }
    }

    /// Out of every list and timer; the fetch, if any, goes on without this client.
    fn unhook(&mut self) {
        process::unpark(&mut self.link);
        // SAFETY: the event is in these lists exactly if the flags say so.
        unsafe {
            if self.timer.timer_set() != 0 {
                ngx_del_timer(&mut self.timer);
            }
            if self.timer.posted() != 0 {
                ngx_delete_posted_event(&mut self.timer);
            }
        }
        let fetch = std::mem::replace(&mut self.fetch, ptr::null_mut());
        // SAFETY: the fetch clears this pointer before it dies.
        if let Some(fetch) = unsafe { fetch.as_mut() } {
            fetch.leader_gone();
        }
    }

    /// Carries out how a turn ended, outside nginx's call stack for this request. The record may be gone afterwards.
    fn conclude(&mut self, step: Step) {
        let r = self.r;
        match step {
            Step::Parked => {}
            Step::Done(rc) => {
                self.state = State::Idle;
                self.unhook();
                r.finalize(rc);
            }
            Step::Onward(onward) => {
                self.state = State::Idle;
                self.unhook();
                r.raw().read_event_handler = Some(ngx_http_block_reading);
                redirect::follow(r, onward);
            }
            Step::Decline => {
                self.state = State::Idle;
                self.unhook();
                let raw = r.raw();
                raw.read_event_handler = Some(ngx_http_block_reading);
                raw.write_event_handler = Some(run_phases);
                raw.phase_handler += 1;
                r.run_phases();
            }
        }
    }

    /// Runs one turn from an event.
    fn turn(&mut self, deed: impl FnOnce(&mut Client) -> Step) {
        self.r.outside(|| {
            let step = deed(self);
            self.conclude(step);
        });
    }

    /// A fetch somewhere has moved; perhaps the one this client waits for.
    pub(crate) fn rung(&mut self) {
        match self.state {
            State::Waiting => self.turn(|c| c.ask(Turn::Waited)),
            State::Reading(_) => self.turn(Client::pump),
            State::Idle | State::Leading | State::Relaying(_) => {}
        }
    }

    /// Called by the fetch that this client leads; acts on it in a turn of its own.
    pub(crate) fn bring(&mut self, brought: Brought) {
        // A body that broke off at once is still shown as far as it goes, as nginx alone would.
        if !matches!(
            (&self.brought, &brought),
            (Some(Brought::Delivery(_)), Brought::Failure(_))
        ) {
            self.brought = Some(brought);
        }
        self.post();
    }

    /// Has this client look again, in a turn of its own.
    pub(crate) fn post(&mut self) {
        // SAFETY: the event lives in the request's pool; `on_request_end` takes it out of the queue.
        unsafe { ngx_post_event(&mut self.timer, &raw mut ngx_posted_events) }
    }

    /// An interim response has come for the fetch that this client leads.
    pub(crate) fn tell(&mut self, status: &[u8], fields: &dyn Fields) {
        if matches!(self.state, State::Leading) {
            interim::pass_on(self.r, status, fields);
        }
    }

    /// Another fetch goes on for the one that this client leads.
    pub(crate) fn follow(&mut self, fetch: *mut Fetch) {
        self.fetch = fetch;
    }

    /// The fetch is over, or this client has no more to do with it.
    pub(crate) fn forget_fetch(&mut self) {
        self.fetch = ptr::null_mut();
    }

    /// The fetch goes on as a relay after the published bytes: its body does not fit the store.
    pub(crate) fn expect_relay(&mut self) {
        self.relay_follows = true;
    }

    /// The relay has put something out: whether there is room again is for the client to say.
    pub(crate) fn await_room(&mut self) {
        self.r.raw().write_event_handler = Some(on_writable);
        watch_write(self.r);
    }

    /// Where the fetch puts what it relays; `None` until the header is out.
    pub(crate) fn relay(&mut self) -> Option<(Req, &mut Relay)> {
        match &mut self.state {
            State::Relaying(relay) => Some((self.r, relay)),
            _ => None,
        }
    }

    /// The fetch has relayed everything.
    pub(crate) fn relay_done(&mut self, rc: ngx_int_t) {
        self.forget_fetch();
        self.turn(|_| Step::Done(rc));
    }

    fn take_brought(&mut self) -> Step {
        let Some(brought) = self.brought.take() else {
            return match self.state {
                State::Reading(_) => self.pump(),
                State::Relaying(_) => self.push_out(),
                _ => Step::Parked,
            };
        };
        match brought {
            Brought::Delivery(delivery) => self.deliver(&delivery),
            Brought::Relay(aside) => self.start_relay(aside),
            Brought::Failure(aside) => self.fail(aside),
            Brought::GatewayTimeout(aside) => {
                self.settle_fetch_time();
                self.seen.status.get_or_insert(aside.status);
                self.gateway_timeout(aside.reason)
            }
            Brought::HandOver(onward, aside) => {
                self.settle_fetch_time();
                let declined = self.decline(Some(aside.status), aside.reason);
                onward.map_or(declined, Step::Onward)
            }
        }
    }

    fn deliver(&mut self, delivery: &Delivery) -> Step {
        if !matches!(self.state, State::Leading) {
            return Step::Parked;
        }
        self.stop_timer();
        let serve =
            self.with_request(|cache, conf, req| cache.deliver(delivery, req, &conf.policy, now()));
        match serve {
            Ok(serve) => self.serve(serve),
            Err(aside) => self.fail(aside),
        }
    }

    fn stop_timer(&mut self) {
        if self.timer.timer_set() != 0 {
            // SAFETY: the flag says that it is in the tree.
            unsafe { ngx_del_timer(&mut self.timer) };
        }
    }

    fn fail(&mut self, aside: Aside) -> Step {
        match self.state {
            State::Leading => {
                self.seen.status.get_or_insert(aside.status);
                self.seen.reason = Some(aside.reason);
                Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t)
            }
            State::Reading(_) => self.pump(),
            _ => Step::Done(NGX_ERROR as ngx_int_t),
        }
    }

    fn start_relay(&mut self, aside: Aside) -> Step {
        self.stop_timer();
        self.settle_fetch_time();
        // SAFETY: the fetch clears the pointer before it dies.
        let Some(fetch) = (unsafe { self.fetch.as_mut() }) else {
            return Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t);
        };
        self.seen.status = Some(aside.status);
        self.seen.reason = Some(aside.reason);
        let rc = deliver::relay_header(self.r, self.conf, fetch, aside.reason);
        if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t {
            return Step::Done(rc);
        }
        if self.r.raw().header_only() != 0 {
            self.forget_fetch();
            fetch.leader_has_all();
            return Step::Done(rc);
        }
        self.begin_relaying(Relay::of(self.r, fetch));
        fetch.go_on();
        self.post();
        Step::Parked
    }

    fn begin_relaying(&mut self, relay: Relay) {
        self.state = State::Relaying(relay);
        self.r.raw().write_event_handler = Some(on_writable);
    }

    /// Sends what the body has for this client, as far as both allow.
    fn pump(&mut self) -> Step {
        let State::Reading(reader) = &mut self.state else {
            return Step::Parked;
        };
        let Some(stored) = &self.pinned else {
            return Step::Done(NGX_ERROR as ngx_int_t);
        };
        match reader.pump(self.r, stored, self.relay_follows) {
            deliver::Pumped::Done(rc) => Step::Done(rc),
            deliver::Pumped::Blocked => self.wait_for_client(),
            deliver::Pumped::Drained => self.wait_for_more(),
            deliver::Pumped::Relay => {
                self.begin_relaying(Relay::begun());
                // SAFETY: the fetch clears the pointer before it dies.
                match unsafe { self.fetch.as_mut() } {
                    Some(fetch) => fetch.go_on(),
                    None => return Step::Done(NGX_ERROR as ngx_int_t),
                }
                Step::Parked
            }
        }
    }

    /// Waits for the bell. The timer keeps a worker that is on its way out for as long as its client reads: the fetch
    /// may be another worker's.
    fn wait_for_more(&mut self) -> Step {
        if !self.watch_client() {
            return Step::Done(NGX_ERROR as ngx_int_t);
        }
        // A subrequest's turn may come meanwhile.
        self.r.raw().write_event_handler = Some(on_writable);
        process::unpark(&mut self.link);
        process::park(&mut self.link);
        if self.timer.timer_set() == 0 {
            self.set_timer(now() + LOOK_EVERY);
        }
        watch_write(self.r)
    }

    /// Waits until the client takes more (as ngx_http_set_write_handler does).
    fn wait_for_client(&mut self) -> Step {
        if !self.watch_client() {
            return Step::Done(NGX_ERROR as ngx_int_t);
        }
        self.stop_timer();
        self.r.raw().write_event_handler = Some(on_writable);
        watch_write(self.r)
    }

    /// The client can take more, or took too long.
    fn writable(&mut self) -> Step {
        // SAFETY: a connection's events live as long as it does.
        let wev = unsafe { &mut *self.r.connection().write };
        if wev.timedout() != 0 {
            self.r.connection().set_timedout(1);
            return Step::Done(NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t);
        }
        if wev.delayed() != 0 {
            return watch_write(self.r);
        }
        match self.state {
            State::Reading(_) => self.pump(),
            State::Relaying(_) => self.flush(),
            _ => Step::Parked,
        }
    }

    /// The worker has read all that the origin has sent by now: the client shall see it now, not when a buffer of nginx's fills.
    /// (nginx alone marks what it passes on as `recycled`, which has its write filter do so.)
    fn push_out(&mut self) -> Step {
        let State::Relaying(relay) = &mut self.state else {
            return Step::Parked;
        };
        let rc = relay.push_out(self.r);
        if rc == NGX_ERROR as ngx_int_t {
            return Step::Done(rc);
        }
        watch_write(self.r)
    }

    fn flush(&mut self) -> Step {
        let State::Relaying(relay) = &mut self.state else {
            return Step::Parked;
        };
        let rc = relay.flush(self.r);
        if rc == NGX_ERROR as ngx_int_t {
            return Step::Done(rc);
        }
        let step = watch_write(self.r);
        if !matches!(step, Step::Parked) {
            return step;
        }
        // SAFETY: the fetch clears the pointer before it dies.
        if let Some(fetch) = unsafe { self.fetch.as_mut() } {
            fetch.go_on();
        }
        Step::Parked
    }

    /// `Wait::until` or the patience has passed, or it is time to look.
    fn timed_out(&mut self) -> Step {
        match self.state {
            State::Waiting => {
                process::unpark(&mut self.link);
                self.ask(Turn::TimedOut)
            }
            State::Leading => self.lose_patience(),
            State::Reading(_) => self.pump(),
            _ => Step::Parked,
        }
    }

    fn lose_patience(&mut self) -> Step {
        // SAFETY: the fetch clears the pointer before it dies.
        let Some(stale) = (unsafe { self.fetch.as_ref() }).and_then(Fetch::patience_over) else {
            return Step::Parked;
        };
        let fetch = std::mem::replace(&mut self.fetch, ptr::null_mut());
        // SAFETY: as above.
        if let Some(fetch) = unsafe { fetch.as_mut() } {
            fetch.leader_gone();
        }
        self.deliver(&stale)
    }
}

/// Watches for the client to take more, for `send_timeout` at most, if it does not now (as ngx_event_pipe does).
///
/// A subrequest whose turn has not come has no say in the connection; nginx posts it when it has.
fn watch_write(r: Req) -> Step {
    if !r.is_active() {
        return Step::Parked;
    }
    // SAFETY: a connection's events live as long as it does; every request has a core location configuration.
    unsafe {
        let wev = r.connection().write;
        let index = (*ptr::addr_of!(ngx_http_core_module)).ctx_index;
        let core: *const ngx_http_core_loc_conf_t = (*r.raw().loc_conf.add(index)).cast();
        if !crate::sys::request::is_ok(ngx_handle_write_event(wev, (*core).send_lowat)) {
            return Step::Done(NGX_ERROR as ngx_int_t);
        }
        match ((*wev).delayed() != 0, (*wev).ready() != 0) {
            (true, _) => {}
            (false, false) => ngx_add_timer(wev, (*core).send_timeout),
            (false, true) if (*wev).timer_set() != 0 => ngx_del_timer(wev),
            (false, true) => {}
        }
    }
    Step::Parked
}

/// What a phase handler returns for a step.
pub(crate) fn phase_result(client: &mut Client, step: Step) -> ngx_int_t {
    match step {
        Step::Decline => {
            client.unhook();
            NGX_DECLINED as ngx_int_t
        }
        Step::Parked => NGX_DONE as ngx_int_t,
        Step::Done(rc) => {
            client.unhook();
            client.r.finalize(rc);
            NGX_DONE as ngx_int_t
        }
        Step::Onward(onward) => {
            client.unhook();
            redirect::follow(client.r, onward);
            NGX_DONE as ngx_int_t
        }
    }
}

/// Something has happened to the way to a client for which there is nothing yet: over HTTP/3 it may want no more
/// (ngx_http_upstream_check_broken_connection).
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn on_write_event(r: *mut ngx_http_request_t) {
    guard("the write event of a client that waits", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        // SAFETY: a connection's events live as long as it does.
        let is_gone = unsafe { (*r.connection().write).error() != 0 };
        match Ctx::client(r) {
            Some(client) if is_gone => {
                client.conclude(Step::Done(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t));
            }
            _ => {}
        }
    });
}

/// The client can take more.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn on_writable(r: *mut ngx_http_request_t) {
    guard("the write event of a client", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        if let Some(client) = Ctx::client(r) {
            let step = client.writable();
            client.conclude(step);
        }
    });
}

/// The client's timer has expired, or its fetch has brought something.
///
/// # Safety
/// `event` is the timer of a client: its `data` is that client, which is still there.
unsafe extern "C" fn on_timer(event: *mut ngx_event_t) {
    guard("the timer of a client", (), || {
        // SAFETY: `data` is the client that set the timer; it takes the timer out before it is gone.
        let client = unsafe { &mut *(*event).data.cast::<Client>() };
        if client.timer.timedout() != 0 {
            client.timer.set_timedout(0);
            client.turn(Client::timed_out);
        } else {
            client.turn(Client::take_brought);
        }
    });
}

/// The request has ended: answered, given up by the client, or torn down.
///
/// # Safety
/// `data` is the client of a request, whose pool is still there.
unsafe extern "C" fn on_request_end(data: *mut c_void) {
    guard("the end of a request", (), || {
        // SAFETY: the record lives in the request's pool, which is still there.
        let client = unsafe { &mut *data.cast::<Client>() };
        client.state = State::Idle;
        client.unhook();
    });
}
