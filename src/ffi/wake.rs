//! Waiting for what other processes and threads do.
//!
//! A process has one waker, an eventfd of the set that it shares with those it was forked with. The eventfd is never read: whoever waits
//! has an epoll of its own in which the eventfd is edge-triggered, so that the kernel reports every wake-up to each, and nobody takes one
//! from another. Such are the [`Watcher`]s of the host's event loops, and one that the threads of a process share: the thread
//! that listens on it counts the wake-up (`generation`) for the others, so that a thread that took a *ticket* before it looked
//! can't miss what came after.
//!
//! Processes that map the same file without having been forked from one another have no waker in common, and more processes than
//! there are wakers have none at all. A process that has died wakes nobody either. Whoever waits therefore looks by itself after a
//! while: a thread wakes up for it, and watchers hear a timer too, which is set when something is to be waited for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::store::{WakerId, Wakers};

/// How long to wait before looking without a wake-up, if processes can not wake each other.
pub(crate) const UNWOKEN: Duration = Duration::from_millis(20);
/// The same where they can: one of them may have died.
pub(crate) const UNSURE: Duration = Duration::from_secs(1);

pub(crate) struct Wake {
    wakers: Arc<Wakers>,
    /// Other processes may come.
    shared: bool,
    generation: AtomicU64,
    state: Mutex<ProcessState>,
    turn: Condvar,
}

/// What a process has of its own; a forked one begins anew.
struct ProcessState {
    pid: u32,
    waker: Option<WakerId>,
    /// Rings where nobody else may.
    timer: Option<Arc<Timer>>,
    /// What the threads of this process listen on, made when one first waits.
    threads: Option<Arc<Watcher>>,
    /// A thread listens; the others wait for it.
    listening: bool,
}

impl Wake {
    /// With wakers for so many processes; `shared` with others at all.
    pub(crate) fn new(processes: usize, shared: bool) -> io::Result<Wake> {
        let wake = Wake {
            wakers: Arc::new(Wakers::new(processes)?),
            shared,
            generation: AtomicU64::new(0),
            state: Mutex::new(ProcessState {
                pid: 0,
                waker: None,
                timer: None,
                threads: None,
                listening: false,
            }),
            turn: Condvar::new(),
        };
        wake.forked()?;
        Ok(wake)
    }

    /// The waker of this process, for the region.
    pub(crate) fn waker(&self) -> Option<(Arc<Wakers>, WakerId)> {
        Some((Arc::clone(&self.wakers), self.state.lock().waker?))
    }

    /// Whether all of this is the calling process's own, not what it inherited.
    pub(crate) fn is_own(&self) -> bool {
        self.state.lock().pid == std::process::id()
    }

    /// Claims a waker for this process, also in a forked child.
    pub(crate) fn forked(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let waker = self.wakers.claim();
        let timer = match waker {
            Some(_) if !self.shared => None,
            _ => Some(Arc::new(Timer::new()?)),
        };
        *state = ProcessState {
            pid: std::process::id(),
            waker,
            timer,
            threads: None,
            listening: false,
        };
        Ok(())
    }

    /// Makes watchers readable after that time, unless something wakes them before.
    pub(crate) fn look_after(&self, time: Duration) {
        if let Some(timer) = &self.state.lock().timer {
            timer.set(time);
        }
    }

    /// Whether this process has no waker.
    pub(crate) fn has_no_bell(&self) -> bool {
        self.state.lock().waker.is_none()
    }

    /// Releases the waker.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        let is_own = state.pid == std::process::id();
        let waker = if is_own { state.waker.take() } else { None };
        if let Some(waker) = waker {
            self.wakers.release(waker);
        }
    }

    /// A watcher of this process.
    pub(crate) fn watcher(&self) -> io::Result<Watcher> {
        self.watcher_of(&self.state.lock())
    }

    fn watcher_of(&self, state: &ProcessState) -> io::Result<Watcher> {
        let waker = state.waker.map(|waker| self.wakers.fd(waker));
        Watcher::new(waker, state.timer.clone())
    }

    /// What to give to [`Wake::wait`]; taken before one looks.
    pub(crate) fn ticket(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Waits until something has happened since the ticket was taken; false when `until` comes first.
    /// Something has always happened after `unwoken`.
    pub(crate) fn wait(&self, ticket: u64, until: Instant, unwoken: Duration) -> bool {
        let mut state = self.state.lock();
        loop {
            if self.ticket() != ticket {
                return true;
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            if state.listening {
                self.turn.wait_until(&mut state, until);
                continue;
            }
            state.listening = true;
            let threads = self.threads(&mut state);
            drop(state);
            let woken = listen(threads.as_deref(), until - now, unwoken);
            state = self.state.lock();
            state.listening = false;
            if woken {
                self.generation
                    .store(self.generation.load(Acquire).wrapping_add(1), Release);
            }
            // Those who wait look again, or one of them listens now.
            self.turn.notify_all();
        }
    }

    /// What the threads listen on; nothing if no descriptor could be opened.
    fn threads(&self, state: &mut ProcessState) -> Option<Arc<Watcher>> {
        if state.threads.is_none() {
            state.threads = self.watcher_of(state).ok().map(Arc::new);
        }
        state.threads.clone()
    }
}

/// Waits for a wake-up; returns whether it is time to look.
fn listen(threads: Option<&Watcher>, left: Duration, unwoken: Duration) -> bool {
    match threads {
        Some(watcher) => watcher.hear(left.min(unwoken)) || unwoken <= left,
        None => {
            std::thread::sleep(left.min(UNWOKEN));
            true
        }
    }
}

/// Reports every wake-up of the process: an epoll of its eventfd and of the timer, if there is one.
pub(crate) struct Watcher {
    both: OwnedFd,
    /// The registration ends when the last descriptor of the timer is closed.
    _timer: Option<Arc<Timer>>,
}

impl Watcher {
    fn new(waker: Option<RawFd>, timer: Option<Arc<Timer>>) -> io::Result<Watcher> {
        // SAFETY: it takes no pointers, and what it returns is new.
        let both = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        let timer_fd = timer.as_ref().map(|timer| timer.0.as_raw_fd());
        for fd in waker.into_iter().chain(timer_fd) {
            let mut event = libc::epoll_event {
                // Edge-triggered: every write to the eventfd is an event to every epoll, whoever has heard it before.
                events: (libc::EPOLLIN | libc::EPOLLET) as u32,
                u64: 0,
            };
            // SAFETY: open descriptors, and an event on the stack.
            let added = unsafe {
                libc::epoll_ctl(both.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
            };
            if added < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Watcher {
            both,
            _timer: timer,
        })
    }

    /// Readable when there was a wake-up since [`Watcher::clear`].
    pub(crate) fn fd(&self) -> RawFd {
        self.both.as_raw_fd()
    }

    /// Makes the descriptor unreadable again.
    pub(crate) fn clear(&self) {
        self.hear(Duration::ZERO);
    }

    /// Whether there was a wake-up since the last time; waits so long for one.
    fn hear(&self, left: Duration) -> bool {
        // Room for the eventfd and the timer.
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        let ms = match left {
            Duration::ZERO => 0,
            // One more than the whole milliseconds, so that a wait does not end in a spin.
            left => i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX),
        };
        // SAFETY: an open descriptor, and room for two events.
        unsafe { libc::epoll_wait(self.fd(), events.as_mut_ptr(), 2, ms) > 0 }
    }
}

/// A timerfd that is never read: setting it anew begins anew.
struct Timer(OwnedFd);

impl Timer {
    fn new() -> io::Result<Timer> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: it takes no pointers, and what it returns is new.
        unsafe { owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags)).map(Timer) }
    }

    /// Goes off so long from now, if not before: it must go off also if it is asked for all the time.
    fn set(&self, after: Duration) {
        // SAFETY: made of integers, of which zero is one.
        let mut at: libc::itimerspec = unsafe { std::mem::zeroed() };
        // SAFETY: an open descriptor, and a time on the stack.
        unsafe { libc::timerfd_gettime(self.0.as_raw_fd(), &raw mut at) };
        let left = Duration::new(at.it_value.tv_sec as u64, at.it_value.tv_nsec as u32);
        if !left.is_zero() && left <= after {
            return;
        }
        at.it_value.tv_nsec = libc::c_long::from(after.subsec_nanos() as i32);
        at.it_value.tv_sec = after.as_secs() as libc::time_t;
        // SAFETY: as above.
        unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const at, std::ptr::null_mut());
        }
    }
}

/// # Safety
/// `fd` is a new descriptor, or negative after an error.
unsafe fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    match fd {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: new, so nobody else's.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}
