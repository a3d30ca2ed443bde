//! The shared-memory region that holds objects: opaque meta bytes, body bytes and times.
//!
//! The store has no notion of HTTP and no clock: `now` is an argument, Unix time in milliseconds. A [`Region`] is the
//! handle through which a process uses a range of memory that several processes may share. Any of them may die at any
//! instruction, and the others continue.
//!
//! Its layers, from the top down; each uses only those below it, and the files form no cycle:
//!
//! | layer | content |
//! |---|---|
//! | `region` | the handle of a process: lookups, claims, removal, sweep |
//! | `handle` | what a process holds: pinned objects, claims, fills, purges |
//! | `upkeep` | repair, reclaiming what dead processes left, files, the consistency check |
//! | `index` | from an offset to a checked entry; pins, leases, queues, eviction, the arena guard |
//! | `process` | the process table, locks that survive their holders, wakers, time budgets |
//! | `memory` | the layout, access by checked offset, the allocator |
//!
//! Handles are above upkeep, because an operation that needs space may first have to do a turn of a repair. Dropping a
//! handle never does.
//!
//! `memory/layout.rs` says which lock guards what, and in which order locks are taken.

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
#[cfg(feature = "counting-by-turns")]
pub use index::counting::{is_counting, set_counting};
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
pub use upkeep::file::Predecessor;
pub use upkeep::options::{OnExec, RegionOptions, Share};
pub use upkeep::validate::Summary;
