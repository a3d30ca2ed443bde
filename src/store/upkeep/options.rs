//! The options of a region.

/// The options of a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionOptions {
    /// For a region in a file: whether programs that this process starts inherit the open file.
    pub on_exec: OnExec,
    /// For a region in a file: who may use it at the same time.
    pub share: Share,
    /// The maximum size of an object (key, meta and body) in bytes; 0 means an eighth of the region.
    pub max_object: u64,
}

/// Whether the file of a region stays open in programs that this process starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExec {
    /// It is closed: this process and its forked children use it.
    #[default]
    Close,
    /// It stays open, so that a new binary started by this process can continue to use the region while this one still
    /// runs.
    Keep,
}

/// Who may use the file of a region at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// This process, and those forked or started by it.
    #[default]
    Family,
    /// Any process of this machine that also opens it with this option. All must request the same length.
    Anyone,
}
