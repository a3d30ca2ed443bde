//! Carries out a fetch in nginx: the engine decides what becomes of it ([`swrcache::engine::Fetch`]); this tells the engine what happens
//! and carries out its orders.
//!
//! | the engine wants | the response | who tells the engine |
//! |---|---|---|
//! | a header | has not come yet | the header filter; the end of the request without one is a failure |
//! | the body, for the store | is being stored | the body filter; the end of the request before the end of the body is a failure |
//! | the body, for the client | is relayed to the client that leads, as fast as that accepts it | the body filter, at its end |
//! | the beginning of the body, to skip | is sent a second time, for a client that has its beginning | the body filter |
//! | an end | is discarded; a little of it is read, to keep the origin's connection alive | - |
//!
//! A fetch belongs to the cache: the client that leads it may go at any time. Only a relay ends with its client.
//!
//! There are only shared references to the record: a relay's write may end the client's request, which calls the record in the middle of
//! that write. So the record changes in `Cell`s; `life` is borrowed for single calls of the engine, which never calls back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use nginx_sys::{
    NGX_AGAIN, NGX_ERROR, NGX_OK, ngx_chain_t, ngx_http_upstream_headers_in_t, ngx_int_t,
};
use swrcache::engine::{self, Delivery, Failure, Order, Wants, Withheld};
use swrcache::store::NoSpace;

use crate::config::location::LocConf;
use crate::config::value::any_true;
use crate::fetch::body::{Body, Discarded, take_end};
use crate::fetch::events::{Driven, on_event, on_request_end, start};
use crate::fetch::exchange::{FetchsEnd, FromOrigin, Leader, LeadersEnd, Letter, News};
use crate::fetch::mailbox::mailbox;
use crate::fetch::origin_header::OriginHeader;
use crate::fetch::redirect::{self, Detour};
use crate::fetch::relay::Relayed;
use crate::fetch::report::Watch;
use crate::fetch::request_copy::{self, Before, Original};
use crate::fetch::{buffering, cache_below, connection, interim, origin_response, upstream_states};
use crate::sys::chain;
use crate::sys::clock::now;
use crate::sys::header_list::List;
use crate::sys::pool::bytes_of;
use crate::sys::record::{self, RecordKind};
use crate::sys::request::{Req, is_exiting};

/// How long a discarded response whose length is unknown is read before the origin's connection is closed instead, in milliseconds.
const DISCARD_FOR: usize = 1000;

/// The record of a fetch.
pub(crate) struct Carrier {
    r: Req,
    conf: &'static LocConf,
    life: RefCell<engine::Fetch>,
    /// The fetch's end of the mailbox; dropped when nothing more comes for the client that leads.
    leader: RefCell<Option<FetchsEnd>>,
    background: Cell<bool>,
    began: u64,
    /// The phase handler at which it began.
    phase: Cell<ngx_int_t>,
    /// The entry whose refresh it is, for the log.
    watch: Cell<Option<Watch>>,
    body: Body,
    /// It ends at its next event.
    aborted: Cell<bool>,
    /// The response has the charset of the filters for now (see [`charset`](super::charset)).
    pub(crate) has_lent_charset: Cell<bool>,
}

impl RecordKind for Carrier {
    const FOLLOWS: bool = true;
}

/// Starts the fetch that `leader` waits for; `None` if there is no free connection or memory, and the fetch is given up.
pub(crate) fn lead(leader: Rc<Leader>, life: &mut engine::Fetch) -> Option<LeadersEnd> {
    let r = leader.r;
    let carrier = launch(Original::now(r), LocConf::of(r), life)?;
    let (end, own) = mailbox(leader, carrier.r);
    carrier.leader.replace(Some(own));
    Some(end)
}

/// Starts a refresh that nobody waits for, by a request like `r` was `before` its answer. Without a free connection or memory, the refresh
/// is left to a later request.
pub(crate) fn refresh(r: Req, before: &Before, conf: &'static LocConf, life: &mut engine::Fetch) {
    if let Some(carrier) = launch(Original::before(r, before), conf, life) {
        carrier.run_in_background();
    }
}

/// The client ends, or has been answered otherwise: its fetch goes on without it.
pub(crate) fn leave(end: LeadersEnd) {
    if let Some(carrier) = take_leave(end) {
        carrier.leader_gone();
    }
}

/// The client has all that it wants of a relay: it has asked for the header alone.
pub(crate) fn leave_with_all(end: LeadersEnd) {
    if let Some(carrier) = take_leave(end) {
        carrier.leader_has_all();
    }
}

fn take_leave<'a>(end: LeadersEnd) -> Option<&'a Carrier> {
    let fetch = end.fetch();
    drop(end);
    record::of(fetch?)
}

/// The fetch at the other end; nothing if it is over.
pub(crate) fn led_by<'a>(end: &LeadersEnd) -> Option<&'a Carrier> {
    record::of(end.fetch()?)
}

/// Has a request like `client` ask the origin for `life`.
fn launch<'a>(
    client: Original<'_>,
    conf: &'static LocConf,
    life: &mut engine::Fetch,
) -> Option<&'a Carrier> {
    let r = request_copy::make(client, life, Some(on_event::<Carrier>))?;
    let watch = life.entry().cloned().map(Watch::over);
    let carrier = Carrier {
        r,
        conf,
        life: RefCell::new(life.hand_on()),
        leader: RefCell::new(None),
        background: Cell::new(false),
        began: now(),
        phase: Cell::new(r.raw().phase_handler),
        watch: Cell::new(watch),
        body: Body::new(),
        aborted: Cell::new(false),
        has_lent_charset: Cell::new(false),
    };
    let hooked = record::attach(r, carrier).and_then(|carrier| {
        let data: *const Carrier = carrier;
        r.on_end(on_request_end::<Carrier>, data.cast_mut().cast())?;
        Some(carrier)
    });
    if hooked.is_none() {
        request_copy::abandon(r);
        return hooked;
    }
    r.raw().write_event_handler = Some(start::<Carrier>);
    connection::wake(r);
    hooked
}

impl Carrier {
    /// The stale copy that a leader may have instead when its patience is over.
    pub(crate) fn patience_over(&self) -> Option<Delivery> {
        self.life.borrow().patience_over(now())
    }

    /// The request, whose response is relayed.
    pub(crate) fn request(&self) -> Req {
        self.r
    }

    fn wants(&self) -> Wants {
        self.life.borrow().wants()
    }

    fn leader(&self) -> Option<Rc<Leader>> {
        self.leader.borrow().as_ref()?.client()
    }

    /// Puts a letter to the client that leads into the mailbox, and notifies it.
    fn write(&self, news: News, origin: Option<FromOrigin>) {
        let end = self.leader.borrow();
        let leader = end.as_ref().and_then(|end| {
            let stays = |earlier: &Letter, next: &Letter| earlier.stays_before(&next.news);
            end.put(Letter { news, origin }, stays)
        });
        if let Some(leader) = leader {
            leader.notifier.notify();
        }
    }

    fn bring(&self, news: News) {
        self.share_states();
        let is_own = match &news {
            News::Delivery(delivery) => delivery.is_new(),
            news => matches!(news, News::Relay(_) | News::HandOver(Some(_), _)),
        };
        self.write(news, is_own.then(|| self.origin_answer()).flatten());
        self.part();
    }

    /// What the variables of the client that leads show of the origin's answer.
    fn origin_answer(&self) -> Option<FromOrigin> {
        Some(FromOrigin {
            header: OriginHeader::of_fetch(self.leader()?.r, self.r),
            cache_below: cache_below::status(self.r),
        })
    }

    /// Drops the mailbox if nothing more comes for the client that leads.
    fn part(&self) {
        if !self.life.borrow().has_leader() {
            drop(self.leader.take());
        }
    }

    /// The client that leads has ended, or has been answered otherwise. A fill goes on; a relay is aborted.
    fn leader_gone(&self) {
        drop(self.leader.take());
        if matches!(self.wants(), Wants::Skip | Wants::Relay) {
            self.aborted.set(true);
        }
        self.life.borrow_mut().leader_gone();
        if self.aborted.get() {
            connection::wake(self.r);
        }
    }

    /// The client that leads has all that it wants of a relay: it has asked for the header alone, or for a part. If the rest comes soon, the
    /// origin's connection is kept alive.
    fn leader_has_all(&self) {
        drop(self.leader.take());
        let was_relayed = self.wants() == Wants::Relay;
        self.life.borrow_mut().leader_gone();
        if was_relayed {
            let rc = self.after(self.body.discard_pending());
            self.aborted.set(rc == NGX_ERROR as ngx_int_t);
            connection::end_within(self.r, DISCARD_FOR);
            connection::resume(self.r);
            connection::wake(self.r);
        }
    }

    /// The client that leads accepts more of a relay.
    pub(crate) fn go_on(&self) {
        if self.wants() == Wants::Relay {
            connection::wake(self.r);
        }
    }

    /// The header filter: the response has begun.
    pub(crate) fn on_header(&self) -> ngx_int_t {
        self.r.raw().set_header_sent(1);
        if self.wants() != Wants::Header {
            return NGX_OK as ngx_int_t;
        }
        let detour = match self.r.raw().err_status {
            0 => None,
            status => Some(Detour::Error(status as ngx_int_t)),
        };
        let order = self.header(detour);
        self.obey(order, detour);
        connection::part_with_tls(self.r);
        NGX_OK as ngx_int_t
    }

    /// nginx is about to redirect the fetch: it ends here, and the client that leads follows the redirect.
    pub(crate) fn led_elsewhere(&self, detour: Detour) {
        if self.wants() == Wants::Header {
            let order = self.header(Some(detour));
            self.obey(order, Some(detour));
        }
    }

    /// Tells the engine of the response. A response that the location replaces or redirects is not stored.
    fn header(&self, detour: Option<Detour>) -> Order {
        let policy = &self.conf.policy;
        // HTTP/0.9: bytes without a header.
        if origin_response::lacks_header(self.r) {
            return self.failed(Failure::InvalidHeader);
        }
        let withheld = match detour {
            Some(_) => Some(Withheld::Redirected),
            // Again, since `swr_no_cache` may look at the response (`$upstream_http_*`).
            None if any_true(self.conf.no_cache(), self.r) => Some(Withheld::NoCacheCondition),
            None => None,
        };
        let raw = self.r.raw();
        let sent = List::of(&raw.headers_in.headers);
        origin_response::read(self.r, self.began, withheld, |response| {
            let mut life = self.life.borrow_mut();
            life.header(response, &sent, policy, now())
        })
    }

    fn failed(&self, failure: Failure) -> Order {
        let mut life = self.life.borrow_mut();
        life.failed(failure, None, &self.conf.policy, now())
    }

    fn obey(&self, order: Order, detour: Option<Detour>) {
        if self.life.borrow().is_followed() {
            buffering::turn_off(self.r);
        }
        match order {
            Order::Deliver(delivery) => self.bring(News::Delivery(delivery)),
            Order::Relay(aside) => self.bring(News::Relay(aside)),
            Order::RelayRest(taken) => self.relay_rest(taken),
            Order::HandOver(aside) => self.bring(self.hand_over(aside, detour)),
            Order::GatewayTimeout(aside) => self.bring(News::GatewayTimeout(aside)),
            Order::Fail(aside) => self.bring(News::Failure(aside)),
            Order::AskAgain => self.ask_again(),
            // A client that follows the body sees its end in the store.
            Order::Nothing if !self.life.borrow().has_leader() => {
                self.share_states();
                if let Some(leader) = self.leader() {
                    leader.notifier.notify();
                }
                self.part();
            }
            Order::Nothing => {}
        }
    }

    /// How the client that leads goes on, where nginx has led this request.
    fn hand_over(&self, aside: engine::Aside, detour: Option<Detour>) -> News {
        match self.leader().zip(detour) {
            None => News::HandOver(None, aside),
            Some((leader, detour)) => match redirect::hand_over(self.r, leader.r, detour) {
                Some(onward) => News::HandOver(Some(onward), aside),
                None => News::Failure(aside),
            },
        }
    }

    /// Asks the origin once more, by a request like this one; the leader waits for that one instead.
    fn ask_again(&self) {
        let launched = launch(
            Original::now(self.r),
            self.conf,
            &mut self.life.borrow_mut(),
        );
        let Some(next) = launched else {
            let order = self.failed(Failure::Aborted);
            return self.obey(order, None);
        };
        // This request has gone through more phases since.
        next.phase.set(self.phase.get());
        next.r.raw().phase_handler = self.phase.get();
        if self.background.get() {
            next.run_in_background();
        }
        if let Some(end) = self.leader.take() {
            end.hand_to(next.r);
            next.leader.replace(Some(end));
        }
    }

    fn run_in_background(&self) {
        self.background.set(true);
        self.conf.refreshing.set(self.conf.refreshing.get() + 1);
    }

    /// The body filter: more of the body, or none (nginx asks to flush).
    pub(crate) fn on_body(&self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let ends = self.body.receive(chain);
        if ends && self.wants() == Wants::Relay && self.body.is_short(self.r) {
            take_end(chain);
        }
        self.take(chain)
    }

    fn take(&self, chain: *mut ngx_chain_t) -> ngx_int_t {
        match self.wants() {
            Wants::Store => self.fill(chain),
            Wants::Skip => self.skip(chain),
            Wants::Relay => match self.body.keep(self.r, chain) {
                Some(()) => self.relay(),
                None => NGX_ERROR as ngx_int_t,
            },
            Wants::Header | Wants::Discard | Wants::Nothing => self.after(self.body.discard(chain)),
        }
    }

    fn fill(&self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut link = chain;
        // SAFETY: a chain of this request.
        while let Some(l) = unsafe { link.as_mut() } {
            // SAFETY: every link has a buffer.
            let buf = unsafe { &mut *l.buf };
            let mut refused = None;
            let fed = chain::drain(buf, &mut |bytes| {
                refused = self.life.borrow_mut().write(bytes).err();
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
                let order = self.life.borrow_mut().end(now());
                self.obey(order, None);
                return NGX_OK as ngx_int_t;
            }
            link = l.next;
        }
        NGX_OK as ngx_int_t
    }

    /// Skips what the client that leads has of the body, and goes on with what it lacks.
    fn skip(&self, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut link = chain;
        // SAFETY: a chain of this request.
        while let Some(l) = unsafe { link.as_mut() } {
            // SAFETY: every link has a buffer.
            let buf = unsafe { &mut *l.buf };
            let mut last = None;
            let fed = chain::drain(buf, &mut |bytes| {
                let (count, order) = self.life.borrow_mut().skip(bytes);
                last = (self.wants() != Wants::Skip).then_some((count, order));
                last.is_none()
            });
            if let Some((count, order)) = last {
                chain::advance(buf, count);
                self.obey(order, None);
                // nginx uses an empty buffer again: it is none to keep.
                let is_used_up = chain::size(buf) == 0 && buf.last_buf() == 0;
                let rest = if is_used_up { l.next } else { link };
                return if rest.is_null() {
                    NGX_OK as ngx_int_t
                } else {
                    self.take(rest)
                };
            }
            if fed.is_err() {
                return NGX_ERROR as ngx_int_t;
            }
            if buf.last_buf() != 0 {
                let order = self.life.borrow_mut().end(now());
                self.obey(order, None);
                return NGX_OK as ngx_int_t;
            }
            link = l.next;
        }
        NGX_OK as ngx_int_t
    }

    /// The store has refused `rest` and what follows.
    fn outgrow(&self, rest: *mut ngx_chain_t, why: NoSpace) -> ngx_int_t {
        let order = self.life.borrow_mut().outgrew(why, now());
        self.obey(order, None);
        self.take(rest)
    }

    /// Relays the rest of the body to the client that leads, behind what the store has taken.
    fn relay_rest(&self, taken: Option<Delivery>) {
        let Some(leader) = self.leader() else { return };
        leader.relay_follows.set(true);
        match taken {
            Some(taken) => self.bring(News::Delivery(taken)),
            None => leader.notifier.notify(),
        }
    }

    fn after(&self, discarded: Discarded) -> ngx_int_t {
        if discarded == Discarded::End {
            connection::close_at_end(self.r);
        }
        match discarded {
            Discarded::TooMuch => NGX_ERROR as ngx_int_t,
            Discarded::More | Discarded::End => NGX_OK as ngx_int_t,
        }
    }

    /// Relays what is pending to the client that leads, as far as that accepts it.
    fn relay(&self) -> ngx_int_t {
        let Some(leader) = self.leader() else {
            return NGX_ERROR as ngx_int_t;
        };
        match self.body.relay(self.r, &leader) {
            Relayed::All => {
                connection::resume(self.r);
                // The client may have ended in the middle of the write.
                if self.leader().is_some() {
                    leader.r.watch_write();
                    leader.notifier.notify();
                }
                NGX_OK as ngx_int_t
            }
            Relayed::Blocked => {
                connection::hold(self.r);
                if self.leader().is_some() {
                    leader.r.watch_write();
                }
                NGX_AGAIN as ngx_int_t
            }
            Relayed::Failed => {
                self.end_relay(NGX_ERROR as ngx_int_t, None);
                NGX_ERROR as ngx_int_t
            }
            Relayed::Enough(rc) => {
                self.end_relay(rc, None);
                self.leader_has_all();
                NGX_OK as ngx_int_t
            }
            Relayed::Ended(rc) => {
                connection::resume(self.r);
                connection::close_at_end(self.r);
                self.life.borrow_mut().end(now());
                self.share_states();
                // The origin's answer again, now with its trailers.
                self.end_relay(rc, self.origin_answer());
                NGX_OK as ngx_int_t
            }
        }
    }

    fn end_relay(&self, rc: ngx_int_t, origin: Option<FromOrigin>) {
        self.write(News::RelayEnded(rc), origin);
        drop(self.leader.take());
    }

    /// Copies the upstream's states to the leader, for its access log.
    fn share_states(&self) {
        if let Some(leader) = self.leader() {
            upstream_states::copy(self.r, leader.r, leader.earlier_states);
        }
    }
}

impl Driven for Carrier {
    fn on_start(&self) {
        interim::watch(self.r, pass_interim_on);
    }

    fn may_go_on(&self) -> bool {
        if self.aborted.get() {
            self.r.terminate();
            return false;
        }
        if self.wants() != Wants::Relay || !self.body.is_pending() {
            return true;
        }
        let rc = self.relay();
        if rc == NGX_ERROR as ngx_int_t {
            // The client can't be written to any more, and a pipe that is held would wait for ever.
            self.r.terminate();
        }
        rc == NGX_OK as ngx_int_t
    }

    fn on_end(&self) {
        connection::part_with_tls(self.r);
        if self.background.get() {
            let refreshing = self.conf.refreshing.get();
            self.conf.refreshing.set(refreshing.saturating_sub(1));
        }
        let order = self.failed(match is_exiting() {
            true => Failure::Aborted,
            false => Failure::Error,
        });
        self.obey(order, None);
        drop(self.leader.take());
        if let Some(watch) = self.watch.take() {
            let renewed = self.life.borrow().has_renewed();
            watch.end(self.r, self.conf, renewed);
        }
    }
}

/// Shows the client that leads a fetch an interim response to it.
fn pass_interim_on(r: Req, header: &ngx_http_upstream_headers_in_t) {
    let leader = record::of::<Carrier>(r).and_then(Carrier::leader);
    if let Some(leader) = leader {
        let line = match bytes_of(&header.status_line) {
            // ngx_http_grpc_process_header keeps the number alone.
            [] => format!("{} ", header.status_n).into_bytes(),
            line => line.to_vec(),
        };
        interim::pass_on(leader.r, &line, &List::of(&header.headers));
    }
}
