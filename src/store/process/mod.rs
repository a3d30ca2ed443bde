//! The processes in a region: their identity, locks, and wake-ups.

pub(crate) mod budget;
pub(crate) mod local;
pub(crate) mod lock;
pub(crate) mod table;
pub(crate) mod wakers;
pub(crate) mod wakeups;
