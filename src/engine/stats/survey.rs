//! Walks a zone in steps, for values that are not counted: what is stored, what fails, what is requested most often.

use std::collections::HashMap;
use std::sync::Arc;

use super::counter::PLACES;
use super::read::{Gauges, seconds};
use super::tree::{Entries, Failing, HitCount, Recovery, Top, Used, Zone};
use crate::engine::backoff::Fault;
use crate::engine::encode::form::is_form;
use crate::engine::key;
use crate::engine::purge::tags;
use crate::engine::record::attributes;
use crate::engine::record::{LineUse, LinesFor, RecordHead};
use crate::http::age;
use crate::store::{Busy, Millis, Region, Surveyed};

/// The maximum number of entries in each list.
const LISTED: usize = 20;

/// A walk in progress. It changes neither what is stored nor any counter.
#[derive(Debug)]
pub struct Survey {
    region: Arc<Region>,
    now: Millis,
    at: u32,
    hot: HashMap<u64, u64>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    entries: Entries,
    in_flight: u64,
    backing_off: u64,
    bodies: u64,
    heads: u64,
    encodings: u64,
    failing: Vec<Failing>,
    /// How many fail, those that are not listed included.
    failures: u64,
    keys: HashMap<String, u64>,
    tags: HashMap<String, u64>,
}

impl Survey {
    /// Begins a walk.
    pub fn new(region: &Arc<Region>, now: Millis) -> Survey {
        Survey {
            hot: region.hot(),
            region: Arc::clone(region),
            now,
            at: 0,
            totals: Totals::default(),
        }
    }

    /// Continues with up to `places` places of the store (see [`Region::places`]); returns true when the walk is done.
    /// An error loses nothing: call it again.
    pub fn step(&mut self, places: u32) -> Result<bool, Busy> {
        let (totals, hot, now) = (&mut self.totals, &self.hot, self.now);
        let next = self.region.survey((self.at, places), now, &mut |shown| {
            totals.note(shown, hot, now)
        })?;
        self.at = next.unwrap_or(u32::MAX);
        Ok(next.is_none())
    }

    /// The tree of the zone, as far as the walk has come.
    pub fn zone(self) -> Zone {
        let stats = self.region.stats();
        let totals = self.totals;
        let fixed = stats.size.saturating_sub(stats.capacity);
        let index = fixed
            + stats
                .used
                .saturating_sub(totals.bodies + totals.heads + totals.encodings);
        let free = stats.capacity.saturating_sub(stats.used);
        let gauges = Gauges {
            size: stats.size,
            used: Used {
                bodies: totals.bodies,
                heads: totals.heads,
                encodings: totals.encodings,
                index,
                free,
            },
            entries: Entries {
                filling: totals.entries.filling + stats.limbo,
                ..totals.entries
            },
            restored: stats.restored,
            in_flight: totals.in_flight,
            backing_off: totals.backing_off,
            evicted_space: stats.evictions,
            evicted_variants: stats.variants,
            recovery: Recovery {
                dead_workers: stats.reaped,
                repairs: stats.repairs,
                damaged: stats.damaged,
            },
            failing: longest(totals.failing),
            failures: totals.failures,
            top: Top {
                keys: most(totals.keys),
                tags: most(totals.tags),
            },
        };
        of(&self.region, gauges)
    }
}

fn of(region: &Region, gauges: Gauges) -> Zone {
    let tallies = region.tallies();
    super::zone(tallies.first_chunk().unwrap_or(&[0; PLACES]), gauges)
}

/// The tree of the zone without the values that a walk would find.
pub fn counted(region: &Region) -> Zone {
    of(region, Gauges::default())
}

impl Totals {
    fn note(&mut self, shown: &Surveyed<'_>, hot: &HashMap<u64, u64>, now: Millis) {
        self.heads += shown.head;
        if !shown.is_object {
            self.entries.markers += 1;
            return;
        }
        if is_form(shown.meta) {
            self.encodings += shown.body;
            return;
        }
        self.bodies += shown.body;
        if !shown.is_current {
            return;
        }
        self.in_flight += u64::from(shown.is_claimed);
        let Some(head) = RecordHead::decode(shown.meta) else {
            return;
        };
        let fresh_until = match shown.aged {
            0 => head.fresh_until,
            aged => head.fresh_until.min(aged),
        };
        match (shown.is_growing, now < fresh_until) {
            (true, _) => self.entries.filling += 1,
            (false, true) => self.entries.fresh += 1,
            (false, false) => self.entries.stale += 1,
        }
        self.note_failure(shown, &head, now);
        if let Some(hits) = hot.get(&shown.hash) {
            self.note_hits(shown, &head, *hits);
        }
    }

    /// An entry fails until its refresh succeeds, or until the origin's windows for it are over: nobody refreshes it then.
    fn note_failure(&mut self, shown: &Surveyed<'_>, head: &RecordHead, now: Millis) {
        let state = shown.attributes[attributes::BACKOFF];
        let Some(fault) = Fault::decode(state, shown.attributes[attributes::FAULT]) else {
            return;
        };
        let is_backing_off = now < fault.next_try;
        self.backing_off += u64::from(is_backing_off);
        let window = head.swr.max(head.sie);
        let end = window.map(|s| head.fresh_until.saturating_add(u64::from(s) * 1000));
        if !is_backing_off && end.is_some_and(|end| end <= now) {
            return;
        }
        self.failures += 1;
        self.failing.push(Failing {
            key: key::display(shown.key),
            cause: fault.cause.to_string(),
            since: seconds(fault.since),
            next_try: seconds(fault.next_try),
        });
        if self.failing.len() > 2 * LISTED {
            self.failing = longest(std::mem::take(&mut self.failing));
        }
    }

    /// Notes the hits of a key, which the region counts for all its variants together: its tags get them with the first variant.
    fn note_hits(&mut self, shown: &Surveyed<'_>, head: &RecordHead, hits: u64) {
        if self.keys.insert(key::display(shown.key), hits).is_some() {
            return;
        }
        let lines = LinesFor {
            lines: head.lines(shown.meta),
            uses: LineUse::TAGS,
        };
        tags::each_name(&lines, &mut |tag| {
            *self
                .tags
                .entry(String::from_utf8_lossy(tag).into_owned())
                .or_default() += hits;
        });
    }
}

fn longest(mut failing: Vec<Failing>) -> Vec<Failing> {
    failing.sort_by(|a, b| a.since.total_cmp(&b.since).then_with(|| a.key.cmp(&b.key)));
    failing.truncate(LISTED);
    failing
}

fn most(hits: HashMap<String, u64>) -> Vec<HitCount> {
    let mut counts: Vec<_> = hits
        .into_iter()
        .map(|(name, hits)| HitCount { name, hits })
        .collect();
    counts.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.name.cmp(&b.name)));
    counts.truncate(LISTED);
    counts
}

/// A stored response in the list of all.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Listed {
    /// The key in readable form.
    pub key: String,
    /// The key.
    #[serde(skip)]
    pub raw_key: Vec<u8>,
    /// The record, which distinguishes it from other variants.
    #[serde(skip)]
    pub meta: Vec<u8>,
    /// The status code.
    pub status: u16,
    /// The length of the body in bytes.
    pub bytes: u64,
    /// The age in seconds.
    pub age: f64,
    /// The remaining freshness lifetime in seconds, negative when stale.
    pub ttl: f64,
}

/// Lists all stored responses.
pub(crate) fn list(region: &Region, now: Millis) -> Result<Vec<Listed>, Busy> {
    let mut listed = Vec::new();
    let all = (0, region.places());
    region.survey(all, now, &mut |shown| {
        let Some(head) = RecordHead::decode(shown.meta).filter(|_| shown.is_object) else {
            return;
        };
        listed.push(Listed {
            key: key::display(shown.key),
            raw_key: shown.key.to_vec(),
            meta: shown.meta.to_vec(),
            status: head.status,
            bytes: shown.body,
            age: seconds(age::current(head.initial_age, head.stored_at, now)),
            ttl: (head.fresh_until as f64 - now as f64) / 1_000.0,
        });
    })?;
    Ok(listed)
}
