//! The life of a fetch, from the permission to ask the origin to the last byte of its answer.
//!
//! No I/O and no clock: a host tells a [`Fetch`] what happens, and carries out the [`Order`] that it gets. Between two events
//! [`Fetch::wants`] says what the host has to do.
//!
//! | state | the host | on | goes on to |
//! |---|---|---|---|
//! | awaiting | asks the origin, with [`Fetch::fields`] | `header` | storing, relaying or discarding; awaiting, once more |
//! | | | `failed` | over |
//! | storing | writes the body | `end`, `failed` | over |
//! | | | `outgrew` | relaying or discarding |
//! | relaying | passes the body on to the client that leads | `leader_gone` | discarding |
//! | | | `end`, `failed` | over |
//! | discarding | drops the body, or the connection | `end`, `failed` | over |
//!
//! A fetch belongs to the cache: the client that leads it may go at any time. It is answered once; [`Fetch::has_leader`] says whether
//! there will be more for it.

mod body_writer;
mod fields;
pub(crate) mod other_variants;
mod outcome;
mod outcomes;
mod permit;
mod respond;
mod tally;

use std::fmt;
use std::mem;

use self::body_writer::{BodyWriter, Finished};
use self::outcome::Outcome;
use self::permit::{Led, StandIn};
use self::tally::Tally;
use super::policy::Policy;
use super::verdict::{Asked, Failed, NotKept, Reason, Status, Unstored};
use crate::engine::record::stored::Stored;
use crate::http::Fields;
use crate::store::{Millis, NoSpace};

pub use self::outcome::{Failure, Response, Withheld};
pub(crate) use self::permit::{Keep, Permit, Purpose, Terms};
pub(crate) use self::respond::head;

/// A fetch. Dropping it gives it up: nothing is remembered, and the next request has its place.
pub struct Fetch {
    state: State,
    leader: Leader,
    /// How the client that leads comes to a new response.
    led: Led,
    /// What stale-if-error lets it have instead.
    stand_in: Option<StandIn>,
    patience: Option<Millis>,
    asked: Asked,
    reason: Reason,
    has_failed: bool,
    tally: Tally,
}

enum State {
    Awaiting(Permit),
    Storing(BodyWriter),
    Relaying,
    Discarding,
    Over,
}

/// The client that leads a fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    /// There is none, or it has all that it gets.
    None,
    /// It waits for its answer.
    Waits,
    /// It has begun to be answered, and follows the body.
    Follows,
}

/// What a fetch wants of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The header of the origin's answer.
    Header,
    /// Its body, for the store.
    Store,
    /// Its body, for the client that leads.
    Relay,
    /// An end: the body is of no use.
    Discard,
    /// Nothing.
    Nothing,
}

/// A stored response for the client that leads a fetch, for [`Cache::deliver`](super::Cache::deliver).
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to deliver; its body may be growing.
    pub object: Stored,
    /// For `$swr_cache_status`.
    pub status: Status,
    /// For `$swr_cache_reason`.
    pub reason: Reason,
    /// Until when a copy may stand in for the origin's answer (exclusive).
    until: Millis,
}

impl Delivery {
    fn new(object: Stored, led: Led) -> Delivery {
        let (status, reason) = led.served();
        Delivery {
            object,
            status,
            reason,
            until: Millis::MAX,
        }
    }

    /// How the client is told of instead, if the window of a copy that was to stand in has closed at `now`.
    pub(super) fn is_over(&self, now: Millis) -> Option<Aside> {
        (now >= self.until).then_some(Aside {
            status: Status::Expired,
            reason: Reason::Stale,
        })
    }

    /// Whether it is what the origin has sent to this fetch, rather than what was stored before.
    pub fn is_new(&self) -> bool {
        matches!(self.status, Status::Miss | Status::Expired | Status::Bypass)
    }
}

/// What a host has to do after an event.
#[derive(Debug)]
pub enum Order {
    /// Nothing but what the fetch [wants](Fetch::wants): the client that leads, if there is one, waits on, or learns the rest from the
    /// body that it follows.
    Nothing,
    /// Answer the client that leads with this.
    Deliver(Delivery),
    /// Pass the origin's response on to the client that leads, as it comes: it is not stored.
    Relay(Aside),
    /// Pass the rest of the body on to the client that leads, behind what the store has taken: it takes no more. Deliver that first to a
    /// client that does not follow it yet.
    RelayRest(Option<Delivery>),
    /// Send the client that leads on, by the cache: the response is not for it, or leads elsewhere inside the host.
    HandOver(Aside),
    /// Answer the client that leads with 504: the origin can't be reached, and wants the stored response validated before it is used
    /// (RFC 9111 §5.2.2.2).
    GatewayTimeout(Aside),
    /// There is nothing for the client that leads: answer it with 502 or the like, or break off what it has begun to get.
    Fail(Aside),
    /// Ask the origin again at once, with [`Fetch::fields`] anew: its 304 does not fit what is stored. This comes once in a fetch; the
    /// client that leads waits on.
    AskAgain,
}

/// How a client that is answered without the store is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aside {
    /// For `$swr_cache_status`.
    pub status: Status,
    /// For `$swr_cache_reason`.
    pub reason: Reason,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("wants", &self.wants())
            .field("led", &self.led)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl Fetch {
    /// The fetch that `permit` permits, since the origin has to be asked for the reason `asked`; a client that leads it is patient till
    /// then.
    pub(crate) fn new(permit: Permit, asked: Asked, patience: Option<Millis>) -> Fetch {
        Fetch {
            leader: match permit.terms.purpose {
                Purpose::Refresh => Leader::None,
                Purpose::Fetch => Leader::Waits,
            },
            led: permit.led(),
            stand_in: permit.terms.stand_in(),
            patience,
            asked,
            reason: asked.reason(),
            has_failed: false,
            tally: Tally::of(&permit),
            state: State::Awaiting(permit),
        }
    }

    /// Whether it is a background refresh, which no client leads.
    pub fn is_refresh(&self) -> bool {
        self.tally.is_refresh
    }

    /// Whether the body is being stored and may be followed as it grows.
    pub fn is_followed(&self) -> bool {
        matches!(&self.state, State::Storing(writer) if writer.streaming())
    }

    /// Whether a client leads it that is not answered yet, or follows the body.
    pub fn has_leader(&self) -> bool {
        self.leader != Leader::None
    }

    /// What the host has to do now.
    pub fn wants(&self) -> Wants {
        match self.state {
            State::Awaiting(_) => Wants::Header,
            State::Storing(_) => Wants::Store,
            State::Relaying => Wants::Relay,
            State::Discarding => Wants::Discard,
            State::Over => Wants::Nothing,
        }
    }

    /// Why the origin is asked.
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// Why it went as it did, as far as that is known.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the origin has failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// The status of the client that leads, if the origin sends a new response.
    pub fn status(&self) -> Status {
        self.led.served().0
    }

    /// The stored response that it is to validate or replace, as long as the origin has not answered.
    pub fn entry(&self) -> Option<&Stored> {
        match &self.state {
            State::Awaiting(permit) => permit.terms.entry.as_ref(),
            _ => None,
        }
    }

    /// Whether it has brought what it was for: something new in the store, or the origin's word that what is stored holds.
    pub fn has_renewed(&self) -> bool {
        matches!(
            self.reason,
            Reason::Fetched | Reason::SameBytes | Reason::NotModified
        )
    }

    /// When the client that leads should get [`Fetch::patience_over`] instead of waiting on (Unix time in ms).
    pub fn patience(&self) -> Option<Millis> {
        self.patience
    }

    /// Whether the origin is to be asked with `HEAD`. Otherwise it is with the client's method, but `GET` for its `HEAD`.
    pub fn is_head(&self) -> bool {
        matches!(&self.state, State::Awaiting(permit) if permit.terms.method == ::http::Method::HEAD)
    }

    /// Shows `each` the fields of the request to the origin: those of the client, `client`, as far as a fetch sends them, and its own.
    /// It never sends a `Range` or the client's conditions, and as a refresh no `Cookie` or `Authorization` of the client.
    pub fn fields(&self, client: &dyn Fields, each: &mut dyn FnMut(&[u8], &[u8])) {
        if let State::Awaiting(permit) = &self.state {
            fields::each(permit, client, each);
        }
    }

    /// The origin has answered, or the host in its place. `sent` are the fields of the request to it.
    pub fn header(
        &mut self,
        resp: &Response<'_>,
        sent: &dyn Fields,
        policy: &Policy,
        now: Millis,
    ) -> Order {
        let State::Awaiting(permit) = mem::replace(&mut self.state, State::Discarding) else {
            return Order::Nothing;
        };
        let outcome = respond::respond(permit, resp, sent, policy, now);
        self.tally.answered(&outcome, now);
        match outcome {
            Outcome::NotKept(why) if self.has_leader() => self.pass_on(resp, why),
            outcome => self.settle(outcome),
        }
    }

    /// A response that is not stored goes to the client that leads, unless it says nothing to it: a part where the fetch asked for the
    /// whole, or a redirect inside the host.
    fn pass_on(&mut self, resp: &Response<'_>, why: NotKept) -> Order {
        self.note(why);
        let aside = self.aside();
        if matches!(resp.status, 206 | 416) || resp.withheld == Some(Withheld::Redirected) {
            self.leader = Leader::None;
            return Order::HandOver(aside);
        }
        self.state = State::Relaying;
        self.leader = Leader::Follows;
        Order::Relay(aside)
    }

    /// No answer has come, or the body breaks off. `retry_after` is a pause that the origin asked for, in ms from now.
    pub fn failed(
        &mut self,
        failure: Failure,
        retry_after: Option<Millis>,
        policy: &Policy,
        now: Millis,
    ) -> Order {
        match mem::replace(&mut self.state, State::Over) {
            State::Awaiting(permit) => {
                let outcome = respond::fail(permit, failure, retry_after, policy, now);
                self.tally.answered(&outcome, now);
                self.settle(outcome)
            }
            State::Storing(writer) if failure == Failure::Aborted => {
                let why = NotKept::Failed(Failed::Aborted);
                writer.abandon(why, now);
                self.note(why);
                self.stand_in_or_fail(now)
            }
            State::Storing(writer) => {
                self.tally.broken(writer.taken());
                writer.broken(now);
                self.broke_off(now)
            }
            State::Relaying if self.has_leader() => {
                self.leader = Leader::None;
                Order::Fail(self.aside())
            }
            State::Relaying | State::Discarding | State::Over => Order::Nothing,
        }
    }

    fn settle(&mut self, outcome: Outcome) -> Order {
        match outcome {
            Outcome::Store(writer) => {
                let grows = writer.streaming().then(|| writer.stored());
                self.state = State::Storing(writer);
                match grows.filter(|_| self.has_leader()) {
                    Some(stored) => {
                        self.leader = Leader::Follows;
                        Order::Deliver(Delivery::new(stored, self.led))
                    }
                    None => Order::Nothing,
                }
            }
            Outcome::Renewed(stored) => {
                self.reason = Reason::NotModified;
                self.answer(stored, Led::Revalidated)
            }
            Outcome::Stale(stored) => {
                self.has_failed = true;
                self.reason = Reason::SieFallback;
                self.answer(stored, Led::Failed)
            }
            Outcome::AskAgain(permit) => {
                self.state = State::Awaiting(permit);
                Order::AskAgain
            }
            Outcome::NotKept(why) => {
                self.note(why);
                self.fail()
            }
            Outcome::GatewayTimeout => {
                self.has_failed = true;
                self.reason = Reason::MustRevalidate;
                match mem::replace(&mut self.leader, Leader::None) {
                    Leader::None => Order::Nothing,
                    Leader::Waits | Leader::Follows => Order::GatewayTimeout(self.aside()),
                }
            }
        }
    }

    /// Adds to the body. An error leaves what there is: the host then calls [`Fetch::outgrew`]. None of `bytes` were taken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        match &mut self.state {
            State::Storing(writer) => writer.write(bytes),
            _ => Err(NoSpace::Ended),
        }
    }

    /// The store takes no more of the body, for the reason `why`. The rest is relayed, or of no use.
    pub fn outgrew(&mut self, why: NoSpace, now: Millis) -> Order {
        let State::Storing(writer) = mem::replace(&mut self.state, State::Discarding) else {
            return Order::Nothing;
        };
        if why == NoSpace::BeyondTotal {
            self.tally.broken(writer.taken());
            writer.broken(now);
            return self.broke_off(now);
        }
        let why = NotKept::Unstored(match why {
            NoSpace::TooLarge => Unstored::TooLarge,
            NoSpace::Full | NoSpace::Busy | NoSpace::Ended | NoSpace::BeyondTotal => {
                Unstored::NoSpace
            }
        });
        let taken = writer.stored();
        writer.abandon(why, now);
        self.note(why);
        if !self.has_leader() {
            return Order::Nothing;
        }
        self.state = State::Relaying;
        match mem::replace(&mut self.leader, Leader::Follows) {
            Leader::Follows => Order::RelayRest(None),
            Leader::Waits | Leader::None => Order::RelayRest(Some(Delivery {
                reason: self.reason,
                ..Delivery::new(taken, self.led)
            })),
        }
    }

    /// The body is complete.
    pub fn end(&mut self, now: Millis) -> Order {
        match mem::replace(&mut self.state, State::Over) {
            State::Storing(writer) => self.finish(writer, now),
            State::Awaiting(permit) => {
                self.state = State::Awaiting(permit);
                Order::Nothing
            }
            State::Relaying | State::Discarding | State::Over => {
                self.leader = Leader::None;
                Order::Nothing
            }
        }
    }

    fn finish(&mut self, writer: BodyWriter, now: Millis) -> Order {
        let bytes = writer.taken();
        let finished = writer.finish(now);
        self.tally.finished(&finished, bytes);
        let (stored, reason) = match finished {
            Finished::New(stored) => (stored, Reason::Fetched),
            Finished::Same(stored) => (stored, Reason::SameBytes),
            Finished::Superseded(stored) => (stored, Reason::Superseded),
            Finished::Broken => return self.broke_off(now),
        };
        self.reason = reason;
        self.answer(stored, self.led)
    }

    /// Gives the client that leads its answer, unless it follows the body and sees the end by itself.
    fn answer(&mut self, stored: Stored, led: Led) -> Order {
        match mem::replace(&mut self.leader, Leader::None) {
            Leader::Waits => Order::Deliver(self.delivery(stored, led)),
            Leader::None | Leader::Follows => Order::Nothing,
        }
    }

    fn delivery(&self, stored: Stored, led: Led) -> Delivery {
        let stand_in = self.stand_in.as_ref();
        let until = match led {
            Led::Failed | Led::Patience => stand_in.map(|copy| copy.until),
            Led::Miss | Led::Expired | Led::Bypass | Led::Revalidated => None,
        };
        Delivery {
            until: until.unwrap_or(Millis::MAX),
            ..Delivery::new(stored, led)
        }
    }

    fn broke_off(&mut self, now: Millis) -> Order {
        self.note(NotKept::Failed(Failed::BodyBroken));
        self.stand_in_or_fail(now)
    }

    fn stand_in_or_fail(&mut self, now: Millis) -> Order {
        let stand_in = self.stand_in.as_ref().and_then(|copy| copy.at(now));
        match stand_in.cloned() {
            Some(stored) => self.answer(stored, Led::Failed),
            None => self.fail(),
        }
    }

    /// Who follows the body sees by itself that it breaks off.
    fn fail(&mut self) -> Order {
        match mem::replace(&mut self.leader, Leader::None) {
            Leader::Waits => Order::Fail(self.aside()),
            Leader::None | Leader::Follows => Order::Nothing,
        }
    }

    /// The client that leads has waited for long enough: what it may have now instead, if anything. Taking that, it has
    /// [gone](Fetch::leader_gone); the fetch goes on.
    pub fn patience_over(&self, now: Millis) -> Option<Delivery> {
        if matches!(self.state, State::Discarding | State::Over) {
            return None;
        }
        let stored = self.stand_in.as_ref()?.at(now)?;
        Some(self.delivery(stored.clone(), Led::Patience))
    }

    /// The same fetch, for another request of the host's to carry on; what is left in this place is over.
    pub fn hand_on(&mut self) -> Fetch {
        let over = Fetch {
            state: State::Discarding,
            leader: Leader::None,
            stand_in: None,
            tally: self.tally.clone(),
            ..*self
        };
        mem::replace(self, over)
    }

    /// The client that leads is gone, or has all that it wants. What was relayed to it is of no use any more; a fill goes on.
    pub fn leader_gone(&mut self) {
        self.leader = Leader::None;
        if matches!(self.state, State::Relaying) {
            self.state = State::Discarding;
        }
    }

    fn note(&mut self, why: NotKept) {
        self.has_failed |= match why {
            NotKept::Unstored(_) | NotKept::Failed(Failed::Aborted) => false,
            NotKept::Failed(_) => true,
        };
        self.reason = why.into();
    }

    /// A response that is for its own visitor alone was none of the cache's business.
    fn aside(&self) -> Aside {
        Aside {
            status: match self.reason {
                Reason::Authorization => Status::Bypass,
                _ => self.status(),
            },
            reason: self.reason,
        }
    }
}
