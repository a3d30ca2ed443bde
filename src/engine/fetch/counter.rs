//! Counts fetches for the statistics.

use std::sync::Arc;

use super::body_writer::Finished;
use super::outcome::Outcome;
use super::permit::{Permit, Purpose};
use crate::engine::stats::{Counter, FetchResult, Histogram, RefreshEvent, add, record};
use crate::engine::verdict::NotKept;
use crate::store::{Millis, Region};

/// Counts one fetch.
#[derive(Clone)]
pub(super) struct FetchCounter {
    region: Arc<Region>,
    pub(super) is_refresh: bool,
    began: Millis,
}

impl FetchCounter {
    pub(super) fn of(permit: &Permit) -> FetchCounter {
        FetchCounter {
            region: Arc::clone(&permit.region),
            is_refresh: permit.terms.purpose == Purpose::Refresh,
            began: permit.terms.began,
        }
    }

    /// Counts the origin's response, or its failure.
    pub(super) fn answered(&self, outcome: &Outcome, now: Millis) {
        let fetched = match outcome {
            Outcome::Store(_) => FetchResult::Stored,
            Outcome::Renewed(_) => FetchResult::NotModified,
            Outcome::Stale(_) | Outcome::GatewayTimeout | Outcome::NotKept(NotKept::Failed(_)) => {
                FetchResult::Failed
            }
            Outcome::NotKept(NotKept::Unstored(_)) | Outcome::AskAgain(_) => {
                FetchResult::Uncacheable
            }
        };
        add(&self.region, Counter::OriginRequests, 1);
        record(
            &self.region,
            Histogram::Origin(fetched),
            now.saturating_sub(self.began),
        );
        match (outcome, fetched) {
            // Counted when the body is complete, or when the second answer arrives.
            (Outcome::Store(_) | Outcome::AskAgain(_), _) => {}
            (_, FetchResult::Failed) => self.refreshed(RefreshEvent::Failed),
            (_, FetchResult::NotModified) => self.refreshed(RefreshEvent::NotModified),
            (_, FetchResult::Stored | FetchResult::Uncacheable) => {
                self.refreshed(RefreshEvent::Modified);
            }
        }
    }

    /// Counts a complete body.
    pub(super) fn finished(&self, finished: &Finished, bytes: u64) {
        add(&self.region, Counter::OriginBytes, bytes);
        self.refreshed(match finished {
            Finished::Same(_) => RefreshEvent::NotModified,
            Finished::New(_) | Finished::Superseded(_) => RefreshEvent::Modified,
            Finished::Broken => RefreshEvent::Failed,
        });
    }

    /// Counts an incomplete body.
    pub(super) fn broken(&self, bytes: u64) {
        add(&self.region, Counter::OriginBytes, bytes);
        self.refreshed(RefreshEvent::Failed);
    }

    fn refreshed(&self, event: RefreshEvent) {
        if self.is_refresh {
            add(&self.region, Counter::Refresh(event), 1);
        }
    }
}
