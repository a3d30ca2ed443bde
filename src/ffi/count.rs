//! Counters of this process, spread over cache lines so that threads don't take them from each other.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use crate::engine::Status;

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Hit,
    Miss,
    Bypass,
    Expired,
    Stale,
    Updating,
    Revalidated,
    Wait,
    Fetch,
    Refresh,
    Failure,
    Queued,
    QueueRefused,
    Purged,
}

const COUNTS: usize = Count::Purged as usize + 1;
const STRIPES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; COUNTS]);

#[derive(Default)]
pub(crate) struct Counters([Stripe; STRIPES]);

/// The stripe that is left to all threads for which there is none of their own.
const COMMON: usize = STRIPES - 1;
const UNKNOWN: usize = usize::MAX;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(UNKNOWN) };
}

#[inline]
fn stripe() -> usize {
    match STRIPE.try_with(Cell::get) {
        Ok(UNKNOWN) => first_use(),
        Ok(stripe) => stripe,
        // The thread is ending.
        Err(_) => COMMON,
    }
}

#[cold]
fn first_use() -> usize {
    let stripe = THREADS.fetch_add(1, Relaxed).min(COMMON);
    let _ = STRIPE.try_with(|own| own.set(stripe));
    stripe
}

impl Counters {
    #[inline]
    pub(crate) fn add(&self, count: Count, n: u64) {
        let stripe = stripe();
        let Some(Stripe(counts)) = self.0.get(stripe) else {
            return;
        };
        let count = &counts[count as usize];
        if stripe == COMMON {
            count.fetch_add(n, Relaxed);
        } else {
            // No other thread writes here: it need not be one step.
            count.store(count.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    #[inline]
    pub(crate) fn status(&self, status: Status) {
        let count = match status {
            Status::Hit => Count::Hit,
            Status::Miss => Count::Miss,
            Status::Bypass => Count::Bypass,
            Status::Expired => Count::Expired,
            Status::Stale => Count::Stale,
            Status::Updating => Count::Updating,
            Status::Revalidated => Count::Revalidated,
        };
        self.add(count, 1);
    }

    pub(crate) fn sum(&self, count: Count) -> u64 {
        let of = |Stripe(counts): &Stripe| counts[count as usize].load(Relaxed);
        self.0.iter().map(of).fold(0, u64::wrapping_add)
    }
}
