//! A fetch as nginx carries it out: the engine decides what becomes of it ([`swrcache::engine::Fetch`]), this tells it what happens
//! and does what it orders.
//!
//! | the engine wants | the response | who tells the engine |
//! |---|---|---|
//! | a header | is not there yet | the header filter; the end of the request without one: a failure |
//! | the body, for the store | is written | the body filter; the end of the request without the body's: a failure |
//! | the body, for the client | goes to the client that leads, as it takes it | its end |
//! | an end | is of no use; a little of it is read, to keep the origin's connection | - |
//!
//! A fetch belongs to the cache: the client that leads it may go at any time. Only a relay ends with its client.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::{
    NGX_AGAIN, NGX_ERROR, NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED, NGX_OK, ngx_array_create,
    ngx_array_push, ngx_buf_t, ngx_chain_add_copy, ngx_chain_t, ngx_http_upstream_headers_in_t,
    ngx_http_upstream_state_t, ngx_http_upstream_t, ngx_int_t, ngx_str_t,
};
use swrcache::engine::{self, Asked, Delivery, Failure, Method, Order, Wants, Withheld};
use swrcache::store::NoSpace;

use crate::client::deliver::{self, Relayed};
use crate::client::request::{Brought, Client};
use crate::config::location::{LocConf, any_true};
use crate::fetch::connection;
use crate::fetch::interim::Interim;
use crate::fetch::origin_response;
use crate::fetch::redirect;
use crate::fetch::report::Watch;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::header_list::List;
use crate::sys::pool::bytes_of;
use crate::sys::record::{Ctx, Role};
use crate::sys::request::Req;

/// How much of a useless response is read before the origin's connection is given up instead.
const DISCARD_AT_MOST: u64 = 256 * 1024;
/// And for how long, where nobody knows how much of it there is, in milliseconds.
const DISCARD_FOR: usize = 1000;

/// The record of a fetch.
pub(crate) struct Fetch {
    r: Req,
    conf: &'static LocConf,
    life: engine::Fetch,
    leader: *mut Client,
    background: bool,
    began: u64,
    /// Where in nginx's phases it began.
    phase: ngx_int_t,
    /// What the log may have to tell of.
    watch: Option<Watch>,
    pending: *mut ngx_chain_t,
    /// Bytes that were of no use.
    discarded: u64,
    aborted: bool,
    /// How many states of upstreams the leader had before.
    earlier: usize,
    /// Bytes of the body that have come.
    came: u64,
    /// The response has a charset that is not its own for now.
    pub(crate) has_lent_charset: bool,
    pub(crate) interim: Interim,
}

/// Starts the fetch that `client` waits for; `None` if it can't be, and the fetch is given up.
pub(crate) fn lead(client: &mut Client, life: &mut engine::Fetch) -> Option<*mut Fetch> {
    let r = client.request();
    let fetch = launch(r, r.conf(), life)?;
    fetch.leader = client;
    // SAFETY: NULL or an array of states.
    fetch.earlier = unsafe { r.raw().upstream_states.as_ref() }.map_or(0, |states| states.nelts);
    Some(fetch)
}

/// Starts a refresh that nobody waits for. Without the means for it, it is left to a later request.
pub(crate) fn refresh(client: Req, conf: &'static LocConf, life: &mut engine::Fetch) {
    if let Some(fetch) = launch(client, conf, life) {
        fetch.run_in_background();
    }
}

/// Has a request like `client` ask the origin for `life`.
fn launch<'a>(
    client: Req,
    conf: &'static LocConf,
    life: &mut engine::Fetch,
) -> Option<&'a mut Fetch> {
    let r = connection::make(client, life)?;
    let watch = life.entry().cloned().map(Watch::over);
    let fetch = Fetch {
        r,
        conf,
        life: life.hand_on(),
        leader: ptr::null_mut(),
        background: false,
        began: now(),
        phase: r.raw().phase_handler,
        watch,
        pending: ptr::null_mut(),
        discarded: 0,
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
        connection::abandon(r);
        return None;
    };
    connection::start(r);
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

    /// Why the origin is asked.
    pub(crate) fn asked(&self) -> Asked {
        self.life.asked()
    }

    /// What a leader that has waited for long enough may have instead, if anything.
    pub(crate) fn patience_over(&self) -> Option<Delivery> {
        self.life.patience_over(now())
    }

    fn leader(&mut self) -> Option<&mut Client> {
        // SAFETY: a client clears this pointer (leader_gone) before it is gone.
        unsafe { self.leader.as_mut() }
    }

    fn bring(&mut self, brought: Brought) {
        self.share_states();
        let is_own = match &brought {
            Brought::Delivery(delivery) => delivery.is_new(),
            brought => matches!(brought, Brought::Relay(_) | Brought::HandOver(Some(_), _)),
        };
        let r = self.r;
        if let Some(leader) = self.leader() {
            if is_own {
                leader.note_origin(r);
            }
            leader.bring(brought);
        }
        self.part();
    }

    /// A leader for whom no more comes is on its own from here on.
    fn part(&mut self) {
        if self.life.has_leader() {
            return;
        }
        if let Some(leader) = self.leader() {
            leader.forget_fetch();
        }
        self.leader = ptr::null_mut();
    }

    /// The leading client has gone, or has been served otherwise. A fill goes on; a relay has nowhere to go.
    pub(crate) fn leader_gone(&mut self) {
        self.leader = ptr::null_mut();
        self.aborted |= self.life.wants() == Wants::Relay;
        self.life.leader_gone();
        if self.aborted {
            connection::wake(self.r);
        }
    }

    /// The leading client has all that it wants of a relay: it asked for the header alone, or for a part. If the rest comes
    /// soon, the origin's connection is kept for it.
    pub(crate) fn leader_has_all(&mut self) {
        self.leader = ptr::null_mut();
        let was_relayed = self.life.wants() == Wants::Relay;
        self.life.leader_gone();
        if was_relayed {
            let pending = std::mem::replace(&mut self.pending, ptr::null_mut());
            self.aborted = self.discard(pending) == NGX_ERROR as ngx_int_t;
            connection::end_within(self.r, DISCARD_FOR);
            connection::resume(self.r);
            connection::wake(self.r);
        }
    }

    /// The relay may have room again.
    pub(crate) fn go_on(&mut self) {
        if self.life.wants() == Wants::Relay {
            connection::wake(self.r);
        }
    }

    /// Before an event of the fetch reaches nginx's handlers: whether it may.
    pub(crate) fn may_go_on(&mut self) -> bool {
        if self.aborted {
            self.r.terminate();
            return false;
        }
        if self.life.wants() != Wants::Relay || self.pending.is_null() {
            return true;
        }
        let rc = self.relay();
        if rc == NGX_ERROR as ngx_int_t {
            // The client can't be written to any more. A pipe that was held would wait for room for ever.
            self.r.terminate();
        }
        rc == NGX_OK as ngx_int_t
    }

    /// The header filter: the response has begun.
    pub(crate) fn on_header(&mut self) -> ngx_int_t {
        self.r.raw().set_header_sent(1);
        if self.life.wants() != Wants::Header {
            return NGX_OK as ngx_int_t;
        }
        let led = match self.r.raw().err_status {
            0 => None,
            status => Some(redirect::Led::Error(status as ngx_int_t)),
        };
        let order = self.header(led);
        self.obey(order, led);
        connection::part_with_tls(self.r);
        NGX_OK as ngx_int_t
    }

    /// nginx is about to lead the fetch elsewhere: it ends here, and what follows is its leader's.
    pub(crate) fn led_elsewhere(&mut self, led: redirect::Led) {
        if self.life.wants() != Wants::Header {
            return;
        }
        let order = self.header(Some(led));
        self.obey(order, Some(led));
    }

    /// Tells the engine of the response. Nothing is stored of one that the location does not answer with.
    fn header(&mut self, led: Option<redirect::Led>) -> Order {
        let policy = &self.conf.policy;
        // HTTP/0.9: bytes without a header, which nothing tells how to show.
        if origin_response::lacks_header(self.r) {
            return self
                .life
                .failed(Failure::InvalidHeader, None, policy, now());
        }
        let withheld = match led {
            Some(_) => Some(Withheld::Redirected),
            // Again, since `swr_no_cache` may look at the response (`$upstream_http_*`).
            None if any_true(self.conf.no_cache(), self.r) => Some(Withheld::NoCacheCondition),
            None => None,
        };
        let sent = List::of(&self.r.raw().headers_in.headers);
        let life = &mut self.life;
        origin_response::read(self.r, self.began, withheld, |response| {
            life.header(response, &sent, policy, now())
        })
    }

    fn obey(&mut self, order: Order, led: Option<redirect::Led>) {
        if self.life.is_followed() {
            self.unbuffer();
        }
        match order {
            Order::Deliver(delivery) => self.bring(Brought::Delivery(delivery)),
            Order::Relay(aside) => self.bring(Brought::Relay(aside)),
            Order::RelayRest(taken) => self.relay_rest(taken),
            Order::HandOver(aside) => {
                let r = self.r;
                let client = self.leader().map(|leader| leader.request());
                let onward = match client.zip(led) {
                    Some((client, led)) => redirect::hand_over(r, client, led).map(Some),
                    None => Some(None),
                };
                self.bring(match onward {
                    Some(onward) => Brought::HandOver(onward, aside),
                    None => Brought::Failure(aside),
                });
            }
            Order::GatewayTimeout(aside) => self.bring(Brought::GatewayTimeout(aside)),
            Order::Fail(aside) => self.bring(Brought::Failure(aside)),
            Order::AskAgain => self.ask_again(),
            // Who follows the body sees its end in the store.
            Order::Nothing if !self.life.has_leader() => {
                self.share_states();
                if let Some(leader) = self.leader() {
                    leader.post();
                }
                self.part();
            }
            Order::Nothing => {}
        }
    }

    /// Asks the origin once more, by a request like this one; the leader waits for that one instead.
    fn ask_again(&mut self) {
        let Some(next) = launch(self.r, self.conf, &mut self.life) else {
            return self.give_up();
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

    /// There are no means to go on.
    fn give_up(&mut self) {
        let policy = &self.conf.policy;
        let order = self.life.failed(Failure::Aborted, None, policy, now());
        self.obey(order, None);
    }

    fn run_in_background(&mut self) {
        self.background = true;
        self.conf.refreshing.set(self.conf.refreshing.get() + 1);
    }

    /// Has nginx pass on what the origin sends as it comes: the store takes it all at once, and readers wait for it.
    /// `X-Accel-Buffering: no` does the same, at the same point (ngx_http_upstream_process_headers).
    fn unbuffer(&self) {
        // SAFETY: NULL or the upstream of this request, which looks at the flag after its header is sent.
        match unsafe { self.r.raw().upstream.as_mut() } {
            Some(upstream) if !upstream.input_filter_ctx.is_null() && !needs_buffers(upstream) => {
                upstream.set_buffering(0);
            }
            _ => {}
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
        if ends && self.life.wants() == Wants::Relay && self.is_short() {
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
        match self.life.wants() {
            Wants::Store => self.fill(chain),
            Wants::Relay => {
                // SAFETY: a chain of this request; the copy of its links is of its pool.
                if unsafe { ngx_chain_add_copy(self.r.pool().as_ptr(), &mut self.pending, chain) }
                    != NGX_OK as ngx_int_t
                {
                    return NGX_ERROR as ngx_int_t;
                }
                self.relay()
            }
            Wants::Header | Wants::Discard | Wants::Nothing => self.discard(chain),
        }
    }

    fn fill(&mut self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut link = chain;
        // SAFETY: a chain of this request.
        while let Some(l) = unsafe { link.as_mut() } {
            // SAFETY: every link has a buffer.
            let buf = unsafe { &mut *l.buf };
            let mut refused = None;
            let fed = deliver::drain(buf, &mut |bytes| {
                refused = self.life.write(bytes).err();
                refused.is_none()
            });
            if let Some(why) = refused {
                return self.outgrow(link, why);
            }
            if fed.is_err() {
                return NGX_ERROR as ngx_int_t;
            }
            if buf.last_buf() != 0 {
                connection::close_at_end(self.r);
                let order = self.life.end(now());
                self.obey(order, None);
                return NGX_OK as ngx_int_t;
            }
            link = l.next;
        }
        NGX_OK as ngx_int_t
    }

    /// The store takes no more of the body than what is before `rest`.
    fn outgrow(&mut self, rest: *mut ngx_chain_t, why: NoSpace) -> ngx_int_t {
        let order = self.life.outgrew(why, now());
        self.obey(order, None);
        self.take(rest)
    }

    /// Whoever follows the body goes on from the relay, if it leads; a leader that does not begins with what was taken.
    fn relay_rest(&mut self, taken: Option<Delivery>) {
        if let Some(leader) = self.leader() {
            leader.expect_relay();
        }
        match taken {
            Some(taken) => self.bring(Brought::Delivery(taken)),
            None => {
                if let Some(leader) = self.leader() {
                    leader.post();
                }
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
        self.discarded += read;
        if self.discarded > DISCARD_AT_MOST && !ended {
            return NGX_ERROR as ngx_int_t;
        }
        if ended {
            connection::close_at_end(self.r);
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
                connection::resume(self.r);
                NGX_OK as ngx_int_t
            }
            Relayed::Blocked => {
                connection::hold(self.r);
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
                connection::resume(self.r);
                connection::close_at_end(self.r);
                self.life.end(now());
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

    /// The request is over, however it came to that.
    fn on_end(&mut self) {
        connection::part_with_tls(self.r);
        if self.background {
            self.conf
                .refreshing
                .set(self.conf.refreshing.get().saturating_sub(1));
        }
        let failure = match crate::worker::process::is_exiting() {
            true => Failure::Aborted,
            false => Failure::Error,
        };
        let policy = &self.conf.policy;
        let order = self.life.failed(failure, None, policy, now());
        self.obey(order, None);
        if let Some(leader) = self.leader() {
            leader.forget_fetch();
        }
        self.leader = ptr::null_mut();
        if let Some(watch) = self.watch.take() {
            watch.end(self.r, self.conf, self.life.has_renewed());
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
