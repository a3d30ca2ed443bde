//! The shared-memory region that holds objects: opaque meta bytes, body bytes and ticks.
//!
//! The store knows nothing of HTTP and has no clock: `now` is an argument, in Unix milliseconds. A [`Region`] is a
//! handle of one process to one piece of memory that several processes may share.

mod arena;
mod bells;
mod claim;
mod entry;
mod error;
mod evict;
mod fill;
mod hash;
mod inner;
mod keeper;
mod layout;
mod lease;
mod lock;
mod member;
mod memory;
mod object;
mod pin;
mod process;
mod queue;
mod reap;
mod region;
mod repair;
mod stats;
mod validate;

pub use bells::{BellId, Bells};
pub use claim::{Attempt, Claim};
pub use error::{Busy, NoSpace, Refused, StoreError, Superseded, SupersededReason};
pub use fill::{Fill, NewObject, Publish};
pub use object::{BodyState, Cursor, Object, Phase, WORDS};
pub use region::{Lookup, MarkerView, Region, RegionOptions};
pub use stats::{Stats, Summary};

/// Unix time in milliseconds, or a span of milliseconds.
pub type Millis = u64;
