//! The policy of a server or a part of it: directives by name, with the words and meanings of the nginx module.

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use super::error::{Error, SWRCACHE_EINVAL};
use super::handle::{Handle, Kind, call};
use super::types::{put, text};
use crate::engine::{
    IgnoreFields, Invalidate, MethodSet, Policy as Rules, StatusMatch, UseStale, Window, units,
};
use crate::http::Millis;
use crate::http::syntax::is_token;

/// A policy, and what beside it the library itself looks at.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rules: Rules,
    /// The name of this cache in `Cache-Status`, if it is to be sent.
    pub(crate) status_name: Option<String>,
    pub(crate) refresh_max: u32,
    /// What was set here, in order; the rest is inherited.
    own: Vec<(String, String)>,
}

impl Settings {
    /// Sets a directive here; the first line of several takes the place of those that were inherited.
    fn set_own(&mut self, directive: &str, value: &str) -> Option<()> {
        let first = !self.own.iter().any(|(own, _)| own == directive);
        let mut changed = self.clone();
        if first && directive == "valid" {
            changed.rules.valid.clear();
        }
        set(&mut changed, directive, value)?;
        changed.own.push((directive.into(), value.into()));
        *self = changed;
        Some(())
    }

    /// What is set here, over what `outer` has.
    fn over(&self, outer: &Settings) -> Settings {
        let mut merged = Settings {
            own: Vec::new(),
            ..outer.clone()
        };
        for (directive, value) in &self.own {
            // It could be set before, so it can be now.
            let _ = merged.set_own(directive, value);
        }
        merged
    }

    /// The name of this cache.
    pub(crate) fn name(&self) -> String {
        self.status_name
            .clone()
            .unwrap_or_else(|| "swrcache".into())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rules: Rules::default(),
            status_name: None,
            refresh_max: 64,
            own: Vec::new(),
        }
    }
}

/// What is behind a `swrcache_policy`.
pub struct PolicyValue(pub(crate) Arc<Settings>);

impl Kind for PolicyValue {
    const MAGIC: u32 = 0x7377_7202;
}

/// How a server caches: directives with their values. Made by `swrcache_policy_new`.
pub type Policy = Handle<PolicyValue>;

/// Makes a policy in which every directive has its default.
///
/// `*policy` is yours, to be freed with `swrcache_policy_free`; NULL on failure. The defaults do all that an origin asks
/// for with `Cache-Control: max-age=60, stale-while-revalidate=300, stale-if-error=86400`.
///
/// Any thread.
///
/// Returns 0, or SWRCACHE_EINVAL if `policy` is NULL.
///
/// # Safety
/// `policy` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_policy_new(policy: *mut *mut Policy) -> c_int {
    call(|| {
        // SAFETY: NULL or writable.
        unsafe { put(policy, std::ptr::null_mut()) }?;
        let made = Handle::give(PolicyValue(Arc::new(Settings::default())));
        // SAFETY: as above.
        unsafe { put(policy, made) }
    })
}

/// Sets one directive, in the words of the nginx module without their prefix `swr_cache_`:
///
/// | directive | value | default |
/// |---|---|---|
/// | `methods` | `GET`, `HEAD`, `POST` | `GET HEAD` |
/// | `valid` | `[CODE ...\|any] TIME`; each call adds a line | - |
/// | `min_uses` | number | `1` |
/// | `ignore_headers` | field names | - |
/// | `use_stale` | `error timeout invalid_header updating http_500 ...` or `off` | all of RFC 5861 |
/// | `stale_while_revalidate`, `stale_if_error` | `TIME [force]`, `origin`, `off` | `origin` |
/// | `background_update`, `revalidate`, `edge_revalidation`, `lock`, `convert_head` | `on`, `off` | `on` |
/// | `max_range_offset` | size, `off` | `off` |
/// | `client_control` | `on`, `off` | `off` |
/// | `lock_timeout`, `lock_age` | time | `5s` |
/// | `control_headers`, `vary_normalize`, `tag_headers` | field names | as the module |
/// | `refresh_max` | number, for the whole cache | `64` |
/// | `refresh_backoff` | `MIN MAX` | `1s 60s` |
/// | `refresh_ahead` | percent, `off` | `off` |
/// | `revalidate_timeout`, `inactive` | time, `off` | `off` |
/// | `max_variants` | number | `64` |
/// | `invalidate` | `on`, `target`, `soft`, `off` | `on` |
/// | `status_header` | a name for `Cache-Status`, `off` | `off` |
///
/// Times and sizes are as in nginx: `90`, `90s`, `1m30s`, `500ms`, `1d`; `512k`, `4g`. Call it before the policy is first used; one thread at a time.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL, an unknown directive or a bad value (`swrcache_last_error` names it; the policy is as it
/// was); SWRCACHE_ESTATE once the policy has been used.
///
/// # Safety
/// `policy` is NULL or live; the strings are NULL or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_policy_set(
    policy: *mut Policy,
    directive: *const c_char,
    value: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: NULL or C strings, says the caller.
        let (directive, value) = unsafe { (text(directive)?, text(value)?) };
        // SAFETY: NULL or a live handle, says the caller.
        unsafe {
            Handle::with_mut(policy, |policy| {
                let settings = Arc::make_mut(&mut policy.0);
                settings.set_own(directive, value).ok_or_else(|| {
                    Error::new(
                        SWRCACHE_EINVAL,
                        format!("\"{directive}\" can't be \"{value}\""),
                    )
                })
            })
        }
    })
}

/// Gives `policy` all that it does not set itself as `outer` has it, as nginx does with a location in a server.
///
/// A directive that was set in `policy` stays as it is set there, also one of several lines (`valid`). `outer` counts as used from then
/// on. Call it before `policy` is first used; one thread at a time for `policy`, any for `outer`.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESTATE once `policy` has been used; SWRCACHE_EBUSY if `outer` is being changed.
///
/// # Safety
/// `policy` and `outer` are NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_policy_merge(policy: *mut Policy, outer: *const Policy) -> c_int {
    call(|| {
        // SAFETY: NULL or live, says the caller; which is then not the same, as it can't be changed any more.
        let outer = unsafe { Handle::with_ref(outer, |outer| Ok(Arc::clone(&outer.0))) }?;
        // SAFETY: as above.
        unsafe {
            Handle::with_mut(policy, |policy| {
                policy.0 = Arc::new(policy.0.over(&outer));
                Ok(())
            })
        }
    })
}

/// Makes a policy that has all as another has it, to be set on from there.
///
/// `*copy` is yours, to be freed with `swrcache_policy_free`; NULL on failure. Nothing is set in it by itself: the first `valid` takes the
/// place of those of the other, which counts as used from then on.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_EBUSY if `policy` is being changed by another thread.
///
/// # Safety
/// `policy` is NULL or live; `copy` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_policy_copy(
    policy: *const Policy,
    copy: *mut *mut Policy,
) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(copy, std::ptr::null_mut()) }?;
        let made = |from: &PolicyValue| Ok(Settings::default().over(&from.0));
        // SAFETY: NULL or live.
        let made = unsafe { Handle::with_ref(policy, made) }?;
        // SAFETY: see above.
        unsafe { put(copy, Handle::give(PolicyValue(Arc::new(made)))) }
    })
}

/// Frees a policy. NULL is ignored. What was made with it keeps what it needs.
/// When no other thread uses it.
///
/// # Safety
/// `policy` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_policy_free(policy: *mut Policy) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(policy) };
}

/// Sets a directive; `None` if there is no such one, or the value is none of it.
fn set(settings: &mut Settings, directive: &str, value: &str) -> Option<()> {
    let value = value.trim();
    let rules = &mut settings.rules;
    match directive {
        "methods" => rules.methods = methods(value)?,
        "valid" => {
            let lines = valid(value)?;
            rules.valid.extend(lines);
        }
        "min_uses" => rules.min_uses = value.parse().ok()?,
        "ignore_headers" => rules.ignore = ignored(value)?,
        "use_stale" => rules.use_stale = use_stale(value)?,
        "stale_while_revalidate" => rules.swr = window(value)?,
        "stale_if_error" => rules.sie = window(value)?,
        "invalidate" => rules.invalidate = Invalidate::parse(value)?,
        "background_update" => rules.background_update = switch(value)?,
        "revalidate" => rules.revalidate = switch(value)?,
        "edge_revalidation" => rules.edge_revalidation = switch(value)?,
        "lock" => rules.lock = switch(value)?,
        "convert_head" => rules.convert_head = switch(value)?,
        "max_range_offset" => {
            rules.max_range_offset = or_off(value, |value| units::size(value.as_bytes()))?;
        }
        "client_control" => rules.client_control = switch(value)?,
        "lock_timeout" => rules.lock_timeout = time(value)?,
        "lock_age" => rules.lock_age = time(value)?,
        "control_headers" => rules.control_fields = field_names(value)?,
        "vary_normalize" => rules.vary_normalize = field_names(value)?,
        "tag_headers" => rules.tag_fields = field_names(value)?,
        "refresh_max" => settings.refresh_max = value.parse().ok()?,
        "refresh_backoff" => {
            let (min, max) = value.split_once(char::is_whitespace)?;
            let (min, max) = (time(min)?, time(max.trim())?);
            (min <= max).then_some(())?;
            (rules.backoff_min, rules.backoff_max) = (min, max);
        }
        "refresh_ahead" => rules.refresh_ahead = or_off(value, percent)?,
        "revalidate_timeout" => rules.revalidate_timeout = or_off(value, time)?,
        "inactive" => rules.inactive = or_off(value, time)?,
        "max_variants" => rules.max_variants = value.parse().ok().filter(|n| *n > 0)?,
        "status_header" => settings.status_name = or_off(value, name)?,
        _ => return None,
    }
    Some(())
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn or_off<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match value {
        "off" => Some(None),
        value => read(value).map(Some),
    }
}

/// Names of fields; none at all is a list too.
fn field_names(value: &str) -> Option<Vec<Box<str>>> {
    let name = |word: &str| is_token(word.as_bytes()).then(|| word.into());
    value.split_ascii_whitespace().map(name).collect()
}

fn percent(value: &str) -> Option<u8> {
    let number = value.strip_suffix('%').unwrap_or(value).parse().ok()?;
    (1..100).contains(&number).then_some(number)
}

/// A token, as `Cache-Status` wants it.
fn name(value: &str) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
    let first = value.bytes().next()?;
    let fits = (first.is_ascii_alphabetic() || first == b'*') && value.bytes().all(token);
    fits.then(|| value.to_owned())
}

fn time(value: &str) -> Option<Millis> {
    units::time(value.as_bytes())
}

fn window(value: &str) -> Option<Window> {
    match value {
        "origin" => Some(Window::Origin),
        "off" => Some(Window::Off),
        value => match value.split_once(char::is_whitespace) {
            None => Some(Window::Default(time(value)?)),
            Some((window, "force")) => Some(Window::Force(time(window)?)),
            Some(_) => None,
        },
    }
}

fn methods(value: &str) -> Option<MethodSet> {
    let mut words = value.split_ascii_whitespace().peekable();
    words.peek()?;
    // As in nginx, GET and HEAD are always in.
    words.try_fold(
        MethodSet::GET.with(MethodSet::HEAD),
        |set, word| match word {
            "GET" => Some(set.with(MethodSet::GET)),
            "HEAD" => Some(set.with(MethodSet::HEAD)),
            "POST" => Some(set.with(MethodSet::POST)),
            _ => None,
        },
    )
}

fn valid(value: &str) -> Option<Vec<(StatusMatch, Millis)>> {
    let mut words: Vec<&str> = value.split_ascii_whitespace().collect();
    let time = time(words.pop()?)?;
    if words.is_empty() {
        return Some(vec![(StatusMatch::Usual, time)]);
    }
    let status = |word: &&str| match *word {
        "any" => Some((StatusMatch::Any, time)),
        code => {
            let code = code.parse().ok().filter(|c| (100..600).contains(c))?;
            Some((StatusMatch::Code(code), time))
        }
    };
    words.iter().map(status).collect()
}

fn ignored(value: &str) -> Option<IgnoreFields> {
    value
        .split_ascii_whitespace()
        .try_fold(IgnoreFields::NONE, |set, word| {
            let field = match word.to_ascii_lowercase().as_str() {
                "x-accel-expires" => IgnoreFields::X_ACCEL_EXPIRES,
                "expires" => IgnoreFields::EXPIRES,
                "cache-control" => IgnoreFields::CACHE_CONTROL,
                "set-cookie" => IgnoreFields::SET_COOKIE,
                "vary" => IgnoreFields::VARY,
                "cdn-cache-control" => IgnoreFields::CDN_CACHE_CONTROL,
                "surrogate-control" => IgnoreFields::SURROGATE_CONTROL,
                _ => return None,
            };
            Some(set.with(field))
        })
}

fn use_stale(value: &str) -> Option<UseStale> {
    if value == "off" {
        return Some(UseStale::OFF);
    }
    let mut words = value.split_ascii_whitespace().peekable();
    words.peek()?;
    let conditions = words.try_fold(0, |set, word| {
        Some(
            set | match word {
                "error" => UseStale::ERROR,
                "timeout" => UseStale::TIMEOUT,
                "invalid_header" => UseStale::INVALID_HEADER,
                "updating" => UseStale::UPDATING,
                "http_500" => UseStale::HTTP_500,
                "http_502" => UseStale::HTTP_502,
                "http_503" => UseStale::HTTP_503,
                "http_504" => UseStale::HTTP_504,
                "http_403" => UseStale::HTTP_403,
                "http_404" => UseStale::HTTP_404,
                "http_429" => UseStale::HTTP_429,
                _ => return None,
            },
        )
    })?;
    Some(UseStale::listed(conditions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_takes_its_values_and_refuses_others() {
        let good = [
            ("methods", "GET POST"),
            ("valid", "200 302 10m"),
            ("valid", "10m"),
            ("valid", "any 1s"),
            ("valid", "any 1y"),
            ("min_uses", "2"),
            ("ignore_headers", "Set-Cookie Vary"),
            ("use_stale", "error updating http_404"),
            ("use_stale", "off"),
            ("stale_while_revalidate", "30s force"),
            ("stale_if_error", "origin"),
            ("background_update", "off"),
            ("revalidate", "on"),
            ("edge_revalidation", "off"),
            ("lock", "off"),
            ("client_control", "on"),
            ("convert_head", "off"),
            ("max_range_offset", "4m"),
            ("max_range_offset", "off"),
            ("lock_timeout", "1s"),
            ("lock_age", "1s"),
            ("control_headers", "My-Control"),
            ("vary_normalize", "Accept-Language"),
            ("tag_headers", "X-Tags"),
            ("refresh_max", "3"),
            ("refresh_backoff", "1s 2s"),
            ("refresh_ahead", "20%"),
            ("revalidate_timeout", "200ms"),
            ("inactive", "1h"),
            ("max_variants", "3"),
            ("invalidate", "soft"),
            ("status_header", "edge"),
        ];
        let mut settings = Settings::default();
        for (directive, value) in good {
            assert!(
                set(&mut settings, directive, value).is_some(),
                "{directive} {value}"
            );
        }
        let bad = [
            ("methods", "PUT"),
            ("methods", ""),
            ("valid", "any"),
            ("valid", "99 1s"),
            ("lock", "maybe"),
            ("refresh_backoff", "2s 1s"),
            ("refresh_ahead", "100"),
            ("stale_if_error", "5s hard"),
            ("status_header", "no good"),
            ("max_variants", "0"),
            ("control_headers", "My-Control, Other"),
            ("tag_headers", "X:Tags"),
            ("vary_normalize", "Accept;X"),
            ("invalidate", "maybe"),
            ("convert_head", "0"),
            ("max_range_offset", "1t"),
            ("nonsense", "on"),
        ];
        for (directive, value) in bad {
            assert!(
                set(&mut settings, directive, value).is_none(),
                "{directive} {value}"
            );
        }
    }
}
