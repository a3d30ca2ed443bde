//! Purges, at once or in pieces.

use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{Cache, Shared, shared};
use super::count::Count;
use super::error::{Error, Result, SWRCACHE_EAGAIN, SWRCACHE_EINVAL};
use super::handle::{Handle, HandleKind, call};
use super::request::{Key, keyed};
use super::types::{bytes, put};
use crate::engine::{PurgeMode, Removal, Selection};

/// Purge: the key itself, with all its variants.
pub const SWRCACHE_PURGE_KEY: c_int = 0;
/// Purge: all keys that begin so.
pub const SWRCACHE_PURGE_PREFIX: c_int = 1;
/// Purge: all responses with this tag.
pub const SWRCACHE_PURGE_TAG: c_int = 2;
/// Purge: everything.
pub const SWRCACHE_PURGE_ALL: c_int = 3;
/// Or this to the kind of a purge to mark entries stale instead of dropping them.
pub const SWRCACHE_PURGE_SOFT: c_int = 0x100;

/// How long a step of a purge takes.
const STEP: Duration = Duration::from_millis(1);
/// Places of the memory between two looks at the clock.
const PLACES: u32 = 512;

/// What is behind a `swrcache_purger`.
pub struct PurgerValue {
    cache: Arc<Shared>,
    removal: Removal,
    /// How many responses have been counted.
    counted: u64,
}

impl HandleKind for PurgerValue {
    const MAGIC: u32 = 0x7377_7207;
}

/// A purge in pieces. One thread at a time; any thread.
pub type Purger = Handle<PurgerValue>;

impl PurgerValue {
    /// # Safety
    /// `what` has `len` readable bytes.
    unsafe fn new(
        cache: &Arc<Shared>,
        kind: c_int,
        what: *const c_char,
        len: usize,
    ) -> Result<PurgerValue> {
        cache.must_be_own()?;
        // SAFETY: the caller's promise.
        let selection = unsafe { selection(kind & !SWRCACHE_PURGE_SOFT, what, len) }?;
        let how = match kind & SWRCACHE_PURGE_SOFT {
            0 => PurgeMode::Hard,
            _ => PurgeMode::Soft,
        };
        let mut purger = PurgerValue {
            removal: cache.engine.purge(selection, how, cache.now()),
            cache: Arc::clone(cache),
            counted: 0,
        };
        // It begins now, as far as what is being fetched goes.
        let _ = purger.removal.step(0);
        Ok(purger)
    }

    /// Goes on for so long; whether it is done.
    fn step(&mut self, time: Duration) -> bool {
        let began = Instant::now();
        let done = loop {
            match self.removal.step(PLACES) {
                Ok(false) if began.elapsed() < time => {}
                Ok(done) => break done,
                // Busy: nothing is lost.
                Err(_) => break false,
            }
        };
        let purged = self.removal.removed();
        self.cache
            .counters
            .add(Count::Purged, purged - self.counted);
        self.counted = purged;
        done
    }
}

/// # Safety
/// `what` has `len` readable bytes.
unsafe fn selection(kind: c_int, what: *const c_char, len: usize) -> Result<Selection> {
    let mut selection = Selection::default();
    if kind == SWRCACHE_PURGE_ALL {
        selection.all = true;
        return Ok(selection);
    }
    // SAFETY: the caller's promise.
    let what = unsafe { bytes(what, len) }?;
    match kind {
        SWRCACHE_PURGE_KEY => {
            let mut key = Key::new();
            keyed(what, &mut key);
            selection.keys = vec![key.as_slice().into()];
        }
        SWRCACHE_PURGE_PREFIX => selection.prefixes = vec![what.into()],
        SWRCACHE_PURGE_TAG => selection.tags = vec![what.into()],
        _ => return Err(Error::new(SWRCACHE_EINVAL, "unknown kind of purge")),
    }
    Ok(selection)
}

/// Tells how many, to who wants to know.
///
/// # Safety
/// `purged` is NULL or writable.
unsafe fn tell(purged: *mut u64, count: u64) {
    if !purged.is_null() {
        // SAFETY: the caller's promise.
        unsafe { purged.write(count) };
    }
}

/// Purges. A purge wins over a fill or refresh that began before it.
///
/// `kind` is one of `SWRCACHE_PURGE_KEY`, `_PREFIX`, `_TAG`, `_ALL`, perhaps with `SWRCACHE_PURGE_SOFT`; `what` is the key,
/// prefix or tag (`len` may be `SWRCACHE_NUL`), and is not looked at with `_ALL`. `purged`, if not NULL, gets the number of
/// responses; 0 on failure. A key takes about a microsecond. The other kinds look through the memory, in which other threads go on
/// meanwhile: a tag takes some milliseconds with a hundred thousand responses, a prefix or all some 200 with a million. An event loop
/// takes a `swrcache_purger` for them.
///
/// Any number of threads at a time.
///
/// Returns 0, also if nothing matched; SWRCACHE_EAGAIN if the cache was too busy and perhaps not all was purged: call it
/// again; SWRCACHE_ESTATE in a process that was forked and has not called `swrcache_after_fork`, or can't; SWRCACHE_EREGION if the
/// memory was found damaged; SWRCACHE_EINVAL.
///
/// # Safety
/// `cache` is NULL or live; `what` has `len` readable bytes; `purged` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_purge(
    cache: *mut Cache,
    kind: c_int,
    what: *const c_char,
    len: usize,
    purged: *mut u64,
) -> c_int {
    // SAFETY: NULL or writable, here and below.
    unsafe { tell(purged, 0) };
    shared(cache, |cache| {
        // SAFETY: the caller's promise.
        let mut purger = unsafe { PurgerValue::new(cache, kind, what, len) }?;
        let done = purger.step(Duration::MAX);
        // SAFETY: see above.
        unsafe { tell(purged, purger.counted) };
        match done {
            true => Ok(()),
            false => {
                cache.must_be_sound()?;
                Err(SWRCACHE_EAGAIN.into())
            }
        }
    })
}

/// Begins a purge that is done in pieces, for an event loop: arguments as of `swrcache_purge`.
///
/// `*purger` is yours, to be freed with `swrcache_purger_free`; NULL on failure. From now on nothing that is being fetched comes to be
/// served as if it had not been purged; what is stored goes with `swrcache_purger_step`.
///
/// Any number of threads at a time.
///
/// Returns 0; SWRCACHE_ESTATE in a process that was forked and has not called `swrcache_after_fork`, or can't; SWRCACHE_EINVAL.
///
/// # Safety
/// `cache` is NULL or live; `what` has `len` readable bytes; `purger` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_purger_new(
    cache: *mut Cache,
    kind: c_int,
    what: *const c_char,
    len: usize,
    purger: *mut *mut Purger,
) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(purger, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise.
        let made = unsafe {
            Handle::with_ref(cache, |cache| PurgerValue::new(&cache.0, kind, what, len))
        }?;
        // SAFETY: see above.
        unsafe { put(purger, Handle::give(made)) }
    })
}

/// Goes on with a purge for about a millisecond.
///
/// `purged`, if not NULL, gets the number of responses so far; 0 for a purger that can't be used. One thread at a time.
///
/// Returns 0 when it is done; SWRCACHE_EAGAIN if there is more: call it again, between other work (at the next turn of an event loop);
/// SWRCACHE_EREGION if the memory was found damaged; SWRCACHE_EINVAL if `purger` is NULL.
///
/// # Safety
/// `purger` is NULL or live; `purged` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_purger_step(purger: *mut Purger, purged: *mut u64) -> c_int {
    // SAFETY: NULL or writable, here and below.
    unsafe { tell(purged, 0) };
    call(|| {
        let step = |purger: &mut PurgerValue| {
            let done = purger.step(STEP);
            // SAFETY: see above.
            unsafe { tell(purged, purger.counted) };
            match done {
                true => Ok(()),
                false => {
                    purger.cache.must_be_sound()?;
                    Err(SWRCACHE_EAGAIN.into())
                }
            }
        };
        // SAFETY: NULL or live.
        unsafe { Handle::with_mut(purger, step) }
    })
}

/// Frees a purger. NULL is ignored. A purge that is not done has no effect on what it has not come to.
/// When no other thread uses it.
///
/// # Safety
/// `purger` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_purger_free(purger: *mut Purger) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(purger) };
}
