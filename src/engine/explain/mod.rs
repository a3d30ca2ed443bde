//! Explains what would happen to a request now, and why: makes the decision for it without carrying anything out.

mod reasons;

use serde::Serialize;

use super::backoff::Fault;
use super::key;
use super::phase::{Windows, binds};
use super::policy::{Policy, SECOND};
use super::purge::tags;
use super::record::{LineUse, LinesFor, RecordHead};
use super::record::{attributes, variant};
use super::request::Request;
use super::stats::seconds;
use super::verdict::{Reason, Status};
use crate::engine::decide::decision::Decision;
use crate::engine::encode::coding::Coding;
use crate::engine::encode::form;
use crate::engine::hit_for_miss;
use crate::http::etag;
use crate::store::{Busy, MarkerView, Millis, Region, Surveyed};

pub use reasons::{Advice, advice, table};

/// What would happen to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The explanation in sentences.
    pub says: String,
    /// The key in readable form.
    pub key: String,
    /// The decision on the request.
    pub verdict: ExplainedDecision,
    /// What is remembered about the key apart from responses.
    pub remembered: Remembered,
    /// What is stored under the key, most recent first.
    pub variants: Vec<Variant>,
}

/// The decision on a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedDecision {
    /// What the cache would do.
    pub action: Action,
    /// `$swr_cache_status`; for a fetch, the status if the origin sends a new response that may be stored. `None` if it
    /// would be empty.
    pub status: Option<&'static str>,
    /// `$swr_cache_reason`; for a fetch, why the origin is asked.
    pub reason: &'static str,
    /// The coding in which the cache has encoded what it would serve (`$swr_cache_encoding`).
    pub encoding: Option<&'static str>,
    /// What led to the reason.
    pub cause: &'static str,
    /// What would have to change for a `HIT`.
    pub cure: String,
}

/// What the cache would do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Answer it from the store.
    Serve,
    /// Answer it from the store, and refresh the response in the background.
    ServeAndRefresh,
    /// Let it wait for the fetch of another request.
    Wait,
    /// Ask the origin, while it waits.
    Fetch,
    /// Pass it to the origin as it is.
    Pass,
    /// Answer it with 504.
    GatewayTimeout,
}

/// What is remembered about a key apart from responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Remembered {
    /// For how many more seconds its requests pass the cache (hit-for-miss).
    pub passes_for: Option<f64>,
    /// The reason for which the key was remembered.
    pub passes_because: Option<&'static str>,
    /// The number of requests counted for it (`swr_cache_min_uses`).
    pub uses: u32,
    /// Whether it is being fetched.
    pub being_fetched: bool,
}

/// A stored response.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Variant {
    /// Whether the request selects it.
    pub selected: bool,
    /// The status.
    pub status: u16,
    /// The age in seconds.
    pub age: f64,
    /// The remaining freshness lifetime in seconds, negative when stale.
    pub ttl: f64,
    /// For how many more seconds it may be served while it is refreshed; 0 if it may not.
    pub stale_while_revalidate: f64,
    /// For how many more seconds it may be served in place of an error; 0 if it may not.
    pub stale_if_error: f64,
    /// Whether the origin forbids serving it stale (`must-revalidate`, `proxy-revalidate`, `no-cache`).
    pub must_revalidate: bool,
    /// The bytes of its body received so far.
    pub bytes: u64,
    /// Whether its body is still being received.
    pub arriving: bool,
    /// Whether a fetch for it is in progress.
    pub being_refreshed: bool,
    /// The time at which a soft purge made it stale (Unix time in seconds).
    pub purged: Option<f64>,
    /// The request fields that its `Vary` names, with their values in the stored request.
    pub vary: Vec<(String, Option<String>)>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its `ETag`, the origin's or a synthesised one.
    pub etag: Option<String>,
    /// Its `Last-Modified` (Unix time in seconds).
    pub last_modified: Option<f64>,
    /// Whether the cache synthesised the validators.
    pub synthesised: bool,
    /// The encoded forms that are stored beside it (`swr_cache_compress`).
    pub encodings: Vec<Encoding>,
    /// How its refresh fails, if it does.
    pub failing: Option<Fails>,
}

/// An encoded form of a stored response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Encoding {
    /// Its content coding.
    pub coding: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
}

/// How a refresh fails.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fails {
    /// A word of `$swr_cache_reason`, or the status that the origin answered with.
    pub cause: String,
    /// The time of the first failure in a row (Unix time in seconds).
    pub since: f64,
    /// The time from which on a request tries again (Unix time in seconds).
    pub next_try: f64,
    /// The number of failures in a row.
    pub failures: u64,
}

/// Explains what would happen to `req` at `now`, from a decision that was not carried out.
pub(crate) fn explain(
    region: &Region,
    decision: Decision,
    req: &Request<'_>,
    policy: &Policy,
    now: Millis,
) -> Result<Explanation, Busy> {
    let chosen = region.peek(req.key, now, &mut |meta| {
        variant::selects(meta, req.fields, policy)
    })?;
    let selected = chosen.object.as_ref().map(|object| object.meta().to_vec());
    let (mut variants, mut hashes) = (Vec::new(), Vec::new());
    let mut being_fetched = false;
    region.survey((region.place_of(req.key), 1), now, &mut |shown| {
        if shown.key != req.key || !shown.is_current {
            return;
        }
        being_fetched |= !shown.is_object && shown.is_claimed;
        let is_selected = selected.as_deref() == Some(shown.meta);
        if let Some(variant) = describe(shown, policy, is_selected, now) {
            variants.push(variant);
            hashes.push(shown.attributes[attributes::HASH]);
        }
    })?;
    for (variant, hash) in variants.iter_mut().zip(hashes) {
        variant.encodings = encodings(region, req.key, (hash, variant.bytes), now)?;
    }
    let remembered = remembered(&chosen.marker, being_fetched, now);
    let verdict = verdict(&decision, &remembered);
    Ok(Explanation {
        says: says(&verdict, &variants),
        key: key::display(req.key),
        verdict,
        remembered,
        variants,
    })
}

fn verdict(decision: &Decision, remembered: &Remembered) -> ExplainedDecision {
    let (action, status, reason) = match decision {
        Decision::Serve(serve) if serve.refresh.is_some() => {
            (Action::ServeAndRefresh, Some(serve.status), serve.reason)
        }
        Decision::Serve(serve) => (Action::Serve, Some(serve.status), serve.reason),
        Decision::Wait(wait) => (Action::Wait, None, wait.reason),
        Decision::Fetch(fetch) => {
            let aside = fetch.aside();
            (Action::Fetch, Some(aside.status), aside.reason)
        }
        Decision::Pass(pass) => (Action::Pass, pass.status, pass.reason.reason()),
        Decision::GatewayTimeout(reason) => (Action::GatewayTimeout, None, *reason),
    };
    let advice = advice(reason);
    let encoding = match decision {
        Decision::Serve(serve) => serve.object.coding(),
        Decision::Wait(_)
        | Decision::Fetch(_)
        | Decision::Pass(_)
        | Decision::GatewayTimeout(_) => None,
    };
    ExplainedDecision {
        action,
        status: status.map(Status::as_str),
        reason: reason.as_str(),
        encoding: encoding.map(Coding::as_str),
        cause: advice.cause,
        cure: cure(reason, remembered).unwrap_or_else(|| advice.cure.to_owned()),
    }
}

/// The advice for a key that passes is that for the reason for which it was remembered.
fn cure(reason: Reason, remembered: &Remembered) -> Option<String> {
    let word = remembered
        .passes_because
        .filter(|_| reason == Reason::HitForMiss)?;
    let found = Reason::ALL.iter().find(|reason| reason.as_str() == word)?;
    let advice = advice(*found);
    Some(format!("{}. {}", advice.cause, advice.cure))
}

fn says(verdict: &ExplainedDecision, variants: &[Variant]) -> String {
    let action = match verdict.action {
        Action::Serve => "be answered from the store",
        Action::ServeAndRefresh => {
            "be answered from the store, and the response would be refreshed in the background"
        }
        Action::Wait => "wait for the fetch of another request",
        Action::Fetch => "wait for the origin",
        Action::Pass => "be passed to the origin",
        Action::GatewayTimeout => "be answered with 504",
    };
    let status = verdict
        .status
        .map_or(String::new(), |status| format!(" ({status})"));
    let stored = match variants.len() {
        0 => String::new(),
        1 => " One response is stored for the key.".to_owned(),
        n => format!(" {n} variants are stored for the key."),
    };
    format!(
        "This request would {action}{status}. {}.{stored} {}.",
        verdict.cause, verdict.cure
    )
}

fn remembered(marker: &MarkerView, being_fetched: bool, now: Millis) -> Remembered {
    let passing = hit_for_miss::passing(marker, now);
    Remembered {
        passes_for: passing.map(|(until, _)| seconds(until.saturating_sub(now))),
        passes_because: passing.map(|(_, why)| why.as_str()),
        uses: hit_for_miss::uses(marker),
        being_fetched,
    }
}

fn describe(shown: &Surveyed<'_>, policy: &Policy, selected: bool, now: Millis) -> Option<Variant> {
    let mut head = RecordHead::decode(shown.meta).filter(|_| shown.is_object)?;
    if shown.aged != 0 {
        head.fresh_until = head.fresh_until.min(shown.aged);
    }
    let windows = Windows::of(&head, policy);
    let left = |until: Millis| seconds(until.saturating_sub(now));
    let fault = Fault::decode(
        shown.attributes[attributes::BACKOFF],
        shown.attributes[attributes::FAULT],
    );
    let synthesised = policy.edge_revalidation && head.lacks_validators();
    let mut variant = Variant {
        selected,
        status: head.status,
        age: seconds(crate::http::age::current(
            head.initial_age,
            head.stored_at,
            now,
        )),
        ttl: (windows.fresh_until as f64 - now as f64) / 1_000.0,
        stale_while_revalidate: left(windows.swr_until),
        stale_if_error: left(windows.sie_until),
        must_revalidate: binds(&head),
        bytes: shown.body,
        arriving: shown.is_growing,
        being_refreshed: shown.is_claimed,
        purged: (shown.aged != 0).then(|| seconds(shown.aged)),
        vary: vary(&head, shown.meta),
        tags: Vec::new(),
        etag: etag_of(&head, shown, synthesised),
        last_modified: last_modified(&head, shown, synthesised),
        synthesised,
        encodings: Vec::new(),
        failing: fault.map(|fault| Fails {
            cause: fault.cause.to_string(),
            since: seconds(fault.since),
            next_try: seconds(fault.next_try),
            failures: fault.failures,
        }),
    };
    let lines = LinesFor {
        lines: head.lines(shown.meta),
        uses: LineUse::TAGS,
    };
    tags::each_name(&lines, &mut |tag| variant.tags.push(text(tag)));
    Some(variant)
}

/// The encoded forms of a body with this hash and length.
fn encodings(
    region: &Region,
    key: &[u8],
    (hash, length): (u64, u64),
    now: Millis,
) -> Result<Vec<Encoding>, Busy> {
    let mut encodings = Vec::new();
    for coding in Coding::ALL {
        let meta = form::meta(coding);
        let key = key::of_form(key, hash, length, coding as u8);
        let found = region.peek(&key, now, &mut |found| found == meta)?;
        encodings.extend(found.object.map(|form| Encoding {
            coding: coding.as_str(),
            bytes: form.body().len,
        }));
    }
    Ok(encodings)
}

fn vary(head: &RecordHead, meta: &[u8]) -> Vec<(String, Option<String>)> {
    let nominated = head.nominated(meta);
    nominated
        .map(|field| (text(field.name), field.sent.map(text)))
        .collect()
}

fn etag_of(head: &RecordHead, shown: &Surveyed<'_>, synthesised: bool) -> Option<String> {
    match shown.attributes[attributes::HASH] {
        _ if !synthesised => head.etag(shown.meta).map(text),
        0 => None,
        hash => Some(text(&etag::of_hash(hash))),
    }
}

fn last_modified(head: &RecordHead, shown: &Surveyed<'_>, synthesised: bool) -> Option<f64> {
    let since = attributes::since(shown.attributes[attributes::SINCE]);
    match synthesised {
        true => Some(seconds(since - since % SECOND)),
        false => head.last_modified.map(seconds),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
