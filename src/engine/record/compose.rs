//! Composes the record of a response: which field lines are kept, and for which use.

use super::variant;
use crate::engine::policy::Policy;
use crate::engine::purge::tags;
use crate::engine::record::stored::{CHARSET, LIMIT_RATE, STATUS_LINE, Stored};
use crate::engine::record::{Flags, LineUse, LineWriter, LinesFor, Writer};
use crate::engine::storability::Storable;
use crate::http::fields::{count, first, is};
use crate::http::{Exclusions, Fields, date, freshen, limits};

/// Field lines in memory of their own.
pub(crate) type OwnLines = Vec<(Box<[u8]>, Box<[u8]>)>;

/// What a record is composed of.
pub(crate) struct Parts<'a> {
    pub(crate) storable: &'a Storable,
    /// The fields that clients get.
    pub(crate) shown: &'a dyn Fields,
    /// The fields that the origin sent.
    pub(crate) judged: &'a dyn Fields,
    /// The origin's fields that the host wants to read later.
    pub(crate) kept: Option<&'a dyn Fields>,
    /// The request that was sent to the origin, for `Vary`.
    pub(crate) request: &'a dyn Fields,
    /// Scheme and authority of the origin.
    pub(crate) origin: &'a [u8],
}

/// A record, and the labels by which purges find it.
pub(crate) struct Composed {
    pub(crate) meta: Vec<u8>,
    pub(crate) labels: Vec<u64>,
}

/// Composes the record; `None` if the header exceeds the limits, or has too many tags.
pub(crate) fn compose(parts: &Parts<'_>, policy: &Policy) -> Option<Composed> {
    limits::check(parts.shown).ok()?;
    let etag = first(parts.judged, "etag", |value| Some(Box::<[u8]>::from(value)));
    let mut writer = Writer::new(etag.as_deref().unwrap_or_default());
    variant::remember(
        &mut writer,
        &parts.storable.nominated,
        parts.request,
        policy,
    );
    let mut lines = writer.lines();
    shown_lines(&mut lines, parts, policy);
    judged_lines(&mut lines, parts, policy);
    kept_lines(&mut lines, parts, policy);
    let mut facts = parts.storable.facts;
    facts.flags = facts.flags.with(Flags::TELLS_HOST.when(parts.tells_host()));
    Some(Composed {
        meta: lines.finish(&facts)?,
        labels: tags::labels(&[parts.shown, parts.judged], policy, parts.origin)?,
    })
}

fn shown_lines(lines: &mut LineWriter, parts: &Parts<'_>, policy: &Policy) {
    let excluded = Exclusions::of(parts.judged, &parts.storable.control.directives);
    let facts = &parts.storable.facts;
    let from_the_future = facts.last_modified.is_some_and(|at| at > facts.date);
    let of_head = facts.flags.has(Flags::OF_HEAD);
    excluded.kept(parts.shown, &mut |name, value| {
        // RFC 9110 §8.8.2: a `Last-Modified` later than `Date` is not forwarded.
        let apart = is_kept_apart(name) && !(of_head && is(name, "content-length"));
        if apart || from_the_future && is(name, "last-modified") {
            return;
        }
        let mut uses = LineUse::default();
        if is_judged(name, policy) && has_line(parts.judged, name, value) {
            uses = uses.with(LineUse::JUDGED);
        }
        if is_tag(name, policy) {
            uses = uses.with(LineUse::TAGS);
        }
        if parts.keeps(name, value) {
            uses = uses.with(LineUse::KEPT);
        }
        if !policy.keeps_to_itself(name) {
            uses = uses.with(LineUse::SHOWN);
        }
        lines.line(uses, name, value);
    });
}

/// Adds the fields that determine freshness or hold tags but are not shown unchanged; they are needed when a 304
/// freshens the response.
fn judged_lines(lines: &mut LineWriter, parts: &Parts<'_>, policy: &Policy) {
    parts.judged.each(&mut |name, value| {
        let mut uses = match name {
            name if is_judged(name, policy) => LineUse::JUDGED,
            name if is_tag(name, policy) => LineUse::TAGS,
            _ => return,
        };
        if parts.keeps(name, value) {
            uses = uses.with(LineUse::KEPT);
        }
        if is_kept_apart(name) || !has_line(parts.shown, name, value) {
            lines.line(uses, name, value);
        }
    });
}

/// Adds the fields that the host wants to read later and that clients do not get unchanged: hidden and rewritten ones.
fn kept_lines(lines: &mut LineWriter, parts: &Parts<'_>, policy: &Policy) {
    let Some(kept) = parts.kept else { return };
    let excluded = Exclusions::of(parts.judged, &parts.storable.control.directives);
    excluded.kept(kept, &mut |name, value| {
        let is_judged = is_judged(name, policy) || is_tag(name, policy);
        let is_written =
            has_line(parts.shown, name, value) || is_judged && has_line(parts.judged, name, value);
        if !is_kept_apart(name) && !is_written {
            lines.line(LineUse::KEPT, name, value);
        }
    });
}

impl Parts<'_> {
    fn keeps(&self, name: &[u8], value: &[u8]) -> bool {
        self.kept.is_some_and(|kept| has_line(kept, name, value))
    }

    fn tells_host(&self) -> bool {
        let told = |name| self.kept.is_some_and(|kept| count(kept, name) > 0);
        [LIMIT_RATE, CHARSET, STATUS_LINE].into_iter().any(told)
    }
}

fn is_tag(name: &[u8], policy: &Policy) -> bool {
    policy.tag_fields.iter().any(|field| is(name, field))
}

/// Whether a field is not kept as a line: it is part of the head (`Date`), made for each delivery (`Age`,
/// `Content-Length`), never replayed (`Set-Cookie`), or meant for this cache alone (`Surrogate-Control`).
fn is_kept_apart(name: &[u8]) -> bool {
    [
        "date",
        "age",
        "content-length",
        "set-cookie",
        "surrogate-control",
    ]
    .iter()
    .any(|field| is(name, field))
}

fn is_judged(name: &[u8], policy: &Policy) -> bool {
    const JUDGED: [&str; 6] = [
        "cache-control",
        "expires",
        "vary",
        "etag",
        "last-modified",
        "x-accel-expires",
    ];
    JUDGED.iter().any(|field| is(name, field))
        || policy.control_fields.iter().any(|field| is(name, field))
}

fn has_line(fields: &dyn Fields, name: &[u8], value: &[u8]) -> bool {
    let mut found = false;
    fields.each(&mut |other, content| {
        found |= value == content && name.eq_ignore_ascii_case(other);
    });
    found
}

/// Returns the lines of `stored` for some uses, updated with those of a 304 (RFC 9111 §3.2).
pub(crate) fn updated(stored: &Stored, uses: LineUse, new: &dyn Fields) -> OwnLines {
    let old = LinesFor {
        lines: stored.head().lines(stored.object().meta()),
        uses,
    };
    let mut lines = OwnLines::new();
    freshen::merge(
        &old,
        new,
        &Exclusions::connection(new),
        &mut |name, value| {
            lines.push((name.into(), value.into()));
        },
    );
    lines
}

/// Returns the `Last-Modified` that the origin sent with a stored response, as a field value.
pub(crate) fn last_modified(stored: &Stored) -> Option<[u8; date::LEN]> {
    stored.head().last_modified.map(date::format)
}
