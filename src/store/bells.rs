//! Bells: one eventfd a process, made before the fork, by which processes wake each other.

use std::io;
use std::os::fd::RawFd;

/// The number of a bell in its [`Bells`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BellId(pub(crate) u32);

/// A set of eventfds that all processes forked after [`Bells::new`] share, and a shared table of who owns which.
#[derive(Debug)]
pub struct Bells {}

impl Bells {
    /// Makes `n` bells (`EFD_NONBLOCK | EFD_CLOEXEC`). Call it before the fork.
    pub fn new(_n: usize) -> io::Result<Bells> {
        todo!()
    }
    /// Takes a bell that is free or whose owner has died, for this process; `None` when all are owned.
    pub fn claim(&self) -> Option<BellId> {
        todo!()
    }
    /// The descriptor to watch for reading. It belongs to the `Bells`; don't close it.
    pub fn fd(&self, _bell: BellId) -> RawFd {
        todo!()
    }
    /// Makes the bell's descriptor readable. Never blocks.
    pub fn ring(&self, _bell: BellId) {
        todo!()
    }
    /// Makes the descriptor unreadable again. Drain first, then look what has changed.
    pub fn drain(&self, _bell: BellId) {
        todo!()
    }
    /// Gives the bell back.
    pub fn release(&self, _bell: BellId) {
        todo!()
    }
}
