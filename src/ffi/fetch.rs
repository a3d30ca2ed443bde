//! A fetch from the origin, from the permission to the last byte.
//!
//! | stage | what is legal | goes on to |
//! |---|---|---|
//! | permitted | `fields`, `stale`, `respond`, `fail` | filling, over; permitted once more, to ask again |
//! | filling | `write`, `finish`, `fail` | outgrown, over |
//! | outgrown: `write` was refused | `reply`, `finish` | over |
//! | over | `reply`, `reason` | - |
//!
//! `free` is legal everywhere; before the end it gives the fetch up, and the next request may have its place.

use std::ffi::{CStr, c_char, c_int};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Release};

use super::cache::Shared;
use super::count::Count;
use super::error::{Error, Result, SWRCACHE_EAGAIN, SWRCACHE_EINVAL, SWRCACHE_ESTATE};
use super::handle::{Handle, Kind, call};
use super::lookup::word;
use super::policy::Settings;
use super::reply::{self, Fetched, Reply};
use super::request::{Client, Request, unkeyed};
use super::response::{Answered, Response, failure_of};
use super::statistics::Told;
use super::types::{self, Field, Owned, bytes, field, put, put_text};
use crate::engine::{
    Failure, Filling, Finished, Led, Outcome, Part, Permit, Purpose, Reason, Stored, cache_status,
};
use crate::http::Exclusions;
use crate::store::{Millis, NoSpace};

/// Store: feed the body with `swrcache_fetch_write`, then call `swrcache_fetch_finish`. A client that waits may be given
/// `swrcache_fetch_reply` at once if that succeeds: it then follows the body as it grows.
pub const SWRCACHE_DO_STORE: c_int = 1;
/// Reply: the fetch is over; answer the client that waits with `swrcache_fetch_reply`. Drop the origin's response.
pub const SWRCACHE_DO_REPLY: c_int = 2;
/// Relay: the fetch is over and nothing is stored; send the origin's response (or your own 502 or 504, if there is none) to the
/// client that waits. If the body outgrew the cache (`swrcache_fetch_write` was refused) and you have sent or kept none of it,
/// `swrcache_fetch_reply` gives its head and what the cache took: read that to SWRCACHE_EOUTGROWN, then send the rest.
pub const SWRCACHE_DO_RELAY: c_int = 3;
/// Nothing: the fetch is over and no client waits. Drop the origin's response.
pub const SWRCACHE_DO_NOTHING: c_int = 4;
/// Gateway timeout: the fetch is over; the origin can't be reached, and it forbids to use the stored response without it
/// (`must-revalidate` and the like, RFC 9111 section 5.2.2.2). Send 504 to the client that waits.
pub const SWRCACHE_DO_GATEWAY_TIMEOUT: c_int = 5;
/// Ask again: the origin's 304 does not fit what is stored. Drop it, and ask the origin once more, now, with what
/// `swrcache_fetch_fields` tells anew (it has no conditions); then call `swrcache_fetch_respond` or `swrcache_fetch_fail` as for the
/// first answer. Comes once in a fetch.
pub const SWRCACHE_DO_ASK_AGAIN: c_int = 6;

/// Fields that a fetch never sends: it wants the whole, and validates what the cache has.
const NEVER_SENT: [&str; 6] = [
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];
/// Fields that a refresh does not send: one visitor's credentials must not decide what everybody gets.
const NEVER_SENT_ON_REFRESH: [&str; 2] = ["cookie", "authorization"];

enum Stage {
    Permitted(Permit),
    Filling(Filling),
    Outgrown(Box<Outgrown>),
    Over,
}

/// What there is for the client that leads when the cache can't take the rest of a body.
struct Outgrown {
    /// As far as it was taken; nothing where the origin broke its word.
    taken: Option<Stored>,
    stale: Option<Stored>,
}

/// What is behind a `swrcache_fetch`.
pub struct FetchValue {
    /// The client's request.
    client: Client,
    sends: Option<Vec<Field>>,
    made: Owned,
    /// What the first request sent: the host may still look at it.
    first: Option<(Vec<Field>, Owned)>,
    cache: Arc<Shared>,
    policy: Arc<Settings>,
    purpose: Purpose,
    /// Why the origin is asked.
    asked: Reason,
    led: Led,
    /// Of the request to the origin.
    method: &'static CStr,
    stage: Stage,
    /// Why it went as it did.
    reason: Reason,
    /// What the client that leads may have.
    brought: Option<(Stored, Led)>,
    /// Set when the body outgrew the cache: the reply of the client that leads then ends in SWRCACHE_EOUTGROWN.
    outgrown: Arc<AtomicBool>,
    /// The status that the origin sent.
    status: u16,
    began: Millis,
}

// SAFETY: the pointers in `sends` lead into memory of this same value.
unsafe impl Send for FetchValue {}

impl Kind for FetchValue {
    const MAGIC: u32 = 0x7377_7204;
}

/// A fetch to carry out. One thread at a time; any thread.
pub type Fetch = Handle<FetchValue>;

impl Drop for FetchValue {
    fn drop(&mut self) {
        self.over();
    }
}

impl FetchValue {
    pub(crate) fn new(
        cache: &Arc<Shared>,
        policy: &Arc<Settings>,
        permit: Permit,
        asked: Reason,
        client: Client,
    ) -> FetchValue {
        let purpose = permit.purpose();
        cache.counters.add(Count::Fetch, 1);
        if purpose == Purpose::Refresh {
            cache.counters.add(Count::Refresh, 1);
            cache.refreshing.fetch_add(1, AcqRel);
        }
        FetchValue {
            sends: None,
            made: Owned::default(),
            first: None,
            purpose,
            asked,
            led: permit.led(),
            method: match permit.is_head() {
                true => c"HEAD",
                false => client.sends(),
            },
            client,
            stage: Stage::Permitted(permit),
            reason: asked,
            brought: None,
            outgrown: Arc::default(),
            status: 0,
            began: cache.now(),
            cache: Arc::clone(cache),
            policy: Arc::clone(policy),
        }
    }

    pub(crate) fn cache(&self) -> &Arc<Shared> {
        &self.cache
    }

    /// Ends the fetch; gives what it was at.
    fn over(&mut self) -> Stage {
        let stage = mem::replace(&mut self.stage, Stage::Over);
        let busy = matches!(stage, Stage::Permitted(_) | Stage::Filling(_));
        if self.purpose == Purpose::Refresh && busy {
            self.cache.refreshing.fetch_sub(1, AcqRel);
        }
        stage
    }

    /// Begins a stage of a fetch that is not over.
    fn goes_on(&mut self, stage: Stage) {
        if self.purpose == Purpose::Refresh {
            self.cache.refreshing.fetch_add(1, AcqRel);
        }
        self.stage = stage;
    }

    /// Why it went as it did.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    fn is_refresh(&self) -> bool {
        self.purpose == Purpose::Refresh
    }

    /// The fields of the request to the origin.
    fn sent(&mut self) -> &[Field] {
        if self.sends.is_none() {
            self.made = self.compose();
            let lines = self.made.iter().map(|(name, value)| field(name, value));
            self.sends = Some(lines.collect());
        }
        self.sends.as_deref().unwrap_or_default()
    }

    fn compose(&self) -> Owned {
        let Stage::Permitted(permit) = &self.stage else {
            return Owned::default();
        };
        let hop = Exclusions::connection(&self.client.fields);
        let is = |name: &[u8], list: &[&str]| {
            list.iter()
                .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        };
        let mut nominated: Vec<Box<[u8]>> = Vec::new();
        if self.is_refresh() {
            permit.nominated_names(&mut |name| nominated.push(name.into()));
        }
        let mut lines = Owned::default();
        for (name, value) in self.client.fields.iter() {
            let dropped = hop.excludes(name)
                || is(name, &["content-length"])
                || is(name, &NEVER_SENT)
                || self.is_refresh() && is(name, &NEVER_SENT_ON_REFRESH)
                || nominated.iter().any(|n| n.eq_ignore_ascii_case(name));
            if !dropped {
                lines.push(name, value);
            }
        }
        if self.is_refresh() {
            permit.stored_request_fields(&mut |name, value| {
                lines.push(name, value);
            });
        }
        permit.conditionals(&mut |name, value| {
            lines.push(name.as_bytes(), value);
        });
        lines
    }

    /// The request to the origin.
    fn tell(&mut self, request: &mut Request) -> Result<()> {
        if self.sends.is_none() && !matches!(self.stage, Stage::Permitted(_)) {
            return Err(SWRCACHE_ESTATE.into());
        }
        let fields = self.sent();
        (request.fields, request.field_count) = (fields.as_ptr(), fields.len());
        let client = &self.client;
        let told = |text: &CStr| match text.is_empty() {
            true => std::ptr::null(),
            false => text.as_ptr(),
        };
        let key = unkeyed(&client.key);
        (request.key, request.key_len) = (key.as_ptr().cast(), key.len());
        request.method = self.method.as_ptr();
        request.origin = told(&client.origin);
        request.target = told(&client.target);
        request.user = client.user;
        Ok(())
    }

    /// The fields that `Vary` is matched with: those that were sent.
    fn sent_fields(&mut self) -> &Owned {
        self.sent();
        &self.made
    }

    fn settle(&mut self, outcome: Outcome) -> c_int {
        match outcome {
            Outcome::Store(filling) => {
                if filling.streaming() && !self.is_refresh() {
                    self.brought = Some((filling.stored(), self.led));
                }
                self.goes_on(Stage::Filling(filling));
                SWRCACHE_DO_STORE
            }
            Outcome::Renewed(stored) => {
                self.reason = Reason::NotModified;
                self.bring(stored, Led::Revalidated)
            }
            Outcome::Stale(stored) => {
                self.cache.counters.add(Count::Failure, 1);
                self.reason = Reason::SieFallback;
                self.bring(stored, Led::Stale)
            }
            Outcome::AskAgain(permit) => {
                let lines = self.sends.take().unwrap_or_default();
                self.first = Some((lines, mem::take(&mut self.made)));
                self.began = self.cache.now();
                self.goes_on(Stage::Permitted(permit));
                SWRCACHE_DO_ASK_AGAIN
            }
            Outcome::Relay(reason) => {
                self.count_failure(reason);
                let status = self.led.status_if_relayed(Some(reason));
                self.reason = reason;
                self.count_aside(status, reason);
                SWRCACHE_DO_RELAY
            }
            Outcome::GatewayTimeout(reason) => {
                self.cache.counters.add(Count::Failure, 1);
                self.reason = reason;
                self.count_aside(crate::engine::Status::Expired, reason);
                SWRCACHE_DO_GATEWAY_TIMEOUT
            }
            Outcome::Dropped(reason) => {
                self.count_failure(reason);
                self.reason = reason;
                SWRCACHE_DO_NOTHING
            }
        }
    }

    /// The client that leads is answered without the store.
    fn count_aside(&self, status: crate::engine::Status, reason: Reason) {
        let waited = self.cache.now().saturating_sub(self.began);
        self.cache.count(&Told {
            status,
            reason,
            led: Some((self.asked, waited)),
            ttl: None,
            bytes: 0,
        });
    }

    fn count_failure(&self, reason: Reason) {
        let failures = [
            Reason::OriginError,
            Reason::OriginTimeout,
            Reason::OriginInvalid,
            Reason::OriginStatus,
            Reason::BodyBroken,
        ];
        if failures.contains(&reason) {
            self.cache.counters.add(Count::Failure, 1);
        }
    }

    /// There is something for the client that leads, if one does.
    fn bring(&mut self, stored: Stored, led: Led) -> c_int {
        if self.is_refresh() {
            return SWRCACHE_DO_NOTHING;
        }
        self.brought = Some((stored, led));
        SWRCACHE_DO_REPLY
    }

    pub(crate) fn respond(&mut self, answered: &Answered<'_>) -> Result<c_int> {
        self.sent_fields();
        if !matches!(self.stage, Stage::Permitted(_)) {
            return Err(SWRCACHE_ESTATE.into());
        }
        let Stage::Permitted(mut permit) = self.over() else {
            return Err(SWRCACHE_ESTATE.into());
        };
        if answered.no_cache {
            permit.keep_nothing(Reason::NoCacheCondition);
        }
        self.status = answered.status;
        let now = self.cache.now();
        let response = answered.response(self.client.origin.as_bytes(), (self.began, now));
        let outcome = permit.respond(&response, &self.made, &self.policy.rules, now);
        Ok(self.settle(outcome))
    }

    fn fail(&mut self, failure: Failure, retry_after: Option<Millis>) -> Result<c_int> {
        let now = self.cache.now();
        let policy = Arc::clone(&self.policy);
        match self.over() {
            Stage::Over | Stage::Outgrown(_) => Err(SWRCACHE_ESTATE.into()),
            Stage::Permitted(permit) => {
                Ok(self.settle(permit.fail(failure, retry_after, &policy.rules, now)))
            }
            Stage::Filling(filling) if failure == Failure::Aborted => {
                self.reason = Reason::Aborted;
                filling.abandon(Reason::Aborted, now);
                Ok(self.nothing_new())
            }
            Stage::Filling(filling) => {
                self.cache.counters.add(Count::Failure, 1);
                self.reason = Reason::BodyBroken;
                let stale = filling.broken(&policy.rules, now);
                Ok(self.broke_off(stale))
            }
        }
    }

    /// A body broke off. Who follows it learns so by its reply; others get the stale copy, if there is one.
    fn broke_off(&mut self, stale: Option<Stored>) -> c_int {
        match (stale, self.brought.is_some()) {
            (Some(stored), false) => self.bring(stored, Led::Stale),
            _ => self.nothing_new(),
        }
    }

    fn nothing_new(&self) -> c_int {
        match (self.is_refresh(), self.brought.is_some()) {
            (true, _) => SWRCACHE_DO_NOTHING,
            (false, true) => SWRCACHE_DO_REPLY,
            (false, false) => SWRCACHE_DO_RELAY,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Stage::Filling(filling) = &mut self.stage else {
            return Err(SWRCACHE_ESTATE.into());
        };
        let Err(why) = filling.write(bytes) else {
            return Ok(());
        };
        self.reason = match why {
            NoSpace::TooLarge => Reason::TooLarge,
            NoSpace::BeyondTotal => Reason::BodyBroken,
            NoSpace::Full | NoSpace::Busy | NoSpace::Ended => Reason::NoSpace,
        };
        let now = self.cache.now();
        if let Stage::Filling(filling) = self.over() {
            self.stage = Stage::Outgrown(Box::new(self.outgrow(filling, why, now)));
        }
        Err(why.into())
    }

    fn outgrow(&self, filling: Filling, why: NoSpace, now: Millis) -> Outgrown {
        if why == NoSpace::BeyondTotal {
            self.cache.counters.add(Count::Failure, 1);
            return Outgrown {
                taken: None,
                stale: filling.broken(&self.policy.rules, now),
            };
        }
        // Before the body breaks off: a reader must not take it for broken.
        self.outgrown.store(true, Release);
        let left = Outgrown {
            taken: Some(filling.stored()),
            stale: filling.stale_at(now),
        };
        filling.abandon(self.reason, now);
        left
    }

    /// The client that leads goes on from what was taken, unless there is a stale copy that can be seen as a whole.
    fn settle_outgrown(&mut self, left: Outgrown) -> c_int {
        let follows = self.brought.is_some();
        match left {
            Outgrown {
                stale: Some(stored),
                ..
            } if !follows => self.bring(stored, Led::Stale),
            _ if self.is_refresh() => SWRCACHE_DO_NOTHING,
            Outgrown { taken: None, stale } => self.broke_off(stale),
            Outgrown { taken, .. } => {
                self.brought = self.brought.take().or(taken.map(|taken| (taken, self.led)));
                SWRCACHE_DO_RELAY
            }
        }
    }

    pub(crate) fn finish(&mut self) -> Result<c_int> {
        if !matches!(self.stage, Stage::Filling(_) | Stage::Outgrown(_)) {
            return Err(SWRCACHE_ESTATE.into());
        }
        let filling = match self.over() {
            Stage::Filling(filling) => filling,
            Stage::Outgrown(left) => return Ok(self.settle_outgrown(*left)),
            Stage::Permitted(_) | Stage::Over => return Err(SWRCACHE_ESTATE.into()),
        };
        match filling.finish(self.cache.now()) {
            Finished::New(stored) | Finished::Superseded(stored) => {
                self.reason = Reason::Fetched;
                Ok(self.bring(stored, self.led))
            }
            Finished::Same(stored) => {
                self.reason = Reason::SameBytes;
                Ok(self.bring(stored, self.led))
            }
            Finished::Broken(stale) => {
                self.cache.counters.add(Count::Failure, 1);
                self.reason = Reason::BodyBroken;
                Ok(self.broke_off(stale))
            }
        }
    }

    /// A delivery to the client that leads.
    fn deliver(&self, stored: &Stored, led: Led) -> *mut Reply {
        let request = self.client.request();
        let now = self.cache.now();
        let serve = self
            .cache
            .engine
            .deliver(stored, &request, &self.policy.rules, led, now);
        self.cache.count(&Told {
            status: serve.status,
            reason: serve.reason,
            led: Some((self.asked, now.saturating_sub(self.began))),
            ttl: Some(serve.ttl),
            bytes: stored.content_length().unwrap_or(0),
        });
        let fetched = Fetched {
            asked: self.asked,
            status: self.status,
            outgrown: Arc::clone(&self.outgrown),
        };
        reply::give(
            &self.cache,
            &self.policy,
            self.client.method,
            serve,
            fetched,
        )
    }
}

/// Runs a call on a fetch; the pointer's soundness is what every function of the header asks for.
fn on(fetch: *mut Fetch, f: impl FnOnce(&mut FetchValue) -> Result<()>) -> c_int {
    call(|| {
        // SAFETY: NULL or live, by the contract of each caller.
        unsafe { Handle::with_mut(fetch, f) }
    })
}

/// As [`on`], for a call that has one output, which is `none` on failure.
///
/// # Safety
/// `out` is NULL or writable.
unsafe fn tell<T: Copy>(
    fetch: *mut Fetch,
    (out, none): (*mut T, T),
    f: impl FnOnce(&mut FetchValue) -> Result<T>,
) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, says the caller.
        unsafe { put(out, none) }?;
        // SAFETY: NULL or live, by the contract of each caller.
        let told = unsafe { Handle::with_mut(fetch, f) }?;
        // SAFETY: see above.
        unsafe { put(out, told) }
    })
}

/// As [`tell`], for an array or a string and its length.
///
/// # Safety
/// `at` and `count` are NULL or writable.
unsafe fn tell_array<T>(
    fetch: *mut Fetch,
    (at, count): (*mut *const T, *mut usize),
    f: impl FnOnce(&mut FetchValue) -> Result<(*const T, usize)>,
) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, says the caller.
        unsafe {
            put(at, std::ptr::null())?;
            put(count, 0)?;
        }
        // SAFETY: NULL or live, by the contract of each caller.
        let (found, length) = unsafe { Handle::with_mut(fetch, f) }?;
        // SAFETY: see above.
        unsafe {
            put(at, found)?;
            put(count, length)
        }
    })
}

/// Tells the header fields to send to the origin with a GET (a POST, if the client's request was one): the client's without
/// those of one connection, ranges and conditionals; in a background refresh also without cookies and credentials; and
/// `If-None-Match` and `If-Modified-Since` where the cache has something to be validated.
///
/// `*fields` is an array of `*count`, which lives as long as the fetch; NULL and 0 on failure. Its strings are not
/// NUL-terminated. Before `swrcache_fetch_respond`; one thread at a time.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESTATE if the fetch has been answered before this was first called.
///
/// # Safety
/// `fetch` is NULL or live; `fields` and `count` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_fields(
    fetch: *mut Fetch,
    fields: *mut *const Field,
    count: *mut usize,
) -> c_int {
    let sent = |fetch: &mut FetchValue| {
        if fetch.sends.is_none() && !matches!(fetch.stage, Stage::Permitted(_)) {
            return Err(SWRCACHE_ESTATE.into());
        }
        let sent = fetch.sent();
        Ok((sent.as_ptr(), sent.len()))
    };
    // SAFETY: NULL or writable.
    unsafe { tell_array(fetch, (fields, count), sent) }
}

/// Copies the fields that `swrcache_fetch_fields` tells as text, as `swrcache_reply_head_text` does.
///
/// The buffer may be NULL if `size` is 0, `needed` may be NULL. One thread at a time.
///
/// Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_ESTATE if the fetch has been answered
/// before its fields were first asked for; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `buffer` has `size` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_fields_text(
    fetch: *mut Fetch,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    on(fetch, |fetch| {
        if fetch.sends.is_none() && !matches!(fetch.stage, Stage::Permitted(_)) {
            return Err(SWRCACHE_ESTATE.into());
        }
        // SAFETY: the fields of this fetch, which is not changed meanwhile; the caller's promise.
        unsafe { types::put_lines(fetch.sent(), (buffer, size), needed) }
    })
}

/// Tells the request to send to the origin: `method` ("GET", or "POST" if the client's request was one), `fields` as
/// `swrcache_fetch_fields` tells them, and of the request that led to the fetch `key`, `origin`, `target` and `user` as they were given
/// to the lookup; `flags` and `turn` are 0.
///
/// The strings and the array live as long as the fetch; `method`, `origin` and `target` end with NUL, the key does not; `origin` and
/// `target` are NULL if they were not told. Before `swrcache_fetch_respond`, or later if it was asked for before; one thread at a time.
/// On failure all members but the size are 0.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ESTATE if the fetch has been answered before
/// this or `swrcache_fetch_fields` was first called.
///
/// # Safety
/// `fetch` is NULL or live; `request` is NULL or has `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_request(fetch: *mut Fetch, request: *mut Request) -> c_int {
    call(|| {
        let tell = |request: &mut Request| {
            // SAFETY: NULL or live.
            unsafe { Handle::with_mut(fetch, |fetch| fetch.tell(request)) }
        };
        // SAFETY: NULL or writable.
        unsafe { types::fill(request, Request::NONE, tell) }
    })
}

/// Tells the key of a fetch: that of the request that led to it.
///
/// `*key` has `*len` bytes, not NUL-terminated, and lives as long as the fetch. One thread at a time.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `key` and `len` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_key(
    fetch: *mut Fetch,
    key: *mut *const c_char,
    len: *mut usize,
) -> c_int {
    let found = |fetch: &mut FetchValue| {
        let key = unkeyed(&fetch.client.key);
        Ok((key.as_ptr().cast(), key.len()))
    };
    // SAFETY: NULL or writable.
    unsafe { tell_array(fetch, (key, len), found) }
}

/// Whether no client waits for this fetch.
///
/// Returns 1 for a background refresh, 0 for a fetch that a client waits for, or if `fetch` is NULL or in use by another thread.
///
/// # Safety
/// `fetch` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_is_refresh(fetch: *mut Fetch) -> c_int {
    let mut refresh = 0;
    on(fetch, |fetch| {
        refresh = types::flag(fetch.is_refresh());
        Ok(())
    });
    refresh
}

/// The origin has answered: tells what to do with the response, one of `SWRCACHE_DO_STORE`, `_REPLY`, `_RELAY`, `_NOTHING`,
/// `_ASK_AGAIN`.
///
/// Call it when the head has come, before the body. The library keeps none of your pointers. `*todo` is 0 on failure.
///
/// One thread at a time.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments (the fetch is as it was); SWRCACHE_ESTATE if the fetch has been
/// answered already.
///
/// # Safety
/// `fetch` is NULL or live; `response` is NULL or has `struct_size` readable bytes, and what it points to is readable; `todo` is
/// NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_respond(
    fetch: *mut Fetch,
    response: *const Response,
    todo: *mut c_int,
) -> c_int {
    let answered = |fetch: &mut FetchValue| {
        // SAFETY: the caller's promise.
        let answered = unsafe { Answered::read(response) }?;
        fetch.respond(&answered)
    };
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (todo, 0), answered) }
}

/// The next bytes of the body, as the origin sent them (without chunked coding).
///
/// One thread at a time. `bytes` may be NULL if `len` is 0.
///
/// Returns 0 when all were taken. After any of these errors none of `bytes` was taken, and the cache takes no more of this body:
/// SWRCACHE_ETOOLARGE if the body is larger than the cache takes, or than announced; SWRCACHE_ENOSPC if there is no room. Call
/// `swrcache_fetch_finish` at once, which tells what the client gets: a stale copy that stands in (`SWRCACHE_DO_REPLY`), or what the
/// cache has taken and then, from you, `bytes` and all that follows (`SWRCACHE_DO_RELAY`). A reply that already follows the fetch ends in
/// SWRCACHE_EOUTGROWN where you go on; replies of other clients end in SWRCACHE_EBROKEN.
/// SWRCACHE_ESTATE if this is no time to write; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `bytes` has `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_write(
    fetch: *mut Fetch,
    bytes: *const c_char,
    len: usize,
) -> c_int {
    on(fetch, |fetch| {
        if len == types::SWRCACHE_NUL {
            return Err(Error::new(SWRCACHE_EINVAL, "a length can't be"));
        }
        // SAFETY: the caller's promise.
        fetch.write(unsafe { self::bytes(bytes, len) }?)
    })
}

/// The body is complete. Tells what to do, one of `SWRCACHE_DO_REPLY`, `_RELAY`, `_NOTHING`; 0 on failure.
///
/// A body shorter than announced counts as broken off, as in `swrcache_fetch_fail`. After `swrcache_fetch_write` was refused it tells
/// how to go on.
///
/// One thread at a time.
///
/// Returns 0; SWRCACHE_ESTATE if there is nothing to finish; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `todo` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_finish(fetch: *mut Fetch, todo: *mut c_int) -> c_int {
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (todo, 0), FetchValue::finish) }
}

/// The fetch failed: before a response, or in the middle of its body.
///
/// `failure` is one of `SWRCACHE_FAIL_ERROR` and the like. `retry_after` is a pause that the origin asked for, in milliseconds from now;
/// 0 is none. Tells what to do, one of `SWRCACHE_DO_REPLY` (a stale response stands
/// in, or a client follows a body that broke off), `_RELAY` (there is nothing: answer 502 or 504), `_GATEWAY_TIMEOUT` (answer 504),
/// `_NOTHING`; 0 on failure.
///
/// One thread at a time.
///
/// Returns 0; SWRCACHE_ESTATE if the fetch is over; SWRCACHE_EINVAL for a NULL or an unknown failure.
///
/// # Safety
/// `fetch` is NULL or live; `todo` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_fail(
    fetch: *mut Fetch,
    failure: c_int,
    retry_after: u64,
    todo: *mut c_int,
) -> c_int {
    let failed = |fetch: &mut FetchValue| {
        let failure = failure_of(failure)?;
        fetch.fail(failure, Some(retry_after).filter(|ms| *ms > 0))
    };
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (todo, 0), failed) }
}

/// Gives the client that leads this fetch its answer.
///
/// `*reply` is yours, to be freed with `swrcache_reply_free`; NULL on failure. It does not need the fetch any more. After
/// `SWRCACHE_DO_STORE` it succeeds if the body may be followed as it grows; after `SWRCACHE_DO_REPLY` always; after
/// `SWRCACHE_DO_RELAY` if a part of the body has been written.
///
/// One thread at a time for the fetch; the reply may go to another.
///
/// Returns 0; SWRCACHE_EAGAIN if there is nothing yet; SWRCACHE_ESTATE if there will be nothing; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `reply` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_reply(fetch: *mut Fetch, reply: *mut *mut Reply) -> c_int {
    let made = |fetch: &mut FetchValue| match &fetch.brought {
        Some((stored, led)) => Ok(fetch.deliver(stored, *led)),
        None => Err(match fetch.stage {
            Stage::Over => SWRCACHE_ESTATE.into(),
            _ if fetch.is_refresh() => SWRCACHE_ESTATE.into(),
            _ => SWRCACHE_EAGAIN.into(),
        }),
    };
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (reply, std::ptr::null_mut()), made) }
}

/// Gives the stale copy that may stand in now, for a client that has waited long enough (`swrcache_decision.until`) while the
/// fetch goes on.
///
/// `*reply` is yours, to be freed with `swrcache_reply_free`; NULL on failure.
///
/// One thread at a time for the fetch; the reply may go to another.
///
/// Returns 0; SWRCACHE_ESTATE if there is none, or the fetch has been answered; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `reply` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_stale(fetch: *mut Fetch, reply: *mut *mut Reply) -> c_int {
    let made = |fetch: &mut FetchValue| {
        let stale = match &fetch.stage {
            Stage::Permitted(permit) => permit.stale_at(fetch.cache.now()),
            Stage::Filling(_) | Stage::Outgrown(_) | Stage::Over => None,
        };
        Ok(fetch.deliver(&stale.ok_or(SWRCACHE_ESTATE)?, Led::Patience))
    };
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (reply, std::ptr::null_mut()), made) }
}

/// Why the fetch went as it did, one of a fixed set of words; for the log.
///
/// Never NULL; static.
/// One thread at a time; "" for NULL, or if another thread uses the fetch.
///
/// # Safety
/// `fetch` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_reason(fetch: *mut Fetch) -> *const c_char {
    let mut said = c"".as_ptr();
    on(fetch, |fetch| {
        said = word(fetch.reason);
        Ok(())
    });
    said
}

/// The member for `Cache-Status` (RFC 9211) of a response that is relayed.
///
/// As `swrcache_pass_status`: the buffer may be NULL if `size` is 0, `needed` may be NULL. One thread at a time.
///
/// Returns as that.
///
/// # Safety
/// `fetch` is NULL or live; `buffer` has `size` writable bytes; `needed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_status(
    fetch: *mut Fetch,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    on(fetch, |fetch| {
        let part = Part::Relayed {
            fetch: fetch.asked,
            reason: fetch.reason,
            fwd_status: (fetch.status > 0).then_some(fetch.status),
        };
        let member = cache_status(&fetch.policy.name(), &part);
        // SAFETY: the caller's promise.
        unsafe { put_text(&member, buffer, size, needed) }
    })
}

/// Frees a fetch. NULL is ignored. One that is not over is given up: nothing is remembered of it, and the next request may
/// fetch.
/// When no other thread uses it.
///
/// # Safety
/// `fetch` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_free(fetch: *mut Fetch) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(fetch) };
}
