//! A client's request while the cache answers it. Most are answered at once; the others wait, lead a fetch or follow a growing body.
//!
//! | state | it waits for | what moves it on |
//! |---|---|---|
//! | `Idle` | nothing: done, or in the middle of a turn | - |
//! | `Waiting` | the fetch of another | the wake-up of this worker, or the timer at `Wait::until` |
//! | `Leading` | the fetch that it leads | a letter of the fetch; the timer of its patience |
//! | `Reading` | bytes of a growing body, or the client to take what it has | the wake-up, or the timer; the client's write event |
//! | `Relaying` | buffers that its fetch fills | the fetch; the client's write event |
//!
//! A request is finalised once, by [`conclude`]; when it ends for whatever reason, [`on_request_end`] takes it out of every list.
//!
//! A request that can't be answered at once gets a [`Suspended`] beside its record. There are only shared references to it, as to the
//! record: a turn takes the state out of its `Cell` and works on the value that it has taken. Whatever nginx calls in the middle of a turn
//! finds the request `Idle`, so no two turns work on one state.

use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_ERROR, NGX_HTTP_BAD_GATEWAY, NGX_HTTP_CLIENT_CLOSED_REQUEST,
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_REQUEST_TIME_OUT, NGX_OK, ngx_event_t,
    ngx_handle_read_event, ngx_http_block_reading, ngx_http_request_t, ngx_http_test_reading,
    ngx_int_t,
};
use swrcache::engine::{
    Aside, Decision, Delivery, Fetch, Passed, Reason, Request, Serve, Status, Turn,
};

use crate::client::body::{Pumped, Reader};
use crate::client::delivery::{self, Started};
use crate::client::header;
use crate::client::record::Client;
use crate::client::suspended::{State, Suspended};
use crate::fetch::carrier::{self, Carrier};
use crate::fetch::exchange::{Leader, LeadersEnd, News};
use crate::fetch::redirect::{self, Onward};
use crate::fetch::relay::Relay;
use crate::fetch::report;
use crate::fetch::request_copy::Before;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::record;
use crate::sys::request::{Req, is_ok, run_phases};

/// How often a client that follows a growing body is looked at, in milliseconds.
const LOOK_EVERY: u64 = 1000;

/// How a turn ended.
enum Step {
    /// The request is done with this return code.
    Done(ngx_int_t),
    /// It waits.
    Parked,
    /// The request goes on to the content handler.
    Decline,
    /// nginx redirects it; it may meet the cache again there.
    Onward(Onward),
}

/// Handles a request that has just met the cache; gives the phase's return code.
pub(crate) fn begin(client: &'static Client) -> ngx_int_t {
    let r = client.r;
    let step = ask(client, Turn::First);
    if !matches!(step, Step::Parked) {
        unhook(client);
    }
    match step {
        Step::Decline => return NGX_DECLINED as ngx_int_t,
        Step::Parked => {}
        Step::Done(rc) => r.finalize(rc),
        Step::Onward(onward) => redirect::follow(r, onward),
    }
    NGX_DONE as ngx_int_t
}

/// Asks the engine what to do now and carries it out.
fn ask(client: &'static Client, turn: Turn) -> Step {
    let policy = &client.conf.policy;
    let decision = client.with_request(|req| client.cache.decide(req, policy, turn, now()));
    match decision {
        Decision::Serve(serve) => {
            client.forget_origin();
            answer(client, serve)
        }
        Decision::Wait(wait) => {
            client.facts.wait();
            suspend(client, |suspended| wait_for_fetch(suspended, wait.until))
        }
        Decision::Fetch(mut life) => lead(client, &mut life),
        Decision::Pass(pass) => pass_on(client, pass.status, pass.reason),
        Decision::GatewayTimeout(reason) => gateway_timeout(client, reason),
    }
}

fn lead(client: &'static Client, life: &mut Fetch) -> Step {
    client.facts.lead(life.asked());
    let patience = life.patience();
    suspend(client, |suspended| match suspended.lead(life) {
        Some(()) => wait_as_leader(suspended, patience),
        None => pass_on(client, Some(Status::Miss), Passed::Busy),
    })
}

fn gateway_timeout(client: &Client, reason: Reason) -> Step {
    client.facts.reason.set(Some(reason));
    Step::Done(NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t)
}

fn pass_on(client: &Client, status: Option<Status>, why: Passed) -> Step {
    client.facts.passed_for.set(Some(why));
    client.facts.pass(status, why.reason());
    Step::Decline
}

/// Answers from the store.
fn answer(client: &'static Client, mut serve: Serve) -> Step {
    let (r, conf) = (client.r, client.conf);
    client.facts.serve(&serve);
    if serve.deferred {
        report::deferred(r, conf, &serve.object);
    }
    let refresh = serve.refresh.take();
    // A request is answered from the store once.
    if client.served.get().is_some() {
        return Step::Done(NGX_ERROR as ngx_int_t);
    }
    let serve = client.served.get_or_init(|| serve);
    match refresh {
        None => deliver(client, serve),
        Some(mut life) => {
            let before = Before::of(r);
            let step = deliver(client, serve);
            carrier::refresh(r, &before, conf, &mut life);
            step
        }
    }
}

fn deliver(client: &'static Client, serve: &'static Serve) -> Step {
    match delivery::start(client.r, client.conf, serve, &client.facts) {
        Started::Done(rc) => Step::Done(rc),
        Started::Reading(reader) => suspend(client, |suspended| pump(suspended, reader)),
    }
}

/// Suspends the request: `deed` says what it waits for.
fn suspend(client: &'static Client, deed: impl FnOnce(&'static Suspended) -> Step) -> Step {
    match Suspended::of(client, on_event, on_request_end) {
        Some(suspended) => deed(suspended),
        None => Step::Done(NGX_ERROR as ngx_int_t),
    }
}

/// Carries out the result of a turn, outside nginx's call stack for this request. The record may be gone afterwards.
fn conclude(client: &'static Client, step: Step) {
    let r = client.r;
    if !matches!(step, Step::Parked) {
        unhook(client);
    }
    match step {
        Step::Parked => {}
        Step::Done(rc) => r.finalize(rc),
        Step::Onward(onward) => {
            r.raw().read_event_handler = Some(ngx_http_block_reading);
            redirect::follow(r, onward);
        }
        Step::Decline => {
            let mut raw = r.raw();
            raw.read_event_handler = Some(ngx_http_block_reading);
            raw.write_event_handler = Some(run_phases);
            raw.phase_handler += 1;
            r.run_phases();
        }
    }
}

/// Takes the request out of every list. Its fetch, if there is one, goes on without it.
fn unhook(client: &'static Client) {
    if let Some(suspended) = Suspended::found(client) {
        suspended.unhook();
    }
}

/// Has nginx watch, once, whether the client closes its connection. A subrequest is told of that when it is the active one, whose handlers
/// nginx calls (ngx_http_request_handler).
fn watch_client(s: &'static Suspended) -> Option<()> {
    let mut raw = s.r().raw();
    raw.write_event_handler = Some(on_write_event);
    if s.is_watched.replace(true) {
        return Some(());
    }
    raw.read_event_handler = Some(ngx_http_test_reading);
    // SAFETY: the client's connection is open; for HTTP/2 and 3 nginx knows the event for a stream's.
    let rc = unsafe { ngx_handle_read_event(s.r().connection().read, 0) };
    is_ok(rc).then_some(())
}

/// Waits for the fetch of another.
fn wait_for_fetch(s: &'static Suspended, until: u64) -> Step {
    if watch_client(s).is_none() {
        return Step::Done(NGX_ERROR as ngx_int_t);
    }
    s.state.set(State::Waiting);
    s.park(look);
    // A request that was woken and has to wait again keeps its first deadline.
    if !s.event.has_timer() {
        s.set_timer(until);
    }
    Step::Parked
}

/// Waits for the fetch that it leads; until `patience` ends if it may have a stale copy instead.
fn wait_as_leader(s: &'static Suspended, patience: Option<u64>) -> Step {
    if watch_client(s).is_none() {
        return Step::Done(NGX_ERROR as ngx_int_t);
    }
    s.state.set(State::Leading);
    s.event.stop_timer();
    if let Some(until) = patience {
        s.set_timer(until);
    }
    Step::Parked
}

/// Runs one turn from an event. The request may be gone afterwards, and this with it.
fn turn(s: &'static Suspended, deed: impl FnOnce(&'static Suspended) -> Step) {
    let client = s.client;
    client.r.outside(|| conclude(client, deed(s)));
}

/// The worker has been woken: perhaps the fetch that this request waits for has made progress.
fn on_wakeup(s: &'static Suspended) {
    match s.state.take() {
        State::Waiting => turn(s, |s| ask(s.client, Turn::Waited)),
        State::Reading(reader) => turn(s, |s| pump(s, reader)),
        other => s.state.set(other),
    }
}

/// Reads what the fetch that this request leads has written.
fn read_letter(s: &'static Suspended) -> Step {
    let letter = s.fetch.borrow().as_ref().and_then(LeadersEnd::take);
    let Some(letter) = letter else {
        return match s.state.take() {
            State::Reading(reader) => pump(s, reader),
            State::Relaying => push_out(s),
            // It has ended without a letter: there was no memory to ask the origin again.
            State::Leading if s.carrier().is_none() => {
                Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t)
            }
            other => stay(s, other),
        };
    };
    if let Some(origin) = letter.origin {
        s.client.note_origin(origin);
    }
    match letter.news {
        News::Delivery(delivery) => take_delivery(s, &delivery),
        News::Relay(aside) => start_relay(s, aside),
        News::RelayEnded(rc) => Step::Done(send_postponed(s.r(), rc)),
        News::Failure(aside) => fail(s, aside),
        News::GatewayTimeout(aside) => {
            s.client.facts.settle_fetch_time();
            s.client.facts.aside(aside);
            gateway_timeout(s.client, aside.reason)
        }
        News::HandOver(onward, aside) => {
            s.client.facts.settle_fetch_time();
            s.client.facts.pass(Some(aside.status), aside.reason);
            onward.map_or(Step::Decline, Step::Onward)
        }
    }
}

/// Has nginx send what it has kept back behind a subrequest that has ended since the last bytes were relayed: it would wait for the
/// subrequest to tell it to (ngx_http_postpone_filter, ngx_http_set_write_handler).
fn send_postponed(r: Req, rc: ngx_int_t) -> ngx_int_t {
    match rc == NGX_ERROR as ngx_int_t || r.raw().postponed.is_null() {
        true => rc,
        false => r.output(ptr::null_mut()),
    }
}

fn stay(s: &'static Suspended, state: State) -> Step {
    s.state.set(state);
    Step::Parked
}

fn take_delivery(s: &'static Suspended, delivery: &Delivery) -> Step {
    match s.state.take() {
        State::Leading => {
            s.event.stop_timer();
            deliver_brought(s, delivery)
        }
        other => stay(s, other),
    }
}

fn deliver_brought(s: &'static Suspended, delivery: &Delivery) -> Step {
    let (client, policy) = (s.client, &s.client.conf.policy);
    let serve = client.with_request(|req| client.cache.deliver(delivery, req, policy, now()));
    match serve {
        Ok(serve) => answer(client, serve),
        Err(aside) => {
            client.facts.aside(aside);
            Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t)
        }
    }
}

fn fail(s: &'static Suspended, aside: Aside) -> Step {
    match s.state.take() {
        State::Leading => {
            s.client.facts.aside(aside);
            Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t)
        }
        State::Reading(reader) => pump(s, reader),
        State::Idle | State::Waiting | State::Relaying => Step::Done(NGX_ERROR as ngx_int_t),
    }
}

fn start_relay(s: &'static Suspended, aside: Aside) -> Step {
    let (r, client) = (s.r(), s.client);
    s.event.stop_timer();
    client.facts.settle_fetch_time();
    let Some(fetch) = s.carrier().map(Carrier::request) else {
        return Step::Done(NGX_HTTP_BAD_GATEWAY as ngx_int_t);
    };
    client.facts.status.set(Some(aside.status));
    client.facts.reason.set(Some(aside.reason));
    let rc = header::send_relayed(r, client.conf, fetch, &client.facts);
    if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t {
        return Step::Done(rc);
    }
    if r.raw().header_only() != 0 {
        if let Some(end) = s.fetch.take() {
            carrier::leave_with_all(end);
        }
        return Step::Done(rc);
    }
    let step = relay(s, Relay::of(r, fetch));
    s.event.notifier().notify();
    step
}

/// Has the fetch relay the body from now on.
fn relay(s: &'static Suspended, relay: Relay) -> Step {
    let leader = s.leader.borrow().clone();
    let (Some(leader), Some(carrier)) = (leader, s.carrier()) else {
        return Step::Done(NGX_ERROR as ngx_int_t);
    };
    leader.relay.set(Some(relay));
    s.r().raw().write_event_handler = Some(on_writable);
    carrier.go_on();
    stay(s, State::Relaying)
}

/// Sends as much of the body as has been published and the client accepts.
fn pump(s: &'static Suspended, mut reader: Reader) -> Step {
    let Some(serve) = s.client.served.get() else {
        return Step::Done(NGX_ERROR as ngx_int_t);
    };
    let relay_follows = |leader: &Rc<Leader>| leader.relay_follows.get();
    let relay_follows = s.leader.borrow().as_ref().is_some_and(relay_follows);
    match reader.pump(s.r(), &serve.object, relay_follows) {
        Pumped::Done(rc) => Step::Done(rc),
        Pumped::Blocked => wait_for_client(s, reader),
        Pumped::Drained => wait_for_more(s, reader),
        Pumped::Relay => relay(s, Relay::begun()),
        Pumped::Broken => ask_for_rest(s, reader, serve),
    }
}

/// Asks the origin for the rest of a body that broke off in the store, once, if the store took no more of it.
fn ask_for_rest(s: &'static Suspended, reader: Reader, serve: &Serve) -> Step {
    let client = s.client;
    if s.carrier().is_some() {
        return wait_for_more(s, reader);
    }
    let rest = |req: &Request<'_>| {
        let policy = &client.conf.policy;
        client.cache.rest_of(&serve.object, req, policy, now())
    };
    let has_led = s.leader.borrow().is_some();
    let life = (!has_led).then(|| client.with_request(rest)).flatten();
    match life.and_then(|mut life| s.lead(&mut life)) {
        Some(()) => wait_for_more(s, reader),
        None => Step::Done(NGX_ERROR as ngx_int_t),
    }
}

/// Waits to be woken. The timer keeps a worker that is shutting down alive as long as this client reads: the fetch may run in another
/// worker.
fn wait_for_more(s: &'static Suspended, reader: Reader) -> Step {
    if watch_client(s).is_none() {
        return Step::Done(NGX_ERROR as ngx_int_t);
    }
    s.state.set(State::Reading(reader));
    // A subrequest may become the active one meanwhile.
    s.r().raw().write_event_handler = Some(on_writable);
    s.park(look);
    if !s.event.has_timer() {
        s.event.set_timer(LOOK_EVERY);
    }
    watch_write(s)
}

/// Waits until the client takes more (as ngx_http_set_write_handler does).
fn wait_for_client(s: &'static Suspended, reader: Reader) -> Step {
    if watch_client(s).is_none() {
        return Step::Done(NGX_ERROR as ngx_int_t);
    }
    s.state.set(State::Reading(reader));
    s.event.stop_timer();
    s.r().raw().write_event_handler = Some(on_writable);
    watch_write(s)
}

fn watch_write(s: &'static Suspended) -> Step {
    match s.r().watch_write() {
        Some(()) => Step::Parked,
        None => Step::Done(NGX_ERROR as ngx_int_t),
    }
}

/// The client accepts more, or has taken too long.
fn writable(s: &'static Suspended) -> Step {
    let c = s.r().connection();
    // SAFETY: a connection's events live as long as it does.
    let (timed_out, delayed) = unsafe { ((*c.write).timedout() != 0, (*c.write).delayed() != 0) };
    if timed_out {
        c.set_timedout(1);
        return Step::Done(NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t);
    }
    if delayed {
        return watch_write(s);
    }
    match s.state.take() {
        State::Reading(reader) => pump(s, reader),
        State::Relaying => flush(s),
        other => stay(s, other),
    }
}

/// Has nginx send all that has come from the origin now, not when a buffer fills. (nginx marks the buffers of its own upstreams as
/// `recycled` for that.)
fn push_out(s: &'static Suspended) -> Step {
    with_relay(s, Relay::push_out)
}

fn flush(s: &'static Suspended) -> Step {
    let step = with_relay(s, Relay::flush);
    if let (Step::Parked, Some(carrier)) = (&step, s.carrier()) {
        carrier.go_on();
    }
    step
}

/// Lets `deed` send something with the relay, unless the fetch is using it.
fn with_relay(s: &'static Suspended, deed: fn(&mut Relay, Req) -> ngx_int_t) -> Step {
    s.state.set(State::Relaying);
    let leader = s.leader.borrow().clone();
    let Some((leader, mut relay)) = leader.and_then(|l| Some((Rc::clone(&l), l.relay.take()?)))
    else {
        return Step::Parked;
    };
    let rc = deed(&mut relay, s.r());
    leader.relay.set(Some(relay));
    match rc == NGX_ERROR as ngx_int_t {
        true => Step::Done(rc),
        false => watch_write(s),
    }
}

/// The timer has expired: of `Wait::until`, of the patience, or of [`LOOK_EVERY`].
fn timed_out(s: &'static Suspended) -> Step {
    match s.state.take() {
        State::Waiting => {
            s.parked.leave();
            ask(s.client, Turn::TimedOut)
        }
        State::Leading => lose_patience(s),
        State::Reading(reader) => pump(s, reader),
        other => stay(s, other),
    }
}

fn lose_patience(s: &'static Suspended) -> Step {
    let Some(stale) = s.carrier().and_then(Carrier::patience_over) else {
        return stay(s, State::Leading);
    };
    if let Some(end) = s.fetch.take() {
        carrier::leave(end);
    }
    deliver_brought(s, &stale)
}

/// The worker has been woken.
///
/// # Safety
/// `data` is a [`Suspended`] that is still there.
unsafe fn look(data: *const c_void) {
    // SAFETY: as the caller says; it is only ever shared.
    on_wakeup(unsafe { &*data.cast::<Suspended>() });
}

fn suspended_of(r: Req) -> Option<&'static Suspended> {
    Suspended::found(record::of(r)?)
}

/// The write event of a client that waits: over HTTP/3 it may have cancelled its request (ngx_http_upstream_check_broken_connection).
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn on_write_event(r: *mut ngx_http_request_t) {
    guard("the write event of a client that waits", (), || {
        // SAFETY: nginx passes a live request.
        let r = unsafe { Req::new(r) };
        // SAFETY: a connection's events live as long as it does.
        let is_gone = unsafe { (*r.connection().write).error() != 0 };
        match suspended_of(r) {
            Some(suspended) if is_gone => conclude(
                suspended.client,
                Step::Done(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t),
            ),
            _ => {}
        }
    });
}

/// The client accepts more.
///
/// # Safety
/// `r` is a live request.
unsafe extern "C" fn on_writable(r: *mut ngx_http_request_t) {
    guard("the write event of a client", (), || {
        // SAFETY: nginx passes a live request.
        if let Some(suspended) = suspended_of(unsafe { Req::new(r) }) {
            conclude(suspended.client, writable(suspended));
        }
    });
}

/// The timer has expired, or the fetch that the request leads has written.
///
/// # Safety
/// `event` is that of a [`Suspended`], which is its `data` and is still there: it cancels the event before it goes.
unsafe extern "C" fn on_event(event: *mut ngx_event_t) {
    guard("the event of a client", (), || {
        // SAFETY: as the caller says; it is only ever shared.
        let suspended = unsafe { &*(*event).data.cast::<Suspended>() };
        match suspended.event.take_timeout() {
            true => turn(suspended, timed_out),
            false => turn(suspended, read_letter),
        }
    });
}

/// The request has ended: answered, given up by the client, or torn down.
///
/// # Safety
/// `data` is a [`Suspended`] of a request, whose pool is still there.
unsafe extern "C" fn on_request_end(data: *mut c_void) {
    guard("the end of a request", (), || {
        // SAFETY: as the caller says; it is only ever shared.
        unsafe { &*data.cast::<Suspended>() }.unhook();
    });
}
