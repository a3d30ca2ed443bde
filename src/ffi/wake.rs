//! Waiting for what other processes and threads do: one bell a process, heard by any number of threads.
//!
//! The bell is an eventfd. Whoever drains it, a waiting thread or the host's event loop, counts the ring
//! (`generation`), so that a thread that took a *ticket* before it looked can't miss what came after.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::store::{BellId, Bells};

/// How often a thread looks by itself where nobody can ring: processes that are no family of this one.
const UNRUNG: Duration = Duration::from_millis(20);

pub(crate) struct Wake {
    bells: Arc<Bells>,
    /// Rings of every process that uses the memory reach us.
    family: bool,
    generation: AtomicU64,
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    bell: Option<BellId>,
    /// A thread waits on the descriptor; the others wait for it.
    listening: bool,
}

impl Wake {
    pub(crate) fn new(processes: usize, family: bool) -> std::io::Result<Wake> {
        let bells = Arc::new(Bells::new(processes)?);
        let bell = bells.claim();
        Ok(Wake {
            bells,
            family,
            generation: AtomicU64::new(0),
            state: Mutex::new(State {
                bell,
                listening: false,
            }),
            turn: Condvar::new(),
        })
    }

    /// The bell of this process, to be given to the region.
    pub(crate) fn bell(&self) -> Option<(Arc<Bells>, BellId)> {
        Some((Arc::clone(&self.bells), self.state.lock().bell?))
    }

    /// In a forked child: takes a bell of its own.
    pub(crate) fn forked(&self) {
        let mut state = self.state.lock();
        state.bell = self.bells.claim();
        state.listening = false;
    }

    /// Gives the bell back.
    pub(crate) fn close(&self) {
        if let Some(bell) = self.state.lock().bell.take() {
            self.bells.release(bell);
        }
    }

    /// The descriptor that becomes readable when the bell rings; -1 if there was none left.
    pub(crate) fn fd(&self) -> RawFd {
        self.state
            .lock()
            .bell
            .map_or(-1, |bell| self.bells.fd(bell))
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
        self.generation
            .store(self.generation.load(Acquire).wrapping_add(1), Release);
        self.turn.notify_all();
    }

    /// Waits until something has happened since the ticket was taken; false when `until` comes first.
    pub(crate) fn wait(&self, ticket: u64, until: Instant) -> bool {
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
            let rung = self.listen(fd, until - now);
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

    /// Waits on the descriptor; whether it is time to look.
    fn listen(&self, fd: RawFd, left: Duration) -> bool {
        let alone = fd < 0 || !self.family;
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
}
