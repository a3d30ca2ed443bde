//! How a region is made: its options.

/// Options of a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionOptions {
    /// Of a region in a file: whether programs that this process starts find the file open.
    pub on_exec: OnExec,
    /// Of a region in a file: who may have it at the same time.
    pub share: Share,
    /// The largest object (key, meta and body) in bytes; 0 is an eighth of the region.
    pub max_object: u64,
}

/// Whether the file of a region stays open in programs that this process starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExec {
    /// It is closed: who has it are this process and its forked children.
    #[default]
    Close,
    /// It stays open, so that a new binary started by this one can go on with the region while this one still runs.
    Keep,
}

/// Who may have the file of a region at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// This process and those forked or started by it.
    #[default]
    Family,
    /// Any process of this host that lets anyone, too. All ask for the same length.
    Anyone,
}
