//! The shared-memory region that holds objects: opaque meta bytes, body bytes and ticks.
//!
//! The store knows nothing of HTTP and has no clock: `now` is an argument, in Unix milliseconds. A [`Region`] is a
//! handle of one process to one piece of memory that several processes may share.

mod bells;
mod claim;
mod error;
mod fill;
mod object;
mod region;
mod stats;

pub use bells::{BellId, Bells};
pub use claim::{Attempt, Claim};
pub use error::{Busy, NoSpace, Refused, StoreError, Superseded, SupersededReason};
pub use fill::{Fill, NewObject, Publish};
pub use object::{BodyState, Cursor, Object, Phase, WORDS};
pub use region::{Lookup, MarkerView, Region, RegionOptions};
pub use stats::{Stats, Summary};

/// Unix time in milliseconds, or a span of milliseconds.
pub type Millis = u64;
