//! The shared-memory region that holds objects: opaque meta bytes, body bytes and ticks.
//!
//! The store knows nothing of HTTP and has no clock: `now` is an argument, in Unix milliseconds. A [`Region`] is a
//! handle of one process to one piece of memory that several processes may share; any of them may die at any
//! instruction, and the others go on.
//!
//! | file | what it is |
//! |---|---|
//! | `region` | the handle: lookups, claims, removal, sweep |
//! | `object`, `claim`, `fill` | what a process holds: a pinned object, a lease, a growing object |
//! | `layout`, `memory` | where things lie, and access by checked offset |
//! | `entry` | what lies in the arena's blocks, and how it lives |
//! | `inner` | what the handles of a process share; the way from an offset to a checked entry |
//! | `process`, `member` | who is in the region; what a process knows of its own place in it |
//! | `lock`, `lease`, `pin`, `bells` | locks that can be taken over, permission to fetch, keeping, waking |
//! | `keeper` | whoever holds the arena lock: makes, links, unlinks, frees |
//! | `arena`, `queue`, `evict` | the allocator; queues of entries; who goes when there is no room |
//! | `purge` | making unfindable, or aging, what bears a label or begins with a prefix |
//! | `repair`, `reap` | after a death under the arena lock; after any death |
//! | `mend`, `stint`, `marks` | who does these, when, and how much at a time; what a repair notes |
//! | `file`, `recover`, `sum` | regions in files; what a later start takes over; how it knows that it is right |
//! | `validate`, `stats` | the walker; the counts |
//! | `atomic`, `crash` | the atomics of a region; for tests: ends the process at a chosen write, chooses whose access is next |
//!
//! What guards what, and in which order locks are taken, is at the head of `layout`.

mod arena;
mod atomic;
mod bells;
mod claim;
#[cfg(feature = "crash-points")]
pub mod crash;
mod entry;
mod error;
mod evict;
mod file;
mod fill;
mod hash;
mod inner;
mod keeper;
mod layout;
mod lease;
mod lock;
mod marks;
mod member;
mod memory;
mod mend;
mod object;
mod pin;
mod process;
mod purge;
mod queue;
mod reap;
mod recover;
mod region;
mod repair;
mod stats;
mod stint;
mod sum;
mod validate;

pub use bells::{BellId, Bells};
pub use claim::{Attempt, Claim, NewHead};
pub use entry::{MAX_KEY, MAX_LABELS};
pub use error::{Busy, NoSpace, Refused, StoreError, Superseded, SupersededReason};
pub use file::{Found, OnExec, Share};
pub use fill::{Fill, NewObject, Publish};
pub use object::{BodyState, Cursor, Object, Phase, WORDS};
pub use purge::{Effect, Purge, Targets};
pub use region::{Lookup, MarkerView, Region, RegionOptions};
pub use stats::{Stats, Summary};

/// Unix time in milliseconds, or a span of milliseconds.
pub type Millis = u64;
