//! What error.log says of refreshes: one `warn` for each step of a failing entry's back-off, a `notice` when it has recovered, and a
//! `warn` where `swr_cache_refresh_max` puts refreshes off. However many there are, a worker writes few lines: the others
//! are counted, and told of as a number a little later.

use std::cell::Cell;

use nginx_sys::{NGX_LOG_NOTICE, NGX_LOG_WARN, log_line, ngx_event_t};
use swrcache::engine::{Stored, Trouble, key};

use crate::config::location::LocConf;
use crate::sys::boundary::{guard, log_cycle};
use crate::sys::clock::now;
use crate::sys::posted_event::Turns;
use crate::sys::request::Req;

/// Lines of a kind in a span of time, in milliseconds.
const LINES: u32 = 10;
const SPAN: u64 = 10_000;

/// Lines of one kind.
pub(crate) struct Lines {
    since: Cell<u64>,
    written: Cell<u32>,
    held: Cell<u64>,
}

// SAFETY: nginx runs one thread in a worker.
unsafe impl Sync for Lines {}

static FAILED: Lines = Lines::none();
static RECOVERED: Lines = Lines::none();
/// Tells of what was only counted.
static REST: Turns = Turns::new(tell_rest);

impl Lines {
    pub(crate) const fn none() -> Lines {
        Lines {
            since: Cell::new(0),
            written: Cell::new(0),
            held: Cell::new(0),
        }
    }

    /// Whether one more may be written, and how many were not since the last.
    fn next(&self, most: u32) -> Option<u64> {
        let now = now();
        if now.saturating_sub(self.since.get()) >= SPAN {
            self.since.set(now);
            self.written.set(0);
        }
        if self.written.get() >= most {
            if self.held.replace(self.held.get() + 1) == 0 {
                REST.later(SPAN as usize);
            }
            return None;
        }
        self.written.set(self.written.get() + 1);
        Some(self.held.take())
    }
}

fn write(r: Req, level: u32, text: &str, held: u64) {
    let more = match held {
        0 => String::new(),
        held => format!("; {held} more since the last such line"),
    };
    // SAFETY: a connection always has a log.
    unsafe {
        log_line(
            level as usize,
            r.connection().log,
            &format!("swr_cache: {text}{more}"),
        )
    }
}

fn zone_name(r: Req, conf: &LocConf) -> String {
    let zone = conf
        .zone(r)
        .map(|zone| String::from_utf8_lossy(zone.name()).into_owned());
    zone.unwrap_or_default()
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// A span is over.
extern "C" fn tell_rest(_: *mut ngx_event_t) {
    guard("a summary for the log", (), || {
        for (lines, level, what) in [
            (&FAILED, NGX_LOG_WARN, "refreshes failed"),
            (
                &RECOVERED,
                NGX_LOG_NOTICE,
                "refreshes that had failed work again",
            ),
        ] {
            let held = lines.held.take();
            if held > 0 {
                let text = format!(
                    "swr_cache: {held} more {what} in the last {} s",
                    SPAN / 1000
                );
                log_cycle(level as usize, &text);
            }
        }
    });
}

/// The entry that a fetch is for, as it was when that began.
pub(crate) struct Watch {
    entry: Stored,
    before: Option<Trouble>,
}

impl Watch {
    pub(crate) fn over(entry: Stored) -> Watch {
        Watch {
            before: entry.trouble(),
            entry,
        }
    }

    /// The fetch is over: says so if the entry fails anew, or, where the fetch has renewed it, no longer.
    pub(crate) fn end(&self, r: Req, conf: &LocConf, renewed: bool) {
        let failures = |trouble: &Option<Trouble>| trouble.as_ref().map_or(0, |t| t.failures);
        let after = self.entry.trouble();
        match (&self.before, after) {
            (before, Some(after)) if after.failures > failures(before) => {
                self.failed(r, conf, &after);
            }
            (Some(before), _) if renewed => self.recovered(r, conf, before),
            _ => {}
        }
    }

    fn key(&self) -> String {
        key::display(self.entry.object().key())
    }

    fn failed(&self, r: Req, conf: &LocConf, trouble: &Trouble) {
        let Some(held) = FAILED.next(LINES) else {
            return;
        };
        let next = seconds(trouble.next_try.saturating_sub(now()));
        let text = format!(
            "the refresh of \"{}\" in zone \"{}\" failed: {}, {} in a row; the stale response is served while its windows last, \
             next try in {next}",
            self.key(),
            zone_name(r, conf),
            trouble.cause,
            trouble.failures,
        );
        write(r, NGX_LOG_WARN, &text, held);
    }

    fn recovered(&self, r: Req, conf: &LocConf, before: &Trouble) {
        let Some(held) = RECOVERED.next(LINES) else {
            return;
        };
        let text = format!(
            "the refresh of \"{}\" in zone \"{}\" works again, after {} failures in {}; it is served fresh",
            self.key(),
            zone_name(r, conf),
            before.failures,
            seconds(now().saturating_sub(before.since)),
        );
        write(r, NGX_LOG_NOTICE, &text, held);
    }
}

/// A refresh was put off, as `swr_cache_refresh_max` are under way.
pub(crate) fn deferred(r: Req, conf: &LocConf, entry: &Stored) {
    let Some(held) = conf.put_off.next(1) else {
        return;
    };
    let text = format!(
        "the refresh of \"{}\" in zone \"{}\" is put off: swr_cache_refresh_max ({}) are under way; the stale response is served, \
         a later request refreshes it",
        key::display(entry.object().key()),
        zone_name(r, conf),
        conf.policy.refresh_max,
    );
    write(r, NGX_LOG_WARN, &text, held);
}
