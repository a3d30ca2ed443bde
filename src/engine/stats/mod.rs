//! Statistics: what is counted, and one tree of it in three forms.
//!
//! | file | what it is |
//! |---|---|
//! | `counter`, `histogram` | what is counted, and the place of each count among a process's own |
//! | `count` | counting as it happens |
//! | `survey` | a walk over a zone, for what is not counted |
//! | `tree` | the tree as plain data; its JSON is what serde makes of it |
//! | `whole` | the tree of all zones, or of some |
//! | `read` | from the counts of all processes to the tree |
//! | `prometheus` | the tree as Prometheus's text exposition |
//! | `query` | what a request to the statistics asks for |
//! | `page` | the tree as a page in a browser |
//! | `summary` | the tree in one sentence, for a person in a hurry |
//!
//! Each process counts in cache lines of its own (see `Region::count`); only reading adds them up. The counts of a
//! process that has died stay.

mod count;
mod counter;
mod histogram;
mod page;
mod prometheus;
mod query;
mod read;
mod summary;
mod survey;
mod tree;
mod whole;

pub use count::Answered;
pub(crate) use count::{add, count, count_bytes, record};
pub use counter::{Coding, Counter, HISTOGRAMS, PLACES, PurgedBy, RefreshEvent};
pub use histogram::{AGES, Fetched, Histogram, SECONDS};
pub use page::{PAGE_TYPE, page};
pub use prometheus::{MEDIA_TYPE, exposition};
pub use query::{Explain, Form, Query};
pub(crate) use read::seconds;
pub use read::{Gauges, zone};
pub use summary::{of_all, summary};
pub(crate) use survey::list;
pub use survey::{Listed, Survey, counted};
pub use tree::{
    Bucket, Buckets, CodingCounts, Delivered, Entries, Evicted, Failing, Forwarded, Origin, Purges,
    Recovery, Refresh, Tally, Top, Tree, Used, Waited, Zone,
};
pub use whole::{pick, tree, unknown};
