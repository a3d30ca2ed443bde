//! Waiting for what other processes and threads do: one bell a process, heard by any number of threads.
//!
//! The bell is an eventfd. Whoever drains it, a waiting thread or the host's event loop, counts the ring
//! (`generation`), so that a thread that took a *ticket* before it looked can't miss what came after.
//!
//! Processes that map the same file without having been forked from one another have no bell in common. Where there are such, a
//! waiting thread looks by itself every [`UNRUNG`], and so does the host's loop: the descriptor that it watches is then an epoll
//! of the bell and a timer, which is set when something is to be waited for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::store::{BellId, Bells};

/// How long a process waits before it looks by itself where nobody may ring.
const UNRUNG: Duration = Duration::from_millis(20);

pub(crate) struct Wake {
    bells: Arc<Bells>,
    /// Processes may come that can't ring this one.
    strangers: bool,
    generation: AtomicU64,
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    bell: Option<BellId>,
    watched: Option<Watched>,
    /// A thread waits on the descriptor; the others wait for it.
    listening: bool,
}

impl Wake {
    pub(crate) fn new(processes: usize, strangers: bool) -> io::Result<Wake> {
        let wake = Wake {
            bells: Arc::new(Bells::new(processes)?),
            strangers,
            generation: AtomicU64::new(0),
            state: Mutex::new(State {
                bell: None,
                watched: None,
                listening: false,
            }),
            turn: Condvar::new(),
        };
        wake.forked()?;
        Ok(wake)
    }

    /// The bell of this process, to be given to the region.
    pub(crate) fn bell(&self) -> Option<(Arc<Bells>, BellId)> {
        Some((Arc::clone(&self.bells), self.state.lock().bell?))
    }

    /// Takes a bell of this process's own, also in a forked child.
    pub(crate) fn forked(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.bell = self.bells.claim();
        state.listening = false;
        state.watched = match state.bell {
            Some(bell) if self.strangers => Some(Watched::new(self.bells.fd(bell))?),
            _ => None,
        };
        Ok(())
    }

    /// Makes the descriptor readable after a while, should nobody ring.
    pub(crate) fn look_soon(&self) {
        if let Some(watched) = &self.state.lock().watched {
            watched.set(UNRUNG);
        }
    }

    /// Gives the bell back.
    pub(crate) fn close(&self) {
        if let Some(bell) = self.state.lock().bell.take() {
            self.bells.release(bell);
        }
    }

    /// The descriptor that becomes readable when the bell rings; -1 if there was none left.
    pub(crate) fn fd(&self) -> RawFd {
        let state = self.state.lock();
        match (&state.watched, state.bell) {
            (Some(watched), _) => watched.both.as_raw_fd(),
            (None, Some(bell)) => self.bells.fd(bell),
            (None, None) => -1,
        }
    }

    /// What to give to [`Wake::wait`]; taken before one looks.
    pub(crate) fn ticket(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Hears the bell: the descriptor is not readable any more, and waiting threads look again.
    pub(crate) fn heard(&self) {
        let mut state = self.state.lock();
        self.hear(&mut state);
    }

    fn hear(&self, state: &mut State) {
        if let Some(bell) = state.bell {
            self.bells.drain(bell);
        }
        if let Some(watched) = &state.watched {
            watched.drain();
        }
        self.generation
            .store(self.generation.load(Acquire).wrapping_add(1), Release);
        self.turn.notify_all();
    }

    /// Waits until something has happened since the ticket was taken; false when `until` comes first.
    /// `unrung` is whether there are processes that can't ring this one.
    pub(crate) fn wait(&self, ticket: u64, until: Instant, unrung: bool) -> bool {
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
            let fd = state.bell.map_or(-1, |bell| self.bells.fd(bell));
            drop(state);
            let rung = listen(fd, until - now, unrung);
            state = self.state.lock();
            state.listening = false;
            if rung {
                self.hear(&mut state);
            } else {
                // Somebody else has to listen now.
                self.turn.notify_all();
            }
        }
    }
}

/// Waits on the descriptor; whether it is time to look.
fn listen(fd: RawFd, left: Duration, unrung: bool) -> bool {
    let alone = fd < 0 || unrung;
    let slice = if alone { left.min(UNRUNG) } else { left };
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // One more than the whole milliseconds, so that the wait does not end in a spin.
    let ms = i32::try_from(slice.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
    // SAFETY: one pollfd is passed, and it lives on the stack.
    let ready = unsafe { libc::poll(&raw mut poll, 1, ms) };
    ready > 0 || alone
}

/// A bell and a timer, watched by one descriptor.
struct Watched {
    both: OwnedFd,
    timer: OwnedFd,
}

impl Watched {
    fn new(bell: RawFd) -> io::Result<Watched> {
        // SAFETY: these take no pointers.
        let (both, timer) = unsafe {
            (
                owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
                owned(libc::timerfd_create(
                    libc::CLOCK_MONOTONIC,
                    libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
                ))?,
            )
        };
        for fd in [bell, timer.as_raw_fd()] {
            let mut event = libc::epoll_event {
                events: libc::EPOLLIN as u32,
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
        Ok(Watched { both, timer })
    }

    fn set(&self, after: Duration) {
        // SAFETY: made of integers, of which zero is one.
        let mut at: libc::itimerspec = unsafe { std::mem::zeroed() };
        at.it_value.tv_nsec = libc::c_long::from(after.subsec_nanos() as i32);
        at.it_value.tv_sec = after.as_secs() as libc::time_t;
        // SAFETY: an open descriptor, and a time on the stack.
        unsafe {
            libc::timerfd_settime(
                self.timer.as_raw_fd(),
                0,
                &raw const at,
                std::ptr::null_mut(),
            );
        }
    }

    fn drain(&self) {
        let mut expired = 0u64;
        // SAFETY: an open descriptor that does not block, and room for what it tells. Nothing to read is no fault.
        unsafe { libc::read(self.timer.as_raw_fd(), (&raw mut expired).cast(), 8) };
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
