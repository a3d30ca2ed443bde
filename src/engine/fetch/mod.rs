//! The life of a fetch, from the permission to ask the origin to the last byte of its answer.
//!
//! A fetch does no I/O and reads no clock: a host reports events to a [`Fetch`], and carries out the [`Order`] that
//! each event returns. Between two events, [`Fetch::wants`] says what the host has to do.
//!
//! | state | the host | event | next state |
//! |---|---|---|---|
//! | awaiting | asks the origin, with [`Fetch::fields`] | `header` | storing, relaying or discarding; or awaiting again |
//! | | | `failed` | over |
//! | storing | writes the body | `end`, `failed` | over |
//! | | | `outgrew` | relaying or discarding |
//! | skipping | shows the body, of which the leading client has the beginning | `skip` | relaying or discarding |
//! | | | `end`, `failed` | over |
//! | relaying | forwards the body to the leading client | `leader_gone` | discarding |
//! | | | `end`, `failed` | over |
//! | discarding | drops the body, or closes the connection | `end`, `failed` | over |
//!
//! A fetch belongs to the cache. The client whose request began it, the *leading client*, may go away at any time. It
//! gets one answer; [`Fetch::has_leader`] tells whether there is more to come for it.

mod body_writer;
mod counter;
mod fields;
pub(crate) mod other_variants;
mod outcome;
mod outcomes;
mod permit;
mod respond;
pub(crate) mod rest;

use std::fmt;
use std::mem;

use self::body_writer::{BodyWriter, Finished};
use self::counter::FetchCounter;
use self::outcome::Outcome;
use self::permit::{Led, StandIn};
use self::rest::{Rest, Skipped};
use super::policy::Policy;
use super::verdict::{Asked, Failed, NotKept, Reason, Status, Unstored};
use crate::engine::record::stored::Stored;
use crate::http::Fields;
use crate::store::{Millis, NoSpace};

pub use self::outcome::{Failure, Response, Withheld};
pub(crate) use self::permit::{Keep, Permit, Purpose, Terms};
pub(crate) use self::respond::head;

/// A fetch. Dropping it gives it up: nothing is recorded, and the next request may fetch.
pub struct Fetch {
    state: State,
    leader: LeaderState,
    /// The status of the leading client if the origin sends a new response.
    led: Led,
    /// The stored response that stale-if-error lets the leading client have instead.
    stand_in: Option<StandIn>,
    patience: Option<Millis>,
    asked: Asked,
    reason: Reason,
    has_failed: bool,
    counter: FetchCounter,
}

enum State {
    Awaiting(Permit),
    Storing(BodyWriter),
    Skipping(Rest),
    Relaying,
    Discarding,
    Over,
}

/// The leading client of a fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaderState {
    /// There is none, or it has received everything that it will get.
    None,
    /// It waits for its answer.
    Waits,
    /// Its answer has begun, and it follows the body.
    Follows,
}

/// What a fetch expects from its host next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The header of the origin's response.
    Header,
    /// The response's body, to be stored.
    Store,
    /// The beginning of the response's body, to be skipped: the leading client has it.
    Skip,
    /// The response's body, to be relayed to the leading client.
    Relay,
    /// The end of the response; its body is discarded.
    Discard,
    /// Nothing.
    Nothing,
}

/// A stored response for the leading client, to be delivered by [`Cache::deliver`](super::Cache::deliver).
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The response to deliver; its body may still grow.
    pub object: Stored,
    /// The value of `$swr_cache_status`.
    pub status: Status,
    /// The value of `$swr_cache_reason`.
    pub reason: Reason,
    /// The time until which a stale response may be served in place of the origin's answer (exclusive).
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

    /// The status and reason for the client if the window of the stale response to be served has closed at
    /// `now`.
    pub(super) fn is_over(&self, now: Millis) -> Option<Aside> {
        (now >= self.until).then_some(Aside {
            status: Status::Expired,
            reason: Reason::Stale,
        })
    }

    /// Whether this is the origin's response to this fetch, rather than the one stored before.
    pub fn is_new(&self) -> bool {
        matches!(self.status, Status::Miss | Status::Expired | Status::Bypass)
    }
}

/// What a host has to do after an event.
#[derive(Debug)]
pub enum Order {
    /// Nothing beyond what the fetch [wants](Fetch::wants). The leading client, if any, continues to wait, or learns
    /// the rest from the body that it follows.
    Nothing,
    /// Answer the leading client with this stored response.
    Deliver(Delivery),
    /// Relay the origin's response to the leading client as it arrives; it is not stored.
    Relay(Aside),
    /// Relay the rest of the body to the leading client, after what the store has taken: it takes no more. If the
    /// client does not follow the stored part yet, deliver that first.
    RelayRest(Option<Delivery>),
    /// Let the leading client continue without the cache: the response is not meant for it, or continues elsewhere
    /// inside the host.
    HandOver(Aside),
    /// Answer the leading client with 504: the origin is unreachable, and requires that the stored response is
    /// validated before use (RFC 9111 §5.2.2.2).
    GatewayTimeout(Aside),
    /// There is no answer for the leading client: send it a 502 or similar, or break off the response that it has begun
    /// to receive.
    Fail(Aside),
    /// Ask the origin again at once, with the new [`Fetch::fields`]: its 304 does not match what is stored. This
    /// happens once per fetch at most; the leading client continues to wait.
    AskAgain,
}

/// The status and reason of a client that is answered without the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aside {
    /// The value of `$swr_cache_status`.
    pub status: Status,
    /// The value of `$swr_cache_reason`.
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
    /// Begins the fetch that `permit` allows; `asked` is the reason to ask the origin. A leading client waits until
    /// `patience` at most (Unix time in ms).
    pub(crate) fn new(permit: Permit, asked: Asked, patience: Option<Millis>) -> Fetch {
        Fetch {
            leader: match permit.terms.purpose {
                Purpose::Refresh => LeaderState::None,
                Purpose::Fetch => LeaderState::Waits,
            },
            led: permit.led(),
            stand_in: permit.terms.stand_in(),
            patience,
            asked,
            reason: asked.reason(),
            has_failed: false,
            counter: FetchCounter::of(&permit),
            state: State::Awaiting(permit),
        }
    }

    /// Whether this is a background refresh, which has no leading client.
    pub fn is_refresh(&self) -> bool {
        self.counter.is_refresh
    }

    /// Whether the body is being stored and may be read while it grows.
    pub fn is_followed(&self) -> bool {
        matches!(&self.state, State::Storing(writer) if writer.streaming())
    }

    /// Whether a leading client has not been answered yet, or follows the body.
    pub fn has_leader(&self) -> bool {
        self.leader != LeaderState::None
    }

    /// What the host has to do next.
    pub fn wants(&self) -> Wants {
        match self.state {
            State::Awaiting(_) => Wants::Header,
            State::Storing(_) => Wants::Store,
            State::Skipping(_) => Wants::Skip,
            State::Relaying => Wants::Relay,
            State::Discarding => Wants::Discard,
            State::Over => Wants::Nothing,
        }
    }

    /// Why the origin is asked.
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// The reason for the result, as far as it is known.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the origin has failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// The status of the leading client, if the origin sends a new response.
    pub fn status(&self) -> Status {
        self.led.served().0
    }

    /// The stored response to be validated or replaced; `None` once the origin has answered.
    pub fn entry(&self) -> Option<&Stored> {
        match &self.state {
            State::Awaiting(permit) => permit.terms.entry.as_ref(),
            State::Storing(_)
            | State::Skipping(_)
            | State::Relaying
            | State::Discarding
            | State::Over => None,
        }
    }

    /// Whether the fetch has achieved its purpose: a new response is stored, or the origin has validated the stored
    /// one.
    pub fn has_renewed(&self) -> bool {
        matches!(
            self.reason,
            Reason::Fetched | Reason::SameBytes | Reason::NotModified
        )
    }

    /// The time at which the host reports [`Fetch::patience_over`] if the leading client still waits (Unix time in ms).
    pub fn patience(&self) -> Option<Millis> {
        self.patience
    }

    /// Whether to ask the origin with `HEAD`. Otherwise the method is the client's, with `HEAD` replaced by `GET`.
    pub fn is_head(&self) -> bool {
        matches!(&self.state, State::Awaiting(permit) if permit.terms.method == ::http::Method::HEAD)
    }

    /// Calls `each` with the fields of the request to the origin: those of the client (`client`) that a fetch forwards,
    /// and its own. `Range` and the client's conditional fields are never forwarded; a refresh does not forward
    /// `Cookie` and `Authorization` either. Cookies that the host makes the key of are the host's to add
    /// ([`key::cookies`](crate::engine::key::cookies)).
    pub fn fields(&self, client: &dyn Fields, each: &mut dyn FnMut(&[u8], &[u8])) {
        if let State::Awaiting(permit) = &self.state {
            fields::each(permit, client, each);
        }
    }

    /// Event: the header of a response has arrived, from the origin or from the host in its place. `sent` are the
    /// fields of the request that was sent to the origin.
    pub fn header(
        &mut self,
        resp: &Response<'_>,
        sent: &dyn Fields,
        policy: &Policy,
        now: Millis,
    ) -> Order {
        let State::Awaiting(mut permit) = mem::replace(&mut self.state, State::Discarding) else {
            return Order::Nothing;
        };
        if let Some(seen) = permit.terms.rest_of.take() {
            return self.header_again(seen, resp, now);
        }
        let outcome = respond::respond(permit, resp, sent, policy, now);
        self.counter.answered(&outcome, now);
        match outcome {
            Outcome::NotKept(why) if self.has_leader() => self.pass_on(resp, why),
            outcome => self.settle(outcome),
        }
    }

    /// The header of a response of whose body the leading client has the beginning.
    fn header_again(&mut self, seen: Stored, resp: &Response<'_>, now: Millis) -> Order {
        let outcome = Outcome::NotKept(NotKept::Unstored(Unstored::TooLarge));
        self.counter.answered(&outcome, now);
        match Rest::of(seen, resp).filter(|_| self.has_leader()) {
            Some(rest) => {
                self.leader = LeaderState::Follows;
                self.state = State::Skipping(rest);
                Order::Nothing
            }
            None => self.differs(),
        }
    }

    /// Skips what the leading client has of `bytes`; returns how many these are, and what to do then.
    pub fn skip(&mut self, bytes: &[u8]) -> (usize, Order) {
        let State::Skipping(rest) = &mut self.state else {
            return (0, Order::Nothing);
        };
        match rest.skip(bytes) {
            Skipped::All => (bytes.len(), Order::Nothing),
            Skipped::Part(count) => {
                self.state = State::Relaying;
                (count, Order::RelayRest(None))
            }
            Skipped::Differ => (0, self.differs()),
        }
    }

    /// The response is another one than that of which the leading client has the beginning: that breaks off.
    fn differs(&mut self) -> Order {
        self.note(NotKept::Failed(Failed::BodyBroken));
        self.state = State::Discarding;
        self.leader = LeaderState::None;
        Order::Fail(self.aside())
    }

    /// Relays a response that is not stored to the leading client, unless it does not answer that client's request: a
    /// partial response although the fetch asked for the complete one, or a redirect inside the host.
    fn pass_on(&mut self, resp: &Response<'_>, why: NotKept) -> Order {
        self.note(why);
        let aside = self.aside();
        if matches!(resp.status, 206 | 416) || resp.withheld == Some(Withheld::Redirected) {
            self.leader = LeaderState::None;
            return Order::HandOver(aside);
        }
        self.state = State::Relaying;
        self.leader = LeaderState::Follows;
        Order::Relay(aside)
    }

    /// Event: no response has arrived, or its body is incomplete. `retry_after` is the pause that the origin asked for,
    /// in milliseconds from `now`.
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
                self.counter.answered(&outcome, now);
                self.settle(outcome)
            }
            State::Storing(writer) if failure == Failure::Aborted => {
                let why = NotKept::Failed(Failed::Aborted);
                writer.abandon(why, now);
                self.note(why);
                self.stand_in_or_fail(now)
            }
            State::Storing(writer) => {
                self.counter.broken(writer.taken());
                writer.broken(now);
                self.broke_off(now)
            }
            State::Skipping(_) | State::Relaying if self.has_leader() => {
                self.leader = LeaderState::None;
                Order::Fail(self.aside())
            }
            State::Skipping(_) | State::Relaying | State::Discarding | State::Over => {
                Order::Nothing
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) -> Order {
        match outcome {
            Outcome::Store(writer) => {
                let grows = writer.streaming().then(|| writer.stored());
                self.state = State::Storing(writer);
                match grows.filter(|_| self.has_leader()) {
                    Some(stored) => {
                        self.leader = LeaderState::Follows;
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
                match mem::replace(&mut self.leader, LeaderState::None) {
                    LeaderState::None => Order::Nothing,
                    LeaderState::Waits | LeaderState::Follows => {
                        Order::GatewayTimeout(self.aside())
                    }
                }
            }
        }
    }

    /// Appends to the body. On an error none of `bytes` were stored, and the host calls [`Fetch::outgrew`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        match &mut self.state {
            State::Storing(writer) => writer.write(bytes),
            State::Awaiting(_)
            | State::Skipping(_)
            | State::Relaying
            | State::Discarding
            | State::Over => Err(NoSpace::Ended),
        }
    }

    /// Event: the store takes no more of the body, for the reason `why`. The rest is relayed or discarded.
    pub fn outgrew(&mut self, why: NoSpace, now: Millis) -> Order {
        let State::Storing(writer) = mem::replace(&mut self.state, State::Discarding) else {
            return Order::Nothing;
        };
        if why == NoSpace::BeyondTotal {
            self.counter.broken(writer.taken());
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
        match mem::replace(&mut self.leader, LeaderState::Follows) {
            LeaderState::Follows => Order::RelayRest(None),
            LeaderState::Waits | LeaderState::None => Order::RelayRest(Some(Delivery {
                reason: self.reason,
                ..Delivery::new(taken, self.led)
            })),
        }
    }

    /// Event: the body is complete.
    pub fn end(&mut self, now: Millis) -> Order {
        match mem::replace(&mut self.state, State::Over) {
            State::Storing(writer) => self.finish(writer, now),
            State::Awaiting(permit) => {
                self.state = State::Awaiting(permit);
                Order::Nothing
            }
            // Shorter than before.
            State::Skipping(_) => self.differs(),
            State::Relaying | State::Discarding | State::Over => {
                self.leader = LeaderState::None;
                Order::Nothing
            }
        }
    }

    fn finish(&mut self, writer: BodyWriter, now: Millis) -> Order {
        let bytes = writer.taken();
        let finished = writer.finish(now);
        self.counter.finished(&finished, bytes);
        let (stored, reason) = match finished {
            Finished::New(stored) => (stored, Reason::Fetched),
            Finished::Same(stored) => (stored, Reason::SameBytes),
            Finished::Superseded(stored) => (stored, Reason::Superseded),
            Finished::Broken => return self.broke_off(now),
        };
        self.reason = reason;
        self.answer(stored, self.led)
    }

    /// Answers the leading client, unless it follows the body and so sees its end.
    fn answer(&mut self, stored: Stored, led: Led) -> Order {
        match mem::replace(&mut self.leader, LeaderState::None) {
            LeaderState::Waits => Order::Deliver(self.delivery(stored, led)),
            LeaderState::None | LeaderState::Follows => Order::Nothing,
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

    /// Reports a failure to the leading client. One that follows the body sees that it breaks off.
    fn fail(&mut self) -> Order {
        match mem::replace(&mut self.leader, LeaderState::None) {
            LeaderState::Waits => Order::Fail(self.aside()),
            LeaderState::None | LeaderState::Follows => Order::Nothing,
        }
    }

    /// Event: the leading client has waited long enough. Returns the stored response that it may have instead, if any.
    /// A client that takes it has [gone](Fetch::leader_gone); the fetch continues.
    pub fn patience_over(&self, now: Millis) -> Option<Delivery> {
        if matches!(self.state, State::Discarding | State::Over) {
            return None;
        }
        let stored = self.stand_in.as_ref()?.at(now)?;
        Some(self.delivery(stored.clone(), Led::Patience))
    }

    /// Moves the fetch to another request of the host, which continues it. What remains in this place is over.
    pub fn hand_on(&mut self) -> Fetch {
        let over = Fetch {
            state: State::Discarding,
            leader: LeaderState::None,
            stand_in: None,
            counter: self.counter.clone(),
            ..*self
        };
        mem::replace(self, over)
    }

    /// Event: the leading client is gone, or needs nothing more. A response that was relayed to it is discarded; a fill
    /// continues.
    pub fn leader_gone(&mut self) {
        self.leader = LeaderState::None;
        if matches!(self.state, State::Skipping(_) | State::Relaying) {
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

    /// The status and reason of a client whose response is not stored. One that is not stored because of
    /// `Authorization` counts as a bypass.
    pub(crate) fn aside(&self) -> Aside {
        Aside {
            status: match self.reason {
                Reason::Authorization => Status::Bypass,
                _ => self.status(),
            },
            reason: self.reason,
        }
    }
}
