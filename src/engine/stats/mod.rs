//! Statistics: the counters, and one tree of values in three formats.
//!
//! | file | content |
//! |---|---|
//! | `counter`, `histogram` | the counters, and their indexes in the counter array of a process |
//! | `count` | counts events as they happen |
//! | `survey` | walks a zone, for values that are not counted |
//! | `tree` | the tree as plain data; serde makes its JSON |
//! | `whole` | the tree of all zones, or of one |
//! | `read` | makes the tree from the counters of all processes |
//! | `prometheus` | the tree in Prometheus's text exposition format |
//! | `query` | parses a request to the statistics |
//! | `page` | the tree as an HTML page |
//! | `summary` | the tree in one sentence |
//!
//! Each process counts in cache lines of its own (see `Region::count`); only readers add the counters up. The counters
//! of a process that died are kept.

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

pub use crate::engine::encode::coding::Coding;
pub use count::Answered;
pub(crate) use count::{add, count, count_bytes, record};
pub use counter::{Counter, HISTOGRAMS, PLACES, PurgedBy, RefreshEvent};
pub use histogram::{AGES, FetchResult, Histogram, SECONDS};
pub use page::{PAGE_TYPE, page};
pub use prometheus::{MEDIA_TYPE, exposition};
pub use query::{Explain, Format, StatisticsRequest};
pub(crate) use read::seconds;
pub use read::{Gauges, zone};
pub use summary::{of_all, summary};
pub(crate) use survey::list;
pub use survey::{Listed, Survey, counted};
pub use tree::{
    Bucket, Buckets, CodingCounts, Delivered, Entries, Evicted, Failing, Forwarded, HitCount,
    Origin, Purges, Recovery, Refresh, Top, Tree, Used, Waited, Zone,
};
pub use whole::{pick, tree, unknown};
