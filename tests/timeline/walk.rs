//! A random walk: whatever clients and origins do, in whatever order, responses are served within their windows, and an
//! entry has at most one refresh at a time. Seeded, so that a failure can be reproduced.

use std::sync::Arc;

use swrcache::engine::*;
use swrcache::store::{NoSpace, Region, RegionOptions};

use crate::runner::EPOCH;

type Lines = Vec<(&'static str, &'static str)>;

/// The windows of every response of the walk, in ms.
const FRESH: u64 = 10_000;
const SWR: u64 = 20_000;
const SIE: u64 = 60_000;

/// How long a refresh holds its claim if it neither ends nor dies.
const LEASE: u64 = 120_000;

const CONTROL: &str = "max-age=10, stale-while-revalidate=20, stale-if-error=60";

/// xorshift64*, to choose the steps.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// A fetch in progress.
struct Led {
    fetch: Box<Fetch>,
    since: u64,
    /// The object that it refreshes.
    entry: Option<u64>,
}

struct Walk {
    cache: Cache,
    policy: Policy,
    dice: Dice,
    now: u64,
    fetches: Vec<Led>,
    fills: Vec<Fetch>,
    waiters: u32,
    served: [u32; 3],
}

impl Walk {
    fn new(seed: u64, policy: Policy) -> Walk {
        let region = Region::anonymous(8 << 20, &RegionOptions::default()).expect("a region");
        region.enter(None).expect("a slot");
        Walk {
            cache: Cache::new(Arc::new(region)),
            policy,
            dice: Dice(seed),
            now: EPOCH,
            fetches: Vec::new(),
            fills: Vec::new(),
            waiters: 0,
            served: [0; 3],
        }
    }

    fn step(&mut self) {
        self.now += self.dice.roll(3_000);
        match self.dice.roll(10) {
            0..=4 => self.ask(Turn::First),
            5 if self.waiters > 0 => {
                self.waiters -= 1;
                let turn = if self.dice.roll(2) == 0 {
                    Turn::Waited
                } else {
                    Turn::TimedOut
                };
                self.ask(turn);
            }
            6 | 7 => self.answer(),
            8 => self.feed(),
            _ => self.rarely(),
        }
    }

    fn ask(&mut self, turn: Turn) {
        let none: Lines = Vec::new();
        let request = Request {
            method: Method::Get,
            key: b"key",
            fields: &none,
            bypass: false,
            no_cache: false,
            may_refresh: self.dice.roll(8) > 0,
            is_part: false,
        };
        match self.cache.decide(&request, &self.policy, turn, self.now) {
            Decision::Serve(serve) => self.served(serve),
            Decision::Fetch(fetch) => self.begins(fetch, None),
            Decision::Wait(_) => self.waiters += 1,
            Decision::Pass(_) => {}
            Decision::GatewayTimeout(reason) => panic!("nobody asked for {reason:?}"),
        }
    }

    fn served(&mut self, serve: Serve) {
        let age = serve.age * 1000;
        let (kind, bound) = match serve.status {
            Status::Hit => (0, FRESH),
            Status::Updating => (1, FRESH + SWR),
            Status::Stale => (2, FRESH + SIE),
            other => panic!("{other:?} without a fetch"),
        };
        assert!(age < bound, "{:?} at age {age}", serve.status);
        assert_eq!(serve.status == Status::Hit, age < FRESH, "age {age}");
        self.served[kind] += 1;
        let Some(fetch) = serve.refresh else {
            return;
        };
        let entry = Some(serve.object.served().id());
        let is_twin = |other: &Led| other.entry == entry && self.now < other.since + LEASE;
        assert!(
            !self.fetches.iter().any(is_twin),
            "two refreshes of one entry"
        );
        self.begins(fetch, entry);
    }

    fn begins(&mut self, fetch: Box<Fetch>, entry: Option<u64>) {
        self.fetches.push(Led {
            fetch,
            since: self.now,
            entry,
        });
    }

    /// However long its client has waited, a stale response is served within its window only, and only to a client that
    /// is still there.
    fn obey(&self, fetch: &Fetch, order: Order) {
        let brought = match order {
            Order::Deliver(brought) | Order::RelayRest(Some(brought)) => brought,
            Order::Nothing | Order::AskAgain => return,
            other => return assert!(!fetch.is_refresh(), "{other:?}"),
        };
        assert!(!fetch.is_refresh());
        let age = brought.object.age(self.now) * 1000;
        assert!(
            brought.status != Status::Stale || age < FRESH + SIE,
            "age {age}"
        );
    }

    /// A client has waited long enough, or goes away.
    fn leave(&mut self) {
        let count = self.fetches.len() as u64;
        let leaves = match self.dice.roll(count + 1) as usize {
            n if n < self.fetches.len() => &mut self.fetches[n].fetch,
            _ => match self.fills.last_mut() {
                Some(fetch) => fetch,
                None => return,
            },
        };
        let brought = leaves.patience_over(self.now);
        leaves.leader_gone();
        assert!(!leaves.has_leader());
        if let Some(brought) = brought {
            let age = brought.object.age(self.now) * 1000;
            assert!(age < FRESH + SIE, "age {age}");
            assert_eq!(brought.status, Status::Stale);
        }
    }

    fn answer(&mut self) {
        if self.fetches.is_empty() {
            return;
        }
        let which = self.dice.roll(self.fetches.len() as u64) as usize;
        let mut fetch = self.fetches.swap_remove(which).fetch;
        let now = self.now;
        let (status, control) = match self.dice.roll(8) {
            0 => {
                let order = fetch.failed(Failure::Timeout, None, &self.policy, now);
                return self.obey(&fetch, order);
            }
            1 => (503, CONTROL),
            2 => (200, "no-store"),
            3 => (304, CONTROL),
            _ => (200, CONTROL),
        };
        let fields: Lines = vec![("Cache-Control", control), ("ETag", "\"v\"")];
        let response = Response {
            status,
            store: &fields,
            received: &fields,
            content_length: Some(4),
            request_time: now,
            wall: now,
            origin: b"",
            from_failure: None,
            withheld: None,
            own_redirect: false,
            kept: None,
        };
        let none: Lines = Vec::new();
        let order = fetch.header(&response, &none, &self.policy, now);
        self.obey(&fetch, order);
        match fetch.wants() {
            Wants::Store => self.fills.push(*fetch),
            Wants::Header => self.begins(fetch, None),
            Wants::Skip | Wants::Relay | Wants::Discard | Wants::Nothing => {}
        }
    }

    fn feed(&mut self) {
        let Some(mut fetch) = self.fills.pop() else {
            return;
        };
        let order = match self.dice.roll(6) {
            0 => fetch.failed(Failure::Error, None, &self.policy, self.now),
            1 => fetch.end(self.now),
            2 => fetch.outgrew(NoSpace::Full, self.now),
            _ => {
                fetch.write(b"body").expect("room");
                fetch.end(self.now)
            }
        };
        self.obey(&fetch, order);
    }

    fn rarely(&mut self) {
        match self.dice.roll(40) {
            0 => drop(self.cache.region().remove_key(b"key")),
            1 => self.fetches.clear(),
            2 => self.now += SIE,
            3..=12 => self.leave(),
            _ => {}
        }
    }
}

#[test]
fn windows_hold_on_random_walks() {
    let mut seen = [0; 3];
    for seed in 1..=60 {
        let policy = Policy {
            background_update: seed % 3 != 0,
            revalidate_timeout: (seed % 4 == 0).then_some(500),
            ..Policy::default()
        };
        let mut walk = Walk::new(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed), policy);
        for _ in 0..400 {
            walk.step();
        }
        walk.fills.clear();
        walk.fetches.clear();
        walk.cache.region().validate().expect("a sound region");
        for (sum, count) in seen.iter_mut().zip(walk.served) {
            *sum += count;
        }
    }
    assert!(
        seen.iter().all(|count| *count > 50),
        "every phase is walked through: {seen:?}"
    );
}
