//! The policy of a server or a part of it: directives by name, with the words and meanings of the nginx module.

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use super::error::{Error, SWRCACHE_EINVAL};
use super::handle::{Handle, HandleKind, call};
use super::types::{put, text};
use crate::engine::policy::set::refuse;
use crate::engine::{Directives, Policy as Rules};
use crate::http::syntax::is_token;

/// A policy, and what beside it the library itself looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) rules: Rules,
    /// What was set here; the rest is inherited.
    own: Directives,
    inherited: Directives,
    /// `status_header`, the library's own directive.
    status: Status,
}

/// The name of this cache in `Cache-Status`, if it is to be sent, and whether that was said here.
#[derive(Clone, Debug, Default)]
struct Status {
    name: Option<String>,
    is_own: bool,
}

impl Settings {
    /// Sets a directive here. `Err`: what is wrong with it, and all is as before.
    fn set(&mut self, directive: &str, value: &str) -> Result<(), String> {
        if directive == "status_header" {
            self.status = Status {
                name: status_name(value.trim())?,
                is_own: true,
            };
            return Ok(());
        }
        let words = words(value).ok_or("has a quotation mark that nothing closes")?;
        self.own.add(directive, &words)?;
        self.rules = self.all().policy();
        Ok(())
    }

    fn all(&self) -> Directives {
        let mut all = self.own.clone();
        all.inherit(&self.inherited);
        all
    }

    /// What is set here, over what `outer` has.
    fn over(&self, outer: &Settings) -> Settings {
        let mut merged = self.clone();
        merged.inherited = outer.all();
        merged.rules = merged.all().policy();
        if !self.status.is_own {
            merged.status.name.clone_from(&outer.status.name);
        }
        merged
    }

    /// The name of this cache, if `Cache-Status` is to be sent.
    pub(crate) fn status_name(&self) -> Option<&str> {
        self.status.name.as_deref()
    }

    /// The name of this cache.
    pub(crate) fn name(&self) -> String {
        self.status_name().unwrap_or("swrcache").into()
    }
}

/// What is behind a `swrcache_policy`.
pub struct PolicyValue(pub(crate) Arc<Settings>);

impl HandleKind for PolicyValue {
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
/// | `valid` | `[CODE ...\|any] TIME` | - |
/// | `min_uses` | number | `1` |
/// | `ignore_headers` | field names | - |
/// | `use_stale` | `error timeout invalid_header updating http_500 ...` or `off` | all of RFC 5861 |
/// | `stale_while_revalidate`, `stale_if_error` | `TIME [force]`, `origin`, `off` | `origin` |
/// | `background_update`, `revalidate`, `edge_revalidation`, `lock`, `convert_head`, `if_modified_since` | `on`, `off` | `on` |
/// | `client_control` | `on`, `off` | `off` |
/// | `lock_timeout`, `lock_age` | time | `5s` |
/// | `control_headers`, `vary_normalize`, `tag_headers` | field names, `off` | as the module |
/// | `max_range_offset` | size, `off` | `off` |
/// | `refresh_max` | number, for the whole cache | `64` |
/// | `refresh_backoff` | `MIN MAX` | `1s 60s` |
/// | `refresh_ahead` | percent, `off` | `off` |
/// | `revalidate_timeout`, `inactive` | time, `off` | `off` |
/// | `max_variants` | number | `64` |
/// | `invalidate` | `on`, `target`, `soft`, `off` | `on` |
/// | `compress` | `gzip[=LEVEL]`, `br[=LEVEL]`, `zstd[=LEVEL]`, `off`; needs `swrcache_encode` | `off` |
/// | `compress_types` | media types, `*` | text, as the module |
/// | `compress_min_length` | size | `256` |
/// | `status_header` | a name for `Cache-Status`, `off` | `off` |
///
/// Times and sizes are as in nginx: `90`, `90s`, `1m30s`, `500ms`, `1d`, `"1d 2h"`; `512k`, `4g`. A second call adds to `methods`,
/// `valid`, `ignore_headers` and `use_stale`, as a second line does in nginx, and takes the place of the first for all others. Call it
/// before the policy is first used; one thread at a time.
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
                let set = settings.set(directive, value);
                set.map_err(|why| Error::new(SWRCACHE_EINVAL, format!("\"{directive}\" {why}")))
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

/// The words of a value; one in double quotes may have spaces (`"1d 2h"`).
fn words(value: &str) -> Option<Vec<&[u8]>> {
    let (mut words, mut rest) = (Vec::new(), value.trim_ascii_start());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = rest.find(|c: char| c.is_ascii_whitespace());
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        words.push(word.as_bytes());
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// `off`, or a token as `Cache-Status` wants it (RFC 9211 §2, RFC 9651 §3.3.4).
fn status_name(value: &str) -> Result<Option<String>, String> {
    let token = |b: u8| is_token(&[b]) || b":/".contains(&b);
    let begins = |b: u8| b.is_ascii_alphabetic() || b == b'*';
    match value {
        "off" => Ok(None),
        name if name.bytes().next().is_some_and(begins) && name.bytes().all(token) => {
            Ok(Some(name.to_owned()))
        }
        other => refuse(other.as_bytes(), "a name for Cache-Status, or \"off\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_into_words() {
        for (value, expected) in [
            (" 200  302\t10m ", Some(vec!["200", "302", "10m"])),
            ("", Some(vec![])),
            ("any \"1d 2h\"", Some(vec!["any", "1d 2h"])),
            ("any \"1d", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::as_bytes).collect());
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn a_policy_takes_what_the_module_takes_and_a_name() {
        let mut settings = Settings::default();
        for (directive, value) in [
            ("ignore_headers", "X-Accel-Limit-Rate"),
            ("control_headers", "off"),
            ("valid", "any \"1d 2h\""),
            ("inactive", "1h"),
            ("status_header", "edge"),
        ] {
            assert_eq!(
                settings.set(directive, value),
                Ok(()),
                "{directive} {value}"
            );
        }
        assert_eq!(settings.name(), "edge");
        for (directive, value) in [
            ("refresh_backoff", "0 1s"),
            ("status_header", "no good"),
            ("status_header", ""),
            ("control_headers", ""),
            ("nonsense", "on"),
        ] {
            assert!(
                settings.set(directive, value).is_err(),
                "{directive} {value}"
            );
        }
        let inner = Settings::default().over(&settings);
        assert_eq!(
            (inner.name().as_str(), inner.rules.inactive),
            ("edge", Some(3_600_000))
        );
    }
}
