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

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Relaxed) % STRIPES);
}

impl Counters {
    #[inline]
    pub(crate) fn add(&self, count: Count, n: u64) {
        let stripe = STRIPE.try_with(Cell::get).unwrap_or(0);
        if let Some(Stripe(counts)) = self.0.get(stripe) {
            counts[count as usize].fetch_add(n, Relaxed);
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
