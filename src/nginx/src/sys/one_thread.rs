//! Statics of a worker, in which nginx runs one thread.

use std::ops::Deref;

/// A static that needs no lock, since one thread alone uses it.
pub(crate) struct OneThread<T>(T);

// SAFETY: nginx reads its configuration, runs its event loop and calls this module on one thread of a process; the module starts no
// thread of its own. So no two threads ever share the value.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    pub(crate) const fn new(value: T) -> OneThread<T> {
        OneThread(value)
    }
}

impl<T> Deref for OneThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
