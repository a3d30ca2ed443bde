//! Explicit purges, and the invalidation that a write causes.

pub(crate) mod api;
pub(crate) mod by_method;
pub(crate) mod invalidation;
pub(crate) mod mode;
pub(crate) mod pattern;
pub(crate) mod request;
pub(crate) mod tags;

use std::fmt;
use std::sync::Arc;

use super::stats::{self, Counter, PurgedBy};
use crate::store::{Busy, Effect, Millis, Purge, Region, Targets};

/// What to purge: everything that matches any of these, with all variants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Everything stored.
    pub all: bool,
    /// Whole keys.
    pub keys: Vec<Box<[u8]>>,
    /// Keys by their text, in the form that [`key`](super::key) describes, whatever their parts are.
    pub texts: Vec<Box<[u8]>>,
    /// Prefixes of the texts of keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// Prefixes of the texts of all keys of some hosts.
    pub hosts: Vec<Box<[u8]>>,
    /// Tags of responses (`swr_cache_tag_headers`).
    pub tags: Vec<Box<[u8]>>,
}

impl Selection {
    /// The kinds of purge that it consists of, for the statistics.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = PurgedBy> + use<> {
        let kinds = [
            (PurgedBy::All, self.all),
            (PurgedBy::Url, !self.keys.is_empty()),
            (PurgedBy::Key, !self.texts.is_empty()),
            (PurgedBy::Prefix, !self.prefixes.is_empty()),
            (PurgedBy::Tag, !self.tags.is_empty()),
            (PurgedBy::Host, !self.hosts.is_empty()),
        ];
        kinds.into_iter().filter_map(|(by, is)| is.then_some(by))
    }

    /// The corresponding targets in the store.
    pub(crate) fn targets(self) -> Targets {
        Targets {
            all: self.all,
            keys: self.keys,
            stems: self.texts,
            prefixes: [self.prefixes, self.hosts].concat(),
            labels: self.tags.iter().map(|t| tags::tag(t)).collect(),
        }
    }
}

impl fmt::Display for Selection {
    /// Writes a short description for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all {
            return f.write_str("everything");
        }
        let lists = [
            &self.keys,
            &self.texts,
            &self.prefixes,
            &self.hosts,
            &self.tags,
        ];
        match lists.into_iter().flatten().next() {
            Some(first) => write!(f, "\"{}\"", super::key::display(first))?,
            None => return f.write_str("nothing"),
        }
        match lists.into_iter().map(Vec::len).sum::<usize>() - 1 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A purge or invalidation in progress, done in steps. If the store is busy, nothing is lost.
#[derive(Debug)]
pub struct Removal {
    region: Arc<Region>,
    /// Whole keys that remain to be removed.
    keys: Vec<Box<[u8]>>,
    rest: Rest,
    removed: u64,
    /// How many of the responses found have been added to the statistics.
    counted: u64,
}

/// What remains to be purged apart from whole keys.
#[derive(Debug)]
enum Rest {
    ToBegin(Targets, Effect, Millis),
    Begun(Purge),
}

impl Removal {
    pub(super) fn new(
        region: &Arc<Region>,
        targets: Targets,
        effect: Effect,
        now: Millis,
    ) -> Removal {
        Removal {
            region: Arc::clone(region),
            keys: Vec::new(),
            rest: Rest::ToBegin(targets, effect, now),
            removed: 0,
            counted: 0,
        }
    }

    /// Removes a key now, or with the next step if the store is busy.
    pub(super) fn drop_key(&mut self, key: &[u8]) {
        match self.region.try_remove_key(key) {
            Ok(gone) => self.removed += u64::from(gone),
            Err(Busy) => self.keys.push(key.into()),
        }
        self.count();
    }

    /// Continues over up to `places` places of the store (see [`Region::places`]); returns true when it is
    /// done. After an error, call it again some milliseconds later.
    pub fn step(&mut self, places: u32) -> Result<bool, Busy> {
        let stepped = self.go_on(places);
        self.count();
        stepped
    }

    fn count(&mut self) {
        let more = self.removed().saturating_sub(self.counted);
        if more > 0 {
            stats::add(&self.region, Counter::Purged, more);
            self.counted += more;
        }
    }

    /// Whether the store was found damaged, so that no step will ever get further.
    pub fn is_in_vain(&self) -> bool {
        self.region.is_damaged()
    }

    fn go_on(&mut self, places: u32) -> Result<bool, Busy> {
        while let Some(key) = self.keys.last() {
            self.removed += u64::from(self.region.try_remove_key(key)?);
            self.keys.pop();
        }
        loop {
            match &mut self.rest {
                Rest::Begun(purge) => return purge.step(places),
                Rest::ToBegin(targets, ..) if *targets == Targets::default() => return Ok(true),
                Rest::ToBegin(targets, effect, now) => {
                    self.rest = Rest::Begun(self.region.purge(targets.clone(), *effect, *now)?);
                }
            }
        }
    }

    /// The number of responses found so far.
    pub fn removed(&self) -> u64 {
        match &self.rest {
            Rest::Begun(purge) => self.removed + purge.purged(),
            Rest::ToBegin(..) => self.removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cache, Invalidate, Invalidation, Policy};
    use super::*;
    use crate::store::{ATTRIBUTES, Fill, NewObject, Publish, RegionOptions};

    fn put(region: &Region, key: &[u8], labels: &[u64]) {
        let new = NewObject {
            meta: b"",
            labels,
            total: Some(0),
            attributes: [0; ATTRIBUTES],
            dead_at: 9_999,
            publish: Publish::AtCommit,
            replaces: None,
            max_variants: 1,
        };
        let fill = Fill::begin(region.unclaimed(key), new).expect("room");
        fill.commit(1).expect("stored");
    }

    #[test]
    fn what_a_busy_store_could_not_drop_goes_later() {
        // RFC 9111 §4.4 and RFC 9875 §3 say MUST: a lock that is held for long may not cause an invalidation
        // to be lost.
        let region =
            Arc::new(Region::anonymous(1 << 20, &RegionOptions::default()).expect("memory"));
        region.enter(None).expect("a slot");
        let group = tags::group(b"http://h", "g").expect("a label");
        put(&region, b"httph/a\0", &[]);
        put(&region, b"httph/b\0", &[]);
        put(&region, b"httph/c\0", &[group]);
        let cache = Cache::new(Arc::clone(&region));
        // The region is busy for a process that has not entered it.
        region.leave();
        let fields = [("Location", "/b"), ("Cache-Group-Invalidation", "\"g\"")];
        let mut removal = cache.invalidate(
            &Invalidation {
                method: b"POST",
                status: 201,
                key: b"httph/a\0",
                recipes: &[],
                origin: b"http://h",
                target: b"/a",
                asked: &Vec::<(&str, &str)>::new(),
                fields: &fields,
            },
            &Policy::default(),
            5,
        );
        assert_eq!((removal.step(99), removal.removed()), (Err(Busy), 0));
        region.enter(None).expect("a slot");
        assert_eq!(region.stats().objects, 3);
        while !removal.step(9_999).expect("not busy") {}
        region.sweep(6, region.places());
        assert_eq!((removal.removed(), region.stats().objects), (3, 0));
        assert_eq!(removal.step(1), Ok(true));
    }

    #[test]
    fn a_write_does_as_the_location_says() {
        // RFC 9111 §4.4; RFC 9875 §3
        let group = tags::group(b"http://h", "g").expect("a label");
        let fields = [("Location", "/b"), ("Cache-Group-Invalidation", "\"g\"")];
        for (invalidate, status, found, left) in [
            (Invalidate::On, 201, 3, 1),
            (Invalidate::Target, 201, 2, 2),
            (Invalidate::Soft, 201, 3, 4),
            (Invalidate::Off, 201, 1, 3),
            // An error response invalidates only the groups that it names.
            (Invalidate::On, 500, 1, 3),
            (Invalidate::Soft, 500, 1, 4),
        ] {
            let region =
                Arc::new(Region::anonymous(1 << 20, &RegionOptions::default()).expect("memory"));
            region.enter(None).expect("a slot");
            for (key, labels) in [
                ("a", vec![]),
                ("b", vec![]),
                ("c", vec![group]),
                ("d", vec![]),
            ] {
                put(&region, format!("httph/{key}\0").as_bytes(), &labels);
            }
            let policy = Policy {
                invalidate,
                ..Policy::default()
            };
            let invalidation = Invalidation {
                method: b"POST",
                status,
                key: b"httph/a\0",
                recipes: &[],
                origin: b"http://h",
                target: b"/a",
                asked: &Vec::<(&str, &str)>::new(),
                fields: &fields,
            };
            let mut removal = Cache::new(Arc::clone(&region)).invalidate(&invalidation, &policy, 5);
            while !removal.step(9_999).expect("not busy") {}
            region.sweep(6, region.places());
            let objects = region.stats().objects;
            assert_eq!(
                (removal.removed(), objects),
                (found, left),
                "{invalidate:?} {status}"
            );
        }
    }
}
