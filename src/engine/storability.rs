//! Whether a response may be stored, how long it is fresh, and how it may be used once stale.

use super::policy::{IgnoreFields, Policy, SECOND};
use super::record::{Flags, HeadFacts};
use super::verdict::Unstored;
use crate::http::age::{self, AgeInput};
use crate::http::freshness::{self, Basis, Times};
use crate::http::staleness::{Bind, Staleness};
use crate::http::storable::{self, Candidate, Traits, Unstorable};
use crate::http::{CacheControl, Control, Expiry, Fields, Nominated, Scope, Source, Vary, syntax};
use crate::store::Millis;

/// The response to assess.
pub(crate) struct Received<'a> {
    pub(crate) method: &'a ::http::Method,
    pub(crate) status: u16,
    /// The host completes a relative `Location` with its own scheme and authority.
    pub(crate) own_redirect: bool,
    /// The origin's fields.
    pub(crate) fields: &'a dyn Fields,
    /// The request had `Authorization`.
    pub(crate) authorised: bool,
    pub(crate) request_time: Millis,
    pub(crate) response_time: Millis,
    /// The response time by the wall clock, which the origin's dates are compared with.
    pub(crate) wall: Millis,
}

/// A response that may be stored.
#[derive(Debug)]
pub(crate) struct Storable {
    pub(crate) facts: HeadFacts,
    pub(crate) control: Control,
    pub(crate) nominated: Nominated,
}

/// The origin's fields without those that the location ignores.
struct Heard<'a> {
    fields: &'a dyn Fields,
    ignore: IgnoreFields,
}

impl Fields for Heard<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.fields.each(&mut |name, value| {
            if self.ignore == IgnoreFields::NONE || !ignored(self.ignore, name) {
                f(name, value);
            }
        });
    }
}

fn ignored(ignore: IgnoreFields, name: &[u8]) -> bool {
    IgnoreFields::of(name).is_some_and(|field| field != IgnoreFields::NONE && ignore.has(field))
}

/// The value of `X-Accel-Expires`, nginx's own targeted control, which overrides all other freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accel {
    Absent,
    /// `0`: the response is not stored.
    Off,
    /// Fresh for this long from now, in milliseconds.
    For(Millis),
}

impl Accel {
    /// Parses seconds, or `@` and a Unix time in seconds; anything else counts as absent, as in nginx.
    fn read(fields: &dyn Fields, now: Millis) -> Accel {
        let parse = |value: &[u8]| match value.strip_prefix(b"@") {
            Some(at) => syntax::digits(at)
                .map(|at| Accel::For(at.saturating_mul(SECOND).saturating_sub(now))),
            None => syntax::digits(value).map(|seconds| match seconds {
                0 => Accel::Off,
                seconds => Accel::For(seconds.saturating_mul(SECOND)),
            }),
        };
        crate::http::fields::first(fields, "X-Accel-Expires", parse).unwrap_or(Accel::Absent)
    }
}

/// Returns what to store, or why the response may not be stored.
pub(crate) fn of(case: &Received<'_>, policy: &Policy) -> Result<Storable, Unstored> {
    let heard = Heard {
        fields: case.fields,
        ignore: policy.ignore,
    };
    let control = governing(&heard, policy, Accel::read(&heard, case.wall))?;
    let times = Times::read(&heard);
    let vary = Vary::of(&heard);
    let Fresh { lifetime, by } = control.lifetime(case, &times, policy);
    let sets_cookie = sets_cookie(&heard, &control.control.directives);
    let has_lifetime = by == Giver::Configured && lifetime > 0
        || (times.expires != Expiry::Absent && control.control.source == Source::CacheControl);
    let traits = Traits {
        authorization: case.authorised,
        set_cookie: sets_cookie,
        vary_any: vary == Vary::Any,
        has_lifetime,
        ..Traits::default()
    };
    storable::storable(&Candidate {
        method: case.method,
        status: case.status,
        control: &control.control.directives,
        traits,
    })
    .map_err(reason)?;
    let nominated = match vary {
        Vary::Fields(nominated) => nominated,
        Vary::Any => return Err(Unstored::VaryStar),
    };
    let is_refused = by == Giver::Configured && lifetime == 0;
    if is_refused || by == Giver::Nobody && !can_be_validated(case, &times, policy) {
        return Err(Unstored::NoFreshness);
    }
    Ok(Storable {
        facts: facts(case, &control.control.directives, &times, lifetime),
        control: control.control,
        nominated,
    })
}

/// The governing directives, and the lifetime that overrides theirs.
struct Governing {
    control: Control,
    accel: Option<Millis>,
}

/// A lifetime and its source.
struct Fresh {
    lifetime: Millis,
    by: Giver,
}

/// The source of a response's lifetime.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Giver {
    /// The origin, even if it is zero (`max-age=0`).
    Origin,
    /// The location: `swr_cache_valid`, for which 0 means "not stored", or `X-Accel-Expires`.
    Configured,
    /// A heuristic (RFC 9111 §4.2.2).
    Heuristic,
    Nobody,
}

/// Whether the origin could validate this response if it were stored. A response without any lifetime has no other use,
/// and a location's window does not change that.
fn can_be_validated(case: &Received<'_>, times: &Times, policy: &Policy) -> bool {
    let tagged = || crate::http::fields::count(case.fields, "etag") > 0;
    // A 304 can only stand for a 200 (RFC 9110 §15.4.5), and responses to POST are not validated.
    policy.revalidate
        && case.status == 200
        && *case.method != ::http::Method::POST
        && (times.last_modified.is_some() || tagged())
}

fn governing(heard: &Heard<'_>, policy: &Policy, accel: Accel) -> Result<Governing, Unstored> {
    let mut control = Control::of(heard, &policy.control_fields);
    let accel = match accel {
        Accel::Off => return Err(Unstored::AccelExpires),
        Accel::Absent => None,
        Accel::For(time) => {
            // The field addresses this cache alone, so it overrides directives for all caches; those on stale service
            // stay.
            let directives = &mut control.directives;
            directives.no_store = false;
            directives.no_cache = unqualified_off(std::mem::take(&mut directives.no_cache));
            directives.private = unqualified_off(std::mem::take(&mut directives.private));
            Some(time)
        }
    };
    Ok(Governing { control, accel })
}

fn unqualified_off(scope: Scope) -> Scope {
    match scope {
        Scope::All => Scope::None,
        other => other,
    }
}

impl Governing {
    /// The lifetime that the origin states to this cache, else to all caches, else the configured one, else a
    /// heuristic.
    fn lifetime(&self, case: &Received<'_>, times: &Times, policy: &Policy) -> Fresh {
        let basis = Basis {
            control: &self.control,
            times,
            status: case.status,
            response_time: case.wall,
        };
        let stated = freshness::explicit(&basis).map(|lifetime| lifetime.value);
        let configured = || {
            let entry = policy
                .valid
                .iter()
                .find(|(status, _)| status.matches(case.status));
            entry.map(|(_, time)| *time)
        };
        let fresh = |lifetime, by| Fresh { lifetime, by };
        if let Some(time) = self.accel {
            // Counted from now, whatever the response's age.
            let age = initial_age(case, times);
            // A time in the past makes the response stale at once, as `max-age=0` does; only `0` forbids storing it.
            let by = match time {
                0 => Giver::Origin,
                _ => Giver::Configured,
            };
            return fresh(time.saturating_add(age), by);
        }
        match (stated, configured()) {
            (Some(time), _) => fresh(time, Giver::Origin),
            (None, Some(time)) => fresh(time, Giver::Configured),
            // No heuristic applies to the response to a POST (RFC 9110 §9.3.3).
            (None, None) if *case.method == ::http::Method::POST => fresh(0, Giver::Nobody),
            (None, None) => match freshness::heuristic(&basis) {
                Some(guess) => fresh(guess.value, Giver::Heuristic),
                None => fresh(0, Giver::Nobody),
            },
        }
    }
}

/// Whether the response has `Set-Cookie`, and neither the location nor the response itself (`no-cache="set-cookie"`)
/// excludes the field from storage.
fn sets_cookie(heard: &Heard<'_>, control: &CacheControl) -> bool {
    let name = b"set-cookie";
    !control.no_cache.lists(name)
        && !control.private.lists(name)
        && crate::http::fields::count(heard, "set-cookie") > 0
}

fn initial_age(case: &Received<'_>, times: &Times) -> Millis {
    let delay = case.response_time.saturating_sub(case.request_time);
    age::initial(&AgeInput {
        date: times.date,
        age: times.age,
        request_time: case.wall.saturating_sub(delay),
        response_time: case.wall,
    })
}

fn facts(
    case: &Received<'_>,
    control: &CacheControl,
    times: &Times,
    lifetime: Millis,
) -> HeadFacts {
    let staleness = Staleness::of(control, lifetime);
    let bind = match staleness.bind {
        Bind::Free => Flags::default(),
        Bind::SMaxAge => Flags::S_MAXAGE,
        Bind::ProxyRevalidate | Bind::MustRevalidate => Flags::MUST_REVALIDATE,
        Bind::NoCache => Flags::NO_CACHE,
    };
    // `no-transform` is no caching directive, so `Cache-Control` applies even if another field governs.
    let no_transform = control.no_transform || CacheControl::response(case.fields).no_transform;
    let seconds = |window: Millis| u32::try_from(window / SECOND).unwrap_or(u32::MAX - 1);
    HeadFacts {
        status: case.status,
        flags: bind
            .with(Flags::FOR_AUTHORISED.when(storable::shares_authorized(control)))
            .with(Flags::BY_AUTHORISED.when(case.authorised))
            .with(Flags::IMMUTABLE.when(control.immutable))
            .with(Flags::NO_TRANSFORM.when(no_transform))
            .with(Flags::OWN_REDIRECT.when(case.own_redirect))
            .with(Flags::OF_HEAD.when(*case.method == ::http::Method::HEAD)),
        stored_at: case.response_time,
        date: times.date.unwrap_or(case.wall),
        initial_age: initial_age(case, times),
        lifetime,
        last_modified: times.last_modified,
        swr: staleness.swr.map(seconds),
        sie: staleness.sie.map(seconds),
    }
}

fn reason(unstorable: Unstorable) -> Unstored {
    match unstorable {
        Unstorable::Method => Unstored::Method,
        Unstorable::NotFinal | Unstorable::NotUnderstood => Unstored::UncacheableStatus,
        Unstorable::Partial | Unstorable::NotModified => Unstored::Partial,
        Unstorable::NoStore => Unstored::NoStore,
        Unstorable::RequestNoStore => Unstored::ClientNoStore,
        Unstorable::Private => Unstored::Private,
        Unstorable::Authorization => Unstored::Authorization,
        Unstorable::SetCookie => Unstored::SetCookie,
        Unstorable::VaryAny => Unstored::VaryStar,
        Unstorable::NoLifetime => Unstored::NoFreshness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origins_dates_are_compared_with_the_wall_clock() {
        const WALL: Millis = 1_700_000_000_000;
        // The wall clock has been set back by an hour; the cache's clock continues.
        let now = WALL + 3_600_000;
        let date = crate::http::date::format(WALL - 5_000);
        let date = std::str::from_utf8(&date).unwrap();
        for (fields, age, lifetime) in [
            (
                vec![("Cache-Control", "max-age=60"), ("Date", date)],
                5_000,
                60_000,
            ),
            (
                vec![("Cache-Control", "max-age=60"), ("Age", "7")],
                7_300,
                60_000,
            ),
            (vec![("X-Accel-Expires", "@1700000030")], 300, 30_300),
        ] {
            let case = Received {
                method: &::http::Method::GET,
                status: 200,
                fields: &fields,
                authorised: false,
                request_time: now - 300,
                response_time: now,
                wall: WALL,
                own_redirect: false,
            };
            let facts = of(&case, &Policy::default()).unwrap().facts;
            assert_eq!(
                (facts.initial_age, facts.lifetime),
                (age, lifetime),
                "{fields:?}"
            );
            assert_eq!(facts.stored_at, now);
            assert!(facts.date <= WALL);
        }
    }
}
