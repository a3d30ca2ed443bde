//! Counting, and looking at all that is stored without touching it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::error::Busy;
use crate::store::index::core::Core;
use crate::store::memory::block::{EntryAt, GROWING};
use crate::store::memory::lane::{Lane, TALLIES};
use crate::store::memory::layout::Millis;
use crate::store::process::local::Member;

/// An object or marker, as a survey shows it. Good for the call that it is shown in.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// An object; else a marker.
    pub is_object: bool,
    /// The hash by which [`Region::hot`](crate::store::Region::hot) knows its key.
    pub hash: u64,
    /// Its key.
    pub key: &'a [u8],
    /// Its meta.
    pub meta: &'a [u8],
    /// Its attributes.
    pub attributes: [u64; crate::store::memory::block::ATTRIBUTES],
    /// When a purge aged it; 0 is never.
    pub aged: Millis,
    /// Bytes of its body so far.
    pub body: u64,
    /// Bytes of its key, meta and labels, and of what the store needs to keep them.
    pub head: u64,
    /// Its body is still being filled.
    pub is_growing: bool,
    /// Somebody has a claim on it.
    pub is_claimed: bool,
}

impl Core {
    fn lane(&self, number: usize) -> Option<&Lane> {
        let geometry = &self.geometry;
        let at = geometry.lanes_at + (number & (geometry.lanes - 1)) * size_of::<Lane>();
        self.memory.at(at)
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        (0..self.geometry.lanes).filter_map(|number| self.lane(number))
    }

    /// Adds to a word of this process.
    #[inline]
    pub(crate) fn tally(&self, member: &Member, place: usize, n: u64) {
        if let Some(lane) = self.lane(member.slot()) {
            lane.add(place, n);
        }
    }

    /// Counts a hit of a key among those that are asked for most.
    #[inline]
    pub(crate) fn count_hot(&self, member: &Member, hash: u64) {
        if let Some(lane) = self.lane(member.slot()) {
            lane.hit(hash);
        }
    }

    /// The words of all processes, added up.
    pub(crate) fn tallies(&self) -> [u64; TALLIES] {
        let mut sum = [0; TALLIES];
        self.lanes().for_each(|lane| lane.add_to(&mut sum));
        sum
    }

    /// What is asked for most, by hash.
    pub(crate) fn hot(&self) -> HashMap<u64, u64> {
        let mut hot = HashMap::new();
        for lane in self.lanes() {
            lane.each_hot(&mut |hash, hits| *hot.entry(hash).or_default() += hits);
        }
        hot
    }

    /// Shows what is linked in so many buckets from `from` on; where to go on, or nothing at the end.
    pub(crate) fn survey(
        &self,
        member: &Member,
        (from, places): (u32, u32),
        now: Millis,
        each: &mut dyn FnMut(&Surveyed<'_>),
    ) -> Result<Option<u32>, Busy> {
        let end = self.geometry.buckets as u32;
        let stop = from.saturating_add(places).min(end);
        for bucket in from..stop {
            let empty = |head: &crate::store::memory::platform::AtomicU32| head.load(Relaxed) == 0;
            if self.bucket(bucket as usize).is_none_or(empty) {
                continue;
            }
            let _shard = self.lock_shard(member, bucket.into()).ok_or(Busy)?;
            self.walk::<()>(bucket as usize, |at| {
                each(&self.show(&at, now));
                ControlFlow::Continue(())
            });
        }
        Ok((stop < end).then_some(stop))
    }

    fn show<'a>(&self, at: &EntryAt<'a>, now: Millis) -> Surveyed<'a> {
        let body = match at.is_object() {
            true => self.body(at.body()).map(|(body, ..)| body),
            false => None,
        };
        Surveyed {
            is_object: at.is_object(),
            hash: at.e.hash.load(Relaxed),
            key: at.key(),
            meta: at.meta(),
            attributes: std::array::from_fn(|i| at.e.attributes[i].load(Relaxed)),
            aged: at.e.aged.load(Relaxed),
            body: body.map_or(0, |body| body.len.load(Relaxed)),
            head: at.head_len() + size_of_val(at.e) as u64,
            is_growing: body.is_some_and(|body| self.phase(body) == GROWING),
            is_claimed: self.is_leased(at.e, now),
        }
    }
}
