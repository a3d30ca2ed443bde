//! Visits everything stored without changing anything.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::error::Busy;
use crate::store::index::core::Core;
use crate::store::memory::block::{ATTRIBUTES, EntryAt, GROWING};
use crate::store::memory::layout::Millis;
use crate::store::memory::platform::AtomicU32;
use crate::store::process::local::Local;

/// An object or marker, as a survey shows it; valid during the call that receives it.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// Whether it is an object; otherwise it is a marker.
    pub is_object: bool,
    /// The hash that [`Region::hot`](crate::store::Region::hot) reports for its key.
    pub hash: u64,
    /// The key.
    pub key: &'a [u8],
    /// The meta bytes.
    pub meta: &'a [u8],
    /// The attributes.
    pub attributes: [u64; ATTRIBUTES],
    /// The time as of which a purge aged it; 0 if none did.
    pub aged: Millis,
    /// The bytes of its body so far.
    pub body: u64,
    /// The bytes of its key, meta and labels, and of the store's overhead for it.
    pub head: u64,
    /// Whether lookups find it: no purge has removed it, and it has not expired for good. Other entries are freed before long.
    pub is_current: bool,
    /// Whether its body is still being filled.
    pub is_growing: bool,
    /// Whether a claim on it is held.
    pub is_claimed: bool,
}

/// Shows the linked entries in a range of buckets: so many, starting at `from`. Returns the bucket to continue from,
/// `None` at the end.
pub(crate) fn survey(
    core: &Core,
    local: &Local,
    (from, places): (u32, u32),
    now: Millis,
    each: &mut dyn FnMut(&Surveyed<'_>),
) -> Result<Option<u32>, Busy> {
    let end = core.geometry.buckets as u32;
    let stop = from.saturating_add(places).min(end);
    for bucket in from..stop {
        let empty = |head: &AtomicU32| head.load(Relaxed) == 0;
        if core.bucket(bucket as usize).is_none_or(empty) {
            continue;
        }
        let _shard = core.lock_shard(local, bucket.into()).ok_or(Busy)?;
        core.walk::<()>(bucket as usize, |at| {
            each(&show(core, &at, now));
            ControlFlow::Continue(())
        });
    }
    Ok((stop < end).then_some(stop))
}

fn show<'a>(core: &Core, at: &EntryAt<'a>, now: Millis) -> Surveyed<'a> {
    let body = match at.is_object() {
        true => core.body(at.body()).map(|(body, ..)| body),
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
        is_current: at.is_current() && (!at.is_object() || at.e.dead_at.load(Relaxed) > now),
        is_growing: body.is_some_and(|body| core.phase(body) == GROWING),
        is_claimed: core.is_leased(at.e, now),
    }
}
