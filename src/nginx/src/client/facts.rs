//! What the variables, the log, `Cache-Status` and the statistics tell of a request.

use std::cell::Cell;

use swrcache::engine::stats::{Answered, Coding};
use swrcache::engine::{Aside, Asked, Passed, Reason, Serve, Status};

use crate::sys::clock::now;

/// Each is set when it becomes known.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) status: Cell<Option<Status>>,
    pub(crate) reason: Cell<Option<Reason>>,
    /// The answer comes from the store.
    pub(crate) from_store: Cell<bool>,
    /// Why the origin was asked.
    pub(crate) asked: Cell<Option<Asked>>,
    pub(crate) age: Cell<Option<u64>>,
    pub(crate) ttl: Cell<Option<i64>>,
    /// The coding in which the cache itself has encoded what is served.
    pub(crate) coding: Cell<Option<Coding>>,
    /// When this request began to wait for a fetch.
    pub(crate) fetch_began: Cell<Option<u64>>,
    /// How long this request waited for it, in milliseconds.
    pub(crate) fetch_took: Cell<Option<u64>>,
    /// The status of nginx's own cache for the fetch, where there is one behind this cache.
    pub(crate) cache_below: Cell<Option<&'static [u8]>>,
    /// When the request went on to the content handler, untouched.
    pub(crate) passed: Cell<Option<u64>>,
    /// Why it passed, if it had not led a fetch before.
    pub(crate) passed_for: Cell<Option<Passed>>,
}

impl Facts {
    /// The request is answered from the store.
    pub(crate) fn serve(&self, serve: &Serve) {
        self.status.set(Some(serve.status));
        self.reason.set(Some(serve.reason));
        self.from_store.set(true);
        self.age.set(Some(serve.age));
        self.ttl.set(Some(serve.ttl));
        self.coding.set(serve.object.coding());
        self.settle_fetch_time();
    }

    /// The request is answered without the store. A status that is set already stays.
    pub(crate) fn aside(&self, aside: Aside) {
        if self.status.get().is_none() {
            self.status.set(Some(aside.status));
        }
        self.reason.set(Some(aside.reason));
    }

    /// The request goes on to the content handler.
    pub(crate) fn pass(&self, status: Option<Status>, reason: Reason) {
        self.status.set(status);
        self.reason.set(Some(reason));
        self.passed.set(Some(now()));
    }

    /// The request leads a fetch from now on.
    pub(crate) fn lead(&self, asked: Asked) {
        self.reason.set(Some(asked.reason()));
        self.asked.set(Some(asked));
        self.fetch_began.set(Some(now()));
    }

    /// The request waits for a fetch.
    pub(crate) fn wait(&self) {
        if self.fetch_began.get().is_none() {
            self.fetch_began.set(Some(now()));
        }
    }

    /// The request no longer waits.
    pub(crate) fn settle_fetch_time(&self) {
        if let (Some(began), None) = (self.fetch_began.get(), self.fetch_took.get()) {
            self.fetch_took.set(Some(now().saturating_sub(began)));
        }
    }

    /// For the statistics, when the response, of so many bytes, is over.
    pub(crate) fn answered(&self, bytes: u64) -> Answered {
        let waited = |began: u64| {
            let took = self.fetch_took.get();
            took.unwrap_or_else(|| now().saturating_sub(began))
        };
        Answered {
            status: self.status.get(),
            reason: self.reason.get(),
            asked: self.asked.get(),
            waited: self.fetch_began.get().map(waited),
            from_store: self.from_store.get(),
            ttl: self.ttl.get(),
            bytes,
            coding: self.coding.get(),
        }
    }
}
