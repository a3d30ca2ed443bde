//! Bells: one eventfd a process, made before the fork, by which processes wake each other.
//!
//! | owner word | meaning | who moves it on |
//! |---|---|---|
//! | 0 | free | `claim`: -> the claimer |
//! | pid and start time of a live process | owned | `release` by the owner: -> 0 |
//! | pid and start time of an ended one | abandoned | `claim`: -> the claimer |

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::atomic::AtomicU64;
use super::memory::Memory;
use super::process::Life;

/// The number of a bell in its [`Bells`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BellId(pub(crate) u32);

/// A set of eventfds that all processes forked after [`Bells::new`] share, and a shared table of who owns which.
#[derive(Debug)]
pub struct Bells {
    bells: Vec<File>,
    owners: Memory,
}

fn eventfd() -> io::Result<File> {
    // SAFETY: eventfd takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

impl Bells {
    /// Makes `n` bells (`EFD_NONBLOCK | EFD_CLOEXEC`). Call it before the fork. For a host that replaces its processes
    /// while old ones finish, `n` is at least twice the number of processes.
    pub fn new(n: usize) -> io::Result<Bells> {
        let bells = (0..n).map(|_| eventfd()).collect::<io::Result<Vec<_>>>()?;
        Ok(Bells {
            bells,
            owners: Memory::anonymous((n * 8).max(4096))?,
        })
    }

    fn owner(&self, bell: BellId) -> Option<&AtomicU64> {
        self.owners.at(bell.0 as usize * 8)
    }

    /// Takes a bell that is free or whose owner has ended, for this process; `None` when all are owned.
    pub fn claim(&self) -> Option<BellId> {
        let own = Life::own().to_word();
        let bell = (0..self.bells.len() as u32)
            .map(BellId)
            .find(|b| self.take(*b, own))?;
        self.drain(bell);
        Some(bell)
    }

    fn take(&self, bell: BellId, own: u64) -> bool {
        let Some(owner) = self.owner(bell) else {
            return false;
        };
        let old = owner.load(Relaxed);
        let free = old == 0 || Life::from_word(old).has_ended();
        free && owner.compare_exchange(old, own, AcqRel, Relaxed).is_ok()
    }

    /// The descriptor to watch for reading, -1 for a bell of another set. It belongs to the `Bells`; don't close it.
    pub fn fd(&self, bell: BellId) -> RawFd {
        self.bells
            .get(bell.0 as usize)
            .map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Makes the bell's descriptor readable. Never blocks.
    pub fn ring(&self, bell: BellId) {
        if let Some(mut file) = self.bells.get(bell.0 as usize) {
            // EAGAIN means that the counter is full: the bell rings already.
            let _ = file.write(&1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor unreadable again. Drain first, then look what has changed.
    pub fn drain(&self, bell: BellId) {
        if let Some(mut file) = self.bells.get(bell.0 as usize) {
            // EAGAIN means that it was not rung.
            let _ = file.read(&mut [0; 8]);
        }
    }

    /// Gives the bell back, if this process owns it.
    pub fn release(&self, bell: BellId) {
        if let Some(owner) = self.owner(bell) {
            let _ = owner.compare_exchange(Life::own().to_word(), 0, AcqRel, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(bells: &Bells, bell: BellId) -> bool {
        let mut p = libc::pollfd {
            fd: bells.fd(bell),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd is passed, and it lives on the stack.
        unsafe { libc::poll(&raw mut p, 1, 0) == 1 }
    }

    #[test]
    fn a_rung_bell_is_readable_until_it_is_drained() {
        let bells = Bells::new(2).expect("bells");
        let b = bells.claim().expect("free");
        assert!(!readable(&bells, b));
        bells.ring(b);
        bells.ring(b);
        assert!(readable(&bells, b));
        bells.drain(b);
        assert!(!readable(&bells, b));
    }

    #[test]
    fn a_bell_has_one_owner_and_can_be_given_back() {
        let bells = Bells::new(1).expect("bells");
        let b = bells.claim().expect("free");
        assert_eq!(bells.claim(), None);
        bells.release(b);
        assert_eq!(bells.claim(), Some(b));
    }
}
