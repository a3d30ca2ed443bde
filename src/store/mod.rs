//! The shared-memory region that holds objects: opaque meta bytes, body bytes and ticks.
//!
//! The store knows nothing of HTTP and has no clock: `now` is an argument, in Unix milliseconds. A [`Region`] is a
//! handle of one process to one piece of memory that several processes may share; any of them may die at any
//! instruction, and the others go on.
//!
//! Its floors, from the top down; each uses only what stands below it, and no two files use each other in a circle:
//!
//! | floor | what it is |
//! |---|---|
//! | `region` | the handle of a process: lookups, claims, removal, sweep |
//! | `handle` | what a process holds: a pinned object, a claim, a growing object, a purge |
//! | `upkeep` | repair, cleaning up after dead processes, files, the consistency check |
//! | `index` | from an offset to a checked entry; pins, leases, queues, eviction, the arena guard |
//! | `process` | the table of processes, locks that can be taken over, wakers, time budgets |
//! | `memory` | where things lie, access by checked offset, the allocator |
//!
//! Handles stand above upkeep, as what needs room may have to do a turn of a repair first. Dropping a handle never does.
//!
//! What guards what, and in which order locks are taken, is at the head of `memory/layout.rs`.

mod error;
mod handle;
mod index;
mod memory;
mod process;
mod region;
mod upkeep;

pub use error::{Busy, NoSpace, Refused, StoreError, SupersededReason};
pub use handle::claim::{Attempt, Claim, NewHead};
pub use handle::fill::{Fill, NewObject, Publish, Superseded};
pub use handle::marker::MarkerView;
pub use handle::object::{BodyState, Completeness, Cursor, Object};
pub use handle::purge::{Effect, Purge, Targets};
pub use index::stats::Stats;
pub use index::survey::Surveyed;
pub use memory::block::{ATTRIBUTES, MARKER_ATTRIBUTES, MAX_KEY, MAX_LABELS};
#[cfg(feature = "crash-points")]
pub use memory::crash;
pub(crate) use memory::key;
pub use memory::lane::TALLIES;
pub use memory::layout::Millis;
#[cfg(test)]
pub(crate) use memory::layout::VERSION;
pub use process::wakers::{WakerId, Wakers};
pub use region::{Lookup, Region};
pub use upkeep::file::Found;
pub use upkeep::options::{OnExec, RegionOptions, Share};
pub use upkeep::validate::Summary;
