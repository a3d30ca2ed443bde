//! Compares the store with a simple model: random operations, each followed by a comparison and a validation of the
//! region. The model has no size limit, so an object that the region evicted is removed from the model when a lookup
//! misses it. The region must never find an object that the model does not have, or other bytes.

use std::collections::HashMap;

use swrcache::store::*;

mod support;

use support::{Random, bytes, share_a_body};

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    id: u64,
    meta: Vec<u8>,
    body: Vec<u8>,
    dead_at: Millis,
}

#[derive(Default)]
struct Model {
    /// The objects of a key, most recent first.
    objects: HashMap<Vec<u8>, Vec<Expected>>,
    pass: HashMap<Vec<u8>, Millis>,
}

struct World {
    region: Region,
    model: Model,
    random: Random,
    now: Millis,
    /// Handles that are kept, with what they must continue to read.
    kept: Vec<(Object, Expected)>,
    fills: Vec<(Fill, Expected)>,
    claims: Vec<Claim>,
}

impl World {
    fn key(&mut self) -> Vec<u8> {
        format!("http://example.test/{}", self.random.below(60)).into_bytes()
    }

    fn content(&mut self) -> Expected {
        let n = match self.random.below(12) {
            0 => self.random.below(60_000),
            1 => 0,
            _ => self.random.below(3000),
        };
        let fill = self.random.next();
        Expected {
            id: 0,
            meta: (0..self.random.below(300))
                .map(|i| (fill ^ i) as u8)
                .collect(),
            body: (0..n)
                .map(|i| (fill.wrapping_add(i) >> (i % 8)) as u8)
                .collect(),
            dead_at: self.now + 1 + self.random.below(2000),
        }
    }

    /// Looks a key up, compares the result, and returns the object and what was expected.
    fn look(&mut self, key: &[u8]) -> Option<(Object, Expected)> {
        let found = self
            .region
            .lookup(key, self.now, &mut |_| true)
            .expect("not busy");
        let pass = self
            .model
            .pass
            .get(key)
            .copied()
            .filter(|until| *until > self.now)
            .unwrap_or(0);
        assert!(
            [0, pass].contains(&found.marker.attributes[0]),
            "a pass that nobody marked"
        );
        let list = self.model.objects.entry(key.to_vec()).or_default();
        let Some(object) = found.object else {
            list.clear();
            return None;
        };
        let at = list
            .iter()
            .position(|e| e.id == object.id())
            .expect("found what the model does not have");
        // The objects before it have died or been evicted.
        list.drain(..at);
        let expected = list[0].clone();
        assert!(expected.dead_at > self.now, "a dead one was found");
        assert_eq!((object.key(), object.meta()), (key, &expected.meta[..]));
        assert!(bytes(&object) == expected.body, "other bytes");
        Some((object, expected))
    }

    fn insert(&mut self, key: &[u8], replaces: Option<&Object>) {
        let expected = self.content();
        let new = NewObject {
            meta: &expected.meta,
            labels: &[],
            total: (self.random.below(2) == 0).then_some(expected.body.len() as u64),
            attributes: [1; ATTRIBUTES],
            dead_at: expected.dead_at,
            publish: Publish::AtCommit,
            replaces,
            max_variants: 3,
        };
        let claim = match self
            .region
            .claim_key(key, 0, self.now, self.now + 50, false)
        {
            Ok(Attempt::Won(claim)) if self.random.below(2) == 0 => claim,
            _ => self.region.unclaimed(key),
        };
        match Fill::begin(claim, new) {
            Ok(fill) => self.fills.push((fill, expected)),
            Err((_, why)) => assert_ne!(why, NoSpace::Busy),
        }
    }

    fn advance_fill(&mut self) {
        if self.fills.is_empty() {
            return;
        }
        let i = self.random.below(self.fills.len() as u64) as usize;
        let (mut fill, mut expected) = self.fills.swap_remove(i);
        let at = fill.len() as usize;
        if at < expected.body.len() {
            let n = (1 + self.random.below(8000) as usize).min(expected.body.len() - at);
            if fill.write(&expected.body[at..at + n]).is_ok() && self.random.below(30) > 0 {
                assert!(bytes(&fill.object()) == expected.body[..at + n]);
                self.fills.push((fill, expected));
            }
            return;
        }
        match fill.commit(self.now) {
            Ok(object) => {
                expected.id = object.id();
                let list = self.model.objects.entry(object.key().to_vec()).or_default();
                list.insert(0, expected);
            }
            Err(superseded) => assert!(bytes(&superseded.object) == expected.body),
        }
    }

    fn renew(&mut self, key: &[u8]) {
        let Some((old, was)) = self.look(key) else {
            return;
        };
        let Attempt::Won(claim) = self
            .region
            .claim_object(&old, self.now, self.now + 10, false)
        else {
            return;
        };
        let mut expected = Expected {
            body: was.body.clone(),
            ..self.content()
        };
        match claim.renew(
            &old,
            NewHead::new(&expected.meta, [2; ATTRIBUTES], expected.dead_at),
            self.now,
        ) {
            Ok(object) => {
                assert!(!old.is_current() && share_a_body(&object, &old));
                expected.id = object.id();
                let list = self.model.objects.entry(key.to_vec()).or_default();
                list.retain(|e| e.id != old.id());
                list.insert(0, expected);
            }
            Err(why) => assert_eq!(why, Refused::Full),
        }
        assert!(
            bytes(&old) == was.body && old.meta() == was.meta,
            "a reader of the old head is not disturbed"
        );
    }

    fn step(&mut self) {
        self.now += self.random.below(20);
        let key = self.key();
        match self.random.below(16) {
            0..4 => self.insert(&key, None),
            4 => {
                let old = self.look(&key).map(|(o, _)| o);
                self.insert(&key, old.as_ref());
            }
            5..9 => self.advance_fill(),
            9 => self.renew(&key),
            10 => {
                if let Some((object, _)) = self.look(&key) {
                    assert!(self.region.remove(&object) && !object.is_current());
                    self.model
                        .objects
                        .entry(key)
                        .or_default()
                        .retain(|e| e.id != object.id());
                }
            }
            11 => {
                self.region.remove_key(&key);
                self.model.objects.remove(&key);
                self.model.pass.remove(&key);
                assert!(self.look(&key).is_none());
            }
            12 => {
                self.region.sweep(self.now, 200);
            }
            13 => {
                self.region
                    .set_marker(&key, 0, self.now + 500, self.now + 500, self.now);
                self.model.pass.insert(key, self.now + 500);
            }
            14 => match self
                .region
                .claim_key(&key, 1, self.now, self.now + 100, false)
            {
                Ok(Attempt::Won(claim)) => self.claims.push(claim),
                // Busy: there is no room for a marker, as everything else is pinned.
                other => assert!(
                    matches!(other, Ok(Attempt::Held { .. }) | Err(Busy)),
                    "{other:?}"
                ),
            },
            _ => {
                if let Some(kept) = self.look(&key) {
                    self.kept.push(kept);
                }
            }
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.kept.len() > 15 {
            let i = self.random.below(15) as usize;
            self.kept.swap_remove(i);
        }
        if self.fills.len() > 12 {
            self.fills.remove(0);
        }
        if self.claims.len() > 5 {
            self.claims.remove(0);
        }
        for (object, expected) in &self.kept {
            assert!(
                object.meta() == expected.meta && bytes(object) == expected.body,
                "a kept object changed"
            );
        }
    }
}

fn run(seed: u64, len: usize, steps: usize) {
    let region = Region::anonymous(len, &RegionOptions::default()).expect("region");
    region.enter(None).expect("enter");
    let mut world = World {
        region,
        model: Model::default(),
        random: Random(seed),
        now: 1,
        kept: Vec::new(),
        fills: Vec::new(),
        claims: Vec::new(),
    };
    for step in 0..steps {
        world.step();
        let summary = world.region.validate();
        assert!(summary.is_ok(), "seed {seed}, step {step}: {summary:?}");
    }
    world.kept.clear();
    world.fills.clear();
    world.claims.clear();
    (0..3).for_each(|_| _ = world.region.sweep(u64::MAX, u32::MAX));
    let s = world.region.validate().expect("valid");
    assert_eq!(
        (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
        (0, 0, 0, 0, 0, 1),
        "seed {seed}: {s:?}"
    );
    assert_eq!(world.region.stats().payload, 0);
}

#[test]
fn a_roomy_region_is_like_the_model() {
    (1..=4).for_each(|seed| run(seed, 8 << 20, 1500));
}

#[test]
fn a_tight_region_is_like_the_model() {
    (11..=20).for_each(|seed| run(seed, 400_000, 1500));
}
