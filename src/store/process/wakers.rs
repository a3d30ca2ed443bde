//! Wakers: one eventfd per process, made before the fork, by which processes wake each other.
//!
//! | owner word | meaning | transitions |
//! |---|---|---|
//! | 0 | free | `claim`: -> the claimer |
//! | pid and start time of a live process | owned | `release` by the owner: -> 0 |
//! | pid and start time of a dead process | abandoned | `claim`: -> the claimer |

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::store::memory::bytes::Memory;
use crate::store::memory::platform::AtomicU64;
use crate::store::process::table::ProcessId;

/// The number of a waker in its [`Wakers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WakerId(pub(crate) u32);

/// A set of eventfds that all processes forked after [`Wakers::new`] share, with a shared table of their owners.
#[derive(Debug)]
pub struct Wakers {
    wakers: Vec<File>,
    /// Distinguishes this set from others.
    pub(crate) id: u32,
    owners: Memory,
}

fn eventfd() -> io::Result<File> {
    // SAFETY: eventfd takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(fd) })
}

impl Wakers {
    /// Makes `n` wakers (`EFD_NONBLOCK | EFD_CLOEXEC`). Call it before the fork. For a host that starts new processes
    /// while old ones finish, `n` is at least twice the number of processes.
    pub fn new(n: usize) -> io::Result<Wakers> {
        let wakers = (0..n).map(|_| eventfd()).collect::<io::Result<Vec<_>>>()?;
        Ok(Wakers {
            wakers,
            id: RandomState::new().hash_one(std::process::id()) as u32 | 1,
            owners: Memory::anonymous((n * 8).max(4096))?,
        })
    }

    fn owner(&self, waker: WakerId) -> Option<&AtomicU64> {
        self.owners.at(waker.0 as usize * 8)
    }

    /// Takes a waker that is free or whose owner has died; `None` if all are owned.
    pub fn claim(&self) -> Option<WakerId> {
        let own = ProcessId::own().to_word();
        let waker = (0..self.wakers.len() as u32)
            .map(WakerId)
            .find(|b| self.take(*b, own))?;
        self.drain(waker);
        Some(waker)
    }

    fn take(&self, waker: WakerId, own: u64) -> bool {
        let Some(owner) = self.owner(waker) else {
            return false;
        };
        let old = owner.load(Relaxed);
        let free = old == 0 || ProcessId::from_word(old).has_ended();
        free && owner.compare_exchange(old, own, AcqRel, Relaxed).is_ok()
    }

    /// The descriptor to watch for reading; -1 for a waker of another set. The `Wakers` owns it; don't close it.
    pub fn fd(&self, waker: WakerId) -> RawFd {
        self.wakers
            .get(waker.0 as usize)
            .map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Makes the descriptor readable. Never blocks.
    pub fn wake(&self, waker: WakerId) {
        if let Some(mut file) = self.wakers.get(waker.0 as usize) {
            // EAGAIN means that the counter is full: the descriptor is already readable.
            let _ = file.write(&1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor unreadable again. Drain it first, then check what has changed.
    pub fn drain(&self, waker: WakerId) {
        if let Some(mut file) = self.wakers.get(waker.0 as usize) {
            // EAGAIN means that the descriptor was not readable.
            let _ = file.read(&mut [0; 8]);
        }
    }

    /// Releases the waker, if this process owns it.
    pub fn release(&self, waker: WakerId) {
        if let Some(owner) = self.owner(waker) {
            let _ = owner.compare_exchange(ProcessId::own().to_word(), 0, AcqRel, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(wakers: &Wakers, waker: WakerId) -> bool {
        let mut p = libc::pollfd {
            fd: wakers.fd(waker),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the one pollfd that is passed lives on the stack.
        unsafe { libc::poll(&raw mut p, 1, 0) == 1 }
    }

    #[test]
    fn a_woken_waker_is_readable_until_it_is_drained() {
        let wakers = Wakers::new(2).expect("wakers");
        let b = wakers.claim().expect("free");
        assert!(!readable(&wakers, b));
        wakers.wake(b);
        wakers.wake(b);
        assert!(readable(&wakers, b));
        wakers.drain(b);
        assert!(!readable(&wakers, b));
    }

    #[test]
    fn a_bell_has_one_owner_and_can_be_given_back() {
        let wakers = Wakers::new(1).expect("wakers");
        let b = wakers.claim().expect("free");
        assert_eq!(wakers.claim(), None);
        wakers.release(b);
        assert_eq!(wakers.claim(), Some(b));
    }
}
