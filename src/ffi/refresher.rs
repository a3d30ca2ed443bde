//! The optional refresher: threads that carry out fetches with the host's function, for servers without an event loop.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::cache::{Cache, Shared};
use super::count::Count;
use super::error::{Error, Result, SWRCACHE_EFULL, SWRCACHE_EINVAL};
use super::fetch::{Fetch, swrcache_fetch_free};
use super::handle::{Handle, HandleKind, call};
use super::types::{self, Sized_, put};

/// Carries out a fetch: asks the origin, and calls `swrcache_fetch_respond`, `_write`, `_finish` or `_fail`.
///
/// Called in a thread of the refresher, several at a time. The fetch is the refresher's: don't free or keep it. If it is not
/// over on return it is given up. Must not throw or longjmp out.
pub type Carry = Option<unsafe extern "C" fn(user: *mut c_void, fetch: *mut Fetch)>;

/// How to make a refresher. Zero it, set `struct_size` and what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RefresherOptions {
    /// `sizeof(swrcache_refresher_options)`.
    pub struct_size: usize,
    /// How many threads, at most 1024; 0 is 4.
    pub threads: u32,
    /// How many fetches may wait for a thread; 0 is 64.
    pub queue: u32,
    /// The function that fetches; not NULL.
    pub carry: Carry,
    /// Handed to `carry`.
    pub user: *mut c_void,
}

// SAFETY: repr(C), its size first; integers, a pointer, and a nullable function pointer that the caller promises to be
// one.
unsafe impl Sized_ for RefresherOptions {
    const LEAST: usize = offset_of!(RefresherOptions, user);
}

/// A fetch on its way to a thread; freed when nobody takes it.
struct Job(*mut Fetch);

// SAFETY: a fetch may be used by any thread, by one at a time; the job is the only owner.
unsafe impl Send for Job {}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: live, and ours alone.
        unsafe { swrcache_fetch_free(self.0) };
    }
}

/// The host's function with its argument.
#[derive(Clone, Copy)]
struct Work {
    carry: unsafe extern "C" fn(user: *mut c_void, fetch: *mut Fetch),
    user: *mut c_void,
}

// SAFETY: the header asks for a function that may be called from several threads with this argument.
unsafe impl Send for Work {}

impl Work {
    fn run(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            // SAFETY: the host's function with the host's argument, as promised.
            unsafe { (self.carry)(self.user, job.0) };
        }
    }
}

/// What is behind a `swrcache_refresher`.
pub struct RefresherValue {
    cache: Arc<Shared>,
    /// Taken out when it closes.
    open: Mutex<Option<Sender<Job>>>,
    /// To empty the queue when it closes.
    waiting: Receiver<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl HandleKind for RefresherValue {
    const MAGIC: u32 = 0x7377_7205;
}

/// A pool of threads that fetch. Any thread may use it at any time.
pub type Refresher = Handle<RefresherValue>;

impl RefresherValue {
    fn start(cache: &Arc<Shared>, options: &RefresherOptions) -> Result<RefresherValue> {
        let carry = options
            .carry
            .ok_or_else(|| Error::new(SWRCACHE_EINVAL, "the fetch callback is NULL"))?;
        if options.threads > 1024 {
            return Err(Error::new(SWRCACHE_EINVAL, "too many threads"));
        }
        let or = |n: u32, default: usize| if n == 0 { default } else { n as usize };
        let (sender, waiting) = bounded(or(options.queue, 64));
        let mut refresher = RefresherValue {
            cache: Arc::clone(cache),
            open: Mutex::new(Some(sender)),
            waiting,
            threads: Vec::new(),
        };
        let work = Work {
            carry,
            user: options.user,
        };
        for _ in 0..or(options.threads, 4) {
            let jobs = refresher.waiting.clone();
            let thread = thread::Builder::new().name("swrcache".into());
            // If a thread cannot be started, `drop` ends those that were.
            refresher.threads.push(thread.spawn(move || {
                let work = work;
                work.run(&jobs);
            })?);
        }
        Ok(refresher)
    }

    fn submit(&self, fetch: *mut Fetch) -> Result<()> {
        let refused = |job: Job| {
            // It stays the caller's.
            std::mem::forget(job);
            self.cache.counters.add(Count::QueueRefused, 1);
            Err(SWRCACHE_EFULL.into())
        };
        let open = self.open.lock();
        match open.as_ref().map(|open| open.try_send(Job(fetch))) {
            Some(Ok(())) => {
                self.cache.counters.add(Count::Queued, 1);
                Ok(())
            }
            Some(Err(TrySendError::Full(job) | TrySendError::Disconnected(job))) => refused(job),
            None => refused(Job(fetch)),
        }
    }
}

impl Drop for RefresherValue {
    fn drop(&mut self) {
        *self.open.lock() = None;
        // What nobody has begun is given up; the next request of each key may fetch.
        while let Ok(job) = self.waiting.try_recv() {
            drop(job);
        }
        for thread in self.threads.drain(..) {
            // One that was ended by a panic has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// Makes a refresher for `cache` and starts its threads.
///
/// `*refresher` is yours, to be freed with `swrcache_refresher_free`; NULL on failure. Make it after a fork: threads don't
/// follow one.
///
/// Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ESYS if a thread could not be started.
///
/// # Safety
/// `cache` is NULL or live; `options` is NULL or has `struct_size` readable bytes; `refresher` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_refresher_new(
    cache: *mut Cache,
    options: *const RefresherOptions,
    refresher: *mut *mut Refresher,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise, here and below.
        unsafe { put(refresher, std::ptr::null_mut()) }?;
        // SAFETY: see above.
        let options = unsafe { types::read(options) }?;
        // SAFETY: see above.
        let value =
            unsafe { Handle::with_ref(cache, |cache| RefresherValue::start(&cache.0, &options)) }?;
        // SAFETY: see above.
        unsafe { put(refresher, Handle::give(value)) }
    })
}

/// Hands a fetch over. Never waits.
///
/// Any thread.
///
/// Returns 0, and the fetch is the refresher's: don't use it any more. After any error it is still yours: SWRCACHE_EFULL if the
/// queue is full (counted in `queue_refused`): free the fetch, and a later request will refresh; SWRCACHE_EINVAL for a NULL.
///
/// # Safety
/// `refresher` and `fetch` are NULL or live, and no other thread uses `fetch`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_refresher_submit(
    refresher: *mut Refresher,
    fetch: *mut Fetch,
) -> c_int {
    call(|| {
        // SAFETY: NULL or live, says the caller: this tells a fetch from something else.
        let of = unsafe { Handle::with_mut(fetch, |fetch| Ok(Arc::clone(fetch.cache()))) }?;
        // SAFETY: NULL or live.
        unsafe {
            Handle::with_ref(refresher, |refresher| {
                if !Arc::ptr_eq(&of, &refresher.cache) {
                    return Err(Error::new(
                        SWRCACHE_EINVAL,
                        "the fetch belongs to another cache",
                    ));
                }
                refresher.submit(fetch)
            })
        }
    })
}

/// Ends a refresher: what waits in the queue is given up, what runs is waited for, the threads are joined. NULL is ignored.
///
/// Not from within `carry`.
///
/// # Safety
/// `refresher` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_refresher_free(refresher: *mut Refresher) {
    // SAFETY: the caller's promise.
    unsafe { Handle::free(refresher) };
}
