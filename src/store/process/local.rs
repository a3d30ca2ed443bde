//! The private state of a process in a region: its token, its waker, and how often it has pinned each entry.
//!
//! In the region, a process has one pin bit per entry; the number of its handles is counted here. All of this is
//! private memory. A forked child inherits a copy, but not the page that makes it current: the child starts with
//! nothing, and dropping an inherited handle has no effect.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use crate::store::memory::platform::{Mutex, MutexGuard};
use crate::store::process::table::{Token, slot_of};
use crate::store::process::wakers::{WakerId, Wakers};

const STRIPES: usize = 64;

/// Hashes a block number; block numbers are not chosen by clients.
#[derive(Default)]
pub(crate) struct BlockHasher(u64);

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u32(u32::from(*b));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// The number of handles by block.
pub(crate) type Pins = HashMap<u32, u32, BuildHasherDefault<BlockHasher>>;

/// The private state of a process in a region.
pub(crate) struct Local {
    pub(crate) token: Token,
    pub(crate) wakers: Option<(Arc<Wakers>, WakerId)>,
    pins: [Mutex<Pins>; STRIPES],
    /// Unlinked entries that could not be unpinned yet because the arena was busy.
    pub(crate) deferred: Mutex<Vec<u32>>,
    /// The process that most recently held a lock for too long, and when.
    pub(crate) stopped: Mutex<Option<(Token, Instant)>>,
}

impl Local {
    pub(crate) fn new(token: Token, wakers: Option<(Arc<Wakers>, WakerId)>) -> Local {
        Local {
            token,
            wakers,
            pins: std::array::from_fn(|_| Mutex::new(Pins::default())),
            deferred: Mutex::new(Vec::new()),
            stopped: Mutex::new(None),
        }
    }

    pub(crate) fn slot(&self) -> usize {
        slot_of(self.token)
    }

    /// The counts that include those of a block.
    #[inline]
    pub(crate) fn pins(&self, block: u32) -> MutexGuard<'_, Pins> {
        self.pins[(block.wrapping_mul(0x9e37_79b9) >> 26) as usize % STRIPES].lock()
    }

    /// The blocks of all entries that this process has pinned.
    pub(crate) fn pinned(&self) -> Vec<u32> {
        let of = |pins: &Mutex<Pins>| pins.lock().keys().copied().collect::<Vec<_>>();
        self.pins.iter().flat_map(of).collect()
    }

    /// Whether this process has no pin.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.deferred.lock().is_empty() && self.pins.iter().all(|p| p.lock().is_empty())
    }
}
