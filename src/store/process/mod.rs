//! The processes in a region: who they are, how they lock, and how they wake each other.

pub(crate) mod budget;
pub(crate) mod local;
pub(crate) mod lock;
pub(crate) mod table;
pub(crate) mod wakers;
pub(crate) mod wakeups;
