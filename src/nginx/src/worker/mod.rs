//! What a worker process holds, and what it does between its events.

pub(crate) mod background_job;
pub(crate) mod encoder;
pub(crate) mod parked;
pub(crate) mod process;
#[cfg(feature = "counting-by-turns")]
pub(crate) mod turns;
pub(crate) mod wakeup;
