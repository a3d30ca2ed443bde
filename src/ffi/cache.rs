//! The cache of a process: open, fork, wait, tidy up, close.

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::count::Counters;
use super::encoding::Encoding;
use super::error::{
    Error, Result, SWRCACHE_EAGAIN, SWRCACHE_EINVAL, SWRCACHE_EREGION, SWRCACHE_ESTATE,
    SWRCACHE_ETIMEDOUT, SWRCACHE_EUNSUPPORTED,
};
use super::handle::{Handle, HandleKind, call};
use super::log::{SWRCACHE_LOG_ERROR, SWRCACHE_LOG_NOTICE, log};
use super::types::{self, SWRCACHE_NUL, Sized_, bytes, put};
use super::wake::{UNSURE, UNWOKEN, Wake};
use crate::engine;
use crate::store::{Millis, Predecessor, Region, RegionOptions, Share, StoreError};

/// Memory of this process alone: a process that it forks has no cache there, and is told to pass.
pub const SWRCACHE_PRIVATE: c_int = 0;
/// Anonymous memory that this process shares with those that it forks after it has opened the cache.
pub const SWRCACHE_SHARED: c_int = 1;
/// A file that any processes of this host map at the same time, and that survives all of them.
pub const SWRCACHE_FILE: c_int = 2;

/// So many processes at most may have a cache open at the same time.
pub const SWRCACHE_MAX_PROCESSES: u32 = 126;

/// How many processes, should the options not say.
const PROCESSES: u32 = 64;
/// How many places of the memory one `swrcache_tidy` looks at.
const TIDY_PLACES: u32 = 1000;
/// How long a `swrcache_tidy` goes on with what the one before has left to do.
const STINT: Duration = Duration::from_millis(1);

const DAMAGED: &str = "swrcache: the memory of the cache is damaged, so requests pass; close the cache and open it again";

/// How long the place of a dead process takes to be cleaned at the most, when there is no other.
const CLEANED_WITHIN: Duration = Duration::from_secs(10);

/// Tells the time: Unix time in milliseconds. Called from any thread that calls the library; must not call the library, nor
/// throw or longjmp out.
pub type Clock = Option<unsafe extern "C" fn(user: *mut c_void) -> u64>;

/// How to open a cache. Zero it, set `struct_size` and what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Options {
    /// `sizeof(swrcache_options)`.
    pub struct_size: usize,
    /// `SWRCACHE_PRIVATE`, `SWRCACHE_SHARED` or `SWRCACHE_FILE`.
    pub memory: c_int,
    /// How many processes there will be at most, old and new ones of a restart together: 1 to `SWRCACHE_MAX_PROCESSES`, 0 is 64.
    /// Each takes a descriptor of every process, by which they wake each other. `SWRCACHE_PRIVATE` has one process, whatever this says.
    pub processes: u32,
    /// Bytes of memory: keys, heads and bodies fit into it, and nothing grows beyond. From 43,840 bytes to 64 GiB; what is out of
    /// bounds is SWRCACHE_EINVAL, and `swrcache_last_error` names the bound.
    pub size: usize,
    /// The longest body that is stored, in bytes; 0 is an eighth of `size`, or what those who have the
    /// `SWRCACHE_FILE` open already said.
    pub max_object: usize,
    /// `SWRCACHE_FILE`: the path, any bytes, ending with NUL. NULL otherwise. While it is open nobody may make it shorter: a mapped file
    /// that lacks its end raises SIGBUS when it is touched, in the middle of any call, which a library can't handle for its host.
    pub path: *const c_char,
    /// Another clock than the system's; NULL is the system's.
    pub clock: Clock,
    /// Handed to `clock`.
    pub clock_user: *mut c_void,
}

// SAFETY: repr(C), its size first; integers, pointers, and a nullable function pointer that the caller promises to be
// one.
unsafe impl Sized_ for Options {
    const LEAST: usize = offset_of!(Options, max_object);
}

/// The host's clock.
#[derive(Clone, Copy)]
struct Time {
    clock: Clock,
    user: *mut c_void,
}

// SAFETY: the header asks for a clock that may be called from any thread.
unsafe impl Send for Time {}
// SAFETY: as for Send.
unsafe impl Sync for Time {}

impl Time {
    #[inline]
    fn now(&self) -> Millis {
        #[cfg(test)]
        tests::panic_if_told();
        match self.clock {
            // SAFETY: the host's function with the host's argument, as promised at open.
            Some(clock) => unsafe { clock(self.user) },
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| since.as_millis() as Millis)
            }
        }
    }
}

/// What all handles of one cache share.
pub(crate) struct Shared {
    pub(crate) engine: engine::Cache,
    pub(crate) encoding: Encoding,
    pub(crate) wake: Wake,
    time: Time,
    memory: c_int,
    /// The process that opened it: this one, or an ancestor.
    opened_by: u32,
    pub(crate) counters: Counters,
    /// Background fetches that are not over.
    pub(crate) refreshing: AtomicU32,
    /// The last call to tidy has left something to do.
    repairing: AtomicBool,
    /// The log has been told that the memory is damaged.
    damage_told: AtomicBool,
    opened: Instant,
    /// When to look for dead processes again, in milliseconds since `opened`.
    next_look: AtomicU64,
}

impl Shared {
    #[inline]
    pub(crate) fn now(&self) -> Millis {
        self.time.now()
    }

    /// An error in a process that was forked and has no place in the memory: it would find it busy for ever.
    pub(crate) fn must_be_own(&self) -> Result<()> {
        match self.wake.is_own() {
            true => Ok(()),
            false => Err(Error::new(
                SWRCACHE_ESTATE,
                "the cache was opened by the process that this one was forked from",
            )),
        }
    }

    /// An error once the memory was found damaged; the log hears of it once.
    pub(crate) fn must_be_sound(&self) -> Result<()> {
        if !self.engine.region().is_damaged() {
            return Ok(());
        }
        if !self.damage_told.swap(true, Relaxed) {
            log(SWRCACHE_LOG_ERROR, DAMAGED);
        }
        Err(Error::new(SWRCACHE_EREGION, DAMAGED))
    }

    /// Frees what dead processes held; the log hears of them.
    pub(crate) fn reap(&self) {
        let dead = self.engine.region().reap();
        if dead > 0 {
            log(
                SWRCACHE_LOG_NOTICE,
                &format!(
                    "swrcache: {dead} processes have died while they used the cache; what they held is freed"
                ),
            );
        }
    }

    /// How long to wait for a wake-up before looking without one.
    fn unwoken(&self) -> Duration {
        match self.memory {
            SWRCACHE_PRIVATE => Duration::MAX,
            SWRCACHE_FILE if self.engine.region().has_strangers() => UNWOKEN,
            _ if self.wake.has_no_bell() => UNWOKEN,
            _ => UNSURE,
        }
    }

    /// Something is to be waited for by way of a watcher.
    pub(crate) fn awaited(&self) {
        self.wake.look_after(self.unwoken());
    }

    /// Waits until something may have moved since the ticket was taken; false when `until` comes first.
    pub(crate) fn wait(&self, ticket: u64, until: Instant) -> bool {
        self.wake.wait(ticket, until, self.unwoken())
    }

    /// Looks whether processes have died, at most twice in [`UNSURE`]: those who wait for them are woken.
    pub(crate) fn look_for_dead(&self) {
        let at = self.opened.elapsed().as_millis() as u64;
        let due = self.next_look.load(Relaxed);
        let next = at + UNSURE.as_millis() as u64 / 2;
        if self.memory != SWRCACHE_PRIVATE
            && at >= due
            && self
                .next_look
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_ok()
        {
            self.reap();
        }
    }

    /// When, by the clock that waits go by, it is `at` by the host's clock.
    pub(crate) fn instant(&self, at: Millis) -> Instant {
        let left = Duration::from_millis(at.saturating_sub(self.now()));
        let now = Instant::now();
        now.checked_add(left).unwrap_or(now)
    }

    /// Gives back what this process has of the memory that others share.
    fn leave(&self) {
        self.encoding.end();
        self.engine.region().leave();
        self.engine.region().seal();
        self.wake.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What is behind a `swrcache_cache`.
pub struct CacheValue(pub(crate) Arc<Shared>);

impl Drop for CacheValue {
    fn drop(&mut self) {
        // Handles that a child has inherited keep what is shared, and nobody may free them.
        if self.0.opened_by != std::process::id() {
            self.0.leave();
        }
    }
}

impl HandleKind for CacheValue {
    const MAGIC: u32 = 0x7377_7201;
}

/// A cache. Any thread may use it at any time.
pub type Cache = Handle<CacheValue>;

/// Opens a cache.
///
/// `*cache` is yours, to be freed with `swrcache_close`; NULL on failure. A process that forks workers opens a
/// `SWRCACHE_SHARED` cache before it forks, and each worker calls `swrcache_after_fork` once. Any process may open a
/// `SWRCACHE_FILE`: the first one makes it, the others take what is there, which must have the same `size` and, while another process
/// has it open, the same `max_object` if one is given. A file of a version of the library that lays memory out otherwise is replaced by
/// an empty one.
///
/// Any thread. No pointer may be NULL but those that the options say.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for bad options; SWRCACHE_EREGION if the file holds something else, is shorter or
/// longer, or is open with other options (`swrcache_last_error` says which); SWRCACHE_ENOMEM if there is no memory for it; SWRCACHE_ESYS
/// if the system refused; SWRCACHE_ENOSPC if too many processes use it.
///
/// # Safety
/// `options` is NULL or points to `struct_size` readable bytes; `cache` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_open(options: *const Options, cache: *mut *mut Cache) -> c_int {
    call(|| {
        // SAFETY: NULL or writable.
        unsafe { put(cache, std::ptr::null_mut()) }?;
        // SAFETY: NULL or readable.
        let options = unsafe { types::read(options) }?;
        // SAFETY: as above; the path is NULL or ends with NUL.
        let region = unsafe { region(&options) }?;
        let opened = open(region, &options)?;
        // SAFETY: as above.
        unsafe { put(cache, Handle::give(CacheValue(Arc::new(opened)))) }
    })
}

/// # Safety
/// The path is NULL or a C string.
unsafe fn region(options: &Options) -> Result<Region> {
    let how = RegionOptions {
        max_object: options.max_object as u64,
        share: Share::Anyone,
        ..RegionOptions::default()
    };
    match options.memory {
        SWRCACHE_PRIVATE => Ok(Region::private(options.size, &how)?),
        SWRCACHE_SHARED => Ok(Region::anonymous(options.size, &how)?),
        SWRCACHE_FILE => {
            // SAFETY: the caller's promise.
            let path = Path::new(OsStr::from_bytes(unsafe {
                bytes(options.path, SWRCACHE_NUL)
            }?));
            let (region, found) = Region::file(path, options.size, &how)?;
            if let Predecessor::Useless(why) = found {
                let path = path.display();
                log(
                    SWRCACHE_LOG_NOTICE,
                    &format!(
                        "swrcache: the unusable file {path} was replaced, and the cache starts empty: {why}"
                    ),
                );
            }
            Ok(region)
        }
        _ => Err(Error::new(SWRCACHE_EINVAL, "unknown kind of memory")),
    }
}

/// Takes a place in the region, also if one has to be cleaned first that a dead process has left.
fn enter(region: &Region, wake: &Wake) -> Result<()> {
    let began = Instant::now();
    loop {
        match region.enter(wake.waker()) {
            Err(StoreError::NoSlotYet) if began.elapsed() < CLEANED_WITHIN => {
                std::thread::sleep(Duration::from_millis(1));
            }
            entered => return Ok(entered?),
        }
    }
}

fn open(region: Region, options: &Options) -> Result<Shared> {
    let processes = match options.processes {
        n if n > SWRCACHE_MAX_PROCESSES => {
            return Err(Error::new(
                SWRCACHE_EINVAL,
                format!("{n} processes are more than {SWRCACHE_MAX_PROCESSES}"),
            ));
        }
        _ if options.memory == SWRCACHE_PRIVATE => 1,
        0 => PROCESSES,
        n => n,
    };
    let wake = Wake::new(processes as usize, options.memory != SWRCACHE_PRIVATE)?;
    enter(&region, &wake)?;
    Ok(Shared {
        engine: engine::Cache::new(Arc::new(region)),
        encoding: Encoding::default(),
        wake,
        time: Time {
            clock: options.clock,
            user: options.clock_user,
        },
        memory: options.memory,
        opened_by: std::process::id(),
        counters: Counters::default(),
        refreshing: AtomicU32::new(0),
        repairing: AtomicBool::new(false),
        damage_told: AtomicBool::new(false),
        opened: Instant::now(),
        next_look: AtomicU64::new(0),
    })
}

/// Makes the cache usable in a process that was forked after `swrcache_open`.
///
/// Call it in each child, before anything else of the library; calling it again changes nothing. Fork while no other thread of the
/// parent is inside the library. Replies, fetches and watchers of the parent mean nothing in the child: free them or leave them, but
/// don't use them there. The parent goes on as before. What it takes, `swrcache_close` and the end of the process give back.
///
/// Returns 0; SWRCACHE_ENOSPC if too many processes use the cache; SWRCACHE_EUNSUPPORTED for `SWRCACHE_PRIVATE` memory;
/// SWRCACHE_ESYS if the system refused; SWRCACHE_EINVAL if `cache` is NULL.
///
/// # Safety
/// `cache` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_after_fork(cache: *mut Cache) -> c_int {
    shared(cache, |cache| {
        if cache.memory == SWRCACHE_PRIVATE {
            return Err(SWRCACHE_EUNSUPPORTED.into());
        }
        if cache.wake.is_own() {
            return Ok(());
        }
        cache.wake.forked()?;
        cache.refreshing.store(0, Relaxed);
        enter(cache.engine.region(), &cache.wake).inspect_err(|_| cache.wake.close())
    })
}

/// Closes the cache in this process. NULL is ignored.
///
/// Free its refreshers before. Replies, fetches and watchers that are still there stay usable, and keep the memory until they are
/// freed; but in a process that was forked after the cache was opened its fetches are given up, and its place is free for another.
/// A file stays where it is, with what it holds.
/// Call it when no other thread uses the cache.
///
/// # Safety
/// `cache` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_close(cache: *mut Cache) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(cache) };
}

/// Runs a call on the cache; the pointer's soundness is what every function of the header asks for.
pub(crate) fn shared(cache: *const Cache, f: impl FnOnce(&Arc<Shared>) -> Result<()>) -> c_int {
    call(|| {
        // SAFETY: NULL or live, by the contract of each caller.
        unsafe { Handle::with_ref(cache, |cache| f(&cache.0)) }
    })
}

/// Waits, for a server with threads, until something has moved since the lookup that gave `ticket`
/// (`swrcache_decision.ticket`), or until `until` (Unix time in milliseconds by the cache's clock).
///
/// Any number of threads may wait, also beside an event loop. `swrcache_lookup_wait` does this for you.
///
/// Returns 0 if it is time to look again; SWRCACHE_ETIMEDOUT if `until` has come; SWRCACHE_EINVAL if `cache` is NULL.
///
/// # Safety
/// `cache` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_wait(cache: *const Cache, ticket: u64, until: u64) -> c_int {
    shared(cache, |cache| {
        match cache.wait(ticket, cache.instant(until)) {
            true => Ok(()),
            false => Err(SWRCACHE_ETIMEDOUT.into()),
        }
    })
}

/// Tidies up: frees what dead processes held, and drops some entries whose time is over: all their windows, or `inactive`.
///
/// Call it about once a second, from a timer or a thread. Nothing breaks without it; others wait longer for a dead process.
/// A call takes about a millisecond. After a process has died there may be more to do than that.
///
/// Returns 0; SWRCACHE_EAGAIN if there is more to do: call it again soon, between other work (at the next turn of an event loop).
/// With millions of entries that may go on for some seconds, until which nothing new may be stored; SWRCACHE_EREGION if the memory
/// was found damaged: every request is told to pass until the cache has been closed and opened anew; SWRCACHE_EINVAL if `cache` is
/// NULL.
///
/// # Safety
/// `cache` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_tidy(cache: *mut Cache) -> c_int {
    shared(cache, |cache| {
        let region = cache.engine.region();
        let budget = if cache.repairing.load(Relaxed) {
            STINT
        } else {
            // A repair has a time budget of its own.
            cache.reap();
            region.sweep(cache.now(), TIDY_PLACES);
            Duration::ZERO
        };
        let more = region.maintain(budget) == Ok(false);
        cache.repairing.store(more, Relaxed);
        match more {
            _ if region.is_damaged() => cache.must_be_sound(),
            true => Err(SWRCACHE_EAGAIN.into()),
            false => Ok(()),
        }
    })
}

/// The time by the cache's clock: Unix time in milliseconds.
///
/// Any thread.
///
/// Returns 0; SWRCACHE_EINVAL for a NULL. On failure `*now` is 0.
///
/// # Safety
/// `cache` is NULL or live; `now` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_now(cache: *const Cache, now: *mut u64) -> c_int {
    call(|| {
        // SAFETY: NULL or writable, here and below.
        unsafe { put(now, 0) }?;
        // SAFETY: NULL or live.
        let told = unsafe { Handle::with_ref(cache, |cache| Ok(cache.0.now())) }?;
        // SAFETY: see above.
        unsafe { put(now, told) }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::ffi::{CStr, CString};
    use std::fs::{self, File};
    use std::mem::zeroed;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    use std::ptr;

    use super::*;
    use crate::ffi::*;
    use crate::store::{ATTRIBUTES, Fill, NewObject, Publish};

    thread_local! {
        static PANIC: Cell<bool> = const { Cell::new(false) };
        static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// # Safety
    /// `message` ends with NUL.
    unsafe extern "C" fn logged(_: *mut c_void, level: c_int, message: *const c_char) {
        // SAFETY: a text that ends with NUL.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
        LOGGED.with_borrow_mut(|said| said.push(format!("{level}: {message}")));
    }

    /// A defect inside the library, in the middle of a call.
    pub(super) fn panic_if_told() {
        assert!(!PANIC.replace(false), "on purpose");
    }

    fn opened() -> (*mut Cache, *mut Policy) {
        // SAFETY: integers and pointers.
        let mut options: Options = unsafe { zeroed() };
        (options.struct_size, options.size) = (size_of::<Options>(), 4 << 20);
        let (mut cache, mut policy) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the options are filled in, the outputs are ours.
        unsafe {
            assert_eq!(swrcache_open(&options, &mut cache), SWRCACHE_OK);
            assert_eq!(swrcache_policy_new(&mut policy), SWRCACHE_OK);
        }
        (cache, policy)
    }

    fn look(cache: *mut Cache, policy: *mut Policy) -> (c_int, Decision) {
        // SAFETY: integers and pointers.
        let (mut request, mut decision): (Request, Decision) = unsafe { zeroed() };
        request.struct_size = size_of::<Request>();
        request.method = c"GET".as_ptr();
        (request.key, request.key_len) = (c"key".as_ptr(), SWRCACHE_NUL);
        decision.struct_size = size_of::<Decision>();
        // SAFETY: live handles, filled structs.
        let code = unsafe { swrcache_lookup(cache, policy, &request, &mut decision) };
        (code, decision)
    }

    fn status(fetch: *mut Fetch) -> c_int {
        // SAFETY: a live handle; integers and pointers.
        unsafe {
            let mut response: Response = zeroed();
            (response.struct_size, response.status) = (size_of::<Response>(), 200);
            swrcache_fetch_respond(fetch, &response, &mut 0)
        }
    }

    #[test]
    fn a_panic_in_a_lookup_ends_in_a_code_and_a_pass_and_poisons_what_was_in_use() {
        let (cache, policy) = opened();
        let fetch = look(cache, policy).1.fetch;
        LOGGED.with_borrow_mut(Vec::clear);
        // SAFETY: a function that takes no pointer of ours.
        unsafe { swrcache_log(Some(logged), ptr::null_mut()) };
        PANIC.set(true);
        let (code, decision) = look(cache, policy);
        assert_eq!((code, decision.action), (SWRCACHE_EPANIC, SWRCACHE_PASS));
        // SAFETY: the text is this thread's, which makes no call meanwhile.
        let about = unsafe { CStr::from_ptr(swrcache_last_error()) };
        assert_eq!(about, c"on purpose");
        let place = |said: &String| said.starts_with("1: swrcache: panicked at src/ffi/cache.rs");
        LOGGED.with_borrow(|said| assert!(said.iter().any(place), "{said:?}"));
        assert!(decision.reply.is_null() && decision.fetch.is_null());
        let (code, decision) = look(cache, policy);
        assert_eq!((code, decision.action), (SWRCACHE_EPOISONED, SWRCACHE_PASS));
        // SAFETY: live handles; freed once.
        unsafe {
            assert_eq!(swrcache_tidy(cache), SWRCACHE_EPOISONED);
            // Another handle goes on: what it needs is its own.
            assert_eq!(status(fetch), SWRCACHE_OK);
            swrcache_fetch_free(fetch);
            swrcache_policy_free(policy);
            swrcache_close(cache);
        }
    }

    #[test]
    fn memory_that_was_written_over_is_told_of_and_made_anew() {
        let path = std::env::temp_dir().join(format!("swrcache-damage-{}", std::process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let open = || {
            // SAFETY: integers and pointers.
            let mut options: Options = unsafe { zeroed() };
            (options.struct_size, options.size) = (size_of::<Options>(), 4 << 20);
            (options.memory, options.path) = (SWRCACHE_FILE, name.as_ptr());
            let mut cache = ptr::null_mut();
            // SAFETY: the options are filled in, the output is ours.
            assert_eq!(unsafe { swrcache_open(&options, &mut cache) }, SWRCACHE_OK);
            cache
        };
        let (cache, (other, policy)) = (open(), opened());
        // What is free lies behind it.
        let first = NewObject {
            meta: b"",
            labels: &[],
            total: Some(400_000),
            attributes: [0; ATTRIBUTES],
            dead_at: u64::MAX,
            publish: Publish::AtCommit,
            replaces: None,
            max_variants: 1,
        };
        shared(cache, |cache| {
            let mut fill =
                Fill::begin(cache.engine.region().unclaimed(b"first"), first).expect("room");
            fill.write(&[1; 400_000]).expect("room");
            fill.commit(1).expect("stored");
            Ok(())
        });
        let file = File::options().write(true).open(&path).expect("a file");
        file.write_all_at(&[0xff; 3 << 20], 300_000)
            .expect("written");
        LOGGED.with_borrow_mut(Vec::clear);
        // SAFETY: a function that takes no pointer of ours.
        unsafe { swrcache_log(Some(logged), ptr::null_mut()) };
        for _ in 0..2 {
            let (code, decision) = look(cache, policy);
            assert_eq!((code, decision.action), (SWRCACHE_EREGION, SWRCACHE_PASS));
        }
        // SAFETY: live handles; freed once.
        unsafe {
            let kind = SWRCACHE_PURGE_ALL;
            let purged = swrcache_purge(cache, kind, ptr::null(), 0, ptr::null_mut());
            assert_eq!(purged, SWRCACHE_EREGION);
            LOGGED.with_borrow(|said| assert!(said.len() == 1 && said[0].contains("damaged")));
            swrcache_log(None, ptr::null_mut());
            assert_eq!(swrcache_tidy(cache), SWRCACHE_EREGION);
            swrcache_close(cache);
            let cache = open();
            let (code, decision) = look(cache, policy);
            assert_eq!((code, decision.action), (SWRCACHE_OK, SWRCACHE_FETCH));
            assert_eq!(swrcache_tidy(cache), SWRCACHE_OK);
            swrcache_fetch_free(decision.fetch);
            swrcache_policy_free(policy);
            swrcache_close(cache);
            swrcache_close(other);
        }
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_panic_in_a_fetch_poisons_the_fetch_alone() {
        let (cache, policy) = opened();
        let fetch = look(cache, policy).1.fetch;
        PANIC.set(true);
        assert_eq!(status(fetch), SWRCACHE_EPANIC);
        assert_eq!(status(fetch), SWRCACHE_EPOISONED);
        // SAFETY: live handles; freed once. The place is free again.
        unsafe {
            swrcache_fetch_free(fetch);
            let (code, decision) = look(cache, policy);
            assert_eq!((code, decision.action), (SWRCACHE_OK, SWRCACHE_FETCH));
            swrcache_fetch_free(decision.fetch);
            swrcache_policy_free(policy);
            swrcache_close(cache);
        }
    }
}
