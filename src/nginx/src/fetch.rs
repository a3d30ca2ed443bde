//! What becomes of a fetch: its response is judged by the engine, then stored, relayed or dropped.
//!
//! | stage | the response | who moves it on |
//! |---|---|---|
//! | `Awaiting` | is not there yet | the header filter: the engine's outcome; the end without a header: a failure |
//! | `Filling` | feeds the store | the body filter; its end: finished; the end without it: broken |
//! | `Relaying` | goes to the client that led | the client, as it takes it; its end |
//! | `Discarding` | is of no use; a little of it is read, to keep the origin's connection | the body filter |
//! | `Done` | is dealt with | - |
//!
//! A fetch belongs to the cache: the client that leads it may go at any time. Only a relay ends with its client.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    NGX_AGAIN, NGX_ERROR, NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED, NGX_HTTP_PARTIAL_CONTENT,
    NGX_HTTP_RANGE_NOT_SATISFIABLE, NGX_OK, ngx_array_create, ngx_array_push, ngx_buf_t,
    ngx_chain_add_copy, ngx_chain_t, ngx_http_upstream_headers_in_t, ngx_http_upstream_state_t,
    ngx_http_upstream_t, ngx_int_t, ngx_str_t,
};
use swrcache::engine::{
    Failure, Filling, Finished, Led, Method, Outcome, Permit, Purpose, Reason, Status, Stored,
};
use swrcache::store::NoSpace;

use crate::client::{Brought, Client};
use crate::clock::now;
use crate::conf::{LocConf, any_true};
use crate::ctx::{Ctx, Role};
use crate::deliver::{self, Relayed};
use crate::detached::{self, Sends};
use crate::fields::List;
use crate::guard::guard;
use crate::interim::Interim;
use crate::pool::bytes_of;
use crate::redirect;
use crate::report::Watch;
use crate::request::Req;
use crate::response;

/// How much of a useless response is read before the origin's connection is given up instead.
const DISCARD_AT_MOST: u64 = 256 * 1024;
/// And for how long, where nobody knows how much of it there is, in milliseconds.
const DISCARD_FOR: usize = 1000;

enum Stage {
    Awaiting(Permit),
    Filling(Filling),
    Relaying,
    Discarding(u64),
    Done,
}

/// The record of a fetch.
pub(crate) struct Fetch {
    r: Req,
    conf: &'static LocConf,
    stage: Stage,
    leader: *mut Client,
    /// How the leader's request is called if all goes well.
    led: Led,
    background: bool,
    began: u64,
    /// Where in nginx's phases it began.
    phase: ngx_int_t,
    /// The copy to fall back on, for a leader whose patience ends.
    stale: Option<Stored>,
    /// What the log may have to tell of.
    watch: Option<Watch>,
    pending: *mut ngx_chain_t,
    reason: Option<Reason>,
    aborted: bool,
    /// How many states of upstreams the leader had before.
    earlier: usize,
    /// Bytes of the body that have come.
    came: u64,
    /// The response has a charset that is not its own for now.
    pub(crate) has_lent_charset: bool,
    pub(crate) interim: Interim,
}

/// Starts the fetch that `client` waits for; `None` if it can't be, and the permit is given up.
pub(crate) fn lead(client: &mut Client, permit: Permit) -> Option<*mut Fetch> {
    let sends = sends(&permit);
    let r = client.request();
    let fetch = launch(r, r.conf(), permit, &sends)?;
    fetch.leader = client;
    // SAFETY: NULL or an array of states.
    fetch.earlier = unsafe { r.raw().upstream_states.as_ref() }.map_or(0, |states| states.nelts);
    Some(fetch)
}

/// Starts a refresh that nobody waits for. Without the means for it, it is left to a later request.
pub(crate) fn refresh(client: Req, conf: &'static LocConf, permit: Permit) {
    let sends = sends(&permit);
    if let Some(fetch) = launch(client, conf, permit, &sends) {
        fetch.run_in_background();
    }
}

fn sends(permit: &Permit) -> Sends {
    let mut fields = Vec::new();
    permit.conditionals(&mut |name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    let refresh = matches!(permit.purpose(), Purpose::Refresh);
    let mut without = Vec::new();
    if refresh {
        permit.nominated_names(&mut |name| without.push(name.to_vec()));
        // What the fetch sets itself stays as it is: nginx refuses a request in which such a field comes twice.
        let own: Vec<Vec<u8>> = fields
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        permit.stored_request_fields(&mut |name, value| {
            if !own.contains(&name.to_ascii_lowercase()) {
                fields.push((name.to_vec(), value.to_vec()));
            }
        });
    }
    Sends {
        head: permit.is_head(),
        credentials: !refresh,
        without,
        fields,
    }
}

fn launch<'a>(
    client: Req,
    conf: &'static LocConf,
    permit: Permit,
    sends: &Sends,
) -> Option<&'a mut Fetch> {
    let led = permit.led();
    let stale = permit.stale();
    let watch = permit.entry().cloned().map(Watch::over);
    let r = detached::make(client, sends)?;
    let fetch = Fetch {
        r,
        conf,
        stage: Stage::Awaiting(permit),
        leader: ptr::null_mut(),
        led,
        background: false,
        began: now(),
        phase: r.raw().phase_handler,
        stale,
        watch,
        pending: ptr::null_mut(),
        reason: None,
        aborted: false,
        earlier: 0,
        came: 0,
        has_lent_charset: false,
        interim: Interim::default(),
    };
    let hooked = Ctx::attach(r, Role::Fetch(fetch)).and_then(|ctx| {
        let data: *mut Ctx = ctx;
        r.on_end(on_request_end, data.cast()).map(|()| data)
    });
    let Some(ctx) = hooked else {
        detached::abandon(r);
        return None;
    };
    detached::start(r);
    // SAFETY: just attached; it lives in the request's pool.
    match unsafe { &mut (*ctx).role } {
        Role::Fetch(fetch) => Some(fetch),
        Role::Client(_) | Role::Explain(_) | Role::Purge(_) => None,
    }
}

/// Whether a chain link's buffer has been used up.
fn swallow(buf: &mut ngx_buf_t) {
    buf.pos = buf.last;
    buf.file_pos = buf.file_last;
}

impl Fetch {
    pub(crate) fn request(&self) -> Req {
        self.r
    }

    /// An interim response has come.
    pub(crate) fn tell(&mut self, header: &ngx_http_upstream_headers_in_t) {
        if let Some(leader) = self.leader() {
            let line = match bytes_of(&header.status_line) {
                // ngx_http_grpc_process_header keeps the number alone.
                [] => format!("{} ", header.status_n).into_bytes(),
                line => line.to_vec(),
            };
            leader.tell(&line, &List::of(&header.headers));
        }
    }

    pub(crate) fn stale(&self) -> Option<Stored> {
        self.stale.clone()
    }

    pub(crate) fn relay_reason(&self) -> Option<Reason> {
        self.reason
    }

    /// The status of a client whose response is relayed.
    pub(crate) fn status_if_relayed(&self, reason: Option<Reason>) -> Status {
        self.led.status_if_relayed(reason)
    }

    fn leader(&mut self) -> Option<&mut Client> {
        // SAFETY: a client clears this pointer (leader_gone) before it is gone.
        unsafe { self.leader.as_mut() }
    }

    fn bring(&mut self, brought: Brought) {
        self.share_states();
        let is_own = match &brought {
            Brought::Stored(_, led) => *led == self.led,
            brought => matches!(brought, Brought::Relay | Brought::Onward(..)),
        };
        let r = self.r;
        if let Some(leader) = self.leader() {
            if is_own {
                leader.note_origin(r);
            }
            leader.bring(brought);
        }
    }

    /// Brings the leader its answer; from here on it is on its own.
    fn bring_and_part(&mut self, brought: Brought) {
        self.bring(brought);
        if let Some(leader) = self.leader() {
            leader.forget_fetch();
        }
        self.leader = ptr::null_mut();
    }

    /// The leading client has gone, or has been served otherwise. A fill goes on; a relay has nowhere to go.
    pub(crate) fn leader_gone(&mut self) {
        self.leader = ptr::null_mut();
        if matches!(self.stage, Stage::Relaying) {
            self.aborted = true;
            detached::wake(self.r);
        }
    }

    /// The leading client has all that it wants of a relay: it asked for the header alone, or for a part. If the rest comes
    /// soon, the origin's connection is kept for it.
    pub(crate) fn leader_has_all(&mut self) {
        self.leader = ptr::null_mut();
        if matches!(self.stage, Stage::Relaying) {
            self.stage = Stage::Discarding(0);
            let pending = std::mem::replace(&mut self.pending, ptr::null_mut());
            self.aborted = self.discard(pending) == NGX_ERROR as ngx_int_t;
            detached::end_within(self.r, DISCARD_FOR);
            detached::resume(self.r);
            detached::wake(self.r);
        }
    }

    /// The relay may have room again.
    pub(crate) fn go_on(&mut self) {
        if matches!(self.stage, Stage::Relaying) {
            detached::wake(self.r);
        }
    }

    /// Before an event of the fetch reaches nginx's handlers: whether it may.
    pub(crate) fn may_go_on(&mut self) -> bool {
        if self.aborted {
            self.r.terminate();
            return false;
        }
        if matches!(self.stage, Stage::Relaying) && !self.pending.is_null() {
            return self.relay() != NGX_AGAIN as ngx_int_t;
        }
        true
    }

    /// The header filter: the response has begun.
    pub(crate) fn on_header(&mut self) -> ngx_int_t {
        self.r.raw().set_header_sent(1);
        let Stage::Awaiting(permit) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return NGX_OK as ngx_int_t;
        };
        let led = match self.r.raw().err_status {
            0 => None,
            status => Some(redirect::Led::Error(status as ngx_int_t)),
        };
        let outcome = self.judge(permit, led);
        self.act(outcome, led);
        detached::part_with_tls(self.r);
        NGX_OK as ngx_int_t
    }

    /// nginx is about to lead the fetch elsewhere: it ends here, and what follows is its leader's.
    pub(crate) fn led_elsewhere(&mut self, led: redirect::Led) {
        let Stage::Awaiting(permit) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return;
        };
        let outcome = self.judge(permit, Some(led));
        self.act(outcome, Some(led));
    }

    /// Lets the engine judge the response. Nothing is stored of one that the location does not answer with.
    fn judge(&self, mut permit: Permit, led: Option<redirect::Led>) -> Outcome {
        if led.is_some() {
            permit.keep_nothing(Reason::Redirected);
        }
        // Again, since `swr_no_cache` may look at the response (`$upstream_http_*`).
        if any_true(self.conf.no_cache(), self.r) {
            permit.keep_nothing(Reason::NoCacheCondition);
        }
        let sent = List::of(&self.r.raw().headers_in.headers);
        response::read(self.r, self.began, |response| {
            permit.respond(response, &sent, &self.conf.policy, now())
        })
    }

    fn act(&mut self, outcome: Outcome, led: Option<redirect::Led>) {
        match outcome {
            Outcome::Store(filling) => {
                if filling.streaming() {
                    self.unbuffer();
                    self.bring(Brought::Stored(filling.stored(), self.led));
                }
                self.stage = Stage::Filling(filling);
            }
            Outcome::Renewed(stored) => {
                self.settle();
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::Stored(stored, Led::Revalidated));
            }
            Outcome::Stale(stored) => {
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::Stored(stored, Led::Stale));
            }
            Outcome::AskAgain(permit) => self.ask_again(permit),
            Outcome::Relay(reason) if led.is_some() => self.lead_on(led, reason),
            // The fetch asked for the whole, but the location has a way to ask for a part (`slice`,
            // `proxy_set_header Range`): what came is not what the client wants.
            Outcome::Relay(reason) if self.is_a_part() => {
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::Own(self.status_if_relayed(Some(reason)), reason));
            }
            // HTTP/0.9: bytes without a header, which nothing tells how to show.
            Outcome::Relay(_) if response::lacks_header(self.r) => {
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::Nothing);
            }
            Outcome::Relay(reason) => self.relay_to_leader(reason),
            Outcome::GatewayTimeout(reason) => {
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::GatewayTimeout(reason));
            }
            Outcome::Dropped(reason) => {
                self.reason = Some(reason);
                self.stage = Stage::Discarding(0);
                self.bring_and_part(Brought::Nothing);
            }
        }
    }

    /// Asks the origin once more, by a request like this one; the leader waits for that one instead.
    fn ask_again(&mut self, permit: Permit) {
        self.stage = Stage::Discarding(0);
        let sends = sends(&permit);
        let Some(next) = launch(self.r, self.conf, permit, &sends) else {
            let brought = match self.stale.take() {
                Some(stale) => Brought::Stored(stale, Led::Stale),
                None => Brought::Nothing,
            };
            return self.bring_and_part(brought);
        };
        // This request has come further in the phases since.
        next.phase = self.phase;
        next.r.raw().phase_handler = self.phase;
        if self.background {
            next.run_in_background();
        }
        next.leader = std::mem::replace(&mut self.leader, ptr::null_mut());
        next.earlier = self.earlier;
        let fetch: *mut Fetch = next;
        if let Some(leader) = next.leader() {
            leader.follow(fetch);
        }
    }

    fn run_in_background(&mut self) {
        self.background = true;
        self.conf.refreshing.set(self.conf.refreshing.get() + 1);
    }

    fn relay_to_leader(&mut self, reason: Reason) {
        self.reason = Some(reason);
        self.stage = if self.leader.is_null() {
            Stage::Discarding(0)
        } else {
            Stage::Relaying
        };
        self.bring(Brought::Relay);
    }

    /// The leader goes on where nginx has led the fetch.
    fn lead_on(&mut self, led: Option<redirect::Led>, reason: Reason) {
        self.stage = Stage::Discarding(0);
        let (r, status) = (self.r, self.status_if_relayed(Some(reason)));
        let client = self.leader().map(|leader| leader.request());
        let onward = client
            .zip(led)
            .and_then(|(client, led)| redirect::hand_over(r, client, led));
        self.bring_and_part(match onward {
            Some(onward) => Brought::Onward(onward, status, reason),
            None => Brought::Nothing,
        });
    }

    fn is_a_part(&self) -> bool {
        matches!(
            self.r.raw().headers_out.status as u32,
            NGX_HTTP_PARTIAL_CONTENT | NGX_HTTP_RANGE_NOT_SATISFIABLE
        )
    }

    /// Has nginx pass on what the origin sends as it comes: the store takes it all at once, and readers wait for it.
    /// `X-Accel-Buffering: no` does the same, at the same point (ngx_http_upstream_process_headers).
    fn unbuffer(&self) {
        // SAFETY: NULL or the upstream of this request, which looks at the flag after its header is sent.
        if let Some(upstream) = unsafe { self.r.raw().upstream.as_mut() }
            && !upstream.input_filter_ctx.is_null()
            && !needs_buffers(upstream)
        {
            upstream.set_buffering(0);
        }
    }

    /// The body filter: more of the body, or none (nginx asks to flush).
    pub(crate) fn on_body(&mut self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut ends = false;
        each(chain, |buf| {
            self.came += deliver::size(buf);
            ends |= buf.last_buf() != 0;
            true
        });
        if ends && matches!(self.stage, Stage::Relaying) && self.is_short() {
            // As nginx ends a body that breaks off (ngx_http_upstream_finalize_request): what is there goes out, and no end.
            each(chain, |buf| {
                buf.set_last_buf(0);
                buf.set_last_in_chain(0);
                buf.set_flush(1);
                true
            });
        }
        self.take(chain)
    }

    /// Whether the body ends before the length that was announced. nginx says so by itself, but where its client was not ready
    /// for more when the origin closed (ngx_http_upstream_process_non_buffered_request): it forgets the error then, and a
    /// filter that drops the length, such as gzip, would show the body as whole.
    fn is_short(&self) -> bool {
        let out = &self.r.raw().headers_out;
        let has_body = self.r.method() != Method::Head
            && !matches!(
                out.status as u32,
                NGX_HTTP_NO_CONTENT | NGX_HTTP_NOT_MODIFIED
            );
        has_body && u64::try_from(out.content_length_n).is_ok_and(|length| self.came < length)
    }

    fn take(&mut self, chain: *mut ngx_chain_t) -> ngx_int_t {
        match self.stage {
            Stage::Filling(_) => self.fill(chain),
            Stage::Relaying => {
                // SAFETY: a chain of this request; the copy of its links is of its pool.
                if unsafe { ngx_chain_add_copy(self.r.pool().as_ptr(), &mut self.pending, chain) }
                    != NGX_OK as ngx_int_t
                {
                    return NGX_ERROR as ngx_int_t;
                }
                self.relay()
            }
            Stage::Discarding(_) => self.discard(chain),
            Stage::Awaiting(_) | Stage::Done => {
                each(chain, |buf| {
                    swallow(buf);
                    true
                });
                NGX_OK as ngx_int_t
            }
        }
    }

    fn fill(&mut self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut link = chain;
        // SAFETY: a chain of this request.
        while let Some(l) = unsafe { link.as_mut() } {
            // SAFETY: every link has a buffer.
            let buf = unsafe { &mut *l.buf };
            let Stage::Filling(filling) = &mut self.stage else {
                return NGX_ERROR as ngx_int_t;
            };
            let before = filling.taken();
            let mut refused = None;
            let fed = deliver::drain(buf, &mut |bytes| {
                refused = filling.write(bytes).err();
                refused.is_none()
            });
            if let Some(why) = refused {
                let taken = filling.taken() - before;
                return self.outgrow(link, taken, why);
            }
            if fed.is_err() {
                return NGX_ERROR as ngx_int_t;
            }
            if buf.last_buf() != 0 {
                detached::close_at_end(self.r);
                self.finish();
                return NGX_OK as ngx_int_t;
            }
            link = l.next;
        }
        NGX_OK as ngx_int_t
    }

    /// The body does not fit the store: whoever has begun to read goes on from the relay, if it leads.
    fn outgrow(&mut self, rest: *mut ngx_chain_t, taken: u64, why: NoSpace) -> ngx_int_t {
        let Stage::Filling(filling) = std::mem::replace(&mut self.stage, Stage::Relaying) else {
            return NGX_ERROR as ngx_int_t;
        };
        let reason = if why == NoSpace::TooLarge {
            Reason::TooLarge
        } else {
            Reason::NoSpace
        };
        self.reason = Some(reason);
        let streaming = filling.streaming();
        // SAFETY: the first link of a non-empty chain, with its buffer.
        skip(unsafe { &mut *(*rest).buf }, taken);
        let goes_on = streaming && self.leader().is_some_and(Client::expect_relay);
        filling.abandon(reason, now());
        if !goes_on {
            // Nothing of it can be shown as a whole; a leader beside a stale copy gets that.
            self.stage = Stage::Discarding(0);
            let brought = match self.stale.take() {
                Some(stale) => Brought::Stored(stale, Led::Stale),
                None => Brought::Nothing,
            };
            self.bring_and_part(brought);
            return self.discard(rest);
        }
        if let Some(leader) = self.leader() {
            leader.post();
        }
        self.take(rest)
    }

    fn finish(&mut self) {
        let Stage::Filling(filling) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return;
        };
        let streaming = filling.streaming();
        let finished = filling.finish(now());
        if matches!(finished, Finished::New(_) | Finished::Same(_)) {
            self.settle();
        }
        match (finished, streaming) {
            (finished, false) => {
                let led = match finished {
                    Finished::New(_) | Finished::Same(_) | Finished::Superseded(_) => self.led,
                    Finished::Broken(_) => Led::Stale,
                };
                self.bring_and_part(match finished.stored() {
                    Some(stored) => Brought::Stored(stored.clone(), led),
                    None => Brought::Nothing,
                });
            }
            // A leader that reads along sees the end in the store.
            (_, true) => {
                self.share_states();
                if let Some(leader) = self.leader() {
                    leader.post();
                    leader.forget_fetch();
                }
                self.leader = ptr::null_mut();
            }
        }
    }

    fn discard(&mut self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut ended = false;
        let mut read = 0;
        each(chain, |buf| {
            read += deliver::size(buf);
            swallow(buf);
            ended = buf.last_buf() != 0;
            true
        });
        let Stage::Discarding(sum) = &mut self.stage else {
            return NGX_OK as ngx_int_t;
        };
        *sum += read;
        if *sum > DISCARD_AT_MOST && !ended {
            return NGX_ERROR as ngx_int_t;
        }
        if ended {
            detached::close_at_end(self.r);
        }
        NGX_OK as ngx_int_t
    }

    /// Passes what is pending to the leader, as far as it takes it.
    fn relay(&mut self) -> ngx_int_t {
        let (from, owner) = (self.r, self.r.pool());
        let mut pending = std::mem::replace(&mut self.pending, ptr::null_mut());
        let Some(leader) = self.leader() else {
            return NGX_ERROR as ngx_int_t;
        };
        let passed = match leader.relay() {
            // The leader has not got to its header yet.
            None => Relayed::Blocked,
            Some((r, relay)) => {
                let mut passed = Relayed::Failed;
                if deliver::relay_trailers(r, from).is_some() {
                    r.outside(|| passed = relay.pass(r, &mut pending, owner));
                }
                passed
            }
        };
        self.pending = pending;
        match passed {
            Relayed::All => {
                if let Some(leader) = self.leader() {
                    leader.await_room();
                    leader.post();
                }
                detached::resume(self.r);
                NGX_OK as ngx_int_t
            }
            Relayed::Blocked => {
                detached::hold(self.r);
                if let Some(leader) = self.leader() {
                    leader.await_room();
                }
                NGX_AGAIN as ngx_int_t
            }
            Relayed::Failed => {
                self.end_relay(NGX_ERROR as ngx_int_t);
                NGX_ERROR as ngx_int_t
            }
            Relayed::Enough(rc) => {
                self.end_relay(rc);
                self.leader_has_all();
                NGX_OK as ngx_int_t
            }
            Relayed::Ended(rc) => {
                detached::resume(self.r);
                detached::close_at_end(self.r);
                self.stage = Stage::Done;
                self.share_states();
                let r = self.r;
                // Again, for its trailers.
                if let Some(leader) = self.leader() {
                    leader.note_origin(r);
                }
                self.end_relay(rc);
                NGX_OK as ngx_int_t
            }
        }
    }

    fn end_relay(&mut self, rc: ngx_int_t) {
        let leader = std::mem::replace(&mut self.leader, ptr::null_mut());
        // SAFETY: a client clears this pointer before it is gone.
        if let Some(leader) = unsafe { leader.as_mut() } {
            leader.relay_done(rc);
        }
    }

    /// Copies the upstream's states to the leader, whose access log shall show them behind those of what it was redirected from.
    fn share_states(&mut self) {
        let (from, earlier) = (self.r.raw().upstream_states, self.earlier);
        let Some(to) = self.leader().map(|leader| leader.request()) else {
            return;
        };
        // SAFETY: NULL or an array of states; the copies' strings are copied too.
        unsafe {
            let Some(from) = from.as_ref() else { return };
            let states: &[ngx_http_upstream_state_t] = from.as_slice();
            let pool = to.pool();
            let array = &mut to.raw().upstream_states;
            if array.is_null() {
                *array = ngx_array_create(
                    pool.as_ptr(),
                    states.len().max(1),
                    size_of::<ngx_http_upstream_state_t>(),
                );
            }
            let array = *array;
            if array.is_null() {
                return;
            }
            (*array).nelts = earlier;
            // One without a peer stands for the redirect (ngx_http_upstream_addr_variable).
            let redirect = (earlier > 0).then(|| std::mem::zeroed());
            for state in redirect.iter().chain(states) {
                let place: *mut ngx_http_upstream_state_t = ngx_array_push(array).cast();
                let (Some(place), Some(peer)) = (place.as_mut(), pool.zeroed::<ngx_str_t>()) else {
                    return;
                };
                *place = *state;
                if let Some(name) = state.peer.as_ref() {
                    *peer = pool.copy_str(*name).unwrap_or_default();
                    place.peer = peer;
                }
            }
        }
    }

    fn settle(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.settled = true;
        }
    }

    /// The request is over, however it came to that.
    fn on_end(&mut self) {
        detached::part_with_tls(self.r);
        if self.background {
            self.conf
                .refreshing
                .set(self.conf.refreshing.get().saturating_sub(1));
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Awaiting(permit) => {
                let failure = if crate::worker::is_exiting() {
                    Failure::Aborted
                } else {
                    Failure::Error
                };
                let outcome = permit.fail(failure, None, &self.conf.policy, now());
                match outcome {
                    Outcome::Stale(stored) => {
                        self.bring_and_part(Brought::Stored(stored, Led::Stale))
                    }
                    Outcome::GatewayTimeout(reason) => {
                        self.bring_and_part(Brought::GatewayTimeout(reason))
                    }
                    _ => self.bring_and_part(Brought::Nothing),
                }
            }
            Stage::Filling(filling) => {
                let streaming = filling.streaming();
                match filling.broken(&self.conf.policy, now()) {
                    Some(stale) if !streaming => {
                        self.bring_and_part(Brought::Stored(stale, Led::Stale))
                    }
                    _ => self.bring_and_part(Brought::Nothing),
                }
            }
            Stage::Relaying => self.bring_and_part(Brought::Nothing),
            Stage::Discarding(_) | Stage::Done => {}
        }
        if let Some(leader) = self.leader() {
            leader.forget_fetch();
        }
        self.leader = ptr::null_mut();
        if let Some(watch) = self.watch.take() {
            watch.end(self.r, self.conf);
        }
    }
}

/// Whether the location wants of the response what nginx does with a buffered one only: to store it in a file (`proxy_store`,
/// `proxy_cache`), or to read it at a rate (`proxy_limit_rate`).
fn needs_buffers(upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: an upstream has its configuration.
    let conf = unsafe { &*upstream.conf };
    upstream.store() != 0 || upstream.cacheable() != 0 || conf.limit_rate.is_set()
}

/// `proxy_limit_rate`: a number, and since nginx 1.25.2 a value to be computed.
trait Rate {
    fn is_set(&self) -> bool;
}

impl Rate for usize {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

impl<T> Rate for *mut T {
    fn is_set(&self) -> bool {
        !self.is_null()
    }
}

/// Calls `f` with each buffer of a chain until it says stop.
fn each(chain: *mut ngx_chain_t, mut f: impl FnMut(&mut ngx_buf_t) -> bool) {
    let mut link = chain;
    // SAFETY: a chain of this request; every link has a buffer.
    while let Some(l) = unsafe { link.as_mut() } {
        // SAFETY: as above.
        if !f(unsafe { &mut *l.buf }) {
            return;
        }
        link = l.next;
    }
}

/// Takes `n` bytes off the front of a buffer.
fn skip(buf: &mut ngx_buf_t, n: u64) {
    if buf.in_file() == 0 || !buf.pos.is_null() {
        // SAFETY: the store took `n` of its bytes, so there are as many.
        buf.pos = unsafe { buf.pos.add(n as usize) };
    }
    if buf.in_file() != 0 {
        buf.file_pos += n as i64;
    }
}

/// The request has ended: by its last byte, or torn down.
///
/// # Safety
/// `data` is the [`Ctx`] of a request, whose pool is still there.
unsafe extern "C" fn on_request_end(data: *mut c_void) {
    guard("the end of a fetch", (), || {
        // SAFETY: the record lives in the request's pool, which is still there.
        if let Role::Fetch(fetch) = unsafe { &mut (*data.cast::<Ctx>()).role } {
            fetch.on_end();
        }
    });
}
