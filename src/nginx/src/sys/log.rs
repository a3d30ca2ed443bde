//! Lines for error.log, and how many of a kind are written.

use std::cell::Cell;

use nginx_sys::{NGX_LOG_ERR, log_line, ngx_cycle};
use swrcache::engine::text::one_line;

use crate::sys::clock::now;
use crate::sys::request::Req;

/// The span of time in which the number of lines of a kind is limited, in milliseconds.
pub(crate) const SPAN: u64 = 10_000;

/// Writes a line to the log of the cycle (the main `error_log`).
pub(crate) fn log_cycle(level: u32, message: &str) {
    // SAFETY: nginx sets `ngx_cycle` and its log before it loads a module and keeps both until the process ends.
    unsafe { log_line(level as usize, (*ngx_cycle).log, &one_line(message)) }
}

/// Writes a line to the log of a request's connection.
pub(crate) fn log_request(r: Req, level: u32, message: &str) {
    // SAFETY: a connection always has a log.
    unsafe { log_line(level as usize, r.connection().log, &one_line(message)) }
}

/// The same, as an error.
pub(crate) fn log_error(r: Req, message: &str) {
    log_request(r, NGX_LOG_ERR, message);
}

/// Limits the lines of a kind that a worker writes; the others are counted.
pub(crate) struct Limit {
    since: Cell<u64>,
    written: Cell<u32>,
    suppressed: Cell<u64>,
}

impl Limit {
    pub(crate) const fn new() -> Limit {
        Limit {
            since: Cell::new(0),
            written: Cell::new(0),
            suppressed: Cell::new(0),
        }
    }

    /// Whether one more of at most `most` lines in a [`SPAN`] may be written; if so, how many were suppressed since the last one.
    pub(crate) fn admit(&self, most: u32) -> Option<u64> {
        let now = now();
        if now.saturating_sub(self.since.get()) >= SPAN {
            self.since.set(now);
            self.written.set(0);
        }
        if self.written.get() >= most {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.written.set(self.written.get() + 1);
        Some(self.take_suppressed())
    }

    /// How many were suppressed since this was last asked.
    pub(crate) fn take_suppressed(&self) -> u64 {
        self.suppressed.take()
    }
}
