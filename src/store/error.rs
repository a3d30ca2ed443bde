//! What the store answers when it can't do its part. A caller fails open on every one of these.

use std::{fmt, io};

/// A lock could not be taken in time, there was no room for the bookkeeping, the process has not entered the
/// region, or the region is damaged. The caller goes on as if there were no cache.
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
    /// Larger than the region's largest permitted object.
    TooLarge,
    /// Nothing more could be evicted: all else is pinned or being filled.
    Full,
    /// A lock could not be taken in time.
    Busy,
    /// More bytes than the announced total.
    BeyondTotal,
    /// The fill has been ended by someone else ([`Region::leave`](crate::store::Region::leave), or a repair).
    Ended,
}

impl NoSpace {
    /// A fixed word for logs.
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

/// Why a head swap did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The old object is no longer current, or its body is not complete.
    NotCurrent,
    /// The claim was voided (removal of the key) or taken over after its deadline.
    Voided,
    /// No room for the new head.
    Full,
    /// A lock could not be taken in time.
    Busy,
}

impl Refused {
    /// A fixed word for logs.
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
    /// The claim was voided (removal of the key) or taken over after its deadline.
    Voided,
    /// Fewer bytes than the announced total: the object is broken.
    Incomplete,
    /// A lock could not be taken in time.
    Busy,
}

impl SupersededReason {
    /// A fixed word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            SupersededReason::Voided => "voided",
            SupersededReason::Incomplete => "incomplete",
            SupersededReason::Busy => "busy",
        }
    }
}

/// Why a region could not be made, attached or entered.
#[derive(Debug)]
pub enum StoreError {
    /// The memory is too small for the region's own bookkeeping.
    TooSmall {
        /// Bytes given.
        given: usize,
        /// The least that is needed.
        needed: usize,
    },
    /// The memory is larger than a region can address.
    TooLarge {
        /// Bytes given.
        given: usize,
        /// The most that can be used.
        limit: usize,
    },
    /// The base address is not aligned to a cache line.
    Misaligned,
    /// The memory does not hold a region.
    Foreign,
    /// The region was laid out by another version of the store.
    Version {
        /// The layout version found.
        found: u32,
        /// The layout version of this build.
        expected: u32,
    },
    /// The region was laid out for another length.
    Length {
        /// The length found in the region.
        found: u64,
        /// The length given.
        given: u64,
    },
    /// Others have the region, with another largest object.
    MaxObject {
        /// Theirs.
        found: u64,
        /// The one given.
        given: u64,
    },
    /// The region contradicts itself.
    Corrupt(&'static str),
    /// Another instance has the file.
    InUse,
    /// The file was not closed well before the machine stopped: what came to the disk is not known.
    Unsettled,
    /// Every process slot is taken by a live process.
    NoSlot,
    /// As `NoSlot`, but some of those processes are dead, and this call has gone on with cleaning up after one, or another process is
    /// at it: enter again soon.
    NoSlotYet,
    /// The operating system refused.
    Os(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::TooSmall { given, needed } => {
                write!(
                    f,
                    "{given} bytes are too few for a cache zone, at least {needed} are needed"
                )
            }
            StoreError::TooLarge { given, limit } => {
                write!(
                    f,
                    "{given} bytes are too many for a cache zone, at most {limit} can be used"
                )
            }
            StoreError::Misaligned => f.write_str("the zone's memory is not aligned to 64 bytes"),
            StoreError::Foreign => f.write_str("the memory holds no cache zone"),
            StoreError::Version { found, expected } => {
                write!(
                    f,
                    "the zone has layout version {found}, this build has {expected}"
                )
            }
            StoreError::Length { found, given } => {
                write!(
                    f,
                    "the zone was laid out for {found} bytes, {given} are given"
                )
            }
            StoreError::MaxObject { found, given } => write!(
                f,
                "the zone is in use with objects of at most {found} bytes, {given} are given"
            ),
            StoreError::Corrupt(what) => write!(f, "the zone is damaged: {what}"),
            StoreError::InUse => f.write_str("another instance has it in use"),
            StoreError::Unsettled => f.write_str("the machine stopped while the zone was in use"),
            StoreError::NoSlot => f.write_str("too many processes use the zone"),
            StoreError::NoSlotYet => f.write_str("the place of a dead process is being cleaned"),
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
