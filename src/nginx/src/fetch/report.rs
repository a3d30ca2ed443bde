//! What error.log says of refreshes: one `warn` for each step of a failing entry's back-off, a `notice` when it has recovered, and a
//! `warn` where `swr_cache_refresh_max` defers refreshes. A worker writes a bounded number of lines: the others are counted, and the log
//! gets their number a little later.

use std::cell::RefCell;
use std::collections::BTreeMap;

use nginx_sys::{NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_event_t};
use swrcache::engine::{Stored, Trouble, key};

use crate::config::location::LocConf;
use crate::sys::boundary::guard;
use crate::sys::clock::now;
use crate::sys::event::PostedEvent;
use crate::sys::log::{Limit, SPAN, log_cycle, log_request};
use crate::sys::one_thread::OneThread;
use crate::sys::request::Req;

/// How many lines of a kind are written in a span of time.
const LINES: u32 = 10;

/// A kind of lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Failed,
    Recovered,
    Deferred,
}

impl Kind {
    fn level(self) -> u32 {
        match self {
            Kind::Failed | Kind::Deferred => NGX_LOG_WARN,
            Kind::Recovered => NGX_LOG_NOTICE,
        }
    }

    fn of_many(self) -> &'static str {
        match self {
            Kind::Failed => "refreshes failed",
            Kind::Recovered => "refreshes succeeded after failures",
            Kind::Deferred => "refreshes were deferred",
        }
    }
}

/// The lines of a kind about a zone, or about a location of one: as many as the configuration has.
static LIMITS: OneThread<RefCell<BTreeMap<(Kind, String), Limit>>> =
    OneThread::new(RefCell::new(BTreeMap::new()));
/// Logs how many lines were suppressed.
static SUMMARY: PostedEvent = PostedEvent::new(summarize);

/// Whether one more line of a kind may be written, and how many were suppressed before it. If not, a summary follows later.
fn admit(kind: Kind, about: &str, most: u32) -> Option<u64> {
    let mut limits = LIMITS.borrow_mut();
    let limit = limits
        .entry((kind, about.to_owned()))
        .or_insert_with(Limit::new);
    let admitted = limit.admit(most);
    if admitted.is_none() {
        SUMMARY.at_latest_in(SPAN);
    }
    admitted
}

fn write(r: Req, level: u32, text: &str, suppressed: u64) {
    let more = match suppressed {
        0 => String::new(),
        n => format!("; {n} more since the last such line"),
    };
    log_request(r, level, &format!("swr_cache: {text}{more}"));
}

/// The zone, for a line.
fn zone(r: Req, conf: &LocConf) -> String {
    let name = conf.zone(r).map(|zone| zone.name()).unwrap_or_default();
    format!("zone \"{}\"", String::from_utf8_lossy(name))
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Logs how many lines were suppressed: a span of time has ended.
extern "C" fn summarize(_: *mut ngx_event_t) {
    guard("a summary for the log", (), || {
        for ((kind, about), limit) in LIMITS.borrow().iter() {
            let suppressed = limit.take_suppressed();
            if suppressed > 0 {
                let (what, seconds) = (kind.of_many(), SPAN / 1000);
                let text = format!(
                    "swr_cache: {suppressed} more {what} in {about} in the last {seconds} s"
                );
                log_cycle(kind.level(), &text);
            }
        }
    });
}

/// The entry that a fetch is for, and how its refreshes failed when the fetch began.
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

    /// Logs, when the fetch has ended, whether it failed anew or was the first to succeed again.
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
        key::display(self.entry.key())
    }

    fn failed(&self, r: Req, conf: &LocConf, trouble: &Trouble) {
        let zone = zone(r, conf);
        let Some(suppressed) = admit(Kind::Failed, &zone, LINES) else {
            return;
        };
        let next = seconds(trouble.next_try.saturating_sub(now()));
        let text = format!(
            "the refresh of \"{}\" in {zone} failed: {}, {} in a row; the stale response is served within its windows, \
             next try in {next}",
            self.key(),
            trouble.cause,
            trouble.failures,
        );
        write(r, Kind::Failed.level(), &text, suppressed);
    }

    fn recovered(&self, r: Req, conf: &LocConf, before: &Trouble) {
        let zone = zone(r, conf);
        let Some(suppressed) = admit(Kind::Recovered, &zone, LINES) else {
            return;
        };
        let text = format!(
            "the refresh of \"{}\" in {zone} has succeeded after {} failures in {}; the response is fresh again",
            self.key(),
            before.failures,
            seconds(now().saturating_sub(before.since)),
        );
        write(r, Kind::Recovered.level(), &text, suppressed);
    }
}

/// A refresh was deferred: `swr_cache_refresh_max` of them are in flight.
pub(crate) fn deferred(r: Req, conf: &LocConf, entry: &Stored) {
    let place = String::from_utf8_lossy(r.location_name());
    let about = format!("{} by the location \"{place}\"", zone(r, conf));
    let Some(suppressed) = admit(Kind::Deferred, &about, 1) else {
        return;
    };
    let text = format!(
        "the refresh of \"{}\" in {about} is deferred: swr_cache_refresh_max ({}) refreshes of the location are in flight; the stale response is served, and \
         a later request refreshes it",
        key::display(entry.key()),
        conf.policy.refresh_max,
    );
    write(r, Kind::Deferred.level(), &text, suppressed);
}
