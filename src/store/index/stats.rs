//! Counts that a region keeps, and what a walk over it finds.

/// Counts of a region, read without a lock: each is right, together they may be a moment apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the region.
    pub size: u64,
    /// Bytes that can hold objects.
    pub capacity: u64,
    /// Bytes of the capacity in use.
    pub used: u64,
    /// Bytes of keys, meta and complete bodies among the used.
    pub payload: u64,
    /// Objects that lookups can find.
    pub objects: u64,
    /// Markers.
    pub markers: u64,
    /// Objects and markers that lookups can't find: being filled, or still being read.
    pub limbo: u64,
    /// Objects evicted for room since the region was made.
    pub evictions: u64,
    /// Bytes evicted for room.
    pub evicted_bytes: u64,
    /// Dead objects and markers dropped.
    pub expired: u64,
    /// Objects made current.
    pub inserted: u64,
    /// Requests for room that found none.
    pub refused: u64,
    /// Processes in the region.
    pub processes: u32,
    /// Dead processes cleaned up after.
    pub reaped: u64,
    /// Repairs after a process died in the middle of an allocation.
    pub repairs: u64,
    /// The largest permitted object.
    pub max_object: u64,
    /// Objects dropped as their key had too many variants.
    pub variants: u64,
    /// Objects that were found damaged, and dropped.
    pub damaged: u64,
    /// Objects that the last start has taken over from the file; 0 where there is none.
    pub restored: u64,
}

/// What [`Region::validate`](crate::store::Region::validate) found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects that lookups can find.
    pub objects: u64,
    /// Markers.
    pub markers: u64,
    /// Objects and markers that lookups can't find.
    pub limbo: u64,
    /// Objects that grow.
    pub growing: u64,
    /// Pins: pairs of an object or marker and a process.
    pub pins: u64,
    /// Live or expired claims.
    pub claims: u64,
    /// Bytes in use.
    pub used: u64,
    /// Bytes free.
    pub free: u64,
    /// Free pieces.
    pub holes: u64,
    /// Locks that were held when the walk began.
    pub held_locks: u64,
}
