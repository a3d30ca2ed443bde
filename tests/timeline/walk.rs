//! A random walk: whatever clients and origins do, in whatever order, what is served keeps to the windows, and an entry has
//! one refresh at most. Seeded, so that a failure can be walked again.

use std::sync::Arc;

use swrcache::engine::*;
use swrcache::store::{Region, RegionOptions};

use crate::runner::EPOCH;

type Lines = Vec<(&'static str, &'static str)>;

/// The windows of every response of the walk, in ms.
const FRESH: u64 = 10_000;
const SWR: u64 = 20_000;
const SIE: u64 = 60_000;

/// How long a refresh has its entry to itself, should it neither end nor die.
const LEASE: u64 = 120_000;

const CONTROL: &str = "max-age=10, stale-while-revalidate=20, stale-if-error=60";

/// xorshift64*: enough to choose steps.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

struct Walk {
    cache: Cache,
    policy: Policy,
    dice: Dice,
    now: u64,
    permits: Vec<(Permit, u64)>,
    fills: Vec<Filling>,
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
            permits: Vec::new(),
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
        };
        match self.cache.decide(&request, &self.policy, turn, self.now) {
            Decision::Serve(serve) => self.served(serve),
            Decision::Fetch(fetch) => self.permits.push((fetch.permit, self.now)),
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
        let Some(permit) = serve.refresh else {
            return;
        };
        let entry = serve.object.object().id();
        let twin = self.permits.iter().find(|(other, since)| {
            let same = other
                .stale()
                .is_some_and(|stale| stale.object().id() == entry);
            same && other.purpose() == Purpose::Refresh && self.now < since + LEASE
        });
        assert!(twin.is_none(), "two refreshes of one entry");
        self.permits.push((*permit, self.now));
    }

    fn answer(&mut self) {
        if self.permits.is_empty() {
            return;
        }
        let which = self.dice.roll(self.permits.len() as u64) as usize;
        let (permit, _) = self.permits.swap_remove(which);
        let now = self.now;
        let (status, control) = match self.dice.roll(8) {
            0 => return drop(permit.fail(Failure::Timeout, None, &self.policy, now)),
            1 => (503, CONTROL),
            2 => (200, "no-store"),
            3 => (304, CONTROL),
            _ => (200, CONTROL),
        };
        let fields: Lines = vec![("Cache-Control", control), ("ETag", "\"v\"")];
        let response = Response {
            status,
            store: &fields,
            judge: &fields,
            content_length: Some(4),
            request_time: now,
            wall: now,
            origin: b"",
            from_failure: None,
            own_redirect: false,
            kept: None,
        };
        let none: Lines = Vec::new();
        if let Outcome::Store(filling) = permit.respond(&response, &none, &self.policy, now) {
            self.fills.push(filling);
        }
    }

    fn feed(&mut self) {
        let Some(mut filling) = self.fills.pop() else {
            return;
        };
        match self.dice.roll(4) {
            0 => drop(filling.broken(&self.policy, self.now)),
            1 => drop(filling.finish(self.now)),
            _ => {
                filling.write(b"body").expect("room");
                filling.finish(self.now);
            }
        }
    }

    fn rarely(&mut self) {
        match self.dice.roll(40) {
            0 => drop(self.cache.region().remove_key(b"key")),
            1 => self.permits.clear(),
            2 => self.now += SIE,
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
        walk.permits.clear();
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
