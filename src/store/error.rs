//! The errors of the store. A caller fails open on each of them.

use std::{fmt, io};

/// A lock was not acquired in time, there was no room for bookkeeping, the process has not entered the region, or the
/// region is damaged. The caller continues without the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the region is busy")
    }
}

impl std::error::Error for Busy {}

/// Why there was no room for an object or for more of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSpace {
    /// The object is larger than the region allows.
    TooLarge,
    /// Nothing more can be evicted: everything is pinned or being filled.
    Full,
    /// A lock was not acquired in time.
    Busy,
    /// The body exceeds its announced length.
    BeyondTotal,
    /// The fill has been ended by another call ([`Region::leave`](crate::store::Region::leave)) or by a repair.
    Ended,
}

impl NoSpace {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            NoSpace::TooLarge => "too-large",
            NoSpace::Full => "full",
            NoSpace::Busy => "busy",
            NoSpace::BeyondTotal => "beyond-total",
            NoSpace::Ended => "ended",
        }
    }
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for NoSpace {}

/// Why a head was not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The old object is no longer current, or its body is incomplete.
    NotCurrent,
    /// The claim was voided by a removal of the key, or taken over after its deadline.
    Voided,
    /// There was no room for the new head.
    Full,
    /// A lock was not acquired in time.
    Busy,
}

impl Refused {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::NotCurrent => "not-current",
            Refused::Voided => "voided",
            Refused::Full => "full",
            Refused::Busy => "busy",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refused {}

/// Why a commit did not make the object current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupersededReason {
    /// The claim was voided by a removal of the key, or taken over after its deadline.
    Voided,
    /// The body is shorter than its announced length: the object is broken.
    Incomplete,
    /// A lock was not acquired in time.
    Busy,
}

impl SupersededReason {
    /// The fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            SupersededReason::Voided => "voided",
            SupersededReason::Incomplete => "incomplete",
            SupersededReason::Busy => "busy",
        }
    }
}

/// Why a region could not be made, attached to or entered.
#[derive(Debug)]
pub enum StoreError {
    /// The memory is too small for the region's bookkeeping.
    TooSmall {
        /// The size of the memory in bytes.
        given: usize,
        /// The minimum size in bytes.
        needed: usize,
    },
    /// The memory is larger than a region can address.
    TooLarge {
        /// The size of the memory in bytes.
        given: usize,
        /// The maximum size in bytes.
        limit: usize,
    },
    /// The base address is not aligned to a cache line.
    Misaligned,
    /// The memory does not hold a region.
    Foreign,
    /// The region has the layout of another version of the store.
    Version {
        /// The layout version of the region.
        found: u32,
        /// The layout version of this build.
        expected: u32,
    },
    /// The region was laid out for another length.
    Length {
        /// The length of the region in bytes.
        found: u64,
        /// The length of the memory in bytes.
        given: u64,
    },
    /// Other processes use the region with another maximum object size.
    MaxObject {
        /// The size that they use in bytes.
        found: u64,
        /// The size given in bytes.
        given: u64,
    },
    /// The region is inconsistent.
    Corrupt(&'static str),
    /// Another instance uses the file.
    InUse,
    /// The machine stopped while the file was in use, so it is not known what was written to the disk.
    Unsettled,
    /// A live process holds every process slot.
    NoSlot,
    /// Like `NoSlot`, but some of the processes are dead. This call has continued reclaiming one of their slots, or
    /// another process is doing so: enter again soon.
    NoSlotYet,
    /// A system call failed.
    Os(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::TooSmall { given, needed } => {
                write!(
                    f,
                    "a cache zone of {given} bytes is too small, at least {needed} are needed"
                )
            }
            StoreError::TooLarge { given, limit } => {
                write!(
                    f,
                    "a cache zone of {given} bytes is too large, at most {limit} can be used"
                )
            }
            StoreError::Misaligned => f.write_str("the zone's memory is not aligned to 64 bytes"),
            StoreError::Foreign => f.write_str("the memory holds no cache zone"),
            StoreError::Version { found, expected } => {
                write!(
                    f,
                    "the zone has layout version {found}, but this build uses {expected}"
                )
            }
            StoreError::Length { found, given } => {
                write!(
                    f,
                    "the zone was laid out for {found} bytes, but its size is now {given}"
                )
            }
            StoreError::MaxObject { found, given } => write!(
                f,
                "the zone is in use with a maximum object size of {found} bytes, not {given}"
            ),
            StoreError::Corrupt(what) => write!(f, "the zone is damaged: {what}"),
            StoreError::InUse => f.write_str("it is in use by another instance"),
            StoreError::Unsettled => f.write_str("the machine stopped while the zone was in use"),
            StoreError::NoSlot => f.write_str("the zone has no free process slot"),
            StoreError::NoSlotYet => {
                f.write_str("the process slot of a dead process is still being reclaimed")
            }
            StoreError::Os(e) => write!(f, "the zone can't be used: {e}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Os(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(e: io::Error) -> Self {
        StoreError::Os(e)
    }
}
