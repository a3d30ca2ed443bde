//! A fetch from the origin, from the permission to the last byte.
//!
//! | the engine wants | what is legal |
//! |---|---|
//! | a header | `fields`, `stale`, `respond`, `fail` |
//! | the body, for the store | `write`, `finish`, `fail`, `reply` if it may be followed, `stale` |
//! | no more: `write` was refused | `finish`, `reply`, `stale` |
//! | no more | `reply`, `reason` |
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
use super::handle::{Handle, HandleKind, call};
use super::policy::Settings;
use super::reply::{self, For, LedFetch, Reply};
use super::request::{OwnedRequest, Request, unkeyed};
use super::response::{CheckedResponse, Response, failure_of};
use super::statistics::{self, ClientAnswer};
use super::status::word;
use super::types::{self, Field, Owned, bytes, field, put, put_text};
use crate::engine::{self, Aside, Delivery, Failure, Order, Part, Reason, Wants, cache_status};
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

/// What is behind a `swrcache_fetch`.
pub struct FetchValue {
    /// The client's request.
    client: OwnedRequest,
    sends: Option<Vec<Field>>,
    made: Owned,
    /// What the first request sent: the host may still look at it.
    first: Option<(Vec<Field>, Owned)>,
    cache: Arc<Shared>,
    policy: Arc<Settings>,
    /// Of the request to the origin.
    method: &'static CStr,
    life: engine::Fetch,
    /// It is among the cache's refreshes under way.
    is_counted: bool,
    /// Its failure has been counted.
    has_failed: bool,
    /// What the client that leads may have.
    brought: Option<Delivery>,
    /// What `swrcache_fetch_finish` tells when the body has outgrown the cache.
    left: Option<c_int>,
    /// Set when the body outgrew the cache: the reply of the client that leads then ends in SWRCACHE_EOUTGROWN.
    outgrown: Arc<AtomicBool>,
    /// The status that the origin sent.
    status: u16,
    began: Millis,
}

// SAFETY: the pointers in `sends` lead into memory of this same value.
unsafe impl Send for FetchValue {}

impl HandleKind for FetchValue {
    const MAGIC: u32 = 0x7377_7204;
}

/// A fetch to carry out. One thread at a time; any thread.
pub type Fetch = Handle<FetchValue>;

impl Drop for FetchValue {
    fn drop(&mut self) {
        self.count_out();
    }
}

impl FetchValue {
    pub(crate) fn new(
        cache: &Arc<Shared>,
        policy: &Arc<Settings>,
        life: engine::Fetch,
        client: OwnedRequest,
    ) -> FetchValue {
        let is_refresh = life.is_refresh();
        cache.counters.add(Count::Fetch, 1);
        if is_refresh {
            cache.counters.add(Count::Refresh, 1);
            cache.refreshing.fetch_add(1, AcqRel);
        }
        FetchValue {
            sends: None,
            made: Owned::default(),
            first: None,
            method: match life.is_head() {
                true => c"HEAD",
                false => client.sends(),
            },
            client,
            life,
            is_counted: is_refresh,
            has_failed: false,
            brought: None,
            left: None,
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

    fn count_out(&mut self) {
        if mem::take(&mut self.is_counted) {
            self.cache.refreshing.fetch_sub(1, AcqRel);
        }
    }

    /// Why it went as it did.
    pub(crate) fn reason(&self) -> Reason {
        self.life.reason()
    }

    /// Whether the origin has not answered yet, or not to the end.
    fn is_open(&self) -> bool {
        matches!(self.life.wants(), Wants::Header | Wants::Store)
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

    /// What concerns the client's connection alone is not sent on.
    fn compose(&self) -> Owned {
        let mut forwarded = Owned::default();
        Exclusions::connection(&self.client.fields).kept(
            &self.client.fields,
            &mut |name, value| {
                forwarded.push(name, value);
            },
        );
        let mut lines = Owned::default();
        self.life.fields(&forwarded, &mut |name, value| {
            lines.push(name, value);
        });
        lines
    }

    /// The request to the origin.
    fn tell(&mut self, request: &mut Request) -> Result<()> {
        if self.sends.is_none() && self.life.wants() != Wants::Header {
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

    /// Carries an order out as far as this side of the border can; what is left to do.
    fn obey(&mut self, order: Order) -> c_int {
        if self.life.has_failed() && !mem::replace(&mut self.has_failed, true) {
            self.cache.counters.add(Count::Failure, 1);
        }
        if !self.is_open() {
            self.count_out();
        }
        match order {
            Order::AskAgain => {
                let lines = self.sends.take().unwrap_or_default();
                self.first = Some((lines, mem::take(&mut self.made)));
                self.began = self.cache.now();
                SWRCACHE_DO_ASK_AGAIN
            }
            Order::Deliver(brought) => {
                self.brought = Some(brought);
                match self.life.wants() {
                    Wants::Store => SWRCACHE_DO_STORE,
                    _ => SWRCACHE_DO_REPLY,
                }
            }
            Order::RelayRest(taken) => {
                self.brought = taken.or_else(|| self.brought.take());
                SWRCACHE_DO_RELAY
            }
            Order::Relay(aside) | Order::HandOver(aside) | Order::Fail(aside) => {
                self.count_aside(aside);
                SWRCACHE_DO_RELAY
            }
            Order::GatewayTimeout(aside) => {
                self.count_aside(aside);
                SWRCACHE_DO_GATEWAY_TIMEOUT
            }
            Order::Nothing if self.life.wants() == Wants::Store => SWRCACHE_DO_STORE,
            // Who follows the body sees by its reply how that ends.
            Order::Nothing if self.brought.is_some() => SWRCACHE_DO_REPLY,
            Order::Nothing => SWRCACHE_DO_NOTHING,
        }
    }

    /// The client that leads is answered without the store.
    fn count_aside(&self, aside: Aside) {
        let waited = self.cache.now().saturating_sub(self.began);
        statistics::count(
            &self.cache,
            &ClientAnswer {
                status: aside.status,
                reason: aside.reason,
                led: Some((self.life.asked(), waited)),
                ttl: None,
                coding: None,
            },
        );
    }

    pub(crate) fn respond(&mut self, answered: &CheckedResponse<'_>) -> Result<c_int> {
        if self.life.wants() != Wants::Header {
            return Err(SWRCACHE_ESTATE.into());
        }
        self.sent();
        self.status = answered.status;
        let now = self.cache.now();
        let response = answered.response(self.client.origin.as_bytes(), (self.began, now));
        let order = self
            .life
            .header(&response, &self.made, &self.policy.rules, now);
        Ok(self.obey(order))
    }

    fn fail(&mut self, failure: Failure, retry_after: Option<Millis>) -> Result<c_int> {
        if !self.is_open() {
            return Err(SWRCACHE_ESTATE.into());
        }
        let (rules, now) = (&self.policy.rules, self.cache.now());
        let order = self.life.failed(failure, retry_after, rules, now);
        Ok(self.obey(order))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.life.wants() != Wants::Store {
            return Err(SWRCACHE_ESTATE.into());
        }
        let Err(why) = self.life.write(bytes) else {
            return Ok(());
        };
        if why != NoSpace::BeyondTotal {
            // Before the body breaks off: a reader must not take it for broken.
            self.outgrown.store(true, Release);
        }
        let order = self.life.outgrew(why, self.cache.now());
        self.left = Some(self.obey(order));
        Err(why.into())
    }

    pub(crate) fn finish(&mut self) -> Result<c_int> {
        if let Some(todo) = self.left.take() {
            return Ok(todo);
        }
        if self.life.wants() != Wants::Store {
            return Err(SWRCACHE_ESTATE.into());
        }
        let order = self.life.end(self.cache.now());
        Ok(self.obey(order))
    }

    /// A delivery to the client that leads.
    fn deliver(&self, brought: &Delivery) -> Result<*mut Reply> {
        let request = self.client.request();
        let now = self.cache.now();
        let serve = self
            .cache
            .engine
            .deliver(brought, &request, &self.policy.rules, now);
        let serve = serve.map_err(|_| {
            let about = "the stale response is now beyond its stale-if-error window";
            Error::new(SWRCACHE_ESTATE, about)
        })?;
        statistics::count(
            &self.cache,
            &ClientAnswer {
                status: serve.status,
                reason: serve.reason,
                led: Some((self.life.asked(), now.saturating_sub(self.began))),
                ttl: Some(serve.ttl),
                coding: serve.object.coding(),
            },
        );
        let fetched = LedFetch {
            asked: self.life.asked(),
            status: self.status,
            outgrown: Arc::clone(&self.outgrown),
        };
        Ok(reply::give(
            &self.cache,
            &self.policy,
            self.client.method,
            serve,
            For::Leader(fetched),
        ))
    }
}

/// Runs a call on a fetch; the pointer's soundness is what every function of the header asks for.
fn on(fetch: *const Fetch, f: impl FnOnce(&mut FetchValue) -> Result<()>) -> c_int {
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
    fetch: *const Fetch,
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
/// A server whose keys hold cookies (a currency, a language) adds those to the fields of a refresh, so that it brings
/// back the page of its key.
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
        if fetch.sends.is_none() && fetch.life.wants() != Wants::Header {
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
        if fetch.sends.is_none() && fetch.life.wants() != Wants::Header {
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
    fetch: *const Fetch,
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
pub unsafe extern "C" fn swrcache_fetch_is_refresh(fetch: *const Fetch) -> c_int {
    let mut refresh = 0;
    on(fetch, |fetch| {
        refresh = types::flag(fetch.life.is_refresh());
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
        let answered = unsafe { CheckedResponse::read(response) }?;
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
/// `swrcache_fetch_finish` at once, which tells what the client gets: what the cache has taken and then, from you, `bytes` and all that
/// follows (`SWRCACHE_DO_RELAY`); or, if the body is longer than announced, what it gets when a body breaks off. A reply that already
/// follows the fetch ends in SWRCACHE_EOUTGROWN where you go on; replies of other clients end in SWRCACHE_EBROKEN. A host that can't go
/// on may give its client the stale copy, if there is one: `swrcache_fetch_stale`.
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
            return Err(Error::new(
                SWRCACHE_EINVAL,
                "the length of a piece of a body is not given",
            ));
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
/// `SWRCACHE_DO_STORE` it succeeds if the body may be followed as it grows; after `SWRCACHE_DO_REPLY` always, unless a stale copy is to
/// stand in and you come when its window is over (answer 502 or 504 then); after `SWRCACHE_DO_RELAY` if a part of the body has been
/// written.
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
        Some(brought) => fetch.deliver(brought),
        None if fetch.is_open() && fetch.life.has_leader() => Err(SWRCACHE_EAGAIN.into()),
        None => Err(SWRCACHE_ESTATE.into()),
    };
    // SAFETY: NULL or writable.
    unsafe { tell(fetch, (reply, std::ptr::null_mut()), made) }
}

/// Gives the stale copy that may stand in now, for a client that has waited long enough (`swrcache_decision.until`) while the
/// fetch goes on: for the header, or for a body that comes in beside the copy.
///
/// `*reply` is yours, to be freed with `swrcache_reply_free`; NULL on failure.
///
/// One thread at a time for the fetch; the reply may go to another.
///
/// Returns 0; SWRCACHE_ESTATE if there is none, if its time is over, or if the fetch is over; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `fetch` is NULL or live; `reply` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_fetch_stale(fetch: *mut Fetch, reply: *mut *mut Reply) -> c_int {
    let made = |fetch: &mut FetchValue| {
        let stale = fetch.life.patience_over(fetch.cache.now());
        fetch.deliver(&stale.ok_or(SWRCACHE_ESTATE)?)
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
pub unsafe extern "C" fn swrcache_fetch_reason(fetch: *const Fetch) -> *const c_char {
    let mut said = c"".as_ptr();
    on(fetch, |fetch| {
        said = word(fetch.reason());
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
    fetch: *const Fetch,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    on(fetch, |fetch| {
        let part = Part::Relayed {
            fetch: fetch.life.asked(),
            reason: fetch.reason(),
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
